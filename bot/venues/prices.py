"""USD prices of one view, as an order is planned and booked at them."""

import math
from dataclasses import dataclass

from bot.chain.fees import FeePolicy
from bot.errors import InvariantError
from bot.model.market import Block
from bot.ports import MarketView


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What an order is paid in and from."""

    settlement: str  # symbol of what the venue takes and pays, "sUSD"
    stable: str  # symbol of what the account keeps, "USDC"; equal where nothing is swapped
    priority_fee_wei: int = 10**9  # tip that is expected
    tip_cap_wei: int = FeePolicy().tip_max_wei  # tip that is reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """USD prices of one view."""

    now_s: float
    spot_usd: float  # of the underlying that was asked for, NaN without one
    settlement_usd: float
    stable_usd: float
    eth_usd: float  # of the coin that pays gas
    gas_usd: float  # per unit of gas, as expected
    gas_most_usd: float  # per unit of gas, as a transaction sent now may come to cost

    @property
    def unknown(self) -> str:
        """Return the names of those that booking needs and that are not known, "" when all are."""
        needed = {
            "settlement token": self.settlement_usd,
            "stable": self.stable_usd,
            "gas coin": self.eth_usd,
        }
        return ", ".join(name for name, usd in needed.items() if not 0.0 < usd < math.inf)


def pinned(view: MarketView) -> Block:
    """Return the block a chain venue works at. Raises InvariantError when the view has none."""
    if view.block is None:
        raise InvariantError("a chain venue was asked without a pinned block")
    return view.block


def prices_of(view: MarketView, money: Money, *, underlying: str = "") -> Prices:
    """Return the prices of a view, NaN where it does not know one; the own stable counts 1 USD by default."""
    base_wei = view.block.base_fee_wei if view.block else 0
    eth_usd = view.spot_usd.get("ETH", math.nan)
    stable_usd = view.stable_usd.get(money.stable, 1.0)
    same = money.settlement == money.stable
    return Prices(
        now_s=view.now_s,
        spot_usd=view.spot_usd.get(underlying, math.nan),
        settlement_usd=stable_usd if same else view.stable_usd.get(money.settlement, math.nan),
        stable_usd=stable_usd,
        eth_usd=eth_usd,
        gas_usd=(base_wei + money.priority_fee_wei) * 1e-18 * eth_usd,
        gas_most_usd=(2 * base_wei + money.tip_cap_wei) * 1e-18 * eth_usd,  # chain.fees.first_fees
    )
