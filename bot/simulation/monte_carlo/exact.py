"""Some paths through the whole engine, hour by hour, beside the kernels' rules on the same paths by day.

The paths are drawn anew with hourly steps; what the kernels' rules see of them is every 24th hour. Both sides
are measured at the ends of days.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.exposure import ExposureKind
from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.memory_journal import MemoryJournal
from bot.simulation.backtest import alvh_steps, cut_moments
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.files import DVOL_KEY, spot_key
from bot.simulation.history.tables import LOOKBACK_S, History
from bot.simulation.market.model import Market, with_implied_vols
from bot.simulation.metrics import max_drawdown
from bot.simulation.monte_carlo.hedge_twin import hedge_paths
from bot.simulation.monte_carlo.numbers import path_numbers
from bot.simulation.monte_carlo.path_twin import AssetState, blank_state, path_keys, tell, walk
from bot.simulation.monte_carlo.results import ExactCheck
from bot.simulation.monte_carlo.run import Setup
from bot.simulation.results import cash_usd

Progress = Callable[[int, int], None]  # hours done, hours in all
_START_S = 1_704_067_200  # 2024-01-01: made-up time; listed expiries follow from it
_HOURS = DAY_S // HOUR_S
_FUNDING_HOURS = 8
_BITCOIN = "BTC"


async def check(setup: Setup, *, paths: int, progress: Progress | None = None) -> tuple[ExactCheck, ...]:
    """Run the first ``paths`` paths through the engine, for each policy.

    Raises ConfigError for more than one exposure, and where paths come from a history.
    """
    if len(setup.specs) != 1 or setup.replay.successors.size:
        raise ConfigError(
            "--exact takes one --exposure and made-up paths: leave out the others, or --kind bootstrap"
        )
    if not 1 <= paths <= setup.count:
        raise ConfigError(f"--exact must be between 0 and --paths ({setup.count:,}), was {paths:,}")
    spec, days = setup.specs[0], setup.steps
    logs, ivs, fundings = _hourly(setup, spec, paths)
    done, total = 0, days * _HOURS * paths * len(setup.policies)
    found = []
    for at, policy in enumerate(setup.policies):
        run = hedge_paths(_by_day(setup, logs, ivs), setup.hedge, policy=at, steps=days, step_days=1.0)
        worths, highs = [], []
        for number in range(paths):
            history = _history(spec, setup, logs[:, number], ivs[:, number], fundings[:, number])
            worth, high = await _engine(history, spec, policy, setup)
            worths.append(worth)
            highs.append(high)
            done += days * _HOURS
            if progress:
                progress(done, total)
        found.append(_compared(policy, run.worth.astype(np.float64), run.tier > 1.0, worths, highs))
    return tuple(found)


def _hourly(setup: Setup, spec: ExposureSpec, paths: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return log prices, implied vols and funding by hour, [hour, path]; the look-back first."""
    hours = (LOOKBACK_S // DAY_S + setup.steps) * _HOURS
    numbers = path_numbers(setup.model, setup.market, [spec.underlying], step_days=1.0 / _HOURS)
    shape = (hours + 1, paths)
    logs, ivs, fundings = (np.zeros(shape) for _ in range(3))
    for hour, (state,) in enumerate(walk(numbers, path_keys(setup.seed, 0, paths), hours)):
        logs[hour], ivs[hour], fundings[hour] = state.x, state.iv, state.funding
    return logs, ivs, fundings


def _by_day(setup: Setup, logs: FloatArray, ivs: FloatArray) -> Iterator[list[AssetState]]:
    """Yield what the kernels' rules see: the end of each day, the price over that of the start."""
    numbers = path_numbers(setup.model, setup.market, [setup.specs[0].underlying], step_days=1.0)
    first = LOOKBACK_S // DAY_S * _HOURS
    count = logs.shape[1]
    state = blank_state(count)
    row = list(setup.model.assets).index(setup.specs[0].underlying)
    for day in range(setup.steps + 1):
        hour = first + day * _HOURS
        x = (logs[hour] - logs[first]).astype(np.float32)
        state.moved, state.x, state.iv = x - state.x, x, ivs[hour].astype(np.float32)
        tell(state, numbers.assets[0], is_start=day == 0)
        yield [state] * (row + 1)


def _history(
    spec: ExposureSpec, setup: Setup, logs: FloatArray, ivs: FloatArray, fundings: FloatArray
) -> History:
    """Return one path as the backtest reads history."""
    first = LOOKBACK_S // DAY_S * _HOURS
    spot_usd = setup.model.assets[spec.underlying].spot_usd
    times_s = _START_S + HOUR_S * np.arange(logs.size, dtype=np.float64) - 1.0
    known_ratio = 1.0 if spec.underlying == _BITCOIN else setup.market.realised.ratio_unknown
    index = Column(times_s=times_s, values=ivs / known_ratio)
    price = Column(times_s=times_s, values=spot_usd * np.exp(logs - logs[first]))
    funding = Column(times_s=times_s[::_FUNDING_HOURS], values=fundings[::_FUNDING_HOURS])
    series = {
        spot_key(spec.underlying): price,
        SeriesKey(Metric.FUNDING_APR, spec.underlying, "binance"): funding,
    }
    if spec.underlying != _BITCOIN:
        series[DVOL_KEY] = index
    return History(
        underlying=spec.underlying,
        from_s=_START_S + first * HOUR_S,
        to_s=_START_S + (logs.size - 1) * HOUR_S,
        columns=Columns(series=series),
        vol_index=index,
        ends_s={},
    )


async def _engine(
    history: History, spec: ExposureSpec, policy: Policy, setup: Setup
) -> tuple[FloatArray, FloatArray]:
    """Return the value over the start and whether ELEVATED stood, at the end of each day."""
    fees = setup.model.fees
    apr = fees.v3 if spec.kind is ExposureKind.UNISWAP_V3 else fees.v2
    market: Market = setup.market
    priced = with_implied_vols(history, market)
    moments = tuple(cut_moments(priced, spec, fee_apr=apr, position=market.position(spec)))
    worth, high, options_usd = [], [], 0.0
    steps = alvh_steps(moments, policy, market, journal=MemoryJournal())
    waiting = iter(moments)
    async for step in steps:
        moment = next(waiting)
        options_usd += sum(map(cash_usd, step.record.outcomes))
        exposure = moment.exposures[0]
        own_usd = exposure.value_usd + exposure.fees_uncollected_usd
        worth.append(own_usd + options_usd + step.hedge_usd + step.perpetual_cash_usd)
        high.append(max(group.tier for group in step.record.decision.groups) >= Tier.ELEVATED)
    return np.array(worth[::_HOURS]) / spec.value_usd, np.array(high[::_HOURS])


def _compared(
    policy: Policy,
    worth: FloatArray,
    high: NDArray[np.bool_],
    worths: list[FloatArray],
    highs: list[FloatArray],
) -> ExactCheck:
    return ExactCheck(
        policy=policy.name,
        paths=len(worths),
        end=(np.array([each[-1] for each in worths]), worth[-1]),
        drawdown=(
            np.array([max_drawdown(each) for each in worths]),
            np.array([max_drawdown(each) for each in worth.T]),
        ),
        high_share=(np.array([each.mean() for each in highs]), high.mean(axis=0)),
    )
