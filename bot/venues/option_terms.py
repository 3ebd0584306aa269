"""How an option venue is traded, as far as that is alike at all of them. Nothing is read from the chain."""

import math
from dataclasses import astuple, dataclass

from bot.chain.fees import FeePolicy
from bot.model.hedge import OptionType
from bot.model.units import from_fixed, to_fixed_down
from bot.venues.prices import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionGas:
    """Gas of each action; a venue's own class adds its other actions."""

    buy: int  # all transactions of a purchase

    @property
    def least_ceiling(self) -> int:
        """Return a gas limit under which each transaction of a leg fits.

        That is all of the leg's gas, a quarter more for what is refunded only at its end (EIP-3529 allows a
        fifth of the gas used), and the quarter that a limit has over its estimate.
        """
        return int(max(astuple(self))) * 25 // 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionTerms:
    """Terms of every venue; each adds its own."""

    name: str
    underlying: str = "ETH"
    option_types: tuple[OptionType, ...] = tuple(OptionType)  # which are listed for sale to us
    lot: float = 0.01  # contracts, a power of ten
    # A leg re-quotes and keeps to its limit when it is sent, and one purchase of five transactions takes
    # about 108 s on a chain of 12 s blocks at two confirmations: longer than any sane ``orders.valid_for``,
    # so that this is what bounds a leg and a plan's second leg has its time too.
    quote_ttl_s: float = 900.0
    priority_fee_wei: int = 10**9  # tip that is expected
    tip_cap_wei: int = FeePolicy().tip_max_wei  # tip that is reserved
    gas: OptionGas

    def money(self, settlement: str, *, stable: str = "") -> Money:
        """Return what orders are paid in; without ``stable`` the account keeps that very asset."""
        return Money(
            settlement=settlement,
            stable=stable or settlement,
            priority_fee_wei=self.priority_fee_wei,
            tip_cap_wei=self.tip_cap_wei,
        )

    def lots(self, size: float) -> float:
        """Round down to whole lots, in decimal, so that 0.3 stays 0.3."""
        digits = round(-math.log10(self.lot))
        return from_fixed(to_fixed_down(size, decimals=digits), decimals=digits)
