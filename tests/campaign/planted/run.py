"""The part of the planted bugs: each alone in a copy of the tree, where the campaign's cases must see it.

For each bug its cases run, in their order, until one reports a problem. A case counts only where it reports
none over the tree as it is. What a case finds, it must find twice: a busy machine may cost a poll.

    python -m campaign.planted.run [--only BUG]      in tests/
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Any

from campaign.place import ROOT
from campaign.planted.bugs import Bug, bugs
from campaign.planted.witnesses import WITNESSES

_COPIED = ("bot", "contracts_abi", "tests", "pyproject.toml")
_CASE_WITHIN_S = 300.0
_PROGRAM = "import sys; from campaign.planted.run import tell; tell(sys.argv[1])"


def run(options: Any) -> dict[str, Any]:
    """Plant every bug; return how many were caught, and which case caught which."""
    from campaign.catalogue import CASES

    only = getattr(options, "only", "")
    chosen = [bug for bug in bugs() if fnmatchcase(bug.id, only or "*")]
    jobs = getattr(options, "jobs", 0) or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="alvh-planted-") as folder, ThreadPoolExecutor(jobs) as pool:
        site = _Site(Path(folder), frozenset({**CASES, **WITNESSES}))
        caught = dict(zip((bug.id for bug in chosen), pool.map(site.caught, chosen), strict=True))
    missed = [name for name, case in caught.items() if not case]
    print(f"{len(caught) - len(missed)} of {len(caught)} planted bugs caught", flush=True)
    return {
        "mutants_caught": len(caught) - len(missed),
        "planted_bugs": len(caught),
        "planted_missed": missed,
        "caught_by": {name: case for name, case in caught.items() if case},
    }


def tell(case: str) -> None:
    """Run a case in this process and print a line of JSON; in the copy of the tree."""
    from campaign.runner import run_case

    print(json.dumps({"case": case, "problems": run_case(case, 1).problems}), flush=True)


def _copy(place: Path) -> Path:
    leave_out = shutil.ignore_patterns("__pycache__", ".*")
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=leave_out)
        else:
            place.mkdir(exist_ok=True)
            shutil.copy(source, place / name)
    return place


class _Site:
    """A folder with a clean copy of the tree, and one with a bug at a time."""

    def __init__(self, folder: Path, known: frozenset[str]) -> None:
        self._folder, self._known = folder, known
        self._clean = _copy(folder / "clean")
        self._sound: dict[str, bool] = {}
        self._one_at_a_time = Lock()

    def caught(self, bug: Bug) -> str:
        """Return the first case that notices a bug, "" when none does."""
        root = _copy(self._folder / bug.id)
        bug.plant(root)
        try:
            for case in bug.caught_by:
                if case not in self._known:
                    print(f"  {bug.id}: there is no case {case} yet", flush=True)
                elif (problems := _problems(case, root, bug.says)) and self._is_sound(case):
                    print(f"  {bug.id}: caught by {case}: {_last_line(problems)}", flush=True)
                    return case
        finally:
            shutil.rmtree(root)
        print(f"  {bug.id}: MISSED by {', '.join(bug.caught_by)}", flush=True)
        return ""

    def _is_sound(self, case: str) -> bool:
        """Say whether a case finds nothing wrong with the tree as it is; if not, it proves nothing."""
        with self._one_at_a_time:
            if case not in self._sound:
                problems = _problems(case, self._clean)
                self._sound[case] = not problems
                print(f"  as it is, {case}: {_last_line(problems) if problems else 'ok'}", flush=True)
            return self._sound[case]


def _last_line(problems: Sequence[str]) -> str:
    return problems[0].strip().splitlines()[-1][:160]


def _problems(case: str, root: Path, says: str = "") -> list[str]:
    """Return what a case finds in a tree at its second try, of problems that hold these words.

    Nothing where one of the two finds nothing.
    """
    found: list[str] = []
    for _ in range(2):
        found = [problem for problem in _told(case, root) if says in problem]
        if not found:
            break
    return found


def _told(case: str, root: Path) -> list[str]:
    """Run one case in a process over a tree. A process that fails is no verdict: RuntimeError."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, case],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=_CASE_WITHIN_S,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith('{"case"')]
    if not found:
        raise RuntimeError(f"case {case} did not end in {root}: {done.stderr[-2_000:]}")
    problems: list[str] = json.loads(found[-1])["problems"]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Plant bugs in a copy of the tree; the campaign must notice."
    )
    parser.add_argument("--only", default="", metavar="BUG", help="one bug of bugs.toml; * and ? match")
    figures = run(parser.parse_args())
    return 0 if not figures["planted_missed"] else 1


if __name__ == "__main__":
    sys.exit(main())
