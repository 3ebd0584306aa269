"""Multicall3 ``aggregate3``: many view calls in one request, each allowed to fail on its own.

The encoding is written out by hand: the calls of a poll repeat from block to block, so the encoded body of
each call is kept. It is byte-equal to eth_abi (a test says so) at a hundredth of its cost.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from eth_utils.address import is_hex_address

from bot.errors import InvariantError, TransientError
from bot.ports import Call

SELECTOR = bytes.fromhex("82ad56cb")  # aggregate3((address,bool,bytes)[])
MAX_CALLS = 500  # fewer waste requests, more are worked off by one core of the node: docs/benchmarks.md
MAX_CALL_BYTES = 100_000  # of calldata in one request

_WORD = 32
_ONE_ARGUMENT = (32).to_bytes(_WORD, "big")
_ALLOW_FAILURE_AND_DATA_OFFSET = (1).to_bytes(_WORD, "big") + (96).to_bytes(_WORD, "big")


def encode_aggregate3(calls: Sequence[Call]) -> bytes:
    """Return the calldata of ``aggregate3`` with allowFailure set on every call."""
    bodies = [_body(call.target, call.data) for call in calls]
    offsets, offset = [], _WORD * len(bodies)
    for body in bodies:
        offsets.append(offset.to_bytes(_WORD, "big"))
        offset += len(body)
    return b"".join((SELECTOR, _ONE_ARGUMENT, len(bodies).to_bytes(_WORD, "big"), *offsets, *bodies))


def decode_aggregate3(data: bytes, *, count: int) -> list[bytes | None]:
    """Return what each call returned, None where it failed. Raises TransientError on a malformed reply."""
    size, start = len(data), 2 * _WORD
    if size < start + _WORD * count or data[:start] != _ONE_ARGUMENT + count.to_bytes(_WORD, "big"):
        raise TransientError(f"multicall: the reply of {size} bytes is no list of {count} results")
    results: list[bytes | None] = []
    number = int.from_bytes
    for head in range(start, start + _WORD * count, _WORD):
        at = start + number(data[head : head + _WORD], "big")
        if at + 2 * _WORD > size:
            raise _cut(size)
        success = number(data[at : at + _WORD], "big")
        body = at + number(data[at + _WORD : at + 2 * _WORD], "big") + _WORD
        if body > size:
            raise _cut(size)
        end = body + number(data[body - _WORD : body], "big")
        if success > 1 or end > size:
            raise TransientError("multicall: a result in the reply is malformed")
        results.append(data[body:end] if success else None)
    return results


def chunks(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Cut calls into requests of at most MAX_CALLS and, as far as single calls allow, MAX_CALL_BYTES."""
    start, size = 0, 0
    for index, call in enumerate(calls):
        if index > start and (index - start == MAX_CALLS or size + len(call.data) > MAX_CALL_BYTES):
            yield calls[start:index]
            start, size = index, 0
        size += len(call.data)
    if start < len(calls):
        yield calls[start:]


def address_bytes(target: str) -> bytes:
    """Return an address as 20 bytes. Raises InvariantError when it is none."""
    if not is_hex_address(target):
        raise InvariantError(f"call target must be an address, was {target!r}")
    return bytes.fromhex(target[-40:])


@lru_cache(maxsize=16_384)
def _body(target: str, data: bytes) -> bytes:
    return b"".join(
        (
            bytes(12),
            address_bytes(target),
            _ALLOW_FAILURE_AND_DATA_OFFSET,
            len(data).to_bytes(_WORD, "big"),
            data,
            bytes(-len(data) % _WORD),
        )
    )


def _cut(size: int) -> TransientError:
    return TransientError(f"multicall: the reply ends at byte {size}, inside a result")
