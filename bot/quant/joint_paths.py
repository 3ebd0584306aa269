"""Price paths of several assets on the same rows, so that the losses of different hedge groups add up (R8).

ETH and BTC move together as they did on the same dates (filtered historical simulation of several assets:
Barone-Adesi, Giannopoulos, Vosper 1999); a token moves with one of them by its CAPM beta, plus residuals of
its own. Nothing is drawn at random: the same history gives the same paths.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.quant.statistics import COVERAGE, MIN_R_SQUARED, FactorFit, Fit, best_factor, residuals
from bot.quant.var import (
    DAYS_PER_YEAR,
    MIN_DAILY_RETURNS,
    VOL_CAP,
    VOL_FLOOR,
    WARM_UP_RETURNS,
    Past,
    PathSet,
    check_path,
    historical_paths,
    past_shocks,
    spot_paths,
    straight_paths,
    student_quantiles,
)
from bot.quant.volatility import least_known, log_returns

BETA_RESIDUAL = "CAPM beta to a factor plus resampled residuals"
BETA_DAYS = 90  # R8

_MAX_STEP = 3  # a hole of one day leaves two days without a return; a longer one ends a run
_NO_DAYS = np.empty(0, dtype=np.intp)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64: Steele, Lea, Flood 2014
_MIXES = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = np.uint64(31)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asset:
    """A history and where it stands. Histories of one call end on the same day and are equally long."""

    daily_close: FloatArray  # oldest first, NaN missing
    spot: float  # > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPaths:
    """Paths of a token, and what they rest on."""

    paths: PathSet
    follows: FactorFit  # ``hedgeable`` says whether R8 lets the factor's options hedge it


def joint_paths(
    assets: Mapping[str, Asset],
    *,
    horizon_days: int,
    min_returns: int = MIN_DAILY_RETURNS,
    vol_floor: float = VOL_FLOOR,
    vol_cap: float = VOL_CAP,
) -> dict[str, PathSet]:
    """Return paths of every asset; row i of all of them is the same run of dates, equally likely.

    Each asset's shocks are standardised and scaled by its own vol as in ``spot_paths``, which this equals bit
    for bit for one asset, and for several that miss no day. A date counts where all of them have a shock.

    The first asset with a history that is long enough leads. Another joins it when its own is too and enough
    is shared (``min_returns`` dates less warm-up, 60 % of the rows); else nobody knows how they move
    together, and it is taken to fall with the leader: ``ranked_paths``. Where none is long enough all are as
    in ``spot_paths``, row by row at the same quantile.
    """
    _check(assets, horizon_days)
    pasts = {name: past_shocks(np.asarray(asset.daily_close)) for name, asset in assets.items()}
    speaking = [name for name, past in pasts.items() if past.speaks(cap=vol_cap, min_returns=min_returns)]
    windows = _joint_windows(speaking, pasts, horizon_days=horizon_days, min_returns=min_returns)
    if not windows:
        make = partial(spot_paths, horizon_days=horizon_days, min_returns=min_returns)
        return {
            name: make(asset.daily_close, spot=asset.spot, vol_floor=vol_floor, vol_cap=vol_cap)
            for name, asset in assets.items()
        }
    found = _shared_paths(assets, pasts, windows, vol_cap=vol_cap)
    leader = next(iter(found.values()))
    return {
        name: found.get(name) or ranked_paths(leader, asset, vol_floor=vol_floor, vol_cap=vol_cap)
        for name, asset in assets.items()
    }


def _shared_paths(
    assets: Mapping[str, Asset],
    pasts: Mapping[str, Past],
    windows: Mapping[str, FloatArray],
    *,
    vol_cap: float,
) -> dict[str, PathSet]:
    """Return paths of the assets that have shocks on the same dates, each at its own vol."""
    return {
        name: historical_paths(
            shocks, spot=assets[name].spot, vol=pasts[name].held_vol(cap=vol_cap), past=pasts[name]
        )
        for name, shocks in windows.items()
    }


def ranked_paths(
    leader: PathSet, asset: Asset, *, vol_floor: float = VOL_FLOOR, vol_cap: float = VOL_CAP
) -> PathSet:
    """Return paths of an asset that moves with ``leader`` in rank, for a history too short to tell (R8).

    Straight in the log to the Student-t(4) quantile, at the rank of the leader's horizon price on the same
    row, of the EWMA vol floored: together they fall as far as they can, which is safe for what is held long.
    """
    count, days = leader.spots.shape[0], leader.spots.shape[1] - 1
    check_path(spot=asset.spot, horizon_days=days)
    past = past_shocks(np.asarray(asset.daily_close))
    ranks = np.empty(count)
    ranks[np.argsort(leader.spots[:, -1], kind="stable")] = np.arange(count)
    vol = past.short_vol(cap=vol_cap, floor=vol_floor)
    quantiles = student_quantiles((ranks + 0.5) / count)
    return straight_paths(quantiles, spot=asset.spot, vol=vol, past=past, horizon_days=days)


def beta_paths(
    leader: PathSet, token: str, *, spot: float, fit: Fit, residual_returns: FloatArray
) -> PathSet:
    """Return paths of a token: beta x the leader's log return on the same row, plus residuals of its own.

    ``residual_returns`` are daily, NaN missing, of the regression ``fit``; their mean is taken out (a past
    drift is no forecast) and they are scaled to the unbiased residual deviation. On every day each residual
    stands on as many rows as any other; which rows, a hash of the token's name and the day decides, so that
    days and tokens are independent of each other and adding a token changes no other. Raises InvariantError
    when the fit or all residuals are unknown.
    """
    check_path(spot=spot, horizon_days=leader.spots.shape[1] - 1)
    known = residual_returns[np.isfinite(residual_returns)]
    if not known.size or not (math.isfinite(fit.slope) and math.isfinite(fit.residual_sd)):
        raise InvariantError(f"paths of {token} need a known beta and residuals, were {fit} and {known.size}")
    count, days = leader.spots.shape[0], leader.spots.shape[1] - 1
    places = (2 * _spread(token, count, days) + 1) * known.size // (2 * count)
    own = _scaled(known, fit.residual_sd)[places]
    logs = fit.slope * np.log(leader.spots[:, 1:] / leader.spots[:, :1]) + np.cumsum(own, axis=1)
    return PathSet(
        spots=spot * np.exp(np.pad(logs, ((0, 0), (1, 0)))),
        method=BETA_RESIDUAL,
        warmed=leader.warmed,
        vol=math.hypot(fit.slope * leader.vol, fit.residual_vol(DAYS_PER_YEAR)),
        returns_known=fit.pairs,
    )


def token_paths(
    token: str,
    asset: Asset,
    *,
    leaders: Mapping[str, Asset],
    paths: Mapping[str, PathSet],
    window: int = BETA_DAYS,
    min_r_squared: float = MIN_R_SQUARED,
    vol_floor: float = VOL_FLOOR,
    vol_cap: float = VOL_CAP,
) -> TokenPaths:
    """Return paths of a token by its beta to the leader that explains most of it, on the rows of ``paths``.

    Where no beta can be told it is taken to fall with the first leader (``ranked_paths``). ``follows`` says
    which leader, and whether R^2 reaches ``min_r_squared``: if not, options on it do not hedge the token.
    """
    _check({**leaders, token: asset}, 1)
    returns = log_returns(np.asarray(asset.daily_close))
    of_leaders = {name: log_returns(np.asarray(leader.daily_close)) for name, leader in leaders.items()}
    follows = best_factor(returns, of_leaders, window=window, min_r_squared=min_r_squared)
    if not follows.factor:
        first = next(iter(leaders))
        found = ranked_paths(paths[first], asset, vol_floor=vol_floor, vol_cap=vol_cap)
    else:
        own = residuals(of_leaders[follows.factor][-window:], returns[-window:], follows.fit)
        found = beta_paths(
            paths[follows.factor], token, spot=asset.spot, fit=follows.fit, residual_returns=own
        )
    return TokenPaths(paths=found, follows=follows)


def _check(assets: Mapping[str, Asset], horizon_days: int) -> None:
    for asset in assets.values():
        check_path(spot=asset.spot, horizon_days=horizon_days)
    sizes = {name: asset.daily_close.shape for name, asset in assets.items()}
    if len(set(sizes.values())) > 1:
        raise InvariantError(f"joint paths need histories of the same days, were {sizes}")


def _joint_windows(
    names: Sequence[str], pasts: Mapping[str, Past], *, horizon_days: int, min_returns: int
) -> dict[str, FloatArray]:
    """Return the shocks [row, day] of the assets that join the first one that has rows, on shared rows."""
    joined: list[str] = []
    least = min_returns - WARM_UP_RETURNS
    shared, rows = _NO_DAYS, _NO_DAYS
    for name in names:
        days = np.flatnonzero(~np.isnan(pasts[name].by_day))
        both = np.intersect1d(shared, days) if joined else days
        left = _runs(both, horizon_days)
        enough = both.size >= least and left.size >= least_known(rows.size, coverage=COVERAGE)
        if left.size and (enough or not joined):
            joined, shared, rows = [*joined, name], both, left
    return {name: pasts[name].by_day[rows] for name in joined}


def _runs(days: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return every run of ``length`` of these days [run, day] that does not cross a long hole."""
    parts = np.split(days, np.flatnonzero(np.diff(days) > _MAX_STEP) + 1)
    windows = [sliding_window_view(part, length) for part in parts if part.size >= length]
    return np.concatenate(windows) if windows else _NO_DAYS


def _scaled(known: FloatArray, residual_sd: float) -> FloatArray:
    """Return residuals without their mean, at this deviation, from the least to the greatest."""
    centred = np.sort(known - known.mean())
    size = math.sqrt(float(np.mean(centred**2)))
    return centred * (residual_sd / size) if size > 0.0 else np.zeros(known.size)


def _spread(token: str, count: int, days: int) -> NDArray[np.intp]:
    """Return, for each day, a permutation of 0 .. count - 1 over the rows [row, day]: a Latin hypercube.

    The order of SplitMix64's output for the counter (day, row), seeded by SHA-256 of the token's name.
    """
    seed = np.frombuffer(hashlib.sha256(token.encode()).digest()[:8], dtype="<u8")
    state = seed + _GOLDEN * np.arange(1, count * days + 1, dtype=np.uint64)
    for shift, factor in _MIXES:
        state = (state ^ (state >> shift)) * factor
    state ^= state >> _LAST_SHIFT
    order = np.argsort(state.reshape(days, count), axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable").T
