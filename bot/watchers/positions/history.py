"""What was put into a position, from the chain's own logs; fees of the last 30 days.

A withdrawal takes its share of both deposited tokens off, so that what is left is compared with holding what
is left. Logs are read backwards in growing windows until they explain the liquidity of now: a position that
was empty in between is compared from there on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from bot.errors import BotError, StaleDataError, TransientError
from bot.model.exposure import ExposureKind
from bot.model.lp_position import Deposits, LpPosition
from bot.model.market import Block
from bot.model.units import DAY_S, HOUR_S
from bot.ports import BlockLog, ChainReader
from bot.quant import lp
from bot.watchers.pools import V2_PAIR, from_raw
from bot.watchers.positions.v3 import MANAGER, MAX_UINT128

_FIRST_SPAN = 20_000  # blocks; the next windows reach eight times as far
_GROWTH = 8
_MONTH_S = 30 * DAY_S
_ZERO = "0x" + "00" * 32


@runtime_checkable
class HistoryReader(ChainReader, Protocol):
    """A chain whose older blocks can be named. Older state is there only on an archive node."""

    async def block(self, number: int) -> Block: ...


async def deposits_of(
    chain: HistoryReader, position: LpPosition, *, manager: str | None, oldest: int, block: Block
) -> Deposits:
    """Return what is still in of what was deposited; unknown, with the reason, where logs do not say.

    ``oldest`` is the block before which nothing is looked for. Raises StaleDataError only.
    """
    try:
        if position.kind is ExposureKind.UNISWAP_V3 and manager is not None:
            return await _v3_deposits(chain, position, manager, oldest, block)
        if position.kind is ExposureKind.UNISWAP_V2:
            return await _v2_deposits(chain, position, oldest, block)
    except StaleDataError:
        raise
    except BotError as error:
        return Deposits(why_unknown=f"the deposits could not be read: {error}")
    return Deposits(why_unknown="v4 logs do not carry the amounts; give --entry-price")


def deposits_at(position: LpPosition, entry_price: float) -> Deposits:
    """Return what the position held at a price that the user gives, with the liquidity that it has now."""
    units, quote = (float(item) for item in lp.amounts(position.shape, entry_price))
    return Deposits(
        units=units,
        quote=quote,
        entry_value=units * entry_price + quote,
        liquidity=position.shape.liquidity,
        source=f"entry price {entry_price:,.6g}",
    )


async def logs_back(
    chain: ChainReader,
    *,
    address: str,
    topics: Sequence[Sequence[str]],
    oldest: int,
    to: Block,
    enough: Callable[[Sequence[BlockLog]], bool],
) -> list[BlockLog]:
    """Return the logs of the shortest of growing windows that is ``enough``, or all since ``oldest``."""
    span = _FIRST_SPAN
    while True:
        start = max(oldest, to.number - span + 1, 0)
        found = await chain.logs(addresses=[address], topics=topics, from_block=start, to=to)
        if start <= max(oldest, 0) or enough(found):
            return found
        span *= _GROWTH


def topic_of(number: int) -> str:
    return "0x" + number.to_bytes(32, "big").hex()


def address_topic(address: str) -> str:
    return topic_of(int(address, 16))


# -- v3: the manager logs every change of a token's liquidity with its amounts ---------------------------


@dataclass(slots=True)
class _Sum:
    """Running sums over a position's logs, oldest first, in base and quote tokens."""

    liquidity: int = 0
    units: float = 0.0
    quote: float = 0.0
    entry_value: float = 0.0
    fees_units: float = 0.0
    fees_quote: float = 0.0

    def keep(self, share: float) -> None:
        self.units, self.quote = self.units * share, self.quote * share
        self.entry_value *= share


async def _v3_deposits(
    chain: HistoryReader, position: LpPosition, manager: str, oldest: int, block: Block
) -> Deposits:
    names = ("IncreaseLiquidity", "DecreaseLiquidity", "Collect")
    token_id = int(position.id.partition(":")[2])
    logs = await logs_back(
        chain,
        address=manager,
        topics=[[MANAGER.topic(name) for name in names], [topic_of(token_id)]],
        oldest=oldest,
        to=block,
        enough=lambda found: _net_liquidity(found) == position.liquidity_raw,
    )
    if not logs or _net_liquidity(logs) != position.liquidity_raw:
        raise TransientError(
            f"the logs since block {max(oldest, 0)} explain {_net_liquidity(logs)} of the liquidity "
            f"{position.liquidity_raw}; give --entry-price"
        )
    total = _Sum()
    for item in logs:
        _add_v3(total, position, item)
    first = await chain.block(logs[0].block_number)
    month_units, month_quote = await _month(chain, position, manager, logs, first, total, block)
    return Deposits(
        units=total.units,
        quote=total.quote,
        entry_value=total.entry_value,
        liquidity=position.shape.liquidity,
        fees_units=total.fees_units,
        fees_quote=total.fees_quote,
        month_units=month_units,
        month_quote=month_quote,
        since_s=float(first.timestamp_s),
        source="logs",
    )


def _net_liquidity(logs: Sequence[BlockLog]) -> int:
    net = 0
    for item in logs:
        for name, sign in (("IncreaseLiquidity", 1), ("DecreaseLiquidity", -1)):
            if MANAGER.is_event(name, item.log):
                net += sign * MANAGER.decode_log(name, item.log)["liquidity"]
    return net


def _add_v3(total: _Sum, position: LpPosition, item: BlockLog) -> None:
    """A collect pays fees and what a decrease set free; the decrease takes its part off again."""
    if MANAGER.is_event("Collect", item.log):
        units, quote = _ordered(position, MANAGER.decode_log("Collect", item.log))
        total.fees_units, total.fees_quote = total.fees_units + units, total.fees_quote + quote
        return
    rises = MANAGER.is_event("IncreaseLiquidity", item.log)
    name = "IncreaseLiquidity" if rises else "DecreaseLiquidity"
    event = MANAGER.decode_log(name, item.log)
    units, quote = _ordered(position, event)
    if not rises:
        left = total.liquidity - event["liquidity"]
        total.keep(left / total.liquidity if total.liquidity else 0.0)
        total.liquidity = left
        total.fees_units, total.fees_quote = total.fees_units - units, total.fees_quote - quote
        return
    scale = 10.0 ** ((position.base.decimals + position.quote.decimals) / 2)
    total.entry_value += _value_at_deposit(position, event["liquidity"] / scale, units, quote)
    total.liquidity += event["liquidity"]
    total.units, total.quote = total.units + units, total.quote + quote


def _value_at_deposit(position: LpPosition, liquidity: float, units: float, quote: float) -> float:
    """Return a deposit's worth in quote tokens at the price that its own amounts tell, NaN where none do.

    Inside the range the quote amount is L (sqrt(S) - sqrt(lower)), v3 whitepaper 6.29. A deposit below the
    range is of base tokens alone and says only that the price was below.
    """
    if units == 0.0:
        return quote
    if quote == 0.0 or liquidity <= 0.0:
        return math.nan
    root = math.sqrt(position.shape.lower_usd) + quote / liquidity
    return units * root * root + quote


async def _month(
    chain: HistoryReader, position: LpPosition, manager: str, logs: Sequence[BlockLog],
    first: Block, total: _Sum, block: Block,
) -> tuple[float, float]:  # fmt: skip
    """Return fees collected in the last 30 days less what was uncollected when they began; NaN unknown."""
    start_s = block.timestamp_s - _MONTH_S
    if first.timestamp_s >= start_s:
        return total.fees_units, total.fees_quote
    try:
        then = await _block_at(chain, start_s, first, block)
        units, quote = await _uncollected_at(chain, position, manager, then)
    except StaleDataError:
        raise
    except BotError:
        return math.nan, math.nan  # the node keeps no state of then
    part = _Sum(liquidity=1)
    for item in logs:
        if item.block_number > then.number and not MANAGER.is_event("IncreaseLiquidity", item.log):
            _add_v3(part, position, item)
            part.liquidity = 1
    return part.fees_units - units, part.fees_quote - quote


async def _uncollected_at(
    chain: ChainReader, position: LpPosition, manager: str, then: Block
) -> tuple[float, float]:
    token_id = int(position.id.partition(":")[2])
    (owner,) = await chain.read([MANAGER.call("ownerOf", manager, token_id)], block=then)
    if owner is None:
        raise TransientError(f"{position.id} had no owner at block {then.number}")
    data = MANAGER.encode("collect", (token_id, owner[0], MAX_UINT128, MAX_UINT128))
    paid = MANAGER.decode("collect", await chain.simulate(to=manager, data=data, block=then, sender=owner[0]))
    return _ordered(position, {"amount0": paid[0], "amount1": paid[1]})


async def _block_at(chain: HistoryReader, at_s: float, first: Block, head: Block) -> Block:
    """Return the last block at or before a time that lies between two blocks, or one within the hour.

    Every second guess is the middle: blocks may come at any pace.
    """
    low, high = first, head
    while high.number - low.number > 1 and at_s - low.timestamp_s > HOUR_S:
        share = (at_s - low.timestamp_s) / (high.timestamp_s - low.timestamp_s)
        for part in (share, 0.5):
            step = round(part * (high.number - low.number))
            middle = low.number + min(max(step, 1), high.number - low.number - 1)
            if not low.number < middle < high.number:
                break
            found = await chain.block(middle)
            low, high = (found, high) if found.timestamp_s <= at_s else (low, found)
    return low


def _ordered(position: LpPosition, event: dict[str, Any]) -> tuple[float, float]:
    """Return an event's amount0 and amount1 as whole (base, quote) tokens."""
    amounts = (event["amount0"], event["amount1"])
    is_base0 = int(position.base.address, 16) < int(position.quote.address, 16)
    base, quote = amounts if is_base0 else amounts[::-1]
    return from_raw(base, position.base.decimals), from_raw(quote, position.quote.decimals)


# -- v2: LP tokens that were minted to the owner, with the pair's Mint beside the transfer ----------------


async def _v2_deposits(chain: HistoryReader, position: LpPosition, oldest: int, block: Block) -> Deposits:
    transfer, owner = V2_PAIR.topic("Transfer"), address_topic(position.owner)
    pairs = [position.pool_address]
    arrived, left = [
        await chain.logs(addresses=pairs, topics=topics, from_block=oldest, to=block)
        for topics in ([[transfer], [], [owner]], [[transfer], [owner]])
    ]
    total = _Sum()
    minted = 0.0
    for item in sorted([*arrived, *left], key=lambda each: (each.block_number, each.log_index)):
        event = V2_PAIR.decode_log("Transfer", item.log)
        amount, sender, to = event["value"], event["from"].lower(), event["to"].lower()
        if position.staker and position.staker.lower() in (sender, to):
            continue
        if to == position.owner.lower():
            units, quote = await _minted(chain, position, item, int(sender, 16))
            total.units, total.quote = total.units + units, total.quote + quote
            total.entry_value += 2.0 * quote
            minted += math.sqrt(units) * math.sqrt(quote)
            total.liquidity += amount
        elif total.liquidity:
            share = (total.liquidity - amount) / total.liquidity
            total.keep(share)
            minted *= share
            total.liquidity -= amount
    if total.liquidity != position.liquidity_raw:
        raise TransientError(
            f"the transfers since block {max(oldest, 0)} explain {total.liquidity} of "
            f"{position.liquidity_raw} LP tokens; give --entry-price"
        )
    first = arrived[0].block_number
    return Deposits(
        units=total.units,
        quote=total.quote,
        entry_value=total.entry_value,
        liquidity=minted,
        since_s=float((await chain.block(first)).timestamp_s),
        source="logs",
    )


async def _minted(
    chain: HistoryReader, position: LpPosition, transfer: BlockLog, sender: int
) -> tuple[float, float]:
    """Return what was paid for the LP tokens of one transfer from nobody."""
    if sender != 0:
        raise TransientError("LP tokens came from another address, not from a deposit; give --entry-price")
    at = transfer.block_number
    logs = await chain.logs(
        addresses=[position.pool_address],
        topics=[[V2_PAIR.topic("Mint")]],
        from_block=at,
        to=await chain.block(at),
    )
    # Mint follows the transfer in its transaction (UniswapV2Pair.mint).
    own = [log for log in logs if log.tx_hash == transfer.tx_hash and log.log_index > transfer.log_index]
    if not own:
        raise TransientError(f"transaction {transfer.tx_hash} minted LP tokens without a Mint event")
    return _ordered(position, V2_PAIR.decode_log("Mint", own[0].log))
