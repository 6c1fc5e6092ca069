"""The tables of experiments: what is run, what is not run again, what a table says."""

import csv
import os
import shlex
import signal
from pathlib import Path

import pytest

import test
import train
from data import DATASETS
from models import MODELS
from options.parse import parse_train
from scripts.experiments import batch_size
from scripts.experiments.grid import Commands, run_table
from scripts.experiments.runs import Row, Table
from scripts.experiments.table import mean_std
from tests.scripts.fake_programs import SMALL, TWO, DemoTable, Fakes, table_of, value_after
from util.metrics.measurement import Measurement, update_measurements


@pytest.fixture
def make(workdir, dataroot):
    """Run a table of fakes from a command line: (exit code, fakes)."""

    def run(*words, table=TWO, fakes=None, small=True):
        fakes = fakes or Fakes()
        given = [*SMALL, *words] if small else list(words)
        return run_table(table, ["--dataroot", str(dataroot), *given], fakes.commands()), fakes

    return run


# --- what is run ------------------------------------------------------------------------------------------------------


def test_every_row_and_seed_is_trained_tested_and_measured(make):
    code, fakes = make("--seeds", "0,7", "--metrics", "kid,psnr")
    runs = ["demo_low_seed0", "demo_low_seed7", "demo_high_seed0", "demo_high_seed7"]
    assert code == 0
    assert fakes.programs() == [(program, run) for run in runs for program in ("train", "test", "evaluate")]
    words = {(program, name): words for program, name, words in fakes.calls}
    options = parse_train(words["train", "demo_high_seed7"], MODELS, DATASETS)
    assert (options.model.lr, options.engine.seed, options.run.model) == (2.0, 7, "pix2pix")
    assert options.model.ngf == 4  # passed on
    assert value_after(words["evaluate", "demo_low_seed0"], "metrics") == "kid,psnr"
    assert fakes.checked == [(("kid", "psnr"), "inception")]
    ((names, settings),) = fakes.compared
    assert names == ["demo_low_seed0", "demo_high_seed0"]
    assert settings["output"] == Path("results/demo/comparison")


def test_places_and_devices_go_to_all_programs(make, dataroot, tmp_path):
    code, fakes = make(
        *("--name", "p", "--checkpoints_dir", "c", "--results_dir", "r", "--gpu_ids", "3,4", "--kid_subsets", "9"),
        *("--feature_extractor", "efficientnet_lite0", "--metrics", "psnr", "--", "--ngf", "6"),
    )
    assert code == 0 and Path("r/p/table.md").is_file() and Path("c/p_low_seed0").is_dir()
    train_words, test_words, evaluate_words = (words for _, name, words in fakes.calls if name == "p_low_seed0")
    assert value_after(train_words, "gpu_ids") == "3,4"
    assert value_after(test_words, "gpu_ids") == value_after(evaluate_words, "gpu_ids") == "3"
    assert parse_train(train_words, MODELS, DATASETS).model.ngf == 6
    assert value_after(evaluate_words, "feature_extractor") == "efficientnet_lite0"
    assert value_after(evaluate_words, "kid_subsets") == "9"
    assert value_after(evaluate_words, "checkpoints_dir") == "c" and "--kid_subsets" not in test_words


def test_a_finished_table_is_only_written_again(make):
    assert make()[0] == 0
    written, _ = table_of()
    Path("results/demo/table.md").unlink()
    code, fakes = make()
    assert code == 0 and fakes.calls == [] and fakes.checked == []
    assert table_of()[0] == written


def test_measuring_again_or_more(make):
    make("--metrics", "psnr")
    assert [program for program, _ in make("--metrics", "psnr", "--evaluate_again")[1].programs()] == ["evaluate"] * 2
    assert [program for program, _ in make("--metrics", "psnr,kid")[1].programs()] == ["evaluate"] * 2


def test_results_of_an_older_checkpoint_are_made_again(make):
    make()
    os.utime("checkpoints/demo_low_seed0/latest_state.pth")
    assert make()[1].programs() == [("test", "demo_low_seed0"), ("evaluate", "demo_low_seed0")]
    os.utime("results/demo_high_seed0/test_latest/index.html")  # tested by hand
    assert make()[1].programs() == [("evaluate", "demo_high_seed0")]


def test_logging_and_place_of_threads_may_differ(make):
    make()
    code, fakes = make("--print_freq", "7", "--num_threads", "3")
    assert code == 0 and fakes.calls == []


def test_a_run_with_other_options_is_refused_before_anything_starts(make, capsys):
    make(table=Table(DemoTable, "Demo", "rate", "", lambda args, base: [Row("high", {"lr": "2"})]))
    code, fakes = make("--n_epochs", "9")
    said = capsys.readouterr().err
    assert code == 2 and fakes.calls == []
    assert "demo_high_seed0" in said and "--n_epochs was 1, is 9 now" in said and "--name PREFIX" in said


def test_a_run_on_other_data_is_refused(make, tmp_path_factory, capsys):
    make()
    other = tmp_path_factory.mktemp("other")
    assert run_table(TWO, ["--dataroot", str(other), *SMALL], Fakes().commands()) == 2
    assert "--dataroot was" in capsys.readouterr().err


# --- stops and failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [130, 143])
@pytest.mark.parametrize("program", ["train", "test", "evaluate"])
def test_a_signal_stops_the_table_and_the_same_command_goes_on(program, code, make, capsys, dataroot):
    stopped, fakes = make(fakes=Fakes(codes={(program, "low"): code}))
    assert stopped == code and {name for _, name in fakes.programs()} == {"demo_low_seed0"}
    said = capsys.readouterr().err
    command = shlex.split(said.splitlines()[-1].split(": ", 1)[1])
    assert command == ["python", "scripts/experiments/demo.py", "--dataroot", str(dataroot), *SMALL]
    again, fakes = make()
    assert again == 0
    rest = {"train": ["train", "test", "evaluate"], "test": ["test", "evaluate"], "evaluate": ["evaluate"]}[program]
    assert [what for what, name in fakes.programs() if "low" in name] == rest


def test_an_interrupted_training_is_continued(make):
    make(fakes=Fakes(codes={("train", "low"): 130}))
    _, fakes = make()
    words = {name: words for program, name, words in fakes.calls if program == "train"}
    assert "--continue_train" in words["demo_low_seed0"] and "--continue_train" not in words["demo_high_seed0"]


def test_a_run_without_a_checkpoint_starts_over(make):
    make(fakes=Fakes(codes={("train", "low"): 130}))
    Path("checkpoints/demo_low_seed0/latest_state.pth").unlink()
    Path("checkpoints/demo_low_seed0/loss_log.csv").write_text("epoch,G_L1\n1,0.5\n")
    assert "--overwrite" in make()[1].calls[0][2]


def test_weights_without_a_state_are_not_thrown_away(make, capsys):
    make()
    folder = Path("checkpoints/demo_low_seed0")
    (folder / "latest_state.pth").rename(folder / "5_state.pth")
    code, fakes = make()
    assert code == 2 and fakes.calls == [] and "no latest_state.pth" in capsys.readouterr().err


def test_a_damaged_state_is_named(make, capsys):
    make()
    Path("checkpoints/demo_high_seed0/latest_state.pth").write_bytes(b"half of it")
    code, fakes = make()
    assert code == 2 and fakes.calls == [] and "demo_high_seed0/latest_state.pth: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["train", "test", "evaluate"])
def test_a_failed_row_is_reported_and_the_others_go_on(program, make):
    code, fakes = make("--metrics", "psnr", fakes=Fakes(codes={(program, "low"): 1}))
    rows, _ = table_of()
    assert code == 1
    assert rows["low"]["remarks"] == f"failed: seed 0 ({program}, exit code 1)"
    assert rows["low"]["PSNR"] == "failed" and rows["high"]["PSNR"] == "20.00"
    assert fakes.compared == []  # one row alone is nothing to compare


def test_a_failed_seed_is_left_out_of_the_mean(make):
    values = {"demo_low_seed0": 10.0, "demo_low_seed1": 99.0, "demo_low_seed2": 13.0}
    fakes = Fakes(codes={("evaluate", "low_seed1"): 1, ("train", "high_seed0"): 1}, values=values)
    code, fakes = make("--seeds", "0,1,2", "--metrics", "psnr", fakes=fakes)
    rows, _ = table_of()
    assert code == 1 and rows["low"]["seeds"] == "2"
    assert rows["low"]["PSNR"] == "11.50 +/- 2.12"  # sqrt((1.5^2 + 1.5^2) / 1)
    assert fakes.compared[0][0] == ["demo_low_seed0", "demo_high_seed1"]


@pytest.mark.parametrize("program", ["train", "test", "evaluate"])
def test_bad_input_stops_at_once(program, make, capsys):
    code, fakes = make(fakes=Fakes(codes={(program, "low"): 2}))
    assert code == 2 and {name for _, name in fakes.programs()} == {"demo_low_seed0"}
    assert "stopped in demo_low_seed0; put that right" in capsys.readouterr().err


def test_missing_weights_of_a_metric_are_told_before_anything_is_trained(workdir, dataroot, capsys):
    words = ["--dataroot", str(dataroot), *SMALL, "--metrics", "kid", "--inception_weights", "nowhere.pth"]
    fakes = Fakes()
    assert run_table(TWO, words, fakes.commands(check_metrics=Commands().check_metrics)) == 2
    assert fakes.calls == [] and "--inception_weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n_epoch", "3"], "did you mean --n_epochs"),
        (["--", "--n_epochs", "many"], "--n_epochs many"),
        (["--seed", "3"], "give --seeds"),
        (["--seeds", "0,0"], "--seeds 0,0"),
        (["--seeds", "a"], "--seeds a"),
        (["--lr", "0.1"], "--lr: the rows of this table set it"),
        (["--continue_train"], "--continue_train"),
        (["--overwrite"], "--overwrite"),
        (["--", "--name", "x"], "--name: the table decides that"),
        (["--metrics", "kit"], "--metrics kit"),
        (["--name", "../x"], "--name '../x'"),
    ],
)
def test_bad_words_are_found_before_the_first_row(words, message, make, capsys):
    code, fakes = make(*words)
    assert code == 2 and fakes.calls == [] and message in capsys.readouterr().err


def test_two_rows_of_one_name_are_refused(make, capsys):
    code, _ = make(table=Table(DemoTable, "Demo", "rate", "", lambda args, base: [Row("a b", {}), Row("a/b", {})]))
    assert code == 2 and "is there twice" in capsys.readouterr().err


def test_dry_run_says_what_is_done_and_runs_nothing(make, capsys):
    make(fakes=Fakes(codes={("train", "high"): 130}))
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    code, fakes = make("--dry_run")
    said = capsys.readouterr().out.splitlines()
    assert code == 0 and fakes.calls == [] and fakes.checked == []
    assert said[0] == "demo_low_seed0: trained, tested, evaluated" and said[1] == "demo_high_seed0: interrupted"
    trains, tests, measures = (shlex.split(line) for line in said[2:5])
    assert trains[:2] == ["python", "train.py"] and trains[-1] == "--continue_train"
    assert tests[:2] == ["python", "test.py"] and measures[:2] == ["python", "scripts/evaluate.py"]
    assert before == {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_in_both_forms(make, capsys):
    values = {f"demo_high_seed{seed}": value for seed, value in enumerate((10.0, 12.0, 14.0))}
    make("--seeds", "0,1,2", "--metrics", "kid,psnr", fakes=Fakes(values=values))
    rows, text = table_of()
    assert list(rows) == ["low", "high"] and "remarks" not in rows["low"]
    assert rows["high"] == {
        "rate": "high",
        "seeds": "3",
        "updates": "6",  # 2 epochs of 3 steps,
        "images seen": "10",  # of 5 images
        "KID x100": "1.25 +/- 0.00",
        "PSNR": "12.00 +/- 2.00",
    }
    assert "KID x100: lower is better." in text and "PSNR: higher is better." in text
    assert "Every run: 1 + 1 epochs." in text and "Measured on 3 generated images." in text
    assert text in capsys.readouterr().out
    with open("results/demo/table.csv", encoding="utf-8", newline="") as file:
        low, high = csv.DictReader(file)
    assert high["rate"] == "high" and (float(high["psnr"]), float(high["psnr_std"])) == (12.0, 2.0)
    assert float(low["kid_inception"]) == 0.0125 and (low["failed"], low["images_seen"]) == ("0", "10")


def test_one_seed_has_no_spread(make):
    make("--metrics", "psnr")
    rows, text = table_of()
    assert rows["low"]["PSNR"] == "20.00" and "One seed a row" in text


def test_the_table_grows_with_every_run(make):
    make("--seeds", "0,1", "--metrics", "psnr", fakes=Fakes(codes={("train", "high"): 130}))
    rows, _ = table_of()
    assert rows["low"]["seeds"] == "2" and rows["high"]["PSNR"] == ""
    assert rows["high"]["remarks"] == "2 of 2 seeds to come"


def test_rows_of_different_numbers_of_images_carry_a_warning(make):
    make("--metrics", "psnr")
    fewer = {"fake": {"n": 2, "size": "32x32"}}
    update_measurements(
        Path("results/demo_low_seed0/metrics.json"),
        [Measurement("psnr", "psnr", 1.0, None, fewer, folder="test_latest", tag="latest")],
    )
    make("--metrics", "psnr")
    assert "different numbers of images (2, 3)" in table_of()[1]


def test_an_infinite_value_does_not_stop_the_table(make):
    make("--seeds", "0,1", "--metrics", "psnr", fakes=Fakes(values={"demo_low_seed1": float("inf")}))
    assert table_of()[0]["low"]["PSNR"] == "inf"
    assert mean_std([]) == (None, None)


# --- real runs --------------------------------------------------------------------------------------------------------


def test_a_real_table_stopped_by_ctrl_c_ends_as_if_it_had_not(workdir, dataroot, monkeypatch, tmp_path):
    """Batch 2 has 2 epochs of 3 updates (5 images); the signal comes in the fourth."""
    words = ["--dataroot", str(dataroot), *SMALL, "--metrics", "psnr", "--batch_sizes", "4,2"]
    real = Fakes().commands(train=train.main, test=test.main)
    assert run_table(batch_size.TABLE, words, real) == 0
    whole = {path.parent.name: path.read_bytes() for path in Path("checkpoints").rglob("latest_net_G.pth")}
    rows, _ = table_of("batch_size")
    counts = {name: (row["updates"], row["images seen"]) for name, row in rows.items()}
    assert counts == {"4": ("4", "10"), "2": ("6", "10")}

    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    model, steps = MODELS.get("pix2pix"), []
    original = model.optimize_parameters

    def interrupted(self):
        steps.append(len(self.real_A))
        if len(steps) == 4 + 4:  # after the 4 updates of the first row
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(model, "optimize_parameters", interrupted)
        assert run_table(batch_size.TABLE, words, real) == 130
    fakes = Fakes()
    calls = fakes.commands(train=lambda words: fakes.calls.append(words) or train.main(words), test=test.main)
    assert run_table(batch_size.TABLE, words, calls) == 0
    assert [value_after(each, "name") for each in fakes.calls if isinstance(each, list)] == ["batch_size_2_seed0"]
    assert whole == {path.parent.name: path.read_bytes() for path in Path("checkpoints").rglob("latest_net_G.pth")}
    assert table_of("batch_size")[0]["2"]["updates"] == "6"


def test_a_real_row_that_diverges_is_called_failed(workdir, dataroot):
    """A learning rate at which the first loss after the first step overflows."""
    table = Table(DemoTable, "Demo", "rate", "", lambda args, base: [Row("good", {}), Row("wild", {"lr": "1e30"})])
    words = ["--dataroot", str(dataroot), *SMALL, "--metrics", "psnr"]
    assert run_table(table, words, Fakes().commands(train=train.main, test=test.main)) == 1
    rows, _ = table_of()
    assert rows["wild"]["remarks"] == "failed: seed 0 (train, exit code 1)" and rows["good"]["seeds"] == "1"
