"""Finds the Chainlink round that is the price at expiry: the first one at or after it.

A round id is a phase (high bits) and a number that grows within it. Only the newest phase is searched: where
the feed began it after expiry, a person must push the price.
"""

from bot.chain.abi import Abi
from bot.errors import TransientError, VenueRejected
from bot.model.market import Block
from bot.ports import ChainReader

FEED = Abi.load("AggregatorV3Interface")
_PHASE_BITS = 64


async def first_round(reader: ChainReader, feed: str, *, at_s: int, block: Block) -> int:
    """Return the id of the first round whose time is at or after ``at_s``.

    Raises VenueRejected where the newest phase has none, or none before it; TransientError.
    """
    newest, updated_s = await _latest(reader, feed, block)
    if updated_s < at_s:
        raise VenueRejected(f"the feed {feed} has no answer of {at_s} or later yet")
    low, high = (newest >> _PHASE_BITS << _PHASE_BITS) + 1, newest  # ``high`` always fits
    while low < high:
        middle = (low + high) // 2
        if (await _time(reader, feed, middle, block)) >= at_s:
            high = middle
        else:
            low = middle + 1
    if not await _has_round(reader, feed, high - 1, block):
        raise VenueRejected(f"round {high} of {feed} is the first of its phase: push the price by hand")
    return high


async def _latest(reader: ChainReader, feed: str, block: Block) -> tuple[int, int]:
    row = (await reader.read([FEED.call("latestRoundData", feed)], block=block))[0]
    if row is None:
        raise TransientError(f"the feed {feed} gives no answer at block {block.number}")
    return int(row[0]), int(row[3])


async def _time(reader: ChainReader, feed: str, number: int, block: Block) -> int:
    """Return the time of a round, 0 for one that does not exist: it lies before all that do."""
    row = (await reader.read([FEED.call("getRoundData", feed, number)], block=block))[0]
    return 0 if row is None else int(row[3])


async def _has_round(reader: ChainReader, feed: str, number: int, block: Block) -> bool:
    return await _time(reader, feed, number, block) > 0
