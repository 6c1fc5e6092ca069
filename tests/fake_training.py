"""A program in place of train.py, without torch: its G_L1 in epoch e is ``--lr`` times ten plus 1 / e.

It leaves the files of a run, goes on with ``--continue_train`` after the last epoch that they know, and ends at
SIGTERM.
"""

import fcntl
import json
import sys
import time
from pathlib import Path


def main() -> int:
    words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    folder, lr = Path(words["--folder"]), float(words["--lr"])
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "a")  # noqa: SIM115
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("words:", *sys.argv[1:], flush=True)
    if lr == 13:
        print("train.py: error: 13 is refused", flush=True)
        return 2
    log = folder / "metrics.jsonl"
    known = log.read_text().splitlines() if log.exists() and "--continue_train" in sys.argv else []
    for epoch in range(len(known) + 1, int(words["--epochs"]) + 1):
        time.sleep(float(words["--seconds"]))
        value = float("nan") if lr == 7 else 10 * lr + 1 / epoch
        text = "NaN" if lr == 7 else value
        known.append(json.dumps({"kind": "epoch", "epoch": epoch, "means": {"G_L1": text}}))
        draft = folder / "draft"
        draft.write_text("\n".join(known) + "\n")
        draft.replace(log)
        (folder / "latest_state.pth").touch()
    if lr == 11:
        print("train.py: error: memory is full", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
