"""S24: the last day's fall in units of what the option market expects of a day."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from bot.model.market import Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Quality, Reading
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.quant.surface import HIGHEST_IV, LOWEST_IV
from bot.signals.iv_percentile import iv_keys
from bot.signals.moves import known_share, moving_bars
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measured,
    NotYet,
    absent,
    absent_metric,
    freshness,
    no_last_bar,
    quiet_bars,
    read_subject,
    trailing,
)
from bot.signals.subjects import primary_prices


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownSpeed:
    """24 h log return / (30-day IV / sqrt(365)) of each asset's primary price; negative is a fall.

    The vol is the asset's own: the first series of 30-day IV that is live, options before vol indices (BTC
    has its index). An asset without one is absent: another's vol is no measure of it. Both are taken at the
    last closed bar.
    """

    id: str = "S24"
    name: str = "drawdown_speed"
    family: Family = Family.TECHNICAL
    unit: str = "sigma"
    metrics: tuple[Metric, ...] = (Metric.PRICE_USD, Metric.IV_30D, Metric.VOL_INDEX)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.technical.drawdown_span_s + 2 * policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        prices = primary_prices(columns, policy)
        if not prices:
            return absent_metric(self, Metric.PRICE_USD)
        return tuple(self._read_asset(columns, key, now_s=now_s, policy=policy) for key in prices)

    def _read_asset(
        self, columns: Columns, price: SeriesKey, *, now_s: float, policy: SignalsPolicy
    ) -> Reading:
        vol = self._vol_key(columns, price.subject, now_s=now_s, policy=policy)
        if vol is None:
            because = f"no 30-day implied vol of {price.subject} is configured"
            return absent(self, subject=price.subject, source=price.source, because=because)
        return read_subject(
            self,
            (price, vol),
            columns,
            partial(_measure, quiet=quiet_bars(price, policy), policy=policy),
            now_s=now_s,
            policy=policy,
        )

    def _vol_key(
        self, columns: Columns, subject: str, *, now_s: float, policy: SignalsPolicy
    ) -> SeriesKey | None:
        """Return the best series of implied vol: live before held before missing, then in order."""
        rank = {Quality.LIVE: 0, Quality.HELD: 1, Quality.MISSING: 2}

        def worth(key: SeriesKey) -> int:
            column = trailing(columns, key, now_s=now_s, lookback_s=self.lookback_s(policy))
            return rank[freshness(key, column, now_s=now_s, policy=policy).quality]

        return min(iv_keys(columns, subject), key=worth, default=None)


def _measure(inputs: Inputs, *, quiet: int, policy: SignalsPolicy) -> Measured | NotYet:
    span_s = policy.technical.drawdown_span_s
    found = moving_bars(
        inputs,
        span=policy.bars(span_s),
        window_s=span_s,
        quiet_bars=quiet,
        policy=policy,
        what="24 h return",
    )
    if not isinstance(found, tuple):
        return found
    bars, steps = found
    iv = float(inputs.held_bars(inputs.columns[1], count=1, policy=policy).close[-1])
    if math.isnan(iv):
        return no_last_bar("implied vol")
    if not LOWEST_IV <= iv <= HIGHEST_IV:
        because = f"an implied vol of {iv:g} is not between {LOWEST_IV:g} and {HIGHEST_IV:g}"
        return Measured(value=math.nan, score=math.nan, because=because)
    move = bars.once(("move", quiet), lambda: _sum(steps))
    expected = iv * math.sqrt(span_s / YEAR_S)
    value, anchors = move / expected, policy.technical.drawdown_speed
    return Measured(
        value=value,
        score=anchors.score(value),
        because=f"{span_s / HOUR_S:.0f} h return {move:+.2%} against {expected:.2%} that an implied vol of "
        f"{iv:.1%} expects of {span_s / DAY_S:g} d ({known_share(bars)}): {value:+.2f} sigma, "
        f"stress from {anchors.calm:g} to {anchors.stress:g}",
    )


def _sum(steps: FloatArray) -> float:
    return float(steps.sum() if np.isfinite(steps).all() else np.nansum(steps))
