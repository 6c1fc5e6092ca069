"""visdom: its real client against a stand-in server that answers, hangs, fails, dies or is not there."""

from __future__ import annotations

import base64
import io
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.util.loggers.records import epoch, images, scalars
from tests.util.loggers.visdom_server import VisdomServer, closed_port, serving
from util.loggers.visdom_log import MAX_POINTS, VisdomBoard, VisdomLogger
from util.pages.charts import Curves
from util.types import ImageRecord


@pytest.fixture()
def server() -> Iterator[VisdomServer]:
    with serving() as one:
        yield one


def _board(port: int, **kwargs: Any) -> VisdomBoard:
    return VisdomBoard("run", **{"server": "http://127.0.0.1", "port": port, "env": "there", **kwargs})


def _picture(post: dict[str, Any]) -> np.ndarray:
    data = post["data"][0]["content"]["src"].split(",", 1)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_three_windows_fill(server: VisdomServer) -> None:
    logger = VisdomLogger(_board(server.port, display_id=5))
    logger.log_scalars(scalars(10, G_GAN=1.0, G_L1=2.0))
    logger.log_scalars(scalars(20, G_GAN=3.0, G_L1=4.0))
    logger.log_images(images(20, epoch=2, value=77))
    logger.close()
    windows = server.windows()
    assert list(windows) == ["5", "6", "7"]
    assert {post["eid"] for post in windows.values()} == {"there"}
    traces = [(trace["name"], trace["x"], trace["y"]) for trace in windows["5"]["data"]]
    assert traces == [("G_GAN", [10, 20], [1.0, 3.0]), ("G_L1", [10, 20], [2.0, 4.0])]
    panel = _picture(windows["6"])
    assert panel.shape == (8, 2 * 8 + 2, 3)
    assert np.all(panel[:, :8] == 77) and np.all(panel[:, -8:] == 77) and np.all(panel[:, 8:10] == 255)
    caption = windows["7"]["data"][0]["content"]
    assert "epoch 2, 20 images" in caption and caption.index("real_A") < caption.index("fake_B")
    assert server.posts[-1] == ("/save", {"data": ["there"], "eid": "there"})


@pytest.mark.parametrize(("ncols", "window"), [(4, "8"), (0, "5_metrics")])
def test_metrics_have_a_window_of_their_own(server: VisdomServer, ncols: int, window: str) -> None:
    logger = VisdomLogger(_board(server.port, display_id=5, ncols=ncols))
    logger.log_scalars(scalars(10, G_GAN=1.0))
    logger.log_images(images(10, epoch=1))
    logger.log_epoch(epoch(1, 10))
    logger.log_epoch(epoch(2, 20, {"kid_inception": 0.25, "psnr": 20.0}))
    logger.log_epoch(epoch(3, 30))
    logger.log_epoch(epoch(4, 40, {"kid_inception": 0.125, "psnr": 21.0}))
    logger.close()
    windows = server.windows()
    assert {"5", "6", "7", window} == set(windows)
    plot = windows[window]
    assert plot["eid"] == "there" and plot["layout"]["title"] == "run metrics over time"
    traces = [(trace["name"], trace["x"], trace["y"], trace["mode"]) for trace in plot["data"]]
    assert traces == [
        ("KID x100", [20, 40], [25.0, 12.5], "lines+markers"),
        ("PSNR", [20, 40], [20.0, 21.0], "lines+markers"),
    ]
    assert [trace["yaxis"] for trace in plot["data"]] == ["y", "y2"]  # KID and PSNR share no scale ...
    upper, lower = plot["layout"]["yaxis"]["domain"], plot["layout"]["yaxis2"]["domain"]
    assert 0 <= lower[0] < lower[1] < upper[0] < upper[1] <= 1  # ... so one stands above the other
    assert plot["layout"]["xaxis"] == {"title": "images", "anchor": "y2"}
    heights = [(label["text"], label["y"]) for label in plot["layout"]["annotations"]]
    assert [text for text, _ in heights] == ["KID x100", "PSNR"]
    assert lower[1] < heights[1][1] < upper[0] and upper[1] < heights[0][1] <= 1  # each above its own plot


def test_without_an_evaluation_there_is_no_window_of_metrics(server: VisdomServer) -> None:
    logger = VisdomLogger(_board(server.port), history=[scalars(1), epoch(1, 1)])
    logger.log_scalars(scalars(2))
    logger.log_epoch(epoch(2, 2))
    logger.close()
    assert list(server.windows()) == ["1"]


def test_metrics_of_the_history_are_drawn_at_once(server: VisdomServer) -> None:
    history = (scalars(1), epoch(1, 1, {"psnr": 20.0}), scalars(2), epoch(2, 2))
    logger = VisdomLogger(_board(server.port), history=history)
    logger.log_scalars(scalars(3))
    logger.close()
    (trace,) = server.windows()["4"]["data"]
    assert (trace["x"], trace["y"]) == ([1], [20.0])


def test_a_panel_has_ncols_columns_and_scales_small_images_up(server: VisdomServer) -> None:
    pictures = {name: np.full((4, 6, 3), value, np.uint8) for name, value in (("a", 10), ("b", 20), ("c", 30))}
    pictures["d"] = np.full((2, 3, 1), 40, np.uint8)
    board = _board(server.port, ncols=3)
    board.connect()
    board.draw_images(pictures, headline="<h>")
    panel = _picture(server.windows()["2"])
    assert panel.shape == (4 + 2 + 4, 6 + 2 + 6 + 2 + 6, 3)
    assert panel[0, [0, 8, 16], 0].tolist() == [10, 20, 30]
    assert np.all(panel[6:, :6] == 40) and np.all(panel[6:, 8:] == 255)
    assert "&lt;h&gt;" in server.windows()["3"]["data"][0]["content"]


def test_no_columns_give_a_window_an_image(server: VisdomServer) -> None:
    board = _board(server.port, ncols=0)
    board.connect()
    board.draw_images(images(10, value=9).images, headline="h")
    windows = server.windows()
    assert {key: _picture(post).shape for key, post in windows.items()} == {"2": (8, 8, 3), "3": (8, 8, 3)}
    assert windows["3"]["data"][0]["content"]["caption"] == "fake_B, h"


def test_the_plot_is_bounded_and_begins_with_the_history(server: VisdomServer) -> None:
    board = _board(server.port)
    logger = VisdomLogger(board, history=[scalars(n, G=float(n)) for n in range(1, 3 * MAX_POINTS)])
    logger.log_scalars(scalars(3 * MAX_POINTS, G=0.0))
    logger.close()
    (trace,) = server.windows()["1"]["data"]
    assert MAX_POINTS // 2 <= len(trace["x"]) <= MAX_POINTS
    assert trace["x"][0] < 5 and trace["x"][-1] == 3 * MAX_POINTS


def _quiet_run(logger: VisdomLogger, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Log a hundred events and close; return the warnings, and make sure that nothing else was said or took long."""
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        start = time.perf_counter()
        for total in range(1, 101):
            logger.log_scalars(scalars(total))
        assert time.perf_counter() - start < 0.5
        time.sleep(0.1)
        logger.log_scalars(scalars(101))
        logger.close()
        assert time.perf_counter() - start < 10
    assert capfd.readouterr() == ("", "")
    return caplog.messages


def test_no_server(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    port = closed_port()
    (warning,) = _quiet_run(VisdomLogger(_board(port)), caplog, capfd)
    assert f"No visdom server answers at http://127.0.0.1:{port}" in warning
    assert "python -m visdom.server" in warning and "--display_id 0" in warning


def test_an_address_that_is_none(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    (warning,) = _quiet_run(VisdomLogger(_board(8097, server="http://no such host")), caplog, capfd)
    assert "no such host" in warning


def test_a_server_that_fails(
    server: VisdomServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    server.status = 500
    (warning,) = _quiet_run(VisdomLogger(_board(server.port)), caplog, capfd)
    assert "answered 500" in warning


def test_a_server_that_hangs(
    server: VisdomServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("util.loggers.visdom_log._ANSWER_SECONDS", 0.3)
    server.gate.clear()
    (warning,) = _quiet_run(VisdomLogger(_board(server.port)), caplog, capfd)
    assert "does not answer within 0.3 s" in warning


def test_close_does_not_wait_for_a_server_that_hangs(server: VisdomServer) -> None:
    server.gate.clear()
    logger = VisdomLogger(_board(server.port), close_seconds=0.2)
    logger.log_scalars(scalars(1))
    start = time.perf_counter()
    logger.close()
    assert time.perf_counter() - start < 3
    server.gate.set()
    assert logger._thread is not None
    logger._thread.join(20)  # or its late warning would fall into another test


def test_a_server_that_dies_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    with serving() as first:
        board = _board(first.port)
        logger = VisdomLogger(board, clock=lambda: now[0])
        logger.log_epoch(epoch(1, 1, {"psnr": 20.0}))
        logger.log_scalars(scalars(1))
        _until(lambda: {"1", "4"} <= set(first.windows()))
        _until(lambda: board.connected)
    with caplog.at_level(logging.WARNING):
        logger.log_scalars(scalars(2))
        _until(lambda: not board.connected)
        with serving() as second:
            board._port = second.port  # a server that came back, but the test cannot count on its old port
            now[0] = 30.0
            logger.log_scalars(scalars(3))
            logger.log_epoch(epoch(3, 3, {"psnr": 21.0}))
            time.sleep(0.1)
            assert second.posts == []  # not yet: once a minute at most
            now[0] = 61.0
            logger.log_scalars(scalars(4))
            logger.close()
            assert second.windows()["1"]["data"][0]["x"] == [1, 2, 3, 4]
            assert second.windows()["4"]["data"][0]["x"] == [1, 3]  # without a new evaluation
    (warning,) = caplog.messages
    assert "is gone" in warning


def _until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within 20 s"
        time.sleep(0.005)


def test_visdom_that_does_not_import_only_warns(
    server: VisdomServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "visdom", None)
    (warning,) = _quiet_run(VisdomLogger(_board(server.port)), caplog, capfd)
    assert "visdom does not import" in warning and "pip install" in warning


def test_history_of_images_begins_with_an_empty_panel(server: VisdomServer) -> None:
    board = _board(server.port)
    board.connect()
    board.clear_images()
    assert server.posts[-1][0] == "/close" and server.posts[-1][1]["win"] == "2"
    board.draw_images(images(10).images, headline="h", history=True)
    assert server.windows()["2"]["data"][0]["type"] == "image_history"


def test_only_the_newest_waiting_images_are_sent(server: VisdomServer) -> None:
    board = _board(server.port)
    logger = VisdomLogger(board)
    events: list[ImageRecord] = [images(total) for total in (1, 2, 3)]
    logger.deliver(list(events), send=True)
    headlines = [post["data"][0]["content"] for path, post in server.posts if post.get("win") == "3"]
    assert len(headlines) == 1 and "3 images" in headlines[0]


def test_without_curves_nothing_is_sent(server: VisdomServer) -> None:
    board = _board(server.port)
    board.connect()
    before = len(server.posts)
    board.draw_losses(Curves())
    board.draw_metrics(Curves())
    assert server.posts[before:] == []  # a real server answers 500 to a plot without a trace
