"""What is protected and what protects it: values, ranges, Greeks, and the payoff of both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.dashboard.snapshot import Snapshot
from bot.model.exposure import Exposure
from bot.model.hedge import HeldHedge, OptionType
from bot.model.perpetual import HeldPerpetual
from bot.model.units import YEAR_S
from bot.ports import VenuePosition
from bot.quant import lp, options
from bot.simulation.report.payoff_view import Payoff, payoff_of

_DAYS = 365.0
_VOL_POINT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Greeks of a whole position: units of the underlying, USD for a dollar, a vol point, a day."""

    delta: float = 0.0  # units
    gamma: float = 0.0  # units for one USD of the price
    vega: float = 0.0  # USD for one point of vol
    theta: float = 0.0  # USD a day

    def __add__(self, other: "Sensitivity") -> "Sensitivity":
        return Sensitivity(
            delta=self.delta + other.delta,
            gamma=self.gamma + other.gamma,
            vega=self.vega + other.vega,
            theta=self.theta + other.theta,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedRow:
    exposure: Exposure
    spot_usd: float
    value_usd: float
    in_range: bool
    greeks: Sensitivity


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeRow:
    hedge: HeldHedge
    mark_usd: float
    gain_usd: float  # mark less cost
    greeks: Sensitivity


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """One hedge group with all that belongs to it."""

    group: str
    underlying: str
    spot_usd: float
    protected: tuple[ProtectedRow, ...]
    hedges: tuple[HedgeRow, ...]
    perpetuals: tuple[HeldPerpetual, ...]
    alone: Sensitivity
    both: Sensitivity
    break_evens: tuple[tuple[str, float], ...]  # when, price
    has_payoff: bool


def groups(seen: Snapshot) -> list[GroupView]:
    """Return every hedge group of the last full record, marked at the newest price."""
    names = dict.fromkeys(item.group for item in seen.exposures)
    return [_group(seen, name) for name in names]


def others(seen: Snapshot) -> list[HedgeRow]:
    """Return held hedges of no group that is protected now."""
    names = {item.group for item in seen.exposures}
    assets = {item.underlying for item in seen.exposures}
    return [
        _hedge(item, _spot(seen, item.instrument.underlying), _now_s(seen))
        for item in seen.held
        if not _is_of(item, names, assets)
    ]


def payoff(seen: Snapshot, group: str) -> Payoff | None:
    """Return the payoff of one group; None without hedges, or where a price or vol is unknown."""
    mine = [item for item in seen.exposures if item.group == group]
    if not mine:
        return None
    asset = mine[0].underlying
    return payoff_of(
        [item.shape for item in mine],
        _spot(seen, asset),
        [_as_position(item) for item in _held_of(seen, group, asset)],
        now_s=_now_s(seen),
        perpetual_units=math.fsum(item.size for item in seen.perpetuals if item.group == group),
    )


def _group(seen: Snapshot, name: str) -> GroupView:
    mine = [item for item in seen.exposures if item.group == name]
    asset, now_s = mine[0].underlying, _now_s(seen)
    spot_usd = _spot(seen, asset)
    protected = tuple(_protected(seen, item, spot_usd) for item in mine)
    hedges = tuple(_hedge(item, spot_usd, now_s) for item in _held_of(seen, name, asset))
    perpetuals = tuple(item for item in seen.perpetuals if item.group == name)
    alone = sum((item.greeks for item in protected), Sensitivity())
    linear = Sensitivity(delta=math.fsum(item.size for item in perpetuals))
    view = payoff(seen, name)
    return GroupView(
        group=name,
        underlying=asset,
        spot_usd=spot_usd,
        protected=protected,
        hedges=hedges,
        perpetuals=perpetuals,
        alone=alone,
        both=sum((item.greeks for item in hedges), alone + linear),
        break_evens=_break_evens(view) if view is not None else (),
        has_payoff=view is not None,
    )


def _break_evens(view: Payoff) -> tuple[tuple[str, float], ...]:
    """Return where position and hedges together gain nothing; today's own price is left out."""
    return tuple(
        (curve.label, level)
        for curve in view.both
        for level in curve.break_evens_usd
        if abs(level / view.spot_usd - 1.0) > 0.01
    )


def _protected(seen: Snapshot, item: Exposure, spot_usd: float) -> ProtectedRow:
    delta, gamma = float(lp.delta(item.shape, spot_usd)), float(lp.gamma(item.shape, spot_usd))
    newest = seen.last.exposure_value_usd if seen.last is not None else {}
    return ProtectedRow(
        exposure=item,
        spot_usd=spot_usd,
        value_usd=newest.get(item.id, item.value_usd + item.fees_uncollected_usd),
        in_range=item.shape.contains(spot_usd),
        greeks=Sensitivity(delta=delta, gamma=gamma),
    )


def _hedge(item: HeldHedge, spot_usd: float, now_s: float) -> HedgeRow:
    mark_usd = item.liquidation_usd if math.isfinite(item.liquidation_usd) else item.model_usd
    option = item.instrument
    found = options.greeks(
        spot_usd,
        option.strike_usd,
        max(option.expiry_s - now_s, 0.0) / YEAR_S,
        item.iv,
        is_put=option.option_type is OptionType.PUT,
    )
    units = item.size * option.multiplier
    return HedgeRow(
        hedge=item,
        mark_usd=mark_usd,
        gain_usd=mark_usd - item.cost_usd,
        greeks=Sensitivity(
            delta=units * float(found.delta),
            gamma=units * float(found.gamma),
            vega=units * float(found.vega) * _VOL_POINT,
            theta=units * float(found.theta) / _DAYS,
        ),
    )


def _held_of(seen: Snapshot, group: str, asset: str) -> list[HeldHedge]:
    return [item for item in seen.held if _is_of(item, {group}, {asset})]


def _is_of(item: HeldHedge, groups: set[str], assets: set[str]) -> bool:
    """Say whether a hedge was bought for one of these groups; one of no group serves its underlying's."""
    return item.group in groups or (not item.group and item.instrument.underlying in assets)


def _spot(seen: Snapshot, asset: str) -> float:
    return seen.last.spot_usd.get(asset, math.nan) if seen.last is not None else math.nan


def _now_s(seen: Snapshot) -> float:
    return seen.last.decision.now_s if seen.last is not None else math.nan


def _as_position(item: HeldHedge) -> VenuePosition:
    return VenuePosition(
        id=item.id,
        instrument=item.instrument,
        size=item.size,
        iv=item.iv,
        model_usd=item.model_usd,
        liquidation_usd=item.liquidation_usd,
        settleable=item.settleable,
    )


def total_value_usd(rows: Sequence[ProtectedRow]) -> float:
    return math.fsum(item.value_usd for item in rows)
