"""What a report says, whatever the mode; and the report of a backtest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bot.model.hedge import Side
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.tier import Tier
from bot.pipeline.perpetual_book import perpetual_book_of
from bot.simulation.attribution import Attribution, HedgeParts, Held, Marks, hedge_parts, position_parts
from bot.simulation.market.implied_vols import HOLE_S
from bot.simulation.metrics import max_drawdown
from bot.simulation.report.decided import Decided, Told, decided_of
from bot.simulation.report.money import FILLED, Money, Paid, money_of, paid_of, perpetual_money_of
from bot.simulation.report.payoff_view import Payoff, payoff_of
from bot.simulation.results import (
    ALVH,
    UNHEDGED,
    BacktestResult,
    Shape,
    StrategyResult,
    TierChange,
    shapes_of,
)
from bot.simulation.wording import percent, usd

BACKTEST = "backtest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One row of the comparison."""

    name: str
    about: str
    final_value_usd: float
    max_drawdown: float
    cost_usd: float
    trades: int = 0  # bought or sold; settling at expiry is no trade


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportData:
    """Everything the page and the terminal show. Arrays have one value per step; NaN is unknown."""

    title: str
    mode: str
    underlying: str
    times_s: FloatArray
    spot_usd: FloatArray
    unhedged_usd: FloatArray
    hedged_usd: FloatArray
    tiers: tuple[TierChange, ...]
    decided: Decided
    money: Money
    payoff: Payoff | None = None
    compared: tuple[Compared, ...] = ()
    paths: Mapping[str, FloatArray] = field(default_factory=dict)  # strategy -> value by step
    assumptions: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    ends_after_orders: bool = True  # False: the last step is shown as before its own orders, as all others
    attributions: Mapping[str, Attribution] = field(
        default_factory=dict
    )  # strategy -> where its gain is from
    policy: Mapping[str, str] = field(default_factory=dict)  # key -> value as written; empty where unknown

    @property
    def unhedged_drawdown(self) -> float:
        return self._drawdown(self.unhedged_usd)

    @property
    def hedged_drawdown(self) -> float:
        return self._drawdown(self.hedged_usd)

    def _drawdown(self, values_usd: FloatArray) -> float:
        """Return the deepest fall over the steps with both values: what one does not know is neither's."""
        known = np.isfinite(self.unhedged_usd) & np.isfinite(self.hedged_usd)
        return max_drawdown(values_usd[known], times_s=self.times_s[known], hole_s=HOLE_S)

    @property
    def names(self) -> tuple[str, ...]:
        """The strategies, alvh first and unhedged last; of a journal these two alone."""
        return tuple(item.name for item in self.compared) or (ALVH, UNHEDGED)

    @property
    def curves(self) -> Mapping[str, FloatArray]:
        """The value of each strategy by step."""
        if not self.paths:
            return {ALVH: self.hedged_usd, UNHEDGED: self.unhedged_usd}
        return {name: self.paths[name] for name in self.names if name in self.paths}

    @property
    def paid(self) -> Paid:
        """What hedging paid and received so far, by step."""
        told = self.decided
        return paid_of(
            told.orders,
            told.perpetuals,
            told.beside,
            times_s=self.times_s,
            net_usd=self.hedged_usd - self.unhedged_usd,
            steps_before_orders=self.mode != BACKTEST,
            ends_after_orders=self.ends_after_orders,
        )

    @property
    def highest_tier(self) -> Tier:
        return max(self.decided.tier_by_step, default=Tier.CALM)

    @property
    def tier_words(self) -> str:
        """How high it went and where it stands: ``CALM to SEVERE, 3 changes, SEVERE at the end``."""
        steps = self.decided.tier_by_step
        if not steps:
            return "no decision was taken"
        changes = len(self.tiers) - len({item.group for item in self.tiers})
        if not changes:
            return f"{steps[-1].name} throughout"
        counted = f"{changes} change{'' if changes == 1 else 's'}"
        return f"{counted}, {max(steps).name} at the highest, {steps[-1].name} at the end"

    @property
    def headline(self) -> str:
        """What happened, in words and one number."""
        before, after = self.unhedged_drawdown, self.hedged_drawdown
        if not (math.isfinite(before) and math.isfinite(after)):
            return "No value is known in this range"
        unhedged, hedged = percent(before), percent(after)
        if before < 0.01:
            return f"No fall to speak of: {unhedged} at worst"
        if not (self.decided.orders or self.decided.perpetuals):
            return f"No hedge was placed; the fall was {unhedged}"
        if unhedged == hedged:
            return f"Hedge left the fall at {unhedged}"
        return f"Hedge {'cut' if after < before else 'deepened'} the fall from {unhedged} to {hedged}"


def from_backtest(result: BacktestResult, *, policy: Mapping[str, str] | None = None) -> ReportData:
    """Return the report of a backtest. ``policy`` is key to value as written, for comparing two runs."""
    hedged = result.strategies[ALVH]
    shapes = result.shapes or shapes_of([result.spec.open_at(float(result.spot_usd[0])).shape])
    told = Told(legs=hedged.outcomes, perpetuals=_perpetuals(result, hedged))
    return ReportData(
        title=f"Backtest: {usd(result.spec.value_usd)} in {result.spec.pool}",
        mode=BACKTEST,
        underlying=result.spec.underlying,
        times_s=result.times_s,
        spot_usd=result.spot_usd,
        unhedged_usd=result.strategies[UNHEDGED].value_usd,
        hedged_usd=hedged.value_usd,
        tiers=result.tiers,
        payoff=payoff_of(
            (shapes[-1].shape,),
            float(result.spot_usd[-1]),
            result.final_positions,
            now_s=float(result.times_s[-1]),
            perpetual_units=units_held(told.perpetuals),
        ),
        money=_backtest_money(hedged, told, result.times_s),
        compared=tuple(_compared(result, item) for item in result.strategies.values()),
        paths={name: item.value_usd for name, item in result.strategies.items()},
        assumptions=result.assumptions,
        missing=result.missing,
        gaps=tuple(str(item) for item in result.gaps),
        sources=tuple(_source_line(item.file, item.what, item.note, item.bad_rows) for item in result.found),
        decided=decided_of(result.records, told),
        attributions={name: _attribution(result, item, shapes) for name, item in result.strategies.items()},
        policy=dict(policy or {}),
    )


def units_held(outcomes: Sequence[PerpetualOutcome]) -> float:
    """Return the units of the underlying that closed orders for perpetuals left open, short < 0."""
    return math.fsum(item.size for item in perpetual_book_of(outcomes).holdings.values())


def _perpetuals(result: BacktestResult, item: StrategyResult) -> tuple[PerpetualOutcome, ...]:
    if item.name != ALVH:
        return item.perpetuals
    return tuple(outcome for record in result.records for outcome in record.perpetuals)


def _compared(result: BacktestResult, item: StrategyResult) -> Compared:
    bought = [leg for leg in item.outcomes if leg.status in FILLED and leg.leg.side is not Side.SETTLE]
    traded = [order for order in _perpetuals(result, item) if order.filled_size]
    return Compared(
        name=item.name,
        about=item.about,
        final_value_usd=item.final_value_usd,
        max_drawdown=item.max_drawdown,
        cost_usd=item.cost_usd,
        trades=len(bought) + len(traded),
    )


def _attribution(result: BacktestResult, item: StrategyResult, shapes: Sequence[Shape]) -> Attribution:
    """Split a strategy's gain up to the last hour at which its value is known."""
    last = _last_known(item.value_usd)
    end_s = float(result.times_s[last])
    spots, position = result.spot_usd, result.position_usd
    open_usd = float(item.perpetual_usd[last])
    hedge = hedge_parts(
        [leg for leg in item.outcomes if leg.at_s <= end_s],
        [order for order in _perpetuals(result, item) if order.at_s <= end_s],
        times_s=result.times_s,
        spots_usd=spots,
        marks=Marks(
            options_usd=float(item.hedge_usd[last]) - open_usd,
            perpetual_usd=open_usd,
            spot_usd=float(spots[last]),  # at which the simulated perpetual is marked
        ),
    )
    return Attribution(
        total_usd=float(item.value_usd[last] - position[0]),
        position=position_parts(
            _stretches(shapes, spots, last), gained_usd=float(position[last] - position[0])
        ),
        hedge=hedge if item.name != UNHEDGED else HedgeParts(),
    )


def _stretches(shapes: Sequence[Shape], spots: FloatArray, last: int) -> list[Held]:
    """Return each shape with the prices at which it began and ended, up to an hour."""
    begun = [item for item in shapes if item.place <= last]
    ends = [*(item.place for item in begun[1:]), last]
    return [
        Held(shapes=(item.shape,), first_usd=float(spots[item.place]), last_usd=float(spots[end]))
        for item, end in zip(begun, ends, strict=True)
    ]


def _backtest_money(hedged: StrategyResult, told: Told, times_s: FloatArray) -> Money:
    """Return the money at the last hour with a known mark."""
    last = _last_known(hedged.hedge_usd)
    end_s = float(times_s[last])
    open_usd = float(hedged.perpetual_usd[last])
    traded = [item for item in told.perpetuals if item.at_s <= end_s]
    perpetual = perpetual_money_of(traded, open_usd=open_usd)
    legs = [item for item in told.legs if item.at_s <= end_s]
    return money_of(legs, mark_usd=float(hedged.hedge_usd[last]) - open_usd, perpetual=perpetual)


def _last_known(values: FloatArray) -> int:
    known = np.flatnonzero(np.isfinite(values))
    return int(known[-1]) if known.size else 0


def _source_line(file: str, what: str, note: str, bad_rows: Sequence[str]) -> str:
    parts = [f"{file}: {what}", *([note] if note else []), *bad_rows]
    return "; ".join(parts)
