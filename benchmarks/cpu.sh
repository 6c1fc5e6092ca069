#!/usr/bin/env bash
# Measures what docs/performance.md says of processors, data and two processes, one part after the other.
#
#   bash benchmarks/cpu.sh [--output DIR] [PART...]
#
# Parts: step (against the published form), rate (images/s against the limit), spin (beside busy loops), data (the
# pipeline by cache and workers, on drawn pairs), link (two processes, 200 Mbit/s between them; needs root). A part takes
# minutes. DIR (default: cpu_results) gets a file for each part and results.md with everything. The exit status is 1 if a
# part failed. Run it with nothing else on the machine.
set -euo pipefail
output=$PWD/cpu_results
parts=()
while [ $# -gt 0 ]; do
    case "$1" in
    --output) output="${2:?--output needs a folder}" && shift ;;
    step | rate | spin | data | link) parts+=("$1") ;;
    *) echo "unknown argument '$1'; known: --output DIR, step, rate, spin, data, link" >&2 && exit 2 ;;
    esac
    shift
done
[ "${#parts[@]}" -gt 0 ] || parts=(step rate spin data link)
mkdir -p -- "$output"
output="$(cd "$output" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
[ -x .venv/bin/python ] && python=${PYTHON:-.venv/bin/python}
scratch="$(mktemp -d)"
trap 'rm -rf -- "$scratch"' EXIT

measure() { "$python" -m "benchmarks.$1" "${@:2}"; }
step() {
    measure plain_step --models pix2pix,cycle_gan,atme --rounds 3 --seconds 4 --gpu_ids -1 &&
        measure plain_step --models ugatit --light --crop_size 128 --rounds 3 --seconds 4 --gpu_ids -1
}
rate() { measure train_step --precision fp32 --seconds 4 --gpu_ids -1; }
spin() { measure spin_count --minutes 6; }
data() {
    "$python" datasets/make_demo.py facades --out "$scratch/facades" --n_train 200 --n_test 1 >/dev/null &&
        measure data_pipeline --dataroot "$scratch/facades" --num_threads default,0,2 --minutes 2
}
link() { measure link --model cycle_gan --minutes 4; }

status=0
: >"$output/results.md"
for part in "${parts[@]}"; do
    printf '\n## %s\n\n' "$part" | tee -a "$output/results.md"
    "$part" | tee "$output/$part.md" | tee -a "$output/results.md" || { status=1 && echo "part $part failed" >&2; }
done
exit "$status"
