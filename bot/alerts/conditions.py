"""Which conditions of a step a person should know of. Pure: the desk decides what is news.

Every text says what happened, what the bot did, what it could not do, and what to do.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from bot.errors import ConfigError
from bot.model.base_layers import Action, Proposal
from bot.model.cover import CoverOutcome
from bot.model.exposure import Exposure
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.market import Columns, Metric
from bot.model.reasons import kind_of
from bot.model.record import GroupDecision, ProtocolDecision, StepRecord
from bot.model.tier import Reading, Tier
from bot.model.units import iso_utc


class Severity(IntEnum):
    """How urgent; the order is that of urgency."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that holds now. While its key stands, only another severity or level is news."""

    key: str  # stable name, "tier:ETH/USDC"
    severity: Severity
    title: str  # one line
    text: str = ""  # what happened, was done, could not be done, is to be done
    level: int = 0  # orders conditions of one severity: SEVERE and CRISIS are both critical
    once: bool = False  # an event: told once, it has no end


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When positions are worth an alert.

    ``rearm`` is the margin, a fraction, by which a limit must be passed back before the alert ends, so that
    a value at its limit does not tell the same again and again.
    """

    health_factor: float = 1.25
    range_margin: float = 0.0  # alert this far, as a fraction of price, before a range end; 0: at the end
    rearm: float = 0.01

    def __post_init__(self) -> None:
        if not self.health_factor >= 1.0:
            raise ConfigError(f"alerts.health_factor must be at least 1, was {self.health_factor}")
        if not 0.0 <= self.range_margin < 1.0 or not 0.0 <= self.rearm < 1.0:
            raise ConfigError(
                "alerts.range_margin and alerts.rearm must be fractions from 0 to below 1, "
                f"were {self.range_margin} and {self.rearm}"
            )


_TIER_SEVERITY = {
    Tier.GUARDED: Severity.INFO,
    Tier.ELEVATED: Severity.WARNING,
    Tier.SEVERE: Severity.CRITICAL,
    Tier.CRISIS: Severity.CRITICAL,
}


def of_step(record: StepRecord) -> tuple[Condition, ...]:
    """Return the conditions that a step's record shows, and its trades as events."""
    found: list[Condition] = [
        Condition(
            key=f"hold:{kind_of(reason)}",
            severity=Severity.WARNING,
            title="HOLD: nothing new is opened",
            text=f"{reason}. Held hedges stay; closing and settling go on.",
        )
        for reason in record.decision.holds
    ]
    for group in record.decision.groups:
        found.extend(_of_group(group))
    found.extend(_of_protocol(item) for item in record.decision.protocols if item.tier > Tier.CALM)
    found.extend(
        _of_information(item) for item in record.decision.readings if item.informs and item.score > 0.0
    )
    found.extend(_of_ending(item) for item in record.decision.proposals if item.action is Action.RENEW_COVER)
    found.extend(_of_outcome(outcome) for outcome in record.outcomes)
    found.extend(_of_cover(outcome) for outcome in record.covers)
    return tuple(found)


def of_positions(
    exposures: Iterable[Exposure], columns: Columns, *, limits: Limits, active: Collection[str]
) -> tuple[Condition, ...]:
    """Return what is wrong with positions: out of range, or a health factor under its limit.

    ``active`` holds the keys that stand already: these end only past the re-arm margin.
    """
    ranges = (_out_of_range(item, limits=limits, active=active) for item in exposures)
    health = (
        _health(subject, columns.latest(Metric.HEALTH_FACTOR, subject)[0], limits=limits, active=active)
        for subject in sorted({key.subject for key in columns.find(Metric.HEALTH_FACTOR)})
    )
    return tuple(item for item in (*ranges, *health) if item is not None)


def unsure_of(
    key: str, record: StepRecord, exposures: Iterable[Exposure], *, active_holds: Collection[str]
) -> bool:
    """Say whether a step that does not show a condition proves nothing of it.

    While something holds, a group or a position that the step does not know may only be out of sight: what
    stood for it goes on standing.
    """
    kind, _, rest = key.partition(":")
    if kind in ("informs", "cover"):
        return record.is_heartbeat  # which keeps neither readings nor proposals
    if not active_holds:
        return False
    if kind == "range":
        return rest not in {f"{item.chain_id}:{item.id}" for item in exposures}
    if kind in ("tier", "degraded", "shortfall"):
        return not any(
            rest == item.group or rest.startswith(f"{item.group}:") for item in record.decision.groups
        )
    return False


def of_trouble(kind: str, text: str, *, severity: Severity = Severity.WARNING) -> Condition:
    """Return a condition of the program itself: a provider that fails, no block for too long."""
    return Condition(key=f"trouble:{kind}", severity=severity, title=f"trouble: {kind}", text=text)


def _of_group(group: GroupDecision) -> Iterator[Condition]:
    if group.tier is not Tier.CALM:
        yield Condition(
            key=f"tier:{group.group}",
            severity=_TIER_SEVERITY[group.tier],
            title=f"{group.tier.name} for {group.group}",
            text=group.because,
            level=group.tier.value,
        )
    for family in group.degraded:
        yield Condition(
            key=f"degraded:{group.group}:{family}",
            severity=Severity.WARNING,
            title=f"GUARDED (data): {family} signals of {group.group} are missing",
            text=(
                f"Fewer than half of the configured {family} signals are live, so stress that only they "
                "would show is not seen. The tier is not lowered meanwhile. See alvh explain and alvh doctor."
            ),
        )
    for short in group.shortfalls:
        yield Condition(
            key=f"shortfall:{group.group}:{short.layer}:{short.cap}",
            severity=Severity.WARNING if group.tier >= Tier.ELEVATED else Severity.INFO,
            title=f"{short.layer} of {group.group} is not fully protected",
            text=f"{short.missing:.0%} of its target is missing: {short.reason}.",
        )


def _of_protocol(item: ProtocolDecision) -> Condition:
    asked = "; ".join(found.because for found in item.findings if found.tier is not None and found.fired)
    behind = f"{', '.join(item.groups)} depends on it. " if item.groups else ""
    return Condition(
        key=f"protocol:{item.protocol}",
        severity=_TIER_SEVERITY[item.tier],
        title=f"{item.tier.name} for the protocol {item.protocol}",
        text=(
            f"{asked + '. ' if asked else ''}{behind}No option pays for what happens to a protocol, so none "
            "is bought for it. See alvh explain; leave the position if you do not trust it."
        ),
        level=item.tier.value,
    )


def _of_information(item: Reading) -> Condition:
    """A reading that never votes and that a person should know of (S20)."""
    return Condition(
        key=f"informs:{item.signal}:{item.subject}:{item.source}",
        severity=Severity.INFO,
        title=f"{item.signal} {item.name} of {item.subject} is {item.value:.3g} {item.unit}".rstrip(),
        text=f"{item.because}. It moves no tier.",
    )


def _of_outcome(outcome: LegOutcome) -> Condition:
    leg = outcome.leg
    verb = {Side.BUY: "bought", Side.SELL: "sold", Side.SETTLE: "settled"}[leg.side]
    what = f"{leg.layer} {leg.instrument.label}"
    if outcome.status in (LegStatus.FILLED, LegStatus.PARTIAL):
        title = f"{verb} {outcome.filled_size:.4g} {what} for {outcome.premium_usd:,.0f} USD"
        return Condition(
            key=f"leg:{leg.key}", severity=Severity.INFO, title=title, text=leg.because, once=True
        )
    if outcome.status is LegStatus.UNKNOWN:
        return Condition(
            key=f"leg:{leg.key}",
            severity=Severity.CRITICAL,
            title=f"the outcome of {leg.side} {what} is unknown",
            text=f"{outcome.because}. Its layer waits and its budget stays reserved until the chain tells.",
            once=True,
        )
    return Condition(
        key=f"leg:{leg.key}",
        severity=Severity.WARNING,
        title=f"{leg.side} {what} was {outcome.status}",
        text=outcome.because,
        once=True,
    )


def _of_ending(item: Proposal) -> Condition:
    """A cover that ends soon (R20)."""
    return Condition(
        key=f"cover:{item.subject}",
        severity=Severity.WARNING,
        title=f"cover {item.subject} ends on {iso_utc(item.due_s)[:10]}",
        text=f"{item.because}. Nothing renews it by itself: {item.follows}.",
    )


def _of_cover(outcome: CoverOutcome) -> Condition:
    order, key = outcome.order, f"bought-cover:{outcome.order.key}"
    what = f"cover of {order.group}"
    if outcome.status is LegStatus.FILLED:
        title = f"bought {what}, {order.amount_usd:,.0f} USD, for {outcome.premium_usd:,.0f} USD"
        return Condition(key=key, severity=Severity.INFO, title=title, text=order.because, once=True)
    if outcome.status is LegStatus.UNKNOWN:
        return Condition(
            key=key,
            severity=Severity.CRITICAL,
            title=f"the outcome of a purchase of {what} is unknown",
            text=f"{outcome.because}. Its budget stays reserved until the chain tells.",
            once=True,
        )
    title = f"the purchase of {what} was {outcome.status}"
    return Condition(key=key, severity=Severity.WARNING, title=title, text=outcome.because, once=True)


def _out_of_range(item: Exposure, *, limits: Limits, active: Collection[str]) -> Condition | None:
    key = f"range:{item.chain_id}:{item.id}"
    if not item.spot_usd > 0.0:  # unknown: neither in range nor out of it, what stands goes on standing
        return (
            Condition(key=key, severity=Severity.WARNING, title=f"the price of {item.id} is unknown")
            if key in active
            else None
        )
    margin = limits.range_margin + (limits.rearm if key in active else 0.0)
    lower, upper = item.shape.lower_usd * (1.0 + margin), item.shape.upper_usd * (1.0 - margin)
    if lower < item.spot_usd < upper:
        return None
    outside = not item.shape.lower_usd < item.spot_usd < item.shape.upper_usd
    side = "below" if item.spot_usd <= lower else "above"
    return Condition(
        key=key,
        severity=Severity.WARNING if outside else Severity.INFO,
        title=f"{item.id} is {'out of range' if outside else 'close to the end of its range'}",
        text=(
            f"{item.underlying} is at {item.spot_usd:,.6g} USD, {side if outside else 'close to'} the range "
            f"{item.shape.lower_usd:,.6g} to {item.shape.upper_usd:,.6g}. "
            + (
                "It earns no fees and holds one token only. Move it, or wait for the price to come back."
                if outside
                else "Outside of it the position earns no fees."
            )
        ),
    )


def _health(subject: str, value: float, *, limits: Limits, active: Collection[str]) -> Condition | None:
    key = f"health:{subject}"
    limit = limits.health_factor * (1.0 + limits.rearm if key in active else 1.0)
    if math.isnan(value):  # unknown is no recovery: what stands goes on standing
        return (
            Condition(key=key, severity=Severity.CRITICAL, title=f"health factor of {subject} is unknown")
            if key in active
            else None
        )
    if value >= limit:
        return None
    return Condition(
        key=key,
        severity=Severity.CRITICAL,
        title=f"health factor of {subject} is {value:.3f}",
        text=(
            f"The limit is {limits.health_factor:g}; under 1 it is liquidated. "
            "Add collateral or repay: the bot does not do that by itself."
        ),
    )
