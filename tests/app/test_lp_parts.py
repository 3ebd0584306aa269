"""Pools and positions of every kind, from a configuration to what the engine gets, on the devnet."""

import asyncio
import math
from pathlib import Path

import pytest
from reference_contracts import deploy_reference
from settings_texts import GOOD, OTHER, write

from bot.app.lp_chain import LpChain, contracts_of
from bot.app.lp_parts import managers_of, one_position_reader, position_readers
from bot.app.parts import scheduled, watchers
from bot.app.plan import plan
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.config import write_config
from bot.devnet.deploy_bench import Bench
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import ConfigError
from bot.model.exposure import Exposure, ExposureKind
from bot.model.market import Metric
from bot.settings import Settings, load_settings
from bot.watchers.pools import ERC20
from bot.watchers.positions.staked import LpStaker, NftStaker
from bot.watchers.uniswap_v2 import UniswapV2Watcher
from bot.watchers.uniswap_v4 import UniswapV4Watcher

ETH, USDC, TOKEN = "0x" + "00" * 20, "0x" + "22" * 20, "0x" + "33" * 20
V4_POOL = f"""
[[pools]]
label = "v4:ETH/USDC"
kind = "uniswap_v4"
base = "{ETH}"
quote = "{USDC}"
base_decimals = 18
quote_decimals = 6
fee = 500
tick_spacing = 10
"""
PAIR = f"""
[[pools]]
label = "v2:ETH/USDC"
kind = "uniswap_v2"
address = "{TOKEN}"
base = "0x{"11" * 20}"
quote = "{USDC}"
base_decimals = 18
quote_decimals = 6
"""
V3_POOL = PAIR.replace("v2", "v3")
MANAGERS = f"""
[managers]
v4_position_manager = "0x{"44" * 20}"
v4_pool_manager = "0x{"55" * 20}"
"""


def position(**keys: object) -> str:
    lines = (f"{key} = {value!r}" for key, value in keys.items())
    return "\n[[positions]]\n" + "\n".join(lines) + "\n"


V4 = {"kind": "uniswap_v4", "pool": "v4:ETH/USDC", "token_id": 7}
V3 = {"kind": "uniswap_v3", "pool": "v3:ETH/USDC", "token_id": 7}
V2 = {"kind": "uniswap_v2", "pool": "v2:ETH/USDC", "holder": TOKEN}


# -- what the settings take ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (V4_POOL.replace("fee = 500\n", ""), r"pools\.0: uniswap_v4 needs fee"),
        (V4_POOL.replace("tick_spacing = 10\n", ""), r"pools\.0: uniswap_v4 needs tick_spacing"),
        (V4_POOL.replace('"v4:', '"v3:'), r"pools\.0: label v3:ETH/USDC is of v3 and kind is uniswap_v4"),
        (V4_POOL + f'address = "{TOKEN}"', r"pools\.0: address means nothing for uniswap_v4; remove it"),
        (V4_POOL.replace("= 500", "= 8388609"), r"pools\.0\.fee: .*8388608"),
        (PAIR.replace(f'address = "{TOKEN}"\n', ""), r"pools\.0: uniswap_v2 needs address"),
        (PAIR + "tick_spacing = 10", r"pools\.0: tick_spacing means nothing for uniswap_v2"),
        (PAIR + "fee = 1000000", r"pools\.0: fee must be below 1000000 millionths, was 1000000"),
        (V3_POOL + "fee = 500", r"pools\.0: fee means nothing for uniswap_v3"),
        (PAIR.replace("0x" + "11" * 20, ETH), r"pools\.0: only uniswap_v4 holds the chain's own coin"),
        (PAIR + 'protocol = "Sushi v2"', r"pools\.0\.protocol"),
        ('[managers]\nv4_state_view = "0x' + "44" * 20 + '"', r"v4_state_view needs v4_position_manager"),
        (V4_POOL + position(**V4, entry_price=0.0), r"positions\.0\.entry_price"),
        (V4_POOL + position(**V4, look_back=0), r"positions\.0\.look_back"),
    ],
)
def test_a_pool_that_cannot_be_is_refused_by_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(write(tmp_path, GOOD + text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (V4_POOL + position(**V4), r"needs managers\.v4_position_manager; none is known on chain 31337"),
        (V4_POOL + MANAGERS + position(**(V4 | {"kind": "uniswap_v3"})), "is a uniswap_v4, the position a"),
        (V4_POOL + MANAGERS + position(**V4, staker=TOKEN), "staker means nothing for a uniswap_v4"),
        (V4_POOL + MANAGERS + position(**V4, pid=1), "pid means nothing for a uniswap_v4 position without"),
        (V4_POOL + MANAGERS + position(kind="uniswap_v4", pool="v4:ETH/USDC"), "v4 position .* a token_id"),
        (V3_POOL + position(**V3), r"needs managers\.v3_position_manager; none is known"),
        (V3_POOL + position(**V3, holder=TOKEN), "holder means nothing .* without a staker; remove it"),
        (PAIR + position(**V2, token_id=1), "token_id means nothing for a uniswap_v2 position"),
        (PAIR + position(**V2, pid=1), "pid means nothing for a uniswap_v2 position without a staker"),
        (PAIR + position(kind="uniswap_v2", pool="v2:ETH/USDC", staker=TOKEN), "needs a holder"),
        (PAIR + position(**(V2 | {"pool": "v2:BTC/USDC"})), "'v2:BTC/USDC' is not configured; there are v2"),
        (PAIR + OTHER + position(**V2, chain=42161), "is on chain 31337, the position on 42161"),
    ],
)
def test_a_position_that_is_not_complete_is_refused(tmp_path: Path, text: str, message: str) -> None:
    settings = load_settings(write(tmp_path, GOOD + text))
    with pytest.raises(ConfigError, match=message):
        position_readers(settings, settings.chain_of(settings.positions[0]))


def test_staked_positions_are_read_through_their_staker(tmp_path: Path) -> None:
    managers = f'[managers]\nv3_position_manager = "{TOKEN}"\n'
    tables = [
        position(**V2, staker=USDC),
        position(**V2, staker=USDC, pid=3),
        position(**V3, staker=USDC),
        position(**V3, staker=USDC, holder=TOKEN),
    ]
    settings = load_settings(write(tmp_path, "".join([GOOD, PAIR, V3_POOL, managers, *tables])))
    assert [reader.staker for reader in position_readers(settings)] == [
        LpStaker(address=USDC),
        LpStaker(address=USDC, pool_id=3),
        NftStaker(address=USDC),
        NftStaker(address=USDC, depositor=TOKEN),
    ]


def test_a_fork_has_its_own_fee_and_name(tmp_path: Path) -> None:
    fork = PAIR + 'fee = 2500\nprotocol = "pancakeswap-v2"\n'
    settings = load_settings(write(tmp_path, GOOD + fork + position(**V2)))
    (watcher,) = (item for item in watchers(settings) if isinstance(item, UniswapV2Watcher))
    assert (watcher.fee, watcher.protocol) == (0.0025, "pancakeswap-v2")
    (reader,) = position_readers(settings)
    assert (reader.fee, reader.protocol) == (0.0025, "pancakeswap-v2")
    (plain,) = position_readers(load_settings(write(tmp_path, GOOD + PAIR + position(**V2))))
    assert (plain.fee, plain.protocol) == (0.003, "uniswap-v2")
    contracts = contracts_of(31337, LpChain(chain_id=31337, settings=settings))
    assert contracts.terms["v2:ETH/USDC"].fee == 0.0025


def test_other_chains_use_the_known_deployments_and_forks_are_not_mixed_with_them(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, GOOD + OTHER + V4_POOL + "chain = 42161" + MANAGERS))
    (watcher,) = watchers(settings, 42161)
    assert isinstance(watcher, UniswapV4Watcher)
    assert watcher.pool.manager == "0x360E68faCcca8cA495c1B759Fd9EEe466db9FB32"
    assert watcher.pool.state_view == "0x76Fd297e2D437cd7f76d50F01AfE6160f86e9990"
    home = load_settings(write(tmp_path, GOOD.replace("31337", "1") + MANAGERS))
    found = managers_of(home, 1)
    assert found.v4_pool_manager == "0x" + "55" * 20
    assert found.v4_state_view is None, "the StateView of another PoolManager"
    assert found.v3_position_manager == "0xC36442b4a4522E871399CD717aBDD847Ab11FE88"


def test_a_v4_pool_of_two_stables_is_refused(tmp_path: Path) -> None:
    text = V4_POOL.replace("v4:ETH", "v4:DAI") + MANAGERS
    with pytest.raises(ConfigError, match="v4:DAI/USDC: a v4 pool keeps no average price"):
        watchers(load_settings(write(tmp_path, GOOD + text)))


def test_a_source_of_pools_with_contracts_takes_no_v4_pool(tmp_path: Path) -> None:
    watch = '\n[[watch]]\nkind = "twap_vol"\npool = "v4:ETH/USDC"\n'
    with pytest.raises(ConfigError, match=r"watch\.0\.pool: pool v4:ETH/USDC has no contract of its own"):
        load_settings(write(tmp_path, GOOD + V4_POOL + MANAGERS + watch))


def test_pools_are_told_apart_by_kind_not_by_label(tmp_path: Path) -> None:
    text = PAIR.replace('"v2:', '"v2.sushi:') + V3_POOL.replace('"v3:', '"v3.low:')
    settings = load_settings(write(tmp_path, GOOD + text))
    found = contracts_of(31337, LpChain(chain_id=31337, settings=settings))
    assert [pool.label for pool in found.pools] == ["v3.low:ETH/USDC"]
    assert [pool.label for pool in found.pairs] == ["v2.sushi:ETH/USDC"]


# -- on the devnet ---------------------------------------------------------------------------------------


@pytest.fixture
def at(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
async def chain(rpc: Rpc, at: Deployment) -> JsonRpcReader:
    return await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)


@pytest.fixture
def configure(devnet: Devnet, at: Deployment, tmp_path: Path):
    """Returns the devnet's settings with v4 and these positions in place of its own."""

    def make(*tables: str) -> Settings:
        path = write_config(at, rpc_url=devnet.rpc_url, directory=tmp_path)
        head, *others = path.read_text().split("[[positions]]")
        tail = others[-1][others[-1].index("[account]") :]
        text = head + "".join(tables) + tail
        if "v4:ETH/USDC" not in head:
            text += V4_POOL.replace(USDC, at.usdc)
        if "v4_pool_manager" not in head:
            keys = {"v4_pool_manager": at.v4_pool_manager}
            if "v4_position_manager" not in head:
                keys |= {
                    "v4_position_manager": at.v4_position_manager,
                    "v4_state_view": at.v4_state_view,
                }
            lines = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
            text = text.replace("[managers]\n", "[managers]\n" + lines)
        path.write_text(text)
        return load_settings(path)

    return make


async def settled(chain: JsonRpcReader, reader) -> Exposure:
    """Read until the deposits came, at one block: they are never waited for."""
    block = await chain.head()
    async with asyncio.timeout(20):
        while True:
            (found,) = await reader.read(chain, block=block)
            if math.isfinite(found.held_units):
                return found
            await asyncio.sleep(0.01)


@pytest.mark.devnet
async def test_a_v4_position_is_protected_like_any_other(configure, chain, at: Deployment) -> None:
    settings = configure(position(**(V4 | {"token_id": at.user_v4_token_id}), entry_price=2000.0))
    (reader,) = position_readers(settings, with_deposits=True)
    (found,) = await reader.read(chain, block=await chain.head())
    assert (found.kind, found.protocol, found.group) == (ExposureKind.UNISWAP_V4, "uniswap-v4", "ETH/USDC")
    assert (found.id, found.pool) == (f"v4:{at.user_v4_token_id}", "v4:ETH/USDC")
    assert found.value_usd == pytest.approx(300_000, rel=0.01)
    assert found.held_units > 0
    assert found.held_stable > 0
    (watcher,) = (item.watcher for item in scheduled(settings) if "uniswap_v4" in item.watcher.name)
    block = await chain.head()
    rows = await watcher.read(chain, block=block, read_at_s=float(block.timestamp_s))
    assert {row.subject for row in rows} == {"v4:ETH/USDC"}
    prices = [row.value for row in rows if row.metric is Metric.POOL_PRICE_USD]
    assert prices == pytest.approx([found.spot_usd])
    assert all(math.isfinite(row.value) for row in rows), [row.why_unknown for row in rows]


@pytest.mark.devnet
async def test_a_plan_of_a_named_v4_position(configure, at: Deployment) -> None:
    made = await plan(configure(), positions=[f"v4:{at.user_v4_token_id}"], wallet=None)
    (exposure,) = made.exposures
    assert exposure.kind is ExposureKind.UNISWAP_V4
    assert {item.group for item in made.protections} == {"ETH/USDC"}
    assert any(item.legs for item in made.protections)
    with pytest.raises(ConfigError, match="'v4:x': a whole number must follow v4:"):
        await plan(configure(), positions=["v4:x"], wallet=None)


@pytest.mark.devnet
async def test_a_plan_of_a_wallet_says_that_v4_is_not_looked_for(configure, at: Deployment) -> None:
    made = await plan(configure(), positions=[], wallet=at.user)
    assert {item.kind for item in made.exposures} == {ExposureKind.UNISWAP_V2, ExposureKind.UNISWAP_V3}
    assert any("v4 positions are not looked for in a wallet" in line for line in made.left_out)


@pytest.mark.devnet
async def test_deposits_come_in_the_background_and_are_read_again_when_something_happened(
    configure, chain, at: Deployment, rpc: Rpc
) -> None:
    settings = configure(
        position(kind="uniswap_v3", pool="v3:ETH/USDC", token_id=at.user_v3_token_id),
        position(kind="uniswap_v2", pool="v2:ETH/USDC", holder=at.user),
    )
    v3, v2 = position_readers(settings, with_deposits=True)
    (first,) = await v3.read(chain, block=await chain.head())
    assert math.isnan(first.held_units), "the first read waits for no logs"
    assert math.isnan(first.fee_income_30d_usd)
    found = await settled(chain, v3)
    assert found.held_units * found.spot_usd + found.held_stable == pytest.approx(found.value_usd, rel=1e-6)
    assert found.fee_income_30d_usd == pytest.approx(found.fees_uncollected_usd)
    pair = await settled(chain, v2)
    assert pair.held_units * pair.spot_usd + pair.held_stable == pytest.approx(pair.value_usd, rel=1e-6)
    assert math.isnan(pair.fee_income_30d_usd), "a pair's fees are in its reserves and nobody counts them"
    half = ERC20.encode("transfer", at.trader, await _balance(chain, at) // 2)
    await _send(rpc, at.user, at.v2_pair, half)
    (moved,) = await v2.read(chain, block=await chain.head())
    assert math.isnan(moved.held_units), "what was read was of twice as much"
    less = await settled(chain, v2)
    assert less.held_units == pytest.approx(pair.held_units / 2, rel=1e-9)


@pytest.mark.devnet
async def test_a_staked_pair_is_one_exposure_beside_what_is_held(
    configure, chain, at: Deployment, rpc: Rpc, cache_dir: Path
) -> None:
    bench = Bench(rpc, fetch(cache_dir), at.accounts)
    staker = await deploy_reference(bench, "LpStakers")
    held = await _balance(chain, at)
    await staker.send("setPool", 3, at.v2_pair)
    await staker.send("setAmount", at.user, held // 4)
    await _send(rpc, at.user, at.v2_pair, ERC20.encode("transfer", staker.address, held // 4))
    own = {"kind": "uniswap_v2", "pool": "v2:ETH/USDC", "holder": at.user}
    settings = configure(position(**own), position(**own, staker=staker.address, pid=3))
    block = await chain.head()
    exposures = [(await item.read(chain, block=block))[0] for item in position_readers(settings)]
    assert [item.id for item in exposures] == ["v2:ETH/USDC", f"v2:ETH/USDC@{staker.address}"]
    assert exposures[1].value_usd == pytest.approx(exposures[0].value_usd / 3, rel=1e-6)


@pytest.mark.devnet
async def test_a_staked_nft_is_protected(configure, chain, at: Deployment, rpc: Rpc, cache_dir: Path) -> None:
    bench = Bench(rpc, fetch(cache_dir), at.accounts)
    staker = await deploy_reference(bench, "LpStakers")
    token_id = at.user_v3_token_id
    move = ERC20.encode("transferFrom", at.user, staker.address, token_id)
    await _send(rpc, at.user, at.v3_position_manager, move)
    await staker.send("setContains", at.user, token_id)
    table = {"kind": "uniswap_v3", "pool": "v3:ETH/USDC", "token_id": token_id, "holder": at.user}
    settings = configure(position(**table, staker=staker.address))
    (item,) = settings.positions
    (found,) = await one_position_reader(settings, item).read(chain, block=await chain.head())
    assert found.id == f"v3:{token_id}"
    assert found.value_usd == pytest.approx(599_883, rel=1e-3)


async def _balance(chain: JsonRpcReader, at: Deployment) -> int:
    calls = [ERC20.call("balanceOf", at.v2_pair, at.user)]
    (found,) = await chain.read(calls, block=await chain.head())
    assert found is not None
    return int(found[0])


async def _send(rpc: Rpc, sender: str, to: str, data: bytes) -> None:
    body = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(10**6)}
    tx_hash = await rpc.request("eth_sendTransaction", [body], send=True)
    receipt = None
    while receipt is None:
        receipt = await rpc.read("eth_getTransactionReceipt", [tx_hash])
    assert receipt["status"] == "0x1"
