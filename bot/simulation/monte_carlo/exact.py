"""Some paths through the whole engine, hour by hour, beside the kernels' rules on the same paths by day.

The paths are drawn anew with hourly steps; what the kernels' rules see of them is every 24th hour. Both sides
are measured at the ends of days.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.exposure import ExposureKind
from bot.model.market import FloatArray
from bot.model.tier import Tier
from bot.pipeline.memory_journal import MemoryJournal
from bot.simulation.backtest import alvh_steps, cut_moments
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.tables import History
from bot.simulation.metrics import max_drawdown
from bot.simulation.monte_carlo.exact_history import HOURS, by_day, history_of, hourly_paths
from bot.simulation.monte_carlo.hedge_twin import TwinRun, hedge_paths
from bot.simulation.monte_carlo.results import ExactCheck
from bot.simulation.monte_carlo.run import Setup
from bot.simulation.results import cash_usd

Progress = Callable[[int, int], None]  # hours done, hours in all
Tiers = NDArray[np.int8]


class _DayEnds(NamedTuple):
    """One path by the engine: value over the start and the market tier at each day's end."""

    worth: FloatArray
    tiers: Tiers


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
    spec, hours = setup.specs[0], hourly_paths(setup, setup.specs[0], paths)
    hours_each = setup.steps * HOURS
    total, found = hours_each * paths * len(setup.policies), []
    for at, policy in enumerate(setup.policies):
        run = hedge_paths(by_day(setup, hours), setup.hedge, policy=at, steps=setup.steps, step_days=1.0)
        ends = []
        for path in range(paths):
            ends.append(await _engine(history_of(setup, spec, hours, path), spec, policy, setup))
            if progress:
                progress(hours_each * (at * paths + path + 1), total)
        found.append(compared(policy.name, run, [item.worth for item in ends], [item.tiers for item in ends]))
    return tuple(found)


async def _engine(history: History, spec: ExposureSpec, policy: Policy, setup: Setup) -> _DayEnds:
    fees, market = setup.model.fees, setup.market
    apr = fees.v3 if spec.kind is ExposureKind.UNISWAP_V3 else fees.v2
    moments = tuple(cut_moments(history, spec, fee_apr=apr, position=market.position(spec)))
    worth, tiers, options_usd = [], [], 0.0
    waiting = iter(moments)
    async for step in alvh_steps(moments, policy, market, journal=MemoryJournal()):
        moment = next(waiting)
        options_usd += sum(map(cash_usd, step.record.outcomes))
        exposure = moment.exposures[0]
        own_usd = exposure.value_usd + exposure.fees_uncollected_usd
        worth.append(own_usd + options_usd + step.hedge_usd + step.perpetual_cash_usd)
        tiers.append(int(max(group.tier for group in step.record.decision.groups)))
    return _DayEnds(np.array(worth[::HOURS]) / spec.value_usd, np.array(tiers[::HOURS], dtype=np.int8))


def compared(policy: str, run: TwinRun, worths: list[FloatArray], tiers: list[Tiers]) -> ExactCheck:
    """Return both sides of every path; all of them [day] by path."""
    kernel, kernel_tiers = run.worth.T.astype(np.float64), run.tier.T.astype(np.int8)
    engine_tiers = np.array(tiers)
    is_high = engine_tiers >= Tier.ELEVATED, kernel_tiers >= Tier.ELEVATED
    return ExactCheck(
        policy=policy,
        paths=len(worths),
        end=(np.array([each[-1] for each in worths]), kernel[:, -1]),
        drawdown=(_falls(worths), _falls(list(kernel))),
        guarded_share=(
            (engine_tiers == Tier.GUARDED).mean(axis=1),
            (kernel_tiers == Tier.GUARDED).mean(axis=1),
        ),
        high_share=(is_high[0].mean(axis=1), is_high[1].mean(axis=1)),
        same_side=(is_high[0] == is_high[1]).mean(axis=1),
    )


def _falls(worths: list[FloatArray]) -> FloatArray:
    return np.array([max_drawdown(each) for each in worths])
