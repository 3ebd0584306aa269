"""Where a run's gain or loss came from: the position's own parts, and what hedging paid and brought.

Pure. Every part is USD, a gain positive and a cost negative; they sum to the total up to a residual that is
shown. The total is read from the path of values, the parts from the orders, the price and the last marks:
the two meet only if both books are right.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bot.model.exposure import LpShape
from bot.model.hedge import OPEN_STATUSES, LegOutcome, LegStatus, Side
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.pipeline.perpetual_book import perpetual_book_of
from bot.quant import lp
from bot.simulation.report.beside_orders import BesideOrder
from bot.venues.booked import payoff_usd

_FILLED = (LegStatus.FILLED, LegStatus.PARTIAL)
POSITION_PARTS = ("price", "impermanent_loss", "lp_fees", "recentring", "position")
PART_NAMES = {
    "price": "price",
    "impermanent_loss": "impermanent loss",
    "lp_fees": "LP fees",
    "recentring": "re-centring",
    "position": "position",
    "premium": "premium",
    "option_payoff": "option payoff",
    "perpetual": "perpetual",
    "funding": "funding",
    "slippage": "slippage",
    "gas": "gas",
    "cover": "cover",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionParts:
    """What the position alone gained. ``whole_usd`` stands for the three where they cannot be told apart."""

    price_usd: float = 0.0  # of the deposited tokens, had they been kept
    impermanent_loss_usd: float = 0.0  # of the pool's curve against keeping them, at most 0
    lp_fees_usd: float = 0.0
    recentring_usd: float = 0.0  # paid for swaps when a range was opened anew around the price
    whole_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeParts:
    """What hedging gained and cost."""

    premium_usd: float = 0.0  # time value paid for options: model value less intrinsic value at purchase
    option_payoff_usd: float = 0.0  # sold at model value, settled and still held, less intrinsic value bought
    perpetual_usd: float = 0.0  # by the price, closed and open
    funding_usd: float = 0.0  # received, negative paid
    slippage_usd: float = 0.0  # paid over and received under the model's value: spreads, venue fees, swaps
    gas_usd: float = 0.0
    cover_usd: float = 0.0  # premium of covers (R20); they are worth nothing until they pay

    @property
    def net_usd(self) -> float:
        return math.fsum(
            (
                self.premium_usd,
                self.option_payoff_usd,
                self.perpetual_usd,
                self.funding_usd,
                self.slippage_usd,
                self.gas_usd,
                self.cover_usd,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """A run's profit and loss. NaN where its value is unknown from the first hour to the last."""

    total_usd: float  # value at the end less what was there before the first order
    position: PositionParts
    hedge: HedgeParts

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """Return every part by its name, in the order in which they are told."""
        position, hedge = self.position, self.hedge
        return (
            ("price", position.price_usd),
            ("impermanent_loss", position.impermanent_loss_usd),
            ("lp_fees", position.lp_fees_usd),
            ("recentring", position.recentring_usd),
            ("position", position.whole_usd),
            ("premium", hedge.premium_usd),
            ("option_payoff", hedge.option_payoff_usd),
            ("perpetual", hedge.perpetual_usd),
            ("funding", hedge.funding_usd),
            ("slippage", hedge.slippage_usd),
            ("gas", hedge.gas_usd),
            ("cover", hedge.cover_usd),
        )

    @property
    def residual_usd(self) -> float:
        """What no part explains: rounding, or a book that is wrong."""
        return self.total_usd - math.fsum(value for _, value in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Positions whose shapes did not change between two prices of their underlying."""

    shapes: tuple[LpShape, ...]
    first_usd: float
    last_usd: float

    @property
    def kept_usd(self) -> float:
        """Return what the tokens deposited at the first price gained by themselves."""
        found = 0.0
        for shape in self.shapes:
            units, stable = lp.amounts(shape, self.first_usd)
            after, before = (lp.hold_value(units, stable, at) for at in (self.last_usd, self.first_usd))
            found += float(after - before)
        return found

    def worth_usd(self, spot_usd: float) -> float:
        return math.fsum(float(lp.value(shape, spot_usd)) for shape in self.shapes)


def position_parts(stretches: Sequence[Held], *, gained_usd: float) -> PositionParts:
    """Split what the LP gained over stretches that follow each other, each opened with what was there.

    What a stretch begins with less than the last one ended with was paid for opening it anew. What the
    shapes do not explain is fees.
    """
    kept_usd = math.fsum(item.kept_usd for item in stretches)
    curve_usd = math.fsum(
        item.worth_usd(item.last_usd) - item.worth_usd(item.first_usd) for item in stretches
    )
    anew_usd = math.fsum(
        after.worth_usd(after.first_usd) - before.worth_usd(before.last_usd)
        for before, after in pairwise(stretches)
    )
    return PositionParts(
        price_usd=kept_usd,
        impermanent_loss_usd=curve_usd - kept_usd,
        lp_fees_usd=gained_usd - curve_usd - anew_usd,
        recentring_usd=anew_usd,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Marks:
    """What is left to count at the end of a run. NaN is unknown."""

    options_usd: float  # options still held, at sale value
    perpetual_usd: float = 0.0  # what closing the perpetuals would gain, funding not settled included
    spot_usd: float = math.nan  # at which the perpetuals are marked; NaN: their funding is not told apart


def hedge_parts(
    legs: Iterable[LegOutcome],
    perpetuals: Sequence[PerpetualOutcome] = (),
    beside: Sequence[BesideOrder] = (),
    *,
    times_s: FloatArray,
    spots_usd: FloatArray,
    marks: Marks,
) -> HedgeParts:
    """Split what orders paid and brought, up to the marks.

    The intrinsic value of a purchase is taken at the last of ``times_s`` that is not after it, and is 0
    where there was none. Where a venue's outcome does not tell its model value, that is the premium without
    fees, and the venue's own spread is part of the premium.
    """
    told, traded = tuple(legs), [item for item in perpetuals if item.status not in OPEN_STATUSES]
    filled = [item for item in told if item.status in _FILLED]
    buys = [item for item in filled if item.leg.side is Side.BUY]
    ends = [item for item in filled if item.leg.side is not Side.BUY]
    intrinsic_usd = math.fsum(_intrinsic_usd(item, times_s, spots_usd) for item in buys)
    slippage_usd = math.fsum(item.premium_usd - model_usd(item) for item in buys)
    slippage_usd += math.fsum(model_usd(item) - item.premium_usd for item in ends)
    slippage_usd += math.fsum(item.swap_usd for item in filled)
    gas_usd = sum(math.fsum(item.gas_usd for item in orders) for orders in (told, beside, traded))
    linear = _perpetual_parts(traded, marks)
    return HedgeParts(
        premium_usd=intrinsic_usd - math.fsum(map(model_usd, buys)),
        option_payoff_usd=math.fsum(map(model_usd, ends)) + marks.options_usd - intrinsic_usd,
        perpetual_usd=linear.gained_usd,
        funding_usd=linear.funding_usd,
        slippage_usd=0.0 - slippage_usd - linear.fee_usd,
        gas_usd=0.0 - gas_usd,
        cover_usd=0.0 - math.fsum(item.premium_usd for item in beside),
    )


def model_usd(outcome: LegOutcome) -> float:
    """Return the model value of what was bought, sold or settled, without spread, fees and swaps."""
    if outcome.leg.side is Side.BUY:
        return outcome.premium_usd - outcome.fee_usd
    return outcome.premium_usd + outcome.fee_usd if outcome.leg.side is Side.SELL else outcome.premium_usd


def _intrinsic_usd(bought: LegOutcome, times_s: FloatArray, spots_usd: FloatArray) -> float:
    at = int(np.searchsorted(times_s, bought.at_s, side="right")) - 1
    spot_usd = float(spots_usd[at]) if at >= 0 else math.nan
    worth_usd = payoff_usd(bought.leg.instrument, spot_usd, size=bought.filled_size)
    return worth_usd if math.isfinite(worth_usd) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _PerpetualParts:
    gained_usd: float
    funding_usd: float
    fee_usd: float  # penalties of liquidations included


def _perpetual_parts(outcomes: Sequence[PerpetualOutcome], marks: Marks) -> _PerpetualParts:
    """Split closed orders, oldest first, and what is open, by the book's own entry prices."""
    book = perpetual_book_of(outcomes)
    funding_usd = math.fsum(item.funding_usd for item in outcomes)
    fee_usd = math.fsum(item.fee_usd for item in outcomes)
    gas_usd = math.fsum(item.gas_usd for item in outcomes)
    closed_usd = book.cash_flow_usd - funding_usd + fee_usd + gas_usd
    open_usd = math.fsum(item.size * (marks.spot_usd - item.entry_usd) for item in book.holdings.values())
    if not math.isfinite(open_usd):
        open_usd = marks.perpetual_usd
    return _PerpetualParts(
        gained_usd=closed_usd + open_usd,
        funding_usd=funding_usd + marks.perpetual_usd - open_usd,
        fee_usd=fee_usd,
    )
