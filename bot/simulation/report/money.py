"""What hedging cost and brought, by its parts: they sum to the difference between hedged and unhedged."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bot.model.hedge import OPEN_STATUSES, LegOutcome, LegStatus, Side
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.pipeline.perpetual_book import PerpetualBook, perpetual_book_of
from bot.simulation.report.beside_orders import BesideOrder

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paid:
    """What hedging paid and received so far, and what is held, at each step. USD; NaN is unknown."""

    paid_usd: FloatArray  # premium, fees, swaps, gas, losses of closed perpetuals: rises
    received_usd: FloatArray  # sales, settlements, gains of closed perpetuals, funding: rises
    held_usd: FloatArray
    net_usd: FloatArray  # received and held less paid


def paid_of(
    legs: Iterable[LegOutcome],
    perpetuals: Iterable[PerpetualOutcome],
    beside: Iterable[BesideOrder],
    *,
    times_s: FloatArray,
    net_usd: FloatArray,
    steps_before_orders: bool = False,
    ends_after_orders: bool = True,
) -> Paid:
    """Add up orders in the order of time; ``net_usd`` is what hedging gained by step, marks included.

    The steps of a journal are of before their own orders, which count from the next one on; its last step
    may be of after them.
    """
    flows = [(item.at_s, usd) for item in legs for usd in _leg_flows(item)]
    flows += [(item.at_s, -item.premium_usd - item.gas_usd) for item in beside]
    book = PerpetualBook()
    for item in perpetuals:
        if item.status not in OPEN_STATUSES:
            before, book = book.cash_flow_usd, book.after(item)
            flows.append((item.at_s, book.cash_flow_usd - before))
    side: Literal["left", "right"] = "right" if steps_before_orders else "left"
    at = np.searchsorted(times_s, [at_s for at_s, _ in flows], side=side)
    if ends_after_orders:
        at = np.minimum(at, times_s.size - 1)
    paid, received = np.zeros(times_s.size + 1), np.zeros(times_s.size + 1)
    for place, (_, usd) in zip(at.tolist(), flows, strict=True):
        (received if usd > 0.0 else paid)[place] += abs(usd)
    paid_usd, received_usd = np.cumsum(paid)[:-1], np.cumsum(received)[:-1]
    return Paid(
        paid_usd=paid_usd,
        received_usd=received_usd,
        held_usd=np.asarray(net_usd + paid_usd - received_usd),
        net_usd=net_usd,
    )


def _leg_flows(item: LegOutcome) -> tuple[float, float]:
    """Return what an order brought and what it took, the latter negative."""
    costs_usd = -item.swap_usd - item.gas_usd
    if item.status not in FILLED:
        return 0.0, costs_usd
    if item.leg.side is Side.BUY:
        return 0.0, costs_usd - item.premium_usd
    return item.premium_usd, costs_usd


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
