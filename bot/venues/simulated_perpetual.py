"""A perpetual made of the history itself, for backtests: its mark is the spot price, its funding the data's.

Every answer is a function of the view and of its own past fills. It is liquidated where the mark of a moment
leaves less than its maintenance margin: between moments nothing is seen.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.perpetual import Perpetual, PerpetualOrder, PerpetualQuote
from bot.model.perpetual_outcome import PerpetualOutcome, refused
from bot.model.units import HOUR_S
from bot.ports import MarketView
from bot.venues.booked_perpetual import MarginTerms, funding_apr
from bot.venues.booked_perpetual_venue import BookedPerpetualVenue, Mark

_BLOCK_S = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualMarket:
    """What the venue assumes. Money is USD, shares are fractions of notional."""

    cost: float  # fee, half the spread and impact of one trade
    initial_margin: float
    maintenance_margin: float
    penalty: float  # that a liquidation costs
    gas_usd: float  # per order
    lot: float
    max_units: float  # most in one order

    def __post_init__(self) -> None:
        checks = {
            "cost": 0.0 <= self.cost < 0.1,
            "maintenance_margin": 0.0 < self.maintenance_margin <= self.initial_margin,
            "initial_margin": 0.0 < self.initial_margin <= 1.0,
            "penalty": 0.0 <= self.penalty < 1.0,
            "gas_usd": 0.0 <= self.gas_usd < math.inf,
            "lot": 0.0 < self.lot <= self.max_units < math.inf,
        }
        wrong = [name for name, is_right in checks.items() if not is_right]
        if wrong:
            raise ConfigError(f"market perpetual {wrong[0]}: {getattr(self, wrong[0])} is not allowed")

    @property
    def terms(self) -> MarginTerms:
        return MarginTerms(
            cost=self.cost,
            initial_margin=self.initial_margin,
            maintenance_margin=self.maintenance_margin,
            penalty=self.penalty,
            gas_usd=self.gas_usd,
        )


class SimulatedPerpetualVenue(BookedPerpetualVenue):
    """Implements ports.PerpetualVenue. Marks are NaN without a price."""

    def __init__(self, market: PerpetualMarket, *, name: str = "simulated-perpetual") -> None:
        super().__init__(words="simulated")
        self._market, self._name = market, name

    @property
    def name(self) -> str:
        return self._name

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        """Return the quote; none while price or funding is unknown."""
        market, mark_usd = self._market, view.spot_usd.get(underlying, math.nan)
        rate = funding_apr(view.columns, underlying, now_s=view.now_s)
        if not (mark_usd > 0.0 and math.isfinite(rate)):
            return ()
        return (
            PerpetualQuote(
                perpetual=self._listed(underlying),
                size=min(max(size, market.lot), market.max_units),
                mark_usd=mark_usd,
                funding_apr=rate,
                cost=market.cost,
                initial_margin=market.initial_margin,
                maintenance_margin=market.maintenance_margin,
                gas_usd=market.gas_usd,
                min_size=market.lot,
                lot=market.lot,
                liquidity=market.max_units,
                valid_until_s=view.now_s + HOUR_S,
                block_number=_block(view),
            ),
        )

    def _listed(self, underlying: str) -> Perpetual:
        return Perpetual(venue=self._name, id=f"{underlying}-PERP", underlying=underlying, settlement="USDC")

    async def _mark(self, view: MarketView, perpetual: Perpetual) -> Mark:
        return Mark(view.spot_usd.get(perpetual.underlying, math.nan), self._market.terms)

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Fill an order at the mark, cost on top, or say why not."""
        if abs(order.size) > self._market.max_units:
            because = f"{abs(order.size):g} units asked, the venue trades {self._market.max_units:g}"
            return refused(order, at_s=view.now_s, because=because)
        return self._filled(order, view, await self._mark(view, order.perpetual))

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Say that an open order did not happen: a fill is booked in the same breath as it is decided."""
        return refused(order, at_s=view.now_s, because="never reached the simulated venue")

    def replay(self, outcomes: Iterable[PerpetualOutcome]) -> None:
        """Rebuild the positions from a journal."""
        self._book.replay(outcomes)


def _block(view: MarketView) -> int:
    return view.block.number if view.block else int(view.now_s // _BLOCK_S)
