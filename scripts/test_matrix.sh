#!/usr/bin/env bash
# Tries the oldest and the newest torch that requirements.txt allows: each in an environment of its own, with a torch
# that is there before the set-up. It must be kept; every module must import, the tests of the core pass, and a tiny
# training with its test run.
#
#   bash scripts/test_matrix.sh [--envs DIR] [oldest] [newest]
#
# --envs DIR  keeps the environments in DIR/oldest and DIR/newest and uses those that are there (6 GB each); otherwise
#             they are temporary and deleted at the end
#
# The exit status is 0 only if everything passed with every torch; the last lines name versions and what failed.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
scratch="$(mktemp -d)"
trap 'rm -rf -- "$scratch"' EXIT
envs="$scratch/envs"
ends=()
while [ $# -gt 0 ]; do
    case "$1" in
    oldest | newest) ends+=("$1") ;;
    --envs) envs="${2:?--envs needs a folder}" && shift ;;
    *) echo "unknown argument '$1'; known: oldest, newest, --envs DIR" >&2 && exit 2 ;;
    esac
    shift
done
[ "${#ends[@]}" -gt 0 ] || ends=(oldest newest)
mkdir -p -- "$envs"
envs="$(cd "$envs" && pwd)"
cd "$repo"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# torch>=2.6,<2.15 -> torch==2.6.* and torch>=2.6,<2.15
requirement="$(grep -E '^torch>=' requirements.txt)"
oldest="${requirement%%,*}"
pin_of() { if [ "$1" = oldest ]; then printf 'torch==%s.*' "${oldest#torch>=}"; else printf '%s' "$requirement"; fi; }

report=""
failed=0
check() {
    local title="$1" status=passed
    shift
    printf '== %s: %s\n' "$end" "$title"
    "$@" || status=FAILED failed=1
    report="$report$end ($versions): $title $status"$'\n'
}

import_everything() {
    "$1" - <<'PYTHON'
import importlib, pathlib, re, sys
sys.path.insert(0, "")
optional = set(re.findall(r"^[A-Za-z]\w*", pathlib.Path("requirements-optional.txt").read_text(), re.M))
wrong = []
for folder in ("options", "data", "models", "util", "datasets", "scripts"):
    for file in sorted(pathlib.Path(folder).rglob("*.py")):
        name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        try:
            importlib.import_module(name)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name in optional:
                continue
            wrong.append(f"{name}: {type(error).__name__}: {error}")
sys.exit("\n".join(wrong) or 0)
PYTHON
}

# Two epochs of 8 images, once more from the checkpoint, and the test.
train_and_test() {
    local python="$1" to="$2" flags
    flags=(--name tiny --checkpoints_dir "$to/checkpoints" --gpu_ids -1)
    rm -rf -- "$to"
    "$python" datasets/make_demo.py facades --out "$to/data" --n_train 8 --n_test 2 --size 64 --seed 0 &&
        "$python" train.py "${flags[@]}" --dataroot "$to/data" --model pix2pix --direction BtoA --netG resnet_6blocks \
            --ngf 4 --ndf 4 --load_size 64 --crop_size 64 --n_epochs 1 --n_epochs_decay 1 --display_id 0 &&
        "$python" train.py "${flags[@]}" --continue_train --n_epochs 2 &&
        "$python" test.py "${flags[@]}" --results_dir "$to/results" &&
        [ -f "$to/results/tiny/test_latest/index.html" ]
}

for end in "${ends[@]}"; do
    env="$envs/$end"
    [ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
    "$env/bin/python" -c 'import torch' 2>/dev/null || "$env/bin/python" -m pip install --quiet "$(pin_of "$end")"
    before="$("$env/bin/python" -c 'import torch; print(torch.__version__)')"
    PYTHON="" VIRTUAL_ENV="$env" bash scripts/setup.sh
    grep -E '^pytest(-xdist)?([^a-z-]|$)' requirements-dev.txt | "$env/bin/python" -m pip install --quiet -r /dev/stdin
    versions="$("$env/bin/python" -c 'import sys, torch, torchvision; print("torch", torch.__version__, "torchvision", torchvision.__version__, "Python", sys.version.split()[0])')"
    check "set-up keeps torch" [ "$before" = "$("$env/bin/python" -c 'import torch; print(torch.__version__)')" ]
    check "imports" import_everything "$env/bin/python"
    check "training and test" train_and_test "$env/bin/python" "$scratch/$end"
    check "tests" "$env/bin/python" -m pytest -n logical --maxprocesses 4 -m "not slow" \
        tests/models tests/util/run tests/options --ignore tests/models/test_exporting.py
done

printf '\n%s' "$report"
exit "$failed"
