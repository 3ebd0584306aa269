"""How numbers, times and orders read, the same in the terminal and in the report."""

import math
from collections.abc import Mapping

from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.units import iso_utc

UNKNOWN = "unknown"
INDICATIVE = "indicative"
_STRATEGIES = {
    "alvh": "ALVH (this program)",
    "static_442": "Static 4/4/2",
    "pput": "PPUT-like",
    "vxth": "VXTH-like",
    "perp_delta": "Delta by perpetual",
    "unhedged": "Unhedged",
}
_OURS = "alvh_"
_BUDGETS = (
    ("session", "in 24 h"),
    ("budget_30d", "in 30 days"),
    ("budget_365d", "in 365 days"),
    ("defined_risk", "at risk at once"),
)
_DONE = {Side.BUY: "bought", Side.SELL: "sold", Side.SETTLE: "settled"}


def usd(value: float, *, signed: bool = False, about: bool = False) -> str:
    """Return dollars with thousands, cents only below 100; "unknown" for NaN; a tilde first for ``about``."""
    if not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size < 0.005:
        return "$0"
    sign = "~" * about + ("-" if value < 0.0 else "+" if signed else "")
    return f"{sign}${size:,.0f}" if size >= 99.995 else f"{sign}${size:,.2f}"


def percent(value: float) -> str:
    """Return a fraction as a percentage with one digit; "unknown" for NaN."""
    return f"{100.0 * value:.1f} %" if math.isfinite(value) else UNKNOWN


def crises_words(many: int) -> str:
    """Return "1 market crisis", "7 market crises"."""
    return f"{many} market cris{'is' if many == 1 else 'es'}"


def when(at_s: float) -> str:
    """Return a time in UTC to the minute; "unknown" for NaN."""
    return iso_utc(at_s).replace("T", " ")[:16] if math.isfinite(at_s) else UNKNOWN


def strategy_name(name: str) -> str:
    """Return a strategy's name for people; a policy of ours stands as "alvh_steward"."""
    if name.startswith(_OURS):
        return f"ALVH {name.removeprefix(_OURS)}"
    return _STRATEGIES.get(name, name)


def budget_names(limits: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return (words, name of the cap, name of what is used) of every R9 figure that is known."""
    names = [(words, f"{name}_cap_usd", f"{name}_used_usd") for name, words in _BUDGETS]
    return [item for item in names if item[1] in limits and item[2] in limits]


def option_words(outcome: LegOutcome) -> str:
    """Return the option of an order: ``ETH 2,180 put, 26 d``."""
    item = outcome.leg.instrument
    days = max(item.dte(outcome.at_s), 0.0)
    left = f", {days:.0f} d" if days >= 1.0 else f", {24.0 * days:.0f} h"
    if outcome.leg.side is Side.SETTLE:
        left = ""
    return f"{item.underlying} {item.strike_usd:,.0f} {item.option_type.value}{left}"


def order_words(outcome: LegOutcome, *, money: bool = True) -> str:
    """Return what became of one order, in words; ``money`` False leaves the sum to a column of its own."""
    leg, option = outcome.leg, option_words(outcome)
    if outcome.status in (LegStatus.FILLED, LegStatus.PARTIAL):
        part = f" of {leg.size:,.2f}" if outcome.status is LegStatus.PARTIAL else ""
        paid = f", for {usd(outcome.premium_usd, about=outcome.indicative)}" if money else ""
        shown = f", on paper at {INDICATIVE} prices of {leg.instrument.venue}" if outcome.indicative else ""
        return f"{_DONE[leg.side]} {outcome.filled_size:,.2f}{part} {option}{paid}{shown}"
    reason = outcome.because or "no reason was given"
    wanted = f"{leg.size:,.2f} {option}"
    if outcome.status is LegStatus.REJECTED:
        return f"could not {leg.side.value} {wanted}: {reason}"
    if outcome.status is LegStatus.UNKNOWN:
        return f"not known yet whether it could {leg.side.value} {wanted}: {reason}"
    return f"waits to {leg.side.value} {wanted}: {reason}"


def perpetual_order_words(outcome: PerpetualOutcome) -> str:
    """Return what became of an order for a perpetual (R27), with its money; a refused one says why."""
    order, parts = outcome.order, []
    if outcome.filled_size:
        verb = "sold" if outcome.filled_size < 0.0 else "bought"
        size = f"{abs(outcome.filled_size):,.2f} {order.perpetual.underlying}"
        parts.append(f"{verb} {size} at {usd(outcome.price_usd)}, fee {usd(outcome.fee_usd)}")
    if outcome.funding_usd:
        parts.append(f"funding {usd(outcome.funding_usd)}")
    if outcome.margin_usd:
        parts.append(
            f"margin {'added' if outcome.margin_usd > 0.0 else 'back'} {usd(abs(outcome.margin_usd))}"
        )
    said = ", ".join(parts) or outcome.because or order.because
    return f"{order.action} at {order.perpetual.venue}: {outcome.status}: {said}"
