"""R19 DIVERSIFICATION: how exposure is spread over protocols, chains, governance types and stables."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.base_layers.levelling import levelled, moves_between
from bot.engine.policy import Policy
from bot.engine.policy_base import ConcentrationLimits
from bot.engine.rules.context import SCORE_DIGITS
from bot.model.base_layers import Action, BaseLayer, Concentration, Move, Proposal
from bot.model.exposure import Exposure
from bot.model.market import Frame
from bot.model.tier import RuleFinding, Tier
from bot.quant.statistics import herfindahl

RULE = "R19"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dimension:
    name: str
    limits: Callable[[Policy], ConcentrationLimits]
    of: Callable[[Policy, Exposure], str]  # "" where it is not known


_DIMENSIONS = (
    _Dimension(
        name="protocol",
        limits=lambda policy: policy.diversification.protocol,
        of=lambda _, item: item.protocol,
    ),
    _Dimension(
        name="chain",
        limits=lambda policy: policy.diversification.chain,
        of=lambda _, item: f"chain {item.chain_id}",
    ),
    _Dimension(
        name="governance type",
        limits=lambda policy: policy.diversification.governance,
        of=lambda policy, item: policy.diversification.governance_of(item.protocol),
    ),
    _Dimension(
        name="stable", limits=lambda policy: policy.diversification.stable, of=lambda _, item: item.stable
    ),
)


def diversification(
    policy: Policy, frame: Frame, protocol_tiers: Mapping[str, Tier]
) -> tuple[tuple[Proposal, ...], tuple[RuleFinding, ...]]:
    """Return what to move where a limit is broken, and a finding for every dimension.

    A place whose own protocol tier is above GUARDED gets nothing. Where exposure is not known, nothing is
    proposed.
    """
    proposals, findings = [], []
    for dimension in _DIMENSIONS:
        held, found = _spread(policy, frame, dimension)
        broken = is_broken(found)
        moves = _repair(held, found, protocol_tiers, dimension.name) if broken else ()
        because = spoken(found, moves)
        findings.append(RuleFinding(rule=RULE, fired=broken, because=because))
        if moves:
            proposals.append(_proposal(dimension.name, moves, because))
    return tuple(proposals), tuple(findings)


def concentrations(policy: Policy, frame: Frame) -> tuple[Concentration, ...]:
    """Return how exposure is spread, one value for each dimension."""
    return tuple(_spread(policy, frame, dimension)[1] for dimension in _DIMENSIONS)


def is_broken(found: Concentration) -> bool:
    """Return whether a limit is broken for certain: what is not known breaks none."""
    over = (found.largest[1] - found.share_limit, found.hhi - found.hhi_limit)
    return any(round(item, SCORE_DIGITS) > 0.0 for item in over)  # NaN compares as False


def spoken(found: Concentration, moves: Sequence[Move] = ()) -> str:
    """Return shares, limits and the repair in one line."""
    if not found.shares:
        return f"{found.dimension}: {found.unknown or 'nothing is held'}"
    name, share = found.largest
    words = [f"{found.dimension}: {name} has {share:.1%} of exposure{_limit(found.share_limit, '.0%')}"]
    words.append("HHI unknown" if math.isnan(found.hhi) else f"HHI {found.hhi:.3f}{_limit(found.hhi_limit)}")
    if found.unknown:
        words.append(found.unknown)
    if moves:
        each = ", ".join(f"{item.usd:,.0f} USD from {item.source} to {item.target}" for item in moves)
        words.append(f"the least that repairs it: {each}")
    return "; ".join(words)


def worth_usd(item: Exposure) -> float:
    """Return a position's value with its uncollected fees; NaN where it is not known."""
    value = item.value_usd + (item.fees_uncollected_usd if item.fees_uncollected_usd > 0.0 else 0.0)
    return value if 0.0 <= value < math.inf else math.nan


def _spread(policy: Policy, frame: Frame, dimension: _Dimension) -> tuple[dict[str, float], Concentration]:
    """Return the money in each place of a dimension ("": nobody says which), and what it comes to."""
    held: dict[str, float] = {}
    unnamed: set[str] = set()
    for item in frame.exposures:
        name = dimension.of(policy, item)
        held[name] = held.get(name, 0.0) + worth_usd(item)
        if not name:
            unnamed.add(item.protocol)
    total = sum(held.values()) if not frame.unseen else math.nan
    limits = dimension.limits(policy)
    named = sorted((-usd, name) for name, usd in held.items() if name) if total > 0.0 else []
    found = Concentration(
        dimension=dimension.name,
        shares=tuple((name, -usd / total) for usd, name in named),
        hhi=herfindahl(np.array(list(held.values()))) if total > 0.0 and not unnamed else math.nan,
        share_limit=math.inf if limits.share is None else limits.share,
        hhi_limit=math.inf if limits.hhi is None else limits.hhi,
        unknown=_unknown(frame, dimension.name, total, unnamed),
    )
    return held, found


def _unknown(frame: Frame, dimension: str, total: float, unnamed: set[str]) -> str:
    if frame.unseen:
        return f"not known while {', '.join(sorted(frame.unseen))} was not read"
    if math.isnan(total):
        worthless = sorted(item.id for item in frame.exposures if math.isnan(worth_usd(item)))
        return f"not known: {', '.join(worthless)} has no value"
    if unnamed and total > 0.0:
        return f"{dimension} of {', '.join(sorted(unnamed))} is not listed in the policy"
    return ""


def _repair(
    held: Mapping[str, float], found: Concentration, tiers: Mapping[str, Tier], dimension: str
) -> tuple[Move, ...]:
    """Return the least transfers; what is not named keeps its money and its HHI is not known."""
    named = {name: usd for name, usd in held.items() if name}
    after = levelled(
        named,
        [name for name in named if tiers.get(name, Tier.CALM) <= Tier.GUARDED],
        share=found.share_limit,
        hhi=math.inf if math.isnan(found.hhi) else found.hhi_limit,
        new=f"another {dimension}",
        beside=held.get("", 0.0),
    )
    return moves_between(named, after)


def _proposal(dimension: str, moves: tuple[Move, ...], because: str) -> Proposal:
    return Proposal(
        rule=RULE,
        layer=BaseLayer.DIVERSIFICATION,
        action=Action.MOVE,
        subject=dimension,
        amount_usd=sum(item.usd for item in moves),
        because=because,
        moves=moves,
    )


def _limit(limit: float, form: str = "g") -> str:
    return f" (limit {limit:{form}})" if math.isfinite(limit) else ""
