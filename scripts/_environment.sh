# Sourced by the scripts beside it: makes the project's own environment from a lock file.
# shellcheck shell=bash

fail() {
    echo "error: $*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in "${ALVH_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer with venv was found; install python3 (3.11+) and python3-venv, or set ALVH_PYTHON"
}

install_locked() { # install_locked LOCKFILE
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: --requirement "$1" 2>"$PIP_LOG" ||
        fail "installing $1 failed: $(grep -m1 -iE 'error|refused|unreachable|resol' "$PIP_LOG" || tail -1 "$PIP_LOG"). The first run needs a package index; check the network or pip's settings and run again"
}

ensure_environment() { # ensure_environment LOCKFILE; a second run with the same lock does nothing
    local lock="$1" stamp
    stamp=".venv/.installed-$(basename "$lock")-$(cat "$lock" pyproject.toml | sha256sum | cut -c1-16)"
    if [ ! -e "$stamp" ]; then
        [ -x .venv/bin/python ] || "$(find_python)" -m venv .venv || fail "could not make .venv; is python3-venv installed and the disk writable?"
        PIP_LOG="$(mktemp)"
        echo "installing what $lock names (first run only) ..." >&2
        install_locked "$lock"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --no-build-isolation --editable . 2>"$PIP_LOG" ||
            fail "installing the project itself failed: $(tail -1 "$PIP_LOG")"
        if ! command -v npm >/dev/null && [ ! -e .venv/bin/npm ]; then
            echo "npm is missing; installing it from requirements-node.lock ..." >&2
            install_locked requirements-node.lock
        fi
        rm -f "$PIP_LOG" .venv/.installed-"$(basename "$lock")"-*
        touch "$stamp"
    fi
    PATH="$PWD/.venv/bin:$PATH"
    export PATH
}
