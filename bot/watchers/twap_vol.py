"""Realised volatility of a Uniswap v3 pool from its own observations (S11).

``observe`` gives the running sum of the tick, so the sums at N + 1 times give N mean ticks, each over one
window; ln(1.0001) times a tick is a log price. quant.volatility.window_mean_vol has the estimator and why its
squares are scaled by 3/2. A tick is a basis point: windows must be long enough for the price to move by many.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader
from bot.quant.volatility import window_mean_vol
from bot.watchers.pools import V3_POOL, Pool
from bot.watchers.rows import BadRead, Rows, need
from bot.watchers.ticks import MAX_TICK

_LOG_TICK = math.log(1.0001)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwapVolWatcher:
    """Watches the realised vol of a pool's base over ``windows`` windows of ``window_s``, a fraction a year.

    The pool must remember all of them: else it reverts with "OLD" and the vol is unknown (raise its
    observation cardinality). A price that never moved is no calm market but a pool without trades: unknown.
    """

    pool: Pool
    window_s: int = 3_600
    windows: int = 24
    highest_vol: float = 20.0

    def __post_init__(self) -> None:
        if self.window_s < 1 or self.windows < 3:
            raise ConfigError(
                f"twap_vol {self.pool.label}: window_s must be >= 1 and windows >= 3, "
                f"were {self.window_s} and {self.windows}"
            )
        if not 0 < self.highest_vol < math.inf:
            raise ConfigError(f"twap_vol {self.pool.label}: highest_vol must be > 0, was {self.highest_vol}")

    @property
    def name(self) -> str:
        return f"twap_vol {self.pool.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.REALISED_VOL, self.pool.base, f"twap_vol:{self.pool.label}"),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        ages_s = [self.window_s * back for back in range(self.windows, -1, -1)]
        calls = [*self.pool.token_calls, V3_POOL.call("observe", self.pool.address, ages_s)]
        token0, token1, observed = await chain.read(calls, block=block)
        try:
            self.pool.check_tokens(token0, token1)
            vol = self._vol(observed)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], vol)]

    def _vol(self, observed: tuple[Any, ...] | None) -> float:
        what = f"{self.pool.label} observe over {self.window_s * self.windows} s"
        sums = need(observed, f"{what} (a young pool does not remember it)")[0]
        if len(sums) != self.windows + 1:
            raise BadRead(f"{what} gave {len(sums)} sums, asked were {self.windows + 1}")
        ticks = np.array([(new - old) / self.window_s for old, new in pairwise(sums)])
        if np.abs(ticks).max() > MAX_TICK:
            raise BadRead(f"{what} gave a mean tick of {np.abs(ticks).max():.0f}, the most is {MAX_TICK}")
        vol = window_mean_vol(ticks * _LOG_TICK, window_s=self.window_s)
        if vol == 0.0:
            raise BadRead(f"{what}: the price never moved, nobody trades there")
        if not vol <= self.highest_vol:
            raise BadRead(f"{what} gave a vol of {vol:.4g}, allowed is up to {self.highest_vol:g}")
        return vol
