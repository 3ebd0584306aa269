"""How Perp v2 is traded by this program; nothing here is read from the chain."""

from dataclasses import dataclass

from bot.chain.fees import FeePolicy
from bot.model.perpetual import Perpetual
from bot.venues.prices import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpGas:
    """Gas of each transaction, measured on the real contracts, with the approval and its revocation."""

    deposit: int = 170_000
    trade: int = 860_000
    withdraw: int = 850_000  # beside a position that stays; 130,000 without one

    @property
    def order(self) -> int:
        """Return what one order uses: an opening, or a closing that takes all out."""
        return self.deposit + self.trade

    @property
    def least_ceiling(self) -> int:
        """Return a gas limit under which each transaction fits: refunds and an estimate's margin on top."""
        return max(self.trade, self.withdraw) * 25 // 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpV2Terms:
    """One market as it is traded here."""

    name: str = "perp-v2"
    underlying: str = "ETH"
    symbol: str = "vETH"  # what the market's own token must say it is
    collateral: str = "USDC"
    collateral_decimals: int = 6
    lot: float = 0.001
    min_size: float = 0.01
    deeper: float = 8.0  # times the size that is asked for at which depth is tried
    slippage_bps: int = 100  # off the price seen at the head, never beyond the order's limit
    twap_s: int = 900  # that the market funds on
    quote_ttl_s: float = 900.0
    trade_gas_ceiling: int = 3_000_000
    vault_gas_ceiling: int = 2_000_000
    priority_fee_wei: int = 10**9
    tip_cap_wei: int = FeePolicy().tip_max_wei
    gas: PerpGas = PerpGas()

    @property
    def perpetual(self) -> Perpetual:
        return Perpetual(
            venue=self.name, id=self.symbol, underlying=self.underlying, settlement=self.collateral
        )

    @property
    def money(self) -> Money:
        return Money(
            settlement=self.collateral,
            stable=self.collateral,
            priority_fee_wei=self.priority_fee_wei,
            tip_cap_wei=self.tip_cap_wei,
        )
