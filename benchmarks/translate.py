"""Images per second of scripts/translate.py beside test.py, on the same pictures with the same run.

Usage:
    python -m benchmarks.translate --name RUN --images FOLDER [--rounds 3] [--old CHECKOUT]
Both programs are started in turns, so that a busy machine slows both; CPU seconds say more there than the clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def measure(words: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command, in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env={**os.environ})
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip().splitlines()[-1:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print images/s of both programs, their ratio, and the time to the first picture beside ``import torch``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--images", required=True, type=Path, help="folder of pictures of the size of the training")
    parser.add_argument("--checkpoints_dir", default="checkpoints")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", type=Path, default=REPO, help="checkout whose test.py is measured (default: this one)")
    args = parser.parse_args()
    pictures = sorted(file for file in args.images.iterdir() if file.is_file())
    run = ["--name", args.name, "--checkpoints_dir", args.checkpoints_dir, "--gpu_ids", "-1"]
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        single = ["--dataset_mode", "single", "--dataroot", str(args.images), "--results_dir", f"{folder}/results"]
        translate = [str(REPO / "scripts/translate.py"), *run, "--existing", "replace"]
        commands = {
            "test.py": [str(args.old.resolve() / "test.py"), *run, *single],
            "translate.py": [*translate, str(args.images), "--output", f"{folder}/out"],
            "import torch": ["-c", "import torch"],
            "one picture": [*translate, str(pictures[0]), "--output", f"{folder}/one.png"],
        }
        for _ in range(args.rounds):
            for name, words in commands.items():
                found.setdefault(name, []).append(measure(words))
    wall, cpu = ({name: statistics.median(each[k] for each in rows) for name, rows in found.items()} for k in (0, 1))
    for name in commands:
        print(f"{name:<14} {wall[name]:8.2f} s, {cpu[name]:8.2f} s of CPU")
    for kind, seconds in (("clock", wall), ("CPU", cpu)):
        start = seconds["one picture"]
        rates = {name: len(pictures) / seconds[name] for name in ("test.py", "translate.py")}
        shown = ", ".join(f"{name} {rate:.2f} images/s" for name, rate in rates.items())
        print(f"{kind}: {shown}, ratio {rates['translate.py'] / rates['test.py']:.2f};", end=" ")
        print(f"first picture {start / seconds['import torch']:.2f} times import torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
