"""The command of the app: its flags, and its start and end as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from scripts.app import main
from tests.app_runs import draw_facades, make_run
from tests.runs import ENVIRONMENT, REPO, wait_for
from tests.scripts.apps.conftest import free_port


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "--name"),
        (["--name", "a", "--host", "0.0.0.0"], "--host 0.0.0.0: others can reach the app there; give --auth"),
        (["--name", "a", "--auth", "ann"], "--auth: write a name, a colon and a password"),
        (["--name", "a", "--auth", "a:b", "--no_auth"], "--auth and --no_auth together: give one"),
        (["--name", "nobody"], "--name nobody"),
        (["--name", "a", "--port", "0"], "--port 0: the smallest allowed value is 1"),
        (["--name", "a", "--max_pixels", "1"], "--max_pixels 1: the smallest allowed value is 1024"),
    ],
)
def test_bad_options_end_with_2_and_one_line(workdir, capsys, argv, says):
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1 and "secret" not in told
    assert list(workdir.iterdir()) == []


def test_bad_palette_ends_with_2(workdir, capsys):
    make_run(workdir, "facades", "pix2pix", draw_facades(workdir / "data"))
    (workdir / "p.json").write_text("{}")
    assert main(["--name", "facades", "--palette", "p.json", "--gpu_ids", "-1"]) == 2
    assert "p.json: has 0 classes: give 2 to 64" in capsys.readouterr().err


def test_missing_gradio_is_named(workdir, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["--name", "facades"]) == 2
    assert "scripts/app.py needs the package gradio: pip install gradio" in capsys.readouterr().err


@pytest.mark.slow
def test_start_and_end(tmp_path: Path):
    """The address answers, a second app on its port is refused, and nothing is left behind."""
    pytest.importorskip("gradio", reason="the app needs gradio: bash scripts/setup.sh --optional")
    make_run(tmp_path, "facades", "pix2pix", draw_facades(tmp_path / "data"))
    place, port = tmp_path / "temporary", free_port()
    place.mkdir()
    command = [sys.executable, str(REPO / "scripts/app.py"), "--name", "facades", "--gpu_ids", "-1"]
    command += ["--port", str(port)]
    started: dict = {"cwd": tmp_path, "env": {**ENVIRONMENT, "TMPDIR": str(place)}, "text": True}
    app = subprocess.Popen(command, stderr=subprocess.PIPE, **started)
    try:
        wait_for(lambda: is_up(port), app)
        assert len(list(place.glob("app-*"))) == 1
        second = subprocess.run(command, capture_output=True, timeout=120, **started)
        assert second.returncode == 2 and f"--port {port}" in second.stderr and "Traceback" not in second.stderr
        app.send_signal(signal.SIGTERM)
        _, told = app.communicate(timeout=60)
    finally:
        app.kill()
    assert app.returncode == 0 and f"http://127.0.0.1:{port}/" in told
    assert list(place.glob("app-*")) == []


def is_up(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).status == 200
    except OSError:
        return False


def test_temporary_folder_goes():
    pytest.importorskip("gradio", reason="the app needs gradio: bash scripts/setup.sh --optional")
    from scripts.apps.server import temporary_folder

    with temporary_folder() as folder:
        (folder / "upload").mkdir()
        assert folder.is_relative_to(tempfile.gettempdir())
    assert not folder.exists()
