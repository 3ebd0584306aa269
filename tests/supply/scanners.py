"""bandit and semgrep over the program, from the environment that scripts/_environment.sh makes for them."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-audit" / "bin"
RULES = Path(__file__).with_name("rules.yml")

# What bandit says of medium severity, and why it is none here. A comment in the code silences nothing.
ACCEPTED = {
    ("B104", "bot/app/dashboard.py"): "the address of all interfaces is compared, not bound",
    ("B104", "bot/app/health.py"): "the address of all interfaces is replaced by loopback, not bound",
    ("B608", "bot/pipeline/journal_schema.py"): "every part of the SQL is a constant of the file",
    ("B608", "bot/pipeline/leases.py"): "one of two names of functions, both constants of the file",
    ("B608", "bot/pipeline/migrations/__init__.py"): "the name of a table, a constant of the file",
    ("B608", "bot/pipeline/migrations/journal/versions/r0002_prunings.py"): "constants of the file",
    ("B704", "bot/dashboard/signals.py"): "formatted numbers of the program, no text of a stranger",
}


class ToolMissing(RuntimeError):
    """A scanner is not installed; the message says how it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a scanner found. ``rule`` is its own name for it."""

    rule: str
    path: str  # below the folder that was scanned
    line: int
    severity: str
    what: str


def bandit(target: str = "bot", *, root: Path = ROOT) -> list[Finding]:
    """Return all of medium or high severity, comments that silence it disregarded."""
    command = [
        tool("bandit"),
        "--quiet",
        "--ignore-nosec",
        "--severity-level",
        "medium",
        "-r",
        target,
        "-f",
        "json",
    ]
    said = json.loads(_output(command, root))
    if said["errors"]:
        raise RuntimeError(f"bandit could not read {said['errors']}")
    return [
        Finding(
            one["test_id"],
            os.path.normpath(one["filename"]),
            one["line_number"],
            one["issue_severity"],
            one["issue_text"],
        )
        for one in said["results"]
    ]


def semgrep(target: str = "bot", *, root: Path = ROOT) -> list[Finding]:
    """Return what the rules of this folder find, with no network asked."""
    if not (root / ".git").exists():
        raise RuntimeError(f"{root} is no git checkout: the folders that rules are for begin at its top")
    command = [tool("semgrep"), "scan", "--config", str(RULES), "--metrics", "off", "--disable-version-check"]
    command += ["--no-git-ignore", "--disable-nosem", "--json", "--quiet", "--jobs", "1", target]
    said = json.loads(_output(command, root))
    if said["errors"]:
        raise RuntimeError(f"semgrep could not read {said['errors']}")
    return [
        Finding(
            one["check_id"].rpartition(".")[2],
            one["path"],
            one["start"]["line"],
            one["extra"]["severity"],
            one["extra"]["message"],
        )
        for one in said["results"]
    ]


def tool(name: str) -> str:
    """Return where a scanner is. Raises ToolMissing."""
    if not (TOOLS / name).exists():
        raise ToolMissing(
            f"{name} is not in {TOOLS}; scripts/test and scripts/audit install it from its lock"
        )
    return str(TOOLS / name)


def _output(command: Sequence[str], root: Path) -> str:
    """Return what a scanner wrote; 0 and 1 are its exit codes without and with findings."""
    with tempfile.TemporaryDirectory(prefix="alvh-audit-") as home:  # it keeps notes of itself there
        done = subprocess.run(
            command,
            cwd=root,
            env={"PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": home, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if done.returncode not in (0, 1):
        said = (done.stderr or done.stdout)[-1_000:]
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {said}")
    return done.stdout
