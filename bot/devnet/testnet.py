"""What `alvh testnet deploy` puts on a public test chain, and what keeps it usable for weeks.

The same code deploys Lyra and Uniswap here and on the devnet. Tokens are worthless ones of our own unless
others are given; the feed and Lyra's spot price are the deployer's to publish.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from bot.devnet.artifacts import viem_multicall3_creation
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_lyra import deploy_lyra
from bot.devnet.deploy_tokens import MULTICALL3, Tokens, deploy_feed
from bot.devnet.deploy_uniswap import (
    FEE_STABLE,
    FEE_VOLATILE,
    Pool,
    UniswapV3,
    add_v3,
    create_pool,
    deploy_v3,
    v3_split,
)
from bot.devnet.option_system import OptionSystem
from bot.errors import ConfigError
from bot.model.parsing import json_of

# Measured on a node with the rules of a public chain; tests compare. What a whole deployment needs.
DEPLOY_TRANSACTIONS = 102  # with Multicall3 and gas money for the bot; each of them may be needless
DEPLOY_GAS = 84_000_000
BOARDS_TRANSACTIONS = 6  # boards for three tenors, listed after the system
BOARDS_GAS = 31_500_000
LARGEST_GAS = 8_500_000  # a board
CARDINALITY = 32  # observations a pool keeps: each slot costs gas, and a TWAP of ten minutes needs few

_WETH_DECIMALS, _USDC_DECIMALS = 18, 6
_RANGE = (0.1, 10.0)  # of the deployer's liquidity, times the price
_USER_RANGE = (0.5, 2.0)
_STABLE_RANGE = (0.97, 1.03)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a deployment was asked for. It goes into the state file: a deployment that goes on keeps it."""

    price_usd: float  # of ETH, at the start
    user: str  # the bot's account
    has_multicall3: bool  # at its well-known address
    weth: str = ""  # given tokens; empty: test tokens that the deployer mints
    usdc: str = ""
    liquidity_usd: float = 20_000_000.0  # in each of the two pools
    exposure_usd: float = 60_000.0  # value of the LP position that the user gets
    user_usdc: float = 20_000.0  # that the user gets to hedge with
    user_wei: int = 20 * 10**15  # of the chain's coin that the user gets for gas

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Read them from the state file."""
        names = {field.name for field in fields(cls)}
        if set(found) != names:
            raise ConfigError(
                f"the state file's inputs do not match this version ({sorted(names ^ set(found))}); finish "
                "the deployment with the version that began it"
            )
        return cls(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestnetDeployment(OptionSystem):
    """Where everything lies."""

    __test__ = False  # for pytest: the name is no test

    chain_id: int
    genesis: str
    deployer: str  # owns the feed, the rates and the option market
    mints_weth: bool  # the deployer may mint it: our own test token
    mints_usdc: bool

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote. Raises ConfigError."""
        try:
            found = json_of(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read ({error.strerror}); `alvh testnet deploy` writes it when it is done"
            ) from None
        except ValueError as error:
            raise ConfigError(f"{path} is no JSON ({error}); run `alvh testnet deploy` again") from None
        names = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or set(found) != names:
            raise ConfigError(f"{path} is not of this version; run `alvh testnet deploy` again")
        return cls(**found)


async def deploy_system(bench: Bench, inputs: Inputs, *, chain_id: int, genesis: str) -> TestnetDeployment:
    """Deploy everything but the boards, which are listed at the price of their day.

    Always sends the same transactions in the same order for the same inputs.
    """
    multicall3 = MULTICALL3
    if not inputs.has_multicall3:
        multicall3 = await bench.create(
            "Multicall3", viem_multicall3_creation(bench.library.path("Multicall3"))
        )
    tokens = await _tokens(bench, inputs)
    feed = await deploy_feed(bench, "ETH / USD", inputs.price_usd)
    v3 = await deploy_v3(bench, tokens, with_pictures=False)
    pool, stable_pool = await _pools(bench, v3, tokens, inputs)
    lyra = await deploy_lyra(bench, tokens.susd, spot_usd=inputs.price_usd)
    token_id = await _fill(bench, v3, (pool, stable_pool), tokens, inputs)
    await _pay_user(bench, tokens, inputs)
    return TestnetDeployment(
        chain_id=chain_id,
        genesis=genesis,
        deployer=bench.deployer,
        user=inputs.user,
        multicall3=multicall3,
        weth=tokens.weth.address,
        usdc=tokens.usdc.address,
        susd=tokens.susd.address,
        mints_weth=not inputs.weth,
        mints_usdc=not inputs.usdc,
        feed_eth_usd=feed.address,
        **v3.addresses,
        v3_pool=pool.address,
        stable_pool=stable_pool.address,
        user_v3_token_id=token_id,
        **lyra.addresses,
    )


async def _tokens(bench: Bench, inputs: Inputs) -> Tokens:
    """Test tokens that the deployer mints, and those that were given."""
    kind = "TestERC20SetDecimals"
    weth = bench.at(kind, inputs.weth) if inputs.weth else None
    usdc = bench.at(kind, inputs.usdc) if inputs.usdc else None
    weth = weth or await bench.deploy(kind, "Wrapped Ether (test)", "WETH", _WETH_DECIMALS)
    usdc = usdc or await bench.deploy(kind, "USD Coin (test)", "USDC", _USDC_DECIMALS)
    susd = await bench.deploy("TestERC20Fail", "Synthetic USD (test)", "sUSD")
    for token, given in ((weth, inputs.weth), (usdc, inputs.usdc), (susd, "")):
        if not given:
            await token.send("permitMint", bench.deployer, True)
    return Tokens(weth=weth, usdc=usdc, susd=susd)


async def _pools(bench: Bench, v3: UniswapV3, tokens: Tokens, inputs: Inputs) -> tuple[Pool, Pool]:
    usdc = (tokens.usdc, _USDC_DECIMALS)
    volatile = await create_pool(
        bench, v3, unit=(tokens.weth, _WETH_DECIMALS), pricing=usdc, fee=FEE_VOLATILE,
        price=inputs.price_usd, cardinality=CARDINALITY,
    )  # fmt: skip
    stable = await create_pool(
        bench, v3, unit=(tokens.susd, 18), pricing=usdc, fee=FEE_STABLE, price=1.0, cardinality=CARDINALITY
    )
    return volatile, stable


async def _fill(bench: Bench, v3: UniswapV3, pools: tuple[Pool, Pool], tokens: Tokens, inputs: Inputs) -> int:
    """Liquidity of the deployer in both pools, and the user's position; return its NFT id."""
    volatile, stable = pools
    half = inputs.liquidity_usd / 2
    await _mint(bench, tokens.susd, round(half * 10**9) * 10**9)
    await _mint(bench, tokens.usdc, round(half * 10**_USDC_DECIMALS), given=inputs.usdc)
    await add_v3(
        v3, stable, owner=bench.deployer, lower=_STABLE_RANGE[0], upper=_STABLE_RANGE[1],
        unit_raw=round(half * 10**9) * 10**9, pricing_raw=round(half * 10**_USDC_DECIMALS),
    )  # fmt: skip
    await _provide(bench, v3, volatile, tokens, inputs, value_usd=inputs.liquidity_usd, span=_RANGE)
    return await _provide(
        bench, v3, volatile, tokens, inputs,
        value_usd=inputs.exposure_usd, span=_USER_RANGE, recipient=inputs.user,
    )  # fmt: skip


async def _provide(
    bench: Bench,
    v3: UniswapV3,
    pool: Pool,
    tokens: Tokens,
    inputs: Inputs,
    *,
    value_usd: float,
    span: tuple[float, float],
    recipient: str | None = None,
) -> int:
    lower, upper = (inputs.price_usd * share for share in span)
    weth, usdc = v3_split(value_usd, price=inputs.price_usd, lower=lower, upper=upper)
    weth_raw, usdc_raw = round(weth * 10**9) * 10**9, round(usdc * 10**_USDC_DECIMALS)
    await _mint(bench, tokens.weth, weth_raw, given=inputs.weth)
    await _mint(bench, tokens.usdc, usdc_raw, given=inputs.usdc)
    return await add_v3(
        v3, pool, owner=bench.deployer, recipient=recipient,
        unit_raw=weth_raw, pricing_raw=usdc_raw, lower=lower, upper=upper,
    )  # fmt: skip


async def _mint(bench: Bench, token: Contract, amount_raw: int, *, given: str = "") -> None:
    """Make what the deployer needs of a test token; of a given token it must have it already."""
    if not given:
        await token.send("mint", bench.deployer, amount_raw)


async def _pay_user(bench: Bench, tokens: Tokens, inputs: Inputs) -> None:
    amount_raw = round(inputs.user_usdc * 10**_USDC_DECIMALS)
    await tokens.usdc.send("transfer" if inputs.usdc else "mint", inputs.user, amount_raw)
    if inputs.user_wei:
        await bench.transact(
            "transfer of gas money to the user", to=inputs.user, data="0x", value_wei=inputs.user_wei
        )


def needed_tokens(inputs: Inputs) -> dict[str, int]:
    """Return what the deployer must hold of given tokens, raw, by address."""
    weth = usdc = 0.0
    for value_usd, (low, high) in ((inputs.liquidity_usd, _RANGE), (inputs.exposure_usd, _USER_RANGE)):
        price = inputs.price_usd
        units, stable = v3_split(value_usd, price=price, lower=price * low, upper=price * high)
        weth, usdc = weth + units, usdc + stable
    usdc += inputs.liquidity_usd / 2 + inputs.user_usdc
    wanted = ((inputs.weth, weth, _WETH_DECIMALS), (inputs.usdc, usdc, _USDC_DECIMALS))
    return {address: round(units * 10**decimals) for address, units, decimals in wanted if address}
