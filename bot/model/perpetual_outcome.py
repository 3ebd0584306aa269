"""What became of one order for a perpetual: what the chain says of it, and how it ended."""

from dataclasses import dataclass

from bot.model.hedge import LegStatus
from bot.model.intent import Receipt
from bot.model.perpetual import PerpetualOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualFact:
    """What the events of an executed order say. Money is USD at the prices of the view it is booked at."""

    position_id: str
    receipt: Receipt
    size: float = 0.0  # units traded, signed; 0 where only margin was moved
    price_usd: float = 0.0
    realised_usd: float = 0.0
    fee_usd: float = 0.0
    funding_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualOutcome:
    """Money is USD. Margin is moved and not spent: it stays the account's own."""

    order: PerpetualOrder
    status: LegStatus
    at_s: float
    filled_size: float = 0.0  # units, signed as the order's size
    price_usd: float = 0.0  # mean price of one unit, fee left out; 0 where nothing was traded
    margin_usd: float = 0.0  # moved to the venue, negative taken back
    realised_usd: float = (
        0.0  # gained by the part that was closed, as the venue reckons it: net of fees both ways
    )
    fee_usd: float = 0.0
    funding_usd: float = 0.0  # settled with the trade for all that the account held: received, negative paid
    gas_usd: float = 0.0
    position_id: str = ""
    tx_hash: str = ""
    block_number: int = 0
    because: str = ""
    reconciled: bool = False  # found out after the fact: the order was not executed to this end in one go
    indicative: bool = False  # filled on paper, at what a venue shows and nobody here could trade on


def refused(order: PerpetualOrder, *, at_s: float, because: str) -> PerpetualOutcome:
    """Return that an order was not done, and nothing was spent on it."""
    return PerpetualOutcome(order=order, status=LegStatus.REJECTED, at_s=at_s, because=because)
