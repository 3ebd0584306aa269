"""Every order and how far it is: decided, reserved, signed, sent, mined, final; or why it was not done."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.dashboard.snapshot import Snapshot
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Side
from bot.model.intent import IntentEvent, IntentState
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.simulation.report.beside_orders import beside_orders
from bot.simulation.wording import order_words, perpetual_order_words, usd

PAGE_ROWS = 40
_MOST_EVENTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step in the life of an order's transactions."""

    at_s: float
    purpose: str
    state: IntentState
    tx_hash: str
    chain_id: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """One order. ``money_usd`` is what it took (+) from the account or brought (-); NaN where none moved."""

    key: str
    at_s: float
    kind: str  # layer, "PERP", "EXIT", "LOAN" or "COVER"
    words: str
    status: str
    money_usd: float
    gas_usd: float
    tx_hash: str
    because: str
    indicative: bool = False
    is_open: bool = False
    events: tuple[Event, ...] = ()


def rows(seen: Snapshot) -> list[OrderRow]:
    """Return open orders first, then closed ones, the newest first."""
    by_leg: dict[str, list[IntentEvent]] = {}
    for event in seen.intents:
        by_leg.setdefault(event.leg_key, []).append(event)
    found = [*_open(seen, by_leg), *_closed(seen, by_leg)]
    return sorted(found, key=lambda item: (not item.is_open, -_time(item.at_s)))


def _time(at_s: float) -> float:
    return at_s if math.isfinite(at_s) else math.inf


def _open(seen: Snapshot, events: dict[str, list[IntentEvent]]) -> Iterator[OrderRow]:
    noted = {item.leg.key: item for item in (seen.last.outcomes if seen.last else ())}
    for leg in seen.orders.open_legs:
        outcome = noted.get(leg.key)
        yield OrderRow(
            key=leg.key,
            at_s=_began_s(events.get(leg.key, ())),
            kind=leg.layer.value,
            words=_leg_words(leg),
            status=outcome.status.value if outcome else "open",
            money_usd=math.nan,
            gas_usd=math.nan,
            tx_hash="",
            because=(outcome.because if outcome else "") or leg.because,
            is_open=True,
            events=_events(events.get(leg.key, ())),
        )
    others = (
        *((item.key, "PERP", f"{item.action} {item.perpetual.id}", item.because)
          for item in seen.orders.open_perpetuals),
        *((item.key, item.action.value.upper(), f"{item.action} {item.subject}", item.because)
          for item in seen.orders.open_account_orders),
        *((item.key, "COVER", f"cover of {item.product.name}, at most {usd(item.limit_usd)}", item.because)
          for item in seen.orders.open_covers),
    )  # fmt: skip
    for key, kind, words, because in others:
        mine = events.get(key, ())
        yield OrderRow(
            key=key, at_s=_began_s(mine), kind=kind, words=words, status="open", money_usd=math.nan,
            gas_usd=math.nan, tx_hash="", because=because, is_open=True, events=_events(mine),
        )  # fmt: skip


def _closed(seen: Snapshot, events: dict[str, list[IntentEvent]]) -> Iterator[OrderRow]:
    for item in seen.orders.outcomes:
        yield _leg_row(item, events.get(item.leg.key, ()))
    for traded in seen.orders.perpetual_outcomes:
        yield _perpetual_row(traded, events.get(traded.order.key, ()))
    for beside in beside_orders(seen.orders.account_outcomes, seen.orders.cover_outcomes):
        yield OrderRow(
            key=f"{beside.kind} {beside.at_s}",
            at_s=beside.at_s,
            kind=beside.kind,
            words=beside.words,
            status="done" if beside.tx_hash else "closed",
            money_usd=beside.premium_usd,
            gas_usd=beside.gas_usd,
            tx_hash=beside.tx_hash,
            because=beside.because,
        )


def _leg_row(item: LegOutcome, events: Sequence[IntentEvent]) -> OrderRow:
    done = item.status in (LegStatus.FILLED, LegStatus.PARTIAL)
    paid_usd = item.premium_usd if item.leg.side is Side.BUY else -item.premium_usd
    return OrderRow(
        key=item.leg.key,
        at_s=item.at_s,
        kind=item.leg.layer.value,
        words=order_words(item, money=False),
        status=item.status.value,
        money_usd=paid_usd + item.swap_usd if done else math.nan,
        gas_usd=item.gas_usd,
        tx_hash=item.tx_hash,
        because=item.leg.because if done else item.because,
        indicative=item.indicative,
        events=_events(events),
    )


def _perpetual_row(item: PerpetualOutcome, events: Sequence[IntentEvent]) -> OrderRow:
    return OrderRow(
        key=item.order.key,
        at_s=item.at_s,
        kind="PERP",
        words=perpetual_order_words(item),
        status=item.status.value,
        money_usd=item.fee_usd - item.funding_usd if item.filled_size else math.nan,
        gas_usd=item.gas_usd,
        tx_hash=item.tx_hash,
        because=item.order.because,
        indicative=item.indicative,
        events=_events(events),
    )


def _leg_words(leg: HedgeLeg) -> str:
    bound = f", at most {usd(leg.limit_usd)}" if leg.side is Side.BUY else f", at least {usd(leg.limit_usd)}"
    return f"{leg.side} {leg.size:,.2f} {leg.instrument.label}{'' if leg.side is Side.SETTLE else bound}"


def _events(events: Sequence[IntentEvent]) -> tuple[Event, ...]:
    return tuple(
        Event(
            at_s=item.at_s,
            purpose=item.purpose,
            state=item.state,
            tx_hash=item.tx_hash,
            chain_id=item.chain_id,
            because=item.because,
        )
        for item in events[-_MOST_EVENTS:]
    )


def _began_s(events: Sequence[IntentEvent]) -> float:
    return events[0].at_s if events else math.nan
