"""Do the samples of a SAGAN run of drawn shapes have the colour and the outline that were asked for?

python datasets/make_demo.py shapes --out datasets/demo_shapes --size 32 --n_train 2400
python -m benchmarks.shapes --name RUN [--epoch 20,40,latest] [--n_samples 600] [--judge judge.pt] [flags of test.py]

The judge is a small classifier of colour and outline. It is trained on real drawn shapes of other seeds than any
training set, and must name 98 % of held-out real ones rightly, or nothing is measured. Prints one Markdown row per
checkpoint and the details of the last one; ``results/RUN/shapes_<epoch>`` has ``judged.json`` and ``sheet.png``, one
column per class.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from datasets.demo.shapes import CLASSES, draw_shape
from models.sagan.samples import Sample, class_names_of, draw
from models.sagan.sheets import Columns, sample_sheet
from models.trained import load
from util.exit_code import EXIT_DONE, run_command

COLOURS = tuple(dict.fromkeys(name.split("_")[0] for name in CLASSES))
OUTLINES = tuple(dict.fromkeys(name.split("_")[1] for name in CLASSES))
TRAINING_SEED, HELD_OUT_SEED = 7_000_001, 7_000_002
LEAST = 0.98
"""Share of held-out real shapes that a judge must name rightly, colour and outline."""

ROWS = 8  # of sheet.png


class Judge(nn.Module):
    """Names colour and outline: four convolutions, the mean over all positions, one linear layer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for number, wide in enumerate((width, width, 2 * width, 4 * width)):
            conv = nn.Conv2d(channels, wide, 3, stride=1 if number == 0 else 2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(wide), nn.ReLU()]
            channels = wide
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, len(COLOURS) + len(OUTLINES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``[N, 3, S, S]`` in [-1, 1] -> logits ``[N, 3]`` of the colours and ``[N, 4]`` of the outlines."""
        logits = self.head(self.features(images).mean((2, 3)))
        return logits[:, : len(COLOURS)], logits[:, len(COLOURS) :]

    @torch.no_grad()
    def classes(self, images: Tensor) -> Tensor:
        """What is seen: int64 ``[N]``, places in ``CLASSES``; in test mode."""
        self.eval()
        found = []
        for part in images.split(256):
            colour, outline = self(part)
            found.append(colour.argmax(1) * len(OUTLINES) + outline.argmax(1))
        return torch.cat(found)


def real_shapes(count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Drawn shapes, all classes in turn.

    Returns:
        ``[count, 3, size, size]`` in [-1, 1], and the classes, int64 ``[count]``.
    """
    labels = [number % len(CLASSES) for number in range(count)]
    drawn = [draw_shape(np.random.default_rng([seed, n]), size, label) for n, label in enumerate(labels)]
    images = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.tensor(labels)


def train_judge(images: Tensor, labels: Tensor, *, epochs: int = 30, batch_size: int = 64, width: int = 32) -> Judge:
    """A judge of these images.

    It learns them mirrored (as trainings do unless ``--no_flip``), moved by up to two pixels, and with some noise,
    because a generator's textures are not exactly those of the drawings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Judge(width)
        optimizer = torch.optim.Adam(judge.parameters(), 2e-3)
        size = images.shape[-1]
        steps = epochs * -(-len(images) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for _ in range(epochs):
            for part in torch.randperm(len(images)).split(batch_size):
                x = images[part]
                x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
                top, left = torch.randint(5, (2,)).tolist()
                x = F.pad(x, (2, 2, 2, 2), mode="replicate")[:, :, top : top + size, left : left + size]
                colour, outline = judge(x + 0.1 * torch.rand(len(x), 1, 1, 1) * torch.randn(x.shape))
                y = labels[part]
                loss = F.cross_entropy(colour, y // len(OUTLINES)) + F.cross_entropy(outline, y % len(OUTLINES))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return judge.eval()


@dataclass(frozen=True)
class Verdict:
    """Shares of images, 0 to 1, by what was asked and what is seen.

    Attributes:
        colour, outline, both: right ones.
        outlines: ``[asked][seen]``, numbers of images, in the order of ``OUTLINES``.
        classes: share of each class with both right.
    """

    images: int
    colour: float
    outline: float
    both: float
    outlines: list[list[int]]
    classes: dict[str, float]

    def row(self, name: str) -> str:
        """One row of the Markdown table."""
        worst = min(self.classes, key=lambda each: self.classes[each])
        shares = " | ".join(f"{100 * share:.1f} %" for share in (self.colour, self.outline, self.both))
        return f"| {name} | {self.images} | {shares} | {worst} {100 * self.classes[worst]:.0f} % |"


HEADER = "| images | number | colour right | outline right | both right | worst class |\n" + "| --- " * 6 + "|"


def verdict(asked: Tensor, seen: Tensor) -> Verdict:
    """Compare classes that were asked for with those seen, int64 ``[N]`` each."""
    n = len(OUTLINES)
    colour, outline = asked // n == seen // n, asked % n == seen % n
    both = colour & outline
    table = torch.bincount((asked % n) * n + seen % n, minlength=n * n).view(n, n)
    classes = {CLASSES[k]: float(both[asked == k].float().mean()) for k in asked.unique().tolist()}
    a, b, c = (float(each.float().mean()) for each in (colour, outline, both))
    return Verdict(len(asked), a, b, c, outlines=table.tolist(), classes=classes)


def details(found: Verdict) -> str:
    """Markdown: outlines asked (rows) and seen (columns), and the classes."""
    lines = ["| asked \\ seen | " + " | ".join(OUTLINES) + " |", "| --- " * (1 + len(OUTLINES)) + "|"]
    lines += [f"| {name} | " + " | ".join(map(str, row)) + " |" for name, row in zip(OUTLINES, found.outlines)]
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.classes.items())
    return "\n".join([*lines, "", f"both right: {shares}"])


def judge_for(size: int, file: Path | None, count: int) -> tuple[Judge, Verdict]:
    """A judge of images of this size, read from ``file`` if it is there, and what it says of held-out real shapes.

    Raises:
        ValueError: it is wrong about too many of them.
    """
    if file and file.is_file():
        judge = Judge()
        judge.load_state_dict(torch.load(file, weights_only=True))
    else:
        judge = train_judge(*real_shapes(count, size, TRAINING_SEED))
    images, labels = real_shapes(600, size, HELD_OUT_SEED)
    held_out = verdict(labels, judge.classes(images))
    if held_out.both < LEAST:
        raise ValueError(
            f"the judge is right about {100 * held_out.both:.1f} % of real shapes, fewer than {100 * LEAST:.0f} %: "
            + (f"delete {file}" if file and file.is_file() else "raise --n_judge")
        )
    if file and not file.is_file():
        torch.save(judge.state_dict(), file)
    return judge, held_out


def judge_run(argv: argparse.Namespace, flags: Sequence[str]) -> None:
    """Print the table of a run's checkpoints, and write the folders.

    Raises:
        ValueError: the run's classes are not those of the drawn shapes, or the judge is not good enough.
    """
    judge: Judge | None = None
    found: Verdict | None = None
    print(HEADER)
    for epoch in argv.epoch.split(","):
        seeded = [*flags, "--sample_seed", str(argv.seed)]
        run = load(argv.name, checkpoints_dir=argv.checkpoints_dir, epoch=epoch, flags=seeded)
        model: Any = run.model
        names = class_names_of(run.folder, model.options.num_classes)
        if sorted(names) != sorted(CLASSES):
            raise ValueError(f"--name {argv.name}: its classes are not those of datasets/make_demo.py shapes")
        if judge is None:
            judge, real = judge_for(model.image_size, argv.judge, argv.n_judge)
            print(real.row("held-out real"), flush=True)
        each = -(-argv.n_samples // len(names))
        labels = [names.index(name) for name in CLASSES for _ in range(each)]
        samples = [Sample(label, number % each) for number, label in enumerate(labels)]
        images = torch.stack(list(draw(model, samples, seed=argv.seed)))
        asked = torch.arange(len(CLASSES)).repeat_interleave(each)
        found = verdict(asked, judge.classes(images))
        print(found.row(f"epoch {epoch}"), flush=True)
        folder = Path(argv.results_dir) / argv.name / f"shapes_{epoch}"
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"run": argv.name, "checkpoint": run.tag, "network": model.sampled, "seed": argv.seed}
        facts |= {"standing_stats": run.options.test.standing_stats}
        (folder / "judged.json").write_text(
            json.dumps({**facts, **asdict(found), "real": asdict(real)}, indent=1) + "\n"
        )
        rows = min(ROWS, each)
        shown = images.view(len(CLASSES), each, *images.shape[1:])[:, :rows].flatten(0, 1)
        sheet = sample_sheet(shown, Columns(tuple(range(len(CLASSES))), rows), CLASSES)
        Image.fromarray(sheet).save(folder / "sheet.png")
    if found:
        print(f"\n{details(found)}\n\n{folder}")


def main(argv: Sequence[str] | None = None) -> int:
    """2 for bad input, a judge that is not good enough among it."""
    return run_command("benchmarks/shapes.py", argv, _run)


def _run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="run of --model sagan, trained on drawn shapes")
    parser.add_argument("--epoch", default="latest", help="checkpoints, separated by commas")
    parser.add_argument("--n_samples", type=int, default=600, help="samples in all, every class equally often")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--checkpoints_dir", default="./checkpoints", help="folder of all runs")
    parser.add_argument("--results_dir", default="./results", help="folder of the results")
    parser.add_argument("--n_judge", type=int, default=2400, help="real shapes that the judge is trained on")
    parser.add_argument(
        "--judge", type=Path, metavar="FILE", help="the judge's weights: read, or else trained and kept"
    )
    known, flags = parser.parse_known_args(argv)
    judge_run(known, flags)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
