"""Programs that write the files of the real ones, for tests of what calls them."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from data import DATASETS
from models import MODELS
from options.files import write_options
from options.parse import parse_train
from scripts.experiments.grid import Commands
from scripts.experiments.runs import Row, Table, TableOptions
from scripts.experiments.workers import OneWorker
from tests.conftest import TRAINABLE_ARGS
from util.metrics.measurement import Measurement, update_measurements

SMALL = [*TRAINABLE_ARGS, "--n_epochs", "1", "--n_epochs_decay", "1", "--no_html"]


@dataclass(frozen=True, kw_only=True)
class DemoTable(TableOptions):
    """A table without options of its own."""

    name: str = "demo"


TWO = Table(
    DemoTable, "Demo", "rate", "A demo.", lambda args, base: [Row("low", {"lr": "1"}), Row("high", {"lr": "2"})]
)


def value_after(words, flag):
    return words[words.index(f"--{flag}") + 1]


@dataclass
class Fakes:
    """Programs that write the files of the real ones, at once, and note how they were called.

    ``codes``: (program, part of the run's name) -> exit code instead. ``values``: run -> its PSNR.
    """

    codes: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    compared: list = field(default_factory=list)
    checked: list = field(default_factory=list)

    def commands(self, **others):
        programs = {name: getattr(self, name) for name in ("train", "test", "evaluate", "compare", "check_metrics")}
        return Commands(**{**programs, "open_workers": lambda options, folder: OneWorker(), **others})

    def note(self, program, words):
        name = value_after(words, "name")
        self.calls.append((program, name, words))
        return next((code for (what, part), code in self.codes.items() if what == program and part in name), 0)

    def train(self, words):
        code = self.note("train", words)
        if code in (0, 130):
            options = parse_train(words, MODELS, DATASETS)
            folder = Path(options.run.checkpoints_dir) / options.run.name
            folder.mkdir(parents=True, exist_ok=True)
            write_options(options.lasting, options.defaults, folder, "train")
            done = options.schedule.n_epochs + options.schedule.n_epochs_decay if code == 0 else 1
            progress = {"epoch": done + 1, "epoch_iter": 0, "total_iters": 5 * done, "steps": 3 * done}
            torch.save({"format": 1, "progress": progress}, folder / "latest_state.pth")
        return code

    def test(self, words):
        if code := self.note("test", words):
            return code
        folder = Path(value_after(words, "results_dir")) / value_after(words, "name") / "test_latest"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text("page")
        return 0

    def evaluate(self, words):
        if code := self.note("evaluate", words):
            return code
        name = value_after(words, "name")
        file = Path(value_after(words, "results_dir")) / name / "metrics.json"
        found = []
        for short in value_after(words, "metrics").split(","):
            full = f"{short}_inception" if short == "kid" else short
            value = self.values.get(name, 20.0) if short == "psnr" else 0.0125
            facts = {side: {"n": 3, "size": "32x32"} for side in ("fake", "real")}
            drawn = {"subset_size": 3, "subsets": 100, "seed": 2020} if short == "kid" else {}
            found.append(Measurement(full, short, value, 0.5, {**facts, **drawn}, folder="test_latest", tag="latest"))
        update_measurements(file, found)
        return 0

    def compare(self, names, **settings):
        self.compared.append((list(names), settings))
        return settings["output"] / "index.html"

    def check_metrics(self, names, options):
        self.checked.append((tuple(names), options.feature_extractor))

    def programs(self):
        return [(program, name) for program, name, _ in self.calls]


def table_of(name="demo"):
    """Label -> cells of the written Markdown table, and the whole text."""
    text = Path(f"results/{name}/table.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    head, body = rows[0], rows[2:]
    return {row[0]: dict(zip(head, row)) for row in body}, text
