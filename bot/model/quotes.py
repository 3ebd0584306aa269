"""Many quotes at once, in columns: of the hundreds that a venue lists a decision looks closely at a few."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listing:
    """Options of one venue, underlying and settlement asset, with their terms in columns."""

    instruments: tuple[Instrument, ...]
    strikes_usd: FloatArray
    expiries_s: FloatArray
    multipliers: FloatArray
    is_put: NDArray[np.bool_]
    rank: NDArray[np.intp]  # of each among all, as instruments compare


def listing_of(instruments: Sequence[Instrument]) -> Listing:
    rank = np.empty(len(instruments), dtype=np.intp)
    rank[sorted(range(len(instruments)), key=lambda place: instruments[place])] = np.arange(rank.size)
    return Listing(
        instruments=tuple(instruments),
        strikes_usd=np.array([item.strike_usd for item in instruments], dtype=np.float64),
        expiries_s=np.array([item.expiry_s for item in instruments], dtype=np.float64),
        multipliers=np.array([item.multiplier for item in instruments], dtype=np.float64),
        is_put=np.array([item.option_type is OptionType.PUT for item in instruments], dtype=np.bool_),
        rank=rank,
    )


class QuoteBoard(Sequence[Quote]):
    """Quotes of part of a listing; each is made once, when somebody asks for it.

    ``columns`` has an array, or one number for all, for each field of a quote that is a number and not left
    at its default. Every quote is firm, and none shows what put-call parity could be checked with.
    """

    __slots__ = ("_block_number", "_made", "columns", "listing", "places")

    def __init__(
        self,
        listing: Listing,
        places: NDArray[np.intp],
        columns: Mapping[str, FloatArray | float],
        *,
        block_number: int,
    ) -> None:
        self.listing, self.places, self.columns = listing, places, columns
        self._block_number = block_number
        self._made: dict[int, Quote] = {}

    @property
    def underlying(self) -> str:
        return self.listing.instruments[0].underlying if self.listing.instruments else ""

    @property
    def settlement(self) -> str:
        return self.listing.instruments[0].settlement if self.listing.instruments else ""

    def instruments(self) -> list[Instrument]:
        return [self.listing.instruments[place] for place in self.places.tolist()]

    def __len__(self) -> int:
        return int(self.places.size)

    @overload
    def __getitem__(self, number: int) -> Quote: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[Quote, ...]: ...
    def __getitem__(self, number: int | slice) -> Quote | tuple[Quote, ...]:
        if isinstance(number, slice):
            return tuple([self[each] for each in range(*number.indices(len(self)))])
        number = range(len(self))[number]  # raises IndexError; counts from the end, too
        made = self._made.get(number)
        if made is None:
            made = self._made[number] = self._make(number)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Quote]:
        return (self[number] for number in range(len(self)))

    def _make(self, number: int) -> Quote:
        numbers: dict[str, Any] = {
            name: value.item(number) if isinstance(value, np.ndarray) else value
            for name, value in self.columns.items()
        }
        instrument = self.listing.instruments[self.places[number]]
        return Quote(instrument=instrument, block_number=self._block_number, **numbers)


def instruments_of(quotes: Sequence[Quote]) -> list[Instrument]:
    """Return what is quoted, in the order of the quotes."""
    return quotes.instruments() if isinstance(quotes, QuoteBoard) else [item.instrument for item in quotes]


def with_parity(quotes: Sequence[Quote]) -> Sequence[Quote]:
    """Return the quotes that show what put-call parity is checked with (S22)."""
    return () if isinstance(quotes, QuoteBoard) else [item for item in quotes if item.parity is not None]
