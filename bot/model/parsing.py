"""JSON and TOML that somebody else wrote. What cannot be read raises ValueError and nothing else.

Python's own parsers raise RecursionError for what nests too deep, and tomllib a bare ValueError for an
integer of thousands of digits; what just passes would overflow whoever walks through it next.
"""

import json
import tomllib
from collections.abc import Iterable
from typing import Any

MOST_NESTED = 100
MOST_BITS = 512  # of an integer: over what a chain knows, and below what a float does


def json_of(text: str | bytes) -> Any:
    """Return what a JSON text says. Raises ValueError for what is none, or nests over MOST_NESTED deep."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check(found)
    return found


def toml_of(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises ValueError for what is none, nests too deep, or holds an integer of over MOST_BITS.
    """
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check(found, widest=MOST_BITS)
    return found


def _check(found: Any, *, widest: int | None = None) -> None:
    level = [found]
    for _ in range(MOST_NESTED + 1):
        if widest is not None and any(isinstance(item, int) and item.bit_length() > widest for item in level):
            raise ValueError(f"an integer of over {widest} bits")
        level = [inner for item in level if isinstance(item, list | dict) for inner in _inside(item)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _inside(item: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item


_TOO_DEEP = f"its lists or tables are nested too deep, over {MOST_NESTED}"
