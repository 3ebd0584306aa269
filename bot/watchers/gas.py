"""Base and priority fees of a chain, from eth_feeHistory (S8)."""

import math
from dataclasses import dataclass
from statistics import median

from bot.errors import ConfigError, TransientError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader, FeeHistory
from bot.watchers.rows import BadRead, Rows, Unknown

SOURCE = "fee_history"
_WEI_PER_GWEI = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class GasWatcher:
    """Watches what blocks cost.

    BASE_FEE_GWEI is that of the newest block. PRIORITY_FEE_GWEI is the median over the last ``blocks`` blocks
    of the tip at ``percentile`` of the gas used; blocks without transactions are left out, and without any
    transaction it is unknown, since nobody paid one. A tip of 0 is a value: some chains ignore tips. Fees
    over ``highest_gwei`` are refused as a broken reply.
    """

    chain_id: int
    blocks: int = 20
    percentile: float = 90.0
    highest_gwei: float = 100_000.0

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= 1_024:  # what nodes serve at most
            raise ConfigError(f"gas of {self.chain_id}: blocks must be 1..1024, was {self.blocks}")
        if not 0 <= self.percentile <= 100:
            raise ConfigError(f"gas of {self.chain_id}: percentile must be 0..100, was {self.percentile}")
        if not 0 < self.highest_gwei < math.inf:
            raise ConfigError(f"gas of {self.chain_id}: highest_gwei must be > 0, was {self.highest_gwei}")

    @property
    def name(self) -> str:
        return f"gas {self.chain_id}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        metrics = (Metric.BASE_FEE_GWEI, Metric.PRIORITY_FEE_GWEI)
        return tuple(SeriesKey(metric, str(self.chain_id), SOURCE) for metric in metrics)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        try:
            if block.chain_id != self.chain_id:
                raise BadRead(f"gas of chain {self.chain_id} is configured, read on {block.chain_id}")
            history = await chain.fee_history(
                blocks=min(self.blocks, block.number + 1), percentiles=[self.percentile], to=block
            )
            self._check(history, block)
        except TransientError as error:
            return rows.unknown(self.series, str(error))
        base, priority = self.series
        return [
            rows.row(base, self._gwei(history.base_fee_wei[-2], "base fee")),
            rows.row(priority, self._priority(history)),
        ]

    def _check(self, history: FeeHistory, block: Block) -> None:
        """Raise BadRead unless the history is whole and ends with ``block``."""
        count, fees = len(history.gas_used_share), history.base_fee_wei
        wanted = min(self.blocks, block.number + 1)
        if count != wanted or len(fees) != count + 1 or len(history.reward_wei) != count:
            raise BadRead(
                f"fee history has {count} blocks, {len(fees)} base fees and {len(history.reward_wei)} "
                f"rewards, asked were {wanted} blocks"
            )
        if history.oldest_block + count - 1 != block.number or fees[-2] != block.base_fee_wei:
            raise BadRead(f"fee history does not end with block {block.number}")
        if not all(len(row) == 1 for row in history.reward_wei):
            raise BadRead("fee history has not one reward a block, one percentile was asked for")
        if not all(0 <= share < math.inf for share in history.gas_used_share):
            raise BadRead(f"fee history has gas shares that are none: {history.gas_used_share}")

    def _priority(self, history: FeeHistory) -> float | Unknown:
        paid = [
            row[0] for row, share in zip(history.reward_wei, history.gas_used_share, strict=True) if share > 0
        ]
        if not paid:
            return Unknown(f"the last {self.blocks} blocks are empty: nobody paid a priority fee")
        if min(paid) < 0 or max(paid) > self.highest_gwei * _WEI_PER_GWEI:
            return Unknown(
                f"priority fees of {min(paid)}..{max(paid)} wei, allowed {self.highest_gwei:g} gwei"
            )
        return float(median(paid)) / _WEI_PER_GWEI

    def _gwei(self, wei: int, what: str) -> float | Unknown:
        if not 0 <= wei <= self.highest_gwei * _WEI_PER_GWEI:
            return Unknown(f"{what} of {wei} wei, allowed are 0..{self.highest_gwei:g} gwei")
        return wei / _WEI_PER_GWEI
