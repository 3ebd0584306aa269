"""Fees of a chain (S8, REL-F20)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.errors import ConfigError, TransientError
from bot.model.market import Block, Metric, Observation
from bot.ports import FeeHistory
from bot.watchers.gas import GasWatcher

GWEI = 10**9
HEAD = replace(BLOCK, base_fee_wei=20 * GWEI)
HISTORY = FeeHistory(
    oldest_block=5,
    base_fee_wei=(18 * GWEI, 19 * GWEI, 20 * GWEI, 21 * GWEI),
    gas_used_share=(0.5, 0.0, 0.9),
    reward_wei=((2 * GWEI,), (0,), (4 * GWEI,)),
)


class FeeChain(FakeChain):
    def __init__(self, history: FeeHistory | None) -> None:
        super().__init__({})
        self.history = history

    async def fee_history(self, *, blocks: int, percentiles: Sequence[float], to: Block) -> FeeHistory:
        if self.history is None:
            raise TransientError("the node has no fee history")
        return self.history


async def _read(history: FeeHistory | None, *, head: Block = HEAD, **extra: Any) -> list[Observation]:
    watcher = GasWatcher(chain_id=BLOCK.chain_id, **{"blocks": 3, **extra})
    rows = await watcher.read(FeeChain(history), block=head, read_at_s=0.0)
    assert tuple(row.key for row in rows) == watcher.series
    return rows


async def test_the_heads_base_fee_and_the_median_tip_of_blocks_with_transactions() -> None:
    base, tip = await _read(HISTORY)
    assert (base.metric, base.value) == (Metric.BASE_FEE_GWEI, 20.0)
    assert (tip.metric, tip.value) == (Metric.PRIORITY_FEE_GWEI, 3.0)


async def test_a_tip_of_nothing_is_a_value_and_empty_blocks_are_none() -> None:
    free = replace(HISTORY, reward_wei=((0,), (0,), (0,)))
    assert (await _read(free))[1].value == 0.0
    empty = replace(HISTORY, gas_used_share=(0.0, 0.0, 0.0))
    base, tip = await _read(empty)
    assert base.value == 20.0
    assert "nobody paid a priority fee" in tip.why_unknown


async def test_absurd_fees_are_refused() -> None:
    _, tip = await _read(replace(HISTORY, reward_wei=((2 * GWEI,), (0,), (10**6 * GWEI,))))
    assert "allowed 100000 gwei" in tip.why_unknown
    fees = (18 * GWEI, 19 * GWEI, 10**6 * GWEI, 21 * GWEI)
    base, tip = await _read(
        replace(HISTORY, base_fee_wei=fees), head=replace(HEAD, base_fee_wei=10**6 * GWEI)
    )
    assert "base fee of" in base.why_unknown
    assert tip.value == 3.0


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (None, "no fee history"),
        (FeeHistory(oldest_block=0, base_fee_wei=(), gas_used_share=(), reward_wei=()), "has 0 blocks"),
        (replace(HISTORY, reward_wei=()), "0 rewards"),
        (replace(HISTORY, base_fee_wei=HISTORY.base_fee_wei[:-1]), "3 base fees"),
        (replace(HISTORY, oldest_block=4), "does not end with block 7"),
        (replace(HISTORY, base_fee_wei=(1, 2, 3, 4)), "does not end with block 7"),
        (replace(HISTORY, reward_wei=((1,), (), (1,))), "one percentile was asked for"),
        (replace(HISTORY, gas_used_share=(0.5, math.nan, 0.5)), "gas shares"),
        (replace(HISTORY, gas_used_share=(0.5, -0.1, 0.5)), "gas shares"),
    ],
)
async def test_a_history_that_cannot_be_is_unknown(history: FeeHistory | None, words: str) -> None:
    for row in await _read(history):
        assert math.isnan(row.value)
        assert words in row.why_unknown


WEI = st.integers(min_value=-(10**30), max_value=10**30)


@given(
    history=st.builds(
        FeeHistory,
        oldest_block=st.integers(0, 10),
        base_fee_wei=st.lists(WEI, max_size=5).map(tuple),
        gas_used_share=st.lists(st.floats(), max_size=5).map(tuple),
        reward_wei=st.lists(st.lists(WEI, max_size=2).map(tuple), max_size=5).map(tuple),
    )
)
async def test_any_history_gives_a_plausible_fee_or_a_reason(history: FeeHistory) -> None:
    for row in await _read(history):
        assert 0 <= row.value <= 100_000 if math.isfinite(row.value) else row.why_unknown


async def test_the_fees_of_another_chain_are_unknown() -> None:
    watcher = GasWatcher(chain_id=1)
    for row in await watcher.read(FeeChain(HISTORY), block=HEAD, read_at_s=0.0):
        assert "gas of chain 1 is configured, read on 31337" in row.why_unknown


@pytest.mark.parametrize(
    "fault", [{"blocks": 0}, {"blocks": 2_000}, {"percentile": 101.0}, {"highest_gwei": 0.0}]
)
def test_settings_are_checked_at_the_start(fault: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="gas of 1"):
        GasWatcher(**{"chain_id": 1, **fault})


@pytest.mark.devnet
async def test_what_a_real_node_says_was_paid(chain: JsonRpcReader, rpc: Rpc, at: Deployment) -> None:
    """Three blocks with one transfer each; the tip is what is over the block's base fee."""
    for tip in (1, 7, 3):
        await rpc.request("anvil_setNextBlockBaseFeePerGas", [hex(10 * GWEI)])
        body = {"from": at.trader, "to": at.user, "value": "0x1", "gas": hex(21_000)}
        fees = {"maxFeePerGas": hex(99 * GWEI), "maxPriorityFeePerGas": hex(tip * GWEI)}
        await rpc.request("evm_setAutomine", [False])
        await rpc.request("eth_sendTransaction", [body | fees], send=True)
        await rpc.request("evm_mine")
    await rpc.request("evm_setAutomine", [True])
    watcher = GasWatcher(chain_id=CHAIN_ID, blocks=3)
    base, tip = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert (base.value, tip.value) == (10.0, 3.0)
