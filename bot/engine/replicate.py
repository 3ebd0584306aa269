"""Static replication of a group's loss by what is listed, one expiry at a time, for `alvh plan`.

The claim is what the group would have lost at that expiry (R10's measure); the menu is what refuse_quote lets
through, all-in. Sizes, whole lots within liquidity, make the mean miss over R8's paths to the expiry least,
and of equal ones the cheapest; the payoff never exceeds the loss by more than R10's tolerance at any point of
R10's grid. That is stricter than R10, which takes off what the legs are worth today. For people only: a
decision is sized by R8 and R9, which ask what a share of the loss may cost.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.engine.choose import refuse_quote
from bot.engine.group import Group
from bot.engine.layers import option_types
from bot.engine.limits import spot_grid
from bot.engine.policy import Policy
from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import FloatArray, Frame
from bot.quant.lp import LossMeasure, delta
from bot.quant.replication import LossClaim, ReplicationError, error_of
from bot.quant.replication_fit import FitRules, HedgeMenu, Replication, fit_replication, hedge_menu

_SPOTS = 101  # over the range; the error's bound says what lies between them
_SEARCH_NODES = 10  # over coarse lots, a few tenths of a second; a plan says where that proved nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationLeg:
    """What would be bought of one option."""

    instrument: Instrument
    contracts: float
    cost_usd: float  # all-in, gas included
    at_liquidity: bool  # more would be bought if more were for sale
    indicative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryReplication:
    """The best hedge of one expiry. Losses and errors are fractions of the group's value.

    They are over the spots from ``low_usd`` to ``high_usd``; NaN, with ``because``, when nothing is known.
    """

    expiry_s: int
    dte: float
    value_usd: float  # of the group
    low_usd: float
    high_usd: float
    legs: tuple[ReplicationLeg, ...]
    mean_loss: float  # without a hedge, over the paths' ends in the range
    mean_error: float  # of loss less payoff, either sign, likewise
    worst_error: float  # at the worst spot looked at
    worst_bound: float  # no spot of the range has more
    worst_usd: float  # that spot
    over_hedge_usd: float  # most by which the payoff is above the loss
    optimal: bool  # False: the search over lots ended at its limit
    usable: int  # options on the menu
    unusable: int
    unusable_because: str  # the commonest reason
    because: str  # why there is no hedge; empty where there is one

    @property
    def cost_usd(self) -> float:
        return math.fsum(leg.cost_usd for leg in self.legs)

    @property
    def cost_share(self) -> float:
        return self.cost_usd / self.value_usd

    @property
    def indicative(self) -> bool:
        return any(leg.indicative for leg in self.legs)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReplication:
    """One group's loss against every listed expiry. ``because`` says why there is nothing to replicate."""

    group: str
    value_usd: float
    measure: str  # R10: "usd" or "hold"
    confidence: float  # of each end of the range of spots
    expiries: tuple[ExpiryReplication, ...]
    because: str = ""


def replicate(policy: Policy, frame: Frame, group: Group) -> GroupReplication:
    """Return the best hedge of ``group`` at every listed expiry; indicative quotes count."""
    found = GroupReplication(
        group=group.name, value_usd=group.value_usd, measure=group.measure,
        confidence=group.confidence, expiries=(),
    )  # fmt: skip
    because = _why_not(group)
    if because:
        return replace(found, because=because)
    claim, wanted = _claim(group), option_types(policy)
    mine = [
        item
        for item in frame.quotes
        if item.instrument.underlying == group.hedged_by and item.instrument.option_type in wanted
    ]
    mine.sort(key=lambda item: (item.instrument, item.size))
    expiries = sorted({item.instrument.expiry_s for item in mine if item.instrument.expiry_s > frame.now_s})
    if not expiries:
        return replace(found, because=f"no {' or '.join(wanted)} on {group.hedged_by} is quoted")
    rows = (
        _expiry(policy, group, claim, [q for q in mine if q.instrument.expiry_s == expiry])
        for expiry in expiries
    )
    return replace(found, expiries=tuple(rows))


def _why_not(group: Group) -> str:
    if not group.exposures:
        return "the group has no position"
    if not (0.0 < group.own_spot_usd < math.inf):
        return f"the price of {group.underlying} is unknown"
    if not group.value_usd > 0.0:
        return "the positions are worth nothing: nothing can be lost"
    if group.unhedged:
        return group.unhedged
    if group.hedged_by != group.underlying:
        return f"options on {group.hedged_by} stand in for {group.underlying}: no strike is one of its own"
    return ""


def _claim(group: Group) -> LossClaim:
    """Return the summed loss as R10 measures it: under ``hold`` against the deposit where that is known."""
    shapes = tuple(item.shape for item in group.exposures)
    measure: LossMeasure = "hold" if group.measure == "hold" else "usd"
    if measure == "usd" or not any(math.isfinite(item.held_units) for item in group.exposures):
        return LossClaim(shapes=shapes, entry_usd=group.own_spot_usd, measure=measure)
    kept = math.fsum(
        item.held_units if math.isfinite(item.held_units) else float(delta(item.shape, group.own_spot_usd))
        for item in group.exposures
    )
    return LossClaim(shapes=shapes, entry_usd=group.own_spot_usd, measure="hold", kept_units=kept)


def _expiry(policy: Policy, group: Group, claim: LossClaim, listed: Sequence[Quote]) -> ExpiryReplication:
    whys = [refuse_quote(policy, group, item, allow_indicative=True) for item in listed]
    usable = [item for item, why in zip(listed, whys, strict=True) if not why]
    dte = listed[0].instrument.dte(group.now_s)
    ends = _path_ends(group, dte)
    spots = _spots(group, ends)
    menu = _menu(group, usable)
    rules = FitRules(over_hedge_tolerance=policy.sizing.over_hedge_tolerance, search_nodes=_SEARCH_NODES)
    guard = spot_grid(policy.sizing, group.spot_usd)
    grid = np.unique(np.concatenate([spots, guard]))
    fit = fit_replication(claim, menu, grid, weights=_density(ends, spots, grid), rules=rules)
    error = _within(claim, fit, spots)
    faults = [*(why for why in whys if why), *(why for _, why in fit.unusable)]
    legs = _legs(group, usable, fit)
    loss, miss = claim.payoff(error.spots), np.abs(error.residual_usd)
    inside = ends[(ends >= spots[0]) & (ends <= spots[-1])]
    return ExpiryReplication(
        expiry_s=listed[0].instrument.expiry_s,
        dte=dte,
        value_usd=claim.value_usd,
        low_usd=float(spots[0]),
        high_usd=float(spots[-1]),
        legs=legs,
        mean_loss=_mean(inside, error.spots, loss) / claim.value_usd,
        mean_error=_mean(inside, error.spots, miss) / claim.value_usd,
        worst_error=error.max_share,
        worst_bound=error.bound_share,
        worst_usd=float(error.spots[int(np.argmax(miss))]),
        over_hedge_usd=fit.over_hedge_usd,
        optimal=fit.optimal,
        usable=len(usable) - len(fit.unusable),
        unusable=len(faults),
        unusable_because=Counter(faults).most_common(1)[0][0] if faults else "",
        because="" if legs else _why_none(usable, faults),
    )


def _path_ends(group: Group, dte: float) -> FloatArray:
    """Return where R8's paths stand at the expiry, rising: log moves over its horizon by the root of time.

    Not paths as long as the expiry: a history has few such stretches, and its drift over them is no forecast.
    """
    moves = np.log(group.paths[:, -1] / group.spot_usd) * math.sqrt(dte / group.horizon_days)
    return np.asarray(np.sort(group.spot_usd * np.exp(moves)))


def _spots(group: Group, ends: FloatArray) -> FloatArray:
    """Return the range: between R8's confidence of the paths' ends on either side, today's spot inside."""
    tail = 1.0 - group.confidence
    low, high = np.quantile(ends, [tail, 1.0 - tail])
    low, high = min(low, 0.999 * group.spot_usd), max(high, 1.001 * group.spot_usd)
    return np.unique(np.concatenate([np.linspace(low, high, _SPOTS), [group.spot_usd]]))


def _density(ends: FloatArray, spots: FloatArray, grid: FloatArray) -> FloatArray:
    """Return the share of the paths per USD of spot at each point of the grid, 0 beyond the range."""
    edges = np.concatenate([[grid[0]], 0.5 * (grid[:-1] + grid[1:]), [grid[-1]]])
    below = np.interp(edges, ends, (np.arange(ends.size) + 0.5) / ends.size, left=0.0, right=1.0)
    inside = (grid >= spots[0]) & (grid <= spots[-1])
    density = np.where(inside, np.diff(below) / np.diff(edges), 0.0)
    return density if density.sum() > 0.0 else inside.astype(np.float64)


def _mean(inside: FloatArray, spots: FloatArray, values: FloatArray) -> float:
    """Return the mean over the paths that end in the range, of values at spots."""
    return float(np.interp(inside, spots, values).mean()) if inside.size else math.nan


def _menu(group: Group, usable: Sequence[Quote]) -> HedgeMenu:
    """Return what can be bought per unit of the underlying that is paid out in whole USD (R10).

    A leg costs at least as much as its gas: less is never worth an order.
    """
    units = np.array([_units(group, item.instrument) for item in usable])
    lots = np.array([item.lot for item in usable])
    least = np.array([max(item.min_size, item.gas_usd / item.unit_cost_usd) for item in usable])
    return hedge_menu(
        strikes=np.array([item.instrument.strike_usd for item in usable]),
        is_puts=np.array([item.instrument.option_type is OptionType.PUT for item in usable], dtype=np.bool_),
        unit_costs_usd=np.array([item.unit_cost_usd for item in usable]) / units,
        liquidity=np.array([item.liquidity for item in usable]) * units,
        lots=lots * units,
        min_sizes=np.where(least > lots, least, 0.0) * units,
    )


def _units(group: Group, instrument: Instrument) -> float:
    return instrument.multiplier * group.stable_usd.get(instrument.settlement, 1.0)


def _within(claim: LossClaim, fit: Replication, spots: FloatArray) -> ReplicationError:
    """Return the error over the range alone; settled legs are straight between their strikes."""
    nodes = fit.error.spots
    inside = (nodes >= spots[0]) & (nodes <= spots[-1])
    stretches = np.zeros(int(inside.sum()) - 1)
    return error_of(claim, nodes[inside], fit.error.residual_usd[inside], stretches)


def _legs(group: Group, usable: Sequence[Quote], fit: Replication) -> tuple[ReplicationLeg, ...]:
    """Return what is bought, puts first, by strike."""
    rows = zip(usable, fit.sizes.tolist(), fit.at_liquidity.tolist(), strict=True)
    legs = (
        ReplicationLeg(
            instrument=item.instrument,
            contracts=round(size / _units(group, item.instrument), 9),
            cost_usd=size / _units(group, item.instrument) * item.unit_cost_usd + item.gas_usd,
            at_liquidity=full,
            indicative=item.indicative,
        )
        for item, size, full in rows
        if size > 0.0
    )
    return tuple(sorted(legs, key=_by_strike))


def _by_strike(leg: ReplicationLeg) -> tuple[bool, float, Instrument]:
    option = leg.instrument
    return option.option_type is OptionType.CALL, option.strike_usd, option


def _why_none(usable: Sequence[Quote], faults: Sequence[str]) -> str:
    if usable:
        return "no whole lot of a listed strike comes closer to the loss than no hedge"
    return f"no usable quote: {faults[0]}" if faults else "nothing is quoted"
