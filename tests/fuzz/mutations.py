"""Bytes that others may send: junk, hostile JSON, and good documents broken in small ways."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

DEEP = 10_000
_PLACE = "\ue000"  # stands in a text for what JSON's writer would not write
NESTED = {_PLACE: "deep"}
# What stands in a text as it is: more than a JSON writer would write.
VERBATIM: dict[str, bytes] = {
    "2^256": str(2**256).encode(),
    "10^80": b"1" + b"0" * 80,
    "5,000 digits": b"9" * 5_000,
    "10^400": b"1" + b"0" * 400,
    "1e400": b"1e400",
    "NaN": b"NaN",
    "-Infinity": b"-Infinity",
    "deep list": b"[" * DEEP + b"]" * DEEP,
    "deep object": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "1,000 deep": b"[" * 1_000 + b"]" * 1_000,
    "300 deep": b"[" * 300 + b"]" * 300,
    "surrogate": b'"\\ud800"',
    "NUL": b'"\\u0000"',
    "twice": b'{"a":1,"a":2}',
}
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    0.5,
    -0.0,
    1e308,
    2**53 + 1,
    2**63,
    2**64,
    "",
    " ",
    "0",
    "0x",
    "0xZZ",
    "0x0",
    "0x-1",
    "-1",
    "1e999999999",
    "nan",
    "inf",
    "²",
    "１２",
    "1_000",
    "\u202egnp.exe",
    "a\nb",
    "\x1b[31m",
    "9" * 100,
    "0x" + "f" * 64,
    "0x" + "f" * 65,
    "0x" + "0" * 40,
    "é" * 40,
    "x" * 5_000,
    "2026-02-30",
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+23:59",
    [],
    {},
    [[]],
    [None],
    [1, "a"],
    {"a": 1},
    {"0x0": "0x0"},
    ["0x0"] * 40,
    {"9" * 5_000: 0},
    {"²": 0},
    "²:30",
    "0022-03-01",
    "1" * 400,
)
BYTES: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"\r\n",
    b"\x1f\x8b",
    b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
    b"PK\x03\x04",
    b"PAR1PAR1",
    b"\xe2\x80\xae",
    b"<!doctype html>",
    b"a=" + b"[" * DEEP,
    b"a=" + b"9" * 5_000,
    b'"' * 1_001,
    b"a,b\n" * 3 + b'"',
    b"x" * 200_000,
    b"," * 5_000,
    bytes(32) * 40,
    b"\xff" * 1_000,
)

TEXTS: tuple[bytes, ...] = tuple(text.encode() for text in HOSTILE if isinstance(text, str)) + tuple(
    VERBATIM.values()
)
_TOKEN = re.compile(rb'"[^"\n]*"|[\w.+:-]+')  # a value of TOML or a cell of a table

LEAVES = (
    st.sampled_from(HOSTILE)
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.binary(max_size=40).map(lambda raw: "0x" + raw.hex())
)


def junk() -> st.SearchStrategy[bytes]:
    """Any bytes at all, and those that parsers stumble over."""
    whole = st.sampled_from([*BYTES, *VERBATIM.values()])
    return st.one_of(st.binary(max_size=200), whole, st.text(max_size=60).map(lambda text: text.encode()))


def any_json(names: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Any JSON-like value, with the names that a decoder looks for."""
    keys = st.sampled_from(names) if names else st.text(max_size=5)
    values = st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=12,
    )
    return values.map(_dumped)


def broken(document: bytes) -> st.SearchStrategy[bytes]:
    """A good document with one to three faults."""
    faults = [st.just(document).flatmap(_bytes_fault)]
    if places(document):
        faults.append(_value_fault(document))
    elif _TOKEN.search(document):
        faults.append(_token_fault(document))
    return st.one_of(*faults).flatmap(lambda raw: st.one_of(st.just(raw), _bytes_fault(raw)))


def names_of(documents: Sequence[bytes]) -> list[str]:
    found: set[str] = set()
    for document in documents:
        for path in places(document):
            found.update(part for part in path if isinstance(part, str))
    return sorted(found)


def places(document: bytes) -> list[tuple[str | int, ...]]:
    """Return where the values of a JSON document stand, itself first; none where it is no JSON."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        return []
    return list(_paths(value, ()))


def with_value(document: bytes, path: Sequence[str | int], value: Any) -> bytes:
    """Return the document with another value at a place."""
    return _dumped(_replaced(json.loads(document), path, value))


def with_verbatim(document: bytes, path: Sequence[str | int], text: bytes) -> bytes:
    """Return the document with a text of JSON, or nearly, at a place."""
    return with_value(document, path, _PLACE).replace(json.dumps(_PLACE).encode(), text)


def without(document: bytes, path: Sequence[str | int]) -> bytes:
    value = json.loads(document)
    parent = value
    for part in path[:-1]:
        parent = parent[part]
    del parent[path[-1]]
    return _dumped(value)


def all_faults(document: bytes) -> Iterator[bytes]:
    """Every hostile value at every place, every field left out: for who has time."""
    for path in places(document):
        for value in HOSTILE:
            yield with_value(document, path, value)
        for text in VERBATIM.values():
            yield with_verbatim(document, path, text)
        if path:
            yield without(document, path)


def all_text_faults(document: bytes) -> Iterator[bytes]:
    """Every hostile text in place of every word: for what is no JSON."""
    for match in _TOKEN.finditer(document):
        for value in TEXTS:
            yield document[: match.start()] + value + document[match.end() :]


def _token_fault(document: bytes) -> st.SearchStrategy[bytes]:
    def put(match: re.Match[bytes], value: bytes) -> bytes:
        return document[: match.start()] + value + document[match.end() :]

    return st.builds(put, st.sampled_from(list(_TOKEN.finditer(document))), st.sampled_from(TEXTS))


def _value_fault(document: bytes) -> st.SearchStrategy[bytes]:
    where = st.sampled_from(places(document))
    return st.one_of(
        st.builds(lambda path, value: with_value(document, path, value), where, LEAVES),
        st.builds(
            lambda path, text: with_verbatim(document, path, text),
            where,
            st.sampled_from(list(VERBATIM.values())),
        ),
        where.map(lambda path: without(document, path) if path else document[:-1]),
    )


def _bytes_fault(raw: bytes) -> st.SearchStrategy[bytes]:
    at = st.integers(0, max(len(raw) - 1, 0))
    return st.one_of(
        st.builds(lambda place, bit: _flipped(raw, place, bit), at, st.integers(0, 7)),
        st.builds(lambda place: raw[:place], at),
        st.builds(lambda first, second: raw[: min(first, second)] + raw[max(first, second) :], at, at),
        st.builds(lambda first, second: raw[: max(first, second)] + raw[min(first, second) :], at, at),
        st.builds(lambda place, more: raw[:place] + more + raw[place:], at, st.sampled_from(BYTES)),
        st.sampled_from(
            [
                b"\xef\xbb\xbf" + raw,
                raw.decode("latin-1").encode("utf-16"),
                raw + raw,
                raw.replace(b"\n", b"\r"),
            ]
        ),
    )


def _flipped(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :] if raw else raw


def _paths(value: Any, here: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from _paths(inner, (*here, name))


def _replaced(value: Any, path: Sequence[str | int], new: Any) -> Any:
    if not path:
        return new
    found = value.copy()
    found[path[0]] = _replaced(value[path[0]], path[1:], new)
    return found


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()
