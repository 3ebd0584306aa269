"""The books that paper and simulated venues keep of perpetuals: fills, margin, funding, liquidation; no I/O.

Funding accrues at the rate observed then, held until the next one, on the notional at the mark: a short
receives it where it is positive. It is settled by every fill. One margin bears all of one perpetual, as on a
real venue.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from bot.model.hedge import LegStatus
from bot.model.market import Columns, Metric
from bot.model.perpetual import (
    Perpetual,
    PerpetualAction,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
)
from bot.model.perpetual_outcome import PerpetualOutcome, refused
from bot.model.units import DAY_S, YEAR_S

_DONE = (LegStatus.FILLED, LegStatus.PARTIAL)
_DUST = 1e-9
FUNDING_STANDS_S = DAY_S  # a rate that is older says nothing: no funding is reckoned for that time


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginTerms:
    """What a venue asks of an account. Fractions of notional."""

    cost: float  # fee, half the spread and impact of one trade
    initial_margin: float
    maintenance_margin: float
    penalty: float  # that a liquidation costs
    gas_usd: float  # of one order


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedPerpetual:
    """One net position."""

    perpetual: Perpetual
    size: float
    entry_usd: float
    margin_usd: float  # collateral, realised gains, fees and funding in it
    settled_s: float  # funding is paid up to then

    def value_usd(self, mark_usd: float, funding_usd: float) -> float:
        """Return what the account is worth."""
        return self.margin_usd + self.size * (mark_usd - self.entry_usd) + funding_usd

    def liquidation_usd(self, terms: MarginTerms, funding_usd: float) -> float:
        """Return the mark at which its value is its maintenance margin; 0 where no fall reaches it."""
        own = self.margin_usd + funding_usd - self.size * self.entry_usd
        return max(own / (abs(self.size) * terms.maintenance_margin - self.size), 0.0)


@dataclass(slots=True, kw_only=True)
class BookedPerpetuals:
    """Positions by perpetual, made by the outcomes of a journal and of this book alike."""

    words: str  # what its outcomes say of themselves: "paper"
    indicative: bool = False
    _open: dict[Perpetual, BookedPerpetual] = field(default_factory=dict, init=False)

    def replay(self, outcomes: Iterable[PerpetualOutcome]) -> None:
        for outcome in outcomes:
            self._take(outcome)

    def get(self, perpetual: Perpetual) -> BookedPerpetual | None:
        return self._open.get(perpetual)

    def drop(self, perpetual: Perpetual) -> None:
        """Forget a position that ended without an order."""
        self._open.pop(perpetual, None)

    def all(self) -> tuple[BookedPerpetual, ...]:
        return tuple(self._open[key] for key in sorted(self._open))

    def position(
        self, item: BookedPerpetual, *, mark_usd: float, funding_usd: float, terms: MarginTerms
    ) -> PerpetualPosition:
        return PerpetualPosition(
            id=item.perpetual.id,
            perpetual=item.perpetual,
            size=item.size,
            entry_usd=item.entry_usd,
            mark_usd=mark_usd,
            margin_usd=item.margin_usd,
            liquidation_usd=item.liquidation_usd(terms, funding_usd),
            funding_usd=funding_usd,
        )

    def fill(
        self,
        order: PerpetualOrder,
        *,
        mark_usd: float,
        funding_usd: float,
        terms: MarginTerms,
        now_s: float,
        block_number: int = 0,
    ) -> PerpetualOutcome:
        """Do an order at the mark, its cost booked as fee; or say why a real venue would not."""
        held = self._open.get(order.perpetual)
        why = _refusal(order, held, mark_usd=mark_usd, terms=terms, now_s=now_s)
        if why or (order.action is PerpetualAction.OPEN and math.isnan(funding_usd)):
            return refused(order, at_s=now_s, because=f"{self.words}: {why or 'funding is unknown'}")
        outcome = PerpetualOutcome(
            order=order,
            status=LegStatus.FILLED,
            at_s=now_s,
            filled_size=_size(order, held),
            price_usd=mark_usd if order.size else 0.0,
            fee_usd=abs(_size(order, held)) * mark_usd * terms.cost,
            funding_usd=funding_usd
            if held is not None and order.size and math.isfinite(funding_usd)
            else 0.0,
            gas_usd=terms.gas_usd,
            margin_usd=order.margin_usd,
            position_id=order.perpetual.id,
            block_number=block_number,
            because=f"{self.words}: filled at the quote",
            indicative=self.indicative,
        )
        outcome = self._released(outcome, held, terms=terms, mark_usd=mark_usd)
        short = _unborne(order, _after(held, outcome), mark_usd=mark_usd, terms=terms)
        if short:
            return refused(order, at_s=now_s, because=f"{self.words}: {short}")
        self._take(outcome)
        return outcome

    def ended(
        self, item: BookedPerpetual, *, mark_usd: float, funding_usd: float, terms: MarginTerms
    ) -> PerpetualEnd | None:
        """Return the liquidation of a position whose value is under its maintenance margin, None above it.

        What the margin does not bear is the venue's loss: the account never loses more than it has there.
        """
        value_usd = item.value_usd(mark_usd, funding_usd)
        notional_usd = abs(item.size) * mark_usd
        if not value_usd < terms.maintenance_margin * notional_usd:
            return None
        price_usd = mark_usd
        if value_usd < 0.0:  # the price jumped past what the margin bore: it is closed where that ended
            price_usd = item.entry_usd - (item.margin_usd + funding_usd) / item.size
        return PerpetualEnd(
            size=item.size,
            price_usd=price_usd,
            fee_usd=min(terms.penalty * notional_usd, max(value_usd, 0.0)),
            funding_usd=funding_usd,
            because=f"{self.words}: liquidated at {price_usd:,.2f} USD",
        )

    def _released(
        self, outcome: PerpetualOutcome, held: BookedPerpetual | None, *, terms: MarginTerms, mark_usd: float
    ) -> PerpetualOutcome:
        """Take out margin after a reduction: all when nothing is left, else what the order releases."""
        if not outcome.order.reduce_only or held is None:
            return outcome
        after = _after(held, outcome)
        if abs(after.size) <= _DUST * abs(held.size):
            return replace(outcome, margin_usd=-max(after.margin_usd, 0.0))
        need_usd = abs(after.size) * mark_usd * terms.initial_margin
        free_usd = max(min(after.value_usd(mark_usd, 0.0), after.margin_usd) - need_usd, 0.0)
        return replace(outcome, margin_usd=-min(outcome.order.release_usd, free_usd))

    def _take(self, outcome: PerpetualOutcome) -> None:
        if outcome.status not in _DONE:
            return
        perpetual = outcome.order.perpetual
        held = self._open.pop(perpetual, None)
        after = _after(held, outcome)
        if abs(after.size) > _DUST:
            self._open[perpetual] = after


def accrued_usd(columns: Columns, item: BookedPerpetual, *, mark_usd: float, now_s: float) -> float:
    """Return the funding a position received since it was last settled, negative where it paid.

    Each observed rate holds until the next, for a day at most; a position without any rate accrues nothing.
    """
    keys = columns.find(Metric.FUNDING_APR, item.perpetual.underlying)
    if not keys or now_s <= item.settled_s:
        return 0.0
    column = columns[keys[0]].until(now_s).since(item.settled_s - FUNDING_STANDS_S)
    known = np.isfinite(column.values)
    times_s, rates = column.times_s[known], column.values[known]
    if not times_s.size:
        return 0.0
    begins_s = np.maximum(times_s, item.settled_s)
    ends_s = np.minimum(np.append(times_s[1:], now_s), times_s + FUNDING_STANDS_S)
    years = np.maximum(ends_s - begins_s, 0.0) / YEAR_S
    return float(-item.size * mark_usd * np.sum(rates * years))


def funding_apr(columns: Columns, underlying: str, *, now_s: float) -> float:
    """Return the newest funding rate, a year; NaN where none stands."""
    keys = columns.find(Metric.FUNDING_APR, underlying)
    if not keys:
        return math.nan
    value, at_s = columns.latest(Metric.FUNDING_APR, underlying)
    return value if now_s - at_s <= FUNDING_STANDS_S else math.nan


def _size(order: PerpetualOrder, held: BookedPerpetual | None) -> float:
    """Return what is traded: a reduction ends at nothing, without float dust."""
    if order.reduce_only and held is not None and abs(order.size + held.size) <= _DUST * abs(held.size):
        return -held.size
    return order.size


def _after(held: BookedPerpetual | None, outcome: PerpetualOutcome) -> BookedPerpetual:
    """Return the position after an outcome; its size may be 0."""
    size, price_usd = outcome.filled_size, outcome.price_usd
    moved_usd = outcome.margin_usd - outcome.fee_usd + outcome.funding_usd
    if held is None:
        return BookedPerpetual(
            perpetual=outcome.order.perpetual,
            size=size,
            entry_usd=price_usd,
            margin_usd=moved_usd,
            settled_s=outcome.at_s,
        )
    settled_s = outcome.at_s if size else held.settled_s
    margin_usd, after = held.margin_usd + moved_usd, held.size + size
    if held.size * size >= 0.0:
        entry_usd = (held.size * held.entry_usd + size * price_usd) / after
        return replace(held, size=after, entry_usd=entry_usd, margin_usd=margin_usd, settled_s=settled_s)
    closed = math.copysign(min(abs(size), abs(held.size)), held.size)
    margin_usd += closed * (price_usd - held.entry_usd)
    turned = after * held.size < 0.0
    return replace(
        held,
        size=0.0 if abs(after) <= _DUST * abs(held.size) else after,
        entry_usd=price_usd if turned else held.entry_usd,
        margin_usd=margin_usd,
        settled_s=settled_s,
    )


def _unborne(order: PerpetualOrder, after: BookedPerpetual, *, mark_usd: float, terms: MarginTerms) -> str:
    """Return why the margin would not bear an opening, "" where it does."""
    need_usd = abs(after.size) * mark_usd * terms.initial_margin
    if order.action is not PerpetualAction.OPEN or after.value_usd(mark_usd, 0.0) >= need_usd:
        return ""
    return f"a margin of {after.margin_usd:,.2f} USD does not bear {abs(after.size):,.4g} units"


def _refusal(
    order: PerpetualOrder,
    held: BookedPerpetual | None,
    *,
    mark_usd: float,
    terms: MarginTerms,
    now_s: float,
) -> str:
    """Return why a real venue would not do an order, "" when it would."""
    if now_s > order.valid_until_s:
        return f"the order was valid until {order.valid_until_s:.0f}, it is {now_s:.0f}"
    if not 0.0 < mark_usd < math.inf:
        return "the price is unknown"
    size = held.size if held else 0.0
    if order.action is PerpetualAction.ADD_MARGIN:
        return "" if size and order.margin_usd > 0.0 else "there is nothing to add margin to"
    sign = math.copysign(1.0, order.size)
    net_usd = mark_usd * (1.0 + sign * terms.cost)
    if not sign * net_usd <= sign * order.limit_usd:  # NaN too
        return f"the price is {net_usd:,.2f} USD, fees included, the order's limit {order.limit_usd:,.2f}"
    if order.reduce_only and (size * order.size >= 0.0 or abs(order.size) > abs(size) * (1.0 + _DUST)):
        return f"{size:+g} are held: {order.size:+g} would not reduce them"
    if not order.reduce_only and size * order.size < 0.0:
        return f"{size:+g} are held: an order to open {order.size:+g} would close them"
    return ""
