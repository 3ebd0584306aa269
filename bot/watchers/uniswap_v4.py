"""Uniswap v4 pool: price, liquidity, reserves and depth (S1 to S4).

There is no time-weighted price: a v4 pool keeps no observations (a hook may, each in its own way), and none
is made up here. The balance of the PoolManager is not read either: it is that of all pools together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.model.market import Block, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.pools import NEAR, POOL_METRICS, SOURCE
from bot.watchers.rows import BadRead, Rows, Unknown
from bot.watchers.ticks import MAX_TICK, Ladder
from bot.watchers.v4_pools import Slot0, V4Pool, tick_liquidity, words

__all__ = ["Slot0", "UniswapV4Watcher", "V4Pool"]

_MAX_TICKS = 20_000  # ten times what the largest pools have; more is an answer that cannot be
_SLOTS_A_CALL = 256  # about 0.6 million gas and 8 KB of calldata each


@dataclass(frozen=True, slots=True, kw_only=True)
class UniswapV4Watcher:
    """Watches one pool of an underlying against a stable.

    POOL_LIQUIDITY is the liquidity of all positions, in range or not, so that prices do not move it. Where
    the hook may change what a swap pays, the pool's curve does not say how deep it is: depth is unknown.
    """

    pool: V4Pool

    @property
    def name(self) -> str:
        return f"uniswap_v4 {self.pool.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(metric, self.pool.label, SOURCE) for metric in POOL_METRICS)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        try:
            slot0, in_range = await _read_state(chain, self.pool, block)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        price = self.pool.price_from_sqrt(slot0.sqrt_price_x96)
        price_key, *other_keys = self.series
        try:
            ladder = await read_ladder(chain, self.pool, block=block)
            ladder.check(tick=slot0.tick, in_range=in_range)
            values = self._values(ladder, price=price, fee=swap_fee(slot0))
        except BadRead as error:
            return [rows.row(price_key, price), *rows.unknown(other_keys, str(error))]
        return [rows.row(key, value) for key, value in zip(self.series, (price, *values), strict=True)]

    def _values(self, ladder: Ladder, *, price: float, fee: float) -> tuple[float | Unknown, ...]:
        depth: float | Unknown = ladder.depth_usd(price, fee=fee)
        if self.pool.hook_changes_swaps:
            depth = Unknown(f"hooks {self.pool.hooks} of {self.pool.label} may change what a swap pays")
        return (
            ladder.total_liquidity,
            ladder.quote_below(price, floor=0.0),
            ladder.quote_below(price, floor=price * (1 - NEAR)),
            depth,
        )


def swap_fee(slot0: Slot0) -> float:
    """Return the fee of a swap, fraction of the input, in the cheaper direction.

    The protocol takes its part first, the LPs take theirs of what is left (ProtocolFeeLibrary of v4-core).
    """
    protocol = min(slot0.protocol_fee & 0xFFF, slot0.protocol_fee >> 12) / 1e6
    fee = protocol + slot0.lp_fee / 1e6 * (1 - protocol)
    if fee >= 1:
        raise BadRead(f"swaps pay a fee of {fee:.0%}: nothing can be traded")
    return fee


async def _read_state(chain: ChainReader, pool: V4Pool, block: Block) -> tuple[Slot0, int]:
    """Return price and liquidity in range, once the tokens and the StateView are what they should be."""
    calls = [pool.slot0_call, pool.liquidity_call, *pool.check_calls]
    slot0, liquidity, *checked = await chain.read(calls, block=block)
    pool.check(checked)
    return pool.slot0(slot0), pool.liquidity(liquidity)


async def read_ladder(chain: ChainReader, pool: V4Pool, *, block: Block) -> Ladder:
    """Read every initialised tick from storage: all words of the bitmap, then the ticks they name.

    Raises BadRead when any could not be read: a part of the liquidity is no liquidity.
    """
    last = MAX_TICK // pool.tick_spacing
    positions = range(-last >> 8, (last >> 8) + 1)
    bitmaps = await _read_slots(chain, pool, [pool.bitmap_slot(word) for word in positions], block)
    ticks = [
        (position * 256 + bit) * pool.tick_spacing
        for position, bitmap in zip(positions, bitmaps, strict=True)
        for bit in _bits(int.from_bytes(bitmap, "big"))
    ]
    if not ticks:
        raise BadRead(f"{pool.label} has no liquidity")
    if len(ticks) > _MAX_TICKS or not -MAX_TICK <= ticks[0] <= ticks[-1] <= MAX_TICK:
        raise BadRead(f"{pool.label}: a bitmap of {len(ticks)} ticks, {ticks[0]} to {ticks[-1]}, cannot be")
    found = await _read_slots(chain, pool, [pool.tick_slot(tick) for tick in ticks], block)
    entries = [(tick, *tick_liquidity(word)) for tick, word in zip(ticks, found, strict=True)]
    return Ladder(pool=pool.pair, ticks=entries)


async def _read_slots(chain: ChainReader, pool: V4Pool, slots: Sequence[int], block: Block) -> list[bytes]:
    parts = [slots[at : at + _SLOTS_A_CALL] for at in range(0, len(slots), _SLOTS_A_CALL)]
    results = await chain.read([pool.slots_call(part) for part in parts], block=block)
    return [
        word
        for part, result in zip(parts, results, strict=True)
        for word in words(result, len(part), f"{pool.label} extsload at {pool.manager}")
    ]


def _bits(bitmap: int) -> list[int]:
    return [bit for bit in range(256) if bitmap >> bit & 1] if bitmap else []
