"""Circuit breakers: what money did wrong pauses the bot until a person has looked (REL-L3, docs/adr/0015).

Pure: what trips, from what orders and data did. `bot.pipeline.breaker_desk` keeps count and pauses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.model.account_order import AccountOutcome
from bot.model.cover import CoverOutcome
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.units import HOUR_S, iso_utc

Outcome = LegOutcome | PerpetualOutcome | AccountOutcome | CoverOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerTerms:
    """When each breaker trips; 0 turns one off. Money is USD."""

    window_s: float = 86_400.0  # in which orders, gas and losses are counted
    failed_orders: int = 5  # that burnt gas and did nothing
    wasted_gas_usd: float = 250.0  # burnt by those
    signer_refusals: int = 3  # orders in a row that the signer's rules do not allow
    beyond_bound: float = 0.02  # of its limit, by which one order may be worse than that
    loss_share: float = 0.1  # of what was expected, by which all orders together may be worse
    loss_usd: float = 100.0  # below it ``loss_share`` says nothing
    disagreement_s: float = 21_600.0  # for which price sources may contradict each other without an end
    lag_episodes: int = 24  # times in the window that data was too old


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What one closed order says to the breakers."""

    key: str
    at_s: float
    failed: bool = False  # it burnt gas and did nothing
    gas_usd: float = 0.0  # of a failed one
    refused: bool = False  # the signer's rules do not allow it
    beyond: float = 0.0  # of its limit, by which it was worse
    expected_usd: float = 0.0  # what was to be paid or received
    loss_usd: float = 0.0  # by which it was worse than that; negative: better


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """Which breaker, and why with figures."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the data did. ``disagrees_since_s`` is None while sources agree."""

    disagrees_since_s: float | None = None
    lags_at_s: tuple[float, ...] = ()  # when each episode began


def tripped(terms: BreakerTerms, orders: Sequence[Ended], data: Trouble, *, now_s: float) -> Trip | None:
    """Return the breaker that trips on what happened in the window, oldest order first; None for none.

    What is dated later than now counts: a clock that went back frees nothing.
    """
    since_s = now_s - terms.window_s
    recent = [item for item in orders if item.at_s > since_s]
    found = (
        _of_failures(terms, recent),
        _of_gas(terms, recent),
        _of_refusals(terms, recent),
        _of_bounds(terms, recent),
        _of_losses(terms, recent),
        _of_disagreement(terms, data, now_s=now_s),
        _of_lag(terms, data, since_s=since_s),
    )
    return next(filter(None, found), None)


def _of_failures(terms: BreakerTerms, orders: Sequence[Ended]) -> Trip | None:
    failed = [item for item in orders if item.failed]
    if not terms.failed_orders or len(failed) < terms.failed_orders:
        return None
    why = f"{len(failed)} orders burnt gas and did nothing within {_hours(terms.window_s)}"
    return Trip(name="failed-orders", why=f"{why}, the last {failed[-1].key}")


def _of_gas(terms: BreakerTerms, orders: Sequence[Ended]) -> Trip | None:
    gas_usd = math.fsum(item.gas_usd for item in orders if item.failed)
    if not terms.wasted_gas_usd or gas_usd < terms.wasted_gas_usd:
        return None
    why = f"{gas_usd:,.2f} USD of gas went to orders that did nothing within {_hours(terms.window_s)}"
    return Trip(name="wasted-gas", why=why)


def _of_refusals(terms: BreakerTerms, orders: Sequence[Ended]) -> Trip | None:
    in_a_row = 0
    for item in orders:
        in_a_row = in_a_row + 1 if item.refused else 0
    if not terms.signer_refusals or in_a_row < terms.signer_refusals:
        return None
    why = f"the signer's rules refused {in_a_row} orders in a row, the last {orders[-1].key}"
    return Trip(name="signer-refusals", why=why)


def _of_bounds(terms: BreakerTerms, orders: Sequence[Ended]) -> Trip | None:
    worst = max(orders, key=lambda item: item.beyond, default=None)
    if not terms.beyond_bound or worst is None or worst.beyond <= terms.beyond_bound:
        return None
    why = f"order {worst.key} was filled {worst.beyond:.1%} worse than its limit"
    return Trip(name="beyond-bound", why=why)


def _of_losses(terms: BreakerTerms, orders: Sequence[Ended]) -> Trip | None:
    loss_usd = math.fsum(item.loss_usd for item in orders)
    expected_usd = math.fsum(item.expected_usd for item in orders)
    most_usd = max(terms.loss_usd, terms.loss_share * expected_usd)
    if not terms.loss_share or loss_usd <= most_usd:
        return None
    why = (
        f"orders of {_hours(terms.window_s)} were {loss_usd:,.2f} USD worse than quoted, on "
        f"{expected_usd:,.2f} USD; at most {most_usd:,.2f} are allowed"
    )
    return Trip(name="realised-loss", why=why)


def _of_disagreement(terms: BreakerTerms, data: Trouble, *, now_s: float) -> Trip | None:
    since_s = data.disagrees_since_s
    if not terms.disagreement_s or since_s is None or now_s - since_s < terms.disagreement_s:
        return None
    why = f"price sources contradict each other since {iso_utc(since_s)}, {_hours(now_s - since_s)}"
    return Trip(name="disagreement", why=why)


def _of_lag(terms: BreakerTerms, data: Trouble, *, since_s: float) -> Trip | None:
    count = sum(at_s > since_s for at_s in data.lags_at_s)
    if not terms.lag_episodes or count < terms.lag_episodes:
        return None
    return Trip(name="lag", why=f"data was too old {count} times within {_hours(terms.window_s)}")


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR_S:g} h"


def ended(outcome: Outcome, *, refused: bool = False) -> Ended:
    """Return what an order's end says. ``refused``: the signer's rules did not allow it."""
    order = outcome.leg if isinstance(outcome, LegOutcome) else outcome.order
    if outcome.status is LegStatus.REJECTED:
        gas_usd = outcome.gas_usd if math.isfinite(outcome.gas_usd) else 0.0
        failed = gas_usd > 0.0 or bool(outcome.tx_hash)
        return Ended(key=order.key, at_s=outcome.at_s, failed=failed, gas_usd=gas_usd, refused=refused)
    if isinstance(outcome, LegOutcome):
        return _leg(outcome)
    if isinstance(outcome, PerpetualOutcome):
        return Ended(key=order.key, at_s=outcome.at_s, beyond=_perpetual_beyond(outcome))
    if isinstance(outcome, CoverOutcome):
        return _worse(
            outcome.order.key,
            outcome.at_s,
            paid_usd=outcome.premium_usd,
            limit_usd=outcome.order.limit_usd,
            expected_usd=outcome.order.expected_usd,
        )
    return Ended(key=order.key, at_s=outcome.at_s)


def _leg(outcome: LegOutcome) -> Ended:
    """A part of an order is compared with its part of the bound; a settlement has none."""
    leg = outcome.leg
    part = min(outcome.filled_size / leg.size, 1.0)
    if leg.side is Side.SETTLE or leg.conversion is not None or not part > 0.0:
        return Ended(key=leg.key, at_s=outcome.at_s)
    sign = 1.0 if leg.side is Side.BUY else -1.0
    return _worse(
        leg.key,
        outcome.at_s,
        paid_usd=sign * outcome.premium_usd,
        limit_usd=sign * leg.limit_usd * part,
        expected_usd=sign * leg.expected_usd * part,
        beside_usd=outcome.swap_usd,
    )


def _worse(
    key: str, at_s: float, *, paid_usd: float, limit_usd: float, expected_usd: float, beside_usd: float = 0.0
) -> Ended:
    """Compare what was paid (negative: received) with what was allowed and expected."""
    over_usd = paid_usd - limit_usd
    return Ended(
        key=key,
        at_s=at_s,
        beyond=over_usd / abs(limit_usd) if limit_usd and over_usd > 0.0 else 0.0,
        expected_usd=abs(expected_usd),
        loss_usd=paid_usd + beside_usd - expected_usd,
    )


def _perpetual_beyond(outcome: PerpetualOutcome) -> float:
    """Return by how much of its limit the price was worse; a short wants a high price, a long a low one."""
    limit_usd, price_usd = outcome.order.limit_usd, outcome.price_usd
    if not (limit_usd > 0.0 and price_usd > 0.0):
        return 0.0
    sign = 1.0 if outcome.filled_size > 0.0 else -1.0
    return max(sign * (price_usd / limit_usd - 1.0), 0.0)
