"""What the pipeline asks of the outside. Protocols only; app.py picks who implements them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from bot.model.account_order import AccountFact, AccountOrder, AccountOutcome
from bot.model.execution import NOTHING_DUE, Due, Ended, ExecutionPlan, SignedMessage, TradeFact
from bot.model.exposure import Exposure
from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, Quote
from bot.model.intent import IntentEvent, Log, Receipt, TxRequest
from bot.model.market import Block, Columns, Observation, SeriesKey
from bot.model.perpetual import (
    Perpetual,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualFact, PerpetualOutcome
from bot.model.record import StepRecord
from bot.model.signing import Permission


class Call(NamedTuple):
    """One view call: where, calldata, and the ABI types of what comes back."""

    target: str
    data: bytes
    outputs: tuple[str, ...]


class BlockLog(NamedTuple):
    """One event log and where it stands."""

    log: Log
    block_number: int
    block_hash: str
    tx_hash: str
    tx_index: int
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeHistory:
    """Fees of consecutive blocks, oldest first, wei."""

    oldest_block: int
    base_fee_wei: tuple[int, ...]  # one more than blocks: the last is the next block's
    gas_used_share: tuple[float, ...]
    reward_wei: tuple[tuple[int, ...], ...]  # [block][percentile]


class ChainReader(Protocol):
    """Reads of one chain. Every read is pinned to a block hash."""

    @property
    def chain_id(self) -> int: ...

    async def head(self) -> Block:
        """Return the newest block. Raises TransientError."""
        ...

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        """Return one decoded tuple per call, None where that call failed or came back empty.

        Raises TransientError when the batch as a whole could not be read, StaleDataError when the
        block is no longer canonical.
        """
        ...

    async def simulate(
        self,
        *,
        to: str,
        data: bytes,
        block: Block,
        sender: str,
        overrides: Mapping[str, Any] | None = None,
        gas: int | None = None,
    ) -> bytes:
        """Return what the call would return, with at most ``gas``. Raises VenueRejected with the reason."""
        ...

    async def storage_at(self, address: str, slot: int, *, block: Block) -> bytes: ...

    async def has_code(self, address: str, *, block: Block) -> bool: ...

    async def logs(
        self, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
    ) -> list[BlockLog]:
        """Return the logs of a block range, both ends included, in the order of the chain.

        ``topics`` lists the allowed values of each topic; empty means any. Never silently short: raises
        TransientError when the range could not be read whole, StaleDataError when ``to`` is not canonical.
        """
        ...

    async def fee_history(self, *, blocks: int, percentiles: Sequence[float], to: Block) -> FeeHistory:
        """Return base and priority fees of the ``blocks`` blocks that end with ``to``."""
        ...


class Watcher(Protocol):
    """One source of observations on one chain.

    A watcher is a frozen dataclass whose fields are its configuration: ``[[watch]]`` tables name its kind
    and its fields, contract addresses are typed ``bot.chain.address.Address``.
    """

    @property
    def name(self) -> str: ...

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        """Every series this watcher is configured to produce, so that absent and missing differ."""
        ...

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        """Return one observation per series; NaN with ``why_unknown`` where it could not be read."""
        ...


class WebReader(Protocol):
    """Reads of public HTTP sources: one deadline per call, rate limits kept, nothing secret in an error."""

    async def get(self, url: str, *, params: Mapping[str, str] | None = None) -> Any:
        """Return the decoded JSON body. Raises TransientError, also when the source asks for a pause."""
        ...

    async def post(self, url: str, *, body: Mapping[str, Any]) -> Any: ...

    async def text(self, url: str, *, params: Mapping[str, str] | None = None) -> str:
        """Return the body as text (CSV, iCalendar)."""
        ...


class WebSource(Protocol):
    """One source of observations outside of any chain. A frozen dataclass, configured like a Watcher."""

    @property
    def name(self) -> str: ...

    @property
    def series(self) -> tuple[SeriesKey, ...]: ...

    @property
    def every_s(self) -> float:
        """How often the source has something new, seconds."""
        ...

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        """Return what is newest, one observation per series; NaN with ``why_unknown`` where it failed."""
        ...

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return what the source still knows of a time span, oldest first; empty where it keeps none."""
        ...


class PositionReader(Protocol):
    """Reads protected positions. A position that cannot be read raises; it is never zero."""

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]: ...


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

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes for every listed option, at about ``size`` contracts each."""
        ...

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]: ...

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Do one leg to its end. Never raises VenueRejected: a refusal is an outcome."""
        ...

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Say what became of a leg that an earlier run left open, from the chain alone."""
        ...


class VenueAdapter(Protocol):
    """What is known of one option venue: what it lists and asks, what is held there, how an order is done.

    It sends nothing. `bot.venues.planned.PlannedVenue` makes a ``Venue`` of it and carries its plans out.
    """

    @property
    def name(self) -> str: ...

    @property
    def least_gas_ceiling(self) -> int:
        """Gas limit that a signer must allow: under a smaller one a leg would fail half-way."""
        ...

    @property
    def goes_on_after(self) -> frozenset[str]:
        """Purposes of steps that a Wait follows: an order that got this far goes on at a later block."""
        ...

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that a plan may hold, known without asking the chain."""
        ...

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """See Venue."""
        ...

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """See Venue. Each position says what is due of it."""
        ...

    async def plan(
        self, leg: HedgeLeg, *, view: MarketView, head: Block, done: Mapping[str, Receipt]
    ) -> ExecutionPlan:
        """Return how to do a leg from the state at ``head``; steps that are ``done`` (by purpose) left out.

        The very trade is run by eth_call first. Raises VenueRejected when it is not possible within the
        leg's limit, or the instrument on the chain is another (REL-D8); nothing was sent then.
        """
        ...

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, view: MarketView) -> TradeFact | None:
        """Return what the receipts of a leg (by purpose) say it did, None where its trade did not succeed.

        Raises InvariantError when the trade succeeded without its event.
        """
        ...

    async def ended(self, leg: HedgeLeg, *, view: MarketView, head: Block) -> Ended | None:
        """Return how the position of a SETTLE leg ended without it, None while it is ours to settle."""
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


class PerpetualAdapter(Protocol):
    """What is known of one perpetual venue. `bot.venues.planned_perpetual` carries out its plans."""

    @property
    def name(self) -> str: ...

    @property
    def least_gas_ceiling(self) -> int: ...

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that a plan may hold, known without asking the chain."""
        ...

    async def perpetual_quotes(
        self, view: MarketView, *, underlying: str, size: float
    ) -> tuple[PerpetualQuote, ...]: ...

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]: ...

    async def plan(self, order: PerpetualOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """Return how to do an order from the state at ``head``, with the very trade run by eth_call first.

        Raises VenueRejected when it is not possible within the order's limit and time.
        """
        ...

    async def after(
        self, order: PerpetualOrder, receipts: Mapping[str, Receipt], *, view: MarketView, head: Block
    ) -> ExecutionPlan | None:
        """Return what takes back margin that an order, done or failed half-way, leaves idle."""
        ...

    def fact(
        self, order: PerpetualOrder, receipts: Mapping[str, Receipt], *, view: MarketView
    ) -> PerpetualFact | None:
        """Return what the receipts (by purpose) say was done, None where nothing was."""
        ...

    def margin_moved(self, receipts: Mapping[str, Receipt], *, view: MarketView) -> float:
        """Return what the receipts moved to the venue, USD; negative where more was taken back."""
        ...

    async def ended(
        self, perpetual: Perpetual, size: float, *, view: MarketView, since_block: int
    ) -> PerpetualEnd | None:
        """See PerpetualVenue."""
        ...


class AccountAdapter(Protocol):
    """How one position or loan is acted on (R21, R29). `bot.venues.planned_account` carries it out."""

    @property
    def name(self) -> str:
        """The exposure or loan that its orders name as their subject."""
        ...

    @property
    def least_gas_ceiling(self) -> int: ...

    def permissions(self) -> tuple[Permission, ...]: ...

    async def plan(self, order: AccountOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """Return how to do an order, with the very call run by eth_call first. Raises VenueRejected."""
        ...

    def fact(
        self, order: AccountOrder, receipts: Mapping[str, Receipt], *, view: MarketView
    ) -> AccountFact | None:
        """Return what the receipts (by purpose) say was done, None where nothing was."""
        ...


class AccountVenue(Protocol):
    """Where orders on positions and loans go (R21, R29)."""

    async def execute(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        """Do one order to its end. Never raises VenueRejected: a refusal is an outcome."""
        ...

    async def reconcile(self, order: AccountOrder, *, view: MarketView) -> AccountOutcome:
        """Say what became of an order that an earlier run left open, from the chain alone."""
        ...


class Transactor(Protocol):
    """Sends transactions under the money rules; one per (chain, account)."""

    @property
    def address(self) -> str: ...

    async def send(self, request: TxRequest) -> Receipt:
        """Simulate, reserve a nonce, sign, journal, broadcast, wait to confirmation depth.

        Raises VenueRejected when the simulation reverts (nothing was signed) or the transaction was
        mined without effect, OutcomeUnknown when neither success nor failure is proved.
        """
        ...

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """Drive every open intent of a leg to a closing fact, by the bytes on disk.

        Returns the receipts by purpose, that of a cancel under "<purpose>-cancelled". Waits only briefly:
        raises OutcomeUnknown when a fact cannot be had now.
        """
        ...


class Messenger(Protocol):
    """Signs messages for a service off the chain and gives them to it, each once."""

    async def send(self, message: SignedMessage, *, leg_key: str, valid_until_s: float) -> Receipt:
        """Sign, journal, post. The receipt's only log holds the service's reply as JSON, its hash is its id.

        Raises VenueRejected when the service refused it for good, OutcomeUnknown when that is not known.
        """
        ...

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """As ``Transactor.resume``: ask the service what became of what was sent; sends nothing."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """Proposes a whole plan to the owners of a Safe, which sends it as one transaction or not at all."""

    @property
    def address(self) -> str:
        """The Safe: whose money and positions they are."""
        ...

    async def propose(self, requests: Sequence[TxRequest]) -> Mapping[str, Receipt]:
        """Propose the transactions of one order as one batch; receipts by purpose once it was executed.

        They all are the batch's receipt. Raises AwaitingSignatures until then, VenueRejected when the batch
        would fail (nothing was proposed) or was executed without effect, OutcomeUnknown when that cannot be
        seen. A key that was proposed before is followed, never proposed a second time.
        """
        ...

    async def withdraw(self, leg_key: str, *, because: str) -> None:
        """Replace an open proposal by a rejection at the same Safe nonce: its market went, or its time."""
        ...

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        """As ``Transactor.resume``; raises AwaitingSignatures while it is open."""
        ...


class Journal(Protocol):
    """Append-only and durable: a method that returned has been fsynced."""

    def open_leg(self, leg: HedgeLeg, *, at_s: float) -> None:
        """Record that a leg is being executed and reserve its budget. Refuses a known key."""
        ...

    def close_leg(self, outcome: LegOutcome) -> None: ...

    def open_legs(self) -> tuple[HedgeLeg, ...]: ...

    def outcomes(self) -> tuple[LegOutcome, ...]:
        """Return all closed legs, oldest first."""
        ...

    def open_perpetual(self, order: PerpetualOrder, *, at_s: float) -> None:
        """As ``open_leg``: recorded before anything is sent; one open order per group, beside its layers."""
        ...

    def close_perpetual(self, outcome: PerpetualOutcome) -> None: ...

    def open_perpetuals(self) -> tuple[PerpetualOrder, ...]: ...

    def perpetual_outcomes(self) -> tuple[PerpetualOutcome, ...]:
        """Return all closed orders, oldest first."""
        ...

    def open_account_order(self, order: AccountOrder, *, at_s: float) -> None:
        """As ``open_leg``: recorded before anything is sent; one open order per group, beside its layers."""
        ...

    def close_account_order(self, outcome: AccountOutcome) -> None: ...

    def open_account_orders(self) -> tuple[AccountOrder, ...]: ...

    def account_outcomes(self) -> tuple[AccountOutcome, ...]:
        """Return all closed orders on positions and loans, oldest first."""
        ...

    def append_intent(self, event: IntentEvent) -> None: ...

    def intents(self, leg_key: str | None = None) -> tuple[IntentEvent, ...]:
        """Return intent events, oldest first."""
        ...

    def append_step(self, record: StepRecord) -> None: ...

    def last_step(self) -> StepRecord | None: ...

    def steps(self, *, since_s: float = 0.0) -> Iterator[StepRecord]: ...
