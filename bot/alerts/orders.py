"""What became of orders, as events that are told once: options, perpetuals, positions and loans, cover."""

from bot.alerts.condition import Condition, Severity, sentence
from bot.model.account_order import AccountOutcome
from bot.model.cover import CoverOutcome
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord

_DONE = (LegStatus.FILLED, LegStatus.PARTIAL)
_NO_REASON = "no reason was given"


def of_orders(record: StepRecord) -> tuple[Condition, ...]:
    """Return an event for each order of a step, whatever its kind, that was made or came to its end."""
    return (
        *map(_of_leg, record.outcomes),
        *map(_of_perpetual, record.perpetuals),
        *map(_of_account, record.account_orders),
        *map(_of_cover, record.covers),
    )


def _of_leg(outcome: LegOutcome) -> Condition:
    leg = outcome.leg
    verb = {Side.BUY: "bought", Side.SELL: "sold", Side.SETTLE: "settled"}[leg.side]
    what = f"{leg.layer} {leg.instrument.label}"
    return _event(
        f"leg:{leg.key}",
        outcome.status,
        what=f"{leg.side} {what}",
        done=f"{verb} {outcome.filled_size:.4g} {what} for {outcome.premium_usd:,.0f} USD",
        asked=leg.because,
        said=outcome.because,
    )


def _of_perpetual(outcome: PerpetualOutcome) -> Condition:
    order = outcome.order
    what = f"{order.action} {abs(order.size):.4g} {order.perpetual.underlying} at {order.perpetual.venue}"
    return _event(
        f"perpetual:{order.key}",
        outcome.status,
        what=what,
        done=f"{what}: {abs(outcome.filled_size):.4g} traded at {outcome.price_usd:,.2f} USD",
        asked=order.because,
        said=outcome.because,
    )


def _of_account(outcome: AccountOutcome) -> Condition:
    order = outcome.order
    what = f"{order.action} {order.subject}"
    moved = ", ".join(f"{item.units:+,.6g} {item.asset}" for item in outcome.moved)
    return _event(
        f"account:{order.key}",
        outcome.status,
        what=what,
        done=f"{what}{f': {moved}' if moved else ''}",
        asked=order.because,
        said=outcome.because,
    )


def _of_cover(outcome: CoverOutcome) -> Condition:
    order = outcome.order
    bought = f"cover of {order.group}"
    return _event(
        f"bought-cover:{order.key}",
        outcome.status,
        what=f"a purchase of {bought}",
        done=f"bought {bought}, {order.amount_usd:,.0f} USD, for {outcome.premium_usd:,.0f} USD",
        asked=order.because,
        said=outcome.because,
    )


def _event(key: str, status: LegStatus, *, what: str, done: str, asked: str, said: str) -> Condition:
    """Return what a person reads of an order. ``asked``: why it was made; ``said``: why it ended so."""
    if status in _DONE:
        return Condition(
            key=key,
            severity=Severity.INFO,
            title=done,
            happened=sentence(asked or said or "an order was done"),
            did=f"{done}." if status is LegStatus.FILLED else f"{done}: a part of the order.",
            could_not="name anything left open." if status is LegStatus.FILLED else "fill the rest.",
            act="nothing; alvh history has the order with its costs.",
            once=True,
        )
    if status is LegStatus.UNKNOWN:
        return Condition(
            key=key,
            severity=Severity.CRITICAL,
            title=f"the outcome of {what} is unknown",
            happened=sentence(said or _NO_REASON),
            did="keeps its budget reserved and opens nothing in its place until the chain tells.",
            could_not="prove whether it happened.",
            act="keep the bot running, it looks at each step; if it lasts, look for it on a block explorer.",
            once=True,
        )
    if status in (LegStatus.PROPOSED, LegStatus.WAITING):
        return _pending(key, status, what=what, said=said)
    return Condition(
        key=key,
        severity=Severity.WARNING,
        title=f"{what} was {status}",
        happened=sentence(said or _NO_REASON),
        did="counts nothing as held, and decides anew at the next step; after two refusals it waits longer.",
        could_not=f"do the order: {what}.",
        act="look for the reason in the runbook; often the market moved and nothing is to do.",
        once=True,
    )


def _pending(key: str, status: LegStatus, *, what: str, said: str) -> Condition:
    proposed = status is LegStatus.PROPOSED
    return Condition(
        key=key,
        severity=Severity.WARNING if proposed else Severity.INFO,
        title=f"{what} {'awaits signatures' if proposed else 'waits for its venue'}",
        happened=sentence(said or _NO_REASON),
        did="proposed it to the Safe." if proposed else "did its first part and goes on by itself.",
        could_not="do it without the owners." if proposed else "go on before the venue lets it.",
        act="sign or reject it: alvh safe list." if proposed else "nothing.",
        once=True,
    )
