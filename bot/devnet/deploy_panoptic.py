"""Panoptic v2 as reference contracts over a real Uniswap v3 pool, with an account that has sold options.

A bought option takes liquidity out of a chunk that somebody sold before, so without the seller there is
nothing to buy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED
from bot.model.hedge import OptionType
from bot.venues.panoptic_token_id import Leg, TokenId, strike_on_grid, tick_of_price

LOWEST_TICK, HIGHEST_TICK = -887_273, 887_273  # exclusive bounds that no price reaches
MOST_SPREAD = 2**23 - 1  # as high as the third limit goes; the pool's own is lower
SELLER_USDC_RAW = 20_000_000 * 10**6
SELLER_WETH_RAW = 5_000 * 10**18
_ETH = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticDeployment:
    """Where it all lies. ``unit`` is the index of WETH in the Uniswap pool."""

    factory: Contract
    risk_engine: Contract
    pool: Contract
    trackers: tuple[Contract, Contract]
    tokens: tuple[Contract, Contract]
    uniswap_pool: str
    pool_id: int
    unit: int
    seller: str

    @property
    def decimals(self) -> tuple[int, int]:
        return (18, 6) if self.unit == 0 else (6, 18)

    @property
    def tick_spacing(self) -> int:
        return self.pool_id >> 48

    def option(
        self, option_type: OptionType, strike_usd: float, *, width: int, is_long: bool, ratio: int = 1
    ) -> TokenId:
        """Return the option on WETH whose strike lies nearest; sizes count in WETH."""
        raw = tick_of_price(
            strike_usd if self.unit == 0 else 1 / strike_usd,
            decimals0=self.decimals[0],
            decimals1=self.decimals[1],
        )
        leg = Leg(
            strike=strike_on_grid(raw, width=width, tick_spacing=self.tick_spacing),
            width=width,
            is_long=is_long,
            token_type=1 - self.unit if option_type is OptionType.PUT else self.unit,
            asset=self.unit,
            ratio=ratio,
        )
        return TokenId(pool_id=self.pool_id, legs=(leg,))


async def deploy_panoptic(
    bench: Bench, *, uniswap_pool: str, weth: str, usdc: str, seller: str
) -> PanopticDeployment:
    """Deploy everything over a WETH/USDC pool and let ``seller`` deposit both tokens as collateral."""
    engine = await bench.deploy_own("reference/PanopticV2RiskEngine")
    pool = await bench.deploy_own("reference/PanopticV2Pool", uniswap_pool, engine.address)
    tokens = sorted((weth, usdc), key=lambda address: int(address, 16))
    names = {weth: "WETH9", usdc: "TestERC20SetDecimals"}
    contracts = [bench.at(names[token], token) for token in tokens]
    trackers = [
        await bench.deploy_own("reference/PanopticV2CollateralTracker", pool.address, token)
        for token in tokens
    ]
    await pool.send("initialize", trackers[0].address, trackers[1].address)
    factory = await bench.deploy_own("reference/PanopticV2Factory")
    await factory.send("register", pool.address)
    found = PanopticDeployment(
        factory=factory,
        risk_engine=engine,
        pool=pool,
        trackers=(trackers[0], trackers[1]),
        tokens=(contracts[0], contracts[1]),
        uniswap_pool=uniswap_pool,
        pool_id=await pool.call("poolId"),
        unit=tokens.index(weth),
        seller=seller,
    )
    await bench.at("WETH9", weth).send("deposit", sender=seller, value_wei=SELLER_WETH_RAW)
    await bench.at("TestERC20SetDecimals", usdc).send("mint", seller, SELLER_USDC_RAW)
    await deposit(found, owner=seller, unit_raw=SELLER_WETH_RAW, usdc_raw=SELLER_USDC_RAW)
    return found


async def deposit(found: PanopticDeployment, *, owner: str, unit_raw: int = 0, usdc_raw: int = 0) -> None:
    """Deposit tokens that ``owner`` has as its collateral."""
    amounts = (unit_raw, usdc_raw) if found.unit == 0 else (usdc_raw, unit_raw)
    for token, tracker, amount in zip(found.tokens, found.trackers, amounts, strict=True):
        if amount:
            await token.send("approve", tracker.address, UNLIMITED, sender=owner)
            await tracker.send("deposit", amount, owner, sender=owner)
            await token.send("approve", tracker.address, 0, sender=owner)


async def sell(found: PanopticDeployment, options: Sequence[TokenId], *, contracts: float) -> None:
    """Let the seller sell so many WETH of each option, which it has not sold yet, in one call."""
    held = [token_id.value for token_id in options]
    size = round(contracts * _ETH)
    limits = [(LOWEST_TICK, HIGHEST_TICK, 0)] * len(held)
    await found.pool.send("dispatch", held, held, [size] * len(held), limits, True, 0, sender=found.seller)
