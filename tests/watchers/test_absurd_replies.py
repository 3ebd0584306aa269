"""Whatever a node answers, a watcher gives a possible number or says why there is none (REL-R7, I6)."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.errors import TransientError
from bot.model.intent import Log
from bot.model.market import Block, Metric
from bot.ports import BlockLog, Call, FeeHistory, Watcher
from bot.watchers.aave_v3 import AaveV3Watcher
from bot.watchers.admin_events import ADMIN, AdminEventsWatcher
from bot.watchers.chainlink import ChainlinkRateWatcher, ChainlinkWatcher
from bot.watchers.compound_v3 import CompoundV3Watcher
from bot.watchers.gas import GasWatcher
from bot.watchers.gmx_v2 import GmxV2Watcher
from bot.watchers.lending import Account, LendingToken
from bot.watchers.lyra_iv import LyraIvWatcher
from bot.watchers.perp_v2_funding import PerpV2FundingWatcher
from bot.watchers.pools import ERC20, V2_PAIR, V3_POOL, Pool
from bot.watchers.sandwich import SandwichWatcher
from bot.watchers.sequencer import SequencerWatcher
from bot.watchers.synthetix_v3 import SynthetixV3Watcher
from bot.watchers.twap_vol import TwapVolWatcher

A, B, C = ("0x" + digits * 20 for digits in ("11", "22", "33"))
POOL = Pool(
    label="p", address=A, base="ETH", quote="USDC", base_token=B, quote_token=C, base_decimals=18,
    quote_decimals=6,
)  # fmt: skip
TOKEN, ACCOUNT = LendingToken(symbol="T", address=B, decimals=6), Account(label="mine", address=C)
WATCHERS: tuple[Watcher, ...] = (
    AaveV3Watcher(label="a", addresses_provider=A, reserves=(TOKEN,), accounts=(ACCOUNT,)),
    CompoundV3Watcher(label="c", comet=A, base=TOKEN, accounts=(ACCOUNT,)),
    SequencerWatcher(chain_id=31337, feed=A),
    ChainlinkWatcher(label="ETH/USD", underlying="ETH", address=A, heartbeat_s=60.0),
    ChainlinkRateWatcher(label="stETH/ETH", token="stETH", unit="ETH", address=A, heartbeat_s=60.0),
    GasWatcher(chain_id=31337, blocks=2),
    SandwichWatcher(pool=POOL, window_blocks=3),
    AdminEventsWatcher(
        label="x", address=A, window_blocks=3, expected_owner=B, expected_implementation=C, also=(B,)
    ),
    AdminEventsWatcher(
        label="y", address=A, window_blocks=3, paused_from="events", deployed_block=0, also=(B,)
    ),
    SynthetixV3Watcher(underlying="ETH", perps_market=A, market_id=1, symbol="ETH"),
    GmxV2Watcher(underlying="ETH", data_store=A, market=B),
    PerpV2FundingWatcher(underlying="ETH", exchange=A, base_token=B, config=C),
    TwapVolWatcher(pool=POOL, window_s=60, windows=3),
    LyraIvWatcher(underlying="ETH", option_market=A, pricer=B, synthetix_adapter=C),
)
NOW_S = BLOCK.timestamp_s
WORDS = (0, 0, 0, 0, 50 * 10**6, 10**25, 2 * 10**25, 0, 0, 10**27, 10**27, 1)
ASSET = (0, B, A, 10**18, 8 * 10**17, 825 * 10**15, 9 * 10**17, 10**30)
LIKELY_ANSWERS: dict[str, tuple[Any, ...]] = {  # what a good contract says, by function
    "getPool": (B,),
    "getPoolDataProvider": (C,),
    "getReserveTokensAddresses": (B, B, B),
    "getReserveData": WORDS,
    "getPaused": (False,),
    "getVirtualUnderlyingBalance": (50 * 10**6,),
    "getUserAccountData": (2 * 10**8, 10**8, 0, 8_250, 0, 165 * 10**16),
    "balanceOf": (150 * 10**6,),
    "totalSupply": (10**9,),
    "baseToken": (B,),
    "baseScale": (10**6,),
    "getUtilization": (9 * 10**17,),
    "getSupplyRate": (10**9,),
    "getBorrowRate": (2 * 10**9,),
    **{f"is{action}Paused": (False,) for action in ("Supply", "Transfer", "Withdraw", "Absorb", "Buy")},
    "numAssets": (1,),
    "getAssetInfo": (ASSET,),
    "baseTokenPriceFeed": (A,),
    "getPrice": (10**8,),
    "borrowBalanceOf": (10**6,),
    "isLiquidatable": (False,),
    "userCollateral": (2 * 10**18, 0),
    "token0": (B,),
    "token1": (C,),
    "observe": ((5, 5, 605, 5), (0, 0, 0, 0)),
    "paused": (False,),
    "owner": (B,),
    "metadata": ("Ether", "ETH"),
    "size": (1,),
    "currentFundingRate": (10**16,),
    "containsAddress": (True,),
    "getBool": (False,),
    "getAddress": (B,),
    "getInt": (-(10**21),),
    "getUint": (10**21,),
    "getSqrtMarketTwapX96": (2**96,),
    "getIndexPrice": (10**18,),
    "getMaxFundingRate": (100_000,),
    "getTwapInterval": (900,),
    "isOpen": (True,),
}
ROUNDS = {"sequencer": (0, 0), "chainlink": (2_000 * 10**8, 8), "chainlink_rate": (10**18, 18)}
ABIS = (
    "AaveProtocolDataProvider",
    "AaveVirtualAccounting",
    "AdminEvents",
    "AggregatorV3Interface",
    "BaseToken",
    "ClearingHouseConfig",
    "Comet",
    "DataStore",
    "ERC20",
    "Exchange",
    "PerpsMarketProxy",
    "Pool",
    "PoolAddressesProvider",
    "UniswapV3Pool",
)
FUNCTIONS = {
    item.selector: name
    for abi in map(Abi.load, ABIS)
    for name, items in abi._functions.items()
    for item in items
}
ZERO_TO = {
    Metric.SUPPLY_APR: 10.0,
    Metric.BORROW_APR: 10.0,
    Metric.HEALTH_FACTOR: 1e6,
    Metric.UTILISATION: 10.0,
    Metric.IDLE_UNITS: 2.0**112,
    Metric.SEQUENCER_UP: 1.0,
    Metric.PAUSED: 1.0,
    Metric.BASE_FEE_GWEI: 1e5,
    Metric.PRIORITY_FEE_GWEI: 1e5,
    Metric.SANDWICH_SHARE: 1.0,
    Metric.PRICE_USD: 1e12,
    Metric.REALISED_VOL: 20.0,
}
TOPICS = [ADMIN.topic("Paused"), ADMIN.topic("Upgraded"), V2_PAIR.topic("Swap"), V3_POOL.topic("Swap"),
          ERC20.topic("Transfer"), "0x" + "00" * 32]  # fmt: skip
LIKELY = st.sampled_from([0, 1, 2, 6, 8, 18, 10**6, 10**18, 10**27, BLOCK.timestamp_s, BLOCK.timestamp_s - 5])


def value_of(kind: str) -> st.SearchStrategy[Any]:
    """Any value of an ABI type; numbers are often what a real contract might say."""
    if kind.endswith("]"):
        return st.lists(value_of(kind[: kind.rindex("[")]), max_size=3).map(tuple)
    if kind.startswith("("):
        return st.tuples(*map(value_of, split(kind[1:-1])))
    if kind.startswith("uint"):
        top = 2 ** int(kind[4:]) - 1
        return st.one_of(LIKELY.filter(lambda item: item <= top), st.integers(0, top), st.just(top))
    if kind.startswith("int"):
        edge = 2 ** (int(kind[3:]) - 1)
        return st.one_of(LIKELY.filter(lambda item: item < edge), st.integers(-edge, edge - 1))
    if kind == "bool":
        return st.booleans()
    if kind == "address":
        return st.sampled_from(["0x" + "00" * 20, A, B, C])
    return st.text(max_size=5) if kind == "string" else st.binary(min_size=32, max_size=32)


def split(kinds: str) -> list[str]:
    parts, depth = [""], 0
    for letter in kinds:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


LOGS = st.lists(
    st.builds(
        lambda where, topics, data, at: BlockLog(
            Log(address=where, topics=tuple(topics), data=data), 7, BLOCK.hash, f"0x{at:02x}", at, at
        ),
        st.sampled_from([A, B, C]),
        st.lists(st.sampled_from(TOPICS), max_size=4),
        st.sampled_from([b"", b"\1", bytes(32), bytes(128), b"\xff" * 128, b"\xff" * 160]),
        st.integers(0, 5),
    ),
    max_size=5,
)
GOOD_LOGS = [
    BlockLog(Log(address=A, topics=(ADMIN.topic("Upgraded"),), data=b""), 7, BLOCK.hash, "0x00", 0, 0),
    BlockLog(
        Log(
            address=A,
            topics=(V2_PAIR.topic("Swap"), "0x" + "00" * 32, "0x" + "00" * 32),
            data=b"".join(raw.to_bytes(32, "big") for raw in (9, 0, 0, 5)),
        ),
        7, BLOCK.hash, "0x01", 1, 1,
    ),
]  # fmt: skip
NUMBERS = st.one_of(LIKELY, st.integers(-(2**255), 2**255))
FEES = st.builds(
    FeeHistory,
    oldest_block=st.integers(4, 8),
    base_fee_wei=st.lists(NUMBERS, max_size=4).map(tuple),
    gas_used_share=st.lists(st.floats(), max_size=3).map(tuple),
    reward_wei=st.lists(NUMBERS.map(lambda item: (item,)), max_size=3).map(tuple),
)


class AbsurdChain(FakeChain):
    """Answers as a good contract does, but for one reply in ``one_in``: none, or any value of its type."""

    def __init__(self, data: st.DataObject, watcher: Watcher) -> None:
        super().__init__({})
        self.data = data
        self.one_in = data.draw(st.sampled_from([1, 4, 20]))
        answer, decimals = ROUNDS.get(watcher.name.split()[0], (0, 6))
        since_s = NOW_S - (5_000 if answer == 0 else 5)
        self.likely = LIKELY_ANSWERS | {
            "latestRoundData": (1, answer, since_s, since_s, 1),
            "decimals": (decimals,),
        }

    def is_good(self) -> bool:
        return bool(self.data.draw(st.integers(0, self.one_in - 1)))

    def maybe(self, good: Any, strategy: st.SearchStrategy[Any]) -> Any:
        if self.is_good():
            return good
        if self.data.draw(st.booleans()):
            raise TransientError("the node did not answer")
        return self.data.draw(strategy)

    def answer(self, call: Call) -> tuple[Any, ...] | None:
        name = FUNCTIONS.get(call.data[:4], "")
        if self.is_good() and name in self.likely:
            return self.likely[name]
        return self.data.draw(st.one_of(st.none(), st.tuples(*map(value_of, call.outputs))))

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        return [self.answer(call) for call in calls]

    async def storage_at(self, address: str, slot: int, *, block: Block) -> bytes:
        return self.maybe(bytes(12) + bytes.fromhex(C[2:]), st.binary(max_size=40))

    async def has_code(self, address: str, *, block: Block) -> bool:
        return self.maybe(True, st.booleans())

    async def logs(
        self, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
    ) -> list[BlockLog]:
        good = [item for item in GOOD_LOGS if item.log.topics[0] in topics[0]]
        return self.maybe(good, LOGS)

    async def fee_history(self, *, blocks: int, percentiles: Sequence[float], to: Block) -> FeeHistory:
        good = FeeHistory(
            oldest_block=6, base_fee_wei=(5, 0, 7), gas_used_share=(0.5, 0.5), reward_wei=((1,), (2,))
        )
        return self.maybe(good, FEES)


@pytest.mark.parametrize("watcher", WATCHERS, ids=lambda item: item.name)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
async def test_a_possible_number_or_a_reason(watcher: Watcher, data: st.DataObject) -> None:
    rows = await watcher.read(AbsurdChain(data, watcher), block=BLOCK, read_at_s=5.0)
    assert tuple(row.key for row in rows) == watcher.series
    for row in rows:
        assert math.isfinite(row.value) is (row.why_unknown == "")
        assert len(row.why_unknown) < 1_000
        if row.why_unknown == "" and row.metric in ZERO_TO:
            assert 0.0 <= row.value <= ZERO_TO[row.metric]
        if row.metric is Metric.FUNDING_APR and row.why_unknown == "":
            assert abs(row.value) < 1e9


@pytest.mark.parametrize("watcher", WATCHERS, ids=lambda item: item.name)
async def test_a_node_that_answers_nothing_is_unknown(watcher: Watcher) -> None:
    """Every call fails: what an account, or a contract of another kind, comes to."""
    for row in await watcher.read(FakeChain({}, code=False), block=BLOCK, read_at_s=5.0):
        assert math.isnan(row.value)
        assert row.why_unknown
