"""Multicall3, the tokens and the spot feed of the devnet."""

from dataclasses import dataclass

from bot.devnet.artifacts import viem_multicall3_creation
from bot.devnet.deploy_bench import Bench, Contract

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"  # the same on every chain
UNLIMITED = 2**256 - 1


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The three tokens everything trades in. The deployer mints USDC and sUSD."""

    weth: Contract
    usdc: Contract
    susd: Contract


async def put_multicall3(bench: Bench) -> None:
    """Put Multicall3 at its well-known address; running its creation code in a call gives the runtime."""
    creation = viem_multicall3_creation(bench.library.path("Multicall3"))
    runtime = await bench.rpc.request("eth_call", [{"data": creation}, "latest"])
    await bench.rpc.request("anvil_setCode", [MULTICALL3, runtime])


async def deploy_tokens(bench: Bench) -> Tokens:
    """WETH9, USDC with 6 decimals, and sUSD (Lyra's own test token) with 18."""
    tokens = Tokens(
        weth=await bench.deploy("WETH9"),
        usdc=await bench.deploy("TestERC20SetDecimals", "USD Coin", "USDC", 6),
        susd=await bench.deploy("TestERC20Fail", "Synthetic USD", "sUSD"),
    )
    for token in (tokens.usdc, tokens.susd):
        await token.send("permitMint", bench.deployer, True)
    return tokens


async def deploy_feed(bench: Bench, description: str, price_usd: float) -> Contract:
    """Our feed with Chainlink's interface, 8 decimals, answering ``price_usd``."""
    return await bench.deploy_own("ChainlinkFeed", 8, description, round(price_usd * 10**8))
