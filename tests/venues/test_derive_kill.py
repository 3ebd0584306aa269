"""A bot that is killed while it buys at Derive: the next one finds out from disk and the exchange (REL-K)."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from derive_child import IDENTITY
from derive_server import Fault
from derive_world import PUT, derive_site, derive_world

from bot.model.hedge import LegStatus
from bot.pipeline.journal import SqlJournal

TESTS = Path(__file__).parents[1]
ORDER = "private/order"


@pytest.mark.parametrize(
    ("method", "point", "traded"),
    [
        ("public/get_time", "asked", 0.0),  # nothing was signed yet
        ("private/order_quote", "asked", 0.0),  # signed and on disk
        (ORDER, "asked and lost", 0.0),  # on its way, and it never arrived
        (ORDER, "asked", 2.0),  # on its way, and it arrived
        (ORDER, "answered", 2.0),  # done, and the answer was lost
    ],
)
async def test_kill_9_loses_and_doubles_nothing(
    tmp_path: Path, method: str, point: str, traded: float
) -> None:
    own, killed = tmp_path / "own", tmp_path / "killed"
    own.mkdir()
    killed.mkdir()
    async with derive_world(own) as world:
        child: list[asyncio.subprocess.Process] = []

        def kill() -> None:
            os.kill(child[0].pid, signal.SIGKILL)

        def killing(result: Any) -> Any:
            kill()
            return result

        lost = point == "asked and lost"
        world.server.faults[method] = (
            Fault(tamper=killing) if point == "answered" else Fault(hook=kill, before=lost, times=1)
        )
        arguments = (str(killed), world.server.url, world.server.ws_url, str(world.exchange.now_s))
        child.append(
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(TESTS / "derive_child.py"),
                *arguments,
                env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
            )
        )
        assert await asyncio.wait_for(child[0].wait(), 60.0) == -signal.SIGKILL
        world.server.faults.clear()
        posts = world.server.count(ORDER)
        with SqlJournal(killed / "journal.db", identity=IDENTITY) as journal:
            async with derive_site(killed, world.exchange, world.server, journal=journal) as again:
                (leg,) = journal.open_legs()
                found = await again.find_out(leg)
                if found.status is LegStatus.UNKNOWN:
                    world.exchange.now_s += 120.0
                    found = await again.find_out(leg)
                assert found.status is (LegStatus.FILLED if traded else LegStatus.REJECTED), found.because
                assert found.filled_size == traded
                assert journal.open_legs() == ()
        assert world.server.count(ORDER) == posts  # looked up, never sent again
        held = world.exchange.positions.get(PUT)
        assert (float(held[0]) if held else 0.0) == traded
