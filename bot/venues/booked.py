"""The book that paper and simulated venues keep: fills, marks and settlement, without any I/O.

One set of rules for both, so that a dry run and a backtest book alike. Where the price of a fill comes
from (a real venue's quotes, a model) is the venue's own business.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, LegStatus, OptionType, Side
from bot.model.market import Columns, Metric
from bot.model.units import HOUR_S, YEAR_S
from bot.ports import VenuePosition
from bot.quant import options

SETTLEMENT_MAX_AGE_S = 6 * HOUR_S  # an older last price is not the price at expiry
SIZE_TOLERANCE = 1e-9  # contracts; float dust of sums and differences of sizes

# Measured on the real Lyra contracts: a put bought for 1 392.8 and sold back at once for 1 031.9,
# that is about 12 % of the model value on each side.
LYRA_SALE_HAIRCUT = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleTerms:
    """What a sale costs, where no real venue says so."""

    haircut: float = LYRA_SALE_HAIRCUT  # fraction of model value, venue fees included
    swap_share: float = 0.0  # fraction of the proceeds lost in changing the settlement asset back
    gas_usd: float = 0.0  # per sale or settlement
    cutoff_s: float = 0.0  # no trade this near to expiry
    source: str = "measured on the Lyra v1 contracts: 12 % of the premium each way"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedPosition:
    """One open position of the book."""

    id: str
    instrument: Instrument
    size: float  # contracts
    cost_usd: float  # premium, swap and gas of the purchase, for the present size
    opened_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """The money of one execution, for its whole size. ``premium_usd`` is paid or received."""

    at_s: float
    premium_usd: float
    fee_usd: float = 0.0
    swap_usd: float = 0.0
    gas_usd: float = 0.0
    block_number: int = 0
    because: str = ""
    indicative: bool = False

    @property
    def refusal(self) -> str:
        """Return why this cannot be booked, "" when it can: a cost that is not known is never one of 0."""
        costs = {"fee": self.fee_usd, "swap": self.swap_usd, "gas": self.gas_usd}
        unknown = [name for name, usd in costs.items() if not math.isfinite(usd)]
        return f"the cost of {' and '.join(unknown)} is not known" if unknown else ""


class BookedPositions:
    """Positions by id. Fills are booked in call order, and ids are ``<prefix>-1``, ``<prefix>-2``, ..."""

    def __init__(self, *, prefix: str = "paper") -> None:
        self._prefix = prefix
        self._open: dict[str, BookedPosition] = {}
        self._last_number = 0

    def positions(self) -> tuple[BookedPosition, ...]:
        """Return the open positions, oldest first."""
        return tuple(self._open.values())

    def get(self, position_id: str) -> BookedPosition | None:
        return self._open.get(position_id)

    def buy(self, leg: HedgeLeg, fill: Fill) -> LegOutcome:
        """Book a purchase of the whole leg, or refuse it when it costs more than the leg allows."""
        if not fill.premium_usd <= leg.limit_usd:  # also refuses NaN
            return rejected(
                leg,
                at_s=fill.at_s,
                because=f"the premium is {fill.premium_usd:.2f} USD, the leg allows {leg.limit_usd:.2f}",
            )
        if fill.refusal:
            return rejected(leg, at_s=fill.at_s, because=fill.refusal)
        self._last_number += 1
        outcome = _outcome(leg, fill, position_id=f"{self._prefix}-{self._last_number}")
        self._apply(outcome)
        return outcome

    def sell(self, leg: HedgeLeg, fill: Fill) -> LegOutcome:
        """Book a sale of all or part of a position, or refuse it when it brings less than the leg asks."""
        refusal = self._holding_refusal(leg)
        if not refusal and not fill.premium_usd >= leg.limit_usd:
            refusal = f"the sale brings {fill.premium_usd:.2f} USD, the leg asks {leg.limit_usd:.2f}"
        return self._close(leg, fill, refusal)

    def settle(self, leg: HedgeLeg, fill: Fill) -> LegOutcome:
        """Book the payoff of an expired position; ``fill.premium_usd`` is that payoff."""
        refusal = self._holding_refusal(leg)
        if not refusal and fill.at_s < leg.instrument.expiry_s:
            refusal = f"position {leg.position_id} has not expired"
        if not refusal and not fill.premium_usd >= 0.0:
            refusal = f"the price at the expiry of position {leg.position_id} is not known"
        return self._close(leg, fill, refusal)

    def replay(self, outcomes: Iterable[LegOutcome]) -> None:
        """Rebuild the book from closed legs, oldest first; those of other books are passed over."""
        for outcome in outcomes:
            head, _, number = outcome.position_id.rpartition("-")
            if head == self._prefix and outcome.status in (LegStatus.FILLED, LegStatus.PARTIAL):
                self._last_number = max(self._last_number, int(number))
                self._apply(outcome)

    def _holding_refusal(self, leg: HedgeLeg) -> str:
        position = self._open.get(leg.position_id)
        if position is None:
            return f"position {leg.position_id!r} is not held"
        if position.instrument != leg.instrument:
            return f"position {leg.position_id} is {position.instrument.id}, the leg says {leg.instrument.id}"
        if leg.size > position.size + SIZE_TOLERANCE:
            return f"position {leg.position_id} has {position.size:g} contracts, the leg says {leg.size:g}"
        return ""

    def _close(self, leg: HedgeLeg, fill: Fill, refusal: str) -> LegOutcome:
        if refusal := refusal or fill.refusal:
            return rejected(leg, at_s=fill.at_s, because=refusal)
        outcome = _outcome(leg, fill, position_id=leg.position_id)
        self._apply(outcome)
        return outcome

    def _apply(self, outcome: LegOutcome) -> None:
        """Change the book by a filled leg, whether it was just filled or comes from a journal."""
        leg, size = outcome.leg, outcome.filled_size
        if leg.side is Side.BUY:
            self._open[outcome.position_id] = BookedPosition(
                id=outcome.position_id,
                instrument=leg.instrument,
                size=size,
                cost_usd=outcome.premium_usd + outcome.swap_usd + outcome.gas_usd,
                opened_at_s=outcome.at_s,
            )
            return
        position = self._open.pop(outcome.position_id, None)
        if position is None or position.size - size <= SIZE_TOLERANCE:
            return
        kept = (position.size - size) / position.size
        self._open[position.id] = replace(
            position, size=position.size - size, cost_usd=position.cost_usd * kept
        )


def rejected(leg: HedgeLeg, *, at_s: float, because: str, gas_usd: float = 0.0) -> LegOutcome:
    """Return the outcome of a leg that was not filled."""
    return LegOutcome(leg=leg, status=LegStatus.REJECTED, at_s=at_s, gas_usd=gas_usd, because=because)


def payoff_usd(instrument: Instrument, spot_usd: float, *, size: float) -> float:
    """Return what ``size`` contracts pay at expiry when the underlying ends at ``spot_usd``; NaN for NaN."""
    sign = -1.0 if instrument.option_type is OptionType.PUT else 1.0
    inner = sign * (spot_usd - instrument.strike_usd)
    return (max(inner, 0.0) if math.isfinite(inner) else math.nan) * size * instrument.multiplier


def model_usd(instrument: Instrument, *, size: float, spot_usd: float, iv: float, now_s: float) -> float:
    """Return the Black-Scholes value (rate 0) of ``size`` contracts; the intrinsic value after expiry."""
    (value,) = models_usd((instrument,), sizes=(size,), spots_usd=(spot_usd,), ivs=(iv,), now_s=now_s)
    return value


def models_usd(
    instruments: Sequence[Instrument],
    *,
    sizes: Sequence[float],
    spots_usd: ArrayLike,
    ivs: ArrayLike,
    now_s: float,
) -> list[float]:
    """Return ``model_usd`` of many positions at once."""
    values: list[float] = options.price(
        np.asarray(spots_usd),
        np.array([item.strike_usd for item in instruments]),
        np.array([max(item.expiry_s - now_s, 0.0) / YEAR_S for item in instruments]),
        np.asarray(ivs),
        is_put=np.array([item.option_type is OptionType.PUT for item in instruments]),
    ).tolist()
    return [
        value * size * item.multiplier for value, size, item in zip(values, sizes, instruments, strict=True)
    ]


def settlement_spot(
    columns: Columns, instrument: Instrument, *, now_s: float, max_age_s: float = SETTLEMENT_MAX_AGE_S
) -> float:
    """Return the last known price of the underlying at or before expiry, NaN when none is near enough.

    Sources are asked in their sorted order, the primary one first. NaN too while ``now_s`` is before expiry.
    """
    if now_s < instrument.expiry_s:
        return math.nan
    for key in columns.find(Metric.PRICE_USD, instrument.underlying):
        column = columns[key].until(instrument.expiry_s).since(instrument.expiry_s - max_age_s)
        known = column.values[np.isfinite(column.values)]
        if known.size:
            return float(known[-1])
    return math.nan


def marked(
    position: BookedPosition,
    *,
    spot_usd: float,
    iv: float,
    now_s: float,
    terms: SaleTerms,
    settlement_usd: float = math.nan,
) -> VenuePosition:
    """Mark a position: model value, what a sale or its settlement would bring net, and which of both.

    ``settlement_usd`` is the underlying's price at expiry, NaN while unknown. Between cutoff and settlement
    nothing can be sold and the liquidation value is NaN.
    """
    model = model_usd(position.instrument, size=position.size, spot_usd=spot_usd, iv=iv, now_s=now_s)
    return marked_at(
        position, model_usd=model, iv=iv, now_s=now_s, terms=terms, settlement_usd=settlement_usd
    )


def marked_at(
    position: BookedPosition,
    *,
    model_usd: float,
    iv: float,
    now_s: float,
    terms: SaleTerms,
    settlement_usd: float = math.nan,
) -> VenuePosition:
    """Mark a position as ``marked`` does, its model value being known; after expiry that does not count."""
    instrument, size = position.instrument, position.size
    expired = now_s >= instrument.expiry_s
    if expired:
        model = payoff_usd(instrument, settlement_usd, size=size)
        gross = model
    else:
        model = model_usd
        inside = instrument.expiry_s - now_s > terms.cutoff_s
        gross = model * (1.0 - terms.haircut) if inside else math.nan
    net = gross * (1.0 - terms.swap_share) - terms.gas_usd
    return VenuePosition(
        id=position.id,
        instrument=instrument,
        size=size,
        iv=iv,
        model_usd=model,
        liquidation_usd=net if math.isnan(net) else max(net, 0.0),
        settleable=expired and math.isfinite(settlement_usd),
    )


def sale_fill(
    mark: VenuePosition, leg: HedgeLeg, *, now_s: float, terms: SaleTerms, because: str = ""
) -> Fill:
    """Return the fill of selling ``leg.size`` of a marked position at the model value less the haircut.

    Its ``premium_usd`` is NaN where no sale is possible (inside the cutoff or after expiry).
    """
    share = min(leg.size / mark.size, 1.0)
    model = mark.model_usd * share
    closed = mark.instrument.expiry_s - now_s <= terms.cutoff_s or now_s >= mark.instrument.expiry_s
    proceeds = math.nan if closed else model * (1.0 - terms.haircut)
    return Fill(
        at_s=now_s,
        premium_usd=proceeds,
        fee_usd=model - proceeds,
        swap_usd=proceeds * terms.swap_share,
        gas_usd=terms.gas_usd,
        because=because,
    )


def settlement_fill(
    leg: HedgeLeg, *, spot_usd: float, now_s: float, terms: SaleTerms, because: str = ""
) -> Fill:
    """Return the fill of settling ``leg.size`` contracts at the price at expiry; NaN while unknown."""
    payoff = payoff_usd(leg.instrument, spot_usd, size=leg.size)
    return Fill(
        at_s=now_s,
        premium_usd=payoff,
        swap_usd=payoff * terms.swap_share,
        gas_usd=terms.gas_usd,
        because=because,
    )


def _outcome(leg: HedgeLeg, fill: Fill, *, position_id: str) -> LegOutcome:
    return LegOutcome(
        leg=leg,
        status=LegStatus.FILLED,
        at_s=fill.at_s,
        filled_size=leg.size,
        premium_usd=fill.premium_usd,
        fee_usd=fill.fee_usd,
        swap_usd=fill.swap_usd,
        gas_usd=fill.gas_usd,
        position_id=position_id,
        block_number=fill.block_number,
        because=fill.because,
        indicative=fill.indicative,
    )
