"""Uniswap v2 and v3 with liquidity, and the user's LP positions."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, log, sqrt
from typing import Any

from eth_utils.crypto import keccak

from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED, Tokens
from bot.errors import InvariantError

FEE_VOLATILE = 500  # hundredths of a basis point: 0.05 %
FEE_STABLE = 100  # 0.01 %
_TICK_SPACING = {FEE_STABLE: 1, FEE_VOLATILE: 10}
_CARDINALITY = 300  # two weeks of hourly observations; anvil hashes every slot at every block
_NEVER = 2**40
_NOBODY = "0x" + "00" * 20
_INCREASE_LIQUIDITY = "0x" + keccak(text="IncreaseLiquidity(uint256,uint128,uint256,uint256)").hex()


@dataclass(frozen=True, kw_only=True)
class UniswapV2:
    """The v2 contracts."""

    factory: Contract
    router: Contract
    pair: str


@dataclass(frozen=True, kw_only=True)
class UniswapV3:
    """The v3 contracts."""

    factory: Contract
    router: Contract
    quoter: Contract
    positions: Contract
    tick_lens: Contract

    @property
    def addresses(self) -> dict[str, Any]:
        """Return where each lies, by the name that a deployment has for it."""
        return {
            "v3_factory": self.factory.address,
            "v3_router": self.router.address,
            "v3_quoter": self.quoter.address,
            "v3_position_manager": self.positions.address,
            "v3_tick_lens": self.tick_lens.address,
        }


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A v3 pool of two tokens in pool order."""

    address: str
    fee: int
    token0: Contract
    token1: Contract
    decimals0: int
    decimals1: int
    is_unit_token0: bool  # the priced token; else it is token1

    def tick(self, price: float) -> int:
        """Usable tick of a price in units of the pricing token per priced token."""
        raw = price if self.is_unit_token0 else 1 / price
        raw *= 10.0 ** (self.decimals1 - self.decimals0)
        spacing = _TICK_SPACING[self.fee]
        return round(log(raw) / log(1.0001) / spacing) * spacing

    def ordered(self, unit: int, pricing: int) -> tuple[int, int]:
        """(token0, token1) of two raw amounts."""
        return (unit, pricing) if self.is_unit_token0 else (pricing, unit)


async def deploy_v2(bench: Bench, tokens: Tokens) -> UniswapV2:
    """Factory, router and an empty WETH/USDC pair."""
    factory = await bench.deploy("UniswapV2Factory", bench.deployer)
    router = await bench.deploy("UniswapV2Router02", factory.address, tokens.weth.address)
    await factory.send("createPair", tokens.weth.address, tokens.usdc.address)
    pair = await factory.call("getPair", tokens.weth.address, tokens.usdc.address)
    return UniswapV2(factory=factory, router=router, pair=bench.at("UniswapV2Pair", pair).address)


async def add_v2(v2: UniswapV2, tokens: Tokens, *, owner: str, price: float, value_usd: float) -> None:
    """Give ``owner`` liquidity of ``value_usd`` in the pair, half in each token, minted for the purpose."""
    weth_raw = round(value_usd / 2 / price * 10**18)
    usdc_raw = round(value_usd / 2 * 10**6)
    await tokens.weth.send("deposit", sender=owner, value_wei=weth_raw)
    await tokens.usdc.send("mint", owner, usdc_raw)
    for token in (tokens.weth, tokens.usdc):
        await token.send("approve", v2.router.address, UNLIMITED, sender=owner)
    pair = (tokens.weth.address, tokens.usdc.address)
    await v2.router.send("addLiquidity", *pair, weth_raw, usdc_raw, 0, 0, owner, _NEVER, sender=owner)
    for token in (tokens.weth, tokens.usdc):
        await token.send("approve", v2.router.address, 0, sender=owner)


async def deploy_v3(bench: Bench, tokens: Tokens, *, with_pictures: bool = True) -> UniswapV3:
    """Factory (with the 0.01 % tier that mainnet has too), position manager, router and lenses.

    ``with_pictures``: with the contracts that draw a position's picture, which only ``tokenURI`` calls.
    """
    weth = tokens.weth.address
    factory = await bench.deploy("UniswapV3Factory")
    await factory.send("enableFeeAmount", FEE_STABLE, _TICK_SPACING[FEE_STABLE])
    descriptor = (await _descriptor(bench, weth)).address if with_pictures else _NOBODY
    return UniswapV3(
        factory=factory,
        positions=await bench.deploy("NonfungiblePositionManager", factory.address, weth, descriptor),
        router=await bench.deploy("SwapRouter", factory.address, weth),
        quoter=await bench.deploy("QuoterV2", factory.address, weth),
        tick_lens=await bench.deploy("TickLens"),
    )


async def _descriptor(bench: Bench, weth: str) -> Contract:
    svg = await bench.deploy("NFTDescriptor")
    return await bench.deploy(
        "NonfungibleTokenPositionDescriptor",
        weth,
        b"ETH".ljust(32, b"\0"),
        libraries={"NFTDescriptor": svg.address},
    )


async def create_pool(
    bench: Bench,
    v3: UniswapV3,
    *,
    unit: tuple[Contract, int],
    pricing: tuple[Contract, int],
    fee: int,
    price: float,
    cardinality: int = _CARDINALITY,
) -> Pool:
    """Create and initialise a pool of two (token, decimals) at ``price`` of ``unit`` in ``pricing``.

    ``cardinality``: how many observations it keeps room for, about 22,000 gas each.
    """
    is_unit_token0 = int(unit[0].address, 16) < int(pricing[0].address, 16)
    (token0, decimals0), (token1, decimals1) = (unit, pricing) if is_unit_token0 else (pricing, unit)
    unit_raw, pricing_raw = 10 ** unit[1], round(price * 10 ** pricing[1])
    amount0, amount1 = (unit_raw, pricing_raw) if is_unit_token0 else (pricing_raw, unit_raw)
    sqrt_price_x96 = isqrt((amount1 << 192) // amount0)
    pair = (token0.address, token1.address, fee)
    await v3.positions.send("createAndInitializePoolIfNecessary", *pair, sqrt_price_x96)
    pool = bench.at("UniswapV3Pool", await v3.factory.call("getPool", *pair))
    await pool.send("increaseObservationCardinalityNext", cardinality)
    return Pool(
        address=pool.address,
        fee=fee,
        token0=token0,
        token1=token1,
        decimals0=decimals0,
        decimals1=decimals1,
        is_unit_token0=is_unit_token0,
    )


async def add_v3(
    v3: UniswapV3,
    pool: Pool,
    *,
    owner: str,
    unit_raw: int,
    pricing_raw: int,
    lower: float,
    upper: float,
    recipient: str | None = None,
) -> int:
    """Mint a position between two prices from tokens that ``owner`` has; return its NFT id.

    It is the owner's unless a recipient is named.
    """
    lower_tick, upper_tick = sorted((pool.tick(lower), pool.tick(upper)))
    amounts = pool.ordered(unit_raw, pricing_raw)
    for token in (pool.token0, pool.token1):
        await token.send("approve", v3.positions.address, UNLIMITED, sender=owner)
    pair = (pool.token0.address, pool.token1.address, pool.fee)
    order = (*pair, lower_tick, upper_tick, *amounts, 0, 0, recipient or owner, _NEVER)
    receipt = await v3.positions.send("mint", order, sender=owner)
    for token in (pool.token0, pool.token1):
        await token.send("approve", v3.positions.address, 0, sender=owner)
    return _minted_id(receipt, v3.positions.address)


def _minted_id(receipt: Mapping[str, Any], positions: str) -> int:
    """Return the token id out of the position manager's IncreaseLiquidity event."""
    for event in receipt["logs"]:
        if event["address"].lower() == positions.lower() and event["topics"][0] == _INCREASE_LIQUIDITY:
            return int(event["topics"][1], 16)
    raise InvariantError("the receipt of a minted position has no IncreaseLiquidity event")


def v3_split(value_usd: float, *, price: float, lower: float, upper: float) -> tuple[float, float]:
    """(units, stable) that make a position of ``value_usd`` at ``price`` inside the range."""
    units = 1 / sqrt(price) - 1 / sqrt(upper)
    stable = sqrt(price) - sqrt(lower)
    liquidity = value_usd / (units * price + stable)
    return liquidity * units, liquidity * stable
