"""What a case of the campaign is: a function from a lab to an outcome, and how it is judged.

A case makes its world, fails it, and says whether the bot behaved as reliability.md states. A case that runs
the bot takes a rig (``rigged``): the auditor then judges the chain and the files besides. A row that tests of
the suite prove exactly runs those tests (``tested``), with the seed of the case as theirs.
"""

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from commands import CommandServer

from bot.devnet.deployment import Deployment
from campaign.place import ROOT
from campaign.rig import Rig, open_rig

ALARM_WITHIN_S = 60.0  # I13
RESUME_WITHIN_POLLS = 2
_TESTS_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one case went. NaN: it was not asked."""

    wrong: tuple[str, ...] = ()  # where the bot did not behave as the row says
    to_alarm_s: float = math.nan  # from the fault to the first word about it
    to_recover_polls: float = math.nan  # from the fault's end to the next step
    note: str = ""
    verdicts: dict[str, list[str]] = field(default_factory=dict)  # invariant -> what is wrong; by the auditor
    gas_lost_wei: int = 0  # of transactions without effect; by the auditor

    @property
    def problems(self) -> list[str]:
        """Return everything that is wrong, with the invariant that it breaks."""
        found = [f"behaviour: {text}" for text in self.wrong]
        found += [f"{name}: {text}" for name, texts in self.verdicts.items() for text in texts]
        if self.to_alarm_s > ALARM_WITHIN_S:
            found.append(f"I13: told after {self.to_alarm_s:.0f} s, allowed {ALARM_WITHIN_S:.0f} s")
        if self.to_recover_polls > RESUME_WITHIN_POLLS:
            found.append(
                f"I13: went on after {self.to_recover_polls:.0f} polls, allowed {RESUME_WITHIN_POLLS}"
            )
        return found


@dataclass(kw_only=True)
class Lab:
    """What a case may use. ``random`` is all that it may take chance from."""

    id: str
    seed: int
    rpc_url: str
    at: Deployment
    server: CommandServer
    folder: Path
    part: int = 0  # of a case that is several
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.id}/{self.seed}/{self.part}")

    @asynccontextmanager
    async def rig(self) -> AsyncIterator[Rig]:
        """Open a rig; the chain is put back afterwards."""
        async with open_rig(self.rpc_url, self.at, self.server, self.folder, seed=self.seed) as rig:
            rig.random = self.random
            yield rig


Case = Callable[[Lab], Awaitable[Outcome]]


def rigged(act: Callable[[Rig], Awaitable[Outcome]], *, at_rest: bool = True) -> Case:
    """Return a case that runs ``act`` in a rig, ends bot and signer, and has the auditor judge.

    ``at_rest``: by then all faults are over and all orders must have ended.
    """

    async def case(lab: Lab) -> Outcome:
        async with lab.rig() as rig:
            outcome = await act(rig)
            for name in ("bot", "signer"):
                if name in rig.running:
                    await rig.end(name, signal.SIGTERM)
            verdicts = await rig.audit(is_at_rest=at_rest)
        return replace(outcome, verdicts=verdicts, gas_lost_wei=rig.gas_lost_wei)

    return case


def tested(*tests: str) -> Case:
    """Return a case that tests of the suite prove; each is a path from tests/, with ``::test_name``."""

    async def case(lab: Lab) -> Outcome:
        started_s = time.monotonic()
        command = [
            sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-m", "",
            f"--hypothesis-seed={lab.seed}", *(f"tests/{name}" for name in tests),
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=os.environ | {"COLUMNS": "120"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            said, _ = await asyncio.wait_for(process.communicate(), _TESTS_WITHIN_S)
        except TimeoutError:
            process.kill()
            return Outcome(wrong=(f"its tests did not end within {_TESTS_WITHIN_S:.0f} s",))
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        took = f"{' '.join(last)} ({time.monotonic() - started_s:.0f} s)"
        if process.returncode == 0 and "passed" in took and "skipped" not in took:
            return Outcome(note=took)
        return Outcome(wrong=(f"its tests: {took}",))

    return case


def both(*cases: Case) -> Case:
    """Return a case that is several, one after the other; what any of them finds is found."""

    async def case(lab: Lab) -> Outcome:
        found = []
        for number, each in enumerate(cases):
            folder = lab.folder / str(number)
            folder.mkdir()
            found.append(await each(replace(lab, folder=folder, part=number)))
        verdicts: dict[str, list[str]] = {}
        for outcome in found:
            for name, texts in outcome.verdicts.items():
                verdicts.setdefault(name, []).extend(texts)
        return Outcome(
            wrong=tuple(text for outcome in found for text in outcome.wrong),
            to_alarm_s=_worst(outcome.to_alarm_s for outcome in found),
            to_recover_polls=_worst(outcome.to_recover_polls for outcome in found),
            note="; ".join(outcome.note for outcome in found if outcome.note),
            verdicts=verdicts,
            gas_lost_wei=sum(outcome.gas_lost_wei for outcome in found),
        )

    return case


def _worst(values: Iterable[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def unless(is_right: object, otherwise: str) -> tuple[str, ...]:
    """Return nothing when something is as it should be, else what is wrong."""
    return () if is_right else (otherwise,)
