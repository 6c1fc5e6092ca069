# shellcheck shell=bash
# What the scripts that download published generators share; they source this file. Plain bash 3.2, with curl or wget.
#
#   download_model COLLECTION PATH NAMES [the script's arguments]
#
# COLLECTION is pix2pix or cyclegan, PATH the folder on the server, NAMES all models, separated by spaces.
# direction_of NAME, if the script defines it, says which side of the data set's pairs is translated.

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=datasets/download.sh
. "$repo/datasets/download.sh"
url_variable=MODEL_URL

usage() {
    cat <<END
Download a published generator of $collection and make a run of it, DIR/NAME_pretrained.

  bash $0 NAME [DIR] [--url BASE]

NAME        one of: $names
DIR         folder of all runs (default: ./checkpoints)
--url BASE  take BASE/NAME.pth instead of $server/$path/NAME.pth;
            a URL or a folder, or the file itself (default: \$MODEL_URL if set)

Then: python scripts/translate.py --name NAME_pretrained INPUT --output OUTPUT
A download that was cut off goes on where it stopped; DIR/NAME_pretrained appears only when everything is there.
END
}

# The active environment, else the .venv that scripts/setup.sh makes, else whatever python there is.
find_python() {
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$repo/.venv/bin/python" ]; then
        echo "$repo/.venv/bin/python"
    else
        command -v python || command -v python3 || fail "there is no python: run bash scripts/setup.sh first"
    fi
}

download_model() {
    collection="$1" path="$2" names="$3"
    shift 3
    local name dir url
    read_arguments model "$@"
    local run="${name}_pretrained" python file source code=0
    dir="${dir:-./checkpoints}"
    source="${url:-$server/$path}"
    case "$source" in *.pth) ;; *) source="${source%/}/$name.pth" ;; esac
    [ ! -e "$dir/$run" ] || fail "$dir/$run exists: move it away first, or give another DIR" 2
    python="$(find_python)"
    work_folder="$dir/.download"
    mkdir -p -- "$work_folder" || fail "cannot make $work_folder" 2
    unpacked="$work_folder/nothing" # clean_up of datasets/download.sh removes it
    trap clean_up EXIT
    trap 'say "interrupted; run the same command again to go on"; exit 130' INT TERM

    file="$work_folder/$collection-$name.pth"
    if [ ! -f "$file" ]; then
        say "downloading $source"
        fetch "$source" "$file.part"
        mv -- "$file.part" "$file"
    fi
    say "sha256 $(sum_of "$file")"
    set -- "$file" --name "$run" --checkpoints_dir "$dir"
    if [ "$collection" = pix2pix ]; then set -- "$@" --model pix2pix --direction "$(direction_of "$name")"; fi
    "$python" "$repo/scripts/import_generator.py" "$@" || code=$?
    if [ "$code" = 2 ]; then
        rm -f -- "$file"
        fail "what $source gave was removed: run the same command again, or try another place with --url BASE"
    fi
    [ "$code" = 0 ] || fail "$file is kept: run the same command again when that is cured" "$code"
    rm -f -- "$file"
    say "translate with: python scripts/translate.py --name $run INPUT --output OUTPUT"
    echo "$dir/$run"
}
