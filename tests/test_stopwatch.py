"""The README's stopwatch: what it takes from the README, and that it fails where the README would.

The whole of it, with downloads and all tests, is ``scripts/campaign stopwatch``.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from campaign_stopwatch import (  # noqa: E402 - scripts/ is no package
    SETUP,
    TESTS,
    claimed_s,
    environment,
    shown_lines,
    stopwatch,
)

README = """
```sh
scripts/demo     # a demo
scripts/test
```

The report of the demo is
there within {demo} minutes, and the tests are green within {tests}.

```sh
source .venv/bin/activate
alvh plan
alvh run --live --config devnet/alvh.toml   # until Ctrl-C
alvh status
```
"""
DEMO = """#!/usr/bin/env bash
set -e
[ -z "$(ls -A "$HOME")" ] && [ ! -e untracked ] && [ -z "$SECRET" ]
mkdir -p .venv/bin
cat >.venv/bin/activate <<'END'
alvh() { echo "$*" >>ran; case "$1" in status) return 3 ;; esac; }
END
touch alvh-demo.html
"""


def repository(
    folder: Path, *, script: str = DEMO, test: str = "grep -q 'run --live .* --once' ran\n", **minutes
):
    """A project with commands that take no time."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "README.md").write_text(README.format(**{"demo": 10, "tests": 25} | minutes))
    for name, text in (("demo", script), ("test", f"#!/usr/bin/env bash\n{test}")):
        (folder / "scripts" / name).write_text(text)
        (folder / "scripts" / name).chmod(0o755)
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True)
    (folder / "untracked").touch()
    return folder


def test_the_readme_shows_two_commands_and_claims_their_time():
    text = (ROOT / "README.md").read_text()
    lines = shown_lines(text)
    assert (lines[0], lines[-1]) == (SETUP, TESTS)
    assert "alvh plan --config devnet/alvh.toml" in lines
    limits = claimed_s(text)
    assert 60.0 <= limits[SETUP] <= 600.0
    assert limits[SETUP] < limits[TESTS] <= 1_800.0


def test_a_readme_that_claims_nothing_is_refused():
    with pytest.raises(ValueError, match="does not say within how many minutes"):
        claimed_s("It is fast.")


def test_each_line_runs_in_a_clean_clone_with_an_empty_home(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SECRET", "of the user's shell")
    assert stopwatch(source=repository(tmp_path / "project")) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" s  ")[1] for line in said[:-1]] == [
        "scripts/demo",
        "alvh plan",
        "alvh run --live --config devnet/alvh.toml",
        "alvh status",
        "scripts/test",
    ]
    assert said[-1] == "the README keeps what it says"


def test_a_line_that_fails_is_said_with_what_it_said(tmp_path, capsys):
    project = repository(tmp_path / "project", test="echo one test failed; exit 1\n")
    assert stopwatch(source=project) == 1
    said = capsys.readouterr().out
    assert "scripts/test  FAILED: exit code 1" in said
    assert "one test failed" in said


def test_a_line_that_takes_longer_than_the_readme_claims_fails(tmp_path, capsys):
    assert stopwatch(source=repository(tmp_path / "project", tests=0), skip_tests=True) == 0
    assert stopwatch(source=repository(tmp_path / "slow", demo=0), skip_tests=True) == 1
    assert "scripts/demo  FAILED: over the 0 s of the README" in capsys.readouterr().out


def test_a_demo_that_leaves_no_report_fails(tmp_path, capsys):
    project = repository(tmp_path / "project", script=DEMO.replace("touch alvh-demo.html", ""))
    assert stopwatch(source=project, skip_tests=True) == 1
    assert "left no alvh-demo.html" in capsys.readouterr().out


def test_nothing_of_the_home_comes_along_but_the_way_to_the_indexes(tmp_path):
    (tmp_path / ".npmrc").touch()
    given = {
        "HOME": str(tmp_path),
        "PATH": "/bin",
        "PIP_INDEX_URL": "https://index.example",
        "https_proxy": "http://proxy.example",
        "ALVH_CACHE_DIR": "/cache",
        "TOKEN": "secret",
    }
    found = environment(given, tmp_path / "empty")
    assert found == {
        "HOME": str(tmp_path / "empty"),
        "PATH": "/bin",
        "PIP_INDEX_URL": "https://index.example",
        "https_proxy": "http://proxy.example",
        "NPM_CONFIG_USERCONFIG": str(tmp_path / ".npmrc"),
    }
