"""Protocol covers (R20): what a mutual quotes, what is held, what is ordered, what a claim would take.

A cover is no hedge. Its profile is one binary event: it pays up to its amount when the covered protocol
failed in a way that its wording names, and the mutual's assessors agree; never because a price fell. It
cannot be sold, so that its market value is 0 from the first day, and it has no delta.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import InvariantError
from bot.model.base_layers import Cover
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CoverProduct:
    """Something that can be covered."""

    venue: str  # "nexus"
    id: str  # the venue's own name of it
    name: str  # as the venue has it, "Aave v3"
    protocol: str  # as exposures have it, "aave-v3"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverQuote:
    """What a cover would cost now. Money is USD and for the whole amount and period."""

    product: CoverProduct
    amount_usd: float  # most that it pays
    period_s: int
    premium_usd: float
    settlement: str  # asset that it is paid in and pays, "USDC"
    gas_usd: float
    valid_until_s: float
    block_number: int
    capacity_usd: float  # most that its underwriters can still cover for so long
    grace_s: int  # after its end, in which a loss from before can be claimed
    because: str = ""  # who underwrites it, at which price a year

    @property
    def rate(self) -> float:
        """Return the premium over the amount for a year of 365 days, fraction."""
        return self.premium_usd / self.amount_usd * 365 * 86_400 / self.period_s


class ClaimState(StrEnum):
    NONE = "none"
    OPEN = "open"  # submitted; assessors vote, or a cool-down runs
    PAYABLE = "payable"  # accepted and not taken yet
    PAID = "paid"
    CLOSED = "closed"  # denied, drawn, or accepted and not taken in time: the cover can be claimed on again


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCover:
    """A cover that an account owns, as the venue sees it."""

    id: str
    product: CoverProduct
    amount_usd: float  # most that it still pays; NaN: the price of its asset is unknown
    settlement: str
    starts_s: float
    expires_s: float
    claim_until_s: float  # losses from before the expiry can be claimed until then
    claim: ClaimState = ClaimState.NONE
    market_usd: float = 0.0  # it has no buyer

    @property
    def cover(self) -> Cover:
        """Return it as the base layers state covers (``[[covers]]``)."""
        return Cover(
            id=self.id,
            protocol=self.product.protocol,
            amount_usd=self.amount_usd,
            expires_s=self.expires_s,
            starts_s=self.starts_s,
            venue=self.product.venue,
        )

    def is_alive(self, now_s: float) -> bool:
        return self.starts_s <= now_s < self.expires_s and self.amount_usd > 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverOrder:
    """One purchase of cover that a person confirmed."""

    key: str
    product: CoverProduct
    amount_usd: float
    period_s: int
    limit_usd: float  # most premium to pay
    expected_usd: float
    valid_until_s: float
    because: str = ""

    def __post_init__(self) -> None:
        for name, value in (("amount_usd", self.amount_usd), ("limit_usd", self.limit_usd)):
            if not 0.0 < value < math.inf:
                raise InvariantError(f"cover order {self.key}: {name} must be finite and > 0, was {value}")
        if self.period_s <= 0:
            raise InvariantError(f"cover order {self.key}: period_s must be > 0, was {self.period_s}")

    @property
    def group(self) -> str:
        """What one order at a time is open of: the covered protocol."""
        return self.product.protocol


def order_of(
    quote: CoverQuote, *, key: str, limit_usd: float, valid_until_s: float, because: str = ""
) -> CoverOrder:
    """Return the order that buys what was quoted, for ``limit_usd`` at most. Raises InvariantError."""
    return CoverOrder(
        key=key,
        product=quote.product,
        amount_usd=quote.amount_usd,
        period_s=quote.period_s,
        limit_usd=limit_usd,
        expected_usd=quote.premium_usd,
        valid_until_s=valid_until_s,
        because=because,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverFact:
    """What the events of an executed purchase say."""

    cover_id: str
    premium_usd: float
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverOutcome:
    """What became of an order. Money is USD."""

    order: CoverOrder
    status: LegStatus
    at_s: float
    cover_id: str = ""
    premium_usd: float = 0.0
    gas_usd: float = 0.0
    tx_hash: str = ""
    block_number: int = 0
    because: str = ""
    reconciled: bool = False  # found out after the fact

    @property
    def cost_usd(self) -> float:
        """What hedging paid for it; NaN where a price was not known."""
        return self.premium_usd + self.gas_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimDraft:
    """A claim, or the taking of its payout, made ready for a person: the program never sends it.

    Whether a loss is covered is a judgement, and a claim costs a deposit that a denied one loses.
    """

    cover_id: str
    purpose: str  # "submit" or "redeem"
    to: str
    data: str  # calldata, 0x hex
    value_wei: int  # deposit that goes with it
    amount_usd: float  # claimed, or to be paid
    until_s: float  # it must be mined before
    needs: tuple[str, ...]  # what a person must do or have before, in words
    because: str = ""
