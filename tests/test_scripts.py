"""The scripts a person runs first: what they install, and the one line they say when they cannot."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELL_SCRIPTS = [ROOT / "scripts" / name for name in ("demo", "test", "bench", "lock", "audit", "build")] + [
    ROOT / ".ci" / "run"
]
TOOLS = ("bash", "cat", "cksum", "cut", "dirname", "basename", "grep", "mkdir", "mktemp", "rm", "sed", "tail")
TOOLS += ("touch", "tr", "env", "cp", "chmod")
OFFLINE = (
    "WARNING: Retrying (Retry(total=1)) after connection broken by 'Temporary failure in name resolution'"
)

# Stands for python3: `-m venv` makes a folder whose python is this file again, pip writes down its lock file.
FAKE_PYTHON = """\
#!/usr/bin/env bash
case "$*" in
  *"-m venv"*) [ -z "$NO_VENV" ] || exit 1
      venv="${!#}"
      mkdir -p "$venv/bin"; cp "$0" "$venv/bin/python"; echo "command = $PWD/$venv" >"$venv/pyvenv.cfg"
      printf '#!/usr/bin/env bash\\necho "alvh $*"\\n' >"$venv/bin/alvh"; chmod +x "$venv/bin/alvh" ;;
  *"pip install"*) echo "$*" >>pip.calls
      if [ -n "$PIP_SAYS" ]; then echo "$PIP_SAYS" >&2; exit 1; fi ;;
esac
"""


class Clone:
    """A folder like a fresh clone, with the real scripts and a stand-in for python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.bin = folder / "bin"
        for path in (self.folder, self.bin):
            path.mkdir()
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        for name in (
            "pyproject.toml",
            "requirements.lock",
            "requirements-dev.lock",
            "requirements-node.lock",
            "requirements-audit.lock",
        ):
            shutil.copy(ROOT / name, self.folder)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.add_tool("npm", "#!/bin/sh\n")

    def add_tool(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def with_python(self) -> "Clone":
        self.add_tool("python3.11", FAKE_PYTHON)
        return self

    def demo(self, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "scripts" / "demo", "--seed", "7"],
            env={"PATH": str(self.bin), "HOME": str(self.folder), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def pip_calls(self) -> list[str]:
        calls = self.folder / "pip.calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the one line a script ended with."""
    assert ended.returncode == 1, ended
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ended.stderr
    assert ended.stderr.splitlines()[-1] == errors[0], ended.stderr
    return errors[0]


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_run_and_stop_at_the_first_error(script: Path):
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)


def test_the_first_run_installs_what_is_locked_with_hashes_and_the_second_nothing(clone: Clone):
    clone.with_python()
    first = clone.demo()
    assert first.returncode == 0, first
    assert first.stdout == "alvh demo --seed 7\n"
    locked, project = clone.pip_calls
    assert "--require-hashes" in locked
    assert "--only-binary :all:" in locked
    assert locked.endswith("--requirement requirements.lock")
    assert "--no-deps --no-build-isolation --editable ." in project
    again = clone.demo()
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert len(clone.pip_calls) == 2


def test_a_changed_lock_is_installed_anew(clone: Clone):
    clone.with_python().demo()
    with (clone.folder / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert clone.demo().returncode == 0
    assert len(clone.pip_calls) == 4


def test_a_clone_that_was_moved_gets_an_environment_of_its_own(clone: Clone):
    clone.with_python().demo()
    clone.folder = clone.folder.rename(clone.folder.parent / "moved")
    assert clone.demo().returncode == 0
    assert str(clone.folder) in (clone.folder / ".venv" / "pyvenv.cfg").read_text()


def test_scanners_get_an_environment_of_their_own_once(clone: Clone):
    clone.with_python()
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "source scripts/_environment.sh; ensure_audit_tools"],
            cwd=clone.folder,
            env={"PATH": str(clone.bin), "HOME": str(clone.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done
    (locked,) = clone.pip_calls
    assert "--require-hashes --only-binary :all: --requirement requirements-audit.lock" in locked
    assert (clone.folder / ".venv-audit" / "bin" / "python").exists()
    assert not (clone.folder / ".venv").exists()


def test_npm_comes_from_the_package_index_where_it_is_missing(clone: Clone):
    (clone.bin / "npm").unlink()
    assert clone.with_python().demo().returncode == 0
    assert clone.pip_calls[-1].endswith("--requirement requirements-node.lock")


def test_no_python_is_one_line(clone: Clone):
    assert "Python 3.11" in refused(clone.demo())
    assert not (clone.folder / ".venv").exists()


def test_an_environment_that_cannot_be_made_is_one_line(clone: Clone):
    assert ".venv" in refused(clone.with_python().demo(NO_VENV="1"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(clone: Clone):
    clone.with_python().folder.chmod(0o555)
    assert "cannot be written" in refused(clone.demo())


def test_no_network_is_one_line_and_the_next_run_tries_again(clone: Clone):
    said = refused(clone.with_python().demo(PIP_SAYS=OFFLINE))
    assert "requirements.lock" in said
    assert "network" in said
    assert "Retry" not in said
    assert clone.demo().returncode == 0


def test_a_refused_hash_is_told_in_pips_words_without_an_address(clone: Clone):
    said = refused(clone.with_python().demo(PIP_SAYS="ERROR: hash of https://host/x.whl does not match"))
    assert "hash of the index does not match" in said
    assert "http" not in said


def test_bench_writes_flat_json_of_names_and_numbers(tmp_path: Path):
    target = tmp_path / "bench.json"
    ended = bench("decision", "--json", str(target))
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(target.read_text())
    assert set(figures) == {
        "decision_ms_p50",
        "decision_ms_p95",
        "decision_first_ms_p50",
        "signals_ms_p50",
        "decision_growth_10x_history",
        "decision_ms_5x300",
        "decision_ms_50x300",
        "decision_ms_500x300",
        "decision_first_ms_50x300",
        "decision_growth_5_to_50_exposures",
        "decision_growth_50_to_500_exposures",
        "step_us",
    }
    assert all(isinstance(value, float) and value > 0.0 for value in figures.values())
    assert all(name in ended.stdout for name in figures)
    documented = (ROOT / "docs" / "benchmarks.md").read_text()
    assert all(f"`{name}`" in documented for name in figures)
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_bench_refuses_an_unknown_area():
    ended = bench("nothing")
    assert ended.returncode == 2
    assert "no area named 'nothing'; there are decision, devnet, backtest" in ended.stderr


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench.py", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
