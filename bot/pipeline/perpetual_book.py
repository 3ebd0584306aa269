"""The book of perpetuals: whose each part of a venue's net position is, and what the orders brought (R27).

A venue nets all that an account trades in one market into one position under one margin. The journal says for
which group each unit was opened and at which price; margin, mark and price of liquidation are the venue's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.model.hedge import Layer, LegStatus, Spend, SpendKind
from bot.model.perpetual import HeldPerpetual, Perpetual, PerpetualOrder, PerpetualPosition
from bot.model.perpetual_outcome import PerpetualOutcome

_DONE = (LegStatus.FILLED, LegStatus.PARTIAL)
_DUST = 1e-9  # of a position
_DIFFERS = 1e-6  # of a position: a larger difference to the venue's is none of rounding
Place = tuple[Perpetual, str]  # and the group


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one group has of one perpetual."""

    size: float  # signed
    entry_usd: float
    opened_at_s: float
    funding_usd: float = 0.0  # settled since it was opened; received, negative paid


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualBook:
    """A pure fold of closed orders. Margin is moved, not spent, and is in no sum of money."""

    holdings: Mapping[Place, Holding] = field(default_factory=dict)
    spends: tuple[Spend, ...] = ()
    cash_flow_usd: float = 0.0  # gains and funding that were realised, less fees and gas
    blocks: Mapping[Perpetual, int] = field(default_factory=dict)  # of the newest order of each

    def size_of(self, perpetual: Perpetual) -> float:
        """Return what all groups have of one perpetual, signed."""
        return math.fsum(item.size for (key, _), item in self.holdings.items() if key == perpetual)

    def after(self, outcome: PerpetualOutcome) -> "PerpetualBook":
        """Return the book with one more closed order in it."""
        order = outcome.order
        costs_usd = outcome.fee_usd + outcome.gas_usd
        spend = Spend(
            at_s=outcome.at_s,
            usd=costs_usd,
            kind=SpendKind.PREMIUM,
            leg_key=order.key,
            layer=Layer.NEAR,
            group=order.group,
        )
        place = (order.perpetual, order.group)
        holdings = self._funded(order.perpetual, outcome.funding_usd)
        gained_usd = 0.0
        if outcome.status in _DONE and outcome.filled_size:
            filled, gained_usd = _filled(holdings.get(place), outcome)
            holdings = {key: item for key, item in holdings.items() if key != place}
            if filled is not None:
                holdings[place] = filled
        return PerpetualBook(
            holdings=holdings,
            spends=(*self.spends, *([spend] if costs_usd else [])),
            cash_flow_usd=self.cash_flow_usd + gained_usd + outcome.funding_usd - costs_usd,
            blocks={
                **self.blocks,
                order.perpetual: max(self.blocks.get(order.perpetual, 0), outcome.block_number),
            },
        )

    def _funded(self, perpetual: Perpetual, funding_usd: float) -> dict[Place, Holding]:
        """Share settled funding among the groups that hold the perpetual, by size."""
        mine = {key: item for key, item in self.holdings.items() if key[0] == perpetual}
        total = math.fsum(abs(item.size) for item in mine.values())
        shared = {
            key: replace(item, funding_usd=item.funding_usd + funding_usd * abs(item.size) / total)
            for key, item in mine.items()
            if funding_usd and total
        }
        return {**self.holdings, **shared}

    def held(
        self, positions: Iterable[PerpetualPosition], *, paired: Mapping[Perpetual, float] | None = None
    ) -> tuple[HeldPerpetual, ...]:
        """Join the venues' positions with what the journal knows of them.

        ``paired`` is what conversions hold of each. Where the venue has less than the journal says, each
        group's part shrinks with it.
        """
        found = []
        for position in positions:
            mine = {key: item for key, item in self.holdings.items() if key[0] == position.perpetual}
            beside = (paired or {}).get(position.perpetual, 0.0)
            expected = math.fsum(item.size for item in mine.values()) + beside
            factor = position.size / expected if expected else 0.0
            factor = min(max(factor, 0.0), 1.0) if abs(factor - 1.0) > _DIFFERS else 1.0
            total = math.fsum(abs(item.size) for item in mine.values()) + abs(beside)
            found += [
                _held(position, key[1], item, factor=factor, part=abs(item.size) / total)
                for key, item in sorted(mine.items())
                if factor
            ]
        return tuple(found)

    def open_value_usd(self, held: Sequence[HeldPerpetual]) -> float:
        """Return what closing ``held`` at the marks would gain; settled funding is in the cash flow."""
        settled = {
            (item.perpetual, item.group): self.holdings[(item.perpetual, item.group)].funding_usd
            for item in held
        }
        return math.fsum(item.unrealised_usd - settled[(item.perpetual, item.group)] for item in held)

    def unexplained(
        self, positions: Sequence[PerpetualPosition], *, paired: Mapping[Perpetual, float] | None = None
    ) -> tuple[str, ...]:
        """Return why nothing may be opened: where journal and venue disagree on a position (REL-I8).

        It was liquidated, traded by hand, or the block is too old.
        """
        expected = dict(paired or {})
        for (perpetual, _), item in self.holdings.items():
            expected[perpetual] = expected.get(perpetual, 0.0) + item.size
        listed = {item.perpetual: item.size for item in positions}
        return tuple(
            f"perpetual {name.id} at {name.venue} is {expected.get(name, 0.0):+g} in the journal and "
            f"{listed.get(name, 0.0):+g} at the venue; nothing is opened until they agree"
            for name in sorted(expected.keys() | listed.keys())
            if abs(expected.get(name, 0.0) - listed.get(name, 0.0))
            > _DIFFERS * max(1.0, abs(expected.get(name, 0.0)))
        )


def perpetual_book_of(outcomes: Iterable[PerpetualOutcome]) -> PerpetualBook:
    """Return the book after all closed orders, oldest first."""
    book = PerpetualBook()
    for outcome in outcomes:
        book = book.after(outcome)
    return book


def reserved_perpetuals(orders: Sequence[PerpetualOrder]) -> tuple[Spend, ...]:
    """Return the budget that open orders hold: what they are expected to cost (R9)."""
    return tuple(
        Spend(
            at_s=math.inf,
            usd=order.expected_usd if math.isfinite(order.expected_usd) else 0.0,
            kind=SpendKind.RESERVED,
            leg_key=order.key,
            layer=Layer.NEAR,
            group=order.group,
        )
        for order in orders
    )


def _filled(held: Holding | None, outcome: PerpetualOutcome) -> tuple[Holding | None, float]:
    """Return what is held after a trade, None where nothing is left, and what was gained by it."""
    size, price_usd = outcome.filled_size, outcome.price_usd
    if held is None:
        return Holding(size=size, entry_usd=price_usd, opened_at_s=outcome.at_s), 0.0
    after = held.size + size
    if held.size * size > 0.0:
        entry_usd = (held.size * held.entry_usd + size * price_usd) / after
        return replace(held, size=after, entry_usd=entry_usd), 0.0
    closed = math.copysign(min(abs(size), abs(held.size)), held.size)
    gained_usd = closed * (price_usd - held.entry_usd)
    if abs(after) <= _DUST * max(abs(held.size), 1.0):
        return None, gained_usd
    if after * held.size > 0.0:
        return replace(held, size=after, funding_usd=held.funding_usd * after / held.size), gained_usd
    return Holding(size=after, entry_usd=price_usd, opened_at_s=outcome.at_s), gained_usd


def _held(
    position: PerpetualPosition, group: str, item: Holding, *, factor: float, part: float
) -> HeldPerpetual:
    """``factor``: how much of the holding is still there; ``part``: its share of the position's margin."""
    return HeldPerpetual(
        id=position.id,
        perpetual=position.perpetual,
        group=group,
        size=item.size * factor,
        entry_usd=item.entry_usd,
        mark_usd=position.mark_usd,
        margin_usd=position.margin_usd * part,
        liquidation_usd=position.liquidation_usd,
        opened_at_s=item.opened_at_s,
        funding_usd=item.funding_usd + position.funding_usd * part,
    )
