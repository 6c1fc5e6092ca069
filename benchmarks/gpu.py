"""Everything that is to be known of one GPU, in under 8 minutes: speed, limits, and equality with the CPU.

    bash benchmarks/gpu.sh [--output DIR] [--max_minutes 8]

Needs torch and numpy, and installs nothing. The cells run in the order of their importance in a process of their own,
which is replaced when a cell hangs or takes it down. ``results.json`` and ``results.md`` in the output folder are
written after every cell, so that a run which is cut off keeps what it has. Exit code 1 if a check failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from util.files import replace_text
from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

REPO = Path(__file__).resolve().parents[1]
MARK = "gpu.py result: "
MODELS = ("pix2pix", "cycle_gan", "atme", "ugatit", "sagan")
BEST = "bf16 channels_last graph"
COMPILED = "bf16 channels_last compile"
CHECKS = ("golden", "against_cpu", "resume", "graph", "two_processes")
SECONDS = {"limit": 20.0, "step": 30.0, "check": 60.0}
"""What a cell may take at most; longer than planned, as the first one also loads torch and starts the device."""
COMPILE_SECONDS = 100.0
START_SECONDS = 40.0


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes:
        kind: ``limit``, ``step`` or ``check``.
        name: a precision, a model, or a check.
        batch: images of a step; 0 for a check.
        mode: of a step, a name of ``gpu_cells.MODES``.
    """

    kind: str
    name: str
    batch: int = 0
    mode: str = ""

    @property
    def budget(self) -> float:
        """Seconds after which it is given up."""
        return COMPILE_SECONDS if "compile" in self.mode else SECONDS[self.kind]


def all_cells(models: Sequence[str] = MODELS, batches: Sequence[int] = (1, 16, 48)) -> list[Cell]:
    """Every cell, the most important first: a run that is cut off has answered the larger questions."""
    few, many = list(batches[:2]), list(batches[2:])
    cells = [Cell("limit", precision, batch) for precision in ("fp32", "bf16", "tf32") for batch in few[-1:]]
    cells += [Cell("check", name) for name in CHECKS[:2]]
    cells += [Cell("step", models[0], batch, mode) for batch in few for mode in ("fp32", BEST)]
    cells += [Cell("check", name) for name in CHECKS[2:4]]
    cells += [Cell("step", name, batch, mode) for name in models[1:] for batch in few for mode in ("fp32", BEST)]
    cells += [Cell("check", name) for name in CHECKS[4:]]
    cells += [Cell("step", models[0], few[0], COMPILED)]
    cells += [Cell("step", name, batch, mode) for batch in many for name in models for mode in ("fp32", BEST)]
    others = ("tf32", "bf16", "bf16 channels_last", "fp32 graph")
    cells += [Cell("step", name, batch, mode) for batch in batches for name in models for mode in others]
    cells += [Cell("limit", precision, batch) for precision in ("fp32", "bf16", "tf32") for batch in (*few[:-1], *many)]
    cells += [Cell("step", name, few[0], COMPILED) for name in models[1:]]
    return cells


# -- the process that measures ---------------------------------------------------------------------------------------


class _Absent(types.ModuleType):
    """Stands for a package that is not installed: models import it for pictures, which no step makes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # a package, so that its modules are looked for

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def do_without(packages: Sequence[str] = ("PIL", "PIL.Image", "PIL.ImageDraw", "PIL.ImageFont", "tqdm")) -> None:
    """Let imports of packages that this machine lacks succeed."""
    for name in packages:
        if name.split(".")[0] in sys.modules or importlib.util.find_spec(name.split(".")[0]) is None:
            sys.modules.setdefault(name, _Absent(name))


def run_cell(cell: Cell, device_name: str, small: bool, seconds: float) -> dict[str, Any]:
    """Measure one cell in this process.

    Returns:
        ``values``; or ``skipped`` or ``failed``, with the reason.
    """
    import torch

    from benchmarks import gpu_cells

    device = torch.device(device_name)
    try:
        if cell.kind == "limit":
            side = 256 if small else 8192
            return {"values": gpu_cells.measure_limit(cell.name, cell.batch, device, seconds=seconds, side=side)}
        if cell.kind == "step":
            measured = gpu_cells.measure_step(cell.name, cell.batch, cell.mode, device, seconds=seconds, small=small)
            return {"values": measured}
        if cell.name == "two_processes":
            return {"values": check_two_processes(device_name)}
        return {"values": getattr(gpu_cells, f"check_{cell.name}")(device)}
    except gpu_cells.Skipped as reason:
        return {"skipped": str(reason)}
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    except Exception as error:  # whatever a capture or a compiler says is the result of the cell
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}


def check_two_processes(device: str) -> dict[str, float]:
    """Two processes on one device over gloo: equal weights in both, and the losses of one process.

    Raises:
        AssertionError: they differ.
        RuntimeError: a process failed.
    """
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", device, "--rank"]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    both = [{"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    started = [
        subprocess.Popen(
            command, cwd=REPO, env=shared | each, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for each in (*both, {"WORLD_SIZE": "1"})
    ]
    found = []
    try:
        for process in started:
            out, err = process.communicate(timeout=SECONDS["check"])
            if process.returncode:
                raise RuntimeError(f"a process failed: {(err.strip().splitlines() or ['no message'])[-1]}")
            found.append(json.loads(out.split(MARK)[-1]))
    finally:
        for process in started:
            process.kill()
    first, second, alone = found
    assert first["digest"] == second["digest"], "the two processes end with different weights"
    pairs = [(one[key], value) for one, other in zip(first["losses"], alone["losses"]) for key, value in other.items()]
    apart = max(abs(one - other) / max(abs(other), 1e-3) for one, other in pairs)
    assert apart <= 1e-3, f"the losses of two processes and of one are {apart:.2g} apart"
    return {"cycle_gan": apart}


def worker(known: argparse.Namespace) -> int:
    """Measure the cells that standard input lists, and print a line after each."""
    do_without()
    for each in json.loads(sys.stdin.readline()):
        print(MARK + json.dumps(run_cell(Cell(**each), known.device, known.small, known.seconds)), flush=True)
    return 0


def rank(known: argparse.Namespace) -> int:
    """One of the processes of ``check_two_processes``."""
    do_without()
    import torch

    from benchmarks.gpu_cells import two_process_step

    print(MARK + json.dumps(two_process_step(torch.device(known.device))), flush=True)
    return 0


# -- the process that waits ------------------------------------------------------------------------------------------


class _Worker:
    """A process that measures cells, and the lines that it prints."""

    def __init__(self, command: Sequence[str], cells: Sequence[Cell]) -> None:
        self._process = subprocess.Popen(
            command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps([asdict(cell) for cell in cells]) + "\n")
        self._process.stdin.close()
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith(MARK):
                self._lines.put(line.removeprefix(MARK))
        self._lines.put("")

    def next(self, seconds: float) -> dict[str, Any]:
        """The next result.

        Raises:
            TimeoutError: it took longer.
            RuntimeError: the process has ended.
        """
        try:
            line = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise TimeoutError from None
        if not line:
            raise RuntimeError(f"the process ended with exit code {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def measured(cells: Sequence[Cell], command: Sequence[str], minutes: float) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Every cell with its result, until the time is over; those that it did not suffice for come last."""
    end = time.monotonic() + 60 * minutes
    rest, process, start = list(cells), None, 0.0
    try:
        while rest and time.monotonic() < end:
            if process is None:
                process, start = _Worker(command, rest), START_SECONDS
            cell, left = rest.pop(0), end - time.monotonic()
            begin = time.monotonic()
            try:
                found = process.next(min(cell.budget + start, left))
                start = 0.0
            except (TimeoutError, RuntimeError) as error:
                process.stop()
                process = None
                over = isinstance(error, TimeoutError)
                found = {"failed": f"not done after {time.monotonic() - begin:.0f} s" if over else str(error)}
            yield cell, {**found, "took": time.monotonic() - begin}
    finally:
        if process is not None:
            process.stop()
    for cell in rest:
        yield cell, {"skipped": "the time was over"}


Results = Mapping[Cell, Mapping[str, Any]]


def report(results: Results, about: Mapping[str, str]) -> list[str]:
    """Lines of Markdown: the device, checks, limits, and a row for every step."""
    lines = [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "| check | result |", "| --- | --- |"]
    for cell, found in results.items():
        if cell.kind == "check":
            apart = ", ".join(f"{key} {value:.2g}" for key, value in found.get("values", {}).items())
            lines.append(f"| {cell.name} | {f'passed: {apart}' if 'values' in found else _reason(found)} |")
    lines += ["", "| limit | batch | matmul TFLOP/s | convolution TFLOP/s |", "| --- | --- | --- | --- |"]
    for cell, found in results.items():
        if cell.kind == "limit":
            limit = found.get("values")
            rates = f"{limit['matmul']:.4g} | {limit['conv']:.4g}" if limit else f"{_reason(found)} | "
            lines.append(f"| {cell.name} | {cell.batch} | {rates} |")
    names = (
        "model | batch | mode | ms/step | images/s | to fp32 | TFLOP/s | of convolution | peak MB | GPU busy | kernels"
    )
    lines += ["", f"| {names} |", "|" + " --- |" * 11]
    steps = [cell for cell, found in results.items() if cell.kind == "step" and "took" in found]
    places = list(dict.fromkeys(cell.name for cell in steps))
    for cell in sorted(steps, key=lambda each: (places.index(each.name), each.batch)):
        lines.append(_row(cell, results))
    late = sum("took" not in found for found in results.values())
    return [*lines, "", f"The time did not suffice for {late} cells."] if late else lines


def _row(cell: Cell, results: Results) -> str:
    found, head = results[cell], f"| {cell.name} | {cell.batch} | {cell.mode} |"
    if "values" not in found:
        return f"{head} {_reason(found)} |" + " |" * 7
    values = found["values"]
    plain = results.get(Cell("step", cell.name, cell.batch, "fp32"), {}).get("values")
    limit = results.get(Cell("limit", cell.mode.split()[0], cell.batch), {}).get("values")
    cells = [
        f"{1000 * values['seconds']:.2f}",
        f"{values['images_per_s']:.4g}",
        f"{plain['seconds'] / values['seconds']:.2f}" if plain else "",
        f"{values['tflops']:.3g}",
        f"{values['tflops'] / limit['conv']:.2f}" if limit else "",
        f"{values['peak_mb']:.0f}",
        f"{100 * values['busy']:.0f} %" if "busy" in values else "",
        f"{values['kernels']:.0f}" if "kernels" in values else "",
    ]
    return f"{head} {' | '.join(cells)} |"


def _reason(found: Mapping[str, Any]) -> str:
    text = f"failed: {found['failed']}" if "failed" in found else f"not measured: {found['skipped']}"
    return text.replace("|", "/")


def write(folder: Path, results: Results, about: Mapping[str, str]) -> None:
    """``results.json`` and ``results.md``, each replaced as a whole."""
    rows = [{**asdict(cell), **found} for cell, found in results.items()]
    replace_text(folder / "results.json", [json.dumps({"about": about, "cells": rows}, indent=1), "\n"])
    replace_text(folder / "results.md", [f"{line}\n" for line in report(results, about)])


def describe(device: str) -> dict[str, str]:
    """The device and the versions, asked in a process of its own.

    Raises:
        ValueError: there is no such device, or no torch.
    """
    code = (
        "import sys, json, platform, torch; d = torch.device(sys.argv[1]); torch.zeros(1, device=d); "
        "name = torch.cuda.get_device_name(d) if d.type == 'cuda' else platform.machine(); "
        "print(json.dumps({'device': name, 'torch': torch.__version__, 'CUDA': str(torch.version.cuda), "
        "'cuDNN': str(torch.backends.cudnn.version())}))"
    )
    done = subprocess.run([sys.executable, "-c", code, device], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"--device {device}: not usable ({reason}); this benchmark is for a machine with a GPU")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gpu_results"), help="folder of the results")
    parser.add_argument("--max_minutes", type=float, default=8.0, help="end after these minutes, with what there is")
    parser.add_argument("--device", default="cuda", help="as torch names it; cpu to try the program")
    parser.add_argument("--models", default=",".join(MODELS), help="which, the most important first")
    parser.add_argument("--batches", default="1,16,48", help="batch sizes, at least two, the most important first")
    parser.add_argument("--seconds", type=float, default=1.5, help="time to measure a cell for")
    parser.add_argument("--small", action="store_true", help="tiny networks and images: to try the program")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    known = parser.parse_args(argv)
    if known.worker or known.rank:
        return worker(known) if known.worker else rank(known)
    begin = time.monotonic()
    try:
        batches = [int(word) for word in known.batches.split(",")]
        if len(batches) < 2 or min(batches) < 1:
            raise ValueError(f"--batches {known.batches}: expected at least two numbers above 0, such as 1,16")
        if unknown := [name for name in known.models.split(",") if name not in MODELS]:
            raise ValueError(f"--models {unknown[0]}: expected some of {','.join(MODELS)}")
        about = describe(known.device)
        known.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "benchmarks.gpu", "--worker", "--device", known.device]
    command += ["--seconds", str(known.seconds), *["--small"] * known.small]
    cells, results = all_cells(known.models.split(","), batches), {}
    for cell, found in measured(cells, command, known.max_minutes - (time.monotonic() - begin) / 60):
        results[cell] = found
        if "took" in found:
            write(known.output, results, about)
            said = "ok" if "values" in found else _reason(found)
            print(f"{time.monotonic() - begin:5.0f} s  {' '.join(str(each) for each in asdict(cell).values())}: {said}")
            sys.stdout.flush()
    write(known.output, results, about)
    print("", *report(results, about), sep="\n")
    return int(any(cell.kind == "check" and "failed" in found for cell, found in results.items()))


if __name__ == "__main__":
    sys.exit(main())
