#!/usr/bin/env bash
# Sets up with the test tools, checks style and types, and runs all tests, the long ones too.
#
#   bash scripts/run_tests.sh [--portable] [arguments for pytest, e.g. tests/util -k image]
#
# --portable  the arithmetic of an x86 processor with AVX2 and without AVX-512, to be tried before a release: it rounds
#             in another way. Without effect on other processors.
#
# Every check runs even when one before it failed; the exit status is 0 only if all passed.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$(bash "$repo/scripts/setup.sh" --dev --print-python)"
cd "$repo"

# The networks of the tests are tiny: more threads only get into each other's way, above all when a test starts several
# processes.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# Both are read by torch when it is imported: its own kernels, and the convolutions of oneDNN.
if [ "${1:-}" = --portable ]; then
    shift
    export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
fi

failed=""
check() {
    local title="$1"
    shift
    printf '== %s\n' "$title"
    "$@" || failed="$failed, $title"
}

check "ruff check" "$python" -m ruff check .
check "ruff format" "$python" -m ruff format --check .
check "mypy" "$python" -m mypy

# On all cores, four at most: a process needs about a gigabyte. Neighbours in a file stay together as long as there are
# enough, so that what they share is made once. With -n N, and with what needs a terminal, as the caller says.
case " $* " in
*" -n"* | *" --numprocesses"* | *" --pdb "* | *" -s "*) ;;
*) set -- -n logical --maxprocesses 4 --dist worksteal "$@" ;;
esac

printf '== pytest\n'
status=0
"$python" -m pytest "$@" || status=$?
if [ -n "$failed" ]; then
    printf 'failed before the tests: %s\n' "${failed#, }"
    [ "$status" -ne 0 ] || status=1
fi
exit "$status"
