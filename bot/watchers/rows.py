"""One watcher's observations of one block: a number, or NaN with the reason; never a made-up zero."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from bot.errors import TransientError
from bot.model.market import Block, Observation, SeriesKey


class Unknown(NamedTuple):
    """A value that could not be had, and why."""

    why: str


class BadRead(TransientError):
    """What was read cannot be what was configured; becomes ``why_unknown`` of every series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Makes observations of one block. The source clock of chain state is the block's time."""

    block: Block
    read_at_s: float

    def row(self, key: SeriesKey, value: float | Unknown) -> Observation:
        if isinstance(value, Unknown):
            number, why = math.nan, value.why
        elif math.isfinite(value):
            number, why = float(value), ""
        else:
            number, why = math.nan, f"the value came out as {value}"
        return Observation(
            metric=key.metric,
            subject=key.subject,
            source=key.source,
            value=number,
            observed_at_s=float(self.block.timestamp_s),
            read_at_s=self.read_at_s,
            block_number=self.block.number,
            why_unknown=why,
        )

    def unknown(self, keys: Iterable[SeriesKey], why: str) -> list[Observation]:
        return [self.row(key, Unknown(why)) for key in keys]


def need(result: tuple[Any, ...] | None, what: str) -> tuple[Any, ...]:
    """Return a sub-call's result. Raises BadRead naming the call when it failed or came back empty."""
    if result is None:
        raise BadRead(f"{what} failed or returned nothing; check the address")
    return result
