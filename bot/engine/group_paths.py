"""R8: the price paths of a hedge group, on the same dates as those of every other group of the frame.

ETH and BTC (``sizing.factors``) are drawn together; a token enters by its CAPM beta to one of them plus
residuals of its own, and is hedged by options on that one where it has none itself. A group of one factor
alone is drawn from its own history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from bot.engine.policy import Policy
from bot.engine.policy_sizing import SizingPolicy
from bot.model.market import Frame, Metric
from bot.model.units import DAY_S
from bot.quant.bars import Bars, closed_bars
from bot.quant.joint_paths import Asset, TokenPaths, joint_paths, token_paths
from bot.quant.statistics import FactorFit
from bot.quant.var import MIN_DAILY_RETURNS, PathSet, spot_paths

_NEVER = 1_000_000  # more daily returns than any history has


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPaths:
    """Paths from a price of 1: of what a group is in, and of what its options are on; row by row together."""

    own: PathSet
    hedge: PathSet  # the same object where the options are on the underlying itself
    hedged_by: str  # underlying of the options; "" where nothing can stand in
    stands_in: FactorFit | None = None  # what the options of another underlying rest on; None: its own

    @property
    def unhedged(self) -> str:
        """Return why no option of another underlying may stand in; empty where one may, or need not."""
        if self.stands_in is None or self.stands_in.hedgeable:
            return ""
        return f"basis risk: {self.stands_in.because}, so that no option of another underlying stands in (R8)"


def group_paths(policy: Policy, frame: Frame, underlying: str, *, hedge: str = "") -> GroupPaths:
    """Return the paths of a group's underlying, worked out once for a closed day.

    ``hedge`` is the underlying of its options where that is settled already: its own, or the factor that held
    options are on; empty leaves the choice to R^2.
    """
    sizing = policy.sizing
    leaders = _leaders(sizing, frame, underlying)
    if underlying in sizing.factors.assets or not leaders:
        found = _leader_paths(sizing, leaders)[underlying] if underlying in leaders else None
        paths = found or _alone(sizing, _history(sizing, frame, underlying))
        return GroupPaths(own=paths, hedge=paths, hedged_by=underlying)
    bars = _history(sizing, frame, underlying)
    if bars is None:
        paths = _alone(sizing, None)
        return GroupPaths(own=paths, hedge=paths, hedged_by=underlying)
    drawn = _leader_paths(sizing, leaders)
    held = {hedge: leaders[hedge]} if hedge in leaders else leaders
    token = _token(sizing, underlying, bars, held, drawn)
    if hedge == underlying:
        return GroupPaths(own=token.paths, hedge=token.paths, hedged_by=underlying)
    by = hedge or token.follows.factor
    return GroupPaths(
        own=token.paths, hedge=drawn.get(by, token.paths), hedged_by=by, stands_in=token.follows
    )


def _leaders(sizing: SizingPolicy, frame: Frame, underlying: str) -> dict[str, Bars]:
    """Return the histories of the factors that are drawn together in this frame, the first one leading.

    Those with an exposure of their own; all that have prices once any exposure is in another token.
    """
    held = {item.underlying for item in frame.exposures} | {underlying}
    wanted = held if held <= set(sizing.factors.assets) else held | set(sizing.factors.assets)
    found = {name: _history(sizing, frame, name) for name in sizing.factors.assets if name in wanted}
    return {name: bars for name, bars in found.items() if bars is not None}


def _history(sizing: SizingPolicy, frame: Frame, asset: str) -> Bars | None:
    """Return the daily closes of an asset's first price source; None where it has none."""
    for key in frame.columns.find(Metric.PRICE_USD, asset)[:1]:
        return closed_bars(frame.columns[key], bar_s=DAY_S, now_s=frame.now_s, count=sizing.history_days)
    return None


def _leader_paths(sizing: SizingPolicy, leaders: Mapping[str, Bars]) -> dict[str, PathSet]:
    names, (first, *others) = tuple(leaders), tuple(leaders.values())
    if not others:
        return {names[0]: _alone(sizing, first)}
    key = ("joint paths", names, sizing.horizon_days, sizing.min_paths)
    return first.once(key, partial(_together, sizing, leaders), beside=tuple(others))


def _together(sizing: SizingPolicy, leaders: Mapping[str, Bars]) -> dict[str, PathSet]:
    assets = {name: Asset(daily_close=bars.close, spot=1.0) for name, bars in leaders.items()}
    found = joint_paths(assets, horizon_days=sizing.horizon_days)
    if all(_enough(sizing, paths) for paths in found.values()):
        return found
    return joint_paths(assets, horizon_days=sizing.horizon_days, min_returns=_NEVER)


def _alone(sizing: SizingPolicy, bars: Bars | None) -> PathSet:
    """Return paths from an asset's own history, worked out once a day."""
    if bars is None:
        return spot_paths(np.empty(0), spot=1.0, horizon_days=sizing.horizon_days)
    key = ("paths", sizing.horizon_days, sizing.min_paths)
    return bars.once(key, partial(_of_history, sizing, bars))


def _of_history(sizing: SizingPolicy, bars: Bars) -> PathSet:
    make = partial(spot_paths, bars.close, spot=1.0, horizon_days=sizing.horizon_days)
    found = make(min_returns=MIN_DAILY_RETURNS)
    return found if _enough(sizing, found) else make(min_returns=_NEVER)


def _enough(sizing: SizingPolicy, paths: PathSet) -> bool:
    """Return whether runs of a history are many enough to speak: holes may leave few of 250 returns."""
    return not paths.warmed or paths.spots.shape[0] >= sizing.min_paths


def _token(
    sizing: SizingPolicy, token: str, bars: Bars, leaders: Mapping[str, Bars], drawn: Mapping[str, PathSet]
) -> TokenPaths:
    rule, names = sizing.factors, tuple(leaders)
    key = ("token paths", token, names, sizing.horizon_days, sizing.min_paths, rule)

    def make() -> TokenPaths:
        return token_paths(
            token,
            Asset(daily_close=bars.close, spot=1.0),
            leaders={name: Asset(daily_close=each.close, spot=1.0) for name, each in leaders.items()},
            paths=drawn,
            window=rule.window_days,
            min_r_squared=rule.min_r_squared,
        )

    return bars.once(key, make, beside=tuple(drawn[name] for name in names))
