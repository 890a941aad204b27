#!/bin/sh
# Make .venv and install the pinned requirements into it; with --dev, those of the tests too.
#   PYTHON=…   the interpreter; otherwise the newest of Python 3.14 to 3.11 that works here
# With uv on the PATH it is quicker, and a missing Python is fetched.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp "${TMPDIR:-/tmp}/kith-install.XXXXXX")

fail() {
    printf 'Kith cannot be installed: %s\n' "$1" >&2
    exit 1
}

# Say whether an interpreter runs and is new enough.
works() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        works "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer: name one that is, or leave it out."
        printf '%s' "$PYTHON"
        return
    fi
    for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if have "$candidate" && works "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    have uv || fail "it needs Python 3.11 or newer: install that (Debian 12, Ubuntu 24.04 and newer: apt install \
python3 python3-venv), or uv, which fetches it; or name one with make PYTHON=/path/to/python3.13."
}

# Turn what an installer printed into one line that says what to do.
explain() {
    if grep -qiE 'No space left on device' "$log"; then
        fail "the disk is full: free about 600 MB and run it again."
    elif grep -qiE 'Read-only file system|Permission denied' "$log"; then
        fail "this folder cannot be written to: copy it to where you may write (details: $log)."
    elif grep -qiE 'DO NOT MATCH THE HASHES|hash mismatch' "$log"; then
        fail "a package is not the one that is pinned, so it was not installed: run it again, or without a mirror (details: $log)."
    elif grep -qiE "command '[^']*(cc|gcc|g\+\+|clang)[^']*' failed|unable to execute|No such file or directory: '[^']*(cc|gcc|clang)|Python\.h: No such file" "$log"; then
        fail "a package has to be compiled for this machine: install a C compiler and Python's headers (Debian, Ubuntu: \
apt install build-essential python3-dev libffi-dev) and run it again."
    elif grep -qiE 'NewConnectionError|ConnectTimeout|ProxyError|SSLError|name resolution|dns error|Network is unreachable|Could not find a version|error sending request|failed to (fetch|connect|download)' "$log"; then
        fail "the package index cannot be reached: check the network (behind a proxy set HTTPS_PROXY) and run it again (details: $log)."
    fi
    fail "$(grep -iE '^ *error' "$log" | tail -1) (details: $log)"
}

# pip, or uv with the same words.
pip() {
    if have uv; then
        uv pip install --quiet --python .venv/bin/python "$@" >>"$log" 2>&1 || explain
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" >>"$log" 2>&1 || explain
    fi
}

python=$(find_python)
mkdir -p .venv 2>/dev/null && : 2>/dev/null >.venv/probe && rm .venv/probe || fail "$PWD cannot be written to: copy it to where you may write."

# A .venv is kept unless its Python is gone, or another was asked for.
if ! works .venv/bin/python || { [ -n "${PYTHON:-}" ] && [ "$("$PYTHON" -V)" != "$(.venv/bin/python -V)" ]; }; then
    if have uv; then
        uv venv --quiet --clear --python "${python:-3.13}" .venv >>"$log" 2>&1 || explain
    else
        "$python" -c 'import venv, ensurepip' 2>/dev/null ||
            fail "$python has no venv module: install it (Debian, Ubuntu: apt install $(basename "$python")-venv) or uv, and run it again."
        "$python" -m venv --clear .venv >>"$log" 2>&1 || explain
    fi
fi

echo "Installing the pinned requirements into .venv (once; takes a minute)…"
pip --require-hashes -r requirements.txt
pip --no-deps --no-build-isolation -e .
if [ "${1:-}" = --dev ]; then
    pip --require-hashes -r requirements-dev.txt
fi
rm -f "$log"
