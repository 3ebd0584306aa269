"""The first page: is it protected, what changed, what it costs, what comes next, can this view be trusted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bot.dashboard.past import Change
from bot.dashboard.shown import duration, signal_name
from bot.dashboard.snapshot import Place, Snapshot
from bot.model.base_layers import Proposal
from bot.model.hedge import HeldHedge, Layer, LegOutcome, Side
from bot.model.record import StepRecord
from bot.model.tier import Quality
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.perpetual_book import perpetual_book_of
from bot.simulation.report.beside_orders import beside_orders
from bot.simulation.report.decided import LayerView, layers_of
from bot.simulation.report.money import FILLED, Money, money_of, perpetual_money_of
from bot.simulation.wording import budget_names, usd

SIGNALS_SHOWN = 4  # of those that warm: they must not crowd out expiries
CHANGES_SHOWN = 12
_SOON_S = 3.0 * DAY_S
_URGENT_S = HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One layer: parts of its bar in percent of its width, which sum to at most 100."""

    group: str
    layer: Layer
    held: float
    excess: float  # held and no longer wanted
    short: float  # wanted, not held
    numbers: str
    because: str
    reason: str  # of the shortfall, "" without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One cap of R9. USD."""

    words: str
    cap_usd: float
    used_usd: float

    @property
    def left_usd(self) -> float:
        return max(self.cap_usd - self.used_usd, 0.0)

    @property
    def used_share(self) -> float:
        """In percent of the cap, at most 100."""
        return min(100.0, 100.0 * self.used_usd / self.cap_usd) if self.cap_usd > 0.0 else 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """Something with a date. ``urgency``: "now", "soon" or ""."""

    at_s: float
    what: str
    words: str
    urgency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRow:
    """How far the view of one chain goes."""

    chain_id: int
    block: int
    at_s: float  # of the block, NaN unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What the book is worth and what hedging cost, before the last step's own orders. USD."""

    position_usd: float
    hedges_usd: float
    paid_usd: float  # net of what came back: marks are in ``hedges_usd``
    just_now_usd: float  # paid in the last step itself
    carry_usd: float  # net cost a year at the pace so far, NaN while the record is short
    money: Money
    indicative: bool


def bars(record: StepRecord) -> list[Bar]:
    """Return each layer of each group, held against wanted."""
    return [_bar(group.group, view) for group in record.decision.groups for view in layers_of((group,))]


def _bar(group: str, item: LayerView) -> Bar:
    whole = max(item.wanted_contracts, item.held_contracts, 1e-12)
    short = max(item.wanted_contracts - item.held_contracts, 0.0) if item.shortfall else 0.0
    if not item.wanted_contracts and not item.held_contracts:
        numbers = "nothing wanted, nothing held"
    else:
        numbers = f"{item.held_contracts:,.2f} of {item.wanted_contracts:,.2f} contracts"
    return Bar(
        group=group,
        layer=item.layer,
        held=100.0 * min(item.held_contracts, item.wanted_contracts) / whole,
        excess=100.0 * max(item.held_contracts - item.wanted_contracts, 0.0) / whole,
        short=100.0 * short / whole,
        numbers=numbers,
        because=item.because,
        reason=item.shortfall,
    )


def budgets(record: StepRecord) -> list[Budget]:
    limits = record.decision.limits
    return [
        Budget(words=words, cap_usd=limits[cap], used_usd=limits[used])
        for words, cap, used in budget_names(limits)
    ]


def worth(seen: Snapshot, record: StepRecord) -> Worth:
    """Return the sums of the first page."""
    own = {leg.key for leg in record.decision.plan.legs}
    orders = seen.orders
    perpetual = perpetual_money_of(orders.perpetual_outcomes, open_usd=record.perpetual_value_usd)
    beside = beside_orders(orders.account_outcomes, orders.cover_outcomes)
    options_usd = record.hedge_value_usd - record.perpetual_value_usd
    return Worth(
        position_usd=sum(record.exposure_value_usd.values()),
        hedges_usd=record.hedge_value_usd,
        paid_usd=-record.cash_flow_usd,
        just_now_usd=math.fsum(_paid_usd(item) for item in record.outcomes if item.leg.key in own),
        carry_usd=_carry_usd(seen, record),
        money=money_of(orders.outcomes, beside, mark_usd=options_usd, perpetual=perpetual),
        indicative=record.indicative,
    )


def _paid_usd(item: LegOutcome) -> float:
    """Return what an order took from the account, swap and gas included; negative where it brought money."""
    sign = 1.0 if item.leg.side is Side.BUY else -1.0
    return sign * item.premium_usd + item.swap_usd + item.gas_usd


def _carry_usd(seen: Snapshot, record: StepRecord) -> float:
    """Return what hedging lost net so far as of a year; a week of record is the least that says anything."""
    began_s = min((item.at_s for item in seen.orders.outcomes if item.status in FILLED), default=math.nan)
    days = (record.decision.now_s - began_s) / DAY_S
    if not days >= 7.0:
        return math.nan
    return -(record.cash_flow_usd + record.hedge_value_usd) * 365.0 / days


def changes(seen: Snapshot, since_s: float) -> tuple[list[Change], int]:
    """Return the newest changes, newest first, and how many of all are later than ``since_s``."""
    newest = sorted(seen.past.changes, key=lambda item: item.at_s, reverse=True)
    return newest[:CHANGES_SHOWN], sum(item.at_s > since_s for item in newest)


def coming(seen: Snapshot, record: StepRecord) -> list[Coming]:
    """Return what has a date, the nearest first; of the signals that warm only the next few."""
    now_s = record.decision.now_s
    dates = (*_expiries(seen.held, now_s), *_dates(seen, record), *_waits(record))
    signals = sorted(_warming(seen, record), key=lambda item: item.at_s)[:SIGNALS_SHOWN]
    return sorted((*dates, *signals), key=lambda item: item.at_s)


def _expiries(held: tuple[HeldHedge, ...], now_s: float) -> Iterator[Coming]:
    for item in held:
        option = item.instrument
        if item.settleable or option.expiry_s <= now_s:
            words = f"{item.size:,.2f} {option.label}: expired, its payoff is to be collected"
            yield Coming(at_s=option.expiry_s, what=item.layer.value, words=words, urgency="now")
            continue
        words = f"{item.size:,.2f} {option.label} expires in {duration(option.expiry_s - now_s)}"
        yield Coming(
            at_s=option.expiry_s, what=item.layer.value, words=words, urgency=_urgency(option.expiry_s, now_s)
        )


def _dates(seen: Snapshot, record: StepRecord) -> Iterator[Coming]:
    now_s = record.decision.now_s
    said = (seen.full or record).decision
    for item in said.proposals:
        if math.isfinite(item.due_s):
            words = f"{item.action} {item.subject}, see the proposals"
            urgency = _urgency(item.due_s, now_s)
            yield Coming(at_s=item.due_s, what=f"Proposal {item.rule}", words=words, urgency=urgency)


def _warming(seen: Snapshot, record: StepRecord) -> Iterator[Coming]:
    warming: dict[str, float] = {}
    for reading in (seen.full or record).decision.readings:
        if reading.quality is Quality.WARMING and math.isfinite(reading.warm_at_s):
            name = f"{reading.signal} {signal_name(reading.name)}"
            warming[name] = max(warming.get(name, 0.0), reading.warm_at_s)
    for name, at_s in warming.items():
        yield Coming(at_s=at_s, what="Signal", words=f"{name} has history enough to vote", urgency="")


def proposals(seen: Snapshot) -> tuple[Proposal, ...]:
    """Return what the base layers want done, the most urgent first; it waits for a person."""
    return seen.full.decision.proposals if seen.full is not None else ()


def _waits(record: StepRecord) -> Iterator[Coming]:
    for group in record.decision.groups:
        for item in group.shortfalls:
            if math.isfinite(item.frees_at_s):
                words = f"{group.group}: {item.layer.value} may be bought again, {item.cap or item.reason}"
                yield Coming(at_s=item.frees_at_s, what="Budget", words=words, urgency="")
    for leg in record.decision.plan.legs:
        if leg.side is Side.BUY and leg.valid_until_s > record.decision.now_s:
            words = f"order for {leg.size:,.2f} {leg.instrument.label}, at most {usd(leg.limit_usd)}"
            yield Coming(at_s=leg.valid_until_s, what="Valid until", words=words, urgency="")


def _urgency(at_s: float, now_s: float) -> str:
    if at_s - now_s <= _URGENT_S:
        return "now"
    return "soon" if at_s - now_s <= _SOON_S else ""


def chains(place: Place, seen: Snapshot, record: StepRecord) -> list[ChainRow]:
    """Return how far each chain was seen by the last decision."""
    rows = []
    for chain_id in place.chain_ids:
        block = record.decision.blocks.get(chain_id, 0)
        head = seen.heads.get(chain_id)
        is_it = head is not None and head.number == block
        rows.append(
            ChainRow(
                chain_id=chain_id,
                block=block or (head.number if head else 0),
                at_s=float(head.timestamp_s) if head is not None and (is_it or not block) else math.nan,
            )
        )
    return rows


def sources(seen: Snapshot) -> tuple[int, int]:
    """Return how many configured readings have data, of how many; those that still warm up have."""
    readings = seen.full.decision.readings if seen.full is not None else ()
    there = [item for item in readings if item.quality is not Quality.ABSENT]
    return sum(item.quality in (Quality.LIVE, Quality.WARMING) for item in there), len(there)


def units_held(seen: Snapshot) -> float:
    """Return the units of perpetuals that closed orders left open, short < 0."""
    holdings = perpetual_book_of(seen.orders.perpetual_outcomes).holdings
    return math.fsum(item.size for item in holdings.values())
