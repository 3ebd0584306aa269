"""The liquidity of a Uniswap v3 pool over prices: read by ticks, integrated in closed form.

Between two initialised ticks the liquidity L is constant. With u = sqrt(price of the base in quote), the
pool pays L (u2 - u1) quote when the price falls from u2^2 to u1^2 and takes L (1/u1 - 1/u2) base for it
(Uniswap v3 whitepaper, 6.14 and 6.16). Turning the price round (when the base is token1) mirrors the ticks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.chain.abi import Abi
from bot.chain.ladder import TickSource, lens_ticks
from bot.model.market import Block, FloatArray
from bot.ports import ChainReader
from bot.watchers.pools import NEAR, V3_POOL, Pool
from bot.watchers.rows import BadRead, need

TICK_LENS = Abi.load("TickLens")
MAX_TICK = 887_272  # TickMath of v3-core


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Initialised ticks, ascending, as (tick, liquidityNet, liquidityGross) in pool order."""

    pool: Pool
    ticks: Sequence[tuple[int, int, int]]

    def check(self, *, tick: int, in_range: int) -> None:
        """Raise BadRead unless the ticks add up: to the pool's own liquidity here, and to 0 over all.

        At each of them gross = in + out and net = in - out, of what begins and ends there.
        """
        for at, net, gross in self.ticks:
            if gross < abs(net) or (gross + net) % 2:
                raise BadRead(f"{self.pool.label}: tick {at} has liquidity {gross} in all and {net} net")
        here = sum(net for at, net, _ in self.ticks if at <= tick)
        if here != in_range or sum(net for _, net, _ in self.ticks) != 0:
            raise BadRead(
                f"{self.pool.label}: {len(self.ticks)} ticks add up to {here}, the pool has {in_range}"
            )

    @property
    def total_liquidity(self) -> float:
        """Liquidity of all positions in sqrt(USD x base): each adds its own at both of its ticks."""
        return self.pool.whole_liquidity(sum(gross for _, _, gross in self.ticks) / 2)

    def quote_below(self, price: float, *, floor: float) -> float:
        """Return the quote tokens that positions hold between two prices, ``floor`` <= ``price``."""
        low, high, liquidity = self._segments(floor, price)
        return float(np.sum(liquidity * (high - low)))

    def depth_usd(self, price: float, *, fee: float) -> float:
        """Return the USD, fee included, that move the price by 2 % in the cheaper direction."""
        low, high, liquidity = self._segments(price, price * (1 + NEAR))
        bought = float(np.sum(liquidity * (high - low)))
        low, high, liquidity = self._segments(price * (1 - NEAR), price)
        sold = float(np.sum(liquidity * (1 / low - 1 / high))) * price
        return min(bought, sold) / (1 - fee)

    def _segments(self, from_price: float, to_price: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (low u, high u, liquidity) of every stretch between two prices, in whole units."""
        turned = 1 if self.pool.base_is_token0 else -1
        steps = sorted((turned * at, turned * net) for at, net, _ in self.ticks)
        roots = np.sqrt([self.pool.price_from_tick(turned * at) for at, _ in steps])
        liquidity = np.array([self.pool.whole_liquidity(total) for total in _running_sums(steps)])
        low = np.clip(roots[:-1], math.sqrt(from_price), math.sqrt(to_price))
        high = np.clip(roots[1:], math.sqrt(from_price), math.sqrt(to_price))
        return low, high, liquidity[:-1]


def _running_sums(steps: Sequence[tuple[int, int]]) -> list[int]:
    """Exact sums: liquidity exceeds what a float64 holds."""
    sums, total = [], 0
    for _, net in steps:
        total += net
        sums.append(total)
    return sums


async def read_ladder(
    chain: ChainReader, pool: Pool, tick_lens: str, *, block: Block, tick_spacing: int
) -> Ladder:
    """Read every initialised tick: by a lens where the node can run one, else through TickLens.

    Raises BadRead when a part could not be read: a part of the liquidity is no liquidity.
    """
    words = _words(tick_spacing)
    source = TickSource(
        target=pool.address,
        bitmap=V3_POOL.function("tickBitmap").selector,
        tick=V3_POOL.function("ticks").selector,
    )
    ticks = await lens_ticks(chain, source, words=words, tick_spacing=tick_spacing, block=block)
    if ticks is None:
        ticks = await _through_tick_lens(chain, pool, tick_lens, words, block)
    if not ticks:
        raise BadRead(f"{pool.label} at {pool.address} has no liquidity")
    return Ladder(pool=pool, ticks=sorted(ticks))


async def _through_tick_lens(
    chain: ChainReader, pool: Pool, tick_lens: str, words: range, block: Block
) -> list[tuple[int, int, int]]:
    """Read all words of the bitmap, then the ticks of the words that are not empty."""
    bitmaps = await chain.read(
        [V3_POOL.call("tickBitmap", pool.address, word) for word in words], block=block
    )
    full = [
        word
        for word, bitmap in zip(words, bitmaps, strict=True)
        if need(bitmap, f"{pool.label} tickBitmap({word})")[0]
    ]
    found = await chain.read(
        [TICK_LENS.call("getPopulatedTicksInWord", tick_lens, pool.address, word) for word in full],
        block=block,
    )
    ticks: list[tuple[int, int, int]] = []
    for word, result in zip(full, found, strict=True):
        ticks += need(result, f"TickLens {tick_lens} for {pool.label} word {word}")[0]
    return ticks


def _words(tick_spacing: int) -> range:
    """Return all words that can hold an initialised tick; word = floor(floor(tick / spacing) / 256)."""
    if tick_spacing <= 0:
        raise BadRead(f"tick spacing must be > 0, the pool says {tick_spacing}")
    last = MAX_TICK // tick_spacing
    return range(-last >> 8, (last >> 8) + 1)
