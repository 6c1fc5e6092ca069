"""The figure and the table of a paper, from result folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import figure
from util.metrics.measurement import FILE_NAME, Measurement, update_measurements

COLOURS = {"real_A": (200, 0, 0), "real_B": (0, 0, 200)}


def write_results(root: Path, name: str, colour: tuple[int, int, int], stems: tuple[str, ...] = ("1", "2")) -> None:
    folder = root / "results" / name / "test_latest" / "images"
    folder.mkdir(parents=True)
    for stem in stems:
        for what, of in {**COLOURS, "fake_B": colour}.items():
            Image.new("RGB", (32, 32), of).save(folder / f"{stem}_{what}.png")


def measure(root: Path, name: str, **values: float) -> None:
    protocol = {"fake": {"n": 2, "size": "32x32"}, "pairs": 2}
    found = [Measurement(key, key, value, 0.5, protocol, folder="test_latest") for key, value in values.items()]
    update_measurements(root / "results" / name / FILE_NAME, found)


@pytest.fixture
def root(workdir: Path) -> Path:
    write_results(workdir, "base", (0, 200, 0))
    write_results(workdir, "ours_2", (200, 200, 0), ("1", "2", "3"))
    measure(workdir, "base", psnr=20.0, l1=0.1)
    measure(workdir, "ours_2", psnr=21.25, l1=0.2)
    return workdir


def test_columns_are_input_runs_and_target(root: Path) -> None:
    assert figure.main(["base", "ours_2", "--crops", "4,4,8,8", "--output", "out/f"]) == 0
    pixels = np.asarray(Image.open("out/f.png").convert("RGB"))
    row, width = 200, pixels.shape[1]
    shown = [tuple(pixels[row, round(width * (place + 0.5) / 4)]) for place in range(4)]
    assert shown == [COLOURS["real_A"], (0, 200, 0), (200, 200, 0), COLOURS["real_B"]]
    assert Path("out/f.pdf").read_bytes().startswith(b"%PDF") and width == 2100


def test_text_stays_text(root: Path) -> None:
    words = ["base", "ours_2", "--columns", "results,target", "--names", "Base, old", "Ours (50%)", "--output", "f.svg"]
    assert figure.main([*words, "--images", "2"]) == 0
    text = Path("f.svg").read_text()
    assert (
        all(f">{caption}</text>" in text for caption in ("Base, old", "Ours (50%)", "Target")) and ">Input" not in text
    )
    assert not Path("f.png").exists()


def test_the_table(root: Path) -> None:
    assert figure.main(["base", "ours_2", "--num_images", "0", "--table", "--table_caption", "A & B"]) == 0
    assert Path("results/figure.tex").read_text().splitlines()[1:] == [
        r"\begin{table}[t]",
        r"  \centering",
        r"  \caption{A \& B}",
        r"  \label{tab:metrics}",
        r"  \begin{tabular}{lrr}",
        r"    \toprule",
        r"    Method & PSNR $\uparrow$ & L1 $\downarrow$ \\",
        r"    \midrule",
        r"    base & 20.00 & \textbf{0.1000} \\",
        r"    ours\_2 & \textbf{21.25} & 0.2000 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    assert not Path("results/figure.pdf").exists()
    words = ["base", "ours_2", "--num_images", "0", "--table", "--metrics", "l1", "--spread"]
    assert figure.main(words) == 0
    assert r"base & \textbf{0.1000} $\pm$ 0.5000 \\" in Path("results/figure.tex").read_text()


def test_what_must_not_be_compared_has_no_best(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = {"fake": {"n": 50, "size": "32x32"}, "pairs": 50}
    found = [Measurement("psnr", "psnr", 30.0, None, protocol, folder="test_latest")]
    update_measurements(root / "results/base" / FILE_NAME, found)
    assert figure.main(["base", "ours_2", "--num_images", "0", "--table", "--metrics", "psnr"]) == 0
    text = Path("results/figure.tex").read_text()
    assert "% NOT COMPARABLE: PSNR: different number of" in text and "textbf" not in text
    assert "not comparable: PSNR" in capsys.readouterr().err


def test_a_picture_that_no_run_has(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("base", "ours_2"):
        (root / "results" / name / "test_latest" / "images" / "2_real_A.png").unlink()
    assert figure.main(["base", "ours_2", "--columns", "input", "--output", "f.png"]) == 2
    assert capsys.readouterr().err == (
        "figure.py: error: --columns input: there is no such picture of 2; add results\n"
    )
    Path("f.pdf").mkdir()
    assert figure.main(["base", "--output", "f"]) == 2
    assert capsys.readouterr().err == "figure.py: error: --output f: f.pdf is a folder; give another name\n"
    assert not Path("f.png").exists()


def test_wrong_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["gone"], "run gone: results/gone/test_latest/images does not exist; make it by: python test.py --name gone"),
        (["base", "base"], "base: given twice"),
        (["base", "ours_2", "--images", "3"], "--images 3: unknown image"),
        (["base", "--crops", "1,1,40,2"], "--crops 1,1,40,2: not within the picture 1 of 32 x 32 pixels"),
        (["base", "--crops", "1,1"], "write X,Y,W,H in pixels"),
        (["base", "--crops", "9:1,1,2,2"], "--crops 9:1,1,2,2: unknown image"),
        (["base", "--captions", "a"], "--captions a: 1 text for 3 columns; give 3"),
        (["base", "--columns", "inputs"], "did you mean 'input'"),
        (["base", "--formats", "gif"], "--formats gif: unknown format"),
        (["base", "--num_images", "0"], "give --table"),
        (["base", "--num_images", "0", "--table", "--domain", "A"], "nothing was measured of fake_A in test_latest"),
        (["base", "--table", "--metrics", "kid"], "--metrics kid: unknown measured metric"),
    ):
        assert figure.main([*words, "--output", "out/f"]) == 2
        assert message in capsys.readouterr().err
    assert not Path("out").exists()
