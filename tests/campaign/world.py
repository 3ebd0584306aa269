"""Moves of the devnet's market that cases make while a transaction is under way, and what undoes them."""

from collections.abc import Mapping
from typing import Any

from eth_utils.crypto import keccak

from bot.devnet.moves import lyra
from bot.devnet.moves.pools import SLOT0, SLOT0_OUTPUTS, UNLIMITED, stable_market
from bot.devnet.moves.wire import Tx, View, calldata, read_all
from campaign.pool import Pooled
from campaign.rig import Rig

GAS = 600_000
MEANS_RAW = 10_000_000  # whole tokens of each stable, for who moves the pool


async def feed_price(rig: Rig) -> float:
    """Return what the Chainlink feed answers, USD."""
    kinds = ("uint80", "int256", "uint256", "uint256", "uint80")
    view = View(rig.at.feed_eth_usd, "latestRoundData()", (), kinds)
    ((_, answer, *_),) = await read_all(rig.chain, rig.at.multicall3, [view])
    return float(answer) / 1e8


async def pool_price(rig: Rig) -> int:
    """Return the root price of the pool that changes stables."""
    view = View(rig.at.stable_pool, SLOT0, (), SLOT0_OUTPUTS)
    ((root, *_),) = await read_all(rig.chain, rig.at.multicall3, [view])
    return int(root)


async def fund_trader(rig: Rig) -> None:
    """Give the trader both stables, and the router leave to take them."""
    at = rig.at
    for token, decimals in ((at.usdc, 6), (at.susd, 18)):
        mint = calldata("mint(address,uint256)", at.trader, MEANS_RAW * 10**decimals)
        await rig.send(_tx("mint", at.deployer, token, mint))
        leave = calldata("approve(address,uint256)", at.v3_router, UNLIMITED)
        await rig.send(_tx("approve", at.trader, token, leave))


async def pool_moves(rig: Rig, shift: float) -> tuple[Tx, Tx]:
    """Return a swap that makes sUSD dearer by ``shift`` (0.01: 1 %), and the one that puts it back."""
    market, root = stable_market(rig.at), await pool_price(rig)
    ratio = (root / 2**96) ** 2
    raw = ratio if market.is_unit_token0 else 1.0 / ratio
    price = raw * 10 ** (market.unit_decimals - market.pricing_decimals)
    (out,) = market.swap(rig.at, sqrt_now=root, price=price * (1.0 + shift))
    moved = market.sqrt_price_x96(price * (1.0 + shift))
    (back,) = market.swap(rig.at, sqrt_now=moved, price=price)
    return out, back


async def boards_frozen(rig: Rig, is_frozen: bool) -> list[Tx]:
    """Return what freezes all of Lyra's boards, or thaws them."""
    ((boards,),) = await read_all(rig.chain, rig.at.multicall3, [lyra.live_boards_view(rig.at)])
    return [
        _tx(
            "freeze",
            rig.at.deployer,
            rig.at.lyra_option_market,
            calldata("setBoardFrozen(uint256,bool)", board, is_frozen),
        )
        for board in boards
    ]


async def take_tokens(rig: Rig, token: str, amount_raw: int) -> Tx:
    """Take tokens away from the account; return what gives them back."""
    at = rig.at
    await rig.send(_tx("burn", at.deployer, token, calldata("burn(address,uint256)", at.user, amount_raw)))
    return _tx("mint", at.deployer, token, calldata("mint(address,uint256)", at.user, amount_raw))


async def balance_raw(rig: Rig, token: str, *, owner: str = "") -> int:
    view = View(token, "balanceOf(address)", (owner or rig.at.user,), ("uint256",))
    ((found,),) = await read_all(rig.chain, rig.at.multicall3, [view])
    return int(found)


async def quoted_raw(rig: Rig, swap: Pooled) -> int:
    """Return what a signed exactInputSingle of the account would bring now, asked of the pool itself."""
    call = {"from": swap.sender, "to": swap.to, "data": swap.data, "gas": hex(swap.gas)}
    return int(await rig.chain.request("eth_call", [call, "latest"]), 16)


def received_raw(rig: Rig, receipt: Mapping[str, Any]) -> int:
    """Return how much of the settlement token a transaction brought to the account."""
    topic = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
    own = rig.at.user[2:].lower()
    return sum(
        int(item["data"], 16)
        for item in receipt["logs"]
        if item["address"].lower() == rig.at.susd.lower()
        and item["topics"][0] == topic
        and item["topics"][2].endswith(own)
    )


def _tx(purpose: str, sender: str, to: str, data: str) -> Tx:
    return Tx(purpose=purpose, sender=sender, to=to, data=data, gas=GAS)
