"""ABI values made of whole words, encoded and decoded without eth_abi at a tenth of its cost.

Integers, addresses, bools, bytesN, tuples and fixed arrays of them, and lists of all these: most reads of a
poll are of this kind. The result is the same as eth_abi's, and so is what is refused: a test compares both on
arbitrary bytes.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

WORD = 32
_PLAIN = re.compile(r"(u?)int([1-9]\d*)|bytes([1-9]\d?)|address|bool")
_ARRAY = re.compile(r"(.+)\[([1-9]\d*)\]")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_LONGEST_ARRAY = 1_000

Read = Callable[[bytes, int], Any]  # (data, byte offset) -> value; raises NoFit
Write = Callable[[Any], bytes | None]  # None for what is left to eth_abi, which names what is wrong


class NoFit(ValueError):
    """A word is no value of its type."""


class Shape(NamedTuple):
    """A type of fixed size."""

    words: int
    read: Read


class Layout(NamedTuple):
    """The values that a call returns, one after the other."""

    words: int
    shapes: tuple[Shape, ...]


@cache
def layout_of(types: tuple[str, ...]) -> Layout | None:
    """Return how values of these types lie in words; None where that is left to eth_abi."""
    if not any(kind.endswith("[]") for kind in types):
        return _laid_out([_shape(kind) for kind in types])
    # Beside lists only what is one word: eth_abi counts a tuple as one when it checks where lists lie.
    head = WORD * len(types)
    return _laid_out([_list(kind, head=head) if kind.endswith("[]") else _word_shape(kind) for kind in types])


def decode_words(layout: Layout, data: bytes) -> tuple[Any, ...] | None:
    """Return the values, None where the bytes are too few or a word does not fit its type."""
    if len(data) < WORD * layout.words:
        return None
    try:
        return _read_all(layout.shapes, data, 0)
    except NoFit:
        return None


def encode_words(types: Sequence[str], values: Sequence[Any]) -> bytes | None:
    """Return the arguments as words; None where a type is not plain or a value does not fit it."""
    if len(types) != len(values):
        return None
    words = []
    for kind, value in zip(types, values, strict=True):
        write = _writer(kind)
        word = None if write is None else write(value)
        if word is None:
            return None
        words.append(word)
    return b"".join(words)


def integer_range(kind: str) -> tuple[int, int] | None:
    """Return (lowest, highest) of an integer type, an address or a bool; None for another type."""
    if kind in ("address", "bool"):
        return 0, (1 << (160 if kind == "address" else 1)) - 1
    match = _PLAIN.fullmatch(kind)
    if match is None or match[2] is None:
        return None
    bits = int(match[2])
    if bits > 256 or bits % 8:
        return None
    return (0, (1 << bits) - 1) if match[1] else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _read_all(shapes: tuple[Shape, ...], data: bytes, at: int) -> tuple[Any, ...]:
    values = []
    for words, read in shapes:
        values.append(read(data, at))
        at += WORD * words
    return tuple(values)


@cache
def _shape(kind: str) -> Shape | None:
    if kind.endswith("]"):
        return _array(kind)
    if kind.startswith("(") and kind.endswith(")"):
        return _tuple(_members(kind[1:-1]))
    return _word_shape(kind)


def _word_shape(kind: str) -> Shape | None:
    read = _reader(kind)
    return None if read is None else Shape(1, read)


def _laid_out(shapes: Sequence[Shape | None]) -> Layout | None:
    known = tuple(shape for shape in shapes if shape is not None)
    if not known or len(known) < len(shapes):
        return None
    return Layout(sum(shape.words for shape in known), known)


def _list(kind: str, *, head: int) -> Shape | None:
    """Return how a ``T[]`` of its own is read: a word says where it lies, after the ``head``."""
    item = _shape(kind[:-2])
    if item is None:
        return None
    words, read_item = item

    def read(data: bytes, at: int) -> tuple[Any, ...]:
        start = int.from_bytes(data[at : at + WORD], "big")
        if start < head or start + WORD > len(data):
            raise NoFit
        count, first = int.from_bytes(data[start : start + WORD], "big"), start + WORD
        if count * words > (len(data) - first) // WORD:
            raise NoFit
        return tuple([read_item(data, first + WORD * words * index) for index in range(count)])

    return Shape(1, read)


def _array(kind: str) -> Shape | None:
    match = _ARRAY.fullmatch(kind)
    if match is None or int(match[2]) > _LONGEST_ARRAY:
        return None
    return _tuple([match[1]] * int(match[2]))


def _tuple(members: list[str]) -> Shape | None:
    layout = _laid_out([_shape(member) for member in members])
    if layout is None:
        return None
    shapes = layout.shapes
    return Shape(layout.words, lambda data, at: _read_all(shapes, data, at))


def _members(inside: str) -> list[str]:
    """Cut "uint8,(bool,address)" at the commas that are in no inner tuple."""
    members, depth, start = [], 0, 0
    for index, letter in enumerate(inside):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            members.append(inside[start:index])
            start = index + 1
    return [*members, inside[start:]]


def _reader(kind: str) -> Read | None:
    if kind == "address":
        return _address
    if kind == "bool":
        return _bool
    limits = integer_range(kind)
    if limits is not None:
        return _unsigned(limits[1]) if kind.startswith("u") else _signed(*limits)
    match = _PLAIN.fullmatch(kind)
    return _fixed_bytes(int(match[3])) if match is not None and match[3] and int(match[3]) <= WORD else None


def _unsigned(highest: int) -> Read:
    def read(data: bytes, at: int) -> int:
        value = int.from_bytes(data[at : at + WORD], "big")
        if value > highest:
            raise NoFit
        return value

    return read


def _signed(lowest: int, highest: int) -> Read:
    def read(data: bytes, at: int) -> int:
        value = int.from_bytes(data[at : at + WORD], "big", signed=True)
        if not lowest <= value <= highest:
            raise NoFit
        return value

    return read


def _fixed_bytes(size: int) -> Read:
    def read(data: bytes, at: int) -> bytes:
        if any(data[at + size : at + WORD]):
            raise NoFit
        return bytes(data[at : at + size])

    return read


def _address(data: bytes, at: int) -> str:
    if any(data[at : at + 12]):
        raise NoFit
    return "0x" + data[at + 12 : at + WORD].hex()


def _bool(data: bytes, at: int) -> bool:
    value = int.from_bytes(data[at : at + WORD], "big")
    if value > 1:
        raise NoFit
    return bool(value)


@cache
def _writer(kind: str) -> Write | None:
    if kind == "address":
        return _address_word
    if kind == "bool":
        return lambda value: int(value).to_bytes(WORD, "big") if isinstance(value, bool) else None
    if kind == "bytes32":
        return lambda value: value if isinstance(value, bytes) and len(value) == WORD else None
    limits = integer_range(kind)
    if limits is None:
        return None
    lowest, highest = limits

    def write(value: Any) -> bytes | None:
        if type(value) is not int or not lowest <= value <= highest:
            return None
        return value.to_bytes(WORD, "big", signed=True) if lowest else value.to_bytes(WORD, "big")

    return write


def _address_word(value: Any) -> bytes | None:
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        return bytes(12) + bytes.fromhex(value[2:])
    return None
