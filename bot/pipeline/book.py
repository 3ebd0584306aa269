"""The book: what the journal says of purchases, joined to what the venues say is held."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.model.hedge import (
    Conversion,
    HedgeLeg,
    HeldHedge,
    Instrument,
    Layer,
    LegOutcome,
    LegStatus,
    Side,
    Spend,
    SpendKind,
)
from bot.model.perpetual import Perpetual
from bot.ports import VenuePosition

SIZE_TOLERANCE = 1e-6  # of a size: float dust is no difference

_DONE = (LegStatus.FILLED, LegStatus.PARTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What one position was bought for, and how much of it is left."""

    instrument: Instrument
    group: str
    layer: Layer
    size: float
    cost_usd: float
    opened_at_s: float
    conversion: Conversion | None = None  # what stands for it (R27)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A pure fold of the closed legs, so that a restart and a replay hold the same book."""

    purchases: Mapping[tuple[str, str], Purchase] = field(default_factory=dict)  # (venue, position id)
    spends: tuple[Spend, ...] = ()
    cash_flow_usd: float = 0.0  # proceeds less everything paid
    pair_block: int = 0  # of the newest leg that was a conversion (R27)

    @property
    def paired(self) -> Mapping[Perpetual, float]:
        """Return the units of each perpetual that conversions hold, signed (R27)."""
        found: dict[Perpetual, float] = {}
        for item in self.purchases.values():
            if item.conversion is not None:
                name = item.conversion.perpetual
                found[name] = found.get(name, 0.0) + item.size * item.conversion.perpetual_size
        return found

    def after(self, outcome: LegOutcome) -> "Book":
        """Return the book with one more closed leg in it."""
        spend = _spend_of(outcome)
        entries = [item for item in (spend, self._set_aside(outcome, spend)) if item.usd != 0.0]
        return Book(
            purchases=_purchases_after(self.purchases, outcome),
            spends=(*self.spends, *entries),
            cash_flow_usd=self.cash_flow_usd - spend.usd,
            pair_block=max(self.pair_block, outcome.block_number if outcome.leg.conversion else 0),
        )

    def _set_aside(self, outcome: LegOutcome, spend: Spend) -> Spend:
        """Return what of a sale's profit goes to RESERVE (R28): so much less comes back to R9's budgets.

        The profit is what came in net of all costs less what the sold part had cost. Nothing of a loss, nor
        of a position that the journal knows no cost of.
        """
        bought = self.purchases.get((outcome.leg.instrument.venue, outcome.position_id))
        sold = outcome.leg.side is Side.SELL and outcome.status in _DONE and bought is not None
        profit_usd = 0.0
        if bought is not None and sold:
            part = min(1.0, outcome.filled_size / bought.size)
            profit_usd = max(0.0, -spend.usd - part * bought.cost_usd)
        return replace(spend, usd=outcome.leg.set_aside * profit_usd, kind=SpendKind.SET_ASIDE)

    def paired_positions(
        self, positions: Iterable[VenuePosition], marks_usd: Mapping[Perpetual, float]
    ) -> list[VenuePosition]:
        """Return positions with the options of pairs shown as what they make (R27).

        The pair is worth its option and what the strike is worth more than the perpetual's mark; NaN where
        nobody marks that.
        """
        pairs = {
            (item.conversion.option.venue, key[1]): item
            for key, item in self.purchases.items()
            if item.conversion is not None
        }
        return [
            _as_pair(item, pairs[key], marks_usd)
            if (key := (item.instrument.venue, item.id)) in pairs
            else item
            for item in positions
        ]

    def with_parts(self, leg: HedgeLeg) -> HedgeLeg:
        """Return a leg with what its position is made of: only the book knows that of one that is held."""
        bought = self.purchases.get((leg.instrument.venue, leg.position_id))
        return replace(leg, conversion=bought.conversion) if bought and leg.side is not Side.BUY else leg

    def hedges(self, positions: Iterable[VenuePosition], *, now_s: float) -> tuple[HeldHedge, ...]:
        """Join venue positions with their purchases.

        A position the journal does not know (bought by hand, or by a lost journal) is never
        dropped: its layer is taken from its days to expiry and its cost is its model value. One that the
        journal knows, that has expired and is no longer listed was settled by somebody: it is still to
        be booked, so it stands here as settleable.
        """
        listed = tuple(positions)
        gone = self._unlisted(listed, lambda bought: bought.instrument.expiry_s <= now_s)
        return (
            *(self._hedge(position, now_s) for position in listed),
            *(_settled_elsewhere(key[1], bought) for key, bought in gone),
        )

    def unexplained(self, positions: Iterable[VenuePosition], *, now_s: float) -> tuple[str, ...]:
        """Return why nothing may be opened: where the journal and the venue disagree on a position (I8).

        The block may be too old, or a position was moved by hand. Buying on would buy it a second time.
        """
        listed = tuple(positions)
        gone = self._unlisted(listed, lambda bought: bought.instrument.expiry_s > now_s)
        sizes = {(item.instrument.venue, item.id): item.size for item in listed}
        differs = [
            (key, bought)
            for key, bought in sorted(self.purchases.items())
            if key in sizes and abs(sizes[key] - bought.size) > SIZE_TOLERANCE * max(1.0, bought.size)
        ]
        return tuple(
            f"position {key[1]} at {key[0]} ({bought.layer}) is {bought.size:g} in the journal and "
            f"{sizes.get(key, 0.0):g} at the venue; nothing is opened until they agree or it has expired"
            for key, bought in (*gone, *differs)
        )

    def _unlisted(
        self, positions: Sequence[VenuePosition], which: Callable[[Purchase], bool]
    ) -> list[tuple[tuple[str, str], Purchase]]:
        listed = {(position.instrument.venue, position.id) for position in positions}
        return [
            (key, bought)
            for key, bought in sorted(self.purchases.items())
            if key not in listed and which(bought)
        ]

    def _hedge(self, position: VenuePosition, now_s: float) -> HeldHedge:
        key = (position.instrument.venue, position.id)
        bought = self.purchases.get(key) or Purchase(
            instrument=position.instrument,
            group="",
            layer=_layer_by_dte(position.instrument.dte(now_s)),
            size=position.size,
            cost_usd=position.model_usd,
            opened_at_s=now_s,
        )
        return HeldHedge(
            id=position.id,
            instrument=position.instrument,
            group=bought.group,
            layer=bought.layer,
            size=position.size,
            cost_usd=bought.cost_usd,
            opened_at_s=bought.opened_at_s,
            iv=position.iv,
            model_usd=position.model_usd,
            liquidation_usd=position.liquidation_usd,
            settleable=position.settleable,
            conversion=bought.conversion,
        )


def book_of(outcomes: Iterable[LegOutcome]) -> Book:
    """Return the book after all closed legs, oldest first."""
    book = Book()
    for outcome in outcomes:
        book = book.after(outcome)
    return book


def reserved(legs: Sequence[HedgeLeg]) -> tuple[Spend, ...]:
    """Return the budget that open purchases hold, at their worst-case cost (R9)."""
    return tuple(
        Spend(
            at_s=float("inf"),  # counts in every window until the leg is closed
            usd=max(leg.limit_usd, leg.reserve_usd),
            kind=SpendKind.RESERVED,
            leg_key=leg.key,
            layer=leg.layer,
            group=leg.group,
        )
        for leg in legs
        if leg.side is Side.BUY
    )


def _spend_of(outcome: LegOutcome) -> Spend:
    costs = outcome.gas_usd + outcome.swap_usd
    is_buy = outcome.leg.side is Side.BUY
    return Spend(
        at_s=outcome.at_s,
        usd=costs + outcome.premium_usd if is_buy else costs - outcome.premium_usd,
        kind=SpendKind.PREMIUM if is_buy else SpendKind.PROCEEDS,
        leg_key=outcome.leg.key,
        layer=outcome.leg.layer,
        group=outcome.leg.group,
    )


def _purchases_after(
    purchases: Mapping[tuple[str, str], Purchase], outcome: LegOutcome
) -> Mapping[tuple[str, str], Purchase]:
    if outcome.status not in _DONE or not outcome.position_id:
        return purchases
    key = (outcome.leg.instrument.venue, outcome.position_id)
    held = purchases.get(key)
    if outcome.leg.side is Side.BUY:
        cost_usd = outcome.premium_usd + outcome.swap_usd + outcome.gas_usd
        bought = Purchase(
            instrument=outcome.leg.instrument,
            group=outcome.leg.group,
            layer=outcome.leg.layer,
            size=outcome.filled_size + (held.size if held else 0.0),
            cost_usd=cost_usd + (held.cost_usd if held else 0.0),
            opened_at_s=held.opened_at_s if held else outcome.at_s,
            conversion=outcome.leg.conversion,
        )
        return {**purchases, key: bought}
    if held is None:
        return purchases
    if held.conversion is not None and not outcome.filled_size:
        return _unpaired(purchases, key, held, outcome)
    left = held.size - outcome.filled_size
    rest = {other: value for other, value in purchases.items() if other != key}
    if left <= 1e-12 * held.size:
        return rest
    return {**rest, key: replace(held, size=left, cost_usd=held.cost_usd * left / held.size)}


def _unpaired(
    purchases: Mapping[tuple[str, str], Purchase],
    key: tuple[str, str],
    held: Purchase,
    outcome: LegOutcome,
) -> Mapping[tuple[str, str], Purchase]:
    """Return the purchases where a pair's perpetual is closed and its option could not be."""
    if held.conversion is None:
        return purchases
    option = held.conversion.option
    alone = replace(
        held,
        instrument=option,
        conversion=None,
        cost_usd=max(held.cost_usd - outcome.premium_usd, 0.0),
    )
    rest = {other: value for other, value in purchases.items() if other != key}
    return {**rest, (option.venue, key[1]): alone}


def _settled_elsewhere(position_id: str, bought: Purchase) -> HeldHedge:
    return HeldHedge(
        id=position_id,
        instrument=bought.instrument,
        group=bought.group,
        layer=bought.layer,
        size=bought.size,
        cost_usd=bought.cost_usd,
        opened_at_s=bought.opened_at_s,
        iv=math.nan,
        model_usd=math.nan,
        liquidation_usd=math.nan,
        settleable=True,
        conversion=bought.conversion,
    )


def _as_pair(
    position: VenuePosition, bought: Purchase, marks_usd: Mapping[Perpetual, float]
) -> VenuePosition:
    parts = bought.conversion
    if parts is None:
        return position
    mark_usd = marks_usd.get(parts.perpetual, math.nan)
    beside_usd = position.size * parts.perpetual_size * (mark_usd - parts.option.strike_usd)
    return replace(
        position,
        instrument=bought.instrument,
        model_usd=position.model_usd + beside_usd,
        liquidation_usd=position.liquidation_usd + beside_usd,
        intrinsic_usd=math.nan,
    )


def _layer_by_dte(dte: float) -> Layer:
    if dte <= 7.0:
        return Layer.NEAR
    return Layer.MID if dte <= 45.0 else Layer.TAIL
