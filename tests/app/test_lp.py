"""The LP monitor as a whole, on the devnet: what it finds, how it is priced, when it refreshes."""

import asyncio
import math
from pathlib import Path

import pytest

from bot.app.lp import LpChain, LpView, lp_now, node_chains, parse_request, watch_lp
from bot.app.lp_chain import configured_chains
from bot.chain.rpc import Rpc
from bot.devnet.config import write_config
from bot.devnet.deployment import Deployment
from bot.devnet.node import Devnet
from bot.errors import ConfigError, NotFoundError
from bot.settings import load_settings

pytestmark = pytest.mark.devnet


@pytest.fixture
def at(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
def configured(devnet: Devnet, tmp_path: Path) -> tuple[LpChain, ...]:
    path = write_config(devnet.deployment, rpc_url=devnet.rpc_url, directory=tmp_path)
    return configured_chains(load_settings(path))


@pytest.fixture
def bare(devnet: Devnet, at: Deployment) -> tuple[LpChain, ...]:
    return node_chains([devnet.rpc_url], poll_s=0.1, v3_manager=at.v3_position_manager)


def request(wallet: str | None = None, *positions: str, **more):
    return parse_request(wallet=wallet, positions=positions, **more)


async def test_a_configured_wallet_is_worth_its_dollars(configured, at: Deployment) -> None:
    view = await lp_now(configured, request(at.user))
    v3, v4, v2 = (f"v3:{at.user_v3_token_id}", f"v4:{at.user_v4_token_id}", f"v2:{at.v2_pair}")
    assert {row.position.id for row in view.rows} == {v3, v4, v2}
    fees = {row.position.id: row.position.fees_usd for row in view.rows}
    assert view.value_usd == pytest.approx(1_299_817, abs=1)
    assert view.unknown == ()
    assert fees[v3] == fees[v2] == 0
    assert view.fees_usd == fees[v4] == pytest.approx(9.85, abs=0.01)
    assert view.loss_hold_usd == pytest.approx(0, abs=0.01)
    assert all(row.position.usd_source == "USDC counts as 1 USD" for row in view.rows)


async def test_a_plain_node_is_enough_and_no_price_is_made_up(bare, at: Deployment) -> None:
    view = await lp_now(bare, request(at.user))
    (row,) = view.rows
    assert row.position.value == pytest.approx(599_883, abs=1)
    assert math.isnan(view.value_usd)
    assert len(view.unknown) == 1
    assert f"no price is known for USDC {at.usdc}" in view.unknown[0]


async def test_named_positions_need_no_wallet(bare, at: Deployment) -> None:
    names = [f"v3:{at.user_v3_token_id}", f"v2:{at.v2_pair}:{at.whale}", "v3:9999"]
    view = await lp_now(bare, request(None, *names, entry_prices=[f"v2:{at.v2_pair}=1470"]))
    v3, v2 = view.rows
    assert (v3.position.owner, v2.position.owner) == (at.user, at.whale)
    assert v2.position.deposits.source == "entry price 1,470"
    # 2 sqrt(2) / 3 - 1 when the price has doubled.
    assert v2.figures.loss_hold_share == pytest.approx(-0.0572, abs=1e-4)
    (chain,) = view.chains
    assert len(chain.left_out) == 1
    assert "v3:9999 does not exist" in chain.left_out[0]


async def test_nothing_at_all_is_not_found(bare) -> None:
    nobody = "0x" + "aa" * 20
    with pytest.raises(NotFoundError, match=r"holds no v3 or v4 position on chain 31337.*v2:PAIR"):
        await lp_now(bare, request(nobody))


async def test_a_chain_without_known_contracts_says_what_to_name(devnet: Devnet, at: Deployment) -> None:
    with pytest.raises(ConfigError, match=r"no position manager is known on chain 31337.*--v3-manager"):
        await lp_now(node_chains([devnet.rpc_url], poll_s=1), request(at.user))


async def test_one_chain_is_not_named_twice(devnet: Devnet, at: Deployment) -> None:
    with pytest.raises(ConfigError, match="two nodes are on chain 31337"):
        await lp_now(node_chains([devnet.rpc_url] * 2, poll_s=1), request(at.user))


async def test_a_position_of_a_chain_that_is_not_watched(bare, at: Deployment) -> None:
    with pytest.raises(ConfigError, match="chain 1 is not watched; there are 31337"):
        await lp_now(bare, request(None, "1/v3:4"))
    assert (await lp_now(bare, request(None, f"31337/v3:{at.user_v3_token_id}"))).rows


async def test_it_refreshes_with_each_block_and_deposits_come_in_time(
    bare, devnet: Devnet, at: Deployment
) -> None:
    stop = asyncio.Event()
    views: list[LpView] = []
    async with asyncio.timeout(60), Rpc(devnet.rpc_url, timeout_s=10) as rpc:
        async for view in watch_lp(bare, request(at.user), stop=stop):
            views.append(view)
            if math.isfinite(view.rows[0].figures.loss_hold_share):
                stop.set()
            else:
                await rpc.request("evm_mine")
    blocks = [view.chains[0].block.number for view in views]
    assert blocks == sorted(set(blocks))
    assert len(blocks) >= 2
    assert "looked for" in views[0].rows[0].position.deposits.why_unknown
    assert views[-1].rows[0].position.deposits.source == "logs"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v3:abc", "must be v3:TOKEN_ID"),
        ("v5:1", "must be"),
        ("v4:1@0x00000000000000000000000000000000000000Aa", "must be"),
        ("v2:0x12", "40 hex digits"),
        ("base/v3:1", "a chain id must stand before the slash"),
        ("v2:0x00000000000000000000000000000000000000Aa:3", "must be"),
        ("v2:0x00000000000000000000000000000000000000aA:0x12", "checksum"),
    ],
)
def test_a_position_that_cannot_be_read_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        request(None, text)
    assert repr(text) in str(refusal.value)


def test_a_token_id_that_is_as_long_as_a_key_is_refused_without_it() -> None:
    with pytest.raises(ConfigError, match=r"--position 'v3:\*\*\*': a token id is below 2\^256"):
        request(None, f"v3:{2**256}")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", "v3:1=", "v3:1=abc"])
def test_an_entry_price_is_a_price(text: str) -> None:
    with pytest.raises(ConfigError, match="--entry-price"):
        request(None, "v3:1", entry_prices=[text])


def test_without_wallet_and_position_there_is_nothing_to_show() -> None:
    with pytest.raises(ConfigError, match="--wallet"):
        request()


def test_plain_http_to_a_public_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="--rpc-url"):
        node_chains(["http://example.org/key-123456789"], poll_s=1)
