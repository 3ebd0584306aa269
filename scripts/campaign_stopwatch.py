"""``scripts/campaign stopwatch``: does the README keep what it says, from a clone, in an empty home folder?

Clones what is committed into a scratch folder and runs there, one by one, the lines of shell that the README
shows, with a home that holds nothing. How this machine reaches its package indexes is kept, and nothing else
of the user's. Prints the seconds of each line; over a limit that the README claims is a failure.
"""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETUP, TESTS = "scripts/demo", "scripts/test"
REPORT = "alvh-demo.html"
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
_CLAIM = re.compile(
    r"report\s+of\s+the\s+demo\s.*?within (\d+) minutes.*?tests\s+are\s+green\s+within (\d+)", re.DOTALL
)
_KEPT = ("LANG", "LC_ALL", "PATH", "SSL_CERT_FILE", "TERM", "TMPDIR")
_INDEXES = ("PIP_", "NPM_CONFIG_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALVH_PYTHON")
_LONGEST_S = 5_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One line of the README as it was run."""

    line: str
    seconds: float
    code: int
    limit_s: float  # inf where the README claims none

    @property
    def problem(self) -> str:
        if self.code not in _good_codes(self.line):
            return f"exit code {self.code}"
        return f"over the {self.limit_s:,.0f} s of the README" if self.seconds > self.limit_s else ""

    def __str__(self) -> str:
        return f"{self.seconds:8.1f} s  {self.line}" + (f"  FAILED: {self.problem}" if self.problem else "")


def shown_lines(readme: str) -> tuple[str, ...]:
    """Return the lines of the README's blocks of shell, without comments; the tests come last."""
    found = [
        line.partition(" #")[0].rstrip()
        for block in _BLOCK.findall(readme)
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]
    return (*(line for line in found if line != TESTS), *(line for line in found if line == TESTS))


def claimed_s(readme: str) -> dict[str, float]:
    """Return the seconds in which the README says that its two commands are done. Raises ValueError."""
    found = _CLAIM.search(readme)
    if found is None:
        raise ValueError("the README does not say within how many minutes report and tests are there")
    return {SETUP: 60.0 * int(found[1]), TESTS: 60.0 * int(found[2])}


def stopwatch(*, source: Path = ROOT, skip_tests: bool = False) -> int:
    """Return 0 when every line of the README worked from a clone of ``source``, within what it claims."""
    with tempfile.TemporaryDirectory(prefix="alvh-stopwatch-") as name:
        home, clone = Path(name) / "home", Path(name) / "clone"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", source, clone], check=True)
        failed = 0
        for timed in _run(clone, home, skip_tests=skip_tests):
            print(timed, flush=True)
            failed += bool(timed.problem)
        if not (clone / REPORT).is_file():
            print(f"FAILED: {SETUP} left no {REPORT}")
            failed += 1
    print(f"{failed} lines of the README failed" if failed else "the README keeps what it says")
    return 1 if failed else 0


def _run(clone: Path, home: Path, *, skip_tests: bool) -> Iterator[Timed]:
    readme = (clone / "README.md").read_text("utf-8")
    limits, active = claimed_s(readme), ""
    for line in shown_lines(readme):
        if line.startswith("source "):  # holds for the lines after it
            active = f"{line} && "
        elif not (skip_tests and line == TESTS):
            yield _timed(clone, home, f"{active}{_ending(line)}", line, limits.get(line, float("inf")))


def _timed(clone: Path, home: Path, command: str, line: str, limit_s: float) -> Timed:
    began_s = time.monotonic()
    with (home.parent / "said.log").open("ab") as said:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=clone,
            env=environment(os.environ, home),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            timeout=_LONGEST_S,
            check=False,
        )
    timed = Timed(line=line, seconds=time.monotonic() - began_s, code=done.returncode, limit_s=limit_s)
    if timed.problem:
        print((home.parent / "said.log").read_text("utf-8", "replace")[-3_000:])
    return timed


def environment(given: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return what a line is run with: an empty home, and the way to the package indexes."""
    kept = {
        name: value for name, value in given.items() if name in _KEPT or name.upper().startswith(_INDEXES)
    }
    user = Path(given.get("HOME", "/nonexistent"))
    files = {"PIP_CONFIG_FILE": user / ".config/pip/pip.conf", "NPM_CONFIG_USERCONFIG": user / ".npmrc"}
    indexes = {name: str(path) for name, path in files.items() if path.is_file()}
    return {**indexes, **kept, "HOME": str(home)}


def _ending(line: str) -> str:
    """Return a line that ends by itself, for a reader would end it by Ctrl-C."""
    return f"{line} --once" if line.startswith("alvh run --live") else line


def _good_codes(line: str) -> tuple[int, ...]:
    return (0, 3) if line.startswith("alvh status") else (0,)  # 3: the run of the line before has ended
