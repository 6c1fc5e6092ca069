"""From a command line to frozen option records, in two passes: model and data set first, then what they declare."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from options.base_options import DataOptions, EngineOptions, ModelOptions, RunOptions
from options.files import VOLATILE, read_options
from options.metric_options import EvalOptions, MetricOptions
from options.schema import OptionError, Spec, add_arguments, build, convert, specs
from options.test_options import PHASE_DEFAULTS, ResultOptions
from options.train_options import LogOptions, LoopOptions, ScheduleOptions, log_options
from util.registry import closest

SHARED: dict[str, type] = {"run": RunOptions, "engine": EngineOptions}
TRAIN: dict[str, type] = {
    **SHARED,
    "schedule": ScheduleOptions,
    "loop": LoopOptions,
    "eval": EvalOptions,
    "metric": MetricOptions,
    "log": log_options(),
}
TEST: dict[str, type] = {**SHARED, "result": ResultOptions}
TITLES = {  # in the order of --help
    "run": "the run",
    "data": "data",
    "model": "model",
    "engine": "engine",
    "schedule": "schedule",
    "loop": "starting, resuming, saving",
    "eval": "measuring while training",
    "metric": "metrics",
    "log": "logging",
    "result": "results",
    "test": "what this model draws in a test",
}


class HelpAsked(SystemExit):
    """``--help`` was printed; the command is done, with exit code 0."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Every option of one command, by owner. ``defaults`` is what each would be without flags and files."""

    run: RunOptions
    engine: EngineOptions
    data: DataOptions
    model: ModelOptions
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    loop: LoopOptions = field(default_factory=LoopOptions)
    eval: EvalOptions = field(default_factory=EvalOptions)
    metric: MetricOptions = field(default_factory=MetricOptions)
    log: LogOptions = field(default_factory=LogOptions)
    result: ResultOptions = field(default_factory=ResultOptions)
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)  # flat: flag -> value
    defaults: Mapping[str, Any] = field(default_factory=dict, repr=False)
    given: frozenset[str] = frozenset()  # flags on the command line
    test: Any = None  # what only a test of this model has

    def for_classes(self, class_names: Sequence[str]) -> Options:
        """The options, completed by what the data set says of its classes."""
        model = self.model.for_classes(class_names)
        return replace(self, model=model, values={**self.values, **vars(model)})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        hint = "; a value that starts with - is written --flag=value" if "expected one argument" in message else ""
        raise OptionError(message + hint)


def answer_help(program: str, models: Any, datasets: Any) -> None:
    """Answer a bare ``--help`` on the command line and end the program; otherwise do nothing.

    A program calls it before it imports torch, so that the help appears at once.
    """
    words = sys.argv[1:]
    asked = {"-h", "--help"} & set(words)
    if asked and not _first_pass(words)["model"]:
        records = TRAIN if program == "train.py" else TEST
        _parser(program, {**records, "data": DataOptions, "model": ModelOptions}, models, datasets, "").print_help()
        sys.exit(0)


def parse_train(argv: Sequence[str], models: Any, datasets: Any) -> Options:
    """Options of ``train.py``.

    With ``--continue_train`` the run's saved options hold, and flags win; ``--config`` files come between.

    Args:
        argv: words of the command line, without the program.
        models: registry with ``names``, ``get`` and ``summaries``.
        datasets: the same for data sets.

    Raises:
        OptionError: unknown flag or value; the message has the closest match.
        HelpAsked: ``--help`` was among the words, and was answered.
    """
    words = _first_pass(argv)
    saved: dict[str, Any] = {}
    if convert(specs(LoopOptions)["continue_train"], words["continue_train"]):
        name = words["name"] or RunOptions.name
        if words["suffix"]:
            name = _resolve("train.py", argv, TRAIN, models, datasets, {}).run.name
        saved = read_options(Path(words["checkpoints_dir"] or RunOptions.checkpoints_dir) / name, required=False)
        for key in VOLATILE:
            saved.pop(key, None)
        if saved:  # the run may have been moved since
            saved["checkpoints_dir"] = words["checkpoints_dir"] or RunOptions.checkpoints_dir
            saved["name"] = words["name"] or RunOptions.name
    return _resolve("train.py", argv, TRAIN, models, datasets, saved)


def parse_test(
    argv: Sequence[str], models: Any, datasets: Any, *, program: str = "test.py", test_record: type | None = None
) -> Options:
    """Options of ``test.py``: what the run was trained with, changed by flags. Raises as ``parse_train``.

    Args:
        argv: words of the command line.
        models: as for ``parse_train``.
        datasets: as for ``parse_train``.
        program: another command that tests a run, for messages.
        test_record: what that command has in place of the model's ``TestOptions``.
    """
    records = {**TEST, "test": test_record} if test_record else TEST
    words = _first_pass(argv)
    name = words["name"] or RunOptions.name
    if words["suffix"] and not words["help"]:
        name = _resolve(program, argv, records, models, datasets, {}, phase_defaults=PHASE_DEFAULTS).run.name
    folder = Path(words["checkpoints_dir"] or RunOptions.checkpoints_dir) / name
    saved = {} if words["help"] else _of_the_model(read_options(folder, required=False))
    if not saved and not words["model"] and not words["config"] and not words["help"]:
        argv = ["--model", "test", *argv]
    if saved and words["model"] and words["model"] != saved.get("model"):
        saved.pop("dataset_mode", None)  # another model reads another kind of data
        if words["model_suffix"].endswith("_B"):  # the generator of a cycle whose input is the run's output
            image_of_a, image_of_b = (saved.get(key, getattr(ModelOptions, key)) for key in ("input_nc", "output_nc"))
            saved["input_nc"], saved["output_nc"] = image_of_b, image_of_a
            for key in ("value_range", "unit", "bands", "resample"):
                pair = (f"{key}_A", f"{key}_B")
                own = {a: saved[b] for a, b in (pair, pair[::-1]) if b in saved}
                saved = {**{name: value for name, value in saved.items() if name not in pair}, **own}
    saved["checkpoints_dir"] = words["checkpoints_dir"] or RunOptions.checkpoints_dir
    saved["name"] = words["name"] or RunOptions.name
    return _resolve(program, argv, records, models, datasets, saved, phase_defaults=PHASE_DEFAULTS)


def parse_command(
    program: str, usage: str, records: Mapping[str, tuple[type, str]], argv: Sequence[str]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Options of a command that is about no model: flags only, no files.

    Args:
        program: its path, for messages.
        usage: what ``--help`` shows first.
        records: part -> (record class, title of its group).
        argv: words of the command line.

    Returns:
        part -> record, and the names of the flags that were given.

    Raises:
        OptionError, HelpAsked: as ``parse_train``.
    """
    parser = _Parser(
        prog=f"python {program}",
        usage=usage,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=110),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for cls, title in records.values():
        add_arguments(parser, cls, title)
    known = _all_specs({part: cls for part, (cls, _) in records.items()})
    if {"-h", "--help"} & set(argv):
        parser.print_help()
        raise HelpAsked
    flags = _flags(parser, argv, known)
    values = {name: convert(known[name], text) for name, text in flags.items()}
    return {part: build(cls, values) for part, (cls, _) in records.items()}, frozenset(flags)


def _first_pass(argv: Sequence[str]) -> dict[str, Any]:
    """The few words that decide what the other words mean."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for name in ("model", "dataset_mode", "name", "checkpoints_dir", "config", "suffix", "model_suffix"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--continue_train", nargs="?", const="True", default="False")
    parser.add_argument("-h", "--help", action="store_true")
    return vars(parser.parse_known_args(list(argv))[0])


def _resolve(
    program: str,
    argv: Sequence[str],
    records: Mapping[str, type],
    models: Any,
    datasets: Any,
    saved: Mapping[str, Any],
    phase_defaults: Mapping[str, object] | None = None,
) -> Options:
    if "log" in records:
        records = {**records, "log": log_options()}  # with the loggers that other modules have registered since
    words = _first_pass(argv)
    config = _read_config(words["config"]) if words["config"] else {}
    own_file = config.keys() >= {"model", "dataroot", "checkpoints_dir", *VOLATILE}  # a run's, of any model or phase
    if config.get("continue_train") not in (None, False):
        raise OptionError(f"--config {words['config']}: continue_train does not belong there; give --continue_train")
    if own_file and phase_defaults is not None:
        config = _of_the_model(config)
    files = {**saved, **config}
    model_name = words["model"] or str(files.get("model", RunOptions.model))
    if words["help"] and not words["model"]:
        classes = {**records, "data": DataOptions, "model": ModelOptions}
        model_class = dataset_class = None
    else:
        model_name = _named("--model", model_name, models)
        model_class = models.get(model_name)
        mode = words["dataset_mode"] or str(files.get("dataset_mode") or model_class.dataset_mode)
        dataset_class = datasets.get(_named("--dataset_mode", mode, datasets))
        classes = {**records, "data": dataset_class.Options, "model": model_class.Options}
        if phase_defaults is not None and model_class.TestOptions and "test" not in records:
            classes["test"] = model_class.TestOptions
        files = {**files, "model": model_name, "dataset_mode": datasets.canonical(mode)}
    known = _all_specs(classes)
    parser = _parser(program, classes, models, datasets, model_name if model_class else "")
    flags = _flags(parser, argv, known)
    if words["help"]:
        parser.print_help()
        raise HelpAsked
    assert model_class is not None and dataset_class is not None
    defaults = {name: spec.default for name, spec in known.items()}
    for changes in (model_class.option_defaults, dataset_class.option_defaults, phase_defaults or {}):
        defaults.update({name: value for name, value in changes.items() if name in known})
    values = {**defaults, **{name: convert(known[name], value) for name, value in files.items() if name in known}}
    for stray in (name for name in config if name not in known and not own_file):
        near = closest(stray, _near(known, stray))
        hint = f": did you mean {near!r}?" if near else ""
        raise OptionError(f"--config {words['config']}: unknown option {stray!r}{hint}")
    values.update({name: convert(known[name], text) for name, text in flags.items()})
    values["model"], values["dataset_mode"] = model_name, files["dataset_mode"]
    for own, source in model_class.option_sources.items():
        if values[own] and source not in flags:
            values[source] = values[own]
        elif not values[own]:
            values[own] = values[source]
    if model_class.load_margin is not None and not {"load_size"} & {*flags, *files}:
        values["load_size"] = values["crop_size"] + model_class.load_margin
    if phase_defaults is not None and "load_size" not in flags:
        values["load_size"] = values["crop_size"]
    if "sample_seed" in known and "seed" in flags and "sample_seed" not in flags:
        values["sample_seed"] = values["seed"]  # what a test of such a model draws has no other seed
    if values["suffix"]:
        values["name"] = f"{values['name']}_{_fill(values['suffix'], values)}"
        values["suffix"] = ""
    built = {part: build(cls, values) for part, cls in classes.items()}
    return Options(**built, values=values, defaults=defaults, given=frozenset(flags))


def _of_the_model(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a test takes over from the options of a training."""
    return {key: value for key, value in saved.items() if key not in PHASE_DEFAULTS and key != "load_size"}


def _named(flag: str, name: str, registry: Any) -> str:
    try:
        return str(registry.canonical(name))
    except ValueError as error:
        raise OptionError(f"{flag} {name}: {error}") from None


def _fill(suffix: str, values: Mapping[str, Any]) -> str:
    try:
        return suffix.format(**values)
    except KeyError as error:
        raise OptionError(f"--suffix {suffix}: no option is called {error}") from None
    except (IndexError, ValueError, AttributeError):
        raise OptionError(f"--suffix {suffix}: write options in braces, e.g. {{netG}}_size{{load_size}}") from None


def _all_specs(classes: Mapping[str, type]) -> dict[str, Spec]:
    known: dict[str, Spec] = {}
    for cls in classes.values():
        for name, spec in specs(cls).items():
            if name in known:
                raise TypeError(f"--{name} is declared by {known[name].owner} and by {spec.owner}")
            known[name] = spec
    return known


def _parser(program: str, classes: Mapping[str, type], models: Any, datasets: Any, model: str) -> _Parser:
    listing = ["models (--model NAME --help lists a model's own options):"]
    listing += [f"  {name:<20} {line}" for name, line in sorted(models.summaries().items())]
    listing += ["", "data sets (--dataset_mode NAME):"]
    listing += [f"  {name:<20} {line}" for name, line in sorted(datasets.summaries().items())]
    parser = _Parser(
        prog=f"python {program}",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=110),
        epilog="\n".join(listing),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        usage=f"python {program} --dataroot DIR --name RUN [--model MODEL] [options]"
        if program == "train.py"
        else f"python {program} --name RUN [options]",
    )
    for part, title in TITLES.items():
        if part in classes:
            add_arguments(parser, classes[part], f"model {model}" if part == "model" and model else title)
    return parser


def _flags(parser: _Parser, argv: Sequence[str], known: Mapping[str, Spec]) -> dict[str, str]:
    """Flag -> word for what is on the command line."""
    rest_of = [word for word in argv if word not in ("-h", "--help")]
    found, rest = parser.parse_known_args(rest_of)
    if rest:
        stray = rest[0]
        if not stray.startswith("--"):
            raise OptionError(f"unexpected word {stray!r}: options start with --; quote values that contain spaces")
        word = stray.lstrip("-").split("=")[0]
        near = closest(word, _near(known, word))
        hint = f": did you mean --{near}?" if near else ""
        raise OptionError(f"unknown option --{word}{hint} (python {parser.prog.split()[-1]} --help lists all)")
    return vars(found)


def _near(known: Mapping[str, Spec], word: str) -> list[str]:
    """Option names worth suggesting for ``word``."""
    return difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)


def _read_config(file: str) -> dict[str, Any]:
    try:
        loaded = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OptionError(f"--config {file}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise OptionError(f"--config {file}: not a readable JSON file ({error})") from None
    if not isinstance(loaded, dict):
        raise OptionError(f'--config {file}: expected an object such as {{"model": "pix2pix", "lr": 0.0002}}')
    return loaded
