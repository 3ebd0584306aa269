"""The JSON document of ``alvh explain``: the step's own document, and what led to it and would change it.

Fractions and scores are plain numbers, money is USD, times are ISO 8601 UTC, spans seconds; null is unknown.
"""

from collections.abc import Sequence

from bot.documents import (
    Document,
    finding_document,
    layer_document,
    number,
    proposal_document,
    protocol_document,
    step_document,
    time,
    vote_document,
)
from bot.engine.explain import Contribution, Explanation, GroupExplanation, Limit
from bot.engine.nearest import Nearest, Way
from bot.engine.nearest_down import Down
from bot.engine.policy_tiers import TierPolicy
from bot.engine.standing import Shift
from bot.model.base_layers import Proposal
from bot.model.hedge import HedgeLeg, LayerTarget
from bot.model.record import Alternative, ProtocolDecision
from bot.model.tier import FamilyVote, Reading, RuleFinding


def explain_document(found: Explanation) -> Document:
    """Return everything about one decision."""
    document = step_document(found.record)
    document["explains"] = {
        "sequence": found.record.sequence,
        "asked_sequence": found.shown_for.sequence,
        "asked_ts": time(found.shown_for.decision.now_s),
        "asked_is_heartbeat": found.is_heartbeat,
        "policy": found.policy.name,
        "policy_hash": found.policy.hash,
        "policy_is_the_decisions": found.is_same_policy,
    }
    tiers = found.policy.tiers
    for group, explained in zip(document["groups"], found.groups, strict=True):
        group.update(_group(explained, tiers))
    document["doubtful_readings"] = [_doubtful(item) for item in found.doubtful]
    document["absent_signals"] = list(found.absent)
    document["protocols"] = [_protocol(item) for item in found.decision.protocols]
    document["rules_of_no_group"] = [_rule(item) for item in found.decision.findings]
    document["proposals"] = [_proposal(item) for item in found.decision.proposals]
    document["planned_orders"] = [_order(leg) for leg in found.decision.plan.legs]
    return document


def _group(group: GroupExplanation, tiers: TierPolicy) -> Document:
    decision = group.decision
    return {
        "previous_tier": decision.previous_tier.name,
        "asked_tier": group.asked.name if group.asked is not None else None,
        "protocol_tier": decision.protocol_tier.name,
        "protocol": decision.protocol or None,
        "degraded_families": list(decision.degraded),
        "votes": [_vote(item) for item in decision.votes],
        "rules": [_rule(item) for item in decision.findings],
        "layers": [_layer(item) for item in decision.targets],
        "signals": [_contribution(item) for item in group.contributions],
        "limits": [_limit(item) for item in group.limits],
        "alternatives": [_alternative(item) for item in decision.alternatives],
        "refused_quotes": list(decision.refused_quotes),
        "next": _next(group.nearest, tiers) if group.nearest is not None else None,
        "next_unknown": group.unknown or None,
    }


def _vote(item: FamilyVote) -> Document:
    return {
        **vote_document(item),
        "third_score": number(item.third_score),
        "configured_signals": item.configured,
        "live_signals": item.live,
        "degraded": item.degraded,
    }


def _rule(item: RuleFinding) -> Document:
    return {
        **finding_document(item),
        "tier": item.tier.name if item.tier is not None else None,
        "caps_tier": item.caps_tier.name if item.caps_tier is not None else None,
        "missed": number(item.missed),
        "missed_unit": item.unit or None,
    }


def _layer(item: LayerTarget) -> Document:
    return {
        **layer_document(item),
        "option": item.instrument.label if item.instrument is not None else None,
        "venue": item.instrument.venue if item.instrument is not None else None,
    }


def _contribution(item: Contribution) -> Document:
    return {
        **_read(item.reading),
        "reading": item.place,
        "role": item.role,
        "adds_to_family_score": number(item.adds),
        "adds_to_fast_mean": number(item.adds_fast),
        "tier_without_it": item.without.name if item.without is not None else None,
    }


def _read(item: Reading) -> Document:
    return {
        "signal": item.signal,
        "name": item.name,
        "subject": item.subject,
        "source": item.source,
        "family": item.family.value,
        "value": number(item.value),
        "unit": item.unit,
        "score": number(item.score),
        "quality": item.quality.value,
        "informs_only": item.informs,
    }


def _doubtful(item: Reading) -> Document:
    return {
        **_read(item),
        "last_known": time(item.observed_at_s),
        "warm_at": time(item.warm_at_s),
        "held_until": time(item.held_until_s),
        "because": item.because,
    }


def _limit(item: Limit) -> Document:
    known = number(item.limit_usd) is not None
    return {
        "rule": item.rule,
        "name": item.name,
        "limit_usd": number(item.limit_usd),
        "used_usd": number(item.used_usd),
        "room_usd": number(item.room_usd) if known else None,
        "bound": item.bound,
        "because": item.because or None,
    }


def _alternative(item: Alternative) -> Document:
    option = item.instrument
    return {
        "layer": item.layer.value,
        "venue": option.venue,
        "instrument": option.id,
        "option_type": option.option_type.value,
        "strike_usd": option.strike_usd,
        "expiry_ts": time(option.expiry_s),
        "cost_usd_per_contract": number(item.cost_usd),
        "gain_usd_per_contract": number(item.gain_usd),
        "cost_per_gain": number(item.cost_per_gain),
        "chosen": item.chosen,
        "because": item.because,
    }


def _next(nearest: Nearest, tiers: TierPolicy) -> Document:
    """What would move the tier; ``size`` is the sum of the scores' moves."""
    return {
        "up": [_way(item) for item in nearest.up],
        "no_way_up": nearest.no_way or None,
        "confirm": {
            "frames": tiers.confirm,
            "seconds": tiers.confirm_s,
            "blocks": tiers.confirm_blocks,
        },
        "hard_triggers": [_rule(item) for item in nearest.triggers],
        "down": _down(nearest.down) if nearest.down is not None else None,
    }


def _way(item: Way) -> Document:
    return {"to": item.to.name, "by": item.by, "size": item.size, "changes": _shifts(item.shifts)}


def _down(item: Down) -> Document:
    return {
        "to": item.to.name,
        "changes": _shifts(item.shifts),
        "blocked_by": list(item.blocks),
        "wait_s": item.wait_s,
        "wait_begins": "now" if item.is_waiting else "when all of this has changed",
    }


def _shifts(shifts: Sequence[Shift]) -> list[Document]:
    return [
        {
            "signal": item.reading.signal,
            "name": item.reading.name,
            "subject": item.reading.subject,
            "source": item.reading.source,
            "family": item.reading.family.value,
            "reading": item.place,
            "score_from": number(item.reading.score),
            "score_to": item.score,
            "value_from": number(item.reading.value),
            "value_to": number(item.value),
            "unit": item.reading.unit,
        }
        for item in shifts
    ]


def _protocol(item: ProtocolDecision) -> Document:
    return {**protocol_document(item), "rules": [_rule(each) for each in item.findings]}


def _proposal(item: Proposal) -> Document:
    return {**proposal_document(item), "due": time(item.due_s)}


def _order(leg: HedgeLeg) -> Document:
    return {
        "key": leg.key,
        "group": leg.group,
        "layer": leg.layer.value,
        "side": leg.side.value,
        "venue": leg.instrument.venue,
        "option": leg.instrument.label,
        "contracts": leg.size,
        "limit_usd": leg.limit_usd,
        "expected_usd": leg.expected_usd,
        "indicative": leg.indicative,
        "because": leg.because,
    }
