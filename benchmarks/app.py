"""Parallel requests to a running app: all answered? Latency, and whether the server's memory grows.

    python scripts/app.py --name RUN --port 7860 & python benchmarks/app.py --run RUN --pid $!

A label map goes to ``/generate`` of a run that has a palette, else a picture to ``/translate``. The memory is read from
``/proc``, so on Linux only.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import statistics
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def png(size: int, seed: int, palette: list[str]) -> str:
    """A picture of patches, in the palette's colours or any, as base64."""
    rng = np.random.default_rng(seed)
    colours = [list(bytes.fromhex(colour.lstrip("#"))) for colour in palette] or rng.integers(0, 256, (8, 3)).tolist()
    table = np.array(colours, np.uint8)
    coarse = table[rng.integers(0, len(table), (size // 16, size // 16))]
    out = io.BytesIO()
    Image.fromarray(np.kron(coarse, np.ones((16, 16, 1), np.uint8))).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def call(address: str, endpoint: str, given: dict[str, Any]) -> Any:
    """What an endpoint of the app answers.

    Raises:
        RuntimeError: it refuses.
    """
    body = json.dumps(given).encode()
    request = urllib.request.Request(
        f"{address}/gradio_api/call/v2/{endpoint}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/{endpoint}/{event}", timeout=600) as answer:
        kind, _, data = answer.read().decode().strip().rpartition("data: ")
    if "event: complete" not in kind:
        raise RuntimeError(data)
    return json.loads(data)[0]


def memory_mb(pid: int) -> float:
    """Resident memory of a process in MB; NaN without ``/proc``."""
    file = Path(f"/proc/{pid}/status")
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), float("nan"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="http://127.0.0.1:7860")
    parser.add_argument("--run", required=True, help="one of the app's runs")
    parser.add_argument("--pid", type=int, default=0, help="process of the app, for its memory")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--size", type=int, default=128, help="width and height of the pictures")
    asked = parser.parse_args()
    known = {each["run"]: each for each in call(asked.address, "models", {})}
    palette = list(known[asked.run].get("palette", {}).values())
    endpoint, name = ("generate", "label_map") if palette else ("translate", "picture")

    def one(number: int) -> tuple[float, float]:
        begin = time.perf_counter()
        given = {"run": asked.run, name: png(asked.size, number, palette), "seed": number}
        answer = call(asked.address, endpoint, given)
        return time.perf_counter() - begin, answer["network_ms"] / 1e3

    one(0)  # loads the weights
    print(f"{endpoint} of {asked.run}, {asked.size} px, {asked.parallel} at a time")
    print("requests  answered  median s  95 % s  network median s  requests/s  memory MB")
    done = 0
    with ThreadPoolExecutor(asked.parallel) as visitors:
        for part in (asked.parallel, *[100] * ((asked.requests - asked.parallel) // 100)):
            begin = time.perf_counter()
            times = list(visitors.map(one, range(done, done + part)))
            wall, done = time.perf_counter() - begin, done + part
            whole, network = zip(*times)
            late = statistics.quantiles(whole, n=20)[-1]
            median = statistics.median(whole)
            print(
                f"{done:8d}  {len(times):8d}  {median:8.3f}  {late:6.3f}  {statistics.median(network):16.4f}"
                f"  {part / wall:10.1f}  {memory_mb(asked.pid):9.1f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
