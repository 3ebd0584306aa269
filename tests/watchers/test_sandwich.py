"""The share of sandwiched volume (S8): by rule, and on the real Uniswap v2 pair and v3 pool."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from eth_utils.crypto import keccak
from fake_chain import BLOCK, FakeChain
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import Deployment
from bot.devnet.moves.wire import calldata
from bot.errors import ConfigError, StaleDataError, TransientError
from bot.model.intent import Log
from bot.model.market import Block
from bot.ports import BlockLog
from bot.watchers.pools import ERC20, V2_PAIR, Pool
from bot.watchers.rows import Unknown
from bot.watchers.sandwich import SandwichWatcher, Swap, sandwiched_share

V3_ROUTER = Abi.load("SwapRouter")
NEVER = 2**40


def swap(tx: int, quote: int, base: int, who: str, *, block: int = 1, payer: str | None = None) -> Swap:
    """token0 is the quote: ``quote`` > 0 buys ``-base``."""
    return Swap(block, tx, tx * 10, quote, base, who if payer is None else payer, who)


ATTACK = [swap(0, 100, -50, "bad"), swap(1, 200, -90, "victim"), swap(2, -110, 50, "bad")]
SHARES = [
    ("the victim is all that others traded", ATTACK, 1.0),
    ("others dilute it", [*ATTACK, swap(3, 600, -250, "other")], 0.25),
    ("two victims", [*ATTACK[:2], swap(2, 300, -130, "second"), swap(3, -130, 50, "bad")], 1.0),
    ("another block is no sandwich", [*ATTACK[:2], swap(2, -110, 50, "bad", block=2)], 0.0),
    ("nobody between", [ATTACK[0], ATTACK[2]], 0.0),
    ("a victim in the other direction", [ATTACK[0], swap(1, -200, 90, "victim"), ATTACK[2]], 0.0),
    ("same direction twice", [*ATTACK[:2], swap(2, 110, -50, "bad")], 0.0),
    ("another sells", [*ATTACK[:2], swap(2, -110, 50, "other")], 0.0),
    ("sells another amount", [*ATTACK[:2], swap(2, -110, 52, "bad")], 0.0),
    ("within the tolerance", [*ATTACK[:2], swap(2, -110, 50, "bad")], 1.0),
    ("paid by the one who bought", [*ATTACK[:2], swap(2, -110, 50, "router", payer="bad")], 1.0),
    ("nobody knows who paid", [*ATTACK[:2], swap(2, -110, 50, "router", payer="")], 0.0),
    ("his own trade between is no victim", [ATTACK[0], swap(1, 200, -90, "bad"), ATTACK[2]], 0.0),
    (
        "two attacks in one block",
        [*ATTACK, swap(3, 10, -5, "worse"), swap(4, 50, -20, "next"), swap(5, -12, 5, "worse")],
        1.0,
    ),
    ("sold by a router that all use", [swap(0, 100, -50, "bad", payer="router"),
                                       swap(1, 200, -90, "victim", payer="router"),
                                       swap(2, -110, 50, "router", payer="bad")], 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("swaps", "share"), [case[1:] for case in SHARES], ids=[c[0] for c in SHARES])
def test_share_by_rule(swaps: Sequence[Swap], share: float) -> None:
    assert sandwiched_share(swaps, quote_is_token0=True, match=0.01) == share
    mirrored = [item._replace(amount0=item.amount1, amount1=item.amount0) for item in swaps]
    assert sandwiched_share(mirrored, quote_is_token0=False, match=0.01) == share


def test_no_trade_is_no_share() -> None:
    assert isinstance(sandwiched_share([], quote_is_token0=True, match=0.01), Unknown)


SWAPS = st.lists(
    st.builds(
        lambda tx, quote, sells, who, payer: swap(
            tx, quote if sells else -quote, -50 if sells else 50, who, payer=payer
        ),
        st.integers(0, 6),
        st.integers(0, 10**30),
        st.booleans(),
        st.sampled_from("abc"),
        st.sampled_from(["a", "b", "c", ""]),
    ),
    max_size=12,
    unique_by=lambda item: item.tx_index,
)


@given(SWAPS)
def test_the_share_is_a_share(swaps: list[Swap]) -> None:
    found = sandwiched_share(swaps, quote_is_token0=True, match=0.01)
    assert isinstance(found, Unknown) or 0.0 <= found <= 1.0


async def _block_of(rpc: Rpc, transactions: Sequence[dict[str, str]]) -> None:
    """Mine these in one block, in this order."""
    await rpc.request("evm_setAutomine", [False])
    hashes = []
    for place, body in enumerate(transactions):
        price = hex((500 - place) * 10**9)
        hashes.append(
            await rpc.request(
                "eth_sendTransaction", [body | {"gasPrice": price, "gas": hex(500_000)}], send=True
            )
        )
    await rpc.request("evm_mine")
    await rpc.request("evm_setAutomine", [True])
    for place, item in enumerate(hashes):
        receipt = await rpc.read("eth_getTransactionReceipt", [item])
        assert receipt["status"] == "0x1"
        assert int(receipt["transactionIndex"], 16) == place


async def _share(chain: JsonRpcReader, pool: Pool, **extra: Any) -> Any:
    watcher = SandwichWatcher(pool=pool, **extra)
    (row,) = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert row.key == watcher.series[0]
    return row


async def _approve(send: Any, at: Deployment, owners: Sequence[str], spender: str) -> None:
    for owner in owners:
        await send.give_weth(owner, at, 100 * 10**18)
        for token in (at.weth, at.usdc):
            await send(owner, token, ERC20.encode("approve", spender, 2**255))
    for owner in owners:
        mint = keccak(text="mint(address,uint256)")[:4]
        data = mint + bytes(12) + bytes.fromhex(owner[2:]) + (10**12).to_bytes(32, "big")
        await send(at.deployer, at.usdc, data)


@pytest.mark.devnet
async def test_a_real_sandwich_on_the_v2_pair(
    chain: JsonRpcReader, rpc: Rpc, at: Deployment, v2_pool: Pool, send: Any
) -> None:
    """The attacker pays in ether through the router and takes ether out; the victim does the same."""
    attacker, victim = at.accounts[6], at.accounts[7]
    path = [at.weth, at.usdc]

    def buy(who: str, wei: int) -> dict[str, str]:
        data = calldata("swapExactETHForTokens(uint256,address[],address,uint256)", 0, path, who, NEVER)
        return {"from": who, "to": at.v2_router, "data": data, "value": hex(wei)}

    await _approve(send, at, [attacker], at.v2_router)
    pair = [ERC20.call("balanceOf", at.usdc, attacker)]
    (before,) = await chain.read(pair, block=await chain.head())
    snapshot = await rpc.request("evm_snapshot")
    await _block_of(rpc, [buy(attacker, 10**19)])
    (after,) = await chain.read(pair, block=await chain.head())
    assert await rpc.request("evm_revert", [snapshot])
    bought = after[0] - before[0]
    signature = "swapExactTokensForETH(uint256,uint256,address[],address,uint256)"
    sell = calldata(signature, bought, 0, path[::-1], attacker, NEVER)
    back = {"from": attacker, "to": at.v2_router, "data": sell}
    await _block_of(rpc, [buy(attacker, 10**19), buy(victim, 2 * 10**19), back])
    assert (await _share(chain, v2_pool, window_blocks=1)).value == 1.0
    await _block_of(rpc, [buy(victim, 2 * 10**19)])
    assert (await _share(chain, v2_pool, window_blocks=1)).value == 0.0
    assert (await _share(chain, v2_pool, window_blocks=2)).value == pytest.approx(0.5, rel=0.01)


@pytest.mark.devnet
async def test_a_real_sandwich_on_the_v3_pool(
    chain: JsonRpcReader, rpc: Rpc, at: Deployment, v3_pool: Pool, send: Any
) -> None:
    attacker, victim = at.accounts[6], at.accounts[7]
    await _approve(send, at, [attacker, victim], at.v3_router)

    def trade(who: str, token_in: str, token_out: str, name: str, raw: int, bound: int) -> dict[str, str]:
        data = V3_ROUTER.encode(name, (token_in, token_out, 500, who, NEVER, raw, bound, 0))
        return {"from": who, "to": at.v3_router, "data": "0x" + data.hex()}

    first = trade(attacker, at.usdc, at.weth, "exactOutputSingle", 10**18, 2**255)
    hit = trade(victim, at.usdc, at.weth, "exactInputSingle", 10**10, 0)
    last = trade(attacker, at.weth, at.usdc, "exactInputSingle", 10**18, 0)
    await _block_of(rpc, [first, hit, last])
    assert (await _share(chain, v3_pool)).value == 1.0


class LogChain(FakeChain):
    def __init__(self, pool: Pool, logs: list[BlockLog] | Exception) -> None:
        tokens = sorted((pool.base_token, pool.quote_token), key=lambda token: int(token, 16))
        answers = {call.data: (token,) for call, token in zip(pool.token_calls, tokens, strict=True)}
        super().__init__(answers)
        self.found = logs

    async def logs(
        self, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
    ) -> list[BlockLog]:
        if isinstance(self.found, Exception):
            raise self.found
        return [item for item in self.found if item.log.topics[:1] and item.log.topics[0] in topics[0]]


POOL = Pool(
    label="v2:ETH/USDC", address="0x" + "11" * 20, base="ETH", quote="USDC", base_token="0x" + "22" * 20,
    quote_token="0x" + "33" * 20, base_decimals=18, quote_decimals=6,
)  # fmt: skip


def _log(topics: Sequence[str], data: bytes, address: str = POOL.address) -> BlockLog:
    return BlockLog(Log(address=address, topics=tuple(topics), data=data), 7, BLOCK.hash, "0x01", 0, 0)


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ([], "nobody traded"),
        (TransientError("range too wide"), "range too wide"),
        ([_log([V2_PAIR.topic("Swap")], b"")], "is no Swap"),
        ([_log([V2_PAIR.topic("Swap"), "0x" + "00" * 32, "0x" + "00" * 32], b"\1")], "do not decode"),
        ([_log([V2_PAIR.topic("Swap"), "0x" + "00" * 32, "0x" + "00" * 32], bytes(128))], "nobody traded"),
        ([_log([ERC20.topic("Transfer")], bytes(32), POOL.base_token)], "is no Transfer"),
        (
            [_log([ERC20.topic("Transfer"), "0x" + "00" * 32, "0x" + "00" * 32], bytes(32), POOL.base_token)],
            "was not asked for",
        ),
    ],
)
async def test_logs_that_cannot_be_are_unknown(logs: Any, words: str) -> None:
    (row,) = await SandwichWatcher(pool=POOL).read(LogChain(POOL, logs), block=BLOCK, read_at_s=0.0)
    assert math.isnan(row.value)
    assert words in row.why_unknown


async def test_a_block_that_was_reorganised_away_is_not_swallowed() -> None:
    with pytest.raises(StaleDataError):
        await SandwichWatcher(pool=POOL).read(
            LogChain(POOL, StaleDataError("gone")), block=BLOCK, read_at_s=0.0
        )


async def test_another_contract_is_unknown() -> None:
    (row,) = await SandwichWatcher(pool=POOL).read(FakeChain({}), block=BLOCK, read_at_s=0.0)
    assert "token0" in row.why_unknown


@pytest.mark.parametrize("fault", [{"window_blocks": 0}, {"match": 1.0}, {"match": -0.1}])
def test_settings_are_checked_at_the_start(fault: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="sandwich v2:ETH/USDC"):
        SandwichWatcher(**{"pool": POOL, **fault})
