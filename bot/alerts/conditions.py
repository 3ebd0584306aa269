"""Which conditions of a step a person should know of. Pure: the desk decides what is news.

Every text says what happened, what the bot did, what it could not do, and what to do.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from bot.alerts.condition import Condition, Severity, sentence
from bot.alerts.orders import of_orders
from bot.errors import ConfigError
from bot.model.base_layers import Action, Proposal
from bot.model.exposure import Exposure
from bot.model.market import Columns, Metric
from bot.model.reasons import kind_of
from bot.model.record import GroupDecision, ProtocolDecision, StepRecord
from bot.model.tier import Reading, Tier
from bot.model.units import iso_utc


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
    decision = record.decision
    found: list[Condition] = [_of_hold(reason) for reason in decision.holds]
    for group in decision.groups:
        found.extend(_of_group(group))
    found.extend(_of_protocol(item) for item in decision.protocols if item.tier > Tier.CALM)
    found.extend(_of_information(item) for item in decision.readings if item.informs and item.score > 0.0)
    found.extend(_of_ending(item) for item in decision.proposals if item.action is Action.RENEW_COVER)
    return (*found, *of_orders(record))


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


def _of_hold(reason: str) -> Condition:
    if reason.startswith("paused by "):
        return _of_pause(reason)
    return Condition(
        key=f"hold:{kind_of(reason)}",
        severity=Severity.WARNING,
        title="HOLD: nothing new is opened",
        happened=sentence(reason),
        did="keeps every hedge that it holds, and goes on closing, rolling down and settling.",
        could_not="open or add protection, or raise a tier, while the reason lasts.",
        act="look at the reason: alvh doctor names what is wrong. It ends by itself when the reason does.",
    )


def _of_pause(reason: str) -> Condition:
    """A pause ends by no data: a person must know that nothing protects until they act."""
    by_breaker = reason.startswith("paused by breaker ")
    return Condition(
        key=f"hold:{kind_of(reason)}",
        severity=Severity.CRITICAL if by_breaker else Severity.WARNING,
        title="PAUSED: nothing new is opened",
        happened=sentence(reason),
        did="keeps every hedge that it holds, and goes on closing, rolling down and settling.",
        could_not="open or add protection. It does not end by itself.",
        act="look at the reason, then end it with alvh resume.",
    )


def _of_group(group: GroupDecision) -> Iterator[Condition]:
    if group.tier is not Tier.CALM:
        yield _of_tier(group)
    for family in group.degraded:
        yield Condition(
            key=f"degraded:{group.group}:{family}",
            severity=Severity.WARNING,
            title=f"GUARDED (data): {family} signals of {group.group} are missing",
            happened=f"fewer than half of the configured {family} signals are live.",
            did="does not lower the tier meanwhile, and decides by the signals that are left.",
            could_not="see stress that only the missing ones would show.",
            act="look which source fails with alvh explain, and why with alvh doctor.",
        )
    for short in group.shortfalls:
        yield Condition(
            key=f"shortfall:{group.group}:{short.layer}:{short.cap}",
            severity=Severity.WARNING if group.tier >= Tier.ELEVATED else Severity.INFO,
            title=f"{short.layer} of {group.group} is not fully protected",
            happened=f"{short.missing:.0%} of its target is missing.",
            did="holds what it has and asks for the rest again in each step.",
            could_not=sentence(f"buy what is missing: {short.reason}"),
            act="raise the budget or cap that bound, if one did, add a venue, or take it as it is.",
        )


def _of_tier(group: GroupDecision) -> Condition:
    missing = ", ".join(f"{item.layer} ({item.reason})" for item in group.shortfalls)
    return Condition(
        key=f"tier:{group.group}",
        severity=_TIER_SEVERITY[group.tier],
        title=f"{group.tier.name} for {group.group}",
        happened=sentence(group.because),
        did=(
            f"holds {_share(group.covered_share)} of the value at risk protected, "
            f"of {_share(group.wanted_share)} wanted."
        ),
        could_not=f"protect {missing}." if missing else "name anything that is missing: all layers stand.",
        act="nothing, where what is held is what you want; alvh explain says what led to it.",
        level=group.tier.value,
    )


def _share(value: float) -> str:
    return "an unknown part" if math.isnan(value) else f"{value:.1%}"


def _of_protocol(item: ProtocolDecision) -> Condition:
    asked = "; ".join(found.because for found in item.findings if found.tier is not None and found.fired)
    behind = f"{', '.join(item.groups)} depends on it." if item.groups else "No position depends on it."
    return Condition(
        key=f"protocol:{item.protocol}",
        severity=_TIER_SEVERITY[item.tier],
        title=f"{item.tier.name} for the protocol {item.protocol}",
        happened=f"{sentence(asked) + ' ' if asked else ''}{behind}",
        did="buys no option for it; a cover that is held goes on.",
        could_not="hedge it: no option pays for what happens to a protocol.",
        act="see alvh explain; leave the position (alvh exit) if you do not trust it.",
        level=item.tier.value,
    )


def _of_information(item: Reading) -> Condition:
    """A reading that never votes and that a person should know of (S20)."""
    return Condition(
        key=f"informs:{item.signal}:{item.subject}:{item.source}",
        severity=Severity.INFO,
        title=f"{item.signal} {item.name} of {item.subject} is {item.value:.3g} {item.unit}".rstrip(),
        happened=sentence(item.because),
        did="nothing: it moves no tier.",
        could_not="say more than the figure does.",
        act="nothing is due; think of it when you choose sizes.",
    )


def _of_ending(item: Proposal) -> Condition:
    """A cover that ends soon (R20)."""
    return Condition(
        key=f"cover:{item.subject}",
        severity=Severity.WARNING,
        title=f"cover {item.subject} ends on {iso_utc(item.due_s)[:10]}",
        happened=sentence(item.because),
        did="proposes to renew it.",
        could_not="renew it: nothing does that by itself.",
        act=sentence(item.follows),
    )


def _out_of_range(item: Exposure, *, limits: Limits, active: Collection[str]) -> Condition | None:
    key = f"range:{item.chain_id}:{item.id}"
    if not item.spot_usd > 0.0:  # unknown: neither in range nor out of it, what stands goes on standing
        return _unpriced(item, key) if key in active else None
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
        happened=(
            f"{item.underlying} is at {item.spot_usd:,.6g} USD, {side if outside else 'close to'} the range "
            f"{item.shape.lower_usd:,.6g} to {item.shape.upper_usd:,.6g}."
        ),
        did=f"{'hedges what it is worth now' if outside else 'hedges it as before'}; it moves no position.",
        could_not=(
            "make it earn: it gets no fees and holds one token only."
            if outside
            else "keep it in range: outside of it the position earns no fees."
        ),
        act="move the position, or wait for the price to come back.",
    )


def _unpriced(item: Exposure, key: str) -> Condition:
    return Condition(
        key=key,
        severity=Severity.WARNING,
        title=f"the price of {item.id} is unknown",
        happened=f"no price of {item.underlying} is known now.",
        did="goes on as if it stood where it was last seen.",
        could_not="say whether the position is in its range.",
        act="look at the price's source: alvh doctor.",
    )


def _health(subject: str, value: float, *, limits: Limits, active: Collection[str]) -> Condition | None:
    key = f"health:{subject}"
    limit = limits.health_factor * (1.0 + limits.rearm if key in active else 1.0)
    if math.isnan(value):  # unknown is no recovery: what stands goes on standing
        return _unread_health(subject, key) if key in active else None
    if value >= limit:
        return None
    return Condition(
        key=key,
        severity=Severity.CRITICAL,
        title=f"health factor of {subject} is {value:.3f}",
        happened=f"the limit is {limits.health_factor:g}; under 1 it is liquidated.",
        did="proposes what lifts it, where [[loans]] states the loan (R21).",
        could_not="add collateral or repay by itself, unless the policy lets it.",
        act="add collateral or repay: alvh top-up, alvh repay, or at the protocol itself.",
    )


def _unread_health(subject: str, key: str) -> Condition:
    return Condition(
        key=key,
        severity=Severity.CRITICAL,
        title=f"health factor of {subject} is unknown",
        happened="it was too low when it was last read, and cannot be read now.",
        did="takes it as too low still.",
        could_not="read it.",
        act="look at the loan at its protocol, and at the node: alvh doctor.",
    )
