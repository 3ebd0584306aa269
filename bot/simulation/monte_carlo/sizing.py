"""How many contracts each layer holds at each tier: R7 and R8, solved once on the model's own paths.

The engine solves R8 at every decision on the history's returns. Here it is solved at the start, at the median
vol, on paths of the model over the policy's horizon, and contracts then follow the position's delta.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bot.engine.policy import Policy
from bot.engine.policy_sizing import LayerPolicy
from bot.model.exposure import LpShape
from bot.model.hedge import Layer
from bot.model.market import FloatArray
from bot.model.tier import Tier
from bot.quant import lp, options
from bot.quant.var import hedge_scale, value_at_risk
from bot.simulation.exposures import ExposureSpec

Ratios = Mapping[Layer, tuple[float, float, float]]  # contracts per unit of delta, CALM to ELEVATED
TIERS = (Tier.CALM, Tier.GUARDED, Tier.ELEVATED)
_OPENS = {Layer.TAIL: Tier.CALM, Layer.MID: Tier.GUARDED, Layer.NEAR: Tier.ELEVATED}
_OPEN_END_DAYS = 60.0  # an entry band without an end is taken to be so wide
_DAY_S = 86_400.0
_MOST = 20.0  # contracts per unit of delta


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTerms:
    """What each layer buys: days to expiry at entry and at the roll, and the quantile of its delta."""

    entry_days: Mapping[Layer, float]
    roll_days: Mapping[Layer, float]
    quantile: Mapping[Layer, float]


def layer_terms(policy: Policy) -> LayerTerms:
    """Return the middle of each layer's bands."""
    from scipy.special import ndtri

    layers = {layer: policy.layers.of(layer) for layer in Layer}
    return LayerTerms(
        entry_days={layer: _entry_days(item) for layer, item in layers.items()},
        roll_days={layer: item.roll_at / _DAY_S for layer, item in layers.items()},
        quantile={layer: -float(ndtri(0.5 * sum(item.delta))) for layer, item in layers.items()},
    )


def _entry_days(layer: LayerPolicy) -> float:
    low, high = (value / _DAY_S for value in layer.entry_s)
    return 0.5 * (low + min(high, low + _OPEN_END_DAYS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SizingPaths:
    """Prices over their start by day, [path, day], day 0 first, and the vols that options are priced with."""

    spots: FloatArray
    vols: Mapping[Layer, float]  # at-the-money, of each layer's life at entry
    skew_slope: float
    skew_bend: float


def ratios_for(policy: Policy, spec: ExposureSpec, paths: SizingPaths, *, near_is_put: bool) -> Ratios:
    """Return contracts per unit of the position's delta, by layer and tier."""
    terms, horizon = layer_terms(policy), policy.sizing.horizon_days
    shape = _unit_shape(spec)
    losses = lp.value(shape, 1.0) - lp.value(shape, paths.spots[:, horizon])
    delta = float(lp.delta(shape, 1.0))
    usable = [layer for layer in Layer if near_is_put or layer is not Layer.NEAR]
    legs = {layer: _leg(terms, layer, paths, horizon) for layer in usable}
    found = {layer: [0.0] * len(TIERS) for layer in Layer}
    for number, tier in enumerate(TIERS):
        units = _solve(policy, tier, legs, losses)
        for layer, amount in units.items():
            found[layer][number] = min(amount / delta, _MOST)
    return {layer: (row[0], row[1], row[2]) for layer, row in found.items()}


def _unit_shape(spec: ExposureSpec) -> LpShape:
    lower, upper = 1.0 + spec.below, 1.0 + spec.above
    return LpShape(liquidity=lp.liquidity_for_value(1.0, 1.0, lower, upper), lower_usd=lower, upper_usd=upper)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Leg:
    price: float
    gains: FloatArray  # of one contract on every path


def _leg(terms: LayerTerms, layer: Layer, paths: SizingPaths, horizon: int) -> _Leg:
    life = max(round(terms.entry_days[layer]), 2)
    years, atm, z = life / 365.0, paths.vols[layer], terms.quantile[layer]
    u, ratio = atm * math.sqrt(years), 1.0
    for _ in range(3):
        x = min(max(0.5 * u * ratio * ratio - z * ratio, -3.0), 3.0)
        ratio = 1.0 + x * (paths.skew_bend * x - paths.skew_slope)
    total = u * ratio
    strike, vol = math.exp(-total * (z - 0.5 * total)), atm * ratio
    price = float(options.price(1.0, strike, years, vol, is_put=True))
    if life <= horizon:
        values = np.maximum(strike - paths.spots[:, life], 0.0)
    else:
        left = (life - horizon) / 365.0
        values = options.price(paths.spots[:, horizon], strike, left, vol, is_put=True)
    return _Leg(price=price, gains=np.asarray(values - price))


def _solve(policy: Policy, tier: Tier, legs: Mapping[Layer, _Leg], losses: FloatArray) -> dict[Layer, float]:
    """Return units so that the tier's share of VaR is removed; TAIL not under its CALM share (R8, R14)."""
    sizing = policy.sizing
    opened = [layer for layer in legs if tier >= _OPENS[layer]]
    weights = {layer: sizing.weights.of(layer) for layer in opened}
    by_premium = sizing.weights_of == "premium"
    parts = {layer: weights[layer] / (legs[layer].price if by_premium else 1.0) for layer in opened}
    share = sizing.shares.of(tier)
    scale = _scale(policy, losses, {layer: part * legs[layer].gains for layer, part in parts.items()}, share)
    standing = _scale(policy, losses, {Layer.TAIL: legs[Layer.TAIL].gains}, sizing.shares.of(Tier.CALM))
    if scale * parts.get(Layer.TAIL, 0.0) >= standing:
        return {layer: scale * part for layer, part in parts.items()}
    left = losses - standing * legs[Layer.TAIL].gains
    others = {layer: part for layer, part in parts.items() if layer is not Layer.TAIL}
    base, after = (value_at_risk(item, confidence=sizing.confidence) for item in (losses, left))
    wanted = 1.0 - (1.0 - share) * base / after if after > 0.0 else 0.0
    rest = 0.0
    if others and wanted > 0.0:
        rest = _scale(policy, left, {k: part * legs[k].gains for k, part in others.items()}, wanted)
    return {Layer.TAIL: standing} | {layer: rest * part for layer, part in others.items()}


def _scale(policy: Policy, losses: FloatArray, gains: Mapping[Layer, FloatArray], share: float) -> float:
    total = np.sum(list(gains.values()), axis=0)
    if not total.any():
        return 0.0
    return hedge_scale(losses, total, share=share, confidence=policy.sizing.confidence).scale
