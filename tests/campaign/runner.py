"""Runs cases, each under a seed, in processes of their own, and keeps a line for each."""

import asyncio
import atexit
import json
import math
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commands import CommandServer

from bot.devnet.deployment import Deployment
from bot.devnet.node import prepare, start_devnet
from bot.settings import cache_dir
from campaign.case import Lab, Outcome
from campaign.catalogue import CASES
from campaign.place import NODE, RESULTS, source_hash
from campaign.planted.witnesses import WITNESSES

LINES = RESULTS / "cases.jsonl"
_CASE_WITHIN_S = 900.0  # the longest take a minute on a machine that does other things too


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One case under one seed. Infinite and unknown times are None."""

    source: str
    id: str
    seed: int
    problems: tuple[str, ...]
    broken: tuple[str, ...]  # invariants
    to_alarm_s: float | None
    to_recover_polls: float | None
    gas_lost_wei: int
    taken_s: float
    note: str

    @classmethod
    def of(cls, case: str, seed: int, outcome: Outcome, taken_s: float) -> "Line":
        problems = outcome.problems
        return cls(
            source=source_hash(),
            id=case,
            seed=seed,
            problems=tuple(problems),
            broken=tuple(sorted({item.partition(":")[0] for item in problems})),
            to_alarm_s=_known(outcome.to_alarm_s),
            to_recover_polls=_known(outcome.to_recover_polls),
            gas_lost_wei=outcome.gas_lost_wei,
            taken_s=round(taken_s, 1),
            note=outcome.note,
        )


def run_cases(ids: Sequence[str], seeds: Iterable[int], *, jobs: int = 0, fresh: bool = False) -> list[Line]:
    """Run each case under each seed; what ran over this very source is not run again, unless ``fresh``."""
    wanted = [(case, seed) for seed in seeds for case in ids]
    done = {} if fresh else {(line.id, line.seed): line for line in kept_lines()}
    todo = [item for item in wanted if item not in done]
    if todo:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        workers = 1 if os.environ.get(NODE) else min(jobs or os.cpu_count() or 1, len(todo))
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin) as executor:
            futures = [executor.submit(run_case, *item) for item in todo]
            for number, future in enumerate(as_completed(futures), start=1):
                line = future.result()
                done[line.id, line.seed] = line
                _keep(line)
                _say(line, number, len(todo))
    return [done[item] for item in wanted]


def kept_lines() -> Iterator[Line]:
    """Yield what was kept of this very source, the newest of each case and seed last."""
    if not LINES.exists():
        return
    now = source_hash()
    for text in LINES.read_text("utf-8").splitlines():
        found = json.loads(text)
        if found["source"] == now:
            yield Line(**found | {"problems": tuple(found["problems"]), "broken": tuple(found["broken"])})


def run_case(case: str, seed: int) -> Line:
    """Run one case in this process, on its own devnet. Never raises: a case that breaks is a problem."""
    if not _world:
        _begin()
    started_s = time.monotonic()
    try:
        outcome = asyncio.run(asyncio.wait_for(_run(case, seed), _CASE_WITHIN_S))
    except TimeoutError:
        outcome = Outcome(wrong=(f"it did not end within {_CASE_WITHIN_S:.0f} s",))
    except Exception:  # noqa: BLE001 - whatever it was, the case did not show what it should
        outcome = Outcome(wrong=(traceback.format_exc(limit=-6),))
    return Line.of(case, seed, outcome, time.monotonic() - started_s)


_world: dict[str, Any] = {}  # of a worker's process: its devnet and command server


def _begin() -> None:
    """Start what all cases of a worker share: a devnet, or the one that was named. Ends with the process."""
    folder = tempfile.TemporaryDirectory(prefix="alvh-campaign-")
    if (url := os.environ.get(NODE)) is not None:
        _, snapshot = asyncio.run(prepare(cache_dir()))
        at = Deployment.load(snapshot.deployment_file)
    else:
        devnet = asyncio.run(start_devnet(cache_dir(), states_kept=1_000_000))
        atexit.register(devnet.stop)
        url, at = devnet.rpc_url, devnet.deployment
    (Path(folder.name) / "commands").mkdir()
    server = CommandServer(Path(folder.name) / "commands")
    _world.update(folder=folder, url=url, at=at, server=server)


async def _run(case: str, seed: int) -> Outcome:
    folder = Path(tempfile.mkdtemp(dir=_world["folder"].name, prefix=f"{case}-{seed}-"))
    lab = Lab(
        id=case,
        seed=seed,
        rpc_url=_world["url"],
        at=_world["at"],
        server=_world["server"],
        folder=folder,
    )
    return await {**CASES, **WITNESSES}[case](lab)


def _keep(line: Line) -> None:
    RESULTS.mkdir(exist_ok=True)
    with LINES.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line)) + "\n")


def _say(line: Line, number: int, count: int) -> None:
    words = "ok" if not line.problems else f"{len(line.problems)} PROBLEMS"
    alarm = "" if line.to_alarm_s is None else f", told after {line.to_alarm_s:.1f} s"
    print(
        f"{number:>4}/{count}  {line.id:4} seed {line.seed:<4} {line.taken_s:6.1f} s  {words}{alarm}",
        flush=True,
    )
    for problem in line.problems:
        print(f"            {problem.strip()}", flush=True)


def _known(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else round(value, 3)
