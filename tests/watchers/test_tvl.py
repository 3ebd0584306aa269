"""Balances of a holder."""

import math

import pytest
from fake_chain import BLOCK, FakeChain

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.errors import ConfigError
from bot.watchers.tvl import Token, TvlWatcher

ERC20 = Abi.load("ERC20")
HOLDER = "0x" + "55" * 20
USDC = Token(symbol="USDC", address="0x" + "66" * 20, decimals=6)


@pytest.mark.devnet
async def test_a_donation_and_a_withdrawal_show(chain: JsonRpcReader, at: Deployment, send) -> None:
    tokens = (
        Token(symbol="ETH", address=at.weth, decimals=18),
        Token(symbol="USDC", address=at.usdc, decimals=6),
    )
    watcher = TvlWatcher(label="vault", holder=at.v2_pair, tokens=tokens)
    before = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    await send.give_weth(at.trader, at, 3 * 10**18)
    await send(at.trader, at.weth, ERC20.encode("transfer", at.v2_pair, 3 * 10**18))
    after = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    assert [row.subject for row in after] == ["vault/ETH", "vault/USDC"]
    assert after[0].value - before[0].value == pytest.approx(3.0, abs=1e-9)
    assert after[1].value == before[1].value


@pytest.mark.parametrize(("balance", "decimals"), [(None, (6,)), ((5,), None), ((5,), (18,))])
async def test_what_cannot_be_read_is_unknown(balance: tuple | None, decimals: tuple | None) -> None:
    chain = FakeChain({ERC20.encode("balanceOf", HOLDER): balance, ERC20.encode("decimals"): decimals})
    (row,) = await TvlWatcher(label="vault", holder=HOLDER, tokens=(USDC,)).read(
        chain, block=BLOCK, read_at_s=0.0
    )
    assert math.isnan(row.value)
    assert "USDC" in row.why_unknown


async def test_more_than_any_token_has_is_unknown() -> None:
    chain = FakeChain({ERC20.encode("balanceOf", HOLDER): (2**256 - 1,), ERC20.encode("decimals"): (6,)})
    (row,) = await TvlWatcher(label="vault", holder=HOLDER, tokens=(USDC,)).read(
        chain, block=BLOCK, read_at_s=0.0
    )
    assert math.isnan(row.value)
    assert "no amount of a token" in row.why_unknown


async def test_an_empty_holder_is_known_to_hold_nothing() -> None:
    chain = FakeChain({ERC20.encode("balanceOf", HOLDER): (0,), ERC20.encode("decimals"): (6,)})
    (row,) = await TvlWatcher(label="vault", holder=HOLDER, tokens=(USDC,)).read(
        chain, block=BLOCK, read_at_s=0.0
    )
    assert (row.value, row.why_unknown) == (0.0, "")


@pytest.mark.parametrize("tokens", [(), (USDC, USDC)])
def test_tokens_must_be_told_apart(tokens: tuple[Token, ...]) -> None:
    with pytest.raises(ConfigError, match="TVL of vault"):
        TvlWatcher(label="vault", holder=HOLDER, tokens=tokens)
