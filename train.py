"""Train a model: ``python train.py --dataroot DIR --name RUN --model pix2pix``.

As a library: ``main(argv) -> exit code``, ``build_model(argv, dataset_size)``, ``train(session)``. torch is imported
only once the options are known to be good, so that ``--help`` and a mistyped flag answer at once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import DATASETS
from models import MODELS
from options.files import PLACE, VOLATILE
from options.parse import HelpAsked, Options, parse_train
from util.exit_code import EXIT_DONE, exit_code

if TYPE_CHECKING:
    from data.base_dataset import BaseDataset
    from data.loader import Loader
    from models.base_model import BaseModel
    from util.checkpoint import Checkpointer
    from util.engine import Engine
    from util.interrupt import StopSignal
    from util.loggers import Logger
    from util.plan import Plan
    from util.progress import Meter, Progress

logger = logging.getLogger("train")


@dataclass
class Session:
    """A run in progress: everything the loop needs, and the four things it does from time to time."""

    options: Options
    model: BaseModel
    dataset: BaseDataset
    fingerprint: dict[str, Any]  # of the data set's files
    loader: Loader
    plan: Plan
    progress: Progress
    meter: Meter
    loggers: Logger
    checkpointer: Checkpointer
    engine: Engine
    logs_until: int | None = None  # images up to which a continued run keeps its logs; None: a new run

    def log_scalars(self) -> None:
        """Send the losses of this step to the loggers: the one place where the loop waits for the device."""
        from util.device import peak_memory_mb

        self.meter.check()
        record = self.meter.record(self.progress, self.model.lr, peak_memory_mb(self.engine.device))
        self.loggers.log_scalars(record)

    def log_images(self, batch: Any) -> None:
        """Send the pictures of the first sample to the loggers."""
        if not self.engine.world.is_main:
            return
        from util.image_io import to_display
        from util.types import ImageRecord

        images = {name: to_display(image[0].cpu()) for name, image in self.model.visuals().items()}
        paths = tuple(batch[side][0] for side in ("A_paths", "B_paths", "path") if batch.get(side))
        self.loggers.log_images(ImageRecord(self.progress.epoch, self.progress.total_iters, images, paths))

    def save(self, *tags: str) -> None:
        """Save a checkpoint under these tags; refused when a loss is not finite, so that the last one stays good."""
        from util import distributed
        from util.checkpoint import FORMAT, versions
        from util.seed import rng_state

        self.meter.check()
        self.meter.check_weights(self.model.networks)
        state = {
            "format": FORMAT,
            "progress": self.progress.state(),
            **self.model.training_state(),
            "schedulers": self.plan.state(),
            "ema": {},
            "meter": self.meter.state(),
            "rng": rng_state(),
            "sampler": {"position": self.progress.epoch_iter, **self.fingerprint},
            "options": {key: value for key, value in self.options.values.items() if key not in (*VOLATILE, *PLACE)},
            "versions": versions(),
        }
        if self.engine.world.is_main:
            self.checkpointer.save(tags, self.model.networks, state)
        distributed.barrier()

    def resume(self) -> None:
        """Load the checkpoint that ``--epoch``/``--load_iter`` name, to go on with its next batch."""
        from util import distributed
        from util.checkpoint import checkpoint_tag
        from util.seed import load_rng_state

        if self.engine.world.is_main and not self.options.loop.dry_run:
            self.checkpointer.recover()
        distributed.barrier()
        tag = checkpoint_tag(self.options.run.epoch, self.options.run.load_iter)
        for name, net in self.model.networks.items():
            self.checkpointer.load_network(tag, name, net)
        state = self.checkpointer.load_state(tag)
        if state is None:
            logger.warning("warning: there is no %s_state.pth: fine-tuning these weights with new optimizers", tag)
            self.progress.total_iters = (self.progress.epoch - 1) * self.loader.num_images
            self.logs_until = sys.maxsize
            return
        self.model.load_training_state(state)
        self.plan.load_state(state["schedulers"])
        self.meter.load_state(state["meter"], 1.0 / self.engine.world.size)
        self.progress = type(self.progress)(**state["progress"])
        self.logs_until = self.progress.total_iters
        load_rng_state(state["rng"])
        if any(state["sampler"].get(key) != value for key, value in self.fingerprint.items()):
            logger.warning("warning: the files of the data set are not those of this checkpoint")
        logger.info("continuing in epoch %d after %d of its images", self.progress.epoch, self.progress.epoch_iter)

    def end_epoch(self) -> None:
        """Log the epoch's means, step the schedule, and save when it is time.

        A run that is bounded by steps may end in mid-epoch: it is saved as it stands, to go on there if it is extended.
        """
        loop, epoch = self.options.loop, self.progress.epoch
        if self.plan.finished(self.progress) and self.progress.epoch_iter < self.loader.num_images:
            self.save("latest")
            return
        self.meter.check()
        record = self.meter.epoch_record(self.progress, self.model.lr)
        self.loggers.log_epoch(record)
        self.plan.end_epoch(record.means)
        self.progress.next_epoch()
        if epoch % loop.save_epoch_freq == 0:
            self.save("latest", str(epoch))
        elif self.plan.finished(self.progress):
            self.save("latest")


def train(session: Session, stop: StopSignal) -> int:
    """The loop: it knows counters and when, never what. Returns the exit code.

    Raises:
        NonFiniteLoss: a loss became NaN or infinite; nothing was saved since.
    """
    from util.seed import seed_step
    from util.types import paths_of

    s, log, loop = session, session.options.log, session.options.loop
    while not s.plan.finished(s.progress):
        s.model.train()
        s.model.begin_epoch(s.progress.epoch)
        s.loggers.start_epoch(s.progress.epoch, s.plan.last_epoch, s.loader.num_images, s.progress.epoch_iter)
        batches = s.loader.batches(s.progress.epoch, done=s.progress.epoch_iter)
        for batch in s.meter.waiting(batches):
            s.model.set_lr_factor(s.plan.factor(s.progress))
            seed_step(s.options.engine.seed, s.progress.steps, s.engine.world.rank)
            s.model.set_input(batch)
            losses = s.model.optimize_parameters()

            num_images = batch["global_size"]
            s.progress.advance(num_images)
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
            if s.plan.finished(s.progress):
                break
        s.end_epoch()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Train from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 the run failed, 2 bad options or data, 130/143 stopped by Ctrl-C/SIGTERM after saving.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options = parse_train(argv, MODELS, DATASETS)
        code = _launch_processes(argv, options.engine.gpu_ids)
        return _run(options) if code is None else code
    except HelpAsked:
        return EXIT_DONE
    except (Exception, KeyboardInterrupt) as error:
        return exit_code("train.py", error, verbose="--verbose" in argv)


def build_model(argv: Sequence[str], dataset_size: int) -> BaseModel:
    """The model of a command line, built, initialised, ready to train, on its device. Reads no data.

    Args:
        argv: words of the command line.
        dataset_size: images in an epoch.

    Raises:
        ValueError: bad options.
    """
    from util.engine import start_engine

    options = parse_train(list(argv), MODELS, DATASETS)
    return _make_model(options, start_engine(**vars(options.engine)), dataset_size)


def _make_model(options: Options, engine: Engine, dataset_size: int) -> BaseModel:
    model = MODELS.get(options.run.model)(options.model, engine)
    model.setup_training(dataset_size)
    model.train()
    for name, net in model.networks.items() if options.run.verbose else ():
        logger.info("network %s\n%s", name, net)
    return model


def _launch_processes(argv: list[str], gpu_ids: str) -> int | None:
    """Start one process a GPU when several are asked for, and return their exit code; None: go on in this one."""
    if "," not in gpu_ids:
        return None
    from util import distributed
    from util.device import parse_gpu_ids

    count = len(parse_gpu_ids(gpu_ids))
    if count < 2 or distributed.world_from_environment().size > 1:
        return None
    return distributed.launch(main, (argv,), count)


def _run(options: Options) -> int:
    from util import distributed
    from util.engine import start_engine
    from util.interrupt import StopSignal
    from util.run_folder import check_name, check_run_folder, open_run_folder

    run, loop = options.run, options.loop
    check_name(run.name)
    folder = Path(run.checkpoints_dir) / run.name
    if not loop.dry_run:
        check_run_folder(folder, continue_train=loop.continue_train, overwrite=loop.overwrite)
    engine = start_engine(**vars(options.engine))
    if not engine.world.is_main:
        logging.getLogger().setLevel(logging.ERROR)
    lock = None
    try:
        owner = engine.world.is_main and not loop.dry_run
        if owner and loop.continue_train:  # before anything is read from it; a new run's folder is made last
            lock = open_run_folder(folder, overwrite=False)
        session = _compose(options, engine, folder)
        if loop.dry_run:
            return _dry_run(session)
        if owner and lock is None:
            lock = open_run_folder(folder, overwrite=loop.overwrite)
        with StopSignal(engine.world, engine.device) as stop:
            return _train_and_log(session, folder, stop)
    finally:
        if lock is not None:
            lock.close()
        distributed.stop()


def _compose(options: Options, engine: Engine, folder: Path) -> Session:
    """Everything a run needs, checked, with nothing written yet."""
    from data.check import quick_check
    from data.identity import fingerprint, sample_size
    from data.loader import create_loader
    from util.checkpoint import Checkpointer
    from util.loggers import LoggerGroup
    from util.plan import Plan
    from util.progress import Meter, Progress

    d, m, world = options.data, options.model, engine.world
    model_class = MODELS.get(options.run.model)
    model_class.check_trainable(options.run.model)
    dataset_class = DATASETS.get(options.run.dataset_mode)
    dataset = dataset_class(d, input_nc=m.input_nc, output_nc=m.output_nc, seed=options.engine.seed)
    sample = dataset[0]
    model_class.check_sides(sample, f"--model {options.run.model}", options.run.dataset_mode)
    for warning in quick_check(dataset) if world.is_main else ():
        logger.warning("warning: %s", warning)
    loader = create_loader(
        dataset,
        batch_size=d.batch_size,
        num_threads=d.num_threads,
        serial_batches=d.serial_batches,
        direction=d.direction,
        seed=options.engine.seed,
        rank=world.rank,
        world_size=world.size,
        pin_memory=engine.device.type == "cuda",
    )
    session = Session(
        options=options,
        model=_make_model(options, engine, loader.num_images),
        dataset=dataset,
        fingerprint=fingerprint(dataset),
        loader=loader,
        plan=Plan(steps_per_epoch=len(loader), **vars(options.schedule)),
        progress=Progress(epoch=options.schedule.epoch_count),
        meter=Meter(),
        loggers=LoggerGroup(()),
        checkpointer=Checkpointer(folder, options.loop.keep_checkpoints),
        engine=engine,
    )
    session.model.check_size(*sample_size(sample))
    session.plan.check_metric(session.model.loss_names)
    if options.loop.continue_train:
        session.resume()
    elif session.plan.finished(session.progress):
        last = session.plan.last_epoch
        raise ValueError(f"--epoch_count {session.progress.epoch}: beyond the last epoch, {last}; raise --n_epochs")
    return session


def _train_and_log(s: Session, folder: Path, stop: StopSignal) -> int:
    from options.files import format_options, write_options
    from util.loggers import build_loggers

    o = s.options
    if s.plan.finished(s.progress):
        done = f"{s.progress.steps} steps" if s.plan.by_steps else f"{s.progress.epoch - 1} epochs"
        logger.warning("nothing left to train, %s are done: raise --n_epochs or --n_epochs_decay to go on", done)
        return EXIT_DONE
    values = {**o.values, **VOLATILE}
    if s.engine.world.is_main:
        logger.info("%s", format_options(values, o.defaults))
        for line in _description(s):
            logger.info("%s", line)
        log = {key: value for key, value in vars(o.log).items() if key not in ("print_freq", "display_freq", "no_html")}
        s.loggers = build_loggers(
            folder, name=o.run.name, resume_iters=s.logs_until, options=values, html=not o.log.no_html, **log
        )
        write_options(values, o.defaults, folder, "train")
    try:
        code = train(s, stop)
    finally:
        s.loggers.close()
    if code:
        where = "" if o.run.checkpoints_dir == "./checkpoints" else f" --checkpoints_dir {o.run.checkpoints_dir}"
        logger.warning("saved; go on with: python train.py --name %s%s --continue_train", o.run.name, where)
    elif not o.log.no_html:
        logger.info("done; pictures and curves: %s", folder / "web" / "index.html")
    return code


def _dry_run(s: Session) -> int:
    """Print what the run is going to be, with one measured step on random images. Writes nothing."""
    import torch

    from options.files import format_options
    from util.report import describe_step, measure_step

    batch = next(iter(s.loader.batches(s.progress.epoch)))
    noise = {key: torch.rand_like(v) * 2 - 1 if key in ("A", "B", "image") else v for key, v in batch.items()}

    def step() -> None:
        s.model.set_input(noise)
        s.model.optimize_parameters()

    lines = _description(s) + describe_step(*measure_step(step, s.engine.device), s.plan.total_steps)
    if s.engine.world.is_main:
        print(format_options(s.options.values, s.options.defaults), *lines, sep="\n")
    return EXIT_DONE


def _description(s: Session) -> list[str]:
    from util import report
    from util.checkpoint import size_on_disk

    loop, data = s.options.loop, s.options.data
    size = size_on_disk(s.model.networks.values(), s.model.optimizers.values())
    return [
        *report.describe_networks(s.model.networks),
        *report.describe_data(s.options.run.dataset_mode, s.dataset.summary()),
        *report.describe_plan(s.plan, s.loader.num_images, data.batch_size),
        *report.describe_checkpoints(s.checkpointer.folder, size, s.plan, loop.save_epoch_freq, loop.keep_checkpoints),
    ]


if __name__ == "__main__":
    exit_status = main()
    if "torch" in sys.modules:
        from util.distributed import leave

        leave(exit_status)
    sys.exit(exit_status)
