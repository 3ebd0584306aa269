"""Perpetual futures as hedges (R27): what a venue quotes, what is held, what is ordered.

Sizes are units of the underlying, short < 0 < long. Money is USD, funding is a fraction of notional a year,
positive where a long pays a short.
"""

import math
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Perpetual:
    """A listed linear perpetual. Frozen and ordered, so it can key a table and break ties."""

    venue: str  # "perp-v2"
    id: str  # the venue's own name of it
    underlying: str
    settlement: str  # margin asset


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualQuote:
    """What it would cost to trade ``size`` units either way now."""

    perpetual: Perpetual
    size: float  # units that ``cost`` is for, > 0
    mark_usd: float  # of one unit: what margin and liquidation are reckoned on
    funding_apr: float  # at present; positive: a short receives it
    cost: float  # fee, half the spread and price impact of one trade of ``size``, fraction of notional, >= 0
    initial_margin: float  # fraction of notional that opening needs, (0, 1]
    maintenance_margin: float  # under which it is liquidated, [0, initial_margin]
    gas_usd: float  # of one order
    min_size: float
    lot: float
    liquidity: float  # most units that can be traded now
    valid_until_s: float
    block_number: int
    indicative: bool = False  # not executable as quoted
    on_paper: bool = False  # indicative, of a venue that trades with nobody here: a dry run may fill at it


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualPosition:
    """What an account has in one market as the venue sees it: one net position, whoever it was opened for."""

    id: str
    perpetual: Perpetual
    size: float  # signed
    entry_usd: float  # mean price of one unit, fees left out; NaN unknown
    mark_usd: float
    margin_usd: float  # collateral of the account, gains, losses and funding of what is open left out
    liquidation_usd: float  # mark price at which the venue closes it; NaN unknown, 0 or inf: at none
    funding_usd: float  # accrued and not settled yet: received, negative owed


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualEnd:
    """What became of units that the venue closed without an order of ours: a liquidation."""

    size: float  # that were closed, signed as they were held
    price_usd: float  # of one unit
    fee_usd: float  # penalty, >= 0
    because: str
    funding_usd: float = 0.0  # settled with it
    tx_hash: str = ""
    block_number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPerpetual:
    """A position that is open, marked at the frame's block."""

    id: str  # the venue's position id
    perpetual: Perpetual
    group: str  # hedge group it was opened for
    size: float  # signed
    entry_usd: float  # mean price of one unit at which it was opened
    mark_usd: float
    margin_usd: float  # collateral behind it, gains and losses of the position left out
    liquidation_usd: float  # mark price at which the venue closes it; NaN unknown
    opened_at_s: float
    funding_usd: float = 0.0  # received so far, negative paid; NaN unknown

    @property
    def unrealised_usd(self) -> float:
        """Return what closing it at the mark would gain, funding included, fees left out."""
        return self.size * (self.mark_usd - self.entry_usd) + self.funding_usd

    @property
    def loss_to_liquidation_usd(self) -> float:
        """Return what it loses from its entry until it is liquidated, >= 0 (R27).

        All of its margin where the price of liquidation is unknown or beyond what the margin bears.
        """
        lost_usd = -self.size * (self.liquidation_usd - self.entry_usd)
        return min(self.margin_usd, max(lost_usd, 0.0)) if math.isfinite(lost_usd) else self.margin_usd


class PerpetualAction(StrEnum):
    OPEN = "open"  # or enlarge
    REDUCE = "reduce"  # reduce-only, to nothing at most
    ADD_MARGIN = "add margin"
    ENDED = "ended"  # closed by the venue without an order of ours: nothing is sent, it is booked


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualOrder:
    """One order. ``size`` is the signed change: an OPEN of a short is < 0, its REDUCE is > 0."""

    key: str
    group: str
    action: PerpetualAction
    perpetual: Perpetual
    size: float  # 0 for ADD_MARGIN
    margin_usd: float  # to be added, >= 0
    limit_usd: float  # worst price of one unit; NaN for ADD_MARGIN
    expected_usd: float  # fee, spread and gas at the quote; NaN where nobody quotes
    valid_until_s: float
    position_id: str = ""  # REDUCE and ADD_MARGIN
    because: str = ""
    release_usd: float = 0.0  # REDUCE: margin that is no longer needed, most to be taken out afterwards

    @property
    def reduce_only(self) -> bool:
        return self.action is PerpetualAction.REDUCE
