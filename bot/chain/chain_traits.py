"""What is known of a chain by its id: when a receipt counts, what is paid besides gas."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

_FILE = "chain_traits.toml"


class FeeParts(StrEnum):
    """What a transaction costs besides gas times fee."""

    L1 = "l1"  # nothing
    OP = "op"  # an L1 data fee, taken from the balance on top
    ARBITRUM = "arbitrum"  # an L1 share that is counted in gas


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTraits:
    name: str
    depth: int  # blocks, its own included, until a receipt counts
    fees: FeeParts
    source: str


def traits_of(chain_id: int) -> ChainTraits:
    """Return what is known of a chain; one that is not listed gets cautious values."""
    data = _data()
    found = data["chains"].get(str(chain_id))
    return _traits({"name": f"chain {chain_id}", "source": "not listed", **data["unlisted"], **(found or {})})


def listed() -> Mapping[int, ChainTraits]:
    """Return every chain of the data file."""
    return {int(chain_id): traits_of(int(chain_id)) for chain_id in _data()["chains"]}


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("bot.chain").joinpath(_FILE).read_text("utf-8"))


def _traits(row: Mapping[str, Any]) -> ChainTraits:
    return ChainTraits(
        name=str(row["name"]),
        depth=int(row["depth"]),
        fees=FeeParts(row["fees"]),
        source=str(row["source"]),
    )
