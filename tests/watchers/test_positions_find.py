"""Positions in any pool: a wallet's, those named, staked ones; odd tokens."""

import dataclasses
import math

import pytest
from fake_chain import BLOCK, FakeChain
from hypothesis import given
from hypothesis import strategies as st
from reference_contracts import deploy_reference

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_v4 import V4Deployment, withdraw_v4
from bot.devnet.deployment import Deployment
from bot.errors import BotError, ConfigError, NotFoundError, TransientError
from bot.model.exposure import ExposureKind
from bot.model.lp_position import LpPosition, LpToken
from bot.watchers.pools import ERC20, V2_PAIR, Pool
from bot.watchers.positions import exposure_of, read_positions
from bot.watchers.positions.finder import LpContracts, LpFinder, NamedPosition, V4Contracts
from bot.watchers.positions.tokens import MAX_SYMBOL, KnownTokens, plain_symbol, read_tokens
from bot.watchers.positions.v2 import PairTerms
from bot.watchers.rows import Unknown
from bot.watchers.v4_pools import NATIVE

MANAGER = Abi.load("NonfungiblePositionManager")
NONE = KnownTokens(symbols={})
NOBODY = "0x00000000000000000000000000000000000000Aa"
TOKEN = "0x" + "11" * 20
NEVER = 2**40


def contracts(at: Deployment, v4: V4Deployment | None = None, **more) -> LpContracts:
    found = V4Contracts(position_manager=v4.position_manager, state_view=v4.state_view) if v4 else None
    return LpContracts(v3_manager=at.v3_position_manager, v4=found, **more)


def vouched(at: Deployment) -> KnownTokens:
    return KnownTokens(symbols={at.weth.lower(): "ETH"}, stables=frozenset({at.usdc.lower()}))


async def positions_of(chain, readers) -> dict[str, LpPosition]:
    found = await read_positions(chain, readers, block=await chain.head())
    for item in found:
        if isinstance(item, BotError):
            raise item
    return {item.id: item for item in found}


@pytest.mark.devnet
async def test_a_wallet_is_found_in_pools_that_nobody_configured(
    chain: JsonRpcReader, at: Deployment
) -> None:
    finder = LpFinder(chain, contracts(at), vouched(at), look_back=10**6)
    readers, left_out = await finder.wallet(at.whale, block=await chain.head())
    found = await positions_of(chain, readers)
    assert left_out == []
    assert len(found) == 3
    assert {item.pool for item in found.values()} == {"v3:ETH/USDC", "v3:sUSD/USDC"}
    for item in found.values():
        assert item.quote == LpToken(symbol="USDC", address=at.usdc, decimals=6)
        assert item.in_range
        assert item.value == pytest.approx(item.units * item.spot + item.quote_units)
    assert found[f"v3:{at.whale_v3_token_id}"].spot == pytest.approx(2_940)


@pytest.mark.devnet
async def test_a_pair_of_known_money_is_found_at_its_factory(chain: JsonRpcReader, at: Deployment) -> None:
    known = KnownTokens(
        symbols={at.weth.lower(): "ETH"},
        stables=frozenset({at.usdc.lower(), at.susd.lower()}),
        priced=frozenset({at.weth.lower(), NATIVE}),
    )
    where = LpContracts(factories={at.v2_factory.lower(): "uniswap-v2"})
    finder = LpFinder(chain, where, known, look_back=10**6)
    for _ in range(2):  # the second time its pairs are known
        readers, left_out = await finder.wallet(at.user, block=await chain.head())
        (item,) = (await positions_of(chain, readers)).values()
        assert left_out == []
        assert (item.kind, item.protocol, item.fee) == (ExposureKind.UNISWAP_V2, "uniswap-v2", 0.003)
        assert item.pool_address.lower() == at.v2_pair.lower()
    readers, _ = await finder.wallet(NOBODY, block=await chain.head())
    assert readers == []


@pytest.mark.devnet
async def test_a_configured_pair_is_read_once(chain: JsonRpcReader, at: Deployment) -> None:
    pair = Pool(
        label="v2:ETH/USDC",
        address=at.v2_pair,
        base="ETH",
        quote="USDC",
        base_token=at.weth,
        quote_token=at.usdc,
        base_decimals=18,
        quote_decimals=6,
    )
    known = KnownTokens(symbols={}, stables={at.usdc.lower()}, priced={at.weth.lower()})
    where = LpContracts(pairs=(pair,), factories={at.v2_factory.lower(): "uniswap-v2"})
    readers, _ = await LpFinder(chain, where, known, look_back=1).wallet(at.user, block=await chain.head())
    assert len(readers) == 1


@pytest.mark.devnet
async def test_without_known_tokens_token1_is_the_price(chain: JsonRpcReader, at: Deployment) -> None:
    finder = LpFinder(chain, contracts(at), NONE, look_back=10**6)
    readers, _ = await finder.wallet(at.user, block=await chain.head())
    (item,) = (await positions_of(chain, readers)).values()
    assert int(item.base.address, 16) < int(item.quote.address, 16)
    assert math.isnan(item.value_usd), "no price is made up, whatever the symbols say"


@pytest.mark.devnet
async def test_an_emptied_position_is_left_out_with_its_reason(
    chain: JsonRpcReader, at: Deployment, send
) -> None:
    finder = LpFinder(chain, contracts(at), vouched(at), look_back=10**6)
    (reader,), _ = await finder.wallet(at.user, block=await chain.head())
    (item,) = (await positions_of(chain, [reader])).values()
    leave = (at.user_v3_token_id, item.liquidity_raw, 0, 0, NEVER)
    await send(at.user, at.v3_position_manager, MANAGER.encode("decreaseLiquidity", leave))
    assert await finder.wallet(at.user, block=await chain.head()) == (
        [],
        [f"v3:{at.user_v3_token_id} holds no liquidity"],
    )
    (error,) = await read_positions(chain, [reader], block=await chain.head())
    assert isinstance(error, NotFoundError)
    assert "wait to be collected" in str(error), "what was withdrawn is not collected yet"


@pytest.mark.devnet
@pytest.mark.parametrize("text", ["v3:999", "v4:999"])
async def test_a_burned_position_is_not_found(
    text: str, chain: JsonRpcReader, at: Deployment, v4: V4Deployment
) -> None:
    finder = LpFinder(chain, contracts(at, v4), NONE, look_back=10**6)
    named = NamedPosition(text=text, kind=text[:2], token_id=999)
    with pytest.raises(NotFoundError, match=r"does not exist at 0x\w+.*may have been burned"):
        await finder.named(named, wallet=None, block=await chain.head())


@pytest.mark.devnet
async def test_v4_positions_are_found_by_their_transfers(
    chain: JsonRpcReader, at: Deployment, v4: V4Deployment, bench: Bench, send
) -> None:
    finder = LpFinder(chain, contracts(at, v4), vouched(at), look_back=10**6)
    readers, left_out = await finder.wallet(at.user, block=await chain.head())
    found = await positions_of(chain, readers)
    item = found[f"v4:{v4.user_token_id}"]
    assert left_out == []
    assert (item.kind, item.pool, item.base.symbol) == (ExposureKind.UNISWAP_V4, "v4:ETH/USDC", "ETH")
    assert item.base.address == NATIVE
    assert item.value == pytest.approx(300_000, rel=1e-3)
    assert item.owner == at.user
    assert item.fees >= 0
    assert exposure_of(item).group == "ETH/USDC"
    move = ERC20.encode("transferFrom", at.user, at.whale, v4.user_token_id)
    await send(at.user, v4.position_manager, move)
    readers, left_out = await finder.wallet(at.user, block=await chain.head())
    assert [reader.what for reader in readers] == [f"v3:{at.user_v3_token_id}"]
    assert left_out == [], "sent away: the transfer that brought it is no ownership"
    theirs, _ = await finder.wallet(at.whale, block=await chain.head())
    assert f"v4:{v4.user_token_id}" in {reader.what for reader in theirs}


@pytest.mark.devnet
async def test_v4_positions_from_before_the_look_back_are_said_to_be_missing(
    chain: JsonRpcReader, at: Deployment, v4: V4Deployment, send
) -> None:
    await send.wait(10)
    await send.wait(10)
    finder = LpFinder(chain, contracts(at, v4), vouched(at), look_back=1)
    _, left_out = await finder.wallet(at.user, block=await chain.head())
    assert len(left_out) == 1
    assert left_out[0].startswith("1 of 1 v4 positions came before block")
    assert "--look-back" in left_out[0]


@pytest.mark.devnet
async def test_an_emptied_v4_position_is_named(
    chain: JsonRpcReader, at: Deployment, v4: V4Deployment, bench: Bench
) -> None:
    finder = LpFinder(chain, contracts(at, v4), vouched(at), look_back=10**6)
    named = NamedPosition(text="v4", kind="v4", token_id=v4.user_token_id)
    reader = await finder.named(named, wallet=None, block=await chain.head())
    (item,) = (await positions_of(chain, [reader])).values()
    await withdraw_v4(bench, v4, owner=at.user, token_id=v4.user_token_id, liquidity_raw=item.liquidity_raw)
    (error,) = await read_positions(chain, [reader], block=await chain.head())
    assert str(error) == f"position v4:{v4.user_token_id} holds no liquidity any more"


@pytest.mark.devnet
async def test_the_fee_of_a_pair_is_known_by_its_configuration_or_its_factory(
    chain: JsonRpcReader, at: Deployment, v2_pool: Pool
) -> None:
    named = NamedPosition(text="v2", kind="v2", pair=at.v2_pair, holder=at.user)
    (factory,) = await chain.read([V2_PAIR.call("factory", at.v2_pair)], block=await chain.head())
    terms = {v2_pool.label: PairTerms(fee=0.0025, protocol="pancakeswap-v2")}
    cases = (
        ({}, math.nan, "a v2 fork that is not known"),
        ({"factories": {factory[0]: "sushi-v2"}}, 0.003, "sushi-v2"),
        ({"pairs": (v2_pool,), "terms": terms}, 0.0025, "pancakeswap-v2"),
        ({"terms": terms}, math.nan, "a v2 fork that is not known"),  # another pair of that label
    )
    for more, fee, protocol in cases:
        finder = LpFinder(chain, contracts(at, **more), vouched(at), look_back=10**6)
        reader = await finder.named(named, wallet=None, block=await chain.head())
        (found,) = (await positions_of(chain, [reader])).values()
        assert found.fee == pytest.approx(fee, nan_ok=True)
        assert found.protocol == protocol
    finder = LpFinder(chain, contracts(at, **cases[2][0]), vouched(at), look_back=10**6)
    readers, _ = await finder.wallet(at.user, block=await chain.head())
    assert (await positions_of(chain, readers))[f"v2:{at.v2_pair}"].fee == 0.0025


# -- staked ----------------------------------------------------------------------------------------------


@pytest.mark.devnet
@pytest.mark.parametrize("kind", ["gauge", "chef"])
async def test_staked_lp_tokens_are_those_of_the_holder(
    kind: str, chain: JsonRpcReader, at: Deployment, bench: Bench, send
) -> None:
    staker = await deploy_reference(bench, "LpStakers")
    pid = 3 if kind == "chef" else None
    finder = LpFinder(chain, contracts(at), vouched(at), look_back=10**6)
    named = NamedPosition(
        text="v2", kind="v2", pair=at.v2_pair, holder=at.user, staker=staker.address, pool_id=pid
    )
    reader = await finder.named(named, wallet=None, block=await chain.head())

    async def read():
        (found,) = await read_positions(chain, [reader], block=await chain.head())
        return found

    assert "does not say which token" in str(await read())
    (((held,),)) = await chain.read([ERC20.call("balanceOf", at.v2_pair, at.user)], block=await chain.head())
    await staker.send("setAmount", at.user, held // 2)
    await staker.send(*(("setPool", 3, at.usdc) if pid else ("setToken", at.usdc)))
    wrong = await read()
    assert isinstance(wrong, ConfigError)
    assert "is for the token" in str(wrong)
    await staker.send(*(("setPool", 3, at.v2_pair) if pid else ("setToken", at.v2_pair)))
    liar = await read()
    assert isinstance(liar, TransientError)
    assert "claims" in str(liar)
    await send(at.user, at.v2_pair, ERC20.encode("transfer", staker.address, held // 2))
    found = await read()
    assert isinstance(found, LpPosition), found
    assert (found.liquidity_raw, found.staker, found.owner) == (held // 2, staker.address, at.user)
    assert found.value == pytest.approx(200_000, rel=1e-6)
    await staker.send("setAmount", at.user, 0)
    assert isinstance(await read(), NotFoundError)


@pytest.mark.devnet
async def test_a_staked_nft_belongs_to_whom_the_staker_names(
    chain: JsonRpcReader, at: Deployment, bench: Bench, send
) -> None:
    staker = await deploy_reference(bench, "LpStakers")
    finder = LpFinder(chain, contracts(at), vouched(at), look_back=10**6)
    token_id = at.user_v3_token_id
    named = NamedPosition(text="v3", kind="v3", token_id=token_id, staker=staker.address)

    async def read(wallet=None):
        reader = await finder.named(named, wallet=wallet, block=await chain.head())
        (found,) = await read_positions(chain, [reader], block=await chain.head())
        return found

    assert "is not staked with" in str(await read())
    move = ERC20.encode("transferFrom", at.user, staker.address, token_id)
    await send(at.user, at.v3_position_manager, move)
    unknown = await read()
    assert isinstance(unknown, NotFoundError)
    assert "names no owner" in str(unknown)
    assert "--wallet" in str(unknown)
    await staker.send("setContains", at.user, token_id)
    assert isinstance(await read(at.whale), NotFoundError)
    by_name = await read(at.user)
    assert (by_name.owner, by_name.staker) == (at.user, staker.address)
    await staker.send("setOwner", token_id, at.trader)
    found = await read(at.user)
    assert found.owner == at.trader
    assert found.value == pytest.approx(599_883, rel=1e-4)
    assert found.fees == 0


@pytest.mark.devnet
async def test_an_address_that_is_no_pair_is_named(chain: JsonRpcReader, at: Deployment) -> None:
    finder = LpFinder(chain, contracts(at), NONE, look_back=10**6)
    block = await chain.head()
    for address, kind, words in (
        (NOBODY, ConfigError, "no code"),
        (at.usdc, TransientError, "did not answer"),
    ):
        named = NamedPosition(text="v2", kind="v2", pair=address, holder=at.user)
        with pytest.raises(kind, match=words):
            await finder.named(named, wallet=None, block=block)
    with pytest.raises(ConfigError, match="whose"):
        await finder.named(NamedPosition(text="v2:x", kind="v2", pair=at.v2_pair), wallet=None, block=block)


# -- tokens ----------------------------------------------------------------------------------------------


@pytest.mark.devnet
async def test_a_symbol_in_bytes32_is_read(chain: JsonRpcReader, bench: Bench) -> None:
    token = await deploy_reference(bench, "OddToken", 18, b"MKR".ljust(32, b"\0"))
    found = await read_tokens(chain, [token.address], NONE, block=await chain.head())
    assert found == {token.address.lower(): LpToken(symbol="MKR", address=token.address.lower(), decimals=18)}


@given(st.text(max_size=200))
def test_a_shown_symbol_is_short_and_printable(raw: str) -> None:
    shown = plain_symbol(raw)
    assert len(shown) <= MAX_SYMBOL
    assert shown.isprintable()
    assert not any(sign.isspace() for sign in shown)


async def test_a_symbol_of_a_megabyte_and_control_characters_are_cut() -> None:
    chain = TokenChain(symbol="\x1b[31mUSDC\u202e" + "A" * 1_000_000, decimals=6)
    (token,) = (await read_tokens(chain, [TOKEN], NONE, block=BLOCK)).values()
    assert token.symbol == ("[31mUSDC" + "A" * 32)[:32]


@pytest.mark.parametrize("decimals", [None, 37, 255])
async def test_decimals_that_cannot_be_are_unknown(decimals) -> None:
    (token,) = (await read_tokens(TokenChain("X", decimals), [TOKEN], NONE, block=BLOCK)).values()
    assert isinstance(token, Unknown)
    assert "decimals" in token.why


async def test_a_token_without_symbol_is_called_by_its_address() -> None:
    (token,) = (await read_tokens(TokenChain("\0\n", 18), [TOKEN], NONE, block=BLOCK)).values()
    assert token.symbol == "0x1111…1111"


def test_a_symbol_makes_no_stable() -> None:
    fake = LpToken(symbol="USDC", address=TOKEN, decimals=6)
    other = LpToken(symbol="X", address="0x" + "22" * 20, decimals=18)
    known = KnownTokens(symbols={}, stables=frozenset({"0x" + "33" * 20}))
    assert known.orient(fake, other) == (fake, other)
    vouched_for = dataclasses.replace(known, stables=frozenset({TOKEN}))
    assert vouched_for.orient(fake, other) == (other, fake)


class TokenChain(FakeChain):
    """One token; its symbol comes as a string."""

    def __init__(self, symbol: str, decimals: int | None) -> None:
        super().__init__({})
        self._symbol, self._decimals = symbol, decimals

    async def read(self, calls, *, block):
        values = {"string": (self._symbol,), "bytes32": None}
        decimals = None if self._decimals is None else (self._decimals,)
        return [values.get(call.outputs[0], decimals) for call in calls]
