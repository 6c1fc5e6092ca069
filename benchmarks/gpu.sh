#!/usr/bin/env bash
# Measures this machine's GPU in under 8 minutes; see docs/performance.md. Needs python with torch, installs nothing.
# bash benchmarks/gpu.sh [--output DIR] [--max_minutes 8] [--device cuda:0]
set -euo pipefail
output=$PWD/gpu_results
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
[ -x .venv/bin/python ] && python=${PYTHON:-.venv/bin/python}
exec "$python" -m benchmarks.gpu --output "$output" "$@"
