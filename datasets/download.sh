#!/usr/bin/env bash
# What download_pix2pix_dataset.sh and download_cyclegan_dataset.sh share; it is sourced, not run.
#
# The caller sets:
#   script         its own name, for messages
#   base_url       folder on the server that holds the archives
#   extension      of the archives: tar.gz or zip
#   names          all data sets, separated by spaces
#   train_command  what to run afterwards; NAME and DATAROOT are filled in
# and calls: download_dataset "$@"
: "${script:?}" "${base_url:?}" "${extension:?}" "${names:?}" "${train_command:?}"

fail() {
    printf 'error: %s\n' "$2" >&2
    exit "$1"
}

usage() {
    cat <<END
usage: bash datasets/$script NAME [DIR]

Downloads a data set and unpacks it to DIR/NAME (DIR: $default_dir).
An interrupted download goes on where it stopped. An existing DIR/NAME is never touched.

names: $names

environment:
  DATASETS_BASE_URL   another server or folder with the archives: http://..., file:///folder or /folder
                      (default: $base_url)
  DATASETS_SHA256     the sha256 that the archive must have
END
}

# The sha256 of an archive, where one is known. The publishers give none, so the table is empty: add a line
# "facades.tar.gz) echo ... ;;" only for a sum from a source that you trust.
known_sha256() {
    case "$1" in
        *) echo "${DATASETS_SHA256:-}" ;;
    esac
}

sha256_of() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1" | cut -d ' ' -f 1
    else
        shasum -a 256 <"$1" | cut -d ' ' -f 1
    fi
}

# Whether the archive is whole.
intact() {
    case "$extension" in
        tar.gz) gzip -t "$1" 2>/dev/null && tar -tzf "$1" >/dev/null 2>&1 ;;
        zip) if command -v unzip >/dev/null; then unzip -tqq "$1" >/dev/null 2>&1; else python3 -m zipfile -t "$1" >/dev/null 2>&1; fi ;;
    esac
}

unpack() {
    case "$extension" in
        tar.gz) tar -xzf "$1" -C "$2" ;;
        zip) if command -v unzip >/dev/null; then unzip -q "$1" -d "$2"; else python3 -m zipfile -e "$1" "$2"; fi ;;
    esac
}

# A server may be unable to go on (curl's code 33), or say that there is nothing after the bytes that we have (416), which
# are no whole archive: then they are worth nothing, and the download begins anew.
fetch_with_curl() {
    local url="$1" file="$2" status=0 answer
    local flags=(--fail --location --show-error --connect-timeout 30 --retry 3 --write-out '%{http_code}' -o "$file")
    answer="$(curl "${flags[@]}" -C - "$url")" || status=$?
    if [ -s "$file" ] && { [ "$status" -eq 33 ] || [ "$answer" = 416 ]; }; then
        echo "cannot go on with $file; beginning anew"
        rm -f -- "$file"
        status=0
        curl "${flags[@]}" "$url" >/dev/null || status=$?
    fi
    return "$status"
}

# fetch URL FILE: goes on with a FILE that is there.
fetch() {
    local url="$1" file="$2"
    case "$url" in
        file://*) cp -- "${url#file://}" "$file" || return ;;
        *)
            if command -v curl >/dev/null; then
                fetch_with_curl "$url" "$file"
            elif command -v wget >/dev/null; then
                wget --continue --tries 3 --timeout 30 -O "$file" "$url"
            else
                fail 1 "neither curl nor wget is installed: install one, or fetch $url in a browser and set DATASETS_BASE_URL to its folder"
            fi
            ;;
    esac
}

count_images() {
    find "$1" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) | wc -l | tr -d ' '
}

check_sum() {
    local file="$1" archive="$2" expected found
    expected="$(known_sha256 "$archive")"
    found="$(sha256_of "$file")"
    if [ -z "$expected" ]; then
        echo "sha256 $found (not checked: no sum of $archive is known)"
    elif [ "$expected" != "$found" ]; then
        rm -f -- "$file"
        fail 1 "$archive has the sha256 $found, not $expected: it is damaged or another version; it was deleted, run again or take another mirror"
    else
        echo "sha256 $found (as expected)"
    fi
}

download_dataset() {
    default_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
    if [ "${1:-}" = "--help" ] || [ "${1:-}" = "-h" ]; then
        usage
        exit 0
    fi
    if [ $# -lt 1 ] || [ $# -gt 2 ]; then
        fail 2 "usage: bash datasets/$script NAME [DIR]; the names are: $names"
    fi

    local name="$1" dir="${2:-$default_dir}"
    case " $names " in
        *" $name "*) ;;
        *) fail 2 "unknown data set '$name'; the names are: $names" ;;
    esac
    if [ "$name" = cityscapes ]; then
        fail 1 "the licence of Cityscapes forbids passing it on: get gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip from https://www.cityscapes-dataset.com with an account of your own, unpack both, and run: python datasets/prepare_cityscapes_dataset.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit --output_dir $dir/cityscapes"
    fi
    [ ! -e "$dir/$name" ] || fail 1 "$dir/$name exists: use it, or move it away and run again"
    mkdir -p -- "$dir" || fail 1 "cannot make the folder $dir"

    local archive="$name.$extension" base="${DATASETS_BASE_URL:-$base_url}"
    case "$base" in
        *://*) ;;
        *)
            [ -d "$base" ] || fail 2 "DATASETS_BASE_URL: there is no folder $base"
            base="file://$(cd "$base" && pwd)"
            ;;
    esac
    local url="${base%/}/$archive" part="$dir/$archive.part"

    # A whole archive may be there from a run that was stopped while unpacking; asking the server for the bytes after
    # its end would be an error.
    if [ -s "$part" ] && intact "$part"; then
        echo "$part is complete"
    else
        [ ! -s "$part" ] || echo "going on with $part ($(wc -c <"$part" | tr -d ' ') bytes)"
        echo "downloading $url"
        fetch "$url" "$part" ||
            fail 1 "could not download $url: check the network and run again (what has come is kept), or set DATASETS_BASE_URL to a mirror (http://... or a folder with $archive)"
        if ! intact "$part"; then
            rm -f -- "$part"
            fail 1 "$archive from $base is no whole $extension archive (moved, or cut off?); it was deleted: run again, or set DATASETS_BASE_URL to a mirror"
        fi
    fi
    check_sum "$part" "$archive"

    # Unpacked beside its place and moved there, so that DIR/NAME is always complete.
    unpacking="$(mktemp -d "$dir/.$name.XXXXXX")"
    trap 'rm -rf -- "$unpacking"' EXIT
    unpack "$part" "$unpacking" || fail 1 "could not unpack $part: is the disk full?"
    local found="$unpacking/$name"
    [ -d "$found" ] || fail 1 "$archive holds no folder $name but: $(find "$unpacking" -mindepth 1 -maxdepth 1 -exec basename {} \; | head -5 | tr '\n' ' ')"
    [ "$(count_images "$found")" -gt 0 ] || fail 1 "$archive holds no images (jpg, png)"
    mv -- "$found" "$dir/$name"
    rm -f -- "$part"

    local folder
    for folder in "$dir/$name"/*/; do
        echo "$(basename "$folder"): $(count_images "$folder") images"
    done
    echo "done: $dir/$name"
    local command="${train_command//NAME/$name}"
    echo "train: ${command//DATAROOT/$dir/$name}"
}
