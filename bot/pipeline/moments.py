"""A moment: what a source knows at one time, and what a venue may know of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.engine.policy import Policy
from bot.model.base_layers import NOTHING_STATED, BaseHoldings
from bot.model.exposure import Exposure
from bot.model.market import Block, Columns, Metric
from bot.model.policy_vote import PolicyVote
from bot.ports import MarketView


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """A frame before the venues were asked: what a source knows at one time."""

    now_s: float
    blocks: Mapping[int, Block]
    columns: Columns
    exposures: tuple[Exposure, ...]
    holds: tuple[str, ...] = field(default=())
    unseen: tuple[str, ...] = field(default=())  # positions that were not read since the start
    base: BaseHoldings = NOTHING_STATED  # of the base layers
    vote: PolicyVote | None = None  # what the policy registry has put in force


def view_of(moment: Moment, *, max_age_s: float = math.inf) -> MarketView:
    """Return what a venue may know of a moment. A price older than ``max_age_s`` is unknown to it."""
    prices = {
        key.subject: _fresh(moment.columns.latest(Metric.PRICE_USD, key.subject), moment.now_s - max_age_s)
        for key in moment.columns.find(Metric.PRICE_USD)
    }
    return MarketView(
        now_s=moment.now_s,
        block=next(iter(moment.blocks.values()), None),
        columns=moment.columns,
        spot_usd=prices,
        stable_usd=prices,
    )


def _fresh(latest: tuple[float, float], since_s: float) -> float:
    value, observed_at_s = latest
    return value if observed_at_s >= since_s else math.nan


def view_spots(columns: Columns, exposures: Sequence[Exposure]) -> Mapping[str, float]:
    """Return the newest price of every underlying that is protected; NaN when none is known."""
    return {
        name: columns.latest(Metric.PRICE_USD, name)[0]
        for name in sorted({item.underlying for item in exposures})
    }


def quote_sizes(policy: Policy, exposures: Sequence[Exposure], view: MarketView) -> dict[str, float]:
    """Return, per underlying with a known price, how many contracts to ask quotes for.

    A token's exposure asks for the factors' options too, which may stand in for its own (R8).
    """
    sizes: dict[str, float] = {}
    factors = policy.sizing.factors.assets
    for item in exposures:
        for name in (item.underlying, *(factors if item.underlying not in factors else ())):
            spot = view.spot_usd.get(name, math.nan)
            if spot > 0.0 and item.value_usd > 0.0:
                units = policy.orders.quote_share * item.value_usd / spot
                sizes[name] = sizes.get(name, 0.0) + units
    return sizes
