"""``[exit]``: how positions of Uniswap are withdrawn (R29)."""

from pydantic import Field

from bot.chain.address import Address
from bot.settings.part import Part
from bot.venues.withdrawal import ExitLimits


class ExitSettings(Part):
    """How far a pool may stand from its fair price when a position leaves it, and the way out of v2."""

    max_deviation_bps: int = Field(default=200, ge=1, le=2_000)  # of the pool's price from the fair one
    slippage_bps: int = Field(default=50, ge=1, le=1_000)  # of each amount, on top
    v2_router: Address | None = None  # UniswapV2Router02 or a fork's; none: the known one of the chain

    @property
    def limits(self) -> ExitLimits:
        return ExitLimits(max_deviation_bps=self.max_deviation_bps, slippage_bps=self.slippage_bps)
