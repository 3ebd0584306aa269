"""The perpetual market that orders of R27 are traded on: a section of the settings."""

from pydantic import Field

from bot.chain.address import Address
from bot.settings.part import Part
from bot.venues.perp_v2_reads import PerpV2Contracts
from bot.venues.perp_v2_terms import PerpV2Terms


class PerpV2Settings(Part):
    """One market of a Perp v2 (curie) deployment on the home chain."""

    underlying: str
    symbol: str  # of the market's base token, "vETH": checked against the chain before every order
    base_token: Address
    clearing_house: Address
    vault: Address
    account_balance: Address
    exchange: Address
    config: Address  # ClearingHouseConfig
    collateral: Address  # settlement token of the vault, which margin is paid in
    collateral_symbol: str = "USDC"
    collateral_decimals: int = Field(default=6, ge=0, le=36)
    min_size: float = Field(default=0.01, gt=0.0)  # units of the underlying
    lot: float = Field(default=0.001, gt=0.0)
    twap_s: int = Field(default=900, gt=0)  # that the market funds on; checked against the chain

    @property
    def contracts(self) -> PerpV2Contracts:
        return PerpV2Contracts(
            clearing_house=self.clearing_house,
            vault=self.vault,
            account_balance=self.account_balance,
            exchange=self.exchange,
            config=self.config,
            base_token=self.base_token,
            collateral=self.collateral,
        )

    @property
    def terms(self) -> PerpV2Terms:
        return PerpV2Terms(
            underlying=self.underlying,
            symbol=self.symbol,
            collateral=self.collateral_symbol,
            collateral_decimals=self.collateral_decimals,
            min_size=self.min_size,
            lot=self.lot,
            twap_s=self.twap_s,
        )
