# shellcheck shell=bash
# What the download scripts share; they source this file. Plain bash 3.2, with curl or wget, tar, unzip or python3.
#
#   download_main COLLECTION SUFFIX NAMES [the script's arguments]
#
# COLLECTION is pix2pix or cyclegan, SUFFIX that of its archives, NAMES all data sets, separated by spaces.

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
server="http://efrosgans.eecs.berkeley.edu"
url_variable=DATASET_URL

# sha256 of the published archives, one "NAME SUM" a line with NAME as in pix2pix/facades. The publisher gives none;
# add a line when you trust an archive, and every later download is compared with it.
known_sums=""

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $1"
    exit "${2:-1}"
}

usage() {
    cat <<END
Download a data set and unpack it to DIR/NAME.

  bash $0 NAME [DIR] [--url BASE]

NAME        one of: $names
DIR         where the folder NAME is made (default: the folder of this script)
--url BASE  take BASE/NAME.$suffix instead of $server/$collection/datasets/NAME.$suffix;
            a URL or a folder, or the archive itself (default: \$DATASET_URL if set)

\$DATASET_SHA256, if set, is the checksum that the archive must have.
A download that was cut off goes on where it stopped; DIR/NAME appears only when everything is unpacked.
END
}

cityscapes_note() {
    say "The licence of Cityscapes forbids others to hand it out. Get gtFine_trainvaltest.zip and"
    say "leftImg8bit_trainvaltest.zip from https://www.cityscapes-dataset.com (free for research, after signing up), then:"
    say "  python $here/prepare_cityscapes_dataset.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit --output_dir $here/cityscapes"
    exit 1
}

# fetch URL FILE: all of URL in FILE, or a message and exit 1. A file that is there in part is completed.
fetch() {
    local url="$1" file="$2" resumed=no code=0
    case "$url" in
    http://* | https://* | ftp://*) ;;
    *)
        local path="${url#file://}"
        [ -f "$path" ] || fail "there is no file $path: check --url and $url_variable"
        cp -- "$path" "$file" || fail "cannot copy $path to $file"
        return
        ;;
    esac
    if [ -s "$file" ]; then
        resumed=yes
        say "going on with $file"
    fi
    transfer "$url" "$file" || code=$?
    if [ "$code" != 0 ] && [ "$resumed" = yes ] && cannot_resume "$code"; then
        say "the server cannot go on with it; starting again"
        # The same code tells that the server has nothing now (404, 503): the part is given up only for something new.
        mv -- "$file" "$file.old"
        code=0
        transfer "$url" "$file" || code=$?
        if [ "$code" = 0 ] || [ -s "$file" ]; then
            rm -f -- "$file.old"
        else
            mv -f -- "$file.old" "$file"
        fi
    fi
    [ "$code" = 0 ] || fail "could not download $url ($(reason "$code")): $(remedy "$code")"
}

if command -v curl >/dev/null 2>&1; then
    transfer() {
        local bar=--progress-bar
        [ -t 2 ] || bar=--silent
        curl --fail --location --show-error $bar --retry 3 --connect-timeout 20 --continue-at - --output "$2" -- "$1"
    }
    cannot_resume() { case "$1" in 22 | 33 | 36) true ;; *) false ;; esac; }
    reason() {
        case "$1" in
        5 | 6) echo "the name of the server is not known: no network?" ;;
        7 | 28) echo "no connection to the server" ;;
        18 | 52 | 56) echo "the connection broke off" ;;
        22) echo "the server does not have it" ;;
        *) echo "curl ended with code $1" ;;
        esac
    }
elif command -v wget >/dev/null 2>&1; then
    transfer() { wget --no-verbose --tries=3 --timeout=20 --continue --output-document="$2" -- "$1"; }
    cannot_resume() { [ "$1" = 8 ]; }
    reason() {
        case "$1" in
        4) echo "no network, or no connection to the server" ;;
        8) echo "the server does not have it" ;;
        *) echo "wget ended with code $1" ;;
        esac
    }
else
    transfer() { fail "neither curl nor wget is installed: install one of them, or give a folder with --url"; }
    cannot_resume() { false; }
    reason() { echo "no program for it"; }
fi

remedy() {
    case "$(reason "$1")" in
    *"does not have it"*) echo "try another place with --url BASE" ;;
    *) echo "run the same command again to go on, or try another place with --url BASE" ;;
    esac
}

sum_of() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum -- "$1"; else shasum -a 256 -- "$1"; fi | cut -d ' ' -f 1
}

# check_sum NAME FILE: compares with the sum that is known, if one is.
check_sum() {
    local wanted="${DATASET_SHA256:-}" found
    [ -n "$wanted" ] || wanted="$(printf '%s\n' "$known_sums" | awk -v name="$collection/$1" '$1 == name { print $2 }')"
    found="$(sum_of "$2")"
    if [ -z "$wanted" ]; then
        say "sha256 $found (not checked: no checksum is known for $1)"
    elif [ "$wanted" = "$found" ]; then
        say "sha256 $found, as expected"
    else
        rm -f -- "$2"
        fail "$1.$suffix has sha256 $found, expected $wanted: it was removed; run again, or try another place with --url BASE"
    fi
}

unpack() {
    local archive="$1" folder="$2"
    if [ "$suffix" = tar.gz ]; then
        tar -xzf "$archive" -C "$folder"
    elif command -v unzip >/dev/null 2>&1; then
        unzip -q "$archive" -d "$folder"
    else
        python3 -m zipfile -e "$archive" "$folder"
    fi
}

# The folder that holds the images: NAME, or the only folder in the archive, or the archive's root.
find_root() {
    local folder="$1" name="$2" entries
    if [ -d "$folder/$name" ]; then
        echo "$folder/$name"
        return
    fi
    entries="$(find "$folder" -mindepth 1 -maxdepth 1 ! -name '__MACOSX' ! -name '.*')"
    if [ -d "$entries" ]; then echo "$entries"; else echo "$folder"; fi
}

report() {
    local root="$1" folder count
    for folder in "$root"/*/; do
        [ -d "$folder" ] || continue
        count="$(find "$folder" -type f ! -name '.*' | wc -l)"
        say "  $(basename "$folder"): $((count)) file$([ "$((count))" -eq 1 ] || echo s)"
    done
    if [ -d "$root/val" ] && [ ! -d "$root/test" ]; then
        say "it has no test images; give --phase val to test.py"
    fi
    say "check it with: python $(dirname "$here")/scripts/check_data.py $root"
    echo "$root"
}

# Keeps what was downloaded in part, and leaves no empty folders.
clean_up() {
    rm -rf -- "$unpacked"
    for part in "$work_folder"/*.part.old; do # interrupted while starting again
        [ ! -e "$part" ] || [ -s "${part%.old}" ] || mv -f -- "$part" "${part%.old}"
        rm -f -- "$part"
    done
    find "$work_folder" -type f -empty -exec rm -f {} +
    rmdir -- "$work_folder" "$(dirname "$work_folder")" 2>/dev/null || true
}

# read_arguments WHAT [the script's arguments]: sets name, dir and url. WHAT is what NAME stands for, one of $names.
read_arguments() {
    local what="$1" candidate known=no
    shift
    name="" dir="" url="${!url_variable:-}"
    while [ $# -gt 0 ]; do
        case "$1" in
        -h | --help) usage && exit 0 ;;
        --url)
            url="${2:-}"
            [ -n "$url" ] || fail "--url needs a value" 2
            shift
            ;;
        --url=?*) url="${1#--url=}" ;;
        -*) fail "unknown flag $1 (--help lists the arguments)" 2 ;;
        *) if [ -z "$name" ]; then name="$1"; elif [ -z "$dir" ]; then dir="$1"; else fail "too many arguments: $1" 2; fi ;;
        esac
        shift
    done
    [ -n "$name" ] || fail "give the NAME of a $what: $names" 2
    for candidate in $names; do [ "$candidate" != "$name" ] || known=yes; done
    [ "$known" = yes ] || fail "unknown $what $name: choose one of $names" 2
}

download_main() {
    collection="$1" suffix="$2" names="$3"
    shift 3
    local name dir url
    read_arguments "data set" "$@"
    [ "$name" != cityscapes ] || cityscapes_note
    dir="${dir:-$here}"
    local target="$dir/$name" work="$dir/.download"
    [ ! -e "$target" ] || fail "$target exists: move it away first, or give another DIR" 2
    mkdir -p -- "$work" || fail "cannot make $work" 2

    unpacked="$work/$collection-$name.unpacked" # not local: the trap needs it
    work_folder="$work"
    trap clean_up EXIT
    trap 'say "interrupted; run the same command again to go on"; exit 130' INT TERM

    local source="${url:-$server/$collection/datasets}" archive="$work/$collection-$name.$suffix"
    case "$source" in *."$suffix") ;; *) source="${source%/}/$name.$suffix" ;; esac
    if [ ! -f "$archive" ]; then
        say "downloading $source"
        fetch "$source" "$archive.part"
        mv -- "$archive.part" "$archive"
    fi
    check_sum "$name" "$archive"

    rm -rf -- "$unpacked"
    mkdir -- "$unpacked"
    say "unpacking"
    if ! unpack "$archive" "$unpacked"; then
        rm -f -- "$archive"
        fail "$name.$suffix is damaged and was removed: run again, or try another place with --url BASE"
    fi
    local root
    root="$(find_root "$unpacked" "$name")"
    [ -n "$(find "$root" -type f -print | head -n 1)" ] || fail "$name.$suffix holds no files"
    mv -- "$root" "$target"
    rm -f -- "$archive"
    say "$name is in $target"
    report "$target"
}
