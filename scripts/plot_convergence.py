"""Draw how near D is to the equilibrium: D_real + D_fake of every epoch, beside log 4, of one run or several.

Usage:
    python scripts/plot_convergence.py facades_atme
    python scripts/plot_convergence.py facades_atme facades_pix2pix --output figures/convergence.pdf
A run is a name below --checkpoints_dir, a folder, or a loss_log.csv, also one of the published code.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from options.files import read_options
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import replace_text
from util.images.folder import subfolders
from util.loggers.csv_log import FILE_NAME
from util.pages.charts import FORMATS, Chart, Points
from util.registry import closest
from util.run.folder import check_writable, make_folder
from util.wording import counted

LOG_4 = math.log(4)
PAIRS = (("D_real", "D_fake"), ("D_A", "D_B"))


@dataclass(frozen=True)
class Curve:
    """A run.

    Attributes:
        name: in the legend.
        parts: names of the two losses.
        rows: (epoch, first loss, second loss), ascending; on the scale whose equilibrium is log 4 together.
        gan_mode: of the run, empty where it is not known.
    """

    name: str
    parts: tuple[str, str]
    rows: list[tuple[int, float, float]]
    gan_mode: str = ""

    @property
    def sums(self) -> list[tuple[float, float]]:
        """(epoch, sum of both losses)."""
        return [(float(epoch), first + second) for epoch, first, second in self.rows]


@dataclass(frozen=True, kw_only=True)
class ConvergenceOptions(OptionRecord):
    """Which runs are drawn, and how."""

    runs: tuple[str, ...] = arg(
        (), positional=True, several=True, metavar="RUN", help="names of runs, their folders, or files loss_log.csv"
    )
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    smooth: int = arg(9, help="epochs of the moving average, odd")
    format: str | None = arg(
        None, choices=FORMATS, help="file format of the chart (default: that of --output, else svg)"
    )
    output: Path | None = arg(
        None, metavar="FILE", help="file of the chart (default: results/[<run>/]convergence.<format>)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Draw; returns 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    return run_command("plot_convergence.py", argv, _run)


def read_curve(path: Path) -> list[tuple[tuple[str, str], tuple[int, float, float]]]:
    """Read a loss log: the names of the two losses and (epoch, first, second), row by row.

    The published log has no column of epochs: its rows count, and a header repeated by a resumed run does not. In its
    unpaired form (``D_A, D_B``) each loss is doubled there, and is halved here. A row without both losses is left out,
    and so is a cut last row.

    Raises:
        ValueError: no such losses, or a row that does not fit its header.
    """
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    header: list[str] = []
    found = []
    count = 0
    for number, cells in enumerate(csv.reader(lines, skipinitialspace=True), start=1):
        cells = [cell.strip() for cell in cells]
        if not _is_number(cells[0]):
            header = cells
            continue
        pair = next((each for each in PAIRS if set(each) <= set(header)), None)
        if pair is None:
            raise ValueError(f"{path}: the header {','.join(header)!r} has neither D_real and D_fake nor D_A and D_B")
        if len(cells) != len(header):
            if number == len(lines):
                break
            raise ValueError(f"{path}: row {number} does not fit the header; remove the row")
        row = dict(zip(header, cells))
        count += 1
        if not all(_is_number(row[name]) for name in pair):
            continue
        first, second = (float(row[name]) for name in pair)
        doubled = pair == PAIRS[1] and "epoch" not in header
        epoch = int(row.get("epoch", count))
        found.append((pair, (epoch, first / (1 + doubled), second / (1 + doubled))))
    return found


def moving_average(points: Points, width: int) -> list[tuple[float, float]]:
    """The mean of the points within ``width`` epochs centred on each; at both ends, and at gaps, of those that exist.

    Args:
        points: (epoch, value), ascending.
        width: odd.
    """
    half = width // 2
    found = []
    for epoch, _ in points:
        near = [value for other, value in points if abs(other - epoch) <= half]
        found.append((epoch, math.fsum(near) / len(near)))
    return found


def chart(smooth: Mapping[str, Points], raw: Mapping[str, Points], width: int) -> Chart:
    """The curves of all runs beside log 4.

    Args:
        smooth: run -> (epoch, moving average of the sum).
        raw: run -> (epoch, sum), drawn thin; empty where nothing is averaged.
        width: epochs of the moving average.
    """
    epochs = [epoch for points in smooth.values() for epoch, _ in points]
    thick = f", thick: mean of {width} epochs around each" if width > 1 else ""
    guides = {"log 4": [(min(epochs), LOG_4), (max(epochs), LOG_4)]}
    return Chart(f"D_real + D_fake{thick}", smooth, "epoch", guides=guides, faint=raw)


def _run(words: list[str]) -> int:
    args = parse_record("scripts/plot_convergence.py", ConvergenceOptions, words, __doc__)
    if args.smooth < 1 or args.smooth % 2 == 0:
        raise ValueError(f"--smooth {args.smooth}: give an odd number of epochs, 1 for none")
    curves = [_load(run, args.checkpoints_dir) for run in args.runs]
    names = _legend(args.runs, curves)
    only = Path(curves[0].name) if len(curves) == 1 else Path()
    output = args.output or Path("results") / only / f"convergence.{args.format or 'svg'}"
    kinds = [args.format] if args.format else FORMATS
    if output.suffix.lower().removeprefix(".") not in kinds or output.is_dir():
        raise ValueError(f"--output {output}: name a file that ends in {' or '.join(f'.{kind}' for kind in kinds)}")
    check_writable(output, f"--output {output}")
    make_folder(output.parent, f"--output {output}")
    smooth = {name: moving_average(curve.sums, args.smooth) for name, curve in zip(names, curves)}
    raw = {name: curve.sums for name, curve in zip(names, curves)} if args.smooth > 1 else {}
    chart(smooth, raw, args.smooth).save(output)
    replace_text(output.with_suffix(".csv"), [_table(names, curves, smooth)])
    for name, curve in zip(names, curves):
        print("\n".join(_lines(name, curve, args.smooth)))
    print(f"log 4 = {LOG_4:.4f}, where D_real = D_fake = log 2: D cannot tell real from fake")
    print(f"written: {output}, {output.with_suffix('.csv')}")
    return EXIT_DONE


def _load(run: str, checkpoints_dir: Path) -> Curve:
    named = Path(run)
    folder = named if named.is_dir() else checkpoints_dir / named
    path = named if named.is_file() else folder / FILE_NAME
    if not path.is_file():
        near = closest(run, subfolders(checkpoints_dir))
        hint = f"did you mean {near}?" if near and not folder.is_dir() else "give a run, its folder, or a loss_log.csv"
        raise FileNotFoundError(f"{run}: {path} does not exist; {hint}")
    found = read_curve(path)
    rows: dict[int, tuple[int, float, float]] = {row[0]: row for _, row in found}
    finite = [row for _, row in sorted(rows.items()) if math.isfinite(row[1] + row[2])]
    if not finite:
        raise ValueError(f"{path}: no epoch with losses of D; the log begins with the end of the first epoch")
    if len({pair for pair, _ in found}) > 1:
        raise ValueError(f"{path}: the headers name both D_real, D_fake and D_A, D_B; split the file")
    saved = read_options(path.parent, required=False)
    return Curve(path.absolute().parent.name, found[0][0], finite, str(saved.get("gan_mode") or ""))


def _legend(given: Sequence[str], curves: Sequence[Curve]) -> list[str]:
    """Names of the curves, each once: that of the folder, or what the user wrote where two would be equal."""
    names = [curve.name for curve in curves]
    found = [name if names.count(name) == 1 else run for name, run in zip(names, given)]
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise ValueError(f"{twice}: given twice; name each run once")
    return found


def _table(names: Sequence[str], curves: Sequence[Curve], smooth: Mapping[str, Points]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "epoch", "D_real_or_A", "D_fake_or_B", "sum", "smoothed"])
    for name, curve in zip(names, curves):
        for (epoch, first, second), (_, mean) in zip(curve.rows, smooth[name]):
            writer.writerow([name, epoch, first, second, first + second, mean])
    return text.getvalue()


def _lines(name: str, curve: Curve, width: int) -> list[str]:
    """The last epochs in words."""
    epoch, first, second = curve.rows[-1]
    last = [value for _, value in curve.sums[-width:]]
    parts = f"{curve.parts[0]} {first:.4f}, {curve.parts[1]} {second:.4f}"
    lines = [f"{name}: epoch {epoch}: {first + second:.4f} ({parts})"]
    if len(last) > 1:
        lines[0] += f"; mean of the last {counted(len(last), 'epoch')} {math.fsum(last) / len(last):.4f}"
    if curve.gan_mode not in ("", "vanilla"):
        lines.append(f"note: {name} was trained with --gan_mode {curve.gan_mode}, whose equilibrium is not log 4")
    return lines


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
