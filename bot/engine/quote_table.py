"""The numbers of many quotes in columns, so that a rule is asked of all of them at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.market import FloatArray
from bot.model.quotes import Listing, QuoteBoard, listing_of

MOST = 1e12  # no strike in USD, nor a contract's units, is as large, or as small as its inverse
LEAST = 1.0 / MOST

_POSITIVE = ("size", "premium_usd", "iv", "model_usd", "liquidity")
_COSTS = ("fee_usd", "gas_usd", "gas_most_usd", "swap_usd", "min_size", "lot")
_NUMBERS = (*_POSITIVE, *_COSTS, "delta", "valid_until_s", "bid_usd")
_DEFAULTS = {"gas_most_usd": 0.0, "bid_usd": math.nan}  # as of a quote that does not say
_numbers_of = attrgetter(*_NUMBERS)
_place_of = attrgetter(*(field.name for field in fields(Instrument)))  # as instruments compare


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuoteTable:
    """Quotes in the order of their instruments and sizes, whatever order they came in."""

    quotes: Sequence[Quote]
    order: NDArray[np.intp]  # of each row its place among ``quotes``
    numbers: Mapping[str, FloatArray | float]  # by the name of a quote's field, one for each row or for all
    strikes_usd: FloatArray
    expiries_s: FloatArray
    multipliers: FloatArray
    is_put: NDArray[np.bool_]
    is_plain: NDArray[np.bool_]  # firm, and settled in what has a price or needs none

    def quote(self, row: int) -> Quote:
        return self.quotes[int(self.order[row])]

    @property
    def unit_deltas(self) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(self.numbers["delta"] / self.multipliers)

    def of_type(self, kind: OptionType) -> NDArray[np.bool_]:
        return self.is_put if kind is OptionType.PUT else ~self.is_put


def table_of(group: Group, quotes: Sequence[Quote]) -> QuoteTable:
    """Return the quotes of options on what the group is hedged by."""
    if isinstance(quotes, QuoteBoard):
        return _of_board(group, quotes)
    mine = [place for place, item in enumerate(quotes) if item.instrument.underlying == group.hedged_by]
    mine.sort(key=lambda place: (_place_of(quotes[place].instrument), quotes[place].size))
    rows = [quotes[place] for place in mine]
    numbers = np.array([_numbers_of(item) for item in rows], dtype=np.float64).reshape(-1, len(_NUMBERS))
    plain = [_is_priced(group, item.instrument.settlement) and not item.indicative for item in rows]
    return _table(
        quotes,
        np.array(mine, dtype=np.intp),
        listing_of([item.instrument for item in rows]),
        np.arange(len(rows)),
        dict(zip(_NUMBERS, numbers.T, strict=True)),
        np.array(plain, dtype=np.bool_),
    )


def _of_board(group: Group, board: QuoteBoard) -> QuoteTable:
    order = np.argsort(board.listing.rank[board.places])
    if board.underlying != group.hedged_by:
        order = order[:0]
    columns = {**_DEFAULTS, **board.columns}
    numbers = {
        name: value[order] if isinstance(value, np.ndarray) else value for name, value in columns.items()
    }
    plain = np.full(order.size, _is_priced(group, board.settlement))
    return _table(board, order, board.listing, board.places[order], numbers, plain)


def _table(
    quotes: Sequence[Quote],
    order: NDArray[np.intp],
    listing: Listing,
    places: NDArray[np.intp],
    numbers: Mapping[str, FloatArray | float],
    plain: NDArray[np.bool_],
) -> QuoteTable:
    return QuoteTable(
        quotes=quotes,
        order=order,
        numbers=numbers,
        strikes_usd=listing.strikes_usd[places],
        expiries_s=listing.expiries_s[places],
        multipliers=listing.multipliers[places],
        is_put=listing.is_put[places],
        is_plain=plain,
    )


def _is_priced(group: Group, settlement: str) -> bool:
    return not math.isnan(group.stable_usd.get(settlement, 1.0))


def plainly_sound(policy: Policy, group: Group, table: QuoteTable) -> NDArray[np.bool_]:
    """Return which quotes ``choose.refuse_quote`` has nothing against; of the others it must be asked."""
    at, sound = table.numbers, table.is_plain.copy()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for name in _POSITIVE:
            sound &= _is_positive(at[name])
        for name in _COSTS:
            sound &= _is_positive(at[name]) | (at[name] == 0.0)
        for values in (table.strikes_usd, table.multipliers):
            sound &= (values > LEAST) & (values < MOST)
        sound &= _is_positive((at["premium_usd"] + at["swap_usd"]) / at["size"] / table.multipliers)
        slope = np.where(table.is_put, -table.unit_deltas, table.unit_deltas)
        sound &= (slope >= 0.0) & (slope <= 1.0)
        ratio, limit = np.asarray(at["premium_usd"] / at["model_usd"]), policy.orders.max_price_ratio
        sound &= (ratio >= 1.0 / limit) & (ratio <= limit) & ~(at["bid_usd"] > np.asarray(at["premium_usd"]))
        sound &= np.asarray(at["iv"]) <= policy.orders.max_iv
        sound &= (table.expiries_s > group.now_s) & (np.asarray(at["valid_until_s"]) >= group.now_s)
        ask_usd = np.asarray(at["premium_usd"] / at["size"])
        for item in group.held:
            listed = item.instrument
            if item.size > 0.0:
                same = (table.strikes_usd == listed.strike_usd) & (table.expiries_s == listed.expiry_s)
                sound &= ~(same & (item.liquidation_usd / item.size > ask_usd))
    return sound


def _is_positive(values: FloatArray | float) -> NDArray[np.bool_]:
    return np.asarray((values > 0.0) & (values < math.inf), dtype=np.bool_)
