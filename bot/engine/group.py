"""What one hedge group is and stands to lose: its spot, value curve, price paths and value at risk."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bot.engine.group_paths import group_paths
from bot.engine.policy import Policy
from bot.model.exposure import Exposure, LpShape
from bot.model.hedge import HeldCondor, HeldHedge, Instrument, OptionType, Quote
from bot.model.market import Column, FloatArray, Frame, Metric
from bot.model.perpetual import HeldPerpetual
from bot.model.units import DAY_S, YEAR_DAYS
from bot.quant import lp, payoff
from bot.quant.options import price
from bot.quant.var import value_at_risk


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """One hedge group at one frame. Losses are positive USD, on the same paths as every gain (R8).

    Spots and paths are those of ``hedged_by``, which is the group's own underlying unless it is a token that
    options on ETH or BTC stand in for: then its losses are on its own paths, row by row beside these.
    """

    name: str
    underlying: str
    stable: str
    hedged_by: str  # underlying of the options
    beta: float  # of the underlying's log return on that of ``hedged_by``; 1 where they are the same
    basis: str  # what another underlying's options leave unhedged, for R8's finding
    unhedged: str  # why no option may be bought at all; empty where one may
    own_spot_usd: float
    exposures: tuple[Exposure, ...]
    held: tuple[HeldHedge, ...]
    now_s: float
    spot_usd: float
    value_usd: float
    measure: str  # "usd" or "hold"
    stable_usd: Mapping[str, float]  # settlement asset -> what one counts for, min(1, price) (R10)
    paths: FloatArray  # [path, day]
    losses_usd: FloatArray  # at the horizon, one per path
    var_usd: float  # >= 0
    var_method: str
    daily_returns: int  # that the paths were drawn from
    confidence: float
    unseen: tuple[str, ...] = ()  # positions that may belong to it and were not read yet
    quotes: Sequence[Quote] = ()  # all of the frame
    condors: tuple[HeldCondor, ...] = ()  # sold on top (R16); their losses are in ``losses_usd``
    perpetuals: tuple[HeldPerpetual, ...] = ()  # NEAR's (R27), beside the options and R8's share
    terms: dict[tuple[tuple[Instrument, float], ...], "Contracts"] = field(
        default_factory=dict, init=False, repr=False
    )  # what group_contracts worked out already
    marks_usd: dict[tuple[Instrument, float], float] = field(
        default_factory=dict, init=False, repr=False
    )  # of one contract, in those terms
    gains: dict[tuple[Instrument, float], FloatArray] = field(
        default_factory=dict, init=False, repr=False
    )  # what path_gains did

    @property
    def horizon_days(self) -> int:
        return int(self.paths.shape[1]) - 1

    @property
    def worst(self) -> FloatArray:
        """Return which paths lose at least the value at risk (never none)."""
        return np.asarray(np.flatnonzero(self.losses_usd >= self.var_usd))

    def loss_at(self, spots: FloatArray) -> FloatArray:
        """Return the group's loss in USD if the spot went from today's to ``spots``, the token's by beta."""
        own = np.asarray(spots)
        if self.hedged_by != self.underlying:
            own = self.own_spot_usd * (own / self.spot_usd) ** self.beta
        return group_loss(self.exposures, self.own_spot_usd, own, measure=self.measure)

    @property
    def delta(self) -> float:
        """Return the units of ``hedged_by`` that move as the group does now, >= 0; NaN unknown.

        Under ``hold`` the tokens that would have been kept are taken off: in the range little is left.
        """
        units = 0.0
        for item in self.exposures:
            own = float(lp.delta(item.shape, self.own_spot_usd))
            kept = item.held_units if math.isfinite(item.held_units) else own
            units += own - (kept if self.measure == "hold" else 0.0)
        if self.hedged_by != self.underlying:
            units *= self.beta * self.own_spot_usd / self.spot_usd
        return max(units, 0.0) if math.isfinite(units) else math.nan

    @property
    def fee_income_usd(self) -> float:
        """Return the fee income of the last 30 days as far as it is known; 0 where none is."""
        known = (item.fee_income_30d_usd for item in self.exposures)
        return math.fsum(usd for usd in known if math.isfinite(usd))


def group_names(frame: Frame) -> tuple[str, ...]:
    """Return the groups of all exposures, and of hedges of every kind whose exposure is gone, in order."""
    names = {item.group for item in frame.exposures}
    covered = {name.split("/")[0] for name in names}
    orphans = {
        hedge.group or f"{hedge.instrument.underlying}/"
        for hedge in frame.held
        if hedge.instrument.underlying not in covered
    }
    names |= {item.group for item in frame.condors} | {item.group for item in frame.perpetuals}
    return tuple(sorted(names | orphans))


def read_group(policy: Policy, frame: Frame, name: str) -> Group:
    """Return the group ``name`` of a frame. Without a price, everything it could lose is NaN."""
    exposures = tuple(item for item in frame.exposures if item.group == name)
    underlying, _, stable = name.partition("/")
    measure, horizon = policy.sizing.loss_measure, policy.sizing.horizon_days
    own_usd, held = spot_of(frame, underlying, exposures), held_by(frame, name)
    flat = np.ones((1, horizon + 1))
    drawn = _Drawn(spots=flat, own=flat, hedged_by=_settled_hedge(frame, underlying, held) or underlying)
    if exposures and 0.0 < own_usd < math.inf:
        drawn = _draw(policy, frame, underlying, held)
    spot_usd = own_usd if drawn.hedged_by == underlying else spot_of(frame, drawn.hedged_by)
    losses = group_loss(exposures, own_usd, own_usd * drawn.own[:, -1], measure=measure)
    at_risk = value_at_risk(losses, confidence=policy.sizing.confidence)
    return Group(
        name=name,
        underlying=underlying,
        stable=stable,
        hedged_by=drawn.hedged_by,
        beta=drawn.beta,
        basis=drawn.basis,
        unhedged=drawn.unhedged,
        own_spot_usd=own_usd,
        exposures=exposures,
        held=held,
        now_s=frame.now_s,
        spot_usd=spot_usd,
        value_usd=float(sum(value_now(item, own_usd) for item in exposures)),
        measure=measure,
        stable_usd=stable_values(policy, frame),
        paths=spot_usd * drawn.spots,
        losses_usd=losses,
        var_usd=at_risk if at_risk > 0.0 or math.isnan(at_risk) else 0.0,
        var_method=drawn.method,
        daily_returns=drawn.returns,
        confidence=policy.sizing.confidence,
        unseen=frame.unseen,
        quotes=frame.quotes,
        perpetuals=tuple(item for item in frame.perpetuals if item.group == name),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawn:
    """Unit paths of what the options are on and of the group's underlying, and what they rest on."""

    spots: FloatArray
    own: FloatArray
    hedged_by: str
    beta: float = 1.0
    basis: str = ""
    unhedged: str = ""
    method: str = "nothing to lose"
    returns: int = 0


def _draw(policy: Policy, frame: Frame, underlying: str, held: Sequence[HeldHedge]) -> _Drawn:
    """Return the unit paths of a group with something to lose."""
    found = group_paths(policy, frame, underlying, hedge=_settled_hedge(frame, underlying, held))
    fit, unhedged = found.stands_in, found.unhedged
    return _Drawn(
        spots=found.hedge.spots,
        own=found.own.spots,
        hedged_by=found.hedged_by or underlying,
        beta=fit.fit.slope if fit and found.hedged_by else 1.0,
        basis=f"hedged by options on {found.hedged_by}: {fit.because}" if fit and not unhedged else "",
        unhedged=unhedged,
        method=found.own.method,
        returns=found.own.returns_known,
    )


def _settled_hedge(frame: Frame, underlying: str, held: Sequence[HeldHedge]) -> str:
    """Return the underlying of the group's options where that is no question: of what it holds, else its own
    where any option on it is quoted; empty where a factor may stand in (R8)."""
    alive = [item.instrument.underlying for item in held if item.instrument.expiry_s > frame.now_s]
    if alive:
        return underlying if underlying in alive else alive[0]
    return underlying if any(item.instrument.underlying == underlying for item in frame.quotes) else ""


def spot_of(frame: Frame, underlying: str, exposures: Sequence[Exposure] = ()) -> float:
    """Return the newest price of the underlying, else the one its exposures were valued at, else NaN."""
    spot_usd, _ = primary_price(frame, underlying)
    if 0.0 < spot_usd < math.inf:
        return spot_usd
    return next((item.spot_usd for item in exposures if 0.0 < item.spot_usd < math.inf), math.nan)


def primary_price(frame: Frame, underlying: str) -> tuple[float, float]:
    """Return the primary source's last known (price, time); NaN and -inf when there is none."""
    for key in frame.columns.find(Metric.PRICE_USD, underlying)[:1]:
        column = frame.columns[key].until(frame.now_s)
        last = column.last_known()
        if last >= 0:
            return float(column.values[last]), float(column.times_s[last])
    return math.nan, -math.inf


def held_by(frame: Frame, name: str) -> tuple[HeldHedge, ...]:
    """Return the hedges of a group; one of no present group goes to the first group of its underlying."""
    groups = group_names(frame)

    def owner(hedge: HeldHedge) -> str:
        if hedge.group in groups:
            return hedge.group
        underlying = hedge.instrument.underlying
        return next((each for each in groups if each.partition("/")[0] == underlying), "")

    held = sorted(frame.held, key=lambda each: (each.instrument, each.id))
    return tuple(hedge for hedge in held if owner(hedge) == name)


def stable_values(policy: Policy, frame: Frame) -> Mapping[str, float]:
    """Return what a unit of each priced asset counts for as settlement: min(1, its TWAP) or NaN (R10).

    The first source that can tell counts; NaN when none can, so that nothing is sized on a guess.
    """
    values: dict[str, float] = {}
    for key in frame.columns.find(Metric.PRICE_USD):
        if math.isnan(values.get(key.subject, math.nan)):
            values[key.subject] = float(np.minimum(1.0, _mean_price(policy, frame, frame.columns[key])))
    return values


def _mean_price(policy: Policy, frame: Frame, column: Column) -> float:
    """Return the time-weighted mean over ``stable_window``; NaN when failed, late or not a price.

    Each price holds until the next one, the one before the window from the window's start. Nothing older
    than ``price_max_age`` is looked at.
    """
    now_s = frame.now_s
    recent = column.until(now_s).since(now_s - policy.holds.price_max_age)
    known = np.isfinite(recent.values)
    if not recent.values.size or not known[-1]:
        return math.nan
    starts_s = np.maximum(recent.times_s[known], now_s - policy.sizing.stable_window)
    prices, held_s = recent.values[known], np.diff(np.append(starts_s, now_s))
    whole_s = float(held_s.sum())
    mean = float((prices * held_s).sum()) / whole_s if whole_s > 0.0 else float(prices[-1])
    return mean if mean > 0.0 else math.nan


def value_now(exposure: Exposure, spot_usd: float) -> float:
    """Return what a position is worth at one spot; several rules of a decision ask for the same."""
    return _lp_value(exposure.shape, spot_usd)


@lru_cache(maxsize=256)
def _lp_value(shape: LpShape, spot_usd: float) -> float:
    return float(lp.value(shape, spot_usd))


def group_loss(
    exposures: Sequence[Exposure], spot_usd: float, spots: FloatArray, *, measure: str
) -> FloatArray:
    """Return the loss in USD of a move from ``spot_usd`` to ``spots``; negative is a gain (R8, R10).

    ``hold`` compares with keeping the deposited tokens, or today's tokens where the deposit is unknown.
    """
    total = np.zeros(np.shape(spots))
    for item in exposures:
        total += value_now(item, spot_usd) - lp.value(item.shape, spots)
        if measure == "hold":
            units, _ = lp.amounts(item.shape, spot_usd)
            kept = item.held_units if math.isfinite(item.held_units) else float(units)
            total += kept * (np.asarray(spots) - spot_usd)
    return total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contracts:
    """Terms of some options as parallel arrays; values are per contract, in USD."""

    strikes: FloatArray
    is_puts: NDArray[np.bool_]
    dte: FloatArray
    ivs: FloatArray
    units: FloatArray  # underlying per contract x what its settlement asset counts for
    marks_usd: FloatArray  # model value today

    @property
    def count(self) -> int:
        return int(self.strikes.size)

    def path_gains(self, paths: FloatArray) -> FloatArray:
        """Return gain from today's mark at the end of each path, [option, path] (R8).

        Alive at the horizon: model value with today's implied vol. Expired on the path: settlement there.
        """
        values = payoff.horizon_values(
            paths, strikes=self.strikes, is_puts=self.is_puts, dte=self.dte, ivs=self.ivs, sizes=self.units
        )
        return np.asarray(values - self.marks_usd[:, np.newaxis])

    def gains_at(self, spots: FloatArray, days_ahead: float) -> FloatArray:
        """Return gain from today's mark if the spot is ``spots`` after ``days_ahead``, [option, spot]."""
        return np.asarray(self.gains_over(spots, np.array([days_ahead]))[0])

    def gains_over(self, spots: FloatArray, days_ahead: FloatArray) -> FloatArray:
        """Return ``gains_at`` at each of ``days_ahead``, [day, option, spot]."""
        years = (self.dte - days_ahead[:, np.newaxis]) / YEAR_DAYS
        strikes, puts, ivs, units, marks = (
            item[:, np.newaxis] for item in (self.strikes, self.is_puts, self.ivs, self.units, self.marks_usd)
        )
        values = units * price(spots, strikes, years[:, :, np.newaxis], ivs, is_put=puts)
        return np.asarray(values - marks)


def contracts_of(
    options: Sequence[tuple[Instrument, float]],
    *,
    now_s: float,
    spot_usd: float,
    stable_usd: Mapping[str, float],
    known_usd: dict[tuple[Instrument, float], float],
) -> Contracts:
    """Return the terms of (instrument, implied vol) pairs. A settlement asset without a price counts as 1.

    ``known_usd`` are marks at this spot and time, and takes those that it lacks.
    """
    instruments = [instrument for instrument, _ in options]
    strikes = np.array([item.strike_usd for item in instruments], dtype=np.float64)
    is_puts = np.array([item.option_type is OptionType.PUT for item in instruments], dtype=np.bool_)
    dte = np.array([(item.expiry_s - now_s) / DAY_S for item in instruments], dtype=np.float64)
    ivs = np.array([iv for _, iv in options], dtype=np.float64)
    units = np.array(
        [item.multiplier * stable_usd.get(item.settlement, 1.0) for item in instruments], dtype=np.float64
    )
    marks = [known_usd.get(item) for item in options]
    new = [place for place, usd in enumerate(marks) if usd is None]
    if new:
        years = dte[new] / YEAR_DAYS
        found = units[new] * price(spot_usd, strikes[new], years, ivs[new], is_put=is_puts[new])
        for place, usd in zip(new, found.tolist(), strict=True):
            marks[place] = known_usd[options[place]] = usd
    return Contracts(
        strikes=strikes,
        is_puts=is_puts,
        dte=dte,
        ivs=ivs,
        units=units,
        marks_usd=np.array(marks, dtype=np.float64),
    )


def group_contracts(group: Group, options: Sequence[tuple[Instrument, float]]) -> Contracts:
    """Return the terms of options at this group's spot and time; NaN for one on another underlying."""
    key = tuple((item, iv if item.underlying == group.hedged_by else math.nan) for item, iv in options)
    found = group.terms.get(key)
    if found is None:
        found = group.terms[key] = contracts_of(
            key,
            now_s=group.now_s,
            spot_usd=group.spot_usd,
            stable_usd=group.stable_usd,
            known_usd=group.marks_usd,
        )
    return found


def path_gains(group: Group, options: Sequence[tuple[Instrument, float]]) -> FloatArray:
    """Return the gain of one contract of each option on every path of the group, [option, path] (R8).

    Several rules of a decision ask for the same options, alone and together.
    """
    new = [key for key in dict.fromkeys(options) if key not in group.gains]
    if new:
        rows = group_contracts(group, new).path_gains(group.paths)
        group.gains.update(zip(new, rows, strict=True))
    return np.stack([group.gains[key] for key in options])
