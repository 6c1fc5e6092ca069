from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from util.run.folder import check_name, check_run_folder, holds_run, open_run_folder

REPO = Path(__file__).resolve().parents[3]


def check(folder, continue_train=False, overwrite=False):
    check_run_folder(folder, continue_train=continue_train, overwrite=overwrite)


def test_an_existing_run_is_protected(tmp_path):
    folder = tmp_path / "runs" / "a"
    check(folder)
    assert not folder.exists() and not folder.parent.exists(), "checking creates nothing"
    folder.mkdir(parents=True)
    check(folder)  # an empty folder holds nothing to lose
    (folder / "notes.txt").write_text("mine")
    check(folder)
    (folder / "train_opt.txt").write_text("of a start that failed")
    (folder / "loss_log.csv").write_text("")
    check(folder)
    with pytest.raises(ValueError, match="there is no run in"):
        check(folder, continue_train=True)
    (folder / "loss_log.csv").write_text("epoch,lr\n1,0.1\n")
    with pytest.raises(ValueError, match="holds a run already"):
        check(folder)
    (folder / "latest_net_G.pth").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"--continue_train.*--overwrite"):
        check(folder)
    check(folder, continue_train=True)
    check(folder, overwrite=True)
    with pytest.raises(ValueError, match="contradict"):
        check(folder, continue_train=True, overwrite=True)


def test_there_must_be_something_to_continue(tmp_path):
    with pytest.raises(ValueError, match="there is no run in"):
        check(tmp_path / "nothing", continue_train=True)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        check(tmp_path / "a")
    with pytest.raises(ValueError, match="cannot be written"):
        check(tmp_path / "a" / "b")


def test_overwriting_deletes_what_a_run_wrote_and_nothing_else(tmp_path):
    for name in ("latest_net_G.pth", "latest_state.pth", "train_opt.txt", "loss_log.csv", "metrics.jsonl", "notes.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "web" / "images").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    open_run_folder(tmp_path, overwrite=True).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "mine", "notes.txt"]
    assert not holds_run(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_two_processes_cannot_train_in_one_folder(tmp_path):
    lock = open_run_folder(tmp_path, overwrite=False)
    code = "import sys; from pathlib import Path; from util.run.folder import open_run_folder as o\n"
    code += "try: o(Path(sys.argv[1]), overwrite=True)\nexcept ValueError as e: print(e)"
    (tmp_path / "latest_net_G.pth").write_text("x")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=REPO, capture_output=True, text=True)
    assert f"process {os.getpid()} is training" in done.stdout
    assert (tmp_path / "latest_net_G.pth").exists(), "the other's files are untouched"
    lock.close()
    open_run_folder(tmp_path, overwrite=False).close()


@pytest.mark.parametrize("name", ["", "  ", ".", "..", "../x", "/abs", "a/../../b"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="--name"):
        check_name(name)


def test_plain_and_grouped_names_are_fine():
    check_name("facades_pix2pix")
    check_name("tuesday/run 1")
