"""The judge of drawn shapes: what it counts, and that it learns the classes and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import shapes
from datasets.demo.shapes import CLASSES
from tests import class_run
from tests.conftest import SIZE
from util.run.class_names import CLASSES_FILE, write_class_names


def test_a_verdict_counts_what_was_asked_and_seen():
    """Four red circles: right; seen as a blue circle; as a red star; as a green square."""
    names = ["red_circle", "blue_circle", "red_star", "green_square"]
    found = shapes.verdict(torch.zeros(4, dtype=torch.int64), torch.tensor([CLASSES.index(name) for name in names]))
    assert (found.colour, found.outline, found.both) == (0.5, 0.5, 0.25)
    assert found.outlines == [[2, 1, 0, 1], [0] * 4, [0] * 4, [0] * 4]
    assert found.classes == {"red_circle": 0.25}
    assert found.row("x") == "| x | 4 | 50.0 % | 50.0 % | 25.0 % | red_circle 25 % |"
    assert "| circle | 2 | 1 | 0 | 1 |" in shapes.details(found)


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    return shapes.real_shapes(240, 32, seed=1)


def test_the_judge_learns_colours_of_few_shapes(drawn):
    """Outlines take more than 16 images of each class."""
    images, labels = drawn
    judge = shapes.train_judge(images[:192], labels[:192], epochs=20, batch_size=32, width=16)
    assert shapes.verdict(labels[192:], judge.classes(images[192:])).colour > 0.9


def test_of_shuffled_labels_it_learns_nothing(drawn):
    images, labels = drawn
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    judge = shapes.train_judge(images[:192], shuffled[:192], epochs=4, batch_size=32, width=16)
    found = shapes.verdict(labels[192:], judge.classes(images[192:]))
    assert found.both < 0.3 and found.colour < 0.6  # chance is 1/12 and 1/3


def test_a_bad_judge_measures_nothing(drawn, tmp_path: Path, monkeypatch):
    file = tmp_path / "judge.pt"
    torch.save(shapes.Judge().state_dict(), file)
    monkeypatch.setattr(shapes, "real_shapes", lambda *_: drawn)
    with pytest.raises(ValueError, match=r"right about .* of real shapes, fewer than 98 %: delete .*judge\.pt"):
        shapes.judge_for(32, file, 12)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    class_run.make_run(folder, "--num_classes", "12")
    write_class_names(folder / "checkpoints" / "run" / CLASSES_FILE, sorted(CLASSES))
    class_run.make_run(folder, name="three")
    return folder


def test_checkpoints_are_judged_by_the_names_of_their_classes(runs: Path, tmp_path: Path, monkeypatch, capsys):
    """A judge that sees red circles everywhere: right for one class of 12, one colour of 3, one outline of 4."""

    class Red(shapes.Judge):
        def classes(self, images):
            assert images.shape == (24, 3, SIZE, SIZE)
            return torch.zeros(len(images), dtype=torch.int64)

    real = shapes.verdict(torch.arange(12), torch.arange(12))
    monkeypatch.setattr(shapes, "judge_for", lambda *_: (Red(), real))
    argv = ["--checkpoints_dir", str(runs / "checkpoints"), "--results_dir", str(tmp_path)]
    assert shapes.main(["--name", "run", "--n_samples", "24", *argv]) == 0
    said = capsys.readouterr().out
    assert "| epoch latest | 24 | 33.3 % | 25.0 % | 8.3 % | red_square 0 % |" in said
    kept = json.loads((tmp_path / "run" / "shapes_latest" / "judged.json").read_text())
    assert (
        kept["outlines"] == [[6, 0, 0, 0]] * 4 and kept["classes"]["red_circle"] == 1.0 and kept["real"]["both"] == 1.0
    )
    assert (tmp_path / "run" / "shapes_latest" / "sheet.png").is_file()
    before = (tmp_path / "run" / "shapes_latest" / "sheet.png").read_bytes()
    assert shapes.main(["--name", "run", "--n_samples", "24", *argv, "--standing_stats", "1"]) == 0
    assert (tmp_path / "run" / "shapes_latest" / "sheet.png").read_bytes() != before


def test_a_run_of_other_classes_is_refused(runs: Path, tmp_path: Path, capsys):
    argv = ["--checkpoints_dir", str(runs / "checkpoints"), "--results_dir", str(tmp_path / "new")]
    assert shapes.main(["--name", "three", *argv]) == 2
    assert "--name three: its classes are not those" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
