"""A pair over the real transaction manager, signer and journal: it survives the process (R27, REL-K)."""

from dataclasses import replace
from pathlib import Path

import pytest

from bot.model.hedge import HedgeLeg, LegStatus, Side

from .mortal import Killed, MortalAccount
from .test_paired import SIZE, Pair, pair

pytestmark = pytest.mark.devnet
POINTS = [
    ("approve-perpetual-margin", True),
    ("perpetual-deposit", True),
    ("perpetual-trade", True),
    ("swap-in", True),
    ("open", False),
    ("open", True),
]


class Process(MortalAccount):
    """One run of the program with a pair."""

    def __init__(self, found: Pair, path: Path, die_at: tuple[str, bool] | None = None) -> None:
        super().__init__(found.lyra.rpc, path, found.venue, die_at)
        self.venue = found.over(self)

    async def run(self, leg: HedgeLeg, found: Pair):
        """What the loop does with a leg."""
        self.journal.open_leg(leg, at_s=(await found.view()).now_s)
        outcome = await self.venue.execute(leg, view=await found.view())
        self.journal.close_leg(outcome)
        return outcome


async def in_time(found: Pair, **changes) -> HedgeLeg:
    return await found.leg(valid_until_s=(await found.view()).now_s + 600.0, **changes)


async def test_both_parts_under_the_signers_rules(pair: Pair, tmp_path: Path):
    process = Process(pair, tmp_path / "journal.db")
    leg = await in_time(pair)
    bought = await process.run(leg, pair)
    assert bought.status is LegStatus.FILLED, bought.because
    assert await pair.parts() == (SIZE, -SIZE)
    sale = replace(leg, key="plan/1", side=Side.SELL, limit_usd=0.0, position_id=bought.position_id)
    sold = await process.run(sale, pair)
    assert sold.status is LegStatus.FILLED, sold.because
    assert await pair.parts() == (0.0, 0.0)
    assert await pair.clean()
    process.journal.verify()
    process.journal.close()


@pytest.mark.parametrize(("purpose", "after"), POINTS)
async def test_killed_within_a_pair_the_next_run_ends_with_both_or_none(
    pair: Pair,
    tmp_path: Path,
    purpose: str,
    after: bool,
):
    first = Process(pair, tmp_path / "journal.db", (purpose, after))
    with pytest.raises(Killed):
        await first.run(await in_time(pair), pair)
    first.journal.close()
    second = Process(pair, tmp_path / "journal.db")
    (leg,) = second.journal.open_legs()
    outcome = await second.venue.reconcile(leg, view=await pair.view())
    whole = (purpose, after) == ("open", True)
    assert outcome.status is (LegStatus.FILLED if whole else LegStatus.REJECTED), outcome.because
    second.journal.close_leg(outcome)
    assert second.journal.open_legs() == ()
    assert await pair.parts() == ((SIZE, -SIZE) if whole else (0.0, 0.0))
    assert await pair.clean()
    second.journal.verify()
    second.journal.close()


__all__ = ["pair"]
