"""The training page: what is on it, in which order, and what stays after a resume."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from dominate.tags import figure
from PIL import Image

from tests.util.loggers.records import epoch, images, scalars
from util.loggers.doctor_log import DoctorLogger
from util.loggers.html_log import REFRESH_SECONDS, HtmlLogger
from util.loggers.jsonl import JsonlLogger
from util.pages.charts import Chart


def _page(folder: Path) -> str:
    return (folder / "web" / "index.html").read_text(encoding="utf-8")


def _epochs(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"<h3>epoch \[(\d+)\]</h3>", _page(folder))]


def _charts(folder: Path) -> list[str]:
    return re.findall(r"<figcaption><b>(.*?)</b>", _page(folder))


def _grey(folder: Path, name: str) -> int:
    return int(np.asarray(Image.open(folder / "web" / "images" / name)).flat[0])


def test_the_newest_epoch_comes_first_and_only_drawn_ones_come(tmp_path: Path) -> None:
    logger = HtmlLogger(tmp_path, "x")
    assert _epochs(tmp_path) == []
    for number in (1, 3, 12):
        logger.log_images(images(number * 10, number))
    assert _epochs(tmp_path) == [12, 3, 1]
    assert re.findall('src="images/(.*?)"', _page(tmp_path))[:2] == ["epoch012_real_A.png", "epoch012_fake_B.png"]


def test_pictures_are_written_as_they_are(tmp_path: Path) -> None:
    logger = HtmlLogger(tmp_path, "x")
    logger.log_images(images(10, value=77, size=5))
    for name, mode in (("epoch001_real_A.png", "L"), ("epoch001_fake_B.png", "RGB")):
        with Image.open(tmp_path / "web" / "images" / name) as picture:
            assert (picture.mode, picture.size, np.unique(np.asarray(picture)).tolist()) == (mode, (5, 5), [77])
    assert {path.suffix for path in (tmp_path / "web" / "images").iterdir()} == {".png"}


def test_pictures_of_an_epoch_are_drawn_again_when_a_multiple_is_crossed(tmp_path: Path) -> None:
    logger = HtmlLogger(tmp_path, "x", update_html_freq=100)
    shown = []
    for total in (48, 96, 144, 192, 240):  # batches of 48: no multiple of 100 is ever met
        logger.log_images(images(total, 1, value=total))
        shown.append(_grey(tmp_path, "epoch001_real_A.png"))
    assert shown == [48, 48, 144, 144, 240]


def test_the_page_reloads_while_the_run_goes_on_and_not_after(tmp_path: Path) -> None:
    logger = HtmlLogger(tmp_path, "x")
    assert '<meta content="30" http-equiv="refresh">' in _page(tmp_path)
    logger.close()
    assert "http-equiv" not in _page(tmp_path)
    logger.close()


def test_title_state_curves_and_options(tmp_path: Path) -> None:
    options = {"lr": 0.0002, "dataroot": "<i>&", "weight": None}
    logger = HtmlLogger(tmp_path, "a<b", options=options, display_winsize=192)
    logger.start_epoch(2, 7, 100, 0)
    logger.log_scalars(scalars(1500, 2, G_GAN=0.5))
    logger.log_images(images(1500, 2))
    logger.log_epoch(epoch(2, 1500))
    logger.close()
    page = _page(tmp_path)
    assert "<title>Experiment name = a&lt;b</title>" in page
    assert all(text in page for text in ("epoch 2 of 7", "1,500 images", "8 images/s", "lr 0.0002", "25% of the time"))
    assert re.search(r"<figcaption><b>G_GAN</b><span>0\.5</span></figcaption><svg ", page)
    assert "<tr><th>dataroot</th><td>&lt;i&gt;&amp;</td></tr><tr><th>lr</th><td>0.0002</td></tr>" in page
    assert "<details" in page and "width:192px" in page
    assert "None" in page


def test_metrics_are_charts_after_the_losses_and_the_latest_are_in_the_state(tmp_path: Path) -> None:
    logger = HtmlLogger(tmp_path, "x", clock=itertools.count(0, REFRESH_SECONDS).__next__)
    logger.log_scalars(scalars(1000, 1, G_GAN=0.5))
    logger.log_epoch(epoch(1, 1000))
    assert _charts(tmp_path) == ["G_GAN"]
    logger.log_epoch(epoch(2, 2000, {"kid_inception": 0.25, "psnr": 21.4}))
    logger.log_epoch(epoch(3, 3000))
    logger.log_epoch(epoch(4, 4000, {"kid_inception": 0.125, "psnr": 22.5}))
    logger.log_epoch(epoch(5, 5000))
    assert _charts(tmp_path) == ["G_GAN", "KID x100", "PSNR"]
    page = _page(tmp_path)
    assert "<b>KID x100</b><span>12.5</span>" in page
    assert "<title>KID x100: 25 at 2,000</title>" in page and "<title>KID x100: 12.5 at 4,000</title>" in page
    assert page.count("epoch 4: KID x100 12.50, PSNR 22.50") == 1 and "epoch 2: KID" not in page


def test_charts_are_drawn_at_most_every_30_seconds_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, drawn = [0.0], []
    inline = Chart.inline

    def noted(chart: Chart) -> figure:
        drawn.append((now[0], chart.title, len(chart.curves[chart.title])))
        return inline(chart)

    monkeypatch.setattr(Chart, "inline", noted)
    logger = HtmlLogger(tmp_path, "x", clock=lambda: now[0])
    assert _charts(tmp_path) == []
    for number in range(1, 9):
        now[0] = 10.0 * number
        logger.log_scalars(scalars(number, number, G=number))
        logger.log_epoch(epoch(number, number))
        assert _charts(tmp_path) == ["G"]
    now[0] = 81
    logger.close()
    assert drawn == [(10, "G", 1), (40, "G", 4), (70, "G", 7), (81, "G", 8)]
    assert "<b>G</b><span>8</span>" in _page(tmp_path)


def _run(folder: Path, resume_iters: int | None, last: int) -> None:
    """A run of epochs of 40 images with events every 10; the grey value of a picture tells its place."""
    loggers = [
        JsonlLogger(folder, resume_iters),
        HtmlLogger(folder, "x", resume_iters=resume_iters, update_html_freq=100),
    ]
    for logger in loggers:
        for total in range((resume_iters or 0) + 10, last + 1, 10):
            number = (total - 1) // 40 + 1
            logger.log_scalars(scalars(total, number, G=(total * 7) % 13))
            logger.log_images(images(total, number, value=total))
            if total % 40 == 0:  # every second epoch is evaluated
                logger.log_epoch(epoch(number, total, {"psnr": (total * 3) % 17} if number % 2 == 0 else None))
        logger.close()


@pytest.mark.parametrize(("resume_iters", "killed_at"), [(40, 60), (60, 120), (110, 120), (0, 30)])
def test_a_resumed_run_draws_the_page_of_the_uninterrupted_one(
    tmp_path: Path, resume_iters: int, killed_at: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    _run(whole, None, 160)
    _run(parts, None, killed_at)
    _run(parts, resume_iters, 160)
    assert _epochs(parts) == [4, 3, 2, 1]
    assert _charts(parts) == ["G", "PSNR"] and "epoch 4: PSNR 4.00" in _page(parts)  # 160 * 3 % 17
    without_time = [re.sub(r"ended [-\d]+ [:\d]+", "", _page(folder)) for folder in (whole, parts)]
    assert without_time[0] == without_time[1]
    for picture in (whole / "web" / "images").iterdir():
        assert (parts / "web" / "images" / picture.name).read_bytes() == picture.read_bytes(), picture.name


def test_epochs_after_the_checkpoint_leave_the_page(tmp_path: Path) -> None:
    _run(tmp_path, None, 160)
    HtmlLogger(tmp_path, "x", resume_iters=80)
    assert _epochs(tmp_path) == [2, 1]
    assert "epoch 2: PSNR 2.00" in _page(tmp_path) and "epoch 4" not in _page(tmp_path)


def test_pictures_that_someone_deleted_are_not_on_the_page(tmp_path: Path) -> None:
    _run(tmp_path, None, 80)
    for file in (tmp_path / "web" / "images").glob("epoch001_*"):
        file.unlink()
    HtmlLogger(tmp_path, "x", resume_iters=80)
    assert _epochs(tmp_path) == [2]


def test_what_the_doctor_says_stands_above_the_curves(tmp_path: Path) -> None:
    doctor, logger = DoctorLogger(tmp_path), HtmlLogger(tmp_path, "x")
    assert "failing" not in _page(tmp_path)
    for number in range(1, 21):
        doctor.log_scalars(scalars(10 * number, epoch=7, D_real=0.001, D_fake=0.001))
        logger.log_scalars(scalars(10 * number, epoch=7, D_real=0.001, D_fake=0.001))
    logger.close()
    text = _page(tmp_path)
    assert text.count("epoch 7: the discriminator has won") == 1
    assert text.index("Signs of a failing training") < text.index("<figcaption>")


def test_a_frequency_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--update_html_freq 0"):
        HtmlLogger(tmp_path, "x", update_html_freq=0)


def test_a_folder_that_cannot_be_written_raises(tmp_path: Path) -> None:
    logger = HtmlLogger(tmp_path, "x")
    (tmp_path / "web" / "index.html").unlink()
    (tmp_path / "web" / "index.html").mkdir()
    with pytest.raises(OSError):
        logger.log_images(images(10))
