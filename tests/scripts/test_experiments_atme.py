"""The two tables about ATME: their rows, which runs count as collapsed, and columns of a table's own."""

import csv
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import test
import train
from data import DATASETS
from models import MODELS
from options.parse import parse_train
from scripts.experiments import atme_heads, atme_w
from scripts.experiments.atme_rows import collapsed, last_D_entropy, last_D_sum
from scripts.experiments.grid import listening, run_table
from scripts.experiments.runs import Row, Table
from scripts.experiments.table import Column, RunEnd
from tests.conftest import trainable_args
from tests.scripts.fake_programs import DemoTable, Fakes, table_of, value_after

SMALL = [*trainable_args("atme"), "--n_epochs", "1", "--n_epochs_decay", "1", "--no_html", "--metrics", "psnr"]


def write_log(folder, rows, names="epoch,D_sum,D_entropy,collapsed"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loss_log.csv").write_text("\n".join([names, *(",".join(map(str, row)) for row in rows)]) + "\n")


@dataclass
class LoggingFakes(Fakes):
    """Also writes ``loss_log.csv``, and says why it failed. ``logs``: part of the run's name -> rows."""

    logs: dict = field(default_factory=dict)
    errors: dict = field(default_factory=dict)

    def train(self, words):
        code, name = super().train(words), value_after(words, "name")
        rows = next((rows for part, rows in self.logs.items() if part in name), [(1, 1.2, 0.6, 0.0)])
        write_log(Path("checkpoints") / name, rows)
        for part, error in self.errors.items():
            if part in name:
                print(f"train.py: error: {error}", file=sys.stderr)
        return code


@pytest.fixture
def make(workdir, dataroot):
    def run(table, *words, fakes=None, **programs):
        fakes = fakes or LoggingFakes()
        return run_table(table, ["--dataroot", str(dataroot), *SMALL, *words], fakes.commands(**programs)), fakes

    return run


def trained(fakes):
    """Name of the run -> options of train.py."""
    return {name: parse_train(words, MODELS, DATASETS) for what, name, words in fakes.calls if what == "train"}


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "flag", "names"),
    [
        (atme_heads.TABLE, "atme_head", ["resnet", "conv", "conv_clamp"]),
        (atme_w.TABLE, "atme_w", ["block", "bilinear", "identity", "none", "noise"]),
    ],
    ids=["heads", "w"],
)
def test_every_choice_with_every_initialisation_and_seed(table, flag, names, make):
    code, fakes = make(table, "--seeds", "0,4", "--init_types", "normal,orthogonal")
    found = {
        name: (getattr(o.model, flag), o.model.init_type, o.engine.seed, o.run.model)
        for name, o in trained(fakes).items()
    }
    assert code == 0
    assert found == {
        f"{table.name}_{name}_{init}_seed{seed}": (name, init, seed, "atme")
        for name in names
        for init in ("normal", "orthogonal")
        for seed in (0, 4)
    }
    rows, _ = table_of(table.name)
    assert list(rows) == names and {row["runs"] for row in rows.values()} == {"4"}
    ((compared, _),) = fakes.compared  # one run stands for a row
    assert compared == [f"{table.name}_{name}_normal_seed0" for name in names]


def test_the_default_initialisations_are_the_authors_and_their_advice(make):
    _, fakes = make(atme_heads.TABLE, "--atme_heads", "conv")
    assert list(trained(fakes)) == ["atme_heads_conv_normal_seed0", "atme_heads_conv_xavier_seed0"]


@pytest.mark.parametrize(
    ("table", "words", "message"),
    [
        (atme_heads.TABLE, ["--atme_heads", "convclamp"], "--atme_heads convclamp"),
        (atme_w.TABLE, ["--atme_ws", "blok"], "did you mean 'block'"),
        (atme_w.TABLE, ["--init_types", "norml"], "--init_types norml"),
        (atme_w.TABLE, ["--init_types", ","], "--init_types ',': name at least one"),
        (atme_heads.TABLE, ["--init_types", "normal,normal"], "row resnet normal is there twice"),
        (atme_heads.TABLE, ["--init_type", "xavier"], "--init_type: the rows"),
        (atme_heads.TABLE, ["--atme_head", "conv"], "--atme_head: the rows"),
    ],
)
def test_bad_rows_are_refused(table, words, message, make, capsys):
    code, fakes = make(table, *words)
    assert code == 2 and fakes.calls == [] and message in capsys.readouterr().err


@pytest.mark.parametrize("script", [atme_heads, atme_w])
def test_help_tells_the_rule_and_its_commands_work(script, workdir, dataroot, capsys):
    assert run_table(script.TABLE, ["--help"]) == 0
    said = capsys.readouterr().out
    assert "one of the last 3 epochs" in said and "--init_types" in said
    (workdir / "datasets").mkdir()
    (workdir / "datasets" / "facades").symlink_to(dataroot)
    commands = re.findall(rf"^ +python scripts/experiments/{script.TABLE.name}.py (.+)$", script.__doc__, re.M)
    assert len(commands) == 2
    for command in commands:
        assert run_table(script.TABLE, [*shlex.split(command), "--dry_run"]) == 0
        assert "not started" in capsys.readouterr().out


# --- which runs collapsed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([0, 0, 0, 0], 0.0),
        ([0, 0, 0, 1], 1.0),
        ([0, 1, 0, 0], 1.0),  # the third last
        ([1, 0, 0, 0], 0.0),  # it has recovered
        ([1], 1.0),
    ],
)
def test_a_mark_in_the_last_epochs_is_a_collapse(marks, expected, tmp_path):
    write_log(tmp_path, [(epoch, 1.0, 0.5, float(mark)) for epoch, mark in enumerate(marks, start=1)])
    assert collapsed(RunEnd(tmp_path)) == expected


def test_a_failed_training_counts_only_if_it_diverged(tmp_path):
    write_log(tmp_path, [(1, 1.0, 0.5, 1.0)])
    assert collapsed(RunEnd(tmp_path, trained=False, error="the GPU's memory is full")) is None
    assert collapsed(RunEnd(tmp_path, trained=False, error="a loss is not finite: G_L1 nan")) == 1.0
    assert last_D_sum(RunEnd(tmp_path, trained=False)) is None
    assert (last_D_sum(RunEnd(tmp_path)), last_D_entropy(RunEnd(tmp_path))) == (1.0, 0.5)


def test_without_a_log_or_its_columns_nothing_is_known(tmp_path):
    assert collapsed(RunEnd(tmp_path)) is None
    write_log(tmp_path, [(1, 0.5)], names="epoch,G_L1")
    assert collapsed(RunEnd(tmp_path)) is None and last_D_sum(RunEnd(tmp_path)) is None


def test_the_table_has_the_rate_and_the_last_epoch_of_d(make):
    fakes = LoggingFakes(
        logs={
            "resnet_normal_seed1": [(1, 1.0, 0.5, 0.0), (2, 0.0, 0.0, 1.0)],
            "resnet_xavier": [(1, 9.0, 9.0, 0.0), (2, 1.2, 0.6, 0.0)],
            "resnet_normal_seed0": [(1, 1.2, 0.6, 0.0)],
            "conv_normal": [(1, 1.0, 0.5, 0.0)],
            "conv_xavier": [(1, 1.0, 0.5, 0.0)],
        },
        errors={"conv_normal_seed0": "a loss is not finite: G_GAN nan", "conv_normal_seed1": "the disk is full"},
        codes={("train", "conv_normal"): 1},
        values={"atme_heads_conv_xavier_seed0": 10.0, "atme_heads_conv_xavier_seed1": 14.0},
    )
    code, _ = make(atme_heads.TABLE, "--atme_heads", "resnet,conv", "--seeds", "0,1", fakes=fakes)
    rows, text = table_of("atme_heads")
    assert code == 1
    resnet, conv = rows["resnet"], rows["conv"]
    assert list(resnet) == [
        *("head", "runs", "updates", "images seen", "collapsed", "D_sum", "D_entropy", "PSNR", "remarks")
    ]
    # 1.2, 0, 1.2, 1.2: mean 0.9; deviations 0.3 three times and 0.9: sqrt((3 * 0.09 + 0.81) / 3) = 0.6
    assert (resnet["collapsed"], resnet["D_sum"], resnet["D_entropy"]) == (
        "1 of 4",
        "0.900 +/- 0.600",
        "0.450 +/- 0.300",
    )
    assert resnet["remarks"] == "collapsed: normal seed 1"
    assert (conv["runs"], conv["collapsed"], conv["D_sum"]) == ("2", "1 of 3", "1.000 +/- 0.000")
    assert conv["PSNR"] == "12.00 +/- 2.83"
    failures = [f"normal seed {seed} (train, exit code 1)" for seed in (0, 1)]
    assert conv["remarks"] == f"failed: {failures[0]}; failed: {failures[1]}; collapsed: normal seed 0"
    assert "log 4 = 1.386" in text and "over the runs that did not fail" in text
    with open("results/atme_heads/table.csv", encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["collapse_rate"], float(first["D_sum"]), float(first["D_sum_std"])) == ("0.25", 0.9, 0.6)
    assert (second["runs"], second["failed"], second["psnr"]) == ("2", "2", "12")
    assert float(second["collapse_rate"]) == pytest.approx(1 / 3)


def test_a_finished_table_says_the_same_again(make):
    make(atme_w.TABLE, "--atme_ws", "block,none")
    written, _ = table_of("atme_w")
    code, fakes = make(atme_w.TABLE, "--atme_ws", "block,none")
    assert code == 0 and fakes.calls == [] and table_of("atme_w")[0] == written
    assert written["none"]["collapsed"] == "0 of 2"


def test_runs_to_come_are_counted(make):
    fakes = LoggingFakes(codes={("train", "conv_xavier"): 130})
    code, _ = make(atme_heads.TABLE, "--atme_heads", "resnet,conv", fakes=fakes)
    rows, _ = table_of("atme_heads")
    assert code == 130 and rows["conv"]["runs"] == "1" and rows["conv"]["remarks"] == "1 of 2 runs to come"


def test_a_row_whose_runs_all_failed_still_has_its_rate(make):
    errors = {"resnet": "network G has a weight that is not finite"}
    make(atme_heads.TABLE, "--atme_heads", "resnet", fakes=LoggingFakes(codes={("train", ""): 1}, errors=errors))
    row = table_of("atme_heads")[0]["resnet"]
    assert (row["runs"], row["collapsed"], row["D_sum"]) == ("0", "2 of 2", "failed")


# --- parts of the framework -------------------------------------------------------------------------------------------


def test_a_table_has_a_column_of_its_own(make):
    """A number that one of the rows does not have."""
    column = Column("epochs", "epochs", lambda end: 2.5 if "low" in end.checkpoints.name else None, decimals=1)
    two = [Row("low", {"lr": "1"}), Row("high", {"lr": "2"})]
    make(Table(DemoTable, "Demo", "rate", "", lambda args, base: two, model="atme", columns=[column]))
    rows, _ = table_of()
    assert [rows[name]["epochs"] for name in ("low", "high")] == ["2.5", ""]
    assert list(rows["low"])[:5] == ["rate", "seeds", "updates", "images seen", "epochs"]


def test_the_line_of_error_is_heard_and_still_printed(capsys):
    with listening() as heard:
        print("epoch 1\ntrain.py: error: first", file=sys.stderr)
        print("train.py: error: a loss is not finite: G 1e+39", file=sys.stderr)
        print("more", file=sys.stderr)
        assert sys.stderr.isatty() is False  # what it has not itself, it takes from the stream
    assert heard.error == "a loss is not finite: G 1e+39"
    assert capsys.readouterr().err.splitlines()[-1] == "more"
    with listening() as heard:
        print("nothing went wrong: no error", file=sys.stderr)
    assert heard.error == ""


# --- real runs --------------------------------------------------------------------------------------------------------


def test_real_runs_of_every_head(make):
    code, _ = make(atme_heads.TABLE, "--init_types", "normal", train=train.main, test=test.main)
    rows, _ = table_of("atme_heads")
    assert code == 0 and [row["collapsed"] for row in rows.values()] == ["0 of 1"] * 3
    for name, row in rows.items():
        with open(f"checkpoints/atme_heads_{name}_normal_seed0/loss_log.csv", newline="") as file:
            last = list(csv.DictReader(file))[-1]
        assert float(row["D_sum"]) == pytest.approx(float(last["D_real"]) + float(last["D_fake"]), abs=1e-3)
        assert 0 < float(row["D_entropy"]) <= 0.694


def test_a_real_run_that_diverges_is_counted_as_collapsed(make):
    words = ("--atme_heads", "resnet", "--init_types", "normal", "--lr", "1e30")
    code, _ = make(atme_heads.TABLE, *words, train=train.main, test=test.main)
    row = table_of("atme_heads")[0]["resnet"]
    assert code == 1 and (row["collapsed"], row["runs"]) == ("1 of 1", "0")
