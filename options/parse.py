"""From a command line to frozen option records, in two passes: model and data set first, then what they declare."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from options.base_options import DataOptions, EngineOptions, ModelOptions, RunOptions
from options.files import read_options, read_test_options
from options.metric_options import EvalOptions, MetricOptions
from options.records import PLUGINS, TEST, TITLES, TRAIN, Records, all_specs, options_of
from options.schema import (
    Given,
    OptionError,
    OptionRecord,
    SameAs,
    Spec,
    add_arguments,
    build,
    convert,
    is_switch,
    specs,
)
from options.test_options import ResultOptions
from options.train_options import LogOptions, LoopOptions, ScheduleOptions, log_options
from util.registry import closest


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

    @property
    def lasting(self) -> dict[str, Any]:
        """The values that the files of a run hold: the defaults of what belongs to one start of a program."""
        start = options_of("start")
        return {name: self.defaults[name] if name in start else value for name, value in self.values.items()}

    @property
    def of_run(self) -> dict[str, Any]:
        """The values that decide what the run computes: neither those of one start nor those of the machine."""
        left_out = options_of("start", "machine")
        return {name: value for name, value in self.values.items() if name not in left_out}  # in order: files are equal

    @property
    def about_images(self) -> frozenset[str]:
        """Flags without effect where the model draws from noise and reads no images."""
        data = {name for name, spec in specs(type(self.data)).items() if spec.of != "samples"}
        return frozenset(data | options_of("images"))

    def for_classes(self, class_names: Sequence[str]) -> Options:
        """The options, completed by what the data set says of its classes."""
        model = self.model.for_classes(class_names)
        return replace(self, model=model, values={**self.values, **vars(model)})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        hint = "; a value that starts with - is written --flag=value" if "expected one argument" in message else ""
        raise OptionError(message + hint)


FIRST_STEPS = {
    "train.py": """\
train.py: what to train on? How to lay out images: README.md, "Train on your own pairs". To see it work, and to begin:
  bash scripts/demo.sh                                        draws a small data set, trains on it, shows the results
  python scripts/check_data.py DIR                            checks your own images
  python train.py --dataroot DIR --name RUN --model pix2pix   trains on them
  python train.py --help                                      lists models, data sets and all options
""",
    "test.py": """\
test.py: which run? Name one that train.py has made:
  python test.py --name RUN                                   translates the test images of its data set
  python test.py --name RUN --model test --dataroot DIR       translates a folder of images without targets
  python scripts/runs.py                                      lists your runs
  python test.py --help                                       lists all options
""",
}
"""What a program without any words on its command line says; five lines each."""


def answer_help(program: str, models: Any, datasets: Any, *, test_record: type[OptionRecord] | None = None) -> None:
    """Answer a bare ``--help``, or an empty command line by ``FIRST_STEPS``, and end the program; else do nothing.

    A program calls it before it imports torch, so that the answer appears at once.

    Args:
        program: as the user calls it.
        models: as for ``parse_train``.
        datasets: as for ``parse_train``.
        test_record: as for ``parse_test``.

    Raises:
        SystemExit: it has answered; 2 for an empty command line, 0 for ``--help``.
    """
    words = sys.argv[1:]
    if not words and program in FIRST_STEPS:
        sys.stderr.write(FIRST_STEPS[program])
        sys.exit(2)
    asked = {"-h", "--help"} & set(words)
    if asked and not _first_pass(words)["model"]:
        records = TRAIN if program == "train.py" else _test_records(test_record)
        _parser(program, {**records, **PLUGINS}, "", _listing(models, datasets)).print_help()
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
    records = {**TRAIN, "log": log_options()}  # with the loggers that other modules have registered since
    line = _CommandLine("train.py", list(argv), _first_pass(argv), records, models, datasets)
    if not convert(specs(LoopOptions)["continue_train"], line.words["continue_train"]):
        return _resolve(line, {})
    saved = read_options(_run_folder(line), required=False)
    for key in options_of("start"):
        saved.pop(key, None)
    return _resolve(line, {**saved, **_place(line)} if saved else {})  # the run may have been moved since


def parse_test(
    argv: Sequence[str],
    models: Any,
    datasets: Any,
    *,
    program: str = "test.py",
    test_record: type[OptionRecord] | None = None,
) -> Options:
    """Options of ``test.py``: what the run was trained with, changed by flags. Raises as ``parse_train``.

    Args:
        argv: words of the command line.
        models: as for ``parse_train``.
        datasets: as for ``parse_train``.
        program: another command that tests a run, for messages.
        test_record: what that command has in place of the model's ``Options.in_tests``.
    """
    words = _first_pass(argv)
    line = _CommandLine(program, list(argv), words, _test_records(test_record), models, datasets, in_test=True)
    saved = {} if words["help"] else read_options(_run_folder(line), required=False)
    if not saved and not words["config"] and not words["help"]:
        saved = _of_original(line, _run_folder(line))
    if saved and words["model"] and words["model"] != saved.get("model"):
        saved.pop("dataset_mode", None)  # another model reads another kind of data
    return _resolve(line, {**saved, **_place(line)})


def gathered(words: Sequence[str], flag: str) -> list[str]:
    """The words with the values of every ``flag`` behind one, at the end.

    Without it the parser keeps the last of a flag that is given twice.

    Args:
        words: of a command line.
        flag: of several values, with its dashes.
    """
    values: list[str] = []
    others: list[str] = []
    into = others
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            into = values if name == flag and not equals else others
            if name == flag:
                values += [value] * bool(equals)
                continue
        into.append(word)
    return [*others, flag, *values] if values else others


def split_direction(words: Sequence[str]) -> tuple[str, list[str]]:
    """``--direction`` of a command that translates, empty if it is not given, and the other words.

    It asks for a generator; that of the training, by which files and ranges of both sides go, stays as it is.
    """
    found, rest, left = "", [], list(words)
    while left:
        word = left.pop(0)
        if word == "--direction" and left:
            found = left.pop(0)
        elif word.startswith("--direction="):
            found = word.partition("=")[2]
        else:
            rest.append(word)
    return found, rest


def parse_command(
    program: str,
    records: Mapping[str, tuple[type[OptionRecord], str]],
    argv: Sequence[str],
    *,
    usage: str | None = None,
    doc: str = "",
    rest: list[str] | None = None,
) -> tuple[dict[str, Any], frozenset[str]]:
    """Options of a command that is about no model: flags only, no files.

    Args:
        program: its path, for messages.
        records: part -> (record class, title of its group).
        argv: words of the command line.
        usage: what ``--help`` shows first; None: all flags.
        doc: what ``--help`` says of the command.
        rest: gets the words that are no options of the command; None: there must be none.

    Returns:
        part -> record, and the names of the flags that were given.

    Raises:
        OptionError, HelpAsked: as ``parse_train``.
    """
    parser = _new_parser(program, usage=usage, description=doc)
    for cls, title in records.values():
        add_arguments(parser, cls, title)
    known = all_specs({part: cls for part, (cls, _) in records.items()})
    if {"-h", "--help"} & set(argv):
        parser.print_help()
        raise HelpAsked
    flags = _flags(parser, argv, known, rest)
    values = {name: convert(known[name], text) for name, text in flags.items()}
    return {part: build(cls, values) for part, (cls, _) in records.items()}, frozenset(flags)


R = TypeVar("R", bound=OptionRecord)


def parse_record(program: str, record: type[R], argv: Sequence[str], doc: str | None) -> R:
    """Options of a command that has one record of its own.

    Args:
        program: its path, for messages.
        record: its options.
        argv: words of the command line.
        doc: of the command, for ``--help``.

    Raises:
        OptionError, HelpAsked: as ``parse_train``.
    """
    found: R = parse_command(program, {"own": (record, "arguments")}, argv, doc=doc or "")[0]["own"]
    return found


@dataclass(frozen=True)
class _CommandLine:
    """What was asked for, and of what."""

    program: str
    argv: Sequence[str]
    words: Mapping[str, Any]  # of ``_first_pass``
    records: Records
    models: Any
    datasets: Any
    in_test: bool = False


def _first_pass(argv: Sequence[str]) -> dict[str, Any]:
    """The few words that decide what the other words mean."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for name in ("model", "dataset_mode", "name", "checkpoints_dir", "config", "suffix", "epoch", "load_iter"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--continue_train", nargs="?", const="True", default="False")
    parser.add_argument("-h", "--help", action="store_true")
    return vars(parser.parse_known_args(list(argv))[0])


def _place(line: _CommandLine) -> dict[str, str]:
    """Where the run lies, whatever its files say."""
    defaults = {"checkpoints_dir": RunOptions.checkpoints_dir, "name": RunOptions.name}
    return {key: line.words[key] or default for key, default in defaults.items()}


def _of_original(line: _CommandLine, folder: Path) -> dict[str, Any]:
    """Options of a run that came without those of its training: what a test of it noted, and what its weights tell."""
    epoch, load_iter = line.words["epoch"] or "latest", line.words["load_iter"] or "0"
    found = line.models.get("test").options_of_weights(folder, epoch if load_iter == "0" else f"iter_{load_iter}")
    noted = read_test_options(folder)
    if noted.get("model", "test") != "test":  # a recipe that the weights alone do not tell
        found = {name: value for name, value in found.items() if name not in ("model", "model_suffix")}
    elif found.get("model") == "cycle_gan":
        noted.pop("dataset_mode", None)
    return {"model": "test", **noted, **found}


def _run_folder(line: _CommandLine) -> Path:
    place = _place(line)
    if line.words["suffix"] and not line.words["help"]:
        place["name"] = _resolve(line, {}).run.name
    return Path(place["checkpoints_dir"]) / place["name"]


def _test_records(own: type[OptionRecord] | None) -> Records:
    return {**TEST, "test": own} if own else TEST


_OWN_FILE = {"model", "dataroot", "checkpoints_dir", "continue_train"}
"""What a ``train_opt.json`` or ``test_opt.json`` holds, and no file that somebody wrote for ``--config``."""


def _resolve(line: _CommandLine, saved: Mapping[str, Any]) -> Options:
    """From weak to strong: defaults, saved options, ``--config``, flags; then what follows from others."""
    words = line.words
    config = _read_config(words["config"]) if words["config"] else {}
    own_file = config.keys() >= _OWN_FILE
    if config.get("continue_train") not in (None, False):
        raise OptionError(f"--config {words['config']}: continue_train does not belong there; give --continue_train")
    if words["help"] and not words["model"]:
        classes = {**line.records, **PLUGINS}
        _parser(line.program, classes, "", _listing(line.models, line.datasets)).print_help()
        raise HelpAsked

    # the model and the data set decide which options there are
    files = {**saved, **config}
    model = _named("--model", words["model"] or str(files.get("model", RunOptions.model)), line.models)
    model_class = line.models.get(model)
    mode = words["dataset_mode"] or str(files.get("dataset_mode") or model_class.dataset_mode)
    dataset_class = line.datasets.get(_named("--dataset_mode", mode, line.datasets))
    classes = {**line.records, "data": dataset_class.Options, "model": model_class.Options}
    if line.in_test and model_class.Options.in_tests and "test" not in line.records:
        classes["test"] = model_class.Options.in_tests
    known = all_specs(classes)
    # only --help needs the lists, for which the files of all models and data sets are read
    listing = _listing(line.models, line.datasets) if words["help"] else ""
    parser = _parser(line.program, classes, model, listing)
    if words["help"]:
        parser.print_help()
        raise HelpAsked
    flags = _flags(parser, line.argv, known)
    for stray in (name for name in config if name not in known and not own_file):
        near = closest(stray, _near(known, stray))
        hint = f": did you mean {near!r}?" if near else ""
        raise OptionError(f"--config {words['config']}: unknown option {stray!r}{hint}")

    defaults = {name: spec.default for name, spec in known.items()}
    for changes in (model_class.Options.option_defaults, dataset_class.option_defaults):
        defaults.update({name: value for name, value in changes.items() if name in known})
    if line.in_test:  # its own values of some options, whatever the training had
        tests = {name: spec.test_value for name, spec in known.items() if spec.test_value is not None}
        defaults.update({name: value for name, value in tests.items() if not isinstance(value, SameAs)})
        saved = {name: value for name, value in saved.items() if name not in tests}
        config = {name: value for name, value in config.items() if name not in tests or not own_file}
    chosen = {"model": model, "dataset_mode": line.datasets.canonical(mode)}
    sources = [
        {name: convert(known[name], each[name]) for name in each if name in known} for each in (saved, config, flags)
    ]
    given = Given(*({**each, **found} for each, found in zip((saved, config, flags), sources)))
    values = _derived(classes, {**defaults, **sources[0], **sources[1], **sources[2], **chosen}, given)
    if line.in_test:
        others = {name: value.option for name, value in tests.items() if isinstance(value, SameAs)}
        values |= {name: values[other] for name, other in others.items() if name not in given.flags}
    if values["suffix"]:
        values |= {"name": f"{values['name']}_{_fill(values['suffix'], values)}", "suffix": ""}
    built: dict[str, Any] = {part: build(cls, values) for part, cls in classes.items()}
    defaults = _derived(classes, defaults, Given())
    return Options(**built, values=values, defaults=defaults, given=frozenset(flags))


def _derived(records: Records, values: Mapping[str, Any], given: Given) -> dict[str, Any]:
    for cls in records.values():
        values = cls.derive(values, given)
    return dict(values)


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


def _listing(models: Any, datasets: Any) -> str:
    lines = ["models (--model NAME --help lists a model's own options):"]
    lines += [f"  {name:<20} {line}" for name, line in sorted(models.summaries().items())]
    lines += ["", "data sets (--dataset_mode NAME):"]
    return "\n".join([*lines, *(f"  {name:<20} {line}" for name, line in sorted(datasets.summaries().items()))])


def _parser(program: str, classes: Mapping[str, type], model: str, epilog: str = "") -> _Parser:
    parser = _new_parser(
        program,
        epilog=epilog,
        usage=f"python {program} --dataroot DIR --name RUN [--model MODEL] [options]"
        if program == "train.py"
        else f"python {program} --name RUN [options]",
    )
    for part, title in TITLES.items():
        if part in classes:
            own = f"model {model}" if part == "model" and model else getattr(classes[part], "title", "")
            add_arguments(parser, classes[part], own or title)
    return parser


def _new_parser(program: str, **texts: Any) -> _Parser:
    return _Parser(
        prog=f"python {program}",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=110),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        **texts,
    )


def _flags(
    parser: _Parser, argv: Sequence[str], known: Mapping[str, Spec], rest: list[str] | None = None
) -> dict[str, Any]:
    """Flag -> word for what is on the command line; a list of words where an option takes several."""
    words = [word for word in argv if word not in ("-h", "--help")]
    if any(spec.positional for spec in known.values()):
        words = _closed_switches(words, known)
    found, others = parser.parse_known_args(words)
    if rest is not None:
        rest += others
    elif others:
        stray = others[0]
        if not stray.startswith("--"):
            raise OptionError(f"unexpected word {stray!r}: options start with --; quote values that contain spaces")
        word = stray.lstrip("-").split("=")[0]
        near = closest(word, _near(known, word))
        hint = f": did you mean --{near}?" if near else ""
        if near and (spec := known[near]).positional:
            hint = f": {spec.label} is given as a plain word, without --{word}"
        raise OptionError(f"unknown option --{word}{hint} (python {parser.prog.split()[-1]} --help lists all)")
    if missing := [spec.label for spec in known.values() if spec.required and not hasattr(found, spec.name)]:
        listing = f"python {parser.prog.split()[-1]} --help lists all"
        raise OptionError(f"the following arguments are required: {', '.join(missing)} ({listing})")
    return vars(found)


def _closed_switches(words: Sequence[str], known: Mapping[str, Spec]) -> list[str]:
    """The words, with ``--flag=True`` for a switch that is given alone, so that it does not take the next word."""
    switches = {f"--{name}" for spec in known.values() if is_switch(spec) for name in (spec.name, *spec.aliases)}
    values = {"true", "false", "1", "0", "yes", "no", "on", "off"}
    following = [*words[1:], ""]
    bare = [word in switches and after.lower() not in values for word, after in zip(words, following)]
    return [f"{word}=True" if is_bare else word for word, is_bare in zip(words, bare)]


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
