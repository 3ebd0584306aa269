"""R2, protocol kind: what says that a protocol, bridge or stable itself is in trouble. No votes are needed.

Each finding is of one name: a protocol, or the stable or bridge itself. ``RuleFinding.tier`` is the tier that
it asks of that name, never the market tier. What cannot be read asks for nothing and proves nothing: such a
finding keeps the tier where it is (``unknown``).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.engine.policy import Policy
from bot.engine.rules.context import COVERAGE, SCORE_DIGITS, label_of, owners_of
from bot.model.exposure import Exposure
from bot.model.market import Frame, Metric, SeriesKey
from bot.model.tier import Quality, Reading, RuleFinding, Tier
from bot.signals.holdings import kind_of
from bot.signals.peg import peg_now
from bot.signals.reading import freshness

RULE = "R2"
CHANGES = (Metric.UPGRADED, Metric.OWNERSHIP_CHANGED, Metric.ROLE_CHANGED)
_UNUSABLE = (Quality.ABSENT, Quality.WARMING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFinding:
    """What one source says of one protocol, bridge or stable."""

    protocol: str
    finding: RuleFinding
    unknown: bool = False  # the source fails: calm is not proven


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthAlarm:
    """A lending position that R21 must top up or repay at once, whatever any tier."""

    position: str  # label of the account or position
    health_factor: float  # as last known, under ``hf_min``
    observed_at_s: float


def protocol_findings(
    policy: Policy, frame: Frame, readings: Sequence[Reading]
) -> tuple[ProtocolFinding, ...]:
    """Return what every source of the protocol kind says, fired or not, in a stable order."""
    return tuple(
        sorted(
            (*_powers(policy, frame), *_coverage(policy, frame, readings), *_pegs(policy, frame)),
            key=lambda item: (item.protocol, item.finding.because),
        )
    )


def protocols_of(exposures: Sequence[Exposure]) -> frozenset[str]:
    """Return the names whose tier concerns these exposures: protocols, stables and hedge underlyings."""
    return frozenset(name for item in exposures for name in (item.protocol, item.stable, item.underlying))


def names_of(policy: Policy, exposures: Sequence[Exposure], label: str) -> tuple[str, ...]:
    """Return whose tier a watched label raises.

    What ``[dependencies]`` lists it under, else itself; a pool, vault, bridge or market of an exposure
    stands for the protocol that the exposure is in. A label that is listed nowhere keeps a tier of its own.
    """
    found = set()
    for name in owners_of(policy, label) or (label,):
        place = name.rpartition("/")[0]
        places = {item.protocol for item in exposures if {name, place} & {item.pool, item.id}}
        found.update(places or {place if any(item.protocol == place for item in exposures) else name})
    return tuple(sorted(found))


def health_alarms(policy: Policy, frame: Frame) -> tuple[tuple[HealthAlarm, ...], tuple[RuleFinding, ...]]:
    """Return the positions under ``hf_min``, worst first, and a finding for every watched position."""
    alarms, findings = [], []
    least = policy.hard_triggers.hf_min
    for key in frame.columns.find(Metric.HEALTH_FACTOR):
        value, at_s, trouble = _newest(policy, frame, key)
        text = f"health factor of {key.subject} ({key.source}): "
        if trouble:
            findings.append(RuleFinding(rule=RULE, fired=False, because=f"{text}unknown, {trouble}"))
        elif value < least:
            alarms.append(HealthAlarm(position=key.subject, health_factor=value, observed_at_s=at_s))
            because = f"{text}{value:.3f} under {least:g}: top up or repay at once (R21)"
            findings.append(RuleFinding(rule=RULE, fired=True, because=because))
        else:
            because = f"{text}{value:.3f}, {value - least:.3f} over {least:g}"
            findings.append(
                RuleFinding(
                    rule=RULE, fired=False, because=because, missed=value - least, unit="health factor"
                )
            )
    return tuple(sorted(alarms, key=lambda item: (item.health_factor, item.position))), tuple(findings)


def _powers(policy: Policy, frame: Frame) -> Iterator[ProtocolFinding]:
    """Pauses, and changes of powers that were not announced (S9)."""
    for metric in (Metric.PAUSED, *CHANGES):
        for key in frame.columns.find(metric):
            value, _, trouble = _newest(policy, frame, key)
            text = f"{key.metric} of {key.subject}"
            tier = None
            if trouble:
                because = f"{text}: unknown, {trouble}"
            elif not value > 0.0:
                because = f"{text}: none"
            elif metric is Metric.PAUSED:
                tier, because = Tier.CRISIS, f"{key.subject} is paused"
            elif policy.hard_triggers.is_announced(key.subject, metric, now_s=frame.now_s):
                because = f"{text}: {value:g} in the watched blocks, announced"
            else:
                tier, because = Tier.ELEVATED, f"{text}: {value:g} in the watched blocks, not announced"
            finding = RuleFinding(rule=RULE, fired=tier is not None, because=because, tier=tier)
            for name in names_of(policy, frame.exposures, key.subject):
                yield ProtocolFinding(protocol=name, finding=finding, unknown=bool(trouble))


def _coverage(policy: Policy, frame: Frame, readings: Sequence[Reading]) -> Iterator[ProtocolFinding]:
    """S7 of every bridge: what backs it at the origin, over what was minted."""
    rule = policy.hard_triggers
    for item in readings:
        if item.signal != COVERAGE or item.quality in _UNUSABLE:
            continue
        label, tier = label_of(item), None
        value = round(item.value, SCORE_DIGITS) if item.counts else math.nan
        text = f"coverage of {label} {value:.2%}"
        if math.isnan(value):
            because = f"coverage of {label}: unknown, {item.because}"
        elif value < rule.coverage_crisis:
            tier, because = Tier.CRISIS, f"{text}, under {rule.coverage_crisis:.0%}"
        elif value < rule.coverage_severe:
            tier, because = Tier.SEVERE, f"{text}, under {rule.coverage_severe:.0%}"
        else:
            because = f"{text}; SEVERE missed by {value - rule.coverage_severe:.2%}"
        missed = value - rule.coverage_severe if tier is None else math.nan
        finding = RuleFinding(
            rule=RULE,
            fired=tier is not None,
            because=because,
            tier=tier,
            missed=missed,
            unit="fraction of coverage",
        )
        for name in names_of(policy, frame.exposures, label):
            yield ProtocolFinding(protocol=name, finding=finding, unknown=math.isnan(value))


def _pegs(policy: Policy, frame: Frame) -> Iterator[ProtocolFinding]:
    """Stables off par now, without S5's median, by two kinds of sources: never by one spot price."""
    limit = policy.hard_triggers.peg_severe
    for stable in policy.signals.stables:
        kinds = {kind_of(key.source) for key in frame.columns.find(Metric.PRICE_USD, stable)}
        if len(kinds) < 2:  # S5 is absent for it
            continue
        found = peg_now(frame.columns, stable, now_s=frame.now_s, policy=policy.signals)
        apart = round(found.deviation, SCORE_DIGITS)
        unknown, fired = math.isnan(apart), apart > limit
        missed = "" if unknown or fired else f"; SEVERE missed by {limit - apart:.2%}"
        because = f"{found.because}{f', over {limit:.0%}' if fired else missed}"
        finding = RuleFinding(
            rule=RULE,
            fired=fired,
            because=because,
            tier=Tier.SEVERE if fired else None,
            missed=math.nan if unknown or fired else limit - apart,
            unit="fraction of par",
        )
        yield ProtocolFinding(protocol=stable, finding=finding, unknown=unknown)


def _newest(policy: Policy, frame: Frame, key: SeriesKey) -> tuple[float, float, str]:
    """Return the last known (value, time) while it is live or held, else NaN and why it is not known."""
    column = frame.columns[key].until(frame.now_s)
    found = freshness(key, column, now_s=frame.now_s, policy=policy.signals)
    if found.quality is Quality.MISSING:
        return math.nan, math.nan, found.because
    return float(column.values[column.last_known()]), found.good_s, ""
