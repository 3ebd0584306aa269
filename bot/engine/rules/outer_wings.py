"""R5: when wings far out are added, and how far out. The layers place and buy them."""

import math
from dataclasses import dataclass

from bot.engine.policy import Policy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.model.tier import Reading, RuleFinding
from bot.quant.indicators import Divergence
from bot.signals.macd import price_divergence

RULE = "R5"


@dataclass(frozen=True, slots=True, kw_only=True)
class WingDirective:
    """What R5 wants of the layers for one group."""

    add: bool
    beyond_break_even: (
        tuple[float, float] | None
    )  # least and most distance past the break-even, fraction of it
    out_of_the_money: (
        tuple[float, float] | None
    )  # in place of it: least and most distance from spot, fraction
    near_cap: float | None  # points; NEAR's most while wings are added, None without a cap
    as_verticals: bool  # with a short leg beyond it, where the venue lists both; else long legs alone
    finding: RuleFinding


def outer_wings(policy: Policy, context: TierContext) -> WingDirective:
    """Return whether outer wings are added: S12 at its rank or above, and a bearish divergence of MACD.

    In backwardation (S13) with S18 under its median they stand nearer, by distance from spot. A signal that
    is not known adds nothing, and an unknown S13 or S18 keeps the wings at their distance from break-even.
    """
    rule, rank = policy.outer_wings, context.reading("S12")
    is_rich = rank is not None and round(rank.value, SCORE_DIGITS) >= rule.iv_rank
    diverges = price_divergence(
        context.frame.columns,
        now_s=context.frame.now_s,
        policy=policy.signals,
        subject=context.underlying,
    )
    add = is_rich and diverges is Divergence.BEARISH
    nearer = add and _is_backwardated(policy, context) and _is_cheap(context)
    said = (_rank_words(policy, rank), _macd_words(diverges), _where(policy, add=add, nearer=nearer))
    return WingDirective(
        add=add,
        beyond_break_even=rule.beyond_break_even if add and not nearer else None,
        out_of_the_money=rule.backwardated_otm if nearer else None,
        near_cap=rule.near_cap if add else None,
        as_verticals=add and rule.short_legs,
        finding=RuleFinding(
            rule=RULE,
            fired=add,
            because="; ".join(said),
            missed=max(rule.iv_rank - rank.value, 0.0) if rank is not None and not add else math.nan,
            unit="rank of S12",
        ),
    )


def _is_backwardated(policy: Policy, context: TierContext) -> bool:
    term = context.reading("S13")
    return term is not None and round(term.value, SCORE_DIGITS) > policy.near.backwardation_over


def _is_cheap(context: TierContext) -> bool:
    """Return whether S18 is under its median: its value is against that median."""
    found = context.reading("S18")
    return found is not None and round(found.value, SCORE_DIGITS) < 1.0


def _rank_words(policy: Policy, rank: Reading | None) -> str:
    if rank is None:
        return "S12 is not known"
    missed = policy.outer_wings.iv_rank - rank.value
    return f"S12 {rank.value:.2f} of {policy.outer_wings.iv_rank:g}" + (
        f", missed by {missed:.2f}" if missed > 0.0 else ""
    )


def _macd_words(diverges: Divergence | None) -> str:
    if diverges is None:
        return "whether MACD diverges from price is not known"
    if diverges is Divergence.BEARISH:
        return "MACD diverges from price"
    return "MACD does not diverge from a rising price"


def _where(policy: Policy, *, add: bool, nearer: bool) -> str:
    rule = policy.outer_wings
    if not add:
        return "no outer wing is added"
    legs = "as verticals where both legs are listed" if rule.short_legs else "long legs alone"
    low, high = rule.backwardated_otm if nearer else rule.beyond_break_even
    where = "out of the money (backwardation, S18 under its median)" if nearer else "beyond break-even"
    return f"wings {low:.0%} to {high:.0%} {where}, {legs}; NEAR at most {rule.near_cap:g} points"
