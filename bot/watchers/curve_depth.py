"""The depth of a Curve pool from its own get_dy: what it would pay for a ladder of sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.chain.abi import Abi
from bot.model.market import Block, FloatArray
from bot.ports import Call, ChainReader
from bot.quant.price_impact import bracket, ladder, size_at_move
from bot.watchers.rows import BadRead

CURVE = Abi.load("CurvePool")
MOVE = 0.02  # method.md S4: USD that move the price by 2 %
_SMALLEST, _LARGEST = 1e-6, 1.0  # of the pool's value
_LEAST_USD = 1.0  # below it the rounding of a 6-decimal token shows
_COARSE, _FINE = 14, 24  # sizes a direction: first over all of the pool, then where the price gives way
_STEP = 1e-3  # of a size: between them lies the marginal price
_INDEX_TYPES = ("int128", "uint256")


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthRequest:
    """A pool, what one of each coin is worth, and against which coin it is asked."""

    label: str
    pool: str
    decimals: tuple[int, ...]
    usd_each: tuple[float, ...]
    total_usd: float
    quote: int  # index of the coin that counts as USD

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        """(sold, bought) index pairs: every other coin against the quote, both ways."""
        others = [index for index in range(len(self.decimals)) if index != self.quote]
        return tuple(pair for other in others for pair in ((other, self.quote), (self.quote, other)))


async def read_depth(chain: ChainReader, request: DepthRequest, *, block: Block) -> float:
    """Return the USD whose sale moves a price by 2 %, the least over coins and directions, fees included.

    Two rounds of get_dy: sizes over the whole pool, then sizes where the marginal price crosses 2 %. Raises
    BadRead where a size that is needed is not answered, or no answered size moves the price that far.
    """
    lowest = max(_SMALLEST * request.total_usd, _LEAST_USD)
    if not lowest < _LARGEST * request.total_usd < math.inf:
        raise BadRead(f"{request.label} is worth {request.total_usd} USD: too little to say how deep it is")
    sizes = ladder(lowest, _LARGEST * request.total_usd, _COARSE)
    index_type, coarse = await _answered(chain, request, sizes, block)
    references, fine = [], []
    for direction, paid in zip(request.directions, coarse, strict=True):
        answered = sizes[: paid.size]
        reference = float(paid[0] / answered[0])
        low, high = bracket(answered, paid, reference=reference, move=MOVE)
        if math.isnan(low):
            raise BadRead(
                f"{request.label} get_dy{direction} moves the price by less than 2 % as far as it answers "
                f"({answered[-1]:.0f} USD)"
            )
        references.append(reference)
        fine.append(ladder(max(low, lowest / 2), high, _FINE))
    prices = await _marginal(chain, request, fine, index_type, block)
    found = [
        size_at_move(list(sizes_usd), list(price), reference=reference, move=MOVE)
        for sizes_usd, price, reference in zip(fine, prices, references, strict=True)
    ]
    if not all(map(math.isfinite, found)):
        raise BadRead(f"{request.label} get_dy does not fall steadily with size")
    return min(found)


async def _answered(
    chain: ChainReader, request: DepthRequest, sizes: FloatArray, block: Block
) -> tuple[str, list[FloatArray]]:
    """Return the index type that get_dy takes, and per direction what is paid, cut at the first refusal.

    A crypto pool refuses sizes that would take it out of its safe range.
    """
    calls = [
        _call(request, kind, direction, size)
        for kind in _INDEX_TYPES
        for direction in request.directions
        for size in sizes
    ]
    results = await chain.read(calls, block=block)
    per_type = len(request.directions) * len(sizes)
    for kind, start in zip(_INDEX_TYPES, (0, per_type), strict=True):
        rows = [
            _whole(request, direction, results[start + at * len(sizes) : start + (at + 1) * len(sizes)])
            for at, direction in enumerate(request.directions)
        ]
        if all(row.size > 2 for row in rows):
            return kind, rows
    raise BadRead(f"{request.label} get_dy at {request.pool} failed or returned nothing; check the coins")


async def _marginal(
    chain: ChainReader, request: DepthRequest, sizes: Sequence[FloatArray], kind: str, block: Block
) -> list[FloatArray]:
    """Return the price of the next unit at each size of each direction."""
    calls = [
        _call(request, kind, direction, size * factor)
        for direction, row in zip(request.directions, sizes, strict=True)
        for size in row
        for factor in (1.0, 1.0 + _STEP)
    ]
    results = await chain.read(calls, block=block)
    prices = []
    for at, (direction, row) in enumerate(zip(request.directions, sizes, strict=True)):
        part = results[at * 2 * _FINE : (at + 1) * 2 * _FINE]
        paid = _whole(request, direction, part)
        if paid.size < 2 * _FINE:
            raise BadRead(f"{request.label} get_dy{direction} failed between sizes that it answered")
        prices.append((paid[1::2] - paid[::2]) / (row * _STEP))
    return prices


def _call(request: DepthRequest, kind: str, direction: tuple[int, int], size_usd: float) -> Call:
    sold, bought = direction
    raw = round(size_usd / request.usd_each[sold] * 10 ** request.decimals[sold])
    return CURVE.call(f"get_dy({kind},{kind},uint256)", request.pool, sold, bought, raw)


def _whole(
    request: DepthRequest, direction: tuple[int, int], results: Sequence[tuple[int, ...] | None]
) -> FloatArray:
    """Return what is paid in USD, up to the first size that was refused. Raises BadRead for more than all."""
    paid = []
    for result in results:
        if result is None:
            break
        paid.append(result[0] / 10 ** request.decimals[direction[1]] * request.usd_each[direction[1]])
    values = np.array(paid)
    if values.size and not 0 <= values.max() < 1e3 * request.total_usd:
        raise BadRead(f"{request.label} get_dy{direction} pays {values.max()} of {request.total_usd} USD")
    return values
