"""A perpetual made of the history itself, for backtests: its mark is the spot price, its funding the data's.

Every answer is a function of the view and of its own past fills. It is liquidated where the mark of a moment
leaves less than its maintenance margin: between moments nothing is seen.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.perpetual import (
    Perpetual,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualOutcome, refused
from bot.model.units import HOUR_S
from bot.ports import MarketView
from bot.venues.booked_perpetual import BookedPerpetuals, MarginTerms, accrued_usd, funding_apr

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


class SimulatedPerpetualVenue:
    """Implements ports.PerpetualVenue."""

    def __init__(self, market: PerpetualMarket, *, name: str = "simulated-perpetual") -> None:
        self._market, self._name = market, name
        self._book = BookedPerpetuals(words="simulated")

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

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        """Return every position that is not liquidated at this moment; marks are NaN without a price."""
        found = []
        for item in self._book.all():
            mark_usd = view.spot_usd.get(item.perpetual.underlying, math.nan)
            funding_usd = accrued_usd(view.columns, item, mark_usd=mark_usd, now_s=view.now_s)
            terms = self._market.terms
            if self._book.ended(item, mark_usd=mark_usd, funding_usd=funding_usd, terms=terms) is None:
                found.append(
                    self._book.position(item, mark_usd=mark_usd, funding_usd=funding_usd, terms=terms)
                )
        return tuple(found)

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Fill an order at the mark, cost on top, or say why not."""
        if abs(order.size) > self._market.max_units:
            because = f"{abs(order.size):g} units asked, the venue trades {self._market.max_units:g}"
            return refused(order, at_s=view.now_s, because=because)
        mark_usd = view.spot_usd.get(order.perpetual.underlying, math.nan)
        held = self._book.get(order.perpetual)
        funding_usd = 0.0
        if held is not None:
            funding_usd = accrued_usd(view.columns, held, mark_usd=mark_usd, now_s=view.now_s)
        return self._book.fill(
            order,
            mark_usd=mark_usd,
            funding_usd=funding_usd,
            terms=self._market.terms,
            now_s=view.now_s,
            block_number=view.block.number if view.block else 0,
        )

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Say that an open order did not happen: a fill is booked in the same breath as it is decided."""
        return refused(order, at_s=view.now_s, because="never reached the simulated venue")

    async def ended(
        self,
        perpetual: Perpetual,
        size: float,  # noqa: ARG002 - the port's signature
        *,
        view: MarketView,
        since_block: int,  # noqa: ARG002
    ) -> PerpetualEnd | None:
        item = self._book.get(perpetual)
        if item is None:
            return None
        mark_usd = view.spot_usd.get(perpetual.underlying, math.nan)
        funding_usd = accrued_usd(view.columns, item, mark_usd=mark_usd, now_s=view.now_s)
        end = self._book.ended(item, mark_usd=mark_usd, funding_usd=funding_usd, terms=self._market.terms)
        if end is not None:
            self._book.drop(perpetual)
        return end

    def replay(self, outcomes: Iterable[PerpetualOutcome]) -> None:
        """Rebuild the positions from a journal."""
        self._book.replay(outcomes)


def _block(view: MarketView) -> int:
    return view.block.number if view.block else int(view.now_s // _BLOCK_S)
