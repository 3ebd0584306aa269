"""What hedging cost and brought, by its parts: they sum to the difference between hedged and unhedged."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.model.hedge import OPEN_STATUSES, LegOutcome, LegStatus, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.pipeline.perpetual_book import perpetual_book_of
from bot.simulation.beside_orders import BesideOrder

FILLED = (LegStatus.FILLED, LegStatus.PARTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualMoney:
    """What perpetuals gained and cost (R27), USD. Margin is moved and not spent: it is in no sum.

    Fees and gas are positive numbers; gains and funding are received, negative lost or paid.
    """

    gained_usd: float = 0.0  # by the price, of what was closed or liquidated
    funding_usd: float = 0.0  # settled so far
    fee_usd: float = 0.0  # penalties of liquidations included
    gas_usd: float = 0.0
    open_usd: float = (
        0.0  # what closing the rest at the mark would gain, funding that is not settled included
    )

    @property
    def net_usd(self) -> float:
        return self.gained_usd + self.funding_usd + self.open_usd - self.fee_usd - self.gas_usd

    @property
    def parts(self) -> Iterator[tuple[str, float]]:
        """Yield each part by its name, costs negative; none where no perpetual was traded or paid for."""
        parts = (
            ("price", self.gained_usd),
            ("funding", self.funding_usd),
            ("fees", -self.fee_usd),
            ("gas", -self.gas_usd),
            ("still open", self.open_usd),
        )
        if any(value for _, value in parts):
            yield from parts


NO_PERPETUALS = PerpetualMoney()


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What hedging cost, USD, all positive numbers but ``perpetual`` and ``net_usd``."""

    premium_usd: float = 0.0  # fees left out
    fee_usd: float = 0.0
    swap_usd: float = 0.0
    gas_usd: float = 0.0
    cover_usd: float = 0.0  # premium of covers (R20); they are worth nothing until they pay
    sold_usd: float = 0.0  # received for sold hedges
    settled_usd: float = 0.0  # received at expiry
    mark_usd: float = 0.0  # what the remaining options are worth
    perpetual: PerpetualMoney = NO_PERPETUALS

    @property
    def net_usd(self) -> float:
        """What hedging added to the account; negative is a cost."""
        gained = self.sold_usd + self.settled_usd + self.mark_usd + self.perpetual.net_usd
        return gained - self.premium_usd - self.fee_usd - self.swap_usd - self.gas_usd - self.cover_usd


def money_of(
    outcomes: Sequence[LegOutcome],
    beside: Sequence[BesideOrder] = (),
    *,
    mark_usd: float,
    perpetual: PerpetualMoney = NO_PERPETUALS,
) -> Money:
    """Add up what orders paid and brought; gas of refused orders counts too."""
    filled = [item for item in outcomes if item.status in FILLED]
    buys = [item for item in filled if item.leg.side is Side.BUY]
    return Money(
        premium_usd=sum(item.premium_usd - item.fee_usd for item in buys),
        fee_usd=sum(item.fee_usd for item in buys),
        swap_usd=sum(item.swap_usd for item in filled),
        gas_usd=sum(item.gas_usd for item in outcomes) + sum(item.gas_usd for item in beside),
        cover_usd=sum(item.premium_usd for item in beside),
        sold_usd=sum(item.premium_usd for item in filled if item.leg.side is Side.SELL),
        settled_usd=sum(item.premium_usd for item in filled if item.leg.side is Side.SETTLE),
        mark_usd=mark_usd,
        perpetual=perpetual,
    )


def perpetual_money_of(outcomes: Iterable[PerpetualOutcome], *, open_usd: float) -> PerpetualMoney:
    """Add up what closed orders for perpetuals brought, oldest first, by the book's own entry prices."""
    closed = [item for item in outcomes if item.status not in OPEN_STATUSES]
    funding_usd = math.fsum(item.funding_usd for item in closed)
    fee_usd = math.fsum(item.fee_usd for item in closed)
    gas_usd = math.fsum(item.gas_usd for item in closed)
    return PerpetualMoney(
        gained_usd=perpetual_book_of(closed).cash_flow_usd - funding_usd + fee_usd + gas_usd,
        funding_usd=funding_usd,
        fee_usd=fee_usd,
        gas_usd=gas_usd,
        open_usd=open_usd,
    )
