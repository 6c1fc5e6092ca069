from __future__ import annotations

import json
import os
from collections import OrderedDict

import pytest
import torch
from torch import nn

from util.run import checkpoint
from util.run.checkpoint import DRAFT, FORMAT, Checkpointer, adapt_state, checkpoint_tag, size_on_disk
from util.run.restart import MARKER

STATE = {"format": FORMAT, "progress": {"epoch": 2}}


def net(value: float = 1.0) -> nn.Module:
    made = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    nn.init.constant_(made[0].weight, value)
    nn.init.zeros_(made[0].bias)
    return made


def weight_of(made: nn.Module) -> float:
    return made.state_dict()["0.weight"].mean().item()


def test_a_saved_network_is_a_plain_state_dict_with_the_modules_keys(tmp_path):
    Checkpointer(tmp_path).save(["latest"], {"G": net()}, STATE)
    loaded = torch.load(tmp_path / "latest_net_G.pth", weights_only=True)
    assert list(loaded) == list(net().state_dict())
    assert all(value.device.type == "cpu" for value in loaded.values())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["latest_net_G.pth", "latest_state.pth"]


def test_every_tag_gets_the_same_bytes_and_saving_again_leaves_the_older_tag_alone(tmp_path):
    saver = Checkpointer(tmp_path)
    saver.save(["latest", "5"], {"G": net(1.0)}, STATE)
    assert (tmp_path / "5_net_G.pth").read_bytes() == (tmp_path / "latest_net_G.pth").read_bytes()
    saver.save(["latest"], {"G": net(2.0)}, STATE)
    old, new = net(0.0), net(0.0)
    saver.load_network("5", "G", old)
    saver.load_network("latest", "G", new)
    assert weight_of(old) == 1.0 and weight_of(new) == 2.0


def test_equal_content_gives_equal_files(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Checkpointer(tmp_path / name).save(["latest", "3"], {"G": net()}, STATE)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs but what an exception handler would."""


@pytest.mark.parametrize("step", range(12))
def test_a_kill_at_any_file_operation_of_a_save_leaves_one_whole_checkpoint(tmp_path, monkeypatch, step):
    """Cuts a save off before its n-th replace/fsync, as a kill does: no cleaning up. Then recovers."""
    saver = Checkpointer(tmp_path)
    saver.save(["latest"], {"G": net(1.0), "D": net(1.0)}, {**STATE, "value": 1.0})
    count = 0
    real_replace, real_fsync = os.replace, os.fsync

    def cut() -> None:
        nonlocal count
        if count == step:
            raise Killed
        count += 1

    def replace(*args):
        cut()
        real_replace(*args)

    def fsync(handle):
        cut()
        real_fsync(handle)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(checkpoint.Path, "unlink", lambda self, missing_ok=False: None)  # a kill cleans nothing up
    finished = False
    try:
        saver.save(["latest"], {"G": net(2.0), "D": net(2.0)}, {**STATE, "value": 2.0})
        finished = True
    except Killed:
        pass
    monkeypatch.undo()
    saver = Checkpointer(tmp_path)
    saver.recover()
    found = {float(torch.load(tmp_path / f"latest_net_{n}.pth", weights_only=True)["0.weight"].mean()) for n in "GD"}
    found.add(saver.load_state("latest")["value"])
    assert len(found) == 1, "a mixture of two saves"
    assert not finished or found == {2.0}
    assert not list(tmp_path.glob(f"*{DRAFT}")) and not (tmp_path / MARKER).exists()


def test_the_kill_test_reaches_past_the_commit(tmp_path, monkeypatch):
    """3 files and their marker: the 12 cuts above cover every operation of such a save."""
    calls = []
    monkeypatch.setattr(os, "replace", lambda *a, real=os.replace: (calls.append("replace"), real(*a)))
    monkeypatch.setattr(os, "fsync", lambda h, real=os.fsync: (calls.append("fsync"), real(h)))
    Checkpointer(tmp_path).save(["latest"], {"G": net(), "D": net()}, STATE)
    assert calls.count("replace") == 4 and 4 < calls.index("replace") + calls.count("replace") <= len(calls) <= 12


def test_a_full_disk_leaves_the_old_checkpoint_and_no_drafts(tmp_path, monkeypatch):
    saver = Checkpointer(tmp_path)
    saver.save(["latest"], {"G": net(1.0)}, STATE)
    before = (tmp_path / "latest_net_G.pth").read_bytes()

    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        saver.save(["latest"], {"G": net(2.0)}, STATE)
    assert (tmp_path / "latest_net_G.pth").read_bytes() == before
    assert not list(tmp_path.glob(f"*{DRAFT}"))


def test_a_save_that_was_committed_is_finished_by_a_reader_too(tmp_path):
    torch.save(net(3.0).state_dict(), tmp_path / f"latest_net_G.pth{DRAFT}")
    (tmp_path / MARKER).write_text(json.dumps([[f"latest_net_G.pth{DRAFT}", "latest_net_G.pth"], ["gone.tmp", "gone"]]))
    saver, loaded = Checkpointer(tmp_path), net(0.0)
    saver.finish_save()
    saver.load_network("latest", "G", loaded)
    assert weight_of(loaded) == 3.0


def test_only_the_newest_numbered_checkpoints_are_kept(tmp_path):
    saver = Checkpointer(tmp_path, keep=2)
    for epoch in (5, 10, 15, 20):
        saver.save(["latest", str(epoch)], {"G": net()}, STATE)
        saver.save([f"iter_{epoch}00"], {"G": net()}, STATE)
    (tmp_path / "best_net_G.pth").write_bytes(b"mine")
    assert saver.tags()[:3] == ["latest", "20", "15"]
    assert not (tmp_path / "10_net_G.pth").exists() and not (tmp_path / "iter_500_state.pth").exists()
    assert (tmp_path / "iter_2000_net_G.pth").exists() and (tmp_path / "best_net_G.pth").exists()


def test_files_of_dataparallel_and_of_old_instance_norms_load():
    own = nn.Sequential(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2))
    old = OrderedDict((f"module.{key}", value) for key, value in own.state_dict().items())
    old["module.1.running_mean"] = torch.zeros(2)
    old["module.1.running_var"] = torch.ones(2)
    old["module.1.num_batches_tracked"] = torch.tensor(3)
    assert adapt_state(old, own).keys() == own.state_dict().keys()


def test_statistics_that_a_network_does_have_are_kept():
    own = nn.Sequential(nn.InstanceNorm2d(2, track_running_stats=True), nn.BatchNorm2d(2))
    assert adapt_state(own.state_dict(), own).keys() == own.state_dict().keys()


def test_errors_name_the_file_and_the_remedy(tmp_path):
    saver = Checkpointer(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint at all"):
        saver.load_network("latest", "G", net())
    saver.save(["latest", "5"], {"G": net()}, STATE)
    with pytest.raises(FileNotFoundError, match=r"--epoch 7.*there is: latest, 5"):
        saver.load_network("7", "G", net())
    with pytest.raises(FileNotFoundError, match=r"there are networks G: check --model.*train_opt\.txt"):
        saver.load_network("latest", "D", net())
    with pytest.raises(ValueError, match=r"another network.*0\.weight is \(3, 2, 1, 1\), not \(4, 2, 1, 1\)"):
        saver.load_network("latest", "G", nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)))
    with pytest.raises(ValueError, match="another network"):
        saver.load_network("latest", "G", nn.Sequential(nn.Conv2d(2, 3, 1)))
    (tmp_path / "latest_net_G.pth").write_bytes((tmp_path / "latest_net_G.pth").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"latest_net_G.pth: damaged"):
        saver.load_network("latest", "G", net())
    torch.save({"epoch": 3}, tmp_path / "latest_net_G.pth")
    with pytest.raises(ValueError, match="not a state_dict"):
        saver.load_network("latest", "G", net())
    torch.save({"format": FORMAT + 1}, tmp_path / "latest_state.pth")
    with pytest.raises(ValueError, match="format"):
        saver.load_state("latest")
    assert Checkpointer(tmp_path / "none").load_state("latest") is None


def test_tags():
    assert checkpoint_tag("latest", 0) == "latest" and checkpoint_tag("latest", 500) == "iter_500"


def test_size_on_disk_counts_weights_and_two_moments():
    made = nn.Linear(10, 1, bias=False)
    assert size_on_disk([made], [torch.optim.Adam(made.parameters())]) == 40 + 80
