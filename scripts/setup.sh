#!/usr/bin/env bash
# Makes the Python environment and installs what the framework needs; quick when nothing changed.
#
#   bash scripts/setup.sh [--optional] [--dev] [--force] [--print-python]
#
#   --optional       also install what single commands need (requirements-optional.txt)
#   --dev            also install that and the test tools (requirements-dev.txt)
#   --force          run pip again although the requirement files are unchanged
#   --print-python   print nothing on stdout but the path of the environment's Python (for other scripts)
#
# An active virtualenv or conda environment (other than conda's base) is used as it is; otherwise the environment is
# .venv in the repository. PYTHON=/path/to/python chooses the interpreter for .venv. PIP_* settings are honoured.
# A torch that is there and works is kept; a new one comes from the package index, on Linux with CUDA.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
own_env="$repo/.venv"
oldest_minor=10
free_disk_mb=8000 # torch with its CUDA libraries unpacks to 6 GB

optional=0 dev=0 force=0 print_python=0
env_dir="" env_python="" env_is_own=0
log="" scratch="" kept="" torch_index=()

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "set-up failed: $*"
    exit 1
}

parse_arguments() {
    local argument
    for argument in "$@"; do
        case "$argument" in
        --optional) optional=1 ;;
        --dev) dev=1 optional=1 ;;
        --force) force=1 ;;
        --print-python) print_python=1 ;;
        -h | --help)
            sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *)
            say "unknown argument '$argument'; known: --optional, --dev, --force, --print-python, --help"
            exit 2
            ;;
        esac
    done
}

on_signal() {
    trap - INT TERM
    say ""
    say "set-up interrupted; the next 'bash scripts/setup.sh' goes on from here"
    exit "$1"
}

# ---- which Python ----------------------------------------------------------------------------------------------

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

is_new_enough() { [ "${1%%.*}" -eq 3 ] && [ "${1#*.}" -ge "$oldest_minor" ]; }

# Prints the interpreter for a new .venv. A name on PATH need not run (shims of version managers), so each is tried.
choose_interpreter() {
    local candidate version seen=""
    if [ -n "${PYTHON:-}" ]; then
        version="$(python_version "$PYTHON")" || fail "PYTHON='$PYTHON' does not run; give the path of a Python 3.$oldest_minor or newer"
        is_new_enough "$version" || fail "PYTHON='$PYTHON' is Python $version; 3.$oldest_minor or newer is needed"
        "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || fail "PYTHON='$PYTHON' lacks the venv module; $(venv_remedy "$version")"
        printf '%s\n' "$PYTHON"
        return
    fi
    local without_venv=""
    for candidate in python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do
        version="$(python_version "$candidate")" || continue
        seen="$seen $candidate is $version;"
        is_new_enough "$version" || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
        without_venv="${without_venv:-$version}"
    done
    [ -z "$without_venv" ] || fail "Python $without_venv lacks the venv module; $(venv_remedy "$without_venv")"
    fail "Python 3.$oldest_minor or newer is needed;${seen:- no python3 was found on PATH;} install one or set PYTHON=/path/to/python"
}

venv_remedy() {
    if command -v apt-get >/dev/null; then
        printf '%s' "install it with: apt-get install python$1-venv"
    else
        printf '%s' "install a Python that has it, or set PYTHON=/path/to/python"
    fi
}

# Sets env_dir, env_python and env_is_own.
choose_environment() {
    env_is_own=0
    if [ -n "${PYTHON:-}" ]; then
        env_dir="$own_env"
    elif [ -n "${VIRTUAL_ENV:-}" ]; then
        env_dir="$VIRTUAL_ENV"
    elif [ -n "${CONDA_PREFIX:-}" ] && [ "${CONDA_DEFAULT_ENV:-}" != base ]; then
        env_dir="$CONDA_PREFIX"
    else
        env_dir="$own_env"
    fi
    env_python="$env_dir/bin/python"
    if [ "$env_dir" = "$own_env" ]; then
        env_is_own=1
        return
    fi
    local version
    version="$(python_version "$env_python")" || fail "the active environment $env_dir has no Python that runs; deactivate it"
    is_new_enough "$version" || fail "the active environment $env_dir has Python $version; 3.$oldest_minor or newer is needed; deactivate it"
}

# ---- the environment -------------------------------------------------------------------------------------------

# .venv with this marker in it was being made when something stopped the set-up.
making_marker="$own_env/.setup-making"

make_own_environment() {
    local interpreter version wanted
    if [ -e "$own_env" ] && [ ! -e "$making_marker" ] && version="$(python_version "$env_python")"; then
        is_new_enough "$version" || fail "$own_env has Python $version; 3.$oldest_minor or newer is needed; delete that folder and run again"
        if [ -n "${PYTHON:-}" ]; then
            wanted="$(python_version "$PYTHON")" || fail "PYTHON='$PYTHON' does not run"
            [ "$version" = "$wanted" ] || fail "$own_env has Python $version but PYTHON='$PYTHON' is $wanted; delete that folder and run again"
        fi
        return
    fi
    interpreter="$(choose_interpreter)"
    # The shims of version managers look at the folder they are called in, and the name may lead into the very .venv
    # that is to be replaced: take the interpreter behind it.
    interpreter="$("$interpreter" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)')"
    if [ -e "$own_env" ] || [ -L "$own_env" ]; then
        say "making $own_env again: its Python does not run, or its making was interrupted"
        rm -rf -- "$own_env"
    else
        say "making $own_env with $("$interpreter" -c 'import sys; print("Python %d.%d.%d" % sys.version_info[:3])')"
    fi
    mkdir -p -- "$own_env" || fail "cannot create $own_env"
    : >"$making_marker"
    "$interpreter" -m venv "$own_env" >&2 || fail "'$interpreter -m venv $own_env' failed (see above)"
    rm -f -- "$making_marker"
}

ensure_pip() {
    "$env_python" -m pip --version >/dev/null 2>&1 && return
    "$env_python" -m ensurepip >/dev/null 2>&1 || fail "the environment $env_dir has no pip; install it there and run again"
}

# ---- what is installed already ---------------------------------------------------------------------------------

# Prints "<Python version> <hash of the requirement files>" for the given files.
fingerprint() {
    "$env_python" -c '
import hashlib, pathlib, sys
content = b"\0".join(pathlib.Path(name).read_bytes() for name in sys.argv[1:])
print("%d.%d.%d" % sys.version_info[:3], hashlib.sha256(content).hexdigest())' "$@"
}

# An install that was killed leaves packages that pip takes for complete: their records lack RECORD or INSTALLER, which
# pip writes last. Only those younger than the marker of the interrupted set-up are ours to remove.
forget_half_installed() {
    "$env_python" -c '
import pathlib, shutil, sys, sysconfig
began = pathlib.Path(sys.argv[1]).stat().st_mtime - 1
for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
    for record in pathlib.Path(site).glob("*.dist-info"):
        complete = (record / "RECORD").is_file() and (record / "INSTALLER").is_file()
        if not complete and record.stat().st_mtime >= began:
            print("installing again what was interrupted:", record.name.removesuffix(".dist-info"), file=sys.stderr)
            shutil.rmtree(record)' "$1"
}

# ---- the torch that is there -----------------------------------------------------------------------------------

# Prints "none", "broken <what it says>", "old <version>", "new <version>" or "fits <version>": the range is that of
# requirements.txt. Only the first two numbers count, so that builds such as 2.6.0a0+nv25.01 belong to it too.
state_of_torch() {
    "$env_python" - "$repo/requirements.txt" <<'PYTHON' 2>/dev/null
import importlib.metadata, importlib.util, pathlib, re, sys
if importlib.util.find_spec("torch") is None:
    sys.exit(print("none"))
try:
    import torch
    version = importlib.metadata.version("torch")
except BaseException as error:
    sys.exit(print("broken", type(error).__name__, *str(error).split()))
numbers = lambda text: tuple(int(word) for word in re.findall(r"\d+", text)[:2])
low, high = re.search(r"^torch>=([\d.]+),<([\d.]+)", pathlib.Path(sys.argv[1]).read_text(), re.M).groups()
print("old" if numbers(version) < numbers(low) else "fits" if numbers(version) < numbers(high) else "new", version)
PYTHON
}

# Sets kept: the names of the packages that pip must not touch, as a pattern; writes $scratch/kept.txt, which pins them.
# A user's own torch, whatever its version and CUDA, is never replaced: either it is used, or the set-up stops.
keep_torch() {
    local state version where="$env_dir"
    kept="" torch_index=()
    : >"$scratch/kept.txt"
    grep -qE '^torch[<>=]' "$repo/requirements.txt" || return 0
    state="$(state_of_torch)" || state="broken it ends Python"
    version="${state#* }"
    case "$state" in
    none) return 0 ;;
    broken*)
        [ "$env_is_own" -eq 1 ] || fail "torch in $where cannot be imported ($version); repair it there, or deactivate that environment"
        return 0
        ;;
    old*)
        [ "$env_is_own" -eq 1 ] || fail "torch $version in $where is too old, $(grep -E '^torch[<>=]' "$repo/requirements.txt") is needed; update it there, or deactivate that environment"
        say "torch $version in $where is too old and is replaced"
        return 0
        ;;
    new*) say "keeping torch $version of $where, newer than those that were tried ($(grep -E '^torch[<>=]' "$repo/requirements.txt"))" ;;
    *) say "keeping torch $version of $where" ;;
    esac
    kept=torch
    "$env_python" -c '
import importlib.metadata
for name in ("torch", "torchvision"):
    try:
        print(f"{name}=={importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        pass' >"$scratch/kept.txt"
    if grep -q '^torchvision==' "$scratch/kept.txt"; then
        kept="torch|torchvision"
    elif [[ "$version" =~ \+(cpu|xpu|cu[0-9]+|rocm[0-9.]+)$ ]]; then
        # Its torchvision must be built for the same: the default index has one build only.
        torch_index=(--extra-index-url "https://download.pytorch.org/whl/${BASH_REMATCH[1]}")
    fi
}

# Both import, and a GPU that torch cannot use is named.
check_torch() {
    grep -qE '^torch[<>=]' "$repo/requirements.txt" || return 0
    "$env_python" -c '
import sys
sys.path.insert(0, sys.argv[1])
try:
    import torch, torchvision
except BaseException as error:
    sys.exit("%s: %s" % (type(error).__name__, " ".join(str(error).split())))
from util.run.device import why_no_gpu
if reason := why_no_gpu():
    print("warning: the GPU will not be used:", reason)' "$repo" >"$scratch/torch.txt" 2>&1 ||
        fail "torch and torchvision are installed, but they do not work together: $(tail -n 1 "$scratch/torch.txt")"
    grep '^warning: ' "$scratch/torch.txt" >&2 || true
}

# ---- installing ------------------------------------------------------------------------------------------------

# Runs pip; its progress stays on the terminal, its whole log goes to $log.
run_pip() { "$env_python" -m pip --log "$log" install "$@" >&2; }

warn_about_disk() {
    local free_mb
    "$env_python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' && return
    free_mb="$(df -Pm "$env_dir" | awk 'NR == 2 { print $4 }')"
    if [ "${free_mb:-$free_disk_mb}" -lt "$free_disk_mb" ]; then
        say "warning: $env_dir has $free_mb MB of free disk; torch with CUDA needs about $free_disk_mb MB"
    fi
}

# Says in one line why pip failed, and what helps.
explain_failure() {
    local free_mb
    free_mb="$(df -Pm "$env_dir" | awk 'NR == 2 { print $4 }')"
    if grep -qE 'No space left on device|Disk quota exceeded' "$log" || [ "${free_mb:-1000}" -lt 50 ]; then
        fail "the disk is full ($free_mb MB free in $env_dir, temporary files in ${TMPDIR:-/tmp}); make about $free_disk_mb MB of room or set TMPDIR, and run again"
    fi
    if grep -qE "command '[^']*(gcc|cc|clang|g\+\+|c\+\+)' failed: No such file|error: command '[^']*(gcc|cc|clang)' (not found|failed)|[Uu]nable to find a compatible compiler|No C compiler|Microsoft Visual C\+\+ .* is required|Unknown compiler" "$log"; then
        fail "a package has no binary for this system and no compiler was found to build it; install one (Debian, Ubuntu: apt-get install build-essential python3-dev; macOS: xcode-select --install) and run again"
    fi
    if grep -qE 'NewConnectionError|ConnectTimeoutError|ReadTimeoutError|Connection refused|Connection reset|Network is unreachable|[Nn]ame resolution|Name or service not known|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED' "$log"; then
        fail "the package index cannot be reached; check the network and the proxy, or name a mirror with PIP_INDEX_URL, and run again (log: $log)"
    fi
    if grep -qE 'No matching distribution found' "$log"; then
        fail "$(grep -oE 'No matching distribution found.*' "$log" | tail -n 1); is there a build for this Python ($(python_version "$env_python")) and system? PYTHON=/path/to/python chooses another (log: $log)"
    fi
    fail "pip could not install the packages, its message is above (log: $log)"
}

# Writes the requirements of the given files, without includes, what is kept, and visdom, which is installed by itself.
write_main_requirements() {
    grep -hvE "^[[:space:]]*(-r[[:space:]]|(visdom${kept:+|$kept})([^a-zA-Z0-9_-]|\$))" "$@" >"$scratch/requirements.txt"
}

# For Python 3.11 and older, visdom is a source package whose build uses pkg_resources, which newer setuptools lack. The
# limit is for the environment in which pip builds it: older pips read it from PIP_CONSTRAINT, newer ones from
# PIP_BUILD_CONSTRAINT. Both are lists separated by spaces, hence the URL, which has none. Before 23.1, pip builds such
# a package in that environment only when told to (--use-pep517), otherwise with the setuptools that torch brought.
install_visdom() {
    local requirement constraint version
    requirement="$(grep -E '^visdom([^a-zA-Z0-9_-]|$)' "$repo/requirements.txt")"
    version="$(python_version "$env_python")"
    if [ "${version#*.}" -ge 12 ]; then
        run_pip -c "$scratch/kept.txt" "$requirement"
        return
    fi
    printf 'setuptools<81\n' >"$scratch/visdom-build.txt"
    constraint="$("$env_python" -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).resolve().as_uri())' "$scratch/visdom-build.txt")"
    PIP_CONSTRAINT="${PIP_CONSTRAINT:+$PIP_CONSTRAINT }$constraint" \
        PIP_BUILD_CONSTRAINT="${PIP_BUILD_CONSTRAINT:+$PIP_BUILD_CONSTRAINT }$constraint" run_pip -c "$scratch/kept.txt" --use-pep517 "$requirement"
}

install_packages() {
    local installing="$env_dir/.setup-installing"
    log="$env_dir/setup-pip.log"
    [ ! -e "$installing" ] || forget_half_installed "$installing"
    scratch="$(mktemp -d)" || fail "cannot write temporary files in ${TMPDIR:-/tmp}"
    keep_torch
    [ -e "$installing" ] || : >"$installing" || fail "cannot write to $env_dir"
    : >"$log"
    warn_about_disk
    export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK="${PIP_DISABLE_PIP_VERSION_CHECK:-1}" # user installs fail in an environment

    write_main_requirements "${requirement_files[@]}"
    run_pip -c "$scratch/kept.txt" ${torch_index[@]+"${torch_index[@]}"} -r "$scratch/requirements.txt" || explain_failure
    rm -f -- "$env_dir/.setup-without-visdom"
    if ! install_visdom; then
        say "warning: visdom could not be installed; training works without the live view (the HTML page has the same pictures). To try again: bash scripts/setup.sh --force (log: $log)"
        : >"$env_dir/.setup-without-visdom"
    fi
    check_torch
    rm -f -- "$installing"
}

main() {
    parse_arguments "$@"
    trap 'on_signal 130' INT
    trap 'on_signal 143' TERM
    trap '[ -z "$scratch" ] || rm -rf -- "$scratch"' EXIT

    choose_environment
    [ "$env_is_own" -eq 0 ] || make_own_environment

    requirement_files=("$repo/requirements.txt")
    local stamp="$env_dir/.setup-stamp" current
    if [ "$optional" -eq 1 ]; then
        requirement_files+=("$repo/requirements-optional.txt")
        stamp="$stamp-optional"
    fi
    if [ "$dev" -eq 1 ]; then
        requirement_files+=("$repo/requirements-dev.txt")
        stamp="$env_dir/.setup-stamp-dev"
    fi
    current="$(fingerprint "${requirement_files[@]}")"
    if [ "$force" -eq 1 ] || [ -e "$env_dir/.setup-installing" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$current" ]; then
        ensure_pip
        install_packages
        printf '%s\n' "$current" >"$stamp"
        [ "$optional" -eq 0 ] || fingerprint "$repo/requirements.txt" >"$env_dir/.setup-stamp"
        [ "$dev" -eq 0 ] || fingerprint "$repo/requirements.txt" "$repo/requirements-optional.txt" >"$env_dir/.setup-stamp-optional"
    fi

    if [ "$print_python" -eq 1 ]; then
        printf '%s\n' "$env_python"
    else
        say "ready: $env_dir (Python ${current%% *})$([ ! -e "$env_dir/.setup-without-visdom" ] || printf ', without visdom')"
        [ "${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" = "$env_dir" ] || say "activate it with: source $(printf '%q' "$env_dir/bin/activate")"
    fi
}

main "$@"
