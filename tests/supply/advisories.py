"""Published advisories against what the lock files name, by pip-audit.

A source that knows no advisory answers as one that has nothing to report. So each source is first asked for a
release with known holes; one that does not name them cannot be asked, and is said to be so.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supply.scanners import ROOT, tool

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-node.lock", "requirements-audit.lock")
SOURCES = ("pypi", "osv")
CONTROL = ("jinja2", "2.10")  # CVE-2019-10906 and others, fixed in 2.10.1
ACCEPTED: Mapping[str, str] = {}  # id of an advisory -> why it does not hold here
TIMEOUT_S = 300
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)

Package = tuple[str, str]  # name, version
Ask = Callable[[str, Iterable[Package]], Mapping[Package, Any]]


class NoSource(RuntimeError):
    """No source of advisories can be asked; the message says what each answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source knows of the packages of the locks."""

    source: str
    asked: int
    known: tuple[str, ...]  # "name version: id"
    unknown: tuple[str, ...]  # packages that the source does not have


def locked(root: Path = ROOT) -> set[Package]:
    """Return every release that a lock file names."""
    return {(name, version) for lock in LOCKS for name, version in _PIN.findall((root / lock).read_text())}


def pip_audit(source: str, packages: Iterable[Package]) -> dict[Package, Any]:
    """Return package -> ids of its advisories, or the words of why it could not be asked."""
    found: dict[Package, Any] = {}
    for batch in _apart(packages):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("".join(f"{name}=={version}\n" for name, version in batch))
            file.flush()
            command = [tool("pip-audit"), "-r", file.name, "--no-deps", "--disable-pip", "-s", source]
            command += ["-f", "json", "--progress-spinner", "off", "--timeout", "10"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode not in (0, 1) or not done.stdout:
            words = (done.stderr.strip().splitlines() or ["no words"])[-1]
            return dict.fromkeys(packages, re.sub(r"\S*://\S*", "the source", words)[:200])
        for one in json.loads(done.stdout)["dependencies"]:
            name = one["name"]
            version = one.get("version") or dict(batch).get(name, "")
            ids = [hole["id"] for hole in one.get("vulns", ())]
            found[name, version] = one.get("skip_reason") or ids
    return found


def _apart(packages: Iterable[Package]) -> list[list[Package]]:
    """Return lists in which no package comes twice: a universal lock names some for two Pythons."""
    batches: list[dict[str, str]] = []
    for name, version in sorted(packages):
        free = next((batch for batch in batches if name not in batch), None)
        if free is None:
            batches.append(free := {})
        free[name] = version
    return [list(batch.items()) for batch in batches]


def ask_all(root: Path = ROOT, *, ask: Ask = pip_audit) -> Answer:
    """Ask the first source that knows the control's holes. Raises NoSource."""
    said = {}
    for source in SOURCES:
        said[source] = ask(source, [CONTROL]).get(CONTROL, "no answer")
        if isinstance(said[source], list) and said[source]:
            return _answer(source, locked(root), ask)
    words = "; ".join(f"{name}: {_words(answer)}" for name, answer in said.items())
    raise NoSource(f"no source knows the holes of {' '.join(CONTROL)} ({words})")


def _words(answer: Any) -> str:
    return answer if isinstance(answer, str) else "has no advisory on it"


def _answer(source: str, packages: set[Package], ask: Ask) -> Answer:
    known, unknown = [], []
    answers = ask(source, packages)
    for package in sorted(packages):
        answer, words = answers.get(package, "no answer"), " ".join(package)
        if isinstance(answer, str):
            unknown.append(f"{words}: {answer}")
        else:
            known += [f"{words}: {one}" for one in answer if one not in ACCEPTED]
    return Answer(source, len(packages), tuple(known), tuple(unknown))
