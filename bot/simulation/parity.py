"""What fills cost beside what a fill offline would have cost, order by order (R25).

Offline an order fills at the quote or the mark that it was decided on, as on paper and in the backtest. A
live run, or the demo on its chain, filled it some blocks later at what the contracts asked. Where decisions
and marks are the same, the money of the two runs differs by this and by nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bot.model.hedge import HedgeLeg, LegOutcome, Side
from bot.model.market import Frame
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.units import iso_utc
from bot.pipeline.loop import Step


class Money(NamedTuple):
    """What an order did to the account, USD: received > 0, paid < 0."""

    price_usd: float  # premium, proceeds or payoff; of a perpetual, its price off the mark
    fee_usd: float
    swap_usd: float
    gas_usd: float

    @property
    def total_usd(self) -> float:
        return math.fsum(self)

    def times(self, factor: float) -> "Money":
        """Return the same for another size; gas is per order and stays."""
        return Money(self.price_usd * factor, self.fee_usd * factor, self.swap_usd * factor, self.gas_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedFill:
    """One order as it was filled, and as it would have been offline."""

    key: str
    at_s: float
    what: str  # "buy 5.8 strike:88"
    filled: Money
    offline: Money | None  # None: nothing was quoted or marked when it was decided, or a person asked for it

    @property
    def difference(self) -> Money | None:
        """Return filled less offline."""
        if self.offline is None:
            return None
        return Money(*(a - b for a, b in zip(self.filled, self.offline, strict=True)))


@dataclass(slots=True)
class Parity:
    """Goes along a replay and sets each fill beside its offline price."""

    fills: list[PairedFill] = field(default_factory=list)
    _planned: dict[str, tuple[float, Money]] = field(default_factory=dict)  # size and money of open orders

    def see(self, step: Step) -> None:
        """Take in one step: what it plans, and what was filled in it of this or an earlier plan."""
        for leg in step.decision.plan.legs:
            money = _offline(leg, step.frame)
            if money is not None:
                self._planned[leg.key] = (leg.size, money)
        for order in step.decision.perpetuals:
            if math.isfinite(order.expected_usd):
                self._planned[order.key] = (abs(order.size), Money(0.0, -order.expected_usd, 0.0, 0.0))
        self.fills += [self._option(item) for item in step.record.outcomes if item.filled_size > 0.0]
        marks = {item.perpetual: item.mark_usd for item in step.frame.perpetual_quotes}
        self.fills += [
            self._perpetual(item, marks.get(item.order.perpetual, math.nan))
            for item in step.record.perpetuals
            if item.filled_size
        ]

    def _option(self, outcome: LegOutcome) -> PairedFill:
        leg = outcome.leg
        sign = -1.0 if leg.side is Side.BUY else 1.0
        # A mark is net of fees: what a sale or a settlement brings is set beside it as one sum.
        fee_usd = outcome.fee_usd if leg.side is Side.BUY else 0.0
        filled = Money(sign * (outcome.premium_usd - fee_usd), -fee_usd, -outcome.swap_usd, -outcome.gas_usd)
        return PairedFill(
            key=leg.key,
            at_s=outcome.at_s,
            what=f"{leg.side} {outcome.filled_size:g} {leg.instrument.id}",
            filled=filled,
            offline=self._at(leg.key, outcome.filled_size),
        )

    def _perpetual(self, outcome: PerpetualOutcome, mark_usd: float) -> PairedFill:
        size = outcome.filled_size
        lost_usd = size * (outcome.price_usd - mark_usd)
        return PairedFill(
            key=outcome.order.key,
            at_s=outcome.at_s,
            what=f"{outcome.order.action} {size:g} {outcome.order.perpetual.id}",
            filled=Money(-(lost_usd + outcome.fee_usd + outcome.gas_usd), 0.0, 0.0, 0.0),
            offline=self._at(outcome.order.key, abs(size)) if math.isfinite(mark_usd) else None,
        )

    def _at(self, key: str, size: float) -> Money | None:
        """Return the offline money of so much of an order; None where it had no price when it was planned."""
        if key not in self._planned:
            return None
        planned, money = self._planned[key]
        return money.times(size / planned) if planned > 0.0 else money


def sums(fills: Sequence[PairedFill]) -> tuple[Money, Money]:
    """Return (filled, offline) over the orders that have both."""
    both = [(item.filled, item.offline) for item in fills if item.offline is not None]
    filled, offline = ([pair[side] for pair in both] for side in (0, 1))
    return _sum(filled), _sum(offline)


def _sum(items: Sequence[Money | None]) -> Money:
    rows = [item for item in items if item is not None]
    return Money(*(math.fsum(row[part] for row in rows) for part in range(len(Money._fields))))


def _offline(leg: HedgeLeg, frame: Frame) -> Money | None:
    """Return the money of an option order at what the frame shows of it; None where that is nothing."""
    if leg.side is not Side.BUY:
        held = next((item for item in frame.held if item.id == leg.position_id), None)
        if held is None or not math.isfinite(held.liquidation_usd):
            return None
        return Money(held.liquidation_usd * leg.size / held.size, 0.0, 0.0, 0.0)
    quote = next((item for item in frame.quotes if item.instrument.is_that(leg.instrument)), None)
    if quote is None:
        return None
    factor = leg.size / quote.size
    return Money(
        (quote.fee_usd - quote.premium_usd) * factor,
        -quote.fee_usd * factor,
        -quote.swap_usd * factor / 2.0,  # the way in; the way back is booked when it is sold
        -quote.gas_usd,
    )


def parity_document(fills: Sequence[PairedFill]) -> dict[str, object]:
    """Return every fill and the sums as plain values; null where no offline price is known."""
    filled, offline = sums(fills)
    return {
        "filled": filled._asdict() | {"total_usd": filled.total_usd},
        "offline": offline._asdict() | {"total_usd": offline.total_usd},
        "without_offline_price": sum(item.offline is None for item in fills),
        "orders": [
            {
                "key": item.key,
                "at": iso_utc(item.at_s),
                "what": item.what,
                "filled": item.filled._asdict(),
                "offline": item.offline._asdict() if item.offline else None,
            }
            for item in fills
        ],
    }
