"""replay_visdom.py against a stand-in server."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.replay_visdom import MAX_PANELS, main
from tests.util.loggers.records import epoch as epoch_end
from tests.util.loggers.records import images, scalars
from tests.util.loggers.visdom_server import closed_port, serving
from util.loggers.group import build_loggers


@pytest.fixture()
def run_folder(tmp_path: Path) -> Path:
    """A finished run of three epochs with pictures."""
    folder = tmp_path / "facades"
    group = build_loggers(folder, name="facades", resume_iters=None, options={"display_id": 0}, console=False)
    for epoch in (1, 2, 3):
        group.log_scalars(scalars(epoch * 10, epoch, G=float(epoch)))
        group.log_images(images(epoch * 10, epoch))
    group.close()
    return folder


def _flags(port: int) -> list[str]:
    return ["--display_server", "http://127.0.0.1", "--display_port", str(port), "--display_env", "again"]


def test_losses_and_the_pictures_of_every_epoch_are_sent(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        assert main([str(run_folder), *_flags(server.port)]) == 0
        panels = [post for _, post in server.posts if post.get("win") == "2" and "data" in post and post["data"]]
        assert [panel["data"][0]["content"]["caption"] for panel in panels] == [
            "epoch 1, 10 images",
            "epoch 2, 20 images",
            "epoch 3, 30 images",
        ]
        plot = server.windows()["1"]
        assert plot["layout"]["title"] == "facades loss over time"
        assert [(trace["x"], trace["y"]) for trace in plot["data"]] == [([10, 20, 30], [1.0, 2.0, 3.0])]
        assert "4" not in server.windows()  # nothing was measured
        assert {post.get("eid") for _, post in server.posts} == {"again"}
        assert server.posts[-1][0] == "/save"
    assert "1 loss and the pictures of 3 epochs" in capsys.readouterr().out


def test_metrics_are_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = build_loggers(tmp_path / "x", name="x", resume_iters=None, options={"display_id": 0}, console=False)
    group.log_scalars(scalars(10))
    for number, metrics in ((1, {}), (2, {"kid_inception": 0.25, "psnr": 20.0}), (3, {"psnr": 21.0})):
        group.log_epoch(epoch_end(number, number * 10, metrics))
    group.close()
    with serving() as server:
        assert main([str(tmp_path / "x"), *_flags(server.port)]) == 0
        plot = server.windows()["4"]
    assert plot["layout"]["title"] == "x metrics over time" and plot["eid"] == "again"
    traces = [(trace["name"], trace["x"], trace["y"]) for trace in plot["data"]]
    assert traces == [("KID x100", [20], [25.0]), ("PSNR", [20, 30], [20.0, 21.0])]
    assert "2 losses, 2 metrics and the pictures of 0 epochs" in capsys.readouterr().out


def test_long_runs_send_a_bounded_number_of_panels(tmp_path: Path) -> None:
    group = build_loggers(tmp_path, name="x", resume_iters=None, options={"display_id": 0}, console=False)
    for epoch in range(1, 2 * MAX_PANELS + 1):
        group.log_images(images(epoch * 10, epoch))
    group.close()
    with serving() as server:
        assert main([str(tmp_path), *_flags(server.port)]) == 0
        captions = [
            post["data"][0]["content"]["caption"]
            for _, post in server.posts
            if post.get("win") == "2" and post.get("data")
        ]
    assert len(captions) == MAX_PANELS
    assert captions[0].startswith("epoch 1,") and captions[-1].startswith(f"epoch {2 * MAX_PANELS},")


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), *_flags(closed_port())]) == 2
    assert "none/metrics.jsonl does not exist" in _one_line(capsys)


def test_no_server(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run_folder), *_flags(closed_port())]) == 2
    assert "No visdom server answers at http://127.0.0.1:" in _one_line(capsys)


def test_a_damaged_file(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_folder / "metrics.jsonl").write_text("no json\n")
    assert main([str(run_folder), *_flags(closed_port())]) == 2
    assert "line 1" in _one_line(capsys)
