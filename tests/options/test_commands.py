"""Command lines of commands with a record of their own, and values that follow from others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from data import DATASETS
from models import MODELS
from options.files import write_options
from options.parse import HelpAsked, parse_command, parse_record, parse_test, parse_train
from options.schema import OptionError, OptionRecord, arg


@dataclass(frozen=True, kw_only=True)
class DemoOptions(OptionRecord):
    """A command."""

    source: Path = arg(Path(), positional=True, metavar="IN", help="what is read")
    more: Path | None = arg(None, positional=True, help="what else is read")
    out: Path = arg(Path(), required=True, aliases=("out-dir",), help="where it goes")
    fast: bool = arg(False, help="hurry")
    resize: str | None = arg(None, bare="bicubic", choices=("bicubic", "nearest"), help="a filter")
    phase: tuple[str, ...] = arg((), several=True, help="phases")


def parse(*words: str) -> DemoOptions:
    return parse_record("scripts/demo.py", DemoOptions, words, "A demo.\n\nIt does nothing.")


def test_words_without_flags_switches_and_bare_flags():
    o = parse("--fast", "a", "--out-dir", "b", "--resize", "--phase", "train", "val")
    assert o == DemoOptions(source=Path("a"), out=Path("b"), fast=True, resize="bicubic", phase=("train", "val"))
    o = parse("--fast", "False", "a", "c", "--out=b", "--resize", "nearest")
    assert o == DemoOptions(source=Path("a"), more=Path("c"), out=Path("b"), resize="nearest")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a"], "required: --out (python scripts/demo.py --help lists all)"),
        (["a", "--outt", "b"], "unknown option --outt: did you mean --out?"),
        (["a", "--ou", "b"], "unknown option --ou: did you mean --out?"),
        (["--out", "b"], "required: IN"),
        (["--source", "a", "--out", "b"], "unknown option --source: IN is given as a plain word, without --source"),
        (["--sources", "a", "--out", "b"], "unknown option --sources: IN is given as a plain word, without --sources"),
        (["a", "c", "d", "--out", "b"], "unexpected word 'd'"),
        (["a", "--out", "b", "--resize", "nearset"], "--resize nearset: unknown value: did you mean 'nearest'?"),
        (["a", "--out", "b", "--fast=maybe"], "--fast maybe: expected True or False"),
    ],
)
def test_wrong_words_are_refused(words, said):
    with pytest.raises(OptionError) as info:
        parse(*words)
    assert said in str(info.value)


def test_help_has_the_text_of_the_command_and_every_argument(capsys):
    with pytest.raises(HelpAsked):
        parse("--help")
    said = capsys.readouterr().out
    assert "It does nothing." in said and "where it goes (required)" in said and "IN" in said and "--out-dir" in said


def test_words_for_another_program_are_passed_on_in_their_order():
    rest: list[str] = []
    words = ["a", "--lr", "3", "--out", "b", "--no_flip"]
    (record,) = parse_command("x.py", {"own": (DemoOptions, "own")}, words, rest=rest)[0].values()
    assert record.source == Path("a") and record.out == Path("b")
    assert rest == ["--lr", "3", "--no_flip"]


def save(name: str, *words: str) -> Path:
    o = parse_train(["--name", name, "--dataroot", "x", *words], MODELS, DATASETS)
    folder = Path("checkpoints") / name
    folder.mkdir(parents=True)
    write_options(o.lasting, o.defaults, folder, "train")
    return folder


def test_files_of_a_run_hold_nothing_of_one_start(workdir):
    folder = save("run", "--gpu_ids", "-1", "--verbose", "--overwrite", "--load_iter", "7", "--suffix", "{model}")
    saved = json.loads((folder / "train_opt.json").read_text())
    starts = ("gpu_ids", "verbose", "overwrite", "load_iter", "suffix", "continue_train", "epoch", "config", "dry_run")
    assert [saved[key] for key in starts] == ["", False, False, 0, "", False, "latest", "", False]
    of_run = parse_train(["--name", "run", "--dataroot", "x"], MODELS, DATASETS).of_run
    assert not {"name", "dataroot", "num_threads", "gpu_ids", "epoch"} & of_run.keys() and of_run["batch_size"] == 1
    values = parse_train(["--name", "run", "--dataroot", "x"], MODELS, DATASETS).values
    assert list(of_run) == [name for name in values if name in of_run]  # one order, so that equal checkpoints are equal


def test_a_test_crops_nothing_unless_told(workdir):
    save("run", "--load_size", "300", "--crop_size", "128")
    data = parse_test(["--name", "run"], MODELS, DATASETS).data
    assert (data.load_size, data.crop_size, data.no_flip, data.phase) == (128, 128, True, "test")
    assert parse_test(["--name", "run", "--load_size", "200"], MODELS, DATASETS).data.load_size == 200


def test_the_size_of_ugatit_follows_the_crop_and_keeps_what_was_given(workdir):
    def sizes(*words: str) -> tuple[int, int, int]:
        o = parse_train(["--model", "ugatit", "--dataroot", "x", *words], MODELS, DATASETS)
        return o.model.img_size, o.data.crop_size, o.data.load_size

    assert sizes() == (256, 256, 286) and sizes("--img_size", "64") == (64, 64, 94)
    assert sizes("--crop_size", "128") == (128, 128, 158)
    assert sizes("--img_size", "64", "--crop_size", "128") == (64, 128, 158)
    save("run", "--model", "ugatit", "--load_size", "300")
    assert parse_train(["--name", "run", "--continue_train"], MODELS, DATASETS).data.load_size == 300


def test_a_saved_variant_of_augan_gives_way_to_another_one(workdir):
    folder = save("run", "--model", "augan", "--lambda_dc", "0.5")
    words = ["--config", str(folder / "train_opt.json"), "--augan_variant", "port"]
    model = parse_train(words, MODELS, DATASETS).model
    assert (model.n_discriminators, model.lambda_perc, model.lambda_dc) == (3, 20.0, 0.5)
    old = json.loads((folder / "train_opt.json").read_text()) | {"lambda_perc": None, "upsample": None}
    (folder / "train_opt.json").write_text(json.dumps(old))  # as runs before had it
    model = parse_test(["--name", "run"], MODELS, DATASETS).model
    assert (model.lambda_perc, model.upsample) == (1.0, "transposed")
