"""All initialised ticks of a concentrated-liquidity pool in one or few calls, by the TICKS lens."""

import asyncio
from dataclasses import dataclass

from bot.chain.lens import TICKS, LensReader
from bot.chain.multicall import address_bytes
from bot.chain.words import WORD
from bot.errors import InvariantError
from bot.model.market import Block
from bot.ports import ChainReader

MAX_WORDS = 2_000  # of the bitmap in one call: about 6 million gas when all are empty
_LEAST_WORDS = 100  # a node that refuses even this many is not asked for fewer
_ROOM = 96  # bytes for calldata in the lens
_ENTRY = 2 * WORD
_TICK_BITS = 24

Tick = tuple[int, int, int]  # tick, liquidityNet, liquidityGross; the order of TickLens


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSource:
    """Where a pool's ticks are read: calldata of both calls without the number that stands last in it.

    Uniswap v3: the pool, with the selectors of ``tickBitmap(int16)`` and ``ticks(int24)``. v4: the StateView,
    with ``getTickBitmap(bytes32,int16)`` and ``getTickLiquidity(bytes32,int24)``, each before the pool's id.
    """

    target: str
    bitmap: bytes
    tick: bytes

    def __post_init__(self) -> None:
        if len(self.bitmap) != len(self.tick) or len(self.bitmap) + WORD > _ROOM:
            raise InvariantError("both calls of a TickSource must be equally long, at most 64 bytes")


async def lens_ticks(
    chain: ChainReader, source: TickSource, *, words: range, tick_spacing: int, block: Block
) -> list[Tick] | None:
    """Return every initialised tick in these words of the bitmap, ascending.

    None where the chain's reader or node cannot run a lens, or any call of it failed: read them one by one
    then, which also tells what is wrong. Raises TransientError and StaleDataError.
    """
    if not isinstance(chain, LensReader):
        return None
    parts = [words[at : at + MAX_WORDS] for at in range(0, len(words), MAX_WORDS)]
    found = await asyncio.gather(*(_read(chain, source, part, tick_spacing, block) for part in parts))
    ticks: list[Tick] = []
    for part in found:
        if part is None:
            return None
        ticks += part
    return ticks


async def _read(
    chain: LensReader, source: TickSource, words: range, tick_spacing: int, block: Block
) -> list[Tick] | None:
    found = await chain.run_lens(TICKS, _input(source, words, tick_spacing), block=block)
    if found is not None:
        return _decoded(found)
    if len(words) < 2 * _LEAST_WORDS:
        return None
    middle = len(words) // 2
    low = await _read(chain, source, words[:middle], tick_spacing, block)
    if low is None:
        return None
    high = await _read(chain, source, words[middle:], tick_spacing, block)
    return None if high is None else low + high


def _input(source: TickSource, words: range, tick_spacing: int) -> bytes:
    numbers = (words.start, words.stop, tick_spacing, len(source.bitmap))
    return b"".join(
        (
            address_bytes(source.target).rjust(WORD, b"\0"),
            *(number.to_bytes(WORD, "big", signed=True) for number in numbers),
            source.bitmap.ljust(_ROOM, b"\0"),
            source.tick.ljust(_ROOM, b"\0"),
        )
    )


def _decoded(found: bytes) -> list[Tick] | None:
    """Return the ticks; None where the lens says that a call failed, or the reply is not its own."""
    if len(found) % _ENTRY != WORD or int.from_bytes(found[:WORD], "big") != 1:
        return None
    ticks = []
    for at in range(WORD, len(found), _ENTRY):
        packed = int.from_bytes(found[at : at + WORD], "big")
        tick = packed >> 128
        if tick >> (_TICK_BITS - 1):
            tick -= 1 << _TICK_BITS
        net = int.from_bytes(found[at + WORD : at + _ENTRY], "big", signed=True)
        ticks.append((tick, net, packed & ((1 << 128) - 1)))
    return ticks
