"""Turns model, market, exposures and policies into the arrays that kernels and twin run on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.model.exposure import ExposureKind
from bot.model.hedge import Layer
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.simulation.exposures import ExposureSpec
from bot.simulation.market.model import Market
from bot.simulation.monte_carlo import hedge_rows as hedge
from bot.simulation.monte_carlo import path_tiles as path
from bot.simulation.monte_carlo.model import AssetModel, PathModel, TierRule
from bot.simulation.monte_carlo.sizing import LayerTerms, Ratios, layer_terms

Float32 = NDArray[np.float32]
DAYS_A_YEAR = 365.0
LAYER_ORDER = (Layer.NEAR, Layer.MID, Layer.TAIL)
_FURTHEST, _FURTHEST_SPREADS = (
    1.5,
    4.0,
)  # the log vol is held inside the larger of so much and so many spreads


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathNumbers:
    """What the path kernels read."""

    assets: Float32  # [asset, number]
    shared: Float32
    factors: Float32  # Cholesky's, of the correlation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """Daily history that paths are drawn from; empty where they come from the model."""

    returns: Float32  # [asset, day], log
    variances: Float32  # [asset, day], a year: the EWMA up to that day
    successors: NDArray[np.int64]  # the day after each; -1 at the end of a stretch
    restart: np.float32  # chance that a block ends
    decay: np.float32


NO_REPLAY = Replay(
    returns=np.zeros((0, 0), np.float32),
    variances=np.zeros((0, 0), np.float32),
    successors=np.zeros(0, np.int64),
    restart=np.float32(0.0),
    decay=np.float32(0.0),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HedgeNumbers:
    """What the hedge kernels read."""

    of_asset: NDArray[np.int64]  # of each exposure
    shapes: Float32  # [exposure, number]
    market: Float32
    policies: Float32  # [policy, exposure, number]
    calendar: Float32  # [policy, step, layer, entry]
    recentres: NDArray[np.bool_]  # [step]


def reversion_of(days: float, half_life_days: float) -> float:
    """Return the share of a distance to the mean that is left, averaged over so many days."""
    speed = math.log(2.0) / half_life_days
    return -math.expm1(-speed * days) / (speed * days)


def path_numbers(model: PathModel, market: Market, names: Sequence[str], *, step_days: float) -> PathNumbers:
    """Return the numbers of the assets ``names``, in the model's order."""
    at = [list(model.assets).index(name) for name in names]
    rows = np.zeros((len(names), path.ASSET_NUMBERS), np.float32)
    for row, name in zip(rows, names, strict=True):
        _fill_asset(row, model.assets[name], model, market, step_days)
    factors = np.linalg.cholesky(model.correlation[np.ix_(at, at)]).astype(np.float32)
    return PathNumbers(assets=rows, shared=_shared(model, step_days), factors=factors)


def _fill_asset(row: Float32, asset: AssetModel, model: PathModel, market: Market, step_days: float) -> None:
    regimes, years = model.regimes, step_days / DAYS_A_YEAR
    keep = 0.5 ** (step_days / asset.vol_half_life_days)
    toll = math.expm1(asset.jump_mean + 0.5 * asset.jump_sd**2) * years
    usual, crisis = (implied_from_spot(asset, model, in_crisis=flag) for flag in (False, True))
    falls = 0.5 * years  # of the jumps of a year: those of a step that fall
    by_jumps = regimes.mean_jumps_a_year * falls * asset.vol_kick**2  # of the log vol's variance, a step
    numbers = {
        path.KEEP: keep,
        path.KICK_SD: math.sqrt(max(asset.vol_spread**2 * (1.0 - keep * keep) - by_jumps, 0.0)),
        path.LEAN: asset.lean,
        path.LEAN_REST: math.sqrt(1.0 - asset.lean**2),
        path.KICK_JUMP: asset.vol_kick,
        path.JUMP_MEAN: asset.jump_mean,
        path.JUMP_VARIANCE: asset.jump_sd**2,
        path.DRIFT: asset.drift * years,
        path.STEP_YEARS: years,
        path.FURTHEST: max(_FURTHEST, _FURTHEST_SPREADS * asset.vol_spread),
        path.IV_BASE: usual[0],
        path.IV_BASE_2: crisis[0],
        path.IV_SLOPE: usual[1],
        path.IV_SLOPE_2: crisis[1],
        path.PER_ROOT_STEP: 1.0 / math.sqrt(years),
        path.LOG_VOL: math.log(asset.vol),
        path.LOG_VOL_2: math.log(asset.vol * regimes.vol_multiple),
        path.COMPENSATOR: regimes.jumps_a_year * toll,
        path.COMPENSATOR_2: regimes.crisis_jumps_a_year * toll,
        path.KICK_MEAN: regimes.jumps_a_year * falls * asset.vol_kick,
        path.KICK_MEAN_2: regimes.crisis_jumps_a_year * falls * asset.vol_kick,
        path.START_SD: asset.vol_spread,
        **_stress(model, market),
        **_technical(asset, model, step_days),
    }
    for entry, value in numbers.items():
        row[entry] = value


def _stress(model: PathModel, market: Market) -> dict[int, float]:
    options, funding = market.options, model.funding
    return {
        path.SKEW_CALM: options.skew_calm,
        path.SKEW_RISE: options.skew_stress - options.skew_calm,
        path.STRESS_FROM: options.stress_from_vol,
        path.PER_STRESS: 1.0 / (options.stress_to_vol - options.stress_from_vol),
        path.FUNDING_CALM: funding.calm,
        path.FUNDING_RISE: funding.stress - funding.calm,
    }


def _technical(asset: AssetModel, model: PathModel, step_days: float) -> dict[int, float]:
    """Return the numbers of TECHNICAL's score.

    The slow mean of an Ornstein-Uhlenbeck process is at the start where it is expected at a known level:
    what is left of the distance is speed_slow / (speed_slow + speed of the process).
    """
    rule = model.tiers
    speed = math.log(2.0) / asset.vol_half_life_days
    return {
        path.SLOW_SHARE: -math.expm1(-step_days / rule.slow_days),
        path.SLOW_MEAN: math.sqrt(implied_mean(asset, model)),
        path.SLOW_START: 1.0 / (1.0 + speed * rule.slow_days),
        path.AT_REST: rule.at_rest,
        path.BY_LEVEL: rule.by_level,
        path.BY_RISE: rule.by_rise,
        path.BY_FALL: rule.by_fall,
    }


def implied_from_spot(asset: AssetModel, model: PathModel, *, in_crisis: bool) -> tuple[float, float]:
    """Return (base, slope): 30-day implied variance = base + slope x the variance a year without jumps now.

    It is what the model expects on average over 30 days, times ``implied_over_realised`` squared: the log
    vol's part fades with its half-life, a crisis with how long one lasts, jumps come at the rate of both. Of
    what the present regime adds, ``crisis_priced`` is taken up.
    """
    regimes = model.regimes
    share = reversion_of(30.0, asset.vol_half_life_days)
    lasting = reversion_of(30.0, regimes.crisis_days * math.log(2.0))
    seen = regimes.crisis_share + regimes.crisis_priced * ((1.0 if in_crisis else 0.0) - regimes.crisis_share)
    chance = regimes.crisis_share * (1.0 - lasting) + lasting * seen
    more = regimes.vol_multiple**2
    factor = 1.0 + (more - 1.0) * chance
    rate = regimes.jumps_a_year * (1.0 - chance) + regimes.crisis_jumps_a_year * chance
    premium = asset.implied_over_realised**2
    usual = asset.vol**2 * math.exp(2.0 * asset.vol_spread**2)
    base = premium * (usual * (1.0 - share) * factor + rate * asset.jump_variance)
    return base, premium * share * factor / (more if in_crisis else 1.0)


def _shared(model: PathModel, step_days: float) -> Float32:
    regimes, years = model.regimes, step_days / DAYS_A_YEAR
    found = np.zeros(path.SHARED_NUMBERS, np.float32)
    found[path.ENTER] = -math.expm1(-regimes.enter_a_year * years)
    found[path.LEAVE] = -math.expm1(-step_days / regimes.crisis_days)
    found[path.START_2] = regimes.crisis_share
    for first, rate in (
        (path.ONE_JUMP, regimes.jumps_a_year),
        (path.ONE_JUMP_2, regimes.crisis_jumps_a_year),
    ):
        mean = rate * years
        chances = [math.exp(-mean) * mean**count / math.factorial(count) for count in range(3)]
        found[first : first + 3] = np.cumsum(chances)
    return found


def hedge_numbers(
    model: PathModel,
    market: Market,
    specs: Sequence[ExposureSpec],
    policies: Sequence[Policy],
    ratios: Sequence[Sequence[Ratios]],
    names: Sequence[str],
    *,
    steps: int,
    step_days: float,
) -> HedgeNumbers:
    """Return the hedge's numbers; ``ratios`` are of each policy and exposure."""
    total_usd = sum(spec.value_usd for spec in specs)
    shapes = np.array([_shape(spec, model, market, total_usd, step_days) for spec in specs], np.float32)
    terms = [layer_terms(policy) for policy in policies]
    rows = [
        [_policy_row(policy, market, model.tiers, term, ratio, step_days) for ratio in of_policy]
        for policy, term, of_policy in zip(policies, terms, ratios, strict=True)
    ]
    means = [implied_mean(model.assets[name], model) for name in names]
    mean = float(np.mean(means))
    calendars = [calendar_of(term, market, mean, steps=steps, step_days=step_days) for term in terms]
    every = max(round(market.recentre_days / step_days), 1)
    at = np.arange(steps + 1)
    return HedgeNumbers(
        of_asset=np.array([list(names).index(spec.underlying) for spec in specs], np.int64),
        shapes=shapes,
        market=_market_row(market, total_usd, step_days),
        policies=np.array(rows, np.float32),
        calendar=np.stack(calendars),
        recentres=(at > 0) & (at % every == 0),
    )


def implied_mean(asset: AssetModel, model: PathModel) -> float:
    """Return the long-run mean of the implied variance, which its term structure reverts to."""
    return asset.implied_over_realised**2 * asset.mean_variance(model.regimes)


def _shape(
    spec: ExposureSpec, model: PathModel, market: Market, total_usd: float, step_days: float
) -> Float32:
    has_range = math.isfinite(spec.above)
    apr = model.fees.v3 if spec.kind is ExposureKind.UNISWAP_V3 else model.fees.v2
    options, contract_usd = market.options, model.assets[spec.underlying].spot_usd
    row = np.zeros(hedge.EXPOSURE_NUMBERS, np.float32)
    row[hedge.START_VALUE] = spec.value_usd / total_usd
    row[hedge.LOW_RATIO] = math.sqrt(1.0 + spec.below)
    row[hedge.HIGH_RATIO] = math.sqrt(1.0 + spec.above)
    row[hedge.FEE_STEP] = apr * step_days / DAYS_A_YEAR
    row[hedge.SWAP_COST] = market.recentre_cost
    row[hedge.IMPACT] = options.impact_vol / options.impact_contracts * total_usd / contract_usd
    row[hedge.RECENTRES] = float(has_range)
    return row


def _market_row(market: Market, total_usd: float, step_days: float) -> Float32:
    options, perpetual = market.options, market.perpetual
    row = np.zeros(hedge.MARKET_NUMBERS, np.float32)
    row[hedge.SPREAD_SHARE] = options.spread_share
    row[hedge.SPREAD_VOL] = options.spread_vol
    row[hedge.SPREAD_STRESS] = options.spread_stress
    row[hedge.NOTIONAL_SHARE] = options.notional_share
    row[hedge.NOTIONAL_CAP] = options.notional_cap
    row[hedge.GAS] = options.gas_usd / total_usd
    row[hedge.GAS_STRESS] = options.gas_stress
    row[hedge.SKEW_BEND] = options.skew_curvature
    row[hedge.PERPETUAL_COST] = perpetual.cost if perpetual else 0.0
    row[hedge.PERPETUAL_GAS] = perpetual.gas_usd / total_usd if perpetual else 0.0
    row[hedge.STEP_YEARS] = step_days / DAYS_A_YEAR
    return row


def _policy_row(
    policy: Policy, market: Market, rule: TierRule, terms: LayerTerms, ratios: Ratios, step_days: float
) -> Float32:
    tiers, budget, technical = policy.tiers, policy.budget, policy.signals.technical
    fast = 2.0 * hedge.NOBODY if tiers.fast_vote is None else tiers.fast_vote
    fall, jump = technical.drawdown_speed, technical.vol_jump
    share = policy.near.delta_share
    row = np.zeros(hedge.POLICY_NUMBERS, np.float32)
    numbers = {
        hedge.VOTE: max(tiers.vote, tiers.vote_off + rule.third_under),  # both scores over theirs (R1)
        hedge.VOTE_OFF: tiers.vote_off,
        hedge.FAST: fast,
        hedge.FAST_OFF: 0.5 * fast,
        hedge.FAST_FALL: rule.fast_fall,
        hedge.FAST_RISE: rule.fast_rise,
        hedge.FALL_CALM: fall.calm,
        hedge.FALL_PER: 1.0 / (fall.stress - fall.calm),
        hedge.JUMP_CALM: jump.calm,
        hedge.JUMP_PER: 1.0 / (jump.stress - jump.calm),
        hedge.COOL_GUARDED: tiers.cooldown_guarded / (step_days * DAY_S),
        hedge.COOL: tiers.cooldown / (step_days * DAY_S),
        hedge.IS_STRAIGHT: float(tiers.step_down == "straight"),
        hedge.CAPITAL: budget.defined_risk_capital,
        hedge.SESSION_SHARE: budget.session_share,
        hedge.BUDGET_30: budget.budget_30d,
        hedge.BUDGET_365: budget.budget_365d,
        hedge.HAS_PERPETUAL: float(has_perpetual(policy, market)),
        hedge.SHARE_ELEVATED: share.of(Tier.ELEVATED),
        hedge.RESET_BAND: policy.perpetual.reset_band,
        hedge.MIN_FUNDING: policy.perpetual.min_funding,
    }
    for entry, value in numbers.items():
        row[entry] = value
    for number, layer in enumerate(LAYER_ORDER):
        first = hedge.FIRST_LAYER + number * hedge.LAYER_NUMBERS
        row[first + hedge.QUANTILE] = terms.quantile[layer]
        row[first + hedge.OPENS_AT] = opens_at(layer, policy, market)
        row[first + hedge.RATIO_CALM : first + hedge.RATIO_ELEVATED + 1] = ratios[layer]
    return row


def has_perpetual(policy: Policy, market: Market) -> bool:
    return policy.near.instrument == "perpetual" and market.perpetual is not None


def opens_at(layer: Layer, policy: Policy, market: Market) -> float:
    """Return the tier that opens a layer (R7); NEAR's puts never where a perpetual serves it."""
    if layer is Layer.NEAR and has_perpetual(policy, market):
        return float(hedge.NOBODY)
    return float({Layer.TAIL: Tier.CALM, Layer.MID: Tier.GUARDED, Layer.NEAR: Tier.ELEVATED}[layer])


def calendar_of(terms: LayerTerms, market: Market, mean: float, *, steps: int, step_days: float) -> Float32:
    """Return each layer's option at each step: bought at its entry, rolled or settled, then the next one.

    Total variance over T years is T (m + (v - m) g(T) / g(30 d)), v the 30-day implied variance: the market
    file's term structure, with the model's long-run mean as m.
    """
    found = np.zeros((steps + 1, len(LAYER_ORDER), hedge.CALENDAR_NUMBERS), np.float32)
    cutoff_days = market.options.cutoff_s / DAY_S
    for number, layer in enumerate(LAYER_ORDER):
        entry = max(round(terms.entry_days[layer] / step_days), 2)
        roll = min(round(terms.roll_days[layer] / step_days), entry - 1)
        for step in range(steps + 1):
            into = step % (entry - roll)
            life_days = (entry - into) * step_days
            base, per = _variance_of(life_days, market, mean)
            old_base, old_per = _variance_of(roll * step_days, market, mean)
            found[step, number, hedge.BASE] = base
            found[step, number, hedge.PER_IV2] = per
            found[step, number, hedge.ROOT_YEARS] = math.sqrt(life_days / DAYS_A_YEAR)
            found[step, number, hedge.OLD_BASE] = old_base
            found[step, number, hedge.OLD_PER_IV2] = old_per
            found[step, number, hedge.OLD_ROOT_YEARS] = math.sqrt(roll * step_days / DAYS_A_YEAR)
            found[step, number, hedge.ROLLS] = float(into == 0)
            found[step, number, hedge.SETTLES] = float(roll == 0)
            found[step, number, hedge.LISTED] = float(life_days - roll * step_days > cutoff_days)
    return found


def _variance_of(days: float, market: Market, mean: float) -> tuple[float, float]:
    if days <= 0.0:
        return 0.0, 1.0  # never priced: it settles
    years, half_life = days / DAYS_A_YEAR, market.half_life_days
    share = reversion_of(days, half_life) / reversion_of(30.0, half_life)
    return years * mean * (1.0 - share), years * share


def fan_points(steps: int, *, most: int = 53) -> NDArray[np.int64]:
    """Return the steps at which the fans are drawn, first and last among them."""
    return np.unique(np.linspace(0, steps, min(most, steps + 1)).round().astype(np.int64))
