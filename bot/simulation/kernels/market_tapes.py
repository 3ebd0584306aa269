"""Price, fees, funding and margin of one exposure and market, one column a step."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.group import read_group, spot_of
from bot.engine.perpetual import stress_price
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.market import Columns, FloatArray, Frame, Metric
from bot.model.units import YEAR_S
from bot.pipeline.moments import Moment, view_of
from bot.simulation.kernels.compiling import Floats, Integers
from bot.simulation.kernels.layout import (
    ACCRUES,
    COST,
    FEES_UNCOLLECTED_USD,
    GAS_USD,
    INCOME_USD,
    INITIAL_MARGIN,
    INTEGRAL,
    LOT,
    MAINTENANCE_MARGIN,
    MARKET_ROWS,
    MAX_UNITS,
    PENALTY,
    RATE,
    SPOT_USD,
    TERMS,
)
from bot.simulation.kernels.support import market_unsupported, tiers_unsupported
from bot.simulation.kernels.tapes import refuse
from bot.simulation.market.model import Market
from bot.venues.booked_perpetual import FUNDING_STANDS_S, funding_apr
from bot.venues.simulated_perpetual import PerpetualMarket

_TODAY = -1.0  # no deposit is known: today's tokens are what would have been kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketTape:
    """What the account looks at. ``rows`` and ``terms`` are as layout says, without what a policy decides."""

    times_s: Floats
    rows: Floats
    terms: Floats  # of the perpetual, without a shape and what a policy decides
    shapes: Floats  # of the position, one row each time that it was opened
    shape_from: Integers  # the first step of each shape

    @property
    def steps(self) -> int:
        return int(self.times_s.size)


def market_tape(moments: Sequence[Moment], market: Market) -> MarketTape:
    """Write down the market of every moment.

    Raises ConfigError, naming the reason, where the kernels' account would not be the engine's.
    """
    refuse((*tiers_unsupported(moments), *market_unsupported(market)))
    perpetual = market.perpetual
    if perpetual is None or not moments:
        raise ConfigError("a market tape needs a perpetual and a moment, found none")
    rows = np.array([_row(item, perpetual) for item in moments], dtype=np.float64).T.copy()
    last = moments[-1]
    times_s = np.array([item.now_s for item in moments], dtype=np.float64)
    rows[INTEGRAL] = funding_integral(
        last.columns, last.exposures[0].underlying, times_s, stands_s=FUNDING_STANDS_S
    )
    shapes = [_shape(item) for item in moments]
    starts = [step for step, shape in enumerate(shapes) if step == 0 or shape != shapes[step - 1]]
    return MarketTape(
        times_s=times_s,
        rows=rows,
        terms=_terms(perpetual),
        shapes=np.array([shapes[step] for step in starts], dtype=np.float64),
        shape_from=np.array(starts, dtype=np.int64),
    )


def _row(moment: Moment, market: PerpetualMarket) -> list[float]:
    exposure, view = moment.exposures[0], view_of(moment)
    name = exposure.underlying
    frame = Frame(
        now_s=moment.now_s, blocks=moment.blocks, columns=moment.columns, exposures=moment.exposures
    )
    spots = {exposure.spot_usd, view.spot_usd.get(name, math.nan), spot_of(frame, name, moment.exposures)}
    if len(spots) > 1:
        raise ConfigError(
            f"the kernels need one price of {name} at {moment.now_s:.0f}, found {sorted(spots)}; "
            "use the engine"
        )
    rate = funding_apr(moment.columns, name, now_s=moment.now_s)
    income = exposure.fee_income_30d_usd
    row = [math.nan] * MARKET_ROWS
    row[SPOT_USD] = exposure.spot_usd
    row[FEES_UNCOLLECTED_USD] = exposure.fees_uncollected_usd
    row[INCOME_USD] = income if math.isfinite(income) else 0.0
    row[RATE] = rate if exposure.spot_usd > 0.0 else math.nan
    row[ACCRUES] = 1.0 if moment.columns.find(Metric.FUNDING_APR, name) else 0.0
    row[COST], row[GAS_USD] = market.cost, market.gas_usd
    return row


def _shape(moment: Moment) -> tuple[float, float, float, float]:
    exposure = moment.exposures[0]
    shape, kept = exposure.shape, exposure.held_units
    return (shape.liquidity, shape.lower_usd, shape.upper_usd, kept if math.isfinite(kept) else _TODAY)


def _terms(market: PerpetualMarket) -> FloatArray:
    terms = np.zeros(TERMS)
    terms[INITIAL_MARGIN], terms[MAINTENANCE_MARGIN] = market.initial_margin, market.maintenance_margin
    terms[PENALTY], terms[LOT], terms[MAX_UNITS] = market.penalty, market.lot, market.max_units
    return terms


def stress_key(policy: Policy) -> Hashable:
    """Return the numbers that ``stress_series`` rests on."""
    sizing, rule = policy.sizing, policy.perpetual
    return (
        sizing.horizon_days,
        sizing.history_days,
        sizing.min_paths,
        sizing.confidence,
        sizing.loss_measure,
        sizing.factors,
        sizing.stable_window,
        policy.holds.price_max_age,
        rule.margin_days,
        rule.stress_quantile,
    )


def stress_series(policy: Policy, moments: Sequence[Moment]) -> FloatArray:
    """Return by which factor over the mark margin has to bear a rise, at each moment (R27)."""
    return np.array([_stress(policy, item) for item in moments], dtype=np.float64)


def _stress(policy: Policy, moment: Moment) -> float:
    frame = Frame(
        now_s=moment.now_s, blocks=moment.blocks, columns=moment.columns, exposures=moment.exposures
    )
    return stress_price(policy, read_group(policy, frame, moment.exposures[0].group), 1.0)


def funding_integral(
    columns: Columns, underlying: str, times_s: FloatArray, *, stands_s: float
) -> FloatArray:
    """Return the integral of the observed funding rate up to each time, in years x rate.

    Each rate holds until the next known one, for ``stands_s`` at most: as ``booked_perpetual.accrued_usd``.
    """
    keys = columns.find(Metric.FUNDING_APR, underlying)
    if not keys:
        return np.zeros(times_s.shape)
    column = columns[keys[0]]
    known = np.isfinite(column.values)
    at_s, rates = column.times_s[known], column.values[known]
    if not at_s.size:
        return np.zeros(times_s.shape)
    holds_s = np.minimum(np.append(np.diff(at_s), np.inf), stands_s)
    before = np.concatenate([[0.0], np.cumsum(rates * holds_s)])
    place = at_s.searchsorted(times_s, side="right") - 1
    inside_s = np.minimum(times_s - at_s[place], holds_s[place])
    return np.asarray(np.where(place >= 0, (before[place] + rates[place] * inside_s) / YEAR_S, 0.0))
