"""One view call at many contracts: exact values in arrays, decoded straight from the reply.

The calldata of a poll repeats from block to block and is kept. What cannot be read is unknown, never zero.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bot.chain.lens import RESERVES, LensReader
from bot.chain.multicall import MAX_CALLS, address_bytes, chunks, decode_aggregate3, encode_aggregate3
from bot.chain.node_errors import ReplyTooLargeError, RpcError
from bot.chain.words import WORD, integer_range
from bot.errors import InvariantError
from bot.model.market import Block, FloatArray
from bot.ports import Call

GET_RESERVES = bytes.fromhex("0902f1ac")
RESERVES_TYPES = ("uint112", "uint112", "uint32")
LENS_TARGETS = 500  # in one request; 33 bytes each come back, of the 24,576 that a creation may return
LENS_PAYS_FROM = 25  # fewer contracts ride along with the other calls of a block
_LIMBS = 4  # 64-bit parts of a word, most significant first

Limbs = NDArray[np.uint64]


class BulkReader(LensReader, Protocol):
    """What is asked of :class:`bot.chain.reader.JsonRpcReader`."""

    @property
    def multicall3(self) -> str: ...

    async def eth_call(
        self, request: dict[str, Any], block: Block, overrides: dict[str, Any] | None = None
    ) -> bytes: ...

    async def aggregate(self, calls: Sequence[Call], block: Block) -> list[bytes | None]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordTable:
    """What a view call answered at each of n contracts: integers, addresses as integers, bools as 0 and 1."""

    types: tuple[str, ...]
    limbs: Limbs  # [contract, value, 4]: limb x 2^(192, 128, 64, 0), two's complement; 0 where unknown
    known: NDArray[np.bool_]  # [contract]

    def ints(self, value: int) -> list[int | None]:
        """Return one of the values at every contract, exactly; None where it is unknown."""
        exact = self._exact(value)
        if self.known.all():
            return list(exact)
        return [item if known else None for item, known in zip(exact, self.known.tolist(), strict=True)]

    def floats(self, value: int) -> FloatArray:
        """Return one of the values, to within one unit of the last place; NaN where it is unknown."""
        parts = self.limbs[:, value, :]
        unsigned = [parts[:, limb].astype(np.float64) for limb in range(_LIMBS)]
        if self.types[value].startswith("int"):  # exact ints, as limbs of opposite signs would cancel
            return np.array([np.nan if item is None else float(item) for item in self.ints(value)])
        total = sum(part * 2.0 ** (64 * (_LIMBS - 1 - limb)) for limb, part in enumerate(unsigned))
        return np.where(self.known, total, np.nan)

    def rows(self) -> list[tuple[int, ...] | None]:
        """Return the values by contract, as a call of its own would have given them; None where unknown."""
        rows = zip(*(self._exact(value) for value in range(len(self.types))), strict=True)
        if self.known.all():
            return list(rows)
        return [row if known else None for row, known in zip(rows, self.known.tolist(), strict=True)]

    def answers(self) -> list[bytes | None]:
        """Return the bytes of each answer, cut to these values; None where it is unknown."""
        size = len(self.types) * WORD
        data = self.limbs.astype(">u8").tobytes()
        parts = (data[at : at + size] for at in range(0, len(data), size))
        return [part if known else None for part, known in zip(parts, self.known.tolist(), strict=True)]

    def _exact(self, value: int) -> list[int]:
        kind, parts = self.types[value], self.limbs[:, value, :]
        limits = _limits(kind)
        if limits[0] < 0:
            words = parts.astype(">u8").tobytes()
            return [
                int.from_bytes(words[at : at + WORD], "big", signed=True) for at in range(0, len(words), WORD)
            ]
        low: list[int] = parts[:, 3].tolist()
        if limits[1] < 1 << 64:
            return low
        if limits[1] < 1 << 128:
            return [high << 64 | rest for high, rest in zip(parts[:, 2].tolist(), low, strict=True)]
        words = parts.astype(">u8").tobytes()
        return [int.from_bytes(words[at : at + WORD], "big") for at in range(0, len(words), WORD)]


async def read_words(
    reader: BulkReader,
    data: bytes,
    targets: Sequence[str],
    *,
    types: tuple[str, ...],
    block: Block,
    lens: bool | None = None,
) -> WordTable:
    """Do the view call ``data`` at every target and return what came back, decoded as ``types``.

    Unknown: a target without code, a call that failed, too few words, a word out of its type's range; the
    same in every path. ``lens``: True and False choose the path, None the faster one that the node can do.
    Raises TransientError when a request as a whole failed, StaleDataError when the block is gone.
    """
    for kind in types:
        _limits(kind)
    packed = data == GET_RESERVES and types == RESERVES_TYPES
    use_lens = lens if lens is not None else len(targets) >= LENS_PAYS_FROM
    size = _request_size(len(targets))
    read = _read_packed if packed and use_lens else _read_chunk
    parts = [tuple(targets[at : at + size]) for at in range(0, len(targets), size)]
    limbs = np.zeros((len(targets), len(types), _LIMBS), dtype=np.uint64)
    known = np.zeros(len(targets), dtype=np.bool_)

    async def fill(start: int, part: tuple[str, ...]) -> None:
        end = start + len(part)
        limbs[start:end], known[start:end] = await read(reader, data, part, types, block)

    await asyncio.gather(*(fill(number * size, part) for number, part in enumerate(parts)))
    return WordTable(types=types, limbs=limbs, known=known)


def asks_reserves(call: Call) -> bool:
    """Say whether a call is one that the RESERVES lens answers."""
    return call.data == GET_RESERVES and call.outputs == RESERVES_TYPES


def requests(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Cut calls into requests: many pairs' reserves apart from all else, so that a lens reads them."""
    reserves = [call for call in calls if asks_reserves(call)]
    if len(reserves) < LENS_PAYS_FROM:
        yield from chunks(calls)
        return
    yield reserves  # read_words cuts them
    yield from chunks([call for call in calls if not asks_reserves(call)])


def _request_size(count: int) -> int:
    """Cut so that every core of a node has work, unless a request would get too small to pay."""
    return min(max(-(-count // 4), MAX_CALLS // 2), LENS_TARGETS)


async def _read_packed(
    reader: BulkReader, data: bytes, targets: tuple[str, ...], types: tuple[str, ...], block: Block
) -> tuple[Limbs, NDArray[np.bool_]]:
    found = await reader.run_lens(RESERVES, _addresses(targets), block=block)
    if found is None or len(found) != len(targets) * (1 + WORD):
        return await _read_chunk(reader, data, targets, types, block)
    return unpack_reserves(found, len(targets))


async def _read_chunk(
    reader: BulkReader, data: bytes, targets: tuple[str, ...], types: tuple[str, ...], block: Block
) -> tuple[Limbs, NDArray[np.bool_]]:
    request = {"to": reader.multicall3, "data": _calldata(data, targets)}
    try:
        reply = await reader.eth_call(request, block)
    except (RpcError, ReplyTooLargeError):  # too much for the node at once: in halves, then
        calls = [Call(target, data, types) for target in targets]
        return _collect(await reader.aggregate(calls, block), types)
    return unpack_aggregate3(reply, len(targets), types)


def unpack_reserves(data: bytes, count: int) -> tuple[Limbs, NDArray[np.bool_]]:
    """Return (limbs, known) from what the RESERVES lens returns for ``count`` pairs."""
    known = np.frombuffer(data, dtype=np.uint8, count=count) == 1
    a, b, c, d = np.frombuffer(data, dtype=">u8", offset=count).reshape(count, _LIMBS).astype(np.uint64).T
    limbs = np.zeros((count, 3, _LIMBS), dtype=np.uint64)
    limbs[:, 0, 2] = a >> 16
    limbs[:, 0, 3] = (a & 0xFFFF) << 48 | b >> 16
    limbs[:, 1, 2] = (b & 0xFFFF) << 32 | c >> 32
    limbs[:, 1, 3] = (c & 0xFFFFFFFF) << 32 | d >> 32
    limbs[:, 2, 3] = d & 0xFFFFFFFF
    return limbs, known


def unpack_aggregate3(data: bytes, count: int, types: tuple[str, ...]) -> tuple[Limbs, NDArray[np.bool_]]:
    """Return (limbs, known) from a reply of aggregate3. Raises TransientError when it is malformed.

    The usual reply, all calls successful and of just these words, is read as one array.
    """
    head, words = _head(count, len(types)), len(types)
    if len(data) != len(head) + count * (3 + words) * WORD or not data.startswith(head):
        return _collect(decode_aggregate3(data, count=count), types)
    table = np.frombuffer(data, dtype=">u8", offset=len(head)).reshape(count, 3 + words, _LIMBS)
    usual = not table[:, :3, :3].any() and bool((table[:, :3, 3] == (1, 64, words * WORD)).all())
    if not usual:
        return _collect(decode_aggregate3(data, count=count), types)
    return _checked(table[:, 3:, :].astype(np.uint64), types)


def _collect(answers: Sequence[bytes | None], types: tuple[str, ...]) -> tuple[Limbs, NDArray[np.bool_]]:
    """Return (limbs, known) from answers one by one; of a longer one the first words count, as in the ABI."""
    need = len(types) * WORD
    enough = np.array([answer is not None and len(answer) >= need for answer in answers], dtype=np.bool_)
    joined = b"".join(
        answer[:need] if answer is not None and len(answer) >= need else bytes(need) for answer in answers
    )
    table = np.frombuffer(joined, dtype=">u8").reshape(len(answers), len(types), _LIMBS)
    limbs, fits = _checked(table.astype(np.uint64), types)
    limbs[~enough] = 0
    return limbs, fits & enough


def _checked(limbs: Limbs, types: tuple[str, ...]) -> tuple[Limbs, NDArray[np.bool_]]:
    """Mark rows with a word out of its type's range as unknown, and clear them."""
    known = np.ones(len(limbs), dtype=np.bool_)
    if not (limbs & _never_set(types)).any():
        return limbs, known
    for value, kind in enumerate(types):
        lowest, highest = _limits(kind)
        if lowest < 0:
            known &= _fits_signed(limbs[:, value, :], highest.bit_length() + 1)
        else:
            known &= _fits_unsigned(limbs[:, value, :], highest.bit_length())
    limbs[~known] = 0
    return limbs, known


@lru_cache(maxsize=64)
def _never_set(types: tuple[str, ...]) -> Limbs:
    """Return the bits, per value and limb, that no small value has set; where none is, there is no doubt."""
    words = [((1 << 256) - 1) ^ _limits(kind)[1] for kind in types]
    limbs = [[word >> 64 * (_LIMBS - 1 - limb) & (1 << 64) - 1 for limb in range(_LIMBS)] for word in words]
    return np.array(limbs, dtype=np.uint64)


def _fits_unsigned(parts: Limbs, bits: int) -> NDArray[np.bool_]:
    fits = np.ones(len(parts), dtype=np.bool_)
    for limb in range(_LIMBS):
        free = min(max(bits - 64 * (_LIMBS - 1 - limb), 0), 64)
        if free < 64:
            fits &= parts[:, limb] >> np.uint64(free) == 0
    return fits


def _fits_signed(parts: Limbs, bits: int) -> NDArray[np.bool_]:
    """Every bit from the sign bit up must be the sign."""
    sign_limb, sign_bit = _LIMBS - 1 - (bits - 1) // 64, (bits - 1) % 64
    negative = parts[:, sign_limb] >> np.uint64(sign_bit) & np.uint64(1) == 1
    turned = np.where(negative[:, None], ~parts, parts)
    return _fits_unsigned(turned, bits - 1)


@lru_cache(maxsize=64)
def _limits(kind: str) -> tuple[int, int]:
    limits = integer_range(kind)
    if limits is None:
        raise InvariantError(f"bulk reads take integers, addresses and bools, not {kind}")
    return limits


@lru_cache(maxsize=64)
def _calldata(data: bytes, targets: tuple[str, ...]) -> str:
    return "0x" + encode_aggregate3([Call(target, data, ()) for target in targets]).hex()


@lru_cache(maxsize=64)
def _addresses(targets: tuple[str, ...]) -> bytes:
    return b"".join(map(address_bytes, targets))


@lru_cache(maxsize=64)
def _head(count: int, words: int) -> bytes:
    """Return how a usual reply starts: one array, its length, and where each of its items stands."""
    numbers = [WORD, count, *(WORD * (count + index * (3 + words)) for index in range(count))]
    return b"".join(number.to_bytes(WORD, "big") for number in numbers)
