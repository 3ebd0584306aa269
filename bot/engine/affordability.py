"""Whether R9 lets each tier's share of R8 be bought in one session, worked out on quotes at stressed vol.

The same sizing and guards as a decision, with nothing held and nothing spent: once within the caps, once
without, so that the difference is the caps' alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.engine.limits import BUDGET_30D_CAP, SESSION_CAP, premium_caps
from bot.engine.policy import Policy
from bot.engine.protection import Protection, price_protection
from bot.model.hedge import Layer
from bot.model.market import Frame
from bot.model.tier import Tier

_NEAR_ENOUGH = 0.02  # of the wanted share: lots are whole, and a session is not judged on the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class Affordability:
    """One tier of one exposure. Money is USD; shares are fractions of value at risk (R8)."""

    tier: Tier
    value_usd: float
    var_usd: float
    wanted_share: float
    listed_share: float  # that the listed options reach, no premium cap counted; NaN unknown
    reached_share: float  # that one session from nothing reaches within R9; NaN unknown
    needed_usd: float  # most that the uncapped purchases may cost: slippage, swap and gas included
    session_usd: float  # R9's room in a session
    month_usd: float  # and in 30 days, which is all that more sessions can have
    caps: tuple[str, ...]  # of R9 and R10, that cut the session's purchases
    missing: tuple[str, ...]  # layers with no instrument in their band

    @property
    def in_one_session(self) -> bool:
        """Whether a session buys what the listed options can remove; False where that is unknown."""
        goal = min(self.wanted_share, self.listed_share)
        return self.reached_share >= goal * (1.0 - _NEAR_ENOUGH)


def affordability(policy: Policy, frame: Frame, *, group: str) -> tuple[Affordability, ...]:
    """Return what a session can buy for ``group`` at every tier, its layers' triggers taken as fired.

    ``frame`` holds the exposure, the quotes and the prices that VaR is worked out from. Raises NotFoundError
    when it has no such group.
    """
    free = _without_caps(policy)
    return tuple(
        _tier(
            policy,
            frame,
            price_protection(policy, frame, group=group, tier=tier),
            price_protection(free, frame, group=group, tier=tier),
        )
        for tier in Tier
    )


def _tier(policy: Policy, frame: Frame, within: Protection, free: Protection) -> Affordability:
    caps = premium_caps(policy, frame, exposure_usd=within.value_usd)
    rooms = {cap.name: cap.room_usd for cap in caps}
    return Affordability(
        tier=within.tier,
        value_usd=within.value_usd,
        var_usd=within.var_usd,
        wanted_share=within.wanted_share,
        listed_share=free.covered_share,
        reached_share=within.covered_share,
        needed_usd=_most_usd(policy, free),
        session_usd=rooms[SESSION_CAP],
        month_usd=rooms[BUDGET_30D_CAP],
        caps=_unique([item.cap.partition(" (")[0] for item in within.shortfalls if item.cap]),
        missing=_unique([item.layer for item in free.shortfalls if math.isnan(item.missing_contracts)]),
    )


def _most_usd(policy: Policy, protection: Protection) -> float:
    slip = policy.orders.max_slippage
    return sum((leg.cost_usd + slip * leg.premium_usd for leg in protection.legs), 0.0)


def _without_caps(policy: Policy) -> Policy:
    """Return the policy with R9 and R11 set aside: all of the exposure may be spent at once."""
    budget = replace(
        policy.budget,
        defined_risk_capital=1.0,
        session_share=1.0,
        budget_30d=1.0,
        budget_365d=1.0,
        escalation_reserve=False,
        venue_share=1.0,
    )
    guard = replace(policy.cost_guard, carry_floor=1.0)
    return replace(policy, budget=budget, cost_guard=guard)


def _unique(names: Sequence[str | Layer]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, names)))
