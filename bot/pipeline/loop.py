"""The one loop. Every mode runs it; only where moments come from and who fills legs differ."""

import hashlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.engine.policy import Policy
from bot.errors import (
    InvariantError,
    NotFoundError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.model.base_layers import NOTHING_STATED, BaseHoldings
from bot.model.exposure import Exposure
from bot.model.hedge import OPEN_STATUSES, HedgeLeg, HeldHedge, LegOutcome, LegStatus, Quote
from bot.model.market import Block, Columns, Frame, Metric
from bot.model.reasons import kind_of
from bot.model.record import Decision, EngineState, StepRecord
from bot.model.units import HOUR_S
from bot.pipeline.book import Book, book_of, reserved
from bot.pipeline.derived import Figures, figures_history
from bot.pipeline.pauses import Pauses
from bot.ports import Journal, MarketView, Venue, VenuePosition

Decide = Callable[[Policy, EngineState, Frame], tuple[EngineState, Decision]]

# What a venue may raise when it could not look or cannot tell: nothing is known of the leg or the book.
_UNSEEN = (OutcomeUnknown, TransientError, StaleDataError, VenueRejected)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """A frame before the venues were asked: what a source knows at one time."""

    now_s: float
    blocks: Mapping[int, Block]
    columns: Columns
    exposures: tuple[Exposure, ...]
    holds: tuple[str, ...] = field(default=())
    unseen: tuple[str, ...] = field(default=())  # positions that were not read since the start
    base: BaseHoldings = NOTHING_STATED  # of the base layers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """All that one step saw and decided, whole: a record may be a heartbeat."""

    moment: Moment
    frame: Frame
    decision: Decision
    record: StepRecord


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Drives moments through quotes, decision, execution and journal.

    ``venues`` maps a venue's name to its port. The engine state and the book come from the journal,
    so a new Pipeline on the same journal goes on where the last one stopped.
    """

    mode: str
    policy: Policy
    decide: Decide
    venues: Mapping[str, Venue]
    journal: Journal
    max_price_age_s: float = math.inf  # older prices are unknown to venues (policy)
    before_record: Callable[["Step"], None] = lambda _: None  # what the record cites must be on disk first
    figures: Figures | None = None  # what the book earned so far; none: a book that begins now
    _state: EngineState = field(init=False)
    _book: Book = field(init=False)
    _last: StepRecord | None = field(init=False)
    _last_full_s: float = field(init=False, default=-math.inf)
    _told: frozenset[tuple[str, str, str]] = field(init=False, default=frozenset())  # in that record
    _unread: bool = field(init=False, default=False)  # a venue could not be read in this step
    _figures: Figures = field(init=False)
    _pauses: Pauses = field(init=False)
    _executed: tuple[LegOutcome, ...] = field(init=False)  # in blocks that no moment has reached yet
    _pending: Mapping[str, tuple[LegStatus, str]] = field(init=False, default_factory=dict)  # last look
    _indicative: bool = field(init=False)  # the book holds, or held, fills at indicative quotes

    def __post_init__(self) -> None:
        self._last = self.journal.last_step()
        self._state = self._last.state if self._last else EngineState()
        self._executed = self.journal.outcomes()
        self._book = book_of(self._executed)
        self._indicative = any(item.indicative for item in self._executed)
        first_s, longest_s = self.policy.orders.refusal_pause
        self._pauses = Pauses(first_s=first_s, longest_s=longest_s)
        self._pauses.note(self._executed)
        bar_s = self.policy.signals.bar_s
        self._figures = self.figures or Figures(figures_history(self.policy), bar_s=bar_s)

    async def run(self, moments: AsyncIterator[Moment]) -> AsyncIterator[StepRecord]:
        """Yield one record per moment, after it is in the journal."""
        async for moment in moments:
            yield await self.step(moment)

    async def step(self, moment: Moment) -> StepRecord:
        """Do one step: reconcile, look, decide, act, record.

        Raises InvariantError when the moment is not later than the last one of the journal.
        """
        if self._last and not moment.now_s > self._last.decision.now_s:
            raise InvariantError(
                f"a moment must be later than the journal's last, "
                f"{self._last.decision.now_s}, was {moment.now_s}"
            )
        view = view_of(moment, max_age_s=self.max_price_age_s)
        reconciled = await self._reconcile(view)
        frame = await self._frame(moment, view)
        # Marks are taken before this step's legs, so the cash flow beside them is too.
        cash_flow_usd = self._book.cash_flow_usd
        self._state, decision = self.decide(self.policy, self._state, frame)
        outcomes = await self._execute_plan(decision.plan.legs, view)
        record = self._record(frame, decision, (*reconciled, *outcomes), cash_flow_usd)
        self._figures.flush()
        self.before_record(Step(moment=moment, frame=frame, decision=decision, record=record))
        self.journal.append_step(record)
        self._last = record
        return record

    @property
    def last(self) -> StepRecord | None:
        """The newest record, also one of an earlier run."""
        return self._last

    async def positions(self, moment: Moment) -> tuple[VenuePosition, ...]:
        """Return what all venues hold, marked at a moment. Raises TransientError."""
        view = view_of(moment, max_age_s=self.max_price_age_s)
        return tuple([item for venue in self.venues.values() for item in await venue.held(view)])

    async def _reconcile(self, view: MarketView) -> tuple[LegOutcome, ...]:
        """Close what an earlier step or run left open, from chain facts alone."""
        closed = []
        for leg in self.journal.open_legs():
            try:
                outcome = replace(await self._venue(leg).reconcile(leg, view=view), reconciled=True)
            except _UNSEEN:
                continue  # stays open: blocks its layer and holds its budget until a fact is known
            closed.append(self._close(outcome))
        before, self._pending = self._pending, _pending(closed)
        same = {key for key, said in self._pending.items() if before.get(key) == said}
        return tuple(item for item in closed if item.leg.key not in same)

    async def _frame(self, moment: Moment, view: MarketView) -> Frame:
        held, quotes, unread = await self._ask_venues(moment, view)
        self._unread = bool(unread)
        ahead = self._ahead_of(view)
        held = self._still_held(held, ahead)
        unexplained = () if self._unread else self._book.unexplained(held, now_s=moment.now_s)
        open_legs = self.journal.open_legs()
        frame = Frame(
            now_s=moment.now_s,
            blocks=moment.blocks,
            columns=moment.columns,
            exposures=moment.exposures,
            held=self._book.hedges(held, now_s=moment.now_s),
            quotes=quotes,
            spends=(*self._book.spends, *reserved(open_legs)),
            holds=(*moment.holds, *unread.values(), *unexplained),
            unseen=moment.unseen,
            base=moment.base,
            open_legs=(
                *(leg.key for leg in (*open_legs, *(item.leg for item in ahead))),
                *self._pauses.keys(moment.now_s),
            ),
        )
        is_booked = not (unread or unexplained or ahead)
        return self._figures.added(frame, is_booked=is_booked, unread=unread)

    def _still_held(
        self, positions: Sequence[VenuePosition], ahead: Sequence[LegOutcome]
    ) -> list[VenuePosition]:
        """Leave out what was closed after the block at which the venue listed it."""
        touched = {(item.leg.instrument.venue, item.position_id) for item in ahead}
        closed = touched - self._book.purchases.keys()
        return [item for item in positions if (item.instrument.venue, item.id) not in closed]

    def _ahead_of(self, view: MarketView) -> tuple[LegOutcome, ...]:
        """Return what was executed after the pinned block and so cannot be read at it.

        Its layers wait for a later block, or what is left of a position sold in part would be sold as if it
        were whole; and a position that it closed is not held any more, or it would be settled twice.
        """
        height = view.block.number if view.block else math.inf
        self._executed = tuple(item for item in self._executed if item.block_number > height)
        return self._executed

    async def _ask_venues(
        self, moment: Moment, view: MarketView
    ) -> tuple[list[VenuePosition], tuple[Quote, ...], dict[str, str]]:
        """Return what is held, the quotes, and why a venue could not be read, by its name."""
        held: list[VenuePosition] = []
        quotes: list[Quote] = []
        unread: dict[str, str] = {}
        for name, venue in self.venues.items():
            try:
                held.extend(await venue.held(view))
                for underlying, size in quote_sizes(self.policy, moment.exposures, view).items():
                    quotes.extend(await venue.quotes(view, underlying=underlying, size=size))
            except _UNSEEN as error:
                # Without the venue's own book we could buy what is held already.
                unread[name] = f"venue {name} could not be read: {error}"
        return held, tuple(quotes), unread

    async def _execute_plan(self, legs: Sequence[HedgeLeg], view: MarketView) -> list[LegOutcome]:
        """Execute legs in order; stop at one whose end is open, since what follows may rest on it."""
        done: dict[str, LegOutcome] = {}
        for leg in legs:
            if leg.only_after and not _is_filled(done.get(leg.only_after)):
                continue  # the protection that was to replace this leg's was not had
            done[leg.key] = await self._execute(leg, view)
            if done[leg.key].status in OPEN_STATUSES:
                break
        return list(done.values())

    async def _execute(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        self.journal.open_leg(leg, at_s=view.now_s)
        try:
            outcome = await self._venue(leg).execute(leg, view=view)
        except _UNSEEN as error:
            return LegOutcome(leg=leg, status=LegStatus.UNKNOWN, at_s=view.now_s, because=str(error))
        return self._close(outcome)

    def _close(self, outcome: LegOutcome) -> LegOutcome:
        if not _is_booked(outcome):
            why = f"booked without a known price: {outcome}"
            outcome = LegOutcome(leg=outcome.leg, status=LegStatus.UNKNOWN, at_s=outcome.at_s, because=why)
        if outcome.status in OPEN_STATUSES:
            return outcome  # stays open in the journal: it holds its budget and blocks its layer
        self.journal.close_leg(outcome)
        self._executed = (*self._executed, outcome)
        self._indicative = self._indicative or outcome.indicative
        self._pauses.note([outcome])
        self._book = self._book.after(outcome)
        return outcome

    def _venue(self, leg: HedgeLeg) -> Venue:
        try:
            return self.venues[leg.instrument.venue]
        except KeyError:
            raise NotFoundError(
                f"leg {leg.key} belongs to venue {leg.instrument.venue!r}, configured are "
                f"{', '.join(self.venues) or 'none'}; add the venue to the configuration"
            ) from None

    def _record(
        self,
        frame: Frame,
        decision: Decision,
        outcomes: tuple[LegOutcome, ...],
        cash_flow_usd: float,
    ) -> StepRecord:
        last = self._last
        record = StepRecord(
            sequence=last.sequence + 1 if last else 1,
            mode=self.mode,
            decision=decision,
            state=self._state,
            outcomes=outcomes,
            frame_hash=frame_hash(frame),
            spot_usd=dict(view_spots(frame.columns, frame.exposures)),
            exposure_value_usd={
                item.id: item.value_usd + item.fees_uncollected_usd for item in frame.exposures
            },
            hedge_value_usd=math.nan if self._unread else sum(_mark(hedge) for hedge in frame.held),
            cash_flow_usd=cash_flow_usd,
            indicative=self._indicative,
        )
        told = _told(decision)
        is_due = frame.now_s - self._last_full_s >= HOUR_S
        if is_due or _is_news(record, last) or told != self._told:
            self._last_full_s, self._told = frame.now_s, told
            return record
        return _heartbeat(record)


def view_of(moment: Moment, *, max_age_s: float = math.inf) -> MarketView:
    """Return what a venue may know of a moment. A price older than ``max_age_s`` is unknown to it."""
    prices = {
        key.subject: _fresh(moment.columns.latest(Metric.PRICE_USD, key.subject), moment.now_s - max_age_s)
        for key in moment.columns.find(Metric.PRICE_USD)
    }
    return MarketView(
        now_s=moment.now_s,
        block=next(iter(moment.blocks.values()), None),
        columns=moment.columns,
        spot_usd=prices,
        stable_usd=prices,
    )


def _fresh(latest: tuple[float, float], since_s: float) -> float:
    value, observed_at_s = latest
    return value if observed_at_s >= since_s else math.nan


def view_spots(columns: Columns, exposures: Sequence[Exposure]) -> Mapping[str, float]:
    """Return the newest price of every underlying that is protected; NaN when none is known."""
    return {
        name: columns.latest(Metric.PRICE_USD, name)[0]
        for name in sorted({item.underlying for item in exposures})
    }


def _pending(outcomes: Sequence[LegOutcome]) -> Mapping[str, tuple[LegStatus, str]]:
    """Return what is known of legs that others must act on: it is news only when it changes."""
    waits = (LegStatus.PROPOSED, LegStatus.WAITING)
    return {item.leg.key: (item.status, item.because) for item in outcomes if item.status in waits}


def _is_filled(outcome: LegOutcome | None) -> bool:
    """Say whether a leg was had whole: after a part the next decision says what may be sold for it."""
    return outcome is not None and outcome.status is LegStatus.FILLED


def _is_booked(outcome: LegOutcome) -> bool:
    """Say whether all money of an outcome is known: one NaN in the ledger would be there for a year."""
    money = (outcome.premium_usd, outcome.fee_usd, outcome.swap_usd, outcome.gas_usd, outcome.filled_size)
    return all(math.isfinite(value) for value in money)


def frame_hash(frame: Frame) -> str:
    """Return a digest of what a frame was cut from: its time, blocks, and the end of each column."""
    digest = hashlib.sha256(repr(frame.now_s).encode())
    for chain_id, block in sorted(frame.blocks.items()):
        digest.update(f"{chain_id}:{block.hash}".encode())
    for key in sorted(frame.columns.series):
        column = frame.columns.series[key]
        digest.update(f"{key}#{column.times_s.size}".encode())
        digest.update(column.times_s[-1:].tobytes() + column.values[-1:].tobytes())
    return digest.hexdigest()


def quote_sizes(policy: Policy, exposures: Sequence[Exposure], view: MarketView) -> dict[str, float]:
    """Return, per underlying with a known price, how many contracts to ask quotes for.

    A token's exposure asks for the factors' options too, which may stand in for its own (R8).
    """
    sizes: dict[str, float] = {}
    factors = policy.sizing.factors.assets
    for item in exposures:
        for name in (item.underlying, *(factors if item.underlying not in factors else ())):
            spot = view.spot_usd.get(name, math.nan)
            if spot > 0.0 and item.value_usd > 0.0:
                units = policy.orders.quote_share * item.value_usd / spot
                sizes[name] = sizes.get(name, 0.0) + units
    return sizes


def _mark(hedge: HeldHedge) -> float:
    """Return what a hedge counts for: a sale now, else the model; nothing while it is only to be booked."""
    if math.isfinite(hedge.liquidation_usd):
        return hedge.liquidation_usd
    return hedge.model_usd if math.isfinite(hedge.model_usd) else 0.0


def _is_news(record: StepRecord, last: StepRecord | None) -> bool:
    if last is None or record.outcomes or record.decision.plan.legs:
        return True
    if list(map(kind_of, record.decision.holds)) != list(map(kind_of, last.decision.holds)):
        return True  # the age of a stale price alone is none
    if record.state.protocol_tiers != last.state.protocol_tiers:
        return True
    before = {item.group: item.tier for item in last.decision.groups}
    return any(before.get(item.group) != item.tier for item in record.decision.groups)


def _told(decision: Decision) -> frozenset[tuple[str, str, str]]:
    """Return what base layers propose and how many findings of each rule stand, without their figures."""
    fired = Counter(item.rule for item in decision.findings if item.fired)
    proposed = [item.key for item in decision.proposals]
    return frozenset((*proposed, *((rule, "fired", str(count)) for rule, count in fired.items())))


def _heartbeat(record: StepRecord) -> StepRecord:
    """Drop what repeats the last full record: readings, votes, findings and proposals."""
    protocols = tuple(replace(item, findings=()) for item in record.decision.protocols)
    groups = tuple(
        replace(item, votes=(), findings=(), reads=(), fast_reads=(), alternatives=(), refused_quotes=())
        for item in record.decision.groups
    )
    decision = replace(record.decision, readings=(), groups=groups, protocols=protocols, findings=())
    decision = replace(decision, proposals=())
    return replace(record, decision=decision, is_heartbeat=True)
