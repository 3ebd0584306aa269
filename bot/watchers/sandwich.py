"""Share of a pool's volume that was sandwiched (S8), from the logs of a Uniswap v2 or v3 pool.

A sandwich is three swaps of one block in three transactions, in this order: A1, the victim V, A2. They follow
Torres, Camino, State, "Frontrunner Jones and the Raiders of the Dark Forest" (USENIX Security 2021):

- A1 and V trade in the same direction, A2 in the other;
- whom A1 paid out to is who pays for A2 (the sender of the token transfer into the pool);
- A2 sells what A1 bought, within ``match`` (1 % in the paper);
- V's tokens come from and go to somebody else.

Attackers who spread one attack over several addresses or pools are not seen, so the share is a lower bound.
The share is the victims' volume over all volume but the attackers' own, both in quote tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from bot.errors import ConfigError, InvariantError, TransientError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import BlockLog, ChainReader
from bot.watchers.pools import ERC20, V2_PAIR, V3_POOL, Pool
from bot.watchers.rows import BadRead, Rows, Unknown

SOURCE = "swap_logs"
_V2, _V3, _TRANSFER = V2_PAIR.topic("Swap"), V3_POOL.topic("Swap"), ERC20.topic("Transfer")


class Swap(NamedTuple):
    """One swap; token0 and token1 are signed raw amounts, positive into the pool."""

    block_number: int
    tx_index: int
    log_index: int
    amount0: int
    amount1: int
    payer: str  # who sent the input token; empty where no transfer says so
    receiver: str

    @property
    def sells_token0(self) -> bool:
        return self.amount0 > 0

    @property
    def paid_in(self) -> int:
        return self.amount0 if self.sells_token0 else self.amount1

    @property
    def paid_out(self) -> int:
        return -(self.amount1 if self.sells_token0 else self.amount0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandwichWatcher:
    """Watches one pool over its last ``window_blocks`` blocks; without a swap in them it is unknown."""

    pool: Pool
    window_blocks: int = 300
    match: float = 0.01  # by how much of it A2 may sell more or less than A1 bought

    def __post_init__(self) -> None:
        if self.window_blocks < 1:
            raise ConfigError(
                f"sandwich {self.pool.label}: window_blocks must be >= 1, was {self.window_blocks}"
            )
        if not 0 <= self.match < 1:
            raise ConfigError(f"sandwich {self.pool.label}: match must be in [0, 1), was {self.match}")

    @property
    def name(self) -> str:
        return f"sandwich {self.pool.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.SANDWICH_SHARE, self.pool.label, SOURCE),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        try:
            swaps = await self._swaps(chain, block)
        except TransientError as error:
            return rows.unknown(self.series, str(error))
        share = sandwiched_share(swaps, quote_is_token0=not self.pool.base_is_token0, match=self.match)
        return [rows.row(self.series[0], share)]

    async def _swaps(self, chain: ChainReader, block: Block) -> list[Swap]:
        """Return the swaps of the window. Raises TransientError, BadRead for what is no such pool."""
        pool, first = self.pool, max(0, block.number - self.window_blocks + 1)
        self.pool.check_tokens(*await chain.read(pool.token_calls, block=block))
        swaps = await chain.logs(addresses=[pool.address], topics=[[_V2, _V3]], from_block=first, to=block)
        transfers = await chain.logs(
            addresses=[pool.base_token, pool.quote_token],
            topics=[[_TRANSFER], [], ["0x" + pool.address[2:].lower().rjust(64, "0")]],
            from_block=first,
            to=block,
        )
        token0 = pool.base_token if pool.base_is_token0 else pool.quote_token
        try:
            payers = _payers(transfers, pool, token0)
            return [_swap(item, payers) for item in swaps if item.log.address.lower() == pool.address.lower()]
        except InvariantError as error:
            raise BadRead(f"{pool.label}: {error}") from None


def sandwiched_share(swaps: Sequence[Swap], *, quote_is_token0: bool, match: float) -> float | Unknown:
    """Return the victims' share of the volume that attackers did not trade; Unknown without any."""

    def volume(items: Iterable[Swap]) -> int:
        return sum(abs(item.amount0 if quote_is_token0 else item.amount1) for item in items)

    attackers: set[Swap] = set()
    victims: set[Swap] = set()
    ordered = sorted(swaps, key=attrgetter("block_number", "log_index"))
    for _, items in groupby(ordered, key=attrgetter("block_number")):
        for first, between, last in _sandwiches(list(items), match=match):
            attackers |= {first, last}
            victims |= between
    own = attackers - victims
    others = volume(item for item in swaps if item not in own)
    if others == 0:
        return Unknown("nobody traded in the window")
    return volume(victims - own) / others


def _sandwiches(swaps: Sequence[Swap], *, match: float) -> Iterable[tuple[Swap, set[Swap], Swap]]:
    """Yield (A1, victims, A2) of one block; every swap is at most once an A2."""
    used: set[Swap] = set()
    for place, first in enumerate(swaps):
        if first in used:  # an A2 is not the A1 of another
            continue
        for last in swaps[place + 1 :]:
            if last in used or not _is_pair(first, last, match=match):
                continue
            between = {item for item in swaps if _is_victim(item, first, last)}
            if between:
                used |= {first, last}
                yield first, between, last
                break


def _is_pair(first: Swap, last: Swap, *, match: float) -> bool:
    return (
        first.tx_index < last.tx_index
        and first.sells_token0 != last.sells_token0
        and first.receiver == last.payer
        and abs(last.paid_in - first.paid_out) <= match * first.paid_out
    )


def _is_victim(item: Swap, first: Swap, last: Swap) -> bool:
    return (
        first.tx_index < item.tx_index < last.tx_index
        and item.sells_token0 == first.sells_token0
        and first.receiver not in (item.receiver, item.payer)
    )


def _payers(
    transfers: Sequence[BlockLog], pool: Pool, token0: str
) -> dict[tuple[str, bool], list[tuple[int, str]]]:
    """Return (log index, sender) of what came into the pool, by transaction and whether it was token0."""
    found: dict[tuple[str, bool], list[tuple[int, str]]] = {}
    for item in transfers:
        fields, token = ERC20.decode_log("Transfer", item.log), item.log.address.lower()
        if fields["to"].lower() != pool.address.lower():
            raise BadRead(f"{pool.label}: the node sent a transfer that was not asked for")
        key = (item.tx_hash, token == token0.lower())
        found.setdefault(key, []).append((item.log_index, fields["from"].lower()))
    return found


def _swap(item: BlockLog, payers: dict[tuple[str, bool], list[tuple[int, str]]]) -> Swap:
    """Decode a swap; who paid is the sender of the last transfer of its input token before it."""
    if V2_PAIR.is_event("Swap", item.log):
        fields = V2_PAIR.decode_log("Swap", item.log)
        amount0 = fields["amount0In"] - fields["amount0Out"]
        amount1 = fields["amount1In"] - fields["amount1Out"]
        receiver = fields["to"]
    else:
        fields = V3_POOL.decode_log("Swap", item.log)
        amount0, amount1, receiver = fields["amount0"], fields["amount1"], fields["recipient"]
    into = payers.get((item.tx_hash, amount0 > 0), [])
    before = [sender for log_index, sender in into if log_index < item.log_index]
    return Swap(
        block_number=item.block_number,
        tx_index=item.tx_index,
        log_index=item.log_index,
        amount0=amount0,
        amount1=amount1,
        payer=before[-1] if before else "",
        receiver=receiver.lower(),
    )
