"""The part of the planted bugs: each alone in a copy of the tree, where the campaign's cases must notice it.

First the cases run over the tree as it is: a case that reports a problem then proves nothing. Then for each bug
its cases run, in their order, until one reports a problem.

    python -m campaign.planted.run [--only BUG]      in tests/
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from campaign.place import ROOT
from campaign.planted.bugs import Bug, bugs
from campaign.planted.witnesses import WITNESSES

_COPIED = ("bot", "contracts_abi", "tests", "pyproject.toml")
_CASE_WITHIN_S = 300.0
_PROGRAM = "import sys; from campaign.planted.run import tell; tell(sys.argv[1:])"


def run(options: Any) -> dict[str, Any]:
    """Plant every bug; return how many were caught, and which case caught which."""
    from campaign.catalogue import CASES

    only = getattr(options, "only", "")
    chosen = [bug for bug in bugs() if not only or bug.id == only]
    known = {**CASES, **WITNESSES}
    wanted = list(dict.fromkeys(case for bug in chosen for case in bug.caught_by if case in known))
    with tempfile.TemporaryDirectory(prefix="alvh-planted-") as folder:
        sound = _sound(wanted, _copy(Path(folder) / "clean"))
        caught = {bug.id: _caught(bug, sound, Path(folder)) for bug in chosen}
    missed = [name for name, case in caught.items() if not case]
    print(f"{len(caught) - len(missed)} of {len(caught)} planted bugs caught", flush=True)
    return {
        "mutants_caught": len(caught) - len(missed),
        "planted_bugs": len(caught),
        "planted_missed": missed,
        "caught_by": {name: case for name, case in caught.items() if case},
    }


def tell(cases: Sequence[str]) -> None:
    """Run cases in this process and print a line of JSON for each; for the copy of the tree."""
    from campaign.runner import run_case

    for case in cases:
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


def _sound(cases: Sequence[str], root: Path) -> set[str]:
    """Return the cases that find nothing wrong with the tree as it is."""
    found = set()
    for case, problems in _told(cases, root):
        print(f"  as it is: {case} {'ok' if not problems else f'NOT SOUND: {problems}'}", flush=True)
        if not problems:
            found.add(case)
    return found


def _caught(bug: Bug, sound: set[str], folder: Path) -> str:
    """Return the first case that notices a bug, "" when none does."""
    root = _copy(folder / bug.id)
    bug.plant(root)
    started_s = time.monotonic()
    cases = [case for case in bug.caught_by if case in sound]
    try:
        for case in cases:
            for _, problems in _told([case], root):
                if problems:
                    said = problems[0].strip().splitlines()[-1][:160]
                    print(f"  {bug.id}: caught by {case}: {said}", flush=True)
                    return case
    finally:
        shutil.rmtree(root)
    waits = "" if cases else f" (none of {', '.join(bug.caught_by)} is there and sound)"
    print(f"  {bug.id}: MISSED after {time.monotonic() - started_s:.0f} s{waits}", flush=True)
    return ""


def _told(cases: Sequence[str], root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each case and its problems, of a process over a tree. One that ends early is no verdict."""
    if not cases:
        return
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *cases],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=_CASE_WITHIN_S * len(cases),
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
    if len(lines) != len(cases):
        raise SystemExit(f"the cases {', '.join(cases)} did not end in {root}: {done.stderr[-2_000:]}")
    for line in lines:
        yield line["case"], line["problems"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Plant bugs in a copy of the tree; the campaign must notice."
    )
    parser.add_argument("--only", default="", metavar="BUG", help="one bug of bugs.toml")
    figures = run(parser.parse_args())
    return 0 if not figures["planted_missed"] else 1


if __name__ == "__main__":
    sys.exit(main())
