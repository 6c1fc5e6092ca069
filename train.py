"""Train a model: ``python train.py --dataroot DIR --name RUN --model pix2pix``.

As a library: ``main(argv) -> exit code``, ``build_model(argv, dataset_size)``, ``train(session, stop, limit)``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data import DATASETS
from models import MODELS
from options.parse import Options, answer_help, parse_train
from util.memory import keep_freed_memory
from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()
    keep_freed_memory()
    answer_help("train.py", MODELS, DATASETS)  # all before torch is imported; help answers at once

import functools
import gc
import itertools

from data.base_dataset import BaseDataset, check_needs, fingerprint, sample_size
from data.check import quick_check
from data.loader import Loader, check_batch_size, held_out_set, loader_of
from models.base_model import BaseModel, can_train, without_effect
from options.files import format_options, write_options
from util.exit_code import EXIT_DONE, run_command
from util.loggers.group import LoggerGroup, build_loggers
from util.metrics.evaluation import Evaluation, start_evaluation
from util.run import distributed, speed
from util.run.checkpoint import Checkpointer, checkpoint_tag
from util.run.class_names import CLASSES_FILE, check_labels, write_class_names
from util.run.device import peak_memory_mb
from util.run.engine import Engine, seed_step, start_engine
from util.run.folder import check_name, check_run_folder, last_job, open_run_folder
from util.run.inference import Snapshot, held_out_pictures, sample_record
from util.run.profile import StepProfiler
from util.run.progress import Meter, Progress
from util.run.report import describe_run, describe_step, measure_model
from util.run.restart import restart_flags, this_job
from util.run.schedule import TrainingSchedule, current_lr, set_lr_factor
from util.run.sides import SideFormat, Storage, write_sides
from util.run.state import RunState
from util.run.stop import StopSignal
from util.run.time_limit import TimeLimit
from util.types import Losses, paths_of
from util.wording import counted

logger = logging.getLogger("train")


@dataclass
class Session:
    """A run in progress: everything the loop needs, and the four things it does from time to time."""

    options: Options
    model: BaseModel
    dataset: BaseDataset
    fingerprint: dict[str, Any]  # of the data set's files
    loader: Loader
    plan: TrainingSchedule
    progress: Progress
    meter: Meter
    loggers: LoggerGroup
    checkpointer: Checkpointer
    engine: Engine
    evaluation: Evaluation | None = None
    profiler: StepProfiler = field(default_factory=StepProfiler)
    logs_until: int | None = None  # images up to which a continued run keeps its logs; None: a new run

    def log_scalars(self) -> None:
        """Send the losses of this step to the loggers: the one place where the loop waits for the device."""
        self.meter.check()
        record = self.meter.record(self.progress, current_lr(self.model.optimizers), peak_memory_mb(self.engine.device))
        self.loggers.log_scalars(record)

    def log_images(self, batch: Any) -> None:
        """Send the pictures of the first sample to the loggers."""
        if self.engine.world.is_main:
            p = self.progress
            shown = self.model.visuals(), self.model.extras()
            storage = Storage(labels=self.options.data.labels())
            kinds = self.model.visual_kinds
            labels = {name: storage.labels_of(kind) for name, kind in kinds.items()}
            self.loggers.log_images(sample_record(batch, *shown, p.epoch, p.total_iters, labels=labels, kinds=kinds))

    @property
    def state(self) -> RunState:
        """Everything that must survive a stop."""
        parts = (self.checkpointer, self.model, self.plan, self.meter, self.evaluation, self.fingerprint)
        return RunState(*parts, self.engine.world)

    def save(self, *tags: str) -> None:
        """Save a checkpoint under these tags; refused when a loss is not finite, so that the last one stays good."""
        self.state.save(tags, self.progress, self.options.of_run)

    def resume(self) -> None:
        """Load the checkpoint that ``--epoch``/``--load_iter`` name, to go on with its next batch."""
        tag = checkpoint_tag(self.options.run.epoch, self.options.run.load_iter)
        place = self.state.resume(tag, recover=not self.options.loop.dry_run)
        if place is None:
            self.progress.total_iters = (self.progress.epoch - 1) * self.loader.num_images
            self.logs_until = sys.maxsize
            return
        self.progress, self.logs_until = place, place.total_iters
        logger.info("continuing in epoch %d after %d of its images", place.epoch, place.epoch_iter)

    def end_epoch(self) -> None:
        """Evaluate when it is time, log the epoch's means and metrics, step the schedule, and save when it is time.

        A run that is bounded by steps may end in mid-epoch: it is saved as it stands, to go on there if it is extended.
        """
        loop, epoch = self.options.loop, self.progress.epoch
        if self.plan.finished(self.progress) and self.progress.epoch_iter < self.loader.num_images:
            self.save("latest")
            return
        self.meter.check()
        record = self.meter.epoch_record(self.progress, current_lr(self.model.optimizers))
        record = replace(record, means={**record.means, **self.model.diagnostics()})
        tags = ["latest", str(epoch)] if epoch % loop.save_epoch_freq == 0 else []
        measured: dict[str, float] = {}
        if self.evaluation and self.evaluation.due(epoch, self.plan.last_epoch):
            self.save("latest")  # whatever happens to the evaluation, the epoch is not lost
            extra = self.model.extra_state() if self.model.test_reads_state else {}
            found = self.evaluation.run(Snapshot(self.model.saved_networks, extra), epoch)
            self.meter.leave_out(found.seconds)
            record, measured = replace(record, metrics=found.values), found.by_short
            if found.is_best and self.options.eval.save_best:
                tags = [*(tags or ["latest"]), f"best_{self.options.eval.save_best}"]
        self.loggers.log_epoch(record)
        self.plan.end_epoch({**record.means, **measured})
        self.progress.next_epoch()
        if tags or self.finished:
            self.save(*(tags or ["latest"]))

    @property
    def finished(self) -> bool:
        """Whether the run is at its end, or was stopped by ``--early_stop``."""
        return self.plan.finished(self.progress) or bool(self.evaluation and self.evaluation.best.exhausted)


def train(session: Session, stop: StopSignal, limit: TimeLimit) -> int:
    """The loop: it knows counters and when, never what. Returns the exit code.

    Raises:
        NonFiniteLoss: a loss became NaN or infinite; nothing was saved since.
    """
    s, log, loop = session, session.options.log, session.options.loop
    while not s.finished:
        s.model.train()
        s.model.begin_epoch(s.progress.epoch)
        s.loggers.start_epoch(s.progress.epoch, s.plan.last_epoch, s.loader.num_images, s.progress.epoch_iter)
        batches = s.loader.batches(s.progress.epoch, done=s.progress.epoch_iter)
        for batch in s.profiler.steps(s.meter.waiting(batches)):
            set_lr_factor(s.model.optimizers, s.plan.factor(limit.due(s.progress)))
            seed_step(s.options.engine.seed, s.progress.steps, s.engine.world.rank)
            losses = s.model.train_on(batch)

            num_images = batch["global_size"]
            s.progress.advance(num_images)
            s.model.update_averages(s.progress.steps)
            s.meter.update(losses, s.progress, share=s.model.share, paths=paths_of(batch))
            s.loggers.advance(num_images)
            if s.progress.crossed(log.print_freq):
                s.log_scalars()
            if s.progress.crossed(log.display_freq) or s.progress.steps == 1:  # at once: is the data right?
                s.log_images(batch)
            if s.progress.crossed(loop.save_latest_freq):
                s.save(f"iter_{s.progress.total_iters}" if loop.save_by_iter else "latest")
            if stop.requested(s.progress.steps):
                s.save("latest")
                return stop.exit_code
            if limit.is_over(s.progress.steps) and not s.plan.finished(s.progress):
                s.save("latest")
                logger.info("--max_minutes %g: the time is over in epoch %d", limit.minutes, s.progress.epoch)
                return EXIT_DONE
            if s.plan.finished(s.progress):
                break
        s.end_epoch()
    return stop.exit_code if stop.requested(0) else 0  # a signal in the last evaluation


def main(argv: Sequence[str] | None = None) -> int:
    """Train from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 the run failed, 2 bad options or data, 130/143 stopped by Ctrl-C/SIGTERM after saving.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("train.py", argv, _start)


def _start(argv: list[str]) -> int:
    """Run the command line, in as many processes as ``--gpu_ids`` names GPUs."""
    options = parse_train(argv, MODELS, DATASETS)
    launched = distributed.launch_if_several(main, (argv,), options.engine.gpu_ids)
    return _run(options, argv) if launched is None else launched


def build_model(argv: Sequence[str], dataset_size: int) -> BaseModel:
    """The model of a command line, built, initialised, ready to train, on its device. Reads no data.

    Args:
        argv: words of the command line.
        dataset_size: images in an epoch.

    Raises:
        ValueError: bad options.
    """
    options = parse_train(list(argv), MODELS, DATASETS)
    return _make_model(options, start_engine(**vars(options.engine)), dataset_size)


def _make_model(options: Options, engine: Engine, dataset_size: int) -> BaseModel:
    model = MODELS.get(options.run.model)(options.model, engine)
    for flag in sorted(options.given & without_effect(type(model))) if engine.world.is_main else ():
        logger.warning("warning: --%s has no effect on --model %s", flag, options.run.model)
    model.setup_training(dataset_size)
    model.start_averages()
    if engine.compile and engine.world.is_main and "crop" not in options.data.preprocess:
        logger.warning(
            "warning: --compile with --preprocess %s: torch compiles again for almost every size of image, which takes "
            "minutes each time; choose a --preprocess with crop, or leave out --compile",
            options.data.preprocess,
        )
    if "one_size" in model.needs and "crop" in options.data.preprocess:
        model.check_size(options.data.crop_size, options.data.crop_size)
    for name, net in model.networks.items() if options.run.verbose else ():
        logger.info("network %s\n%s", name, net)
    return model


def _run(options: Options, argv: list[str]) -> int:
    check_name(options.run.name)
    folder = Path(options.run.checkpoints_dir) / options.run.name
    engine = start_engine(**vars(options.engine))
    if not engine.world.is_main:
        logging.getLogger().setLevel(logging.ERROR)
    lock = None
    try:
        options = _restarted(options, argv, folder, engine)
        loop = options.loop
        if not loop.dry_run:
            check_run_folder(folder, continue_train=loop.continue_train, overwrite=loop.overwrite)
        owner = engine.world.is_main and not loop.dry_run
        if owner and loop.continue_train:  # before anything is read from it; a new run's folder is made last
            lock = open_run_folder(folder, overwrite=False)
        setting, trials = _speed_setting(options, engine, folder)
        engine = engine.tuned(setting, options.engine.seed)
        session = _compose(options, engine, folder)
        if loop.dry_run:
            return _dry_run(session)
        if owner and lock is None:
            lock = open_run_folder(folder, overwrite=loop.overwrite)
        if owner and trials:
            speed.write_setting(folder, setting, trials)
        with StopSignal(engine.world, engine.device) as stop:
            return _train_and_log(session, folder, stop)
    finally:
        if lock is not None:
            lock.close()
        distributed.stop()


def _restarted(options: Options, argv: list[str], folder: Path, engine: Engine) -> Options:
    """The options, with those that torchrun's second and later starts of a job need; the main process decides."""
    job = this_job()
    if job is None or options.loop.dry_run:
        return options
    flags = restart_flags(job, last_job(folder), folder, continue_train=options.loop.continue_train)
    flags = engine.gather(flags)[0]
    if not flags:
        return options
    if "--continue_train" in flags:
        logger.warning("torchrun has started this job again: going on with its last checkpoint")
    else:
        logger.warning("torchrun has started this job again, which had saved no checkpoint yet: starting over")
    return parse_train([*argv, *flags], MODELS, DATASETS)


def _speed_setting(options: Options, engine: Engine, folder: Path) -> tuple[speed.Setting, list[speed.Trial]]:
    """How the run computes: as it did before, as ``--auto_speed`` finds, or as the flags say.

    Flags of this start win over what a resumed run has kept.

    Returns:
        the setting; what was tried, or the answer of ``--precision auto``, which the run is to keep.
    """
    flags = speed.Setting(engine.precision, engine.channels_last, engine.compile)
    kept = speed.read_setting(folder) if options.loop.continue_train else None
    if kept:
        names = {"precision", "channels_last", "compile"} & options.given
        given = {name: getattr(flags, name) for name in names if getattr(options.engine, name) != "auto"}
        return replace(kept, **given), []
    if not options.loop.auto_speed:
        return flags, [speed.Trial(flags, 0.0, {})] if options.engine.precision == "auto" else []
    trials = _try_settings(options, engine, folder)
    logger.info("%s", "\n".join(["--auto_speed tried:", *speed.table(trials)]))
    return engine.gather(speed.chosen(trials))[0], trials


def _try_settings(options: Options, engine: Engine, folder: Path) -> list[speed.Trial]:
    """Train models of their own on the first batch of the run, with one setting after the other."""
    session = _compose(options, engine, folder)
    batch = next(iter(session.loader.batches(session.progress.epoch)))
    session.loader.close()
    options, num_images = session.options, session.loader.num_images
    del session  # its model must take no memory beside those that are tried
    seed, o = options.engine.seed, options.engine

    def make_step(setting: speed.Setting) -> speed.Step:
        gc.collect()  # the model before: some are part of a circle of references
        model = _make_model(options, engine.tuned(setting, seed), num_images)
        model.train()
        numbers = itertools.count()

        def step() -> Losses:
            seed_step(seed, next(numbers), engine.world.rank)
            return model.train_on(batch)

        return step

    settings = speed.settings_for(engine.device, compile=o.compile, precision=o.precision)
    threads = speed.thread_counts() if engine.device.type == "cpu" else []
    return speed.try_all(settings, threads, make_step, engine.gather)


def _compose(options: Options, engine: Engine, folder: Path) -> Session:
    """Everything a run needs, checked, with nothing written yet."""
    d, m, world = options.data, options.model, engine.world
    check_batch_size(d.batch_size, world.size)
    model_class = MODELS.get(options.run.model)
    if not can_train(model_class):
        raise ValueError(f"--model {options.run.model}: for test.py only, it cannot be trained; choose another model")
    dataset_class = DATASETS.get(options.run.dataset_mode)
    dataset = dataset_class(d, input_nc=m.input_nc, output_nc=m.output_nc, seed=options.engine.seed)
    sample = dataset[0]
    needs = {**dict.fromkeys(model_class.needs, ""), **m.also_needs}
    check_needs(needs, dataset, f"--model {options.run.model}", options.run.dataset_mode, model_class.dataset_mode)
    if options.loop.continue_train:
        check_labels(folder / CLASSES_FILE, dataset.class_names)
    options = options.for_classes(dataset.class_names)
    for warning in quick_check(dataset) if world.is_main else ():
        logger.warning("warning: %s", warning)
    pinned = engine.device.type == "cuda"
    images = d.batch_size * m.batches_per_step
    processes: dict[str, Any] = {"rank": world.rank, "world_size": world.size}
    loader = loader_of(dataset, **processes, pin_memory=pinned, batch_size=images, device=engine.device)
    session = Session(
        options=options,
        model=_make_model(options, engine, loader.num_images),
        dataset=dataset,
        fingerprint=fingerprint(dataset),
        loader=loader,
        plan=TrainingSchedule(steps_per_epoch=len(loader), **vars(options.schedule)),
        progress=Progress(epoch=options.schedule.epoch_count),
        meter=Meter(),
        loggers=LoggerGroup(()),
        checkpointer=Checkpointer(folder, options.loop.keep_checkpoints),
        engine=engine,
    )
    session.model.class_names = dataset.class_names
    session.model.check_size(*sample_size(sample), what=d.size_flags)
    session.evaluation = _evaluation_of(options, engine, model_class, dataset_class)
    measured = session.evaluation.suite.names if session.evaluation else ()
    session.plan.check_metric((*session.model.loss_names, *measured))
    if options.loop.continue_train:
        session.resume()
    elif session.plan.finished(session.progress):
        last = session.plan.last_epoch
        raise ValueError(f"--epoch_count {session.progress.epoch}: beyond the last epoch, {last}; raise --n_epochs")
    return session


def _evaluation_of(
    options: Options, engine: Engine, model_class: Any, dataset_class: type[BaseDataset]
) -> Evaluation | None:
    """The evaluation that ``--eval_freq`` asks for, checked; None without it. Every process must call it.

    Args:
        options: of the training.
        engine: of this process.
        model_class: that of ``--model``.
        dataset_class: that of ``--dataset_mode``.

    Raises:
        ValueError: no images to measure on, or a metric that cannot be had.
    """
    e, m, seed = options.eval, options.model, options.engine.seed
    if not e.eval_freq:
        return None
    what: dict[str, Any] = {"phase": e.eval_phase, "max_images": e.eval_images, "seed": seed}
    phase, dataset, loader = held_out_set(
        dataset_class, options.data, input_nc=m.input_nc, output_nc=m.output_nc, **what
    )
    needs = {**dict.fromkeys(model_class.needs, ""), **m.also_needs}
    check_needs(needs, dataset, "--eval_freq", options.run.dataset_mode, model_class.dataset_mode)
    m.for_classes(dataset.class_names)
    make = functools.partial(model_class, m, engine.alone())
    data, labels = options.data, options.data.labels()
    storage = Storage(data.ranges(), labels=labels, opacity=data.alpha == "keep")
    return start_evaluation(
        functools.partial(held_out_pictures, make, loader, root=dataset.root, seed=seed, storage=storage),
        engine,
        phase=phase,
        num_images=loader.num_images,
        freq=e.eval_freq,
        names=e.eval_metrics,
        explicit="eval_metrics" in options.given,
        paired=dataset_class.paired,
        steering={"--save_best": e.save_best, "--plateau_metric": options.schedule.plateau_metric},
        patience=e.early_stop,
        labelled=[domain for domain in "AB" if labels[domain]],
        settings=vars(options.metric),
    )


def _train_and_log(s: Session, folder: Path, stop: StopSignal) -> int:

    o = s.options
    if s.finished:
        done = counted(s.progress.steps, "step") if s.plan.by_steps else counted(s.progress.epoch - 1, "epoch")
        flags = "--n_epochs or --n_epochs_decay" if s.plan.finished(s.progress) else "--early_stop"
        logger.warning("nothing left to train, %s are done: raise %s to go on", done, flags)
        return EXIT_DONE
    values = o.lasting
    if s.engine.world.is_main:
        logger.info("%s", format_options(o.values, o.defaults))
        for line in _description(s):
            logger.info("%s", line)
        s.loggers = build_loggers(folder, name=o.run.name, resume_iters=s.logs_until, options=values)
        write_options(values, o.defaults, folder, "train")
        write_sides(folder, _sides(s))
        if s.dataset.class_names:
            write_class_names(folder / CLASSES_FILE, s.dataset.class_names)
    s.loggers = LoggerGroup((*s.loggers.loggers, *s.model.loggers(folder)))
    if s.engine.world.is_main:
        s.profiler = StepProfiler(o.loop.profile, folder, s.engine.device)
    try:
        code = train(s, stop, TimeLimit(o.loop.max_minutes, s.plan, s.progress, s.engine.world, s.engine.device))
    finally:
        s.profiler.close()
        s.loggers.close()
    if code or not s.finished:
        where = "" if o.run.checkpoints_dir == "./checkpoints" else f" --checkpoints_dir {o.run.checkpoints_dir}"
        logger.warning("saved; go on with: python train.py --name %s%s --continue_train", o.run.name, where)
    if not code and not values["no_html"]:
        logger.info("done; pictures and curves: %s", folder / "web" / "index.html")
    return code


def _sides(s: Session) -> dict[str, SideFormat]:
    """How the domains of this data set store values, by its first sample."""
    sample, data = s.dataset[0], s.options.data
    found = {}
    for domain in "AB":
        side = data.domain(domain)
        if f"{side.name}_format" in sample:
            channels = int(sample[side.name].shape[0])
            found[domain] = SideFormat(
                sample[f"{side.name}_format"], side.value_range, channels, side.unit, side.label_nc
            )
    return found


def _dry_run(s: Session) -> int:
    """Print what the run is going to be, with one measured step on random images. Writes nothing."""
    batch = next(iter(s.loader.batches(s.progress.epoch)))
    lines = _description(s) + describe_step(*measure_model(s.model, batch, s.engine.device), s.plan.total_steps)
    if s.engine.world.is_main:
        print(format_options(s.options.values, s.options.defaults), *lines, sep="\n")
    return EXIT_DONE


def _description(s: Session) -> list[str]:
    loop = s.options.loop
    data = (s.options.run.dataset_mode, s.dataset.summary(), s.loader.num_images, s.loader.batch_size)
    saving = (s.checkpointer.folder, loop.save_epoch_freq, loop.keep_checkpoints)
    lines = describe_run(s.model, s.plan, data=data, saving=saving)
    return [*lines, s.evaluation.describe()] if s.evaluation else lines


if __name__ == "__main__":
    exit_status = main()
    distributed.leave(exit_status)
    sys.exit(exit_status)
