"""Where everything on a devnet lies: the addresses, the accounts and the first price, as one JSON file.

All addresses are checksummed. A Deployment belongs to one dumped chain state: the devnet that loads the
state has exactly these contracts at exactly these addresses.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from bot.devnet.option_system import OptionSystem
from bot.errors import ConfigError
from bot.model.parsing import json_of

CHAIN_ID = 31337
MNEMONIC = "test test test test test test test test test test test junk"

# Indices into ``Deployment.accounts``, which are the node's own well-known unlocked accounts.
DEPLOYER, USER, PERP_MAKER, WHALE, TRADER = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(OptionSystem):
    """Addresses of one deployed devnet; each name says the contract."""

    v2_factory: str
    v2_router: str
    v2_pair: str
    stable_pool_fee: int  # hundredths of a basis point
    perp_clearing_house: str
    perp_vault: str
    perp_exchange: str
    perp_account_balance: str
    perp_base_token: str
    perp_quote_token: str
    perp_pool: str  # the Uniswap v3 pool inside Perp v2
    perp_clearing_house_config: str
    perp_feed: str  # the Chainlink-interface feed behind the index price; owner: deployer
    perp_price_dispatcher: str  # dispatchPrice(0) takes the feed's answer into the index
    v4_pool_manager: str  # holds one pool, ETH (the chain's own coin) against USDC
    v4_state_view: str
    v4_position_manager: str
    v4_quoter: str
    v4_swap_router: str  # PoolSwapTest
    v4_pool_fee: int  # millionths
    v4_tick_spacing: int
    usdc_vault: str  # ERC-4626, 6 decimals as its asset
    aave_addresses_provider: str  # of a market of WETH and USDC; its prices stay as they are deployed
    aave_pool: str
    aave_oracle: str
    nexus_registry: str  # reference of Nexus Mutual, which covers Aave
    nexus_cover: str
    nexus_broker: str  # CoverBroker: sells to accounts that are no members
    nexus_nft: str
    nexus_products: str
    nexus_pool: str
    nexus_staking_viewer: str
    nexus_claims: str
    whale_v3_token_id: int  # held by ``whale``, who may withdraw it
    user_v4_token_id: int
    whale_v4_token_id: int
    lyra_board_ids: tuple[int, ...]  # by expiry, nearest first
    accounts: tuple[str, ...]
    start_price_usd: float
    deployed_at_s: int  # block time of the last block of the deployment

    @property
    def deployer(self) -> str:
        """Owns every contract that has an owner; may mint USDC and sUSD; the market maker of Lyra."""
        return self.accounts[DEPLOYER]

    @property
    def perp_maker(self) -> str:
        """Holds the liquidity of the perpetual."""
        return self.accounts[PERP_MAKER]

    @property
    def whale(self) -> str:
        """Holds most of the v2 and v3 liquidity and may withdraw it."""
        return self.accounts[WHALE]

    @property
    def trader(self) -> str:
        """Moves pools to the price of the scenario; holds WETH, USDC and sUSD."""
        return self.accounts[TRADER]

    @classmethod
    def from_json(cls, text: str, *, origin: str = "deployment") -> Self:
        """The inverse of ``to_json``; ConfigError where the text is not a Deployment of this version."""
        try:
            found: Any = json_of(text)
        except ValueError as error:
            raise ConfigError(f"{origin}: not JSON ({error}); delete it and start the devnet again") from None
        names = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or set(found) != names:
            wrong = sorted(names ^ set(found)) if isinstance(found, dict) else type(found).__name__
            raise ConfigError(
                f"{origin}: fields do not match this version ({wrong}); delete it and start again"
            )
        found["accounts"] = tuple(found["accounts"])
        found["lyra_board_ids"] = tuple(found["lyra_board_ids"])
        return cls(**found)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that ``save`` wrote; ConfigError where it is missing or of another version."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the deployment ({error.strerror})") from None
        return cls.from_json(text, origin=str(path))
