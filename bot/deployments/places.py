"""Where each venue is deployed, and whether it lives: one data file per venue beside this."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from bot.errors import InvariantError

FOLDER = "venues"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenuePlace:
    """One venue on one chain."""

    venue: str  # name of its capabilities
    chain_id: int
    status: Literal["alive", "legacy", "closed"]  # legacy: contracts work, nobody develops or sells there
    because: str  # one line
    source: str  # where the status was found
    date: str  # of the look-up, year-month
    contracts: tuple[str, ...]  # how names of its contracts begin in the chain's file; empty: none is listed


@cache
def venue_places() -> tuple[VenuePlace, ...]:
    """Return all places, by venue and chain."""
    folder = resources.files("bot.deployments").joinpath(FOLDER)
    files = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name
    )
    found = [place for item in files for place in _parse(item.name, item.read_text("utf-8"))]
    if len({(place.venue, place.chain_id) for place in found}) != len(found):
        raise InvariantError("deployments/venues: a venue stands on one chain twice")
    return tuple(sorted(found, key=lambda place: (place.venue, place.chain_id)))


def _parse(file: str, text: str) -> tuple[VenuePlace, ...]:
    table = tomllib.loads(text)
    rows = [{"venue": table["venue"], "contracts": table["contracts"], **row} for row in table["places"]]
    try:
        return _PLACES.validate_python(rows)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InvariantError(f"deployments/venues/{file}: {problem['loc']}: {problem['msg']}") from None


_PLACES = TypeAdapter(tuple[VenuePlace, ...])
