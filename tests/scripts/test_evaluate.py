"""scripts/evaluate.py as a user runs it: a run's results in place, its checkpoints, any folders, several runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import test as test_program
import train
from scripts import evaluate
from tests.measuring import CPU, save_drawings, save_results, save_run
from tests.runs import arguments
from tests.test_bad_input import snapshot
from util.metrics.images import FolderImages
from util.metrics.measurement import read_measurements
from util.metrics.suite import Suite
from util.pages.comparison_folder import find_pictures

PLAIN = ["--gpu_ids", "-1", "--kid_subset_size", "4"]
FILE = Path("results/run/metrics.json")

pytestmark = pytest.mark.usefixtures("offline", "tiny", "workdir")


def run(*words):
    return evaluate.main([*words, *PLAIN])


def stored(file=FILE):
    return {(each.folder, each.name, each.domain): each for each in read_measurements(Path(file))}


@pytest.fixture()
def tests(monkeypatch):
    """test.py's main is replaced by one that draws the results; returns what it was asked for."""
    asked = []

    def main(words):
        asked.append(words)
        place = f"{words[words.index('--phase') + 1]}_{words[words.index('--epoch') + 1]}"
        if not (Path("results/run") / place).exists():
            save_results(place, seed=len(asked))
        return 0

    monkeypatch.setattr(test_program, "main", main)
    return asked


def checkpoints(*tags, mode="aligned"):
    save_run(mode)
    for tag in tags:
        Path(f"checkpoints/run/{tag}_net_G.pth").write_bytes(b"weights")


def test_paired_run_in_place(capsys):
    save_run()
    folder = save_results()
    assert run("--name", "run") == 0
    found = stored()
    assert list(found) == [("test_latest", name, "B") for name in ("kid_inception", "psnr", "ssim", "l1")]
    expected = Suite(["kid", "psnr", "ssim", "l1"], CPU, kid_subset_size=4, progress=False).measure(
        FolderImages(folder / "images", "", suffix="fake_B"), FolderImages(folder / "images", "", suffix="real_B")
    )
    assert [(each.value, each.std) for each in found.values()] == [(each.value, each.std) for each in expected]
    assert all(each.tag == "latest" == each.protocol["tag"] for each in found.values())
    assert all(each.protocol["fake"]["n"] == 6 for each in found.values())
    printed = capsys.readouterr().out.splitlines()
    assert printed[:4] == [f"{each.title}: {each.shown}" for each in expected]
    assert re.fullmatch(r"KID x100: -?\d+\.\d\d \+/- \d+\.\d\d", printed[0])
    assert (
        "  KID x100: 6 images of 24x24, 6 real ones of 24x24; extractor inception (abababab), 100 subsets of 4, "
        in (printed[4])
    )
    assert printed[5] == "  PSNR, SSIM, L1: 6 pairs of 24x24"


def test_twice_is_the_same_and_changes_nothing_else(capsys):
    save_run()
    save_results()
    before = snapshot(Path("results")) | snapshot(Path("checkpoints"))
    outputs = []
    for _ in range(2):
        assert run("--name", "run", "--metrics", "kid,fid,is,prc,psnr,mean_kid") == 0
        outputs.append((capsys.readouterr().out, FILE.read_bytes()))
    assert outputs[0] == outputs[1] and "note: " in outputs[0][0]
    after = snapshot(Path("results")) | snapshot(Path("checkpoints"))
    assert after.pop(Path("run/metrics.json")) and after == before


def test_notes_are_printed_once_with_what_they_are_about(capsys):
    save_run()
    save_results()
    assert run("--name", "run", "--metrics", "kid,fid,mean_kid", "--feature_extractor", "efficientnet_lite0") == 0
    printed = capsys.readouterr().out
    assert printed.count("not comparable with published numbers") == 1
    assert "note: FID_efficientnet_lite0: FID of fewer than 2048 images" in printed
    assert re.search(r"^KID_efficientnet_lite0 x100: ", printed, re.M)


def test_unpaired_run_has_no_pairs(capsys):
    save_run("unaligned")
    save_results()
    assert run("--name", "run", "--metrics", "kid,ssim,psnr") == 2
    assert "--metrics ssim,psnr" in capsys.readouterr().err and not FILE.exists()
    assert run("--name", "run") == 0
    assert [name for _, name, _ in stored()] == ["kid_inception"]


def test_results_without_their_run_count_as_paired():
    save_results()
    assert run("--name", "run") == 0 and len(stored()) == 4


def test_other_domain_stands_beside(capsys):
    save_run("unaligned")
    save_results()
    assert run("--name", "run", "--metrics", "kid") == 0
    assert run("--name", "run", "--metrics", "kid,mean_kid", "--domain", "A") == 0
    found = stored()
    assert list(found) == [
        ("test_latest", "kid_inception", "B"),
        ("test_latest", "kid_inception", "A"),
        ("test_latest", "mean_kid_inception", "A"),
    ]
    b, a, mean = found.values()
    assert a.value != b.value and "fake_A" in a.protocol["fake"]["from"] and "real_A" in a.protocol["real"]["from"]
    assert "real_B" in mean.protocol["source"]["from"]
    assert "KID x100 (A): " in capsys.readouterr().out


def test_source_of_mean_kid():
    """The inputs of the test, or any other folder."""
    save_run("unaligned")
    save_results()
    save_drawings(Path("photos"), "discs", 5, seed=9)
    for more, label in (([], "real_A"), (["--source", "photos"], "photos")):
        assert run("--name", "run", "--metrics", "mean_kid", *more) == 0
        assert label in stored()["test_latest", "mean_kid_inception", "B"].protocol["source"]["from"]


def test_other_real_images():
    save_run("unaligned")
    save_results()
    save_drawings(Path("test/more"), "boxes", 9, suffix="_real_B")
    save_drawings(Path("test"), "discs", 4)
    assert run("--name", "run", "--real", "test", "--real_suffix", "real_B", "--resize", "16") == 0
    protocol = stored()["test_latest", "kid_inception", "B"].protocol
    assert (protocol["real"]["n"], protocol["real"]["from"]) == (9, "test (*_real_B)")
    assert protocol["real"]["size"] == protocol["fake"]["size"] == "16x16"


def test_numbers_of_two_extractors_stand_side_by_side():
    save_run()
    save_results()
    for extractor in ("inception", "efficientnet_lite0", "inception"):
        assert run("--name", "run", "--metrics", "kid", "--feature_extractor", extractor) == 0
    assert [name for _, name, _ in stored()] == ["kid_inception", "kid_efficientnet_lite0"]


def test_range_of_a_run_is_that_of_its_pictures():
    """A run trained with --value_range writes pictures with that range; the metrics see 0..255."""
    save_results()
    l1 = {}
    for value_range in ([], [0, 510]):
        save_run(value_range=value_range)
        assert run("--name", "run", "--metrics", "l1") == 0
        l1[len(value_range)] = stored()["test_latest", "l1", "B"].value
    assert l1[2] == pytest.approx(l1[0] / 2, rel=1e-5)


def test_only_other_folder_and_other_phase(capsys):
    save_run()
    save_results("val_7")
    assert run("--name", "run", "--metrics", "psnr", "--phase", "test") == 2
    assert "no results" in capsys.readouterr().err
    assert run("--name", "run", "--metrics", "psnr") == 0
    save_results("val_9")
    assert run("--name", "run", "--metrics", "psnr") == 2
    assert "has val_7, val_9" in capsys.readouterr().err
    assert run("--name", "run", "--metrics", "psnr", "--phase", "val", "--epoch", "9") == 0
    assert [(each.folder, each.tag) for each in stored().values()] == [("val_7", "7"), ("val_9", "9")]


def test_epochs_in_order_and_missing_ones_made(tests, capsys):
    checkpoints("2", "10", "latest")
    save_results("test_10", seed=5)
    words = ["--name", "run", "--epoch", "10,2,latest", "--metrics", "psnr,kid"]
    assert evaluate.main([*words, *PLAIN, "--", "--eval"]) == 0
    where = ["--name", "run", "--checkpoints_dir", "checkpoints", "--results_dir", "results", "--phase", "test"]
    assert tests == [[*where, "--epoch", tag, "--gpu_ids", "-1", "--eval"] for tag in ("2", "latest")]
    assert [folder for folder, name, _ in stored() if name == "psnr"] == ["test_2", "test_10", "test_latest"]
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["results", "KID", "x100", "PSNR"]
    assert [line.split()[0] for line in table[1:4]] == ["test_2", "test_10", "test_latest"]
    assert {each.name for each in Path("results/run").iterdir() if each.is_file()} == {
        *("metrics.json", "metrics.csv", "metrics.html", "metrics_kid_inception.svg", "metrics_psnr.svg")
    }


def test_all_epochs_of_a_real_run(dataroot, capsys):
    assert train.main(arguments(dataroot, "--no_html", epochs="1")) == 0
    assert evaluate.main(["--name", "run", "--epoch", "all", "--metrics", "kid,psnr", "--gpu_ids", "-1"]) == 0
    found = stored()
    assert [key[0] for key in found if key[1] == "psnr"] == ["test_1", "test_2", "test_latest"]
    last, latest = (found[f"test_{tag}", "psnr", "B"] for tag in ("2", "latest"))
    assert last.value == latest.value and found["test_1", "psnr", "B"].value != last.value
    assert last.protocol["fake"]["n"] == 3
    pages = [Path(f"results/run/test_{tag}/index.html").stat().st_mtime_ns for tag in ("1", "2", "latest")]
    assert evaluate.main(["--name", "run", "--epoch", "all", "--metrics", "psnr", "--gpu_ids", "-1"]) == 0
    assert pages == [Path(f"results/run/test_{tag}/index.html").stat().st_mtime_ns for tag in ("1", "2", "latest")]
    assert stored() == found, "what is there is not made or measured differently"


def test_results_older_than_the_checkpoint_and_retest(tests, caplog):
    save_results()
    checkpoints("latest")
    Path("results/run/test_latest/index.html").touch()
    later = Path("results/run/test_latest/index.html").stat().st_mtime + 100
    os.utime("checkpoints/run/latest_net_G.pth", (later, later))
    assert run("--name", "run") == 0
    assert tests == [] and "older than the checkpoint; --retest" in caplog.text
    assert run("--name", "run", "--retest") == 0
    assert len(tests) == 1


def test_a_test_that_fails_ends_it(monkeypatch, capsys):
    checkpoints("latest")
    monkeypatch.setattr(test_program, "main", lambda words: 1)
    assert run("--name", "run") == 1 and not Path("results").exists()


def test_free_folders(capsys):
    fake, real = save_drawings(Path("made"), "boxes", 7), save_drawings(Path("target"), "discs", 9)
    assert run("--fake", "made", "--real", "target", "--metrics", "kid,prc", "--output", "numbers/m.json") == 0
    found = stored("numbers/m.json")
    assert list(found) == [("", f"{name}_inception", "B") for name in ("kid", "precision", "recall", "f_score")]
    expected = Suite(["kid"], CPU, kid_subset_size=4, progress=False).measure(
        FolderImages(fake, ""), FolderImages(real, "")
    )
    assert found["", "kid_inception", "B"].value == expected[0].value
    assert not Path("results").exists()
    assert run("--fake", "made", "--real", "target") == 0
    assert capsys.readouterr().out.count(f"KID x100: {expected[0].shown}\n") == 2


def test_inception_score_needs_no_real_images(capsys):
    save_drawings(Path("made"), "boxes", 7)
    save_drawings(Path("target"), "discs", 9)
    assert (
        run("--fake", "made", "--metrics", "is") == 0
        and run("--fake", "made", "--real", "target", "--metrics", "is") == 0
    )
    alone, beside = (line for line in capsys.readouterr().out.splitlines() if line.startswith("IS: "))
    assert alone == beside


def save_draws(count):
    """Draws beside the results of a run, each 10 of 255 brighter than the one before it."""
    for file in Path("results/run/test_latest/images").rglob("*_fake_B.png"):
        pixels = np.asarray(Image.open(file)).astype(int) // 4 + 60
        Image.fromarray(pixels.astype(np.uint8)).save(file)
        for number in range(2, count + 1):
            moved = (pixels + 10 * (number - 1)).astype(np.uint8)
            Image.fromarray(moved).save(file.with_name(f"{file.stem}_{number}.png"))
        for kind in ("mean", "std"):
            Image.fromarray(moved).save(file.with_name(f"{file.stem}_{kind}.png"))


def test_diversity_of_the_draws_of_a_run(capsys):
    """Three draws, 10, 20 and 10 of 255 apart; the other metrics see the first one only."""
    save_run()
    save_results()
    save_draws(3)
    assert run("--name", "run", "--metrics", "diversity,psnr") == 0
    found = stored()
    number = found["test_latest", "diversity", "B"]
    assert number.value == pytest.approx(40 / 3 / 255) and number.std == pytest.approx(0, abs=1e-6)
    assert (number.protocol["draws"], number.protocol["fake"]["n"], number.tag) == (3, 6, "latest")
    assert found["test_latest", "psnr", "B"].protocol["pairs"] == 6
    pictures = find_pictures("run", Path("checkpoints"), Path("results"), "test_latest", "B")
    assert set(pictures["fake"]) == {"sub/0", *"12345"}
    assert "diversity: 3 draws of each of 6 images of 24x24" in capsys.readouterr().out


def test_diversity_of_inputs_without_targets():
    save_run("single")
    save_results()
    save_draws(2)
    for file in Path("results/run/test_latest/images").rglob("*_real_B.png"):
        file.unlink()
    assert run("--name", "run", "--metrics", "diversity") == 0
    assert stored()["test_latest", "diversity", "B"].value == pytest.approx(10 / 255)


def test_missing_results_are_made_with_samples(tests, capsys):
    checkpoints("latest")
    words = ["--name", "run", "--metrics", "diversity", *PLAIN]
    assert evaluate.main(words) == 2 and tests == []
    assert evaluate.main([*words, "--", "--num_samples", "2"]) == 2 and len(tests) == 1  # the fake test draws once
    assert "no several draws" in capsys.readouterr().err


def test_targets_in_paired_files(capsys):
    """The right halves of a paired data set against outputs of the same names."""
    pair = np.concatenate([np.full((16, 16, 3), 9, np.uint8), np.full((16, 16, 3), 60, np.uint8)], axis=1)
    for folder in ("pairs", "made/images"):
        Path(folder).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(pair).save(f"pairs/{number}.png")
        Image.fromarray(np.full((16, 16, 3), 111, np.uint8)).save(f"made/images/{number}_fake_B.png")
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(f"made/images/{number}_real_A.png")
    words = ["--fake", "made/images", "--fake_suffix", "fake_B", "--real", "pairs", "--metrics", "l1"]
    assert run(*words, "--real_half", "right") == 0 and run(*words, "--real_half", "left") == 0
    values = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("L1")]
    assert values == ["0.2000", "0.4000"]


def test_words_after_compare_are_joined():
    split = evaluate.split_words(["--compare", "a", "b", "c", "--metrics", "kid", "--", "--eval", "x"])
    assert split == (["--compare", "a\nb\nc", "--metrics", "kid"], ["--eval", "x"])
    assert evaluate.split_words(["--gpu_ids", "-1", "--compare", "a, b"]) == (
        ["--gpu_ids", "-1", "--compare", "a\nb"],
        [],
    )
    assert evaluate.split_words(["--name", "a", "b"]) == (["--name", "a", "b"], [])
    assert evaluate.split_words(["--compare", "--verbose"]) == (["--compare", "--verbose"], [])


@pytest.mark.parametrize("names", [("a,b", "c"), ("(lr,2)", "[x]"), ("run", "other")])
def test_names_of_runs_may_hold_commas_and_brackets(names):
    for name in names:
        save_run(name=name)
        save_results(name=name)
    assert run("--compare", *names, "--metrics", "psnr") == 0
    page = Path("results/comparison/comparison.md").read_text()
    assert all(name in page for name in names)
    assert all(Path("results", name, "metrics.json").is_file() for name in names)


def test_compare_measures_what_is_asked_for_first(monkeypatch):
    asked = []

    def compare(runs, **settings):
        names = [run.name for run in runs]
        asked.append((names, settings, {name: (Path("results") / name / "metrics.json").exists() for name in names}))
        return settings["output"] / "index.html"

    monkeypatch.setattr(evaluate, "compare", compare)
    for name in ("run", "other"):
        save_run(name=name)
        save_results(name=name)
    assert run("--compare", "run", "other", "--num_images", "3") == 0
    assert run("--compare", "run", "other", "--metrics", "psnr", "--output", "page", "--domain", "A") == 0
    (names, settings, measured), (_, later, measured_later) = asked
    assert tuple(names) == ("run", "other") and settings["num_images"] == 3 and settings["folder"] == "test_latest"
    assert settings["output"] == Path("results/comparison") and later["output"] == Path("page")
    assert later["domain"] == "A" and set(measured.values()) == {False} and set(measured_later.values()) == {True}


def test_help(capsys):
    assert evaluate.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "--feature_extractor" in text and "--epoch" in text and "[-- flags for test.py]" in text


def test_numbers_of_metrics_json_are_json():
    save_run()
    save_results()
    assert run("--name", "run", "--metrics", "kid,psnr") == 0
    content = json.loads(FILE.read_text())
    assert content["format"] == 1 and [each["metric"] for each in content["measurements"]] == ["kid", "psnr"]
    assert content["measurements"][0]["protocol"]["weights_sha256"] == "ab" * 32
