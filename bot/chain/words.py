"""ABI results of plain words (integers, addresses, bools), decoded without eth_abi at a tenth of its cost.

Most reads of a poll are of this kind. The result is the same as eth_abi's, and so is what is refused (a test
compares both on arbitrary bytes).
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

_WORD = 32
_INTEGER = re.compile(r"(u?)int(\d+)")

Reader = Callable[[bytes], Any]  # returns None for a word that is no value of its type


@cache
def word_readers(types: tuple[str, ...]) -> tuple[Reader, ...] | None:
    """Return one reader per type, None when any of the types is not a plain word."""
    readers = tuple(_reader(kind) for kind in types)
    known = tuple(reader for reader in readers if reader is not None)
    return known if len(known) == len(types) > 0 else None


def decode_words(readers: tuple[Reader, ...], data: bytes) -> tuple[Any, ...] | None:
    """Return the values, None where the bytes are too few or a word does not fit its type."""
    if len(data) < _WORD * len(readers):
        return None
    values = tuple(
        read(data[at : at + _WORD]) for read, at in zip(readers, range(0, len(data), _WORD), strict=False)
    )
    return None if None in values else values


def _reader(kind: str) -> Reader | None:
    if kind == "address":
        return _address
    if kind == "bool":
        return _bool
    match = _INTEGER.fullmatch(kind)
    if match is None:
        return None
    bits = int(match[2])
    return _unsigned(bits) if match[1] else _signed(bits)


def _unsigned(bits: int) -> Reader:
    limit = 1 << bits

    def read(word: bytes) -> int | None:
        value = int.from_bytes(word, "big")
        return value if value < limit else None

    return read


def _signed(bits: int) -> Reader:
    limit = 1 << (bits - 1)

    def read(word: bytes) -> int | None:
        value = int.from_bytes(word, "big", signed=True)
        return value if -limit <= value < limit else None

    return read


def _address(word: bytes) -> str | None:
    return None if any(word[:12]) else "0x" + word[12:].hex()


def _bool(word: bytes) -> bool | None:
    value = int.from_bytes(word, "big")
    return bool(value) if value < 2 else None
