"""Where hedges trade and positions are acted on, as the pipeline sees it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome, HeldCover
from bot.model.execution import NOTHING_DUE, Due
from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, Quote
from bot.model.market import Block, Columns
from bot.model.perpetual import Perpetual, PerpetualEnd, PerpetualOrder, PerpetualPosition, PerpetualQuote
from bot.model.perpetual_outcome import PerpetualOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """What a venue may know when it quotes, marks or fills: the pinned block and the columns."""

    now_s: float
    block: Block | None
    columns: Columns
    spot_usd: Mapping[str, float]  # underlying -> price
    stable_usd: Mapping[str, float] = field(default_factory=dict)  # settlement asset -> USD


@dataclass(frozen=True, slots=True, kw_only=True)
class VenuePosition:
    """A position as the venue sees it; the book adds layer, cost and time of purchase.

    What a sale would bring now and what exercise is worth are never mixed.
    """

    id: str
    instrument: Instrument
    size: float
    iv: float
    model_usd: float
    liquidation_usd: float  # net of costs, by the way out that the venue has now; NaN when there is none
    settleable: bool = False  # a SETTLE leg would do, or book, what is ``due``
    intrinsic_usd: float = math.nan  # of the whole size at the venue's own price, costs left out; NaN unknown
    marked_by: str = ""  # how the liquidation value was had: "eth_call of the sale", "payOffAmount", ...
    due: Due = NOTHING_DUE


class Venue(Protocol):
    """A place where options trade."""

    @property
    def name(self) -> str: ...

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> Sequence[Quote]:
        """Return buy quotes for every listed option, at about ``size`` contracts each."""
        ...

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]: ...

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Do one leg to its end. Never raises VenueRejected: a refusal is an outcome."""
        ...

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Say what became of a leg that an earlier run left open, from the chain alone."""
        ...


class PerpetualVenue(Protocol):
    """A place where perpetuals trade (R27). A position is the account's net one; the book says whose."""

    @property
    def name(self) -> str: ...

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]:
        """Return what trading about ``size`` units would cost, for each listed perpetual."""
        ...

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:
        """Return the open positions. Raises TransientError: what cannot be read is never nothing."""
        ...

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Do one order to its end. Never raises VenueRejected: a refusal is an outcome."""
        ...

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        """Say what became of an order that an earlier run left open, from the chain alone."""
        ...

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        """Return how signed ``size`` units ended without an order of ours, None where nothing proves it."""
        ...


class AccountVenue(Protocol):
    """Where orders on positions and loans go (R21, R29)."""

    async def execute(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        """Do one order to its end. Never raises VenueRejected: a refusal is an outcome."""
        ...

    async def reconcile(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        """Say what became of an order that an earlier run left open, from the chain alone."""
        ...


class CoverVenue(Protocol):
    """A mutual that sells protocol covers (R20)."""

    @property
    def name(self) -> str: ...

    async def held(self, view: MarketView) -> tuple[HeldCover, ...]:
        """Return the account's covers, ended ones that can still be claimed on included.

        Raises TransientError: what cannot be read is never nothing.
        """
        ...

    async def execute(self, order: CoverOrder, *, view: MarketView) -> CoverOutcome:
        """Do one order to its end. Never raises VenueRejected: a refusal is an outcome."""
        ...

    async def reconcile(self, order: CoverOrder, *, view: MarketView) -> CoverOutcome:
        """Say what became of an order that an earlier run left open, from the chain alone."""
        ...
