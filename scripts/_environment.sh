# Sourced by the scripts beside it: makes the project's own environment from a lock file.
# shellcheck shell=bash

fail() {
    echo "error: $*" >&2
    exit 1
}

find_python() { # ensurepip: Debian's python3 has venv but cannot make one without python3-venv
    local candidate
    for candidate in "${ALVH_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer with venv was found; install python3 (3.11+) and python3-venv, or set ALVH_PYTHON"
}

make_venv() { # make_venv [FOLDER]; an environment that is whole and was made for this folder is kept
    local python venv="${1:-.venv}"
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1 && grep -qF "$PWD/$venv" "$venv/pyvenv.cfg"; then
        return
    fi
    python="$(find_python)" || exit 1
    mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ] ||
        fail "$PWD cannot be written to; the environment goes into $venv there: clone to a folder of your own"
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 ||
        fail "$python could not make $PWD/$venv; is the disk full?"
}

why_pip_failed() { # why_pip_failed LOG: one line
    if grep -qiE 'retrying|timed out|unreachable|connection (refused|reset)|name resolution|ProxyError' "$1"; then
        echo "no package index could be reached. The first run needs a network: check it, or pip's settings"
    else
        { grep -m1 -iE '^ *(error|fatal)' "$1" || tail -n 1 "$1"; } | sed 's/^ *ERROR: *//; s/https\{0,1\}:[^ ]*/the index/g' | cut -c1-300
    fi
}

install_locked() { # install_locked LOCKFILE [FOLDER]
    "${2:-.venv}/bin/python" -m pip install --quiet --disable-pip-version-check --retries 2 --require-hashes \
        --only-binary :all: --requirement "$1" 2>"$PIP_LOG" ||
        fail "installing $1 failed: $(why_pip_failed "$PIP_LOG")"
}

install_project() { # without isolation: what builds it is in the lock, so no network is asked
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --editable . 2>"$PIP_LOG" ||
        fail "installing the project itself failed: $(why_pip_failed "$PIP_LOG")"
}

ensure_audit_tools() { # what scans the program, apart from it: it holds other versions than the program does
    local lock=requirements-audit.lock stamp
    stamp=".venv-audit/.installed-$(cat "$lock" - <<<"$PWD" | cksum | tr -d ' ')"
    [ ! -e "$stamp" ] || return 0
    make_venv .venv-audit
    PIP_LOG="$(mktemp)" || fail "no temporary file could be made; is the disk full?"
    echo "installing what $lock names into .venv-audit (first run only, a minute or two) ..." >&2
    install_locked "$lock" .venv-audit
    rm -f "$PIP_LOG" .venv-audit/.installed-*
    touch "$stamp"
}

ensure_environment() { # ensure_environment LOCKFILE; a second run with the same lock does nothing
    local lock="$1" stamp
    stamp=".venv/.installed-$(basename "$lock")-$(cat "$lock" pyproject.toml - <<<"$PWD" | cksum | tr -d ' ')"
    if [ ! -e "$stamp" ]; then
        make_venv
        PIP_LOG="$(mktemp)" || fail "no temporary file could be made; is the disk full?"
        echo "installing what $lock names (first run only, a minute or two) ..." >&2
        install_locked "$lock"
        install_project
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
