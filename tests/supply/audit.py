"""``scripts/audit``: every check of the supply chain at once, for a person. Exit code 1 for any finding.

Where scripts/test can only say that no source of advisories answers, this fails: a person asked for it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from supply import advisories, scanners, secret_scan


def _bandit() -> list[str]:
    return [f"{one}" for one in scanners.bandit() if (one.rule, one.path) not in scanners.ACCEPTED]


def _semgrep() -> list[str]:
    return [f"{one}" for one in scanners.semgrep()]


def _secrets() -> list[str]:
    return [f"{one}" for one in secret_scan.unknown()]


def _advisories() -> list[str]:
    try:
        answer = advisories.ask_all()
    except advisories.NoSource as why:
        return [f"advisories could not be asked: {why}"]
    return [*answer.known, *answer.unknown]


CHECKS: dict[str, Callable[[], list[str]]] = {
    "bandit": _bandit,
    "semgrep": _semgrep,
    "secrets": _secrets,
    "advisories": _advisories,
}


def main(arguments: list[str] | None = None) -> int:
    """Run every check; print what was found; return 1 when anything was."""
    parser = argparse.ArgumentParser(prog="scripts/audit", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there too")
    given = parser.parse_args(arguments)
    found = {}
    for name, check in CHECKS.items():
        found[name] = check()
        sys.stdout.write(f"{name}: {len(found[name]) or 'no'} finding{'s'[: len(found[name]) != 1]}\n")
        sys.stdout.writelines(f"  {line}\n" for line in found[name])
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
