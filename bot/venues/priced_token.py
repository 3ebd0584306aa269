"""A token that an order on a position or loan moves, with the price that a view has for it."""

import math
from dataclasses import dataclass

from bot.model.units import from_fixed
from bot.ports import MarketView


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedToken:
    symbol: str
    address: str
    decimals: int
    is_stable: bool = False  # it counts 1 USD where no source has its price

    def price_usd(self, view: MarketView) -> float:
        """Return the price of a whole unit, NaN where it is not known."""
        par = 1.0 if self.is_stable else math.nan
        return view.spot_usd.get(self.symbol, view.stable_usd.get(self.symbol, par))

    def units(self, raw: int) -> float:
        return from_fixed(raw, decimals=self.decimals)
