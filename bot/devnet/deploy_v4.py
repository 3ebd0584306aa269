"""Uniswap v4: PoolManager, lenses and position manager, one ETH/USDC pool with liquidity, and swaps in it.

ETH is the chain's own coin here, not WETH. Positions pay from what lies in the position manager, which is
one of the ways its router offers, so Permit2 is not deployed; nor is the art of the NFTs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, log, sqrt

from eth_abi.abi import encode

from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED
from bot.errors import InvariantError
from bot.watchers.uniswap_v4 import V4Pool
from bot.watchers.v4_pools import NATIVE

FEE = 500  # millionths: 0.05 %
TICK_SPACING = 10
USER_USD = 300_000.0
USER_RANGE_USD = (1470.0, 5880.0)
_WHALE_USD = 20_000_000.0
_WHALE_RANGE_USD = (294.0, 29_400.0)
_TRADED_ETH = 100
_NEVER = 2**40
_PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"  # where it lies on public chains; no code here
_UNSUBSCRIBE_GAS = 300_000
_KEY = "(address,address,uint24,int24,address)"

# Actions.sol of v4-periphery.
_DECREASE_LIQUIDITY, _MINT_POSITION, _SETTLE, _TAKE_PAIR, _SWEEP = 0x01, 0x02, 0x0B, 0x11, 0x14
_OPEN_DELTA = 0  # ActionConstants.sol: all that is owed
# TickMath of v4-core: a swap may be limited to what lies between its ends.
_LOWEST_LIMIT = 4_295_128_740
_HIGHEST_LIMIT = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_341


@dataclass(frozen=True, slots=True, kw_only=True)
class V4Deployment:
    """Where Uniswap v4 lies, and the NFT ids of two positions in its ETH/USDC pool."""

    manager: str
    state_view: str
    position_manager: str
    quoter: str
    swap_router: str  # PoolSwapTest of v4-core
    usdc: str
    user_token_id: int
    whale_token_id: int
    fee: int = FEE
    tick_spacing: int = TICK_SPACING

    @property
    def pool(self) -> V4Pool:
        """The ETH/USDC pool as a watcher is configured on it."""
        return V4Pool(
            label="v4:ETH/USDC",
            manager=self.manager,
            state_view=self.state_view,
            base="ETH",
            quote="USDC",
            base_token=NATIVE,
            quote_token=self.usdc,
            base_decimals=18,
            quote_decimals=6,
            fee=self.fee,
            tick_spacing=self.tick_spacing,
        )


async def deploy_v4(
    bench: Bench, *, usdc: str, price_usd: float, user: str, whale: str, trader: str
) -> V4Deployment:
    """Deploy everything, give ``whale`` and ``user`` a position each, and let ``trader`` make them fees.

    ``usdc`` must let the deployer mint; the ETH is paid by each of the three. The pool ends at ``price_usd``.
    """
    manager = await bench.deploy("PoolManager", bench.deployer)
    positions = await bench.deploy(
        "PositionManager", manager.address, _PERMIT2, _UNSUBSCRIBE_GAS, NATIVE, NATIVE
    )
    found = V4Deployment(
        manager=manager.address,
        state_view=(await bench.deploy("StateView", manager.address)).address,
        position_manager=positions.address,
        quoter=(await bench.deploy("V4Quoter", manager.address)).address,
        swap_router=(await bench.deploy("PoolSwapTest", manager.address)).address,
        usdc=usdc,
        whale_token_id=1,
        user_token_id=2,
    )
    start = isqrt((round(price_usd * 10**6) << 192) // 10**18)
    await manager.send("initialize", found.pool.key, start)
    for owner, value_usd, span, expected in (
        (whale, _WHALE_USD, _WHALE_RANGE_USD, found.whale_token_id),
        (user, USER_USD, USER_RANGE_USD, found.user_token_id),
    ):
        token_id = await mint_v4(
            bench, found, owner=owner, price_usd=price_usd, value_usd=value_usd, range_usd=span
        )
        if token_id != expected:
            raise InvariantError(
                f"a new position manager gave its position the id {token_id}, not {expected}"
            )
    usdc_token = bench.at("TestERC20SetDecimals", usdc)
    await usdc_token.send("mint", trader, round(2 * _TRADED_ETH * price_usd * 10**6))
    await swap_v4(bench, found, sender=trader, sell_eth=True, amount_raw=_TRADED_ETH * 10**18)
    back_raw = round(2 * _TRADED_ETH * price_usd * 10**6)  # more than it takes: the limit ends it
    await swap_v4(bench, found, sender=trader, sell_eth=False, amount_raw=back_raw, limit=start)
    return found


async def mint_v4(
    bench: Bench, v4: V4Deployment, *, owner: str, price_usd: float, value_usd: float,
    range_usd: tuple[float, float],
) -> int:  # fmt: skip
    """Mint ``owner`` a position of ``value_usd`` over a range; return its NFT id. ``owner`` pays the ETH."""
    positions = bench.at("PositionManager", v4.position_manager)
    usdc = bench.at("TestERC20SetDecimals", v4.usdc)
    low, high = range_usd
    eth, stable = 1 / sqrt(price_usd) - 1 / sqrt(high), sqrt(price_usd) - sqrt(low)
    liquidity = value_usd / (eth * price_usd + stable)
    await usdc.send("mint", v4.position_manager, round(liquidity * stable * 1.01 * 10**6))
    token_id = int(await positions.call("nextTokenId"))
    lower, upper = (usable_tick(price) for price in range_usd)
    any_amount = 2**128 - 1
    mint = encode(
        [_KEY, "int24", "int24", "uint256", "uint128", "uint128", "address", "bytes"],
        [v4.pool.key, lower, upper, round(liquidity * 10**12), any_amount, any_amount, owner, b""],
    )
    pay = [
        (_SETTLE, encode(["address", "uint256", "bool"], [token, _OPEN_DELTA, False]))
        for token in v4.pool.key[:2]
    ]
    rest = [(_SWEEP, encode(["address", "address"], [token, owner])) for token in v4.pool.key[:2]]
    value_wei = round(liquidity * eth * 1.01 * 10**18)
    await _act(positions, [(_MINT_POSITION, mint), *pay, *rest], sender=owner, value_wei=value_wei)
    return token_id


async def withdraw_v4(
    bench: Bench, v4: V4Deployment, *, owner: str, token_id: int, liquidity_raw: int
) -> None:
    """Take liquidity out of a position, its fees with it; 0 takes the fees alone."""
    positions = bench.at("PositionManager", v4.position_manager)
    less = encode(["uint256", "uint256", "uint128", "uint128", "bytes"], [token_id, liquidity_raw, 0, 0, b""])
    take = encode(["address", "address", "address"], [*v4.pool.key[:2], owner])
    await _act(positions, [(_DECREASE_LIQUIDITY, less), (_TAKE_PAIR, take)], sender=owner)


async def swap_v4(
    bench: Bench, v4: V4Deployment, *, sender: str, sell_eth: bool, amount_raw: int, limit: int | None = None
) -> None:
    """Sell an exact amount of ETH or USDC, at most to the sqrtPriceX96 ``limit``."""
    if not sell_eth:
        usdc = bench.at("TestERC20SetDecimals", v4.usdc)
        await usdc.send("approve", v4.swap_router, UNLIMITED, sender=sender)
    end = _LOWEST_LIMIT if sell_eth else _HIGHEST_LIMIT
    await bench.at("PoolSwapTest", v4.swap_router).send(
        "swap", v4.pool.key, (sell_eth, -amount_raw, limit or end), (False, False), b"",
        sender=sender, value_wei=amount_raw if sell_eth else 0,
    )  # fmt: skip


def usable_tick(price_usd: float) -> int:
    """Return the usable tick nearest to a price of ETH in USDC; ETH is always token0."""
    return round(log(price_usd * 1e-12) / log(1.0001) / TICK_SPACING) * TICK_SPACING


async def _act(
    positions: Contract, actions: Sequence[tuple[int, bytes]], *, sender: str, value_wei: int = 0
) -> None:
    plan = encode(
        ["bytes", "bytes[]"], [bytes(action for action, _ in actions), [data for _, data in actions]]
    )
    await positions.send("modifyLiquidities", plan, _NEVER, sender=sender, value_wei=value_wei)
