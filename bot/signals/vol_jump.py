"""S25: how far the vol index has jumped from its low of the day."""

import math
from dataclasses import dataclass

import numpy as np

from bot.model.market import Columns, FloatArray, Metric
from bot.model.tier import Family, Reading
from bot.model.units import HOUR_S
from bot.signals.moves import known_share, moving_bars
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, NotYet, read_each

_MAX_LOG_RISE = 700.0  # beyond it e^x is no float any more


@dataclass(frozen=True, slots=True, kw_only=True)
class VolJump:
    """Vol index / its low of 24 h - 1 on closed bars, per source; 0 or more.

    A jump does not cross a hole: what happened while the source was away is neither up nor down.
    """

    id: str = "S25"
    name: str = "vol_jump"
    family: Family = Family.TECHNICAL
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (Metric.VOL_INDEX,)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.technical.vol_jump_span_s + 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        keys = columns.find(Metric.VOL_INDEX)
        return read_each(self, keys, columns, _measure, now_s=now_s, policy=policy)


def _measure(inputs: Inputs, *, quiet: int, policy: SignalsPolicy) -> Measured | NotYet:
    span_s = policy.technical.vol_jump_span_s
    found = moving_bars(
        inputs,
        span=policy.bars(span_s),
        window_s=span_s,
        quiet_bars=quiet,
        policy=policy,
        what="vol index low",
    )
    if not isinstance(found, tuple):
        return found
    bars, steps = found
    level = float(bars.close[-1])
    if not level > 0.0:
        return Measured(value=math.nan, score=math.nan, because=f"a vol index of {level:g} is not a vol")
    jump, anchors = bars.once(("jump", quiet), lambda: _jump(steps)), policy.technical.vol_jump
    return Measured(
        value=jump,
        score=anchors.score(jump),
        because=f"vol index {level:.1%}, {jump:+.1%} over its {span_s / HOUR_S:.0f} h low "
        f"({known_share(bars)}), stress from {anchors.calm:.0%} to {anchors.stress:.0%}",
    )


def _jump(steps: FloatArray) -> float:
    """Return the rise from the lowest point of the window to its end, moves over holes left out."""
    path = np.concatenate(([0.0], np.cumsum(np.where(np.isfinite(steps), steps, 0.0))))
    return math.expm1(min(float(path[-1] - path.min()), _MAX_LOG_RISE))
