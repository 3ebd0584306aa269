"""How Nexus Mutual is used by this program, and the addresses of one deployment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.chain.fees import FeePolicy
from bot.model.cover import CoverProduct
from bot.model.units import DAY_S, USDC_DECIMALS
from bot.ports import MarketView
from bot.venues.prices import Money, Prices, prices_of

MIN_PERIOD_S, MAX_PERIOD_S = 28 * DAY_S, 365 * DAY_S  # constants of Cover.sol


@dataclass(frozen=True, slots=True, kw_only=True)
class NexusContracts:
    """Addresses, as @nexusmutual/deployments lists them."""

    cover: str
    seller: str  # CoverBroker for an account that is no member; Cover itself for a member
    nft: str
    products: str
    staking_viewer: str
    pool: str
    claims: str
    registry: str
    token: str  # what premiums are paid in, and claims paid
    asset_id: int = 6  # of the token, in the mutual's own list
    symbol: str = "USDC"
    decimals: int = USDC_DECIMALS


@dataclass(frozen=True, slots=True, kw_only=True)
class NexusGas:
    buy: int = 1_200_000  # approval, purchase, revocation; several pools share it
    ceiling: int = 2_500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NexusTerms:
    """What is bought, and within which bounds."""

    name: str = "nexus"
    products: Mapping[str, int] = field(default_factory=dict)  # protocol, as exposures have it -> product id
    from_block: int = 0  # where the CoverNFT was deployed: covers are found by its events from here
    premium_slack_bps: int = 100  # over the reckoned premium; the rest is given back by the venue
    quote_ttl_s: float = 900.0
    rescan_blocks: int = 256
    priority_fee_wei: int = 10**9
    tip_cap_wei: int = FeePolicy().tip_max_wei
    gas: NexusGas = NexusGas()

    def product(self, product_id: int, name: str) -> CoverProduct:
        """Return a product; the protocol is its own name where none of ours is configured for it."""
        protocols = {number: protocol for protocol, number in self.products.items()}
        return CoverProduct(
            venue=self.name, id=str(product_id), name=name, protocol=protocols.get(product_id, name)
        )


def prices_in(view: MarketView, *, terms: NexusTerms, contracts: NexusContracts) -> Prices:
    money = Money(
        settlement=contracts.symbol,
        stable=contracts.symbol,
        priority_fee_wei=terms.priority_fee_wei,
        tip_cap_wei=terms.tip_cap_wei,
    )
    return prices_of(view, money)
