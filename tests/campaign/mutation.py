"""Do the tests bite? Every small bug in the modules that money depends on, one at a time (REL-S5, REL-G12).

    python -m campaign.mutation [--only ID] [--module NAME] [--survivors]      in tests/

mutmut 3.8 and cosmic-ray 8 were looked at first. mutmut changes function bodies alone, leaves out decorated
functions (every property and context manager of the journal), tables and defaults, and never takes a
statement out, which is what a missing check is; cosmic-ray starts a process for each mutant, which imports
the program for 3 s, 3,000 times. So the mutants are made here (``mutants``) and judged in forks of one warm
session (``mutant_session``); those outside of functions, a few per cent, in a fork that imports the program
anew. Verdicts are kept by the hashes of the module and of the tests: a run that was cut off goes on.
"""

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing import get_context
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from campaign.mutant_session import KILLED, SURVIVED, MutantSession, Seen, in_child, quick_hypothesis
from campaign.mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".campaign" / "mutation.jsonl"
EQUIVALENT = Path(__file__).with_name("mutation_equivalent.toml")
LEAST_SCORE = 0.9

_SIGNER = tuple(
    f"tests/chain/test_{name}.py"
    for name in ("signer", "signer_gas", "signer_safe", "signer_memory", "signer_calls")
)
_CAPS = "tests/chain/test_signer_caps.py"  # for those that time goes by
_JOURNAL = tuple(
    f"tests/pipeline/test_{name}.py" for name in ("journal_orders", "journal_reading", "journal", "pruning")
)
TESTS = {  # of each module, those that are quick and say what it must do
    "bot/chain/send_state.py": ("tests/chain/test_send_state.py",),
    "bot/engine/limits.py": ("tests/engine/test_limits.py",),
    "bot/chain/signing/calls.py": _SIGNER,
    "bot/chain/signing/rules.py": _SIGNER,
    "bot/chain/signing/desk.py": (*_SIGNER, _CAPS),
    "bot/chain/signing/memory.py": (*_SIGNER, _CAPS),
    "bot/pipeline/journal_chain.py": ("tests/pipeline/test_journal_chain.py",),
    "bot/pipeline/journal.py": _JOURNAL,
    "bot/pipeline/journal_store.py": ("tests/pipeline/test_journal_store.py",),
}
MODULES = tuple(TESTS)
# Where a cap is compared or added up, and where a chain id is: all mutants must be killed here (REL-S5).
CAP_FUNCTIONS = (
    "desk:SigningDesk._check_caps",
    "desk:_check_value",
    "desk:_check_fees",
    "rules:Cap.__post_init__",
    "memory:SignerMemory.spent",
    "memory:SignerMemory.spent_at",
    "memory:SignerMemory._take",
    "limits:Cap.room_usd",
    "limits:premium_caps",
    "limits:tightest",
    "limits:_venue_caps",
    "limits:_spent",
    "limits:_rolled",
)
CHAIN_ID_FUNCTIONS = (
    "desk:SigningDesk._chain",
    "rules:SigningRules.__post_init__",
    "rules:SigningRules.chain_ids",
    "send_state:advance",
    "send_state:next_nonce",
)
_OPTIONS = (
    *("-q", "-n0", "--no-header", "-p", "no:cacheprovider", f"--rootdir={ROOT}"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # its plugins are imported before the forks
)
_COLD_LIMIT_S = 120.0
_HEAVY = (
    "numpy",
    "scipy.stats",
    "pandas",
    "sqlalchemy",
    "aiohttp",
    "hypothesis.stateful",
    "psycopg",
    "pydantic",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    id: str
    verdict: str
    by: str  # the test that failed, or how many passed
    module: str  # hash of the file that was changed
    tests: str  # hash of the tests and of what judges


class Ledger:
    """The verdicts so far, a line of JSON each; the newest of an id counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._modules = {name: _hash([ROOT / name]) for name in MODULES}
        self._tests = {name: _hash(_judges(name)) for name in MODULES}
        self.found: dict[str, Verdict] = {}
        path.parent.mkdir(exist_ok=True)
        self.read()

    def read(self) -> None:
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            kept = Verdict(**json.loads(line))
            self.found[kept.id] = kept

    def is_known(self, mutant: Mutant, *, trust_killed: bool) -> bool:
        """Say whether a verdict of this source is there; killed ones may be of earlier tests."""
        kept = self.found.get(mutant.id)
        if kept is None or kept.module != self._modules[mutant.file]:
            return False
        return kept.tests == self._tests[mutant.file] or (trust_killed and kept.verdict != SURVIVED)

    def add(self, mutant: Mutant, verdict: str, by: str) -> None:
        module, tests = self._modules[mutant.file], self._tests[mutant.file]
        found = Verdict(id=mutant.id, verdict=verdict, by=by, module=module, tests=tests)
        self.found[mutant.id] = found
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(found)) + "\n")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Judge what is not yet judged; return the figures. ``options``: those of ``main``, or of a part."""
    only, trust_killed = getattr(options, "only", ""), getattr(options, "survivors", False)
    texts = {name: (ROOT / name).read_text() for name in MODULES}
    every = {mutant.id: mutant for name, text in texts.items() for mutant in mutants_of(name, text)}
    reasons = equivalents()
    if unknown := sorted(reasons.keys() - every.keys()):
        raise SystemExit(f"{EQUIVALENT.name} names mutants that are not there any more: {', '.join(unknown)}")
    counted = [mutant for mutant in every.values() if only or mutant.id not in reasons]
    counted = [mutant for mutant in counted if _is_wanted(mutant, options)]
    ledger, again = Ledger(KEPT), only or getattr(options, "fresh", False)
    due = [item for item in counted if again or not ledger.is_known(item, trust_killed=trust_killed)]
    print(f"{len(every)} mutants, {len(reasons)} of them equivalent; {len(due)} to be judged now", flush=True)
    if only:
        print(*(item.diff(texts[item.file]) for item in due), sep="\n", flush=True)
    groups: dict[tuple[str, ...], list[Mutant]] = {}
    for item in due:
        groups.setdefault(TESTS[item.file], []).append(item)
    largest = sorted(groups, key=lambda tests: len(groups[tests]), reverse=True)
    with ProcessPoolExecutor(getattr(options, "jobs", 0) or None, mp_context=get_context("fork")) as pool:
        judged = [pool.submit(_judge_all, groups[tests], tests, texts, ledger) for tests in largest]
        for future in judged:
            future.result()
    ledger.read()
    return _figures(counted, texts, ledger)


def _is_wanted(mutant: Mutant, options: argparse.Namespace) -> bool:
    only, module = getattr(options, "only", ""), getattr(options, "module", "")
    return fnmatchcase(mutant.id, only or "*") and (not module or mutant.id.startswith(f"{module}:"))


def equivalents() -> dict[str, str]:
    """Return the mutants that change nothing anyone could see, each with the reason."""
    found: dict[str, str] = {}
    for entry in tomllib.loads(EQUIVALENT.read_text())["equivalent"]:
        found.update(dict.fromkeys(entry["ids"], entry["because"]))
    return found


def _judges(module: str) -> list[Path]:
    """Return the files on which a verdict on a module depends beside the module."""
    here = Path(__file__).parent
    builders = sorted((ROOT / "tests").glob("*_builders.py"))
    return [
        *(ROOT / name for name in TESTS[module]),
        *builders,
        here / "mutants.py",
        here / "mutant_session.py",
    ]


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _judge_all(due: Sequence[Mutant], tests: Sequence[str], texts: dict[str, str], ledger: Ledger) -> None:
    """Fork the warm session, then one fork for each mutant that is not inside of a function.

    This process never imports the program, so that each fork may import it changed.
    """
    started, left = time.monotonic(), len(due)

    def report(mutant: Mutant, verdict: str, by: str) -> None:
        nonlocal left
        left -= 1
        ledger.add(mutant, verdict, by)
        if verdict != KILLED or left % 100 == 0 or len(due) < 10:
            passed_s = time.monotonic() - started
            print(f"{passed_s:6.0f} s, {left} left: {mutant.id} {verdict} ({by})", flush=True)

    for name in _HEAVY:
        importlib.import_module(name)
    inside = [mutant for mutant in due if mutant.is_inside]
    touching = _warm(inside, tests, texts, report)
    ledger.read()
    left = len(due) - len(inside)
    for mutant in due:
        if not mutant.is_inside:
            report(mutant, *_cold(mutant, texts[mutant.file], touching[mutant.file]))


def _warm(
    mutants: Sequence[Mutant],
    tests: Sequence[str],
    texts: dict[str, str],
    report: Callable[[Mutant, str, str], None],
) -> dict[str, list[str]]:
    """Judge mutants of functions in a fork; return the tests that run anything of a file, quickest first."""
    told = KEPT.with_name(f"mutation_tests.{os.getpid()}.json")

    def tell(seen: list[Seen]) -> None:
        found = {name: [one.item.nodeid for one in seen if name in one.lines] for name in texts}
        told.write_text(json.dumps(found))
        print(f"{len(seen)} tests pass as it is, {sum(one.seconds for one in seen):.0f} s", flush=True)

    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            session = MutantSession(mutants, texts, ROOT, report, tell)
            status = int(
                pytest.main([*_OPTIONS, "-s", *(str(ROOT / name) for name in tests)], plugins=[session])
            )
        except BaseException:  # noqa: BLE001 - said, and not raised into what is the parent's
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit("the mutants could not be judged: see what pytest says above")
    found: dict[str, list[str]] = json.loads(told.read_text())
    told.unlink()
    return found


class _Changed(SourceFileLoader):
    """Loads one module from another text than its file's; ``find_spec`` is that of a finder."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        super().__init__(name, str(path))
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec")

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None


class _Sorted:
    """A pytest plugin that keeps the order which it is given."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._place = {node: place for place, node in enumerate(nodes)}

    def pytest_configure(self) -> None:
        quick_hypothesis()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._place), key=lambda item: self._place[item.nodeid]
        )


def _cold(mutant: Mutant, text: str, nodes: Sequence[str]) -> tuple[str, str]:
    """Judge a mutant of a table, a default or a class in a fork that imports the program with it."""
    name = mutant.file.removesuffix(".py").replace("/", ".")

    def work() -> str:
        finder: Any = _Changed(name, ROOT / mutant.file, mutant.applied(text))
        sys.meta_path.insert(0, finder)
        return _tests_fail(nodes)

    _check_cold(tuple(nodes))
    status, by = in_child(work, limit_s=_COLD_LIMIT_S)
    return (SURVIVED if status == 0 else KILLED), by or f"{len(nodes)} tests"


@cache
def _check_cold(nodes: tuple[str, ...]) -> None:
    """Raise RuntimeError unless these tests pass so without a mutant: else each would count as killed."""
    status, by = in_child(lambda: _tests_fail(nodes), limit_s=_COLD_LIMIT_S)
    if status != 0:
        raise RuntimeError(f"{len(nodes)} tests, {nodes[0]} and more, do not pass without a mutant: {by}")


def _tests_fail(nodes: Sequence[str]) -> str:
    """Run tests in this process, in this order; return "" when all pass."""
    files = sorted({str(ROOT / node.partition("::")[0]) for node in nodes})
    status = pytest.main([*_OPTIONS, "-x", *files], plugins=[_Sorted(nodes)])
    return "" if status == pytest.ExitCode.OK else f"pytest ends with {int(status)}"


def _figures(counted: Sequence[Mutant], texts: dict[str, str], ledger: Ledger) -> dict[str, Any]:
    survivors = [item for item in counted if ledger.found[item.id].verdict == SURVIVED]
    for name in MODULES:
        here = [item for item in counted if item.file == name]
        print(f"{name}: {_score(here, ledger):.3f} of {len(here)}")
    return {
        "mutants_total": len(counted),
        "mutation_score": _score(counted, ledger),
        "cap_line_score": _score([item for item in counted if _place(item) in CAP_FUNCTIONS], ledger),
        "chain_id_line_score": _score(
            [item for item in counted if _place(item) in CHAIN_ID_FUNCTIONS], ledger
        ),
        "mutation_survivors": [
            {"id": item.id, "at": f"{item.file}:{item.line}", "diff": item.diff(texts[item.file])}
            for item in survivors
        ],
    }


def _place(mutant: Mutant) -> str:
    return mutant.id.rpartition(":")[0].rpartition(":")[0]


def _score(mutants: Sequence[Mutant], ledger: Ledger) -> float:
    """Return the share of mutants that a test or its time limit killed, 1 where there is none."""
    killed = sum(ledger.found[item.id].verdict != SURVIVED for item in mutants)
    return killed / len(mutants) if mutants else 1.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="ID", help="show and judge these alone (* and ? match)")
    parser.add_argument("--module", default="", metavar="NAME", help="one module, such as send_state")
    parser.add_argument("--survivors", action="store_true", help="trust what earlier tests killed")
    figures = run(parser.parse_args())
    for item in figures["mutation_survivors"]:
        print(f"\nsurvived {item['id']} {item['at']}\n{item['diff']}")
    print({name: value for name, value in figures.items() if name != "mutation_survivors"})
    whole = (figures["cap_line_score"], figures["chain_id_line_score"])
    return 0 if figures["mutation_score"] >= LEAST_SCORE and min(whole) == 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
