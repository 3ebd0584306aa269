"""Fits a path model to hourly history: ``alvh montecarlo --fit``.

Hour by hour a return over five times the bipower vol of the week before is a jump (after Lee and Mykland
2008).
A day's vol without jumps is the root of its squared hourly returns. Days whose vol is twice the median of
the 60
days before are crisis, runs up to three days apart are one. The log vol without the crisis's multiple is an
Ornstein-Uhlenbeck process seen with noise: its autocovariances at 1 to 20 days are spread^2 x keep^lag,
fitted
by least squares on their logs, so that the noise of a day's vol stays out of both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.errors import ConfigError
from bot.model.market import EMPTY_COLUMN, Column, FloatArray
from bot.model.units import DAY_S, HOUR_S, iso_utc
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.files import DVOL_KEY, column_of, tables_for
from bot.simulation.history.tables import locate, price_file, read_rows
from bot.simulation.monte_carlo.bootstrap import DailyHistory, read_daily
from bot.simulation.monte_carlo.model import AssetModel, PathModel, Regimes
from bot.simulation.monte_carlo.numbers import implied_from_spot

_HOURS = DAY_S // HOUR_S
_WEEK = 7 * _HOURS
_JUMP_SIGMAS = 5.0
_LEAST_HOURS = 20  # of a day
_CRISIS_TIMES, _CRISIS_DAYS, _CRISIS_GAP = 2.0, 60, 3
_LAGS = np.arange(1, 21)
_AHEAD_DAYS = 30
_LEAST_YEARS = 1.0
_MOST_LEAN = 0.9
_AFTER_S = HOUR_S  # the index has taken a jump in by then
_LEAST_SEEN = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Days:
    """What the hours of each day say of one asset; NaN for a day with under 20 of them."""

    first_day: int  # days since 1970
    vols: FloatArray  # a year, without jumps
    returns: FloatArray  # log, without jumps
    jumps: FloatArray  # sum of the day's jumps, 0 without
    falls_s: FloatArray  # ends of the hours in which a jump fell
    spot_usd: float  # the last one


def fitted(model: PathModel, data: Path, *, since_s: float = -math.inf) -> tuple[PathModel, DailyHistory]:
    """Return the model with everything that a history tells, and the history. Raises ConfigError."""
    names = tuple(model.assets)
    history = read_daily(data, names, since_s=since_s)
    days = {name: _days_of(data, name, since_s) for name in names}
    lead = days[names[0]]
    if np.count_nonzero(np.isfinite(lead.vols)) < 365.0 * _LEAST_YEARS:
        raise ConfigError(f"{data} has under a year of hours of {names[0]}; a fit needs more history")
    crisis = _crisis_days(lead.vols)
    regimes, index = _regimes(lead, crisis, model.regimes), _index(data)
    premium = _premium(index, days, fallback=model)
    assets = {name: _asset(each, crisis, lead, regimes, premium) for name, each in days.items()}
    if index.times_s.size:
        bare = replace(model, regimes=regimes)
        assets = {name: _seen(item, days[name], index, bare) for name, item in assets.items()}
    together = np.atleast_2d(np.corrcoef(history.returns))
    return replace(model, regimes=regimes, assets=assets, correlation=together), history


def _days_of(data: Path, name: str, since_s: float) -> _Days:
    price = price_file(data, parse_exposure(f"v2:{name}/USDC:1")).since(since_s)
    hours = np.round(price.times_s / HOUR_S).astype(np.int64)
    first_day, last_day = int(hours[0] // _HOURS) + 1, int(hours[-1] // _HOURS)
    hour_after = first_day * _HOURS + 1
    grid = np.full((last_day - first_day) * _HOURS + 1, np.nan)
    place = hours - first_day * _HOURS
    inside = (place >= 0) & (place < grid.size)
    grid[place[inside]] = np.log(price.values[inside])
    returns = np.diff(grid)
    jump = np.abs(returns) > _JUMP_SIGMAS * _bipower(returns)
    by_day = returns.reshape(-1, _HOURS)
    is_jump = jump.reshape(-1, _HOURS)
    known = np.isfinite(by_day).sum(axis=1) >= _LEAST_HOURS
    calm = np.where(is_jump, np.nan, by_day)
    share = _HOURS / np.maximum(np.isfinite(calm).sum(axis=1), 1)
    vols = np.sqrt(np.nansum(calm**2, axis=1) * share * 365.0)
    return _Days(
        first_day=first_day,
        vols=np.where(known & (vols > 0.0), vols, np.nan),
        returns=np.where(known, np.nansum(calm, axis=1), np.nan),
        jumps=np.nansum(np.where(is_jump, by_day, 0.0), axis=1),
        falls_s=np.asarray(np.flatnonzero(jump & (returns < 0.0)) + hour_after, np.float64) * HOUR_S,
        spot_usd=float(price.values[-1]),
    )


def _bipower(returns: FloatArray) -> FloatArray:
    """Return the hourly vol of the week before, without jumps (Barndorff-Nielsen and Shephard 2004)."""
    products = np.abs(returns[1:] * returns[:-1])
    known = np.isfinite(products)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, products, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    end = np.maximum(np.arange(returns.size) - 1, 0)
    start = np.maximum(end - _WEEK, 0)
    many = counts[end] - counts[start]
    variance = 0.5 * math.pi * (sums[end] - sums[start]) / np.maximum(many, 1)
    return np.where(many >= _WEEK // 2, np.sqrt(variance), np.inf)


def _crisis_days(vols: FloatArray) -> NDArray[np.bool_]:
    padded = np.concatenate([np.full(_CRISIS_DAYS, np.nan), vols[:-1]])
    windows = sliding_window_view(padded, _CRISIS_DAYS)
    enough = np.isfinite(windows).sum(axis=1) >= _CRISIS_DAYS // 2
    usual = np.full(vols.shape, np.inf)
    usual[enough] = np.nanmedian(windows[enough], axis=1)
    found = vols > _CRISIS_TIMES * usual
    at = np.flatnonzero(found)
    for one, other in pairwise(at.tolist()):
        if other - one <= _CRISIS_GAP:
            found[one:other] = True
    return found


def _regimes(lead: _Days, crisis: NDArray[np.bool_], model: Regimes) -> Regimes:
    known = np.isfinite(lead.vols)
    begins = int(np.count_nonzero(crisis[1:] & ~crisis[:-1])) + int(crisis[0])
    usual, high = known & ~crisis, known & crisis
    multiple = float(np.nanmedian(lead.vols[high]) / np.nanmedian(lead.vols[usual])) if high.any() else 1.0
    return Regimes(
        enter_a_year=begins / max(float(np.count_nonzero(usual)) / 365.0, 1e-9),
        crisis_days=max(float(np.count_nonzero(high)) / max(begins, 1), 1.0),
        vol_multiple=max(multiple, 1.0),
        jumps_a_year=_rate(lead.jumps, usual),
        crisis_jumps_a_year=_rate(lead.jumps, high if high.any() else known),
        crisis_priced=model.crisis_priced,
    )


def _rate(jumps: FloatArray, days: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(jumps[days])) / max(float(np.count_nonzero(days)) / 365.0, 1e-9)


def _asset(
    days: _Days, crisis: NDArray[np.bool_], lead: _Days, regimes: Regimes, premium: float
) -> AssetModel:
    is_crisis = _aligned(crisis, lead.first_day, days)
    logs = np.log(days.vols) - np.where(is_crisis, math.log(regimes.vol_multiple), 0.0)
    spread, keep = _ornstein(logs)
    kick_sd = spread * math.sqrt(1.0 - keep * keep)
    sizes = days.jumps[(days.jumps != 0.0) & np.isfinite(days.vols)]
    changes, scaled = np.diff(logs), (days.returns / days.vols * math.sqrt(365.0))[1:]
    both = np.isfinite(changes) & np.isfinite(scaled)
    lean = float(np.mean(changes[both] * scaled[both])) / kick_sd if kick_sd > 0.0 else 0.0
    after = np.isfinite(changes) & (days.jumps[1:] != 0.0)
    kick = float(np.mean(changes[after])) if after.sum() > 10 else 0.0
    return AssetModel(
        spot_usd=days.spot_usd,
        drift=0.0,
        vol=math.exp(float(np.nanmean(logs))),
        vol_spread=spread,
        vol_half_life_days=math.log(2.0) / -math.log(keep),
        lean=min(max(lean, -_MOST_LEAN), _MOST_LEAN),
        jump_mean=float(sizes.mean()) if sizes.size else 0.0,
        jump_sd=float(sizes.std()) if sizes.size else 0.0,
        vol_kick=min(max(kick, 0.0), 0.5),
        implied_over_realised=premium,
    )


def _seen(asset: AssetModel, days: _Days, index: Column, model: PathModel) -> AssetModel:
    """Return the asset with lean and kick as the vol index shows them: a day's realised vol is too noisy.

    The index moves by less than the vol does, by what of the implied variance follows it.
    """
    base, slope = implied_from_spot(asset, model, in_crisis=False)
    follows = slope * asset.vol**2 / (base + slope * asset.vol**2)
    level = np.log(index.values)
    ends_s = np.asarray(days.first_day + 1 + np.arange(days.vols.size), np.float64) * DAY_S
    changes = np.diff(_known_at(index.times_s, level, ends_s))
    both = np.isfinite(changes) & np.isfinite(days.returns[1:]) & (days.jumps[1:] == 0.0)
    rises = _known_at(index.times_s, level, days.falls_s + _AFTER_S) - _known_at(
        index.times_s, level, days.falls_s - HOUR_S
    )
    lean, kick = asset.lean, asset.vol_kick
    if np.count_nonzero(both) > _LEAST_SEEN:
        scaled = days.returns[1:] / days.vols[1:]
        lean = float(np.corrcoef(scaled[both], changes[both])[0, 1])
    if np.count_nonzero(np.isfinite(rises)) > _LEAST_SEEN:
        kick = float(np.nanmean(rises)) / follows
    return replace(asset, lean=min(max(lean, -_MOST_LEAN), _MOST_LEAN), vol_kick=min(max(kick, 0.0), 0.5))


def _known_at(times_s: FloatArray, values: FloatArray, at_s: FloatArray) -> FloatArray:
    """Return the value known at each time, NaN where none of the two hours before is."""
    place = np.searchsorted(times_s, at_s, side="right") - 1
    found = np.maximum(place, 0)
    return np.where((place >= 0) & (at_s - times_s[found] <= 2 * HOUR_S), values[found], np.nan)


def _aligned(flags: NDArray[np.bool_], first_day: int, days: _Days) -> NDArray[np.bool_]:
    place = np.arange(days.vols.size) + days.first_day - first_day
    inside = (place >= 0) & (place < flags.size)
    found = np.zeros(days.vols.size, np.bool_)
    found[inside] = flags[place[inside]]
    return found


def _ornstein(logs: FloatArray) -> tuple[float, float]:
    """Return (standard deviation, share kept from day to day) of the process without its noise."""
    centred = logs - np.nanmean(logs)
    covariances = np.array([np.nanmean(centred[lag:] * centred[:-lag]) for lag in _LAGS.tolist()])
    usable = covariances > 0.0
    if np.count_nonzero(usable) < 2:
        return float(np.nanstd(logs)), 0.5
    slope, level = np.polyfit(_LAGS[usable], np.log(covariances[usable]), 1)
    keep = min(max(math.exp(float(slope)), 0.5), 0.999)
    return math.exp(0.5 * float(level)), keep


def _premium(index: Column, days: Mapping[str, _Days], *, fallback: PathModel) -> float:
    """Return BTC's index over the vol of the 30 days after it, both as roots of mean variances.

    The model's own without the index's file.
    """
    bitcoin = days.get(DVOL_KEY.subject)
    if bitcoin is None or not index.times_s.size:
        return next(iter(fallback.assets.values())).implied_over_realised
    squares = (bitcoin.vols**2 / 365.0) + bitcoin.jumps**2
    ahead = sliding_window_view(np.concatenate([squares, np.full(_AHEAD_DAYS, np.nan)]), _AHEAD_DAYS)[1:]
    enough = np.isfinite(ahead).sum(axis=1) >= _AHEAD_DAYS * 2 // 3
    mean = np.full(squares.size, np.nan)
    mean[enough[: squares.size]] = np.nanmean(ahead[: squares.size][enough[: squares.size]], axis=1)
    day = (index.times_s // DAY_S).astype(np.int64) - bitcoin.first_day
    inside = (day >= 0) & (day < squares.size)
    implied, realised = index.values[inside] ** 2, mean[day[inside]] * 365.0
    known = np.isfinite(implied) & np.isfinite(realised)
    return math.sqrt(float(implied[known].mean() / realised[known].mean())) if known.any() else 1.0


def _index(data: Path) -> Column:
    spec = parse_exposure("v2:BTC/USDC:1")
    table = next(item for item in tables_for(spec) if item.file.startswith("btc_dvol"))
    path = locate(data, replace(table, is_required=False))
    if path is None:
        return EMPTY_COLUMN
    rows, _ = read_rows(path, table)
    return column_of(rows, table.series(rows)[DVOL_KEY])


def model_text(model: PathModel, history: DailyHistory) -> str:
    """Return the file of a fitted model."""
    lines = [
        f"# Fitted to {history.times_s.size} days, {iso_utc(history.times_s[0])[:10]} to "
        f"{iso_utc(history.times_s[-1])[:10]}, by alvh montecarlo --fit. Not fitted: drift, "
        f"crisis_priced, funding, fees, bootstrap, tiers.",
        "",
        *_table("regimes", asdict(model.regimes)),
    ]
    for name, asset in model.assets.items():
        lines += _table(f"assets.{name}", asdict(asset))
    lines += _table("correlation", _pairs(tuple(model.assets), model.correlation))
    for section in ("funding", "fees", "bootstrap", "tiers"):
        lines += _table(section, asdict(getattr(model, section)))
    return "\n".join(lines)


def _pairs(names: Sequence[str], matrix: FloatArray) -> dict[str, float]:
    return {
        f'"{one} {other}"': float(matrix[at, at + 1 + place])
        for at, one in enumerate(names)
        for place, other in enumerate(names[at + 1 :])
    }


def _table(name: str, values: Mapping[str, float]) -> list[str]:
    return [f"[{name}]", *(f"{key} = {value:.6g}" for key, value in values.items()), ""]
