#!/usr/bin/env bash
# webdataset 1.0.2 writes keys with dots, and reads samples of such keys back as one.
#
# A good guess:  samples that TarWriter takes under the keys "cat.1" and "cat.2" are two samples when WebDataset reads the
#                file, with the keys and the fields that they were given, or one of the two refuses the keys.
# What happens:  a key ends at the first dot of the name. Both come back as one sample "cat" with the fields "1.a.png",
#                "1.b.png", "2.a.png" and so on, and nothing is said. Names of fields also become lower case: "A.png" is
#                read as "a.png". And a file that was cut off between two members ends without an error: what comes after
#                is missing, of the last sample too.
# Versions:      webdataset 1.0.2, Python 3.11
# Source:        webdataset's description of the format: "files that belong together share the name up to the first dot"
#
# Run it: bash findings/webdataset_keys_end_at_the_first_dot.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 webdataset==1.0.2
cd "$folder"
venv/bin/python - <<'PY'
import sys
import tarfile
from pathlib import Path

import webdataset


def read(file):
    found = webdataset.WebDataset(file, shardshuffle=False)
    return [(each["__key__"], sorted(name for name in each if name[0] != "_")) for each in found]


with webdataset.TarWriter("dots.tar") as writer:
    for number in range(1, 3):
        writer.write({"__key__": f"cat.{number}", "a.txt": "first", "b.txt": "second"})
with webdataset.TarWriter("whole.tar") as writer:
    for number in range(2):
        writer.write({"__key__": f"{number}", "A.txt": "first", "B.txt": "second"})
with tarfile.open("whole.tar") as tar:
    last = tar.getmembers()[-1]
Path("cut.tar").write_bytes(Path("whole.tar").read_bytes()[: last.offset])
seen = {name: read(f"{name}.tar") for name in ("dots", "whole", "cut")}
for name, samples in seen.items():
    print(name, samples)
print("webdataset", webdataset.__version__, "Python", sys.version.split()[0])
as_described = seen == {
    "dots": [("cat", ["1.a.txt", "1.b.txt", "2.a.txt", "2.b.txt"])],
    "whole": [("0", ["a.txt", "b.txt"]), ("1", ["a.txt", "b.txt"])],
    "cut": [("0", ["a.txt", "b.txt"]), ("1", ["a.txt"])],
}
sys.exit(0 if as_described else "the behaviour has changed")
PY
