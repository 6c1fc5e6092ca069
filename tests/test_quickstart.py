"""docs/quickstart.ipynb runs from top to bottom, with few images and a narrow network."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from tests.runs import REPO

NOTEBOOK = REPO / "docs" / "quickstart.ipynb"


def test_it_runs(tmp_path, monkeypatch):
    settings = {"DIR": str(tmp_path), "N_TRAIN": "3", "EPOCHS": "2", "WIDTH": "4"}
    for name, value in {
        **{f"QUICKSTART_{key}": each for key, each in settings.items()},
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == 3  # a pair, the sheet, the wide result
    text = "".join(output.get("text", "") for output in outputs)
    assert "epoch 1: G_L1 " in text and "epoch 2: G_L1 " in text
    assert (tmp_path / "checkpoints" / "quickstart" / "latest_net_G.pth").is_file()


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.outputs or cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def test_alone_it_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUICKSTART_REPOSITORY", raising=False)
    setup = next(cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code")
    with pytest.raises(SystemExit, match="Set REPOSITORY in this cell"):
        exec(setup.source, {})
