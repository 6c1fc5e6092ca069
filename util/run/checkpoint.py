"""Checkpoints on disk: several files that appear together or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from util.run.folder import CHECKPOINT_FILE
from util.run.restart import MARKER

FORMAT = 1
DRAFT = ".tmp"
AVERAGE = "_ema"
"""Ending of the name of an averaged network."""


class Checkpointer:
    """Saves and loads ``<tag>_net_<name>.pth`` and ``<tag>_state.pth`` in a run's folder.

    A save writes every file under a temporary name and flushes it to disk, then writes a marker that lists the
    renames, renames, and removes the marker. A kill before the marker leaves the old checkpoint; after it, ``recover``
    finishes the renames. There is no moment with a mixture.

    Args:
        folder: the run's folder.
        keep: keep only this many numbered checkpoints of each kind (epochs, ``iter_<n>``); 0 keeps all.
    """

    def __init__(self, folder: Path, keep: int = 0) -> None:
        self.folder, self.keep = folder, keep

    def save(self, tags: Sequence[str], networks: Mapping[str, nn.Module], state: Mapping[str, Any]) -> None:
        """Write the same checkpoint under every tag, in one transaction.

        Raises:
            OSError: the disk is full or the folder cannot be written; the previous checkpoint is untouched.
        """
        renames: list[tuple[str, str]] = []
        try:
            for part, content in (
                *((f"net_{name}", _plain_state(net)) for name, net in networks.items()),
                ("state", _canonical(state)),
            ):
                first = self.folder / f"{tags[0]}_{part}.pth{DRAFT}"
                _write(first, content)
                renames.append((first.name, first.name.removesuffix(DRAFT)))
                for tag in tags[1:]:
                    other = self.folder / f"{tag}_{part}.pth{DRAFT}"
                    _link_or_copy(first, other)
                    renames.append((other.name, other.name.removesuffix(DRAFT)))
            marker = self.folder / MARKER
            with open(f"{marker}{DRAFT}", "w", encoding="utf-8") as text:
                json.dump(renames, text)
                text.flush()
                os.fsync(text.fileno())
        except BaseException:
            for draft in self.folder.glob(f"*{DRAFT}"):
                draft.unlink(missing_ok=True)
            raise
        os.replace(f"{marker}{DRAFT}", marker)
        _flush_folder(self.folder)
        self.finish_save()
        self._prune()

    def recover(self) -> None:
        """Before training: finish a save that was cut off after its marker, drop the drafts of one cut off before."""
        self.finish_save()
        for draft in self.folder.glob(f"*{DRAFT}"):
            draft.unlink(missing_ok=True)

    def finish_save(self) -> None:
        """Do the renames that a marker lists, if there is one. Harmless while another process saves."""
        marker = self.folder / MARKER
        if marker.is_file():
            for draft, final in _renames(marker):
                with contextlib.suppress(FileNotFoundError):  # renamed already
                    os.replace(self.folder / draft, self.folder / final)
            _flush_folder(self.folder)
            marker.unlink(missing_ok=True)

    def tags(self) -> list[str]:
        """Tags of what is there: latest first, then numbered ones from new to old."""
        found = {match["tag"] for file in self.folder.glob("*.pth") if (match := CHECKPOINT_FILE.fullmatch(file.name))}
        return sorted(found, key=lambda tag: (tag != "latest", not tag.isdigit(), -_number(tag), tag))

    def load_network(
        self, tag: str, name: str, net: nn.Module, aliases: Sequence[str] = (), *, copy: bool = True
    ) -> None:
        """Load ``<tag>_net_<name>.pth`` into ``net``; also files of the original code (see ``adapt_state``).

        Args:
            tag: which checkpoint.
            name: of the network.
            net: is changed.
            aliases: names under which published checkpoints have it.
            copy: into the tensors that ``net`` has. Without, those of the file take their place where they are of the
                same type and device: a network of 54 million weights opens in half the time.

        Raises:
            FileNotFoundError: no such file; the message lists the checkpoints there are, or says how to choose one of
                two directions.
            ValueError: the file is damaged, or of another network.
        """
        files = [self.folder / f"{tag}_net_{each}.pth" for each in (name, *aliases)]
        file = next((each for each in files if each.is_file()), files[0])
        if not file.is_file():
            found = [each for each in self.tags() if (self.folder / f"{each}_net_{name}.pth").is_file()]
            if all((self.folder / f"{tag}_net_{name}_{side}.pth").is_file() for side in "AB"):
                raise FileNotFoundError(
                    f"{file} does not exist, but those of {name}_A and {name}_B do: for one direction of such a run "
                    "give --model test --model_suffix _A (A to B) or _B (B to A)"
                )
            asked = f"--load_iter {tag[5:]}" if tag.startswith("iter_") else f"--epoch {tag}"
            others = sorted(each.stem.removeprefix(f"{tag}_net_") for each in self.folder.glob(f"{tag}_net_*.pth"))
            there = ", ".join(found) or "no checkpoint at all"
            if others and (report := self.folder / "import_report.txt").is_file():
                raise FileNotFoundError(
                    f"{asked}: {file} does not exist; the file that this run was imported from has {', '.join(others)} "
                    f"only ({report}): test.py can use it, a training cannot go on from it"
                )
            if others:  # the tag is right, the network is not
                raise FileNotFoundError(
                    f"{asked}: {file} does not exist; there are networks {', '.join(others)}: check --model, and the "
                    f"flags that add networks, against {self.folder / 'train_opt.txt'}"
                )
            raise FileNotFoundError(f"{asked}: {file} does not exist; there is: {there}")
        state = adapt_state(read_network(file), net)
        own = net.state_dict()
        missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
        if missing or extra or shapes:
            details = [f"it lacks {missing[0]}" if missing else "", f"it has {extra[0]}" if extra else ""]
            if shapes:
                wrong = shapes[0]
                details.append(f"{wrong} is {tuple(state[wrong].shape)}, not {tuple(own[wrong].shape)}")
            raise ValueError(
                f"{file}: a checkpoint of another network ({len(missing) + len(extra) + len(shapes)} entries differ; "
                f"{'; '.join(filter(None, details))}); give the options it was trained with: "
                "--model, --netG, --netD, --norm, --ngf, --ndf, --no_dropout, --input_nc, --output_nc and the model's "
                f"own, see {self.folder / 'train_opt.txt'}"
            )
        alike = all(value.dtype == state[key].dtype and value.device == state[key].device for key, value in own.items())
        net.load_state_dict(state, assign=alike and not copy)

    def load_state(self, tag: str) -> dict[str, Any] | None:
        """``<tag>_state.pth``, or None when there is none (a checkpoint of the original code).

        Raises:
            ValueError: damaged, or written by a newer version.
        """
        file = self.folder / f"{tag}_state.pth"
        if not file.is_file():
            return None
        state = _load(file)
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            found = state.get("format") if isinstance(state, dict) else None
            if found is None:
                raise ValueError(f"{file}: not the state of a run; restore another copy, or delete it to fine-tune")
            raise ValueError(f"{file}: written in format {found}, this version reads {FORMAT}; update the program")
        return state

    def _prune(self) -> None:
        if not self.keep:
            return
        tags = self.tags()
        for kind in ([t for t in tags if t.isdigit()], [t for t in tags if t.startswith("iter_")]):
            for tag in kind[self.keep :]:
                for file in self.folder.glob(f"{tag}_*.pth"):
                    if (match := CHECKPOINT_FILE.fullmatch(file.name)) and match["tag"] == tag:
                        file.unlink(missing_ok=True)


def read_network(file: Path) -> Mapping[str, torch.Tensor]:
    """The state_dict of a network in a file.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    loaded = _load(file)
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError(f"{file}: not a state_dict of a network")
    return loaded


def adapt_state(state: Mapping[str, torch.Tensor], net: nn.Module) -> dict[str, torch.Tensor]:
    """A state_dict as ``net`` expects it: no ``module.`` prefix of DataParallel, without the statistics that
    InstanceNorm layers kept before torch 0.4, and weights without a leading axis of 1 that ``net`` does not have; what
    it lacks of modules with a true ``may_be_new`` stays as it is."""
    keys = {key: key.removeprefix("module.") for key in state}
    adapted = {keys[key]: value for key, value in state.items()}
    stale = ("running_mean", "running_var", "num_batches_tracked")
    own = net.state_dict()
    adapted = {k: v[0] if k in own and v.shape == (1, *own[k].shape) else v for k, v in adapted.items()}
    for name, module in net.named_modules():
        if isinstance(module, nn.InstanceNorm2d):
            for each in stale:
                if f"{name}.{each}" not in own:
                    adapted.pop(f"{name}.{each}", None)
        if getattr(module, "may_be_new", False):  # what a model adds to a published network
            adapted = {**{f"{name}.{key}": value for key, value in module.state_dict().items()}, **adapted}
    return adapted


def checkpoint_tag(epoch: str, load_iter: int) -> str:
    """The tag that ``--epoch`` and ``--load_iter`` ask for."""
    return f"iter_{load_iter}" if load_iter > 0 else epoch


def _plain_state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}


def _write(file: Path, content: Any) -> None:
    """Save and flush to disk.

    Raises:
        OSError: the disk is full or the file cannot be written, also where torch hides that in a ``RuntimeError``.
    """
    try:
        with open(file, "wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        raise cause or OSError(errno.EIO, f"cannot save ({str(error).splitlines()[0]})", str(file)) from None


def _renames(marker: Path) -> list[list[str]]:
    try:
        return list(json.loads(marker.read_text(encoding="utf-8")))
    except FileNotFoundError:  # the saving process was quicker
        return []
    except ValueError:
        raise ValueError(f"{marker}: damaged; delete it, the checkpoint before it is whole") from None


def _canonical(value: Any) -> Any:
    """The same content in fresh containers and interned strings: pickle then writes equal bytes for equal content,
    whichever objects happened to be shared."""
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_canonical(item) for item in value])
    return value


def _load(file: Path) -> Any:
    """The content of a file of a checkpoint.

    Raises:
        ValueError: it is damaged; the message names the other checkpoints of the folder that have such a file.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file, with texts about its own inside
        size = file.stat().st_size if file.is_file() else 0
        what = f"damaged or not a checkpoint ({size} bytes)" if size else "damaged: an empty file"
        raise ValueError(f"{file}: {what}; {_other_copies(file)}") from error


def _other_copies(file: Path) -> str:
    """What to do without this file: which flags choose another checkpoint of its run."""
    match = CHECKPOINT_FILE.fullmatch(file.name)
    part = file.name.removeprefix(match["tag"]) if match else ""
    tags = [tag for tag in Checkpointer(file.parent).tags() if part and (file.parent / f"{tag}{part}").is_file()]
    flags = [
        f"--load_iter {tag[5:]}" if tag.startswith("iter_") else f"--epoch {tag}"
        for tag in tags
        if match and tag != match["tag"]
    ]
    shown = ", ".join(flags[:4]) + (f" and {len(flags) - 4} more" if len(flags) > 4 else "")
    return f"restore a copy of it, or use another checkpoint of the run: {shown}" if flags else "restore a copy of it"


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
        with open(target, "rb+") as file:
            os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _number(tag: str) -> int:
    digits = re.sub(r"\D", "", tag)
    return int(digits) if digits else 0


def size_on_disk(networks: Iterable[nn.Module], optimizers: Iterable[torch.optim.Optimizer]) -> int:
    """Bytes of one checkpoint: the networks, and two moments for every parameter that Adam trains."""
    weights = sum(value.numel() * value.element_size() for net in networks for value in net.state_dict().values())
    trained = {id(p): p.numel() * p.element_size() for o in optimizers for g in o.param_groups for p in g["params"]}
    return weights + 2 * sum(trained.values())


def versions() -> dict[str, str]:
    """Versions worth knowing when a checkpoint behaves oddly elsewhere."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
