"""An auditor who reads only the exchange: whatever goes wrong on the way, the book is what was traded."""

import asyncio
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from derive_server import Fault
from derive_world import PUT, World, derive_world
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Side

ORDER, DRY_RUN = "private/order", "private/order_quote"
_FAULTS: dict[str, Callable[[], tuple[str, Fault] | None]] = {
    "none": lambda: None,
    "cut before": lambda: (ORDER, Fault(before=True, times=1)),
    "cut after": lambda: (ORDER, Fault(after=True, times=1)),
    "internal error": lambda: (ORDER, Fault(error=(-32603, "Internal error"), times=1)),
    "engine timeout": lambda: (ORDER, Fault(error=(9001, "Engine timeout"), times=1)),
    "no liquidity": lambda: (ORDER, Fault(error=(11009, "Zero liquidity"), times=1)),
    "dry run cut": lambda: (DRY_RUN, Fault(before=True, times=4)),
    "history cut": lambda: ("private/get_order_history", Fault(before=True, times=4)),
    "history twice": lambda: (
        "private/get_trade_history",
        Fault(tamper=lambda page: {**page, "trades": page["trades"] * 2}),
    ),
}
_STEP = st.tuples(st.booleans(), st.integers(1, 60), st.sampled_from(sorted(_FAULTS)), st.booleans())


@settings(max_examples=20, deadline=None)
@given(st.lists(_STEP, min_size=1, max_size=6))
def test_nothing_is_lost_or_doubled_whatever_fails(steps: list[tuple[bool, int, str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_audited(Path(folder), steps))


async def _audited(folder: Path, steps: list[tuple[bool, int, str, bool]]) -> None:
    async with derive_world(folder) as world:
        booked, money = Decimal(0), 0.0
        for is_buy, tenths, name, restarts in steps:
            side = Side.BUY if is_buy else Side.SELL
            if (fault := _FAULTS[name]()) is not None:
                world.server.faults[fault[0]] = fault[1]
            leg = world.leg(side, size=tenths / 10, limit_usd=tenths * 5.0 if is_buy else 0.0)
            found = await _to_its_end(world, leg, restarts=restarts)
            sign = 1 if is_buy else -1
            booked += sign * Decimal(str(round(found.filled_size, 12)))
            money += sign * found.premium_usd
            held = world.exchange.positions.get(PUT, [Decimal(0)])[0]
            assert held == booked
            assert float(Decimal(100_000) - world.exchange.cash) == pytest.approx(money, abs=1e-6)
            world.server.faults.clear()
        posts = [body["nonce"] for name, body in world.server.asked if name == ORDER]
        assert len(posts) == len(set(posts))
        assert len(posts) <= len(steps)


async def _to_its_end(world: World, leg: HedgeLeg, *, restarts: bool) -> LegOutcome:
    """Do a leg, then look it up, with or without a restart, until its end is known."""
    found = await world.do(leg)
    for _ in range(6):
        if found.status is not LegStatus.UNKNOWN:
            return found
        if restarts:
            world.restart()
        found = await world.find_out(leg)
        world.exchange.now_s += 40.0
    raise AssertionError(f"the end of {leg.key} is not found: {found.because}")


async def test_a_step_that_is_cancelled_on_its_way_is_found_again(tmp_path: Path) -> None:
    """The run is stopped while the exchange works on the order."""
    async with derive_world(tmp_path) as world:
        acted = asyncio.Event()

        def done(result: Any) -> Any:
            acted.set()
            return result

        world.server.faults[ORDER] = Fault(tamper=done, late_s=0.4)
        leg = world.leg(Side.BUY, limit_usd=60.0)
        task = asyncio.create_task(world.do(leg))
        await asyncio.wait_for(acted.wait(), 5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        world.restart()
        found = await world.find_out(leg)
        assert (found.status, found.filled_size) == (LegStatus.FILLED, 1.0)
        assert world.server.count(ORDER) == 1
