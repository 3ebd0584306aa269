"""What the devnet has beside its markets: a v4 pool, a vault, Aave with a loan of the user, a mutual."""

from dataclasses import dataclass
from typing import Any

from bot.devnet.deploy_aave import AaveMarket, Reserve, deploy_aave
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_nexus import NexusDeployment, deploy_nexus
from bot.devnet.deploy_tokens import Tokens
from bot.devnet.deploy_v4 import V4Deployment, deploy_v4
from bot.devnet.deploy_vault import VaultDeployment, deploy_vault
from bot.devnet.deployment import TRADER, USER, WHALE

# The user's loan: at 2940 USD, liquidated from 82.5 %, its health factor starts at 2.43.
USER_AAVE_WETH = 5
USER_AAVE_DEBT_USDC = 5_000
WHALE_AAVE_USDC = 1_000_000
_SHARES = {"loan_to_value": 0.8, "liquidation_threshold": 0.825}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Where all of it lies."""

    v4: V4Deployment
    vault: VaultDeployment
    aave: AaveMarket
    nexus: NexusDeployment

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a Deployment that come from here."""
        return {
            "v4_pool_manager": self.v4.manager,
            "v4_state_view": self.v4.state_view,
            "v4_position_manager": self.v4.position_manager,
            "v4_quoter": self.v4.quoter,
            "v4_swap_router": self.v4.swap_router,
            "v4_pool_fee": self.v4.fee,
            "v4_tick_spacing": self.v4.tick_spacing,
            "user_v4_token_id": self.v4.user_token_id,
            "whale_v4_token_id": self.v4.whale_token_id,
            "usdc_vault": self.vault.vault,
            "aave_addresses_provider": self.aave.provider.address,
            "aave_pool": self.aave.pool.address,
            "aave_oracle": self.aave.oracle.address,
            "nexus_registry": self.nexus.registry.address,
            "nexus_cover": self.nexus.cover.address,
            "nexus_broker": self.nexus.broker.address,
            "nexus_nft": self.nexus.nft.address,
            "nexus_products": self.nexus.products.address,
            "nexus_pool": self.nexus.pool.address,
            "nexus_staking_viewer": self.nexus.staking.address,
            "nexus_claims": self.nexus.claims.address,
        }


async def deploy_watched(bench: Bench, tokens: Tokens, *, price_usd: float) -> Watched:
    """Deploy it, with positions of the user and the whale in all of it.

    The user and the trader are left with ETH and USDC that they did not have, or less of it.
    """
    user, whale, trader = (bench.accounts[index] for index in (USER, WHALE, TRADER))
    usdc = tokens.usdc.address
    return Watched(
        v4=await deploy_v4(bench, usdc=usdc, price_usd=price_usd, user=user, whale=whale, trader=trader),
        vault=await deploy_vault(bench, usdc=usdc, user=user, whale=whale),
        aave=await _aave(bench, tokens, price_usd=price_usd),
        nexus=await deploy_nexus(bench, usdc=usdc),
    )


async def _aave(bench: Bench, tokens: Tokens, *, price_usd: float) -> AaveMarket:
    user, whale = bench.accounts[USER], bench.accounts[WHALE]
    weth, usdc = tokens.weth, tokens.usdc
    reserves = (
        Reserve(token=weth.address, symbol="WETH", decimals=18, price_usd=price_usd, **_SHARES),
        Reserve(token=usdc.address, symbol="USDC", decimals=6, price_usd=1.0, **_SHARES),
    )
    market = await deploy_aave(bench, reserves)
    await usdc.send("mint", whale, WHALE_AAVE_USDC * 10**6)
    await market.supply(usdc, WHALE_AAVE_USDC * 10**6, sender=whale)
    await weth.send("deposit", sender=user, value_wei=USER_AAVE_WETH * 10**18)
    await market.supply(weth, USER_AAVE_WETH * 10**18, sender=user)
    await market.borrow(usdc.address, USER_AAVE_DEBT_USDC * 10**6, sender=user)
    return market
