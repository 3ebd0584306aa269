"""The one loop. Every mode runs it; only where moments come from and who fills legs differ."""

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bot.engine.policy import Policy
from bot.engine.policy_vote import under_vote
from bot.errors import (
    InvariantError,
    NotFoundError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.model.account_order import AccountOutcome
from bot.model.hedge import OPEN_STATUSES, HedgeLeg, LegOutcome, LegStatus, Quote
from bot.model.market import Frame
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.policy_vote import PolicyVote
from bot.model.record import Decision, EngineState, StepRecord
from bot.model.units import HOUR_S
from bot.pipeline.account_orders import AccountOrders, AccountTerms
from bot.pipeline.book import Book, book_of, reserved
from bot.pipeline.derived import Figures, figures_history
from bot.pipeline.desk import Asked, Desk, Request
from bot.pipeline.legs import is_booked, is_filled, pending_of
from bot.pipeline.moments import Moment as Moment
from bot.pipeline.moments import quote_sizes as quote_sizes
from bot.pipeline.moments import view_of as view_of
from bot.pipeline.moments import view_spots as view_spots
from bot.pipeline.pauses import Pauses
from bot.pipeline.perpetuals import Perpetuals, PerpetualsSeen
from bot.pipeline.records import frame_hash, heartbeat, is_news, mark_usd, told
from bot.ports import AccountVenue, Journal, MarketView, PerpetualVenue, Venue, VenuePosition

Decide = Callable[[Policy, EngineState, Frame], tuple[EngineState, Decision]]

_NOTHING: Mapping[str, LegOutcome] = MappingProxyType({})
PAIR_SIGN = "+"  # between the names of the two venues that a venue of pairs stands for
# What a venue may raise when it could not look or cannot tell: nothing is known of the leg or the book.
_UNSEEN = (OutcomeUnknown, TransientError, StaleDataError, VenueRejected)


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

    ``venues`` maps a venue's name to its port, ``perpetual_venues`` likewise (R27). The engine state and the
    book come from the journal, so a new Pipeline on the same journal goes on where the last one stopped.
    """

    mode: str
    policy: Policy
    decide: Decide
    venues: Mapping[str, Venue]
    journal: Journal
    max_price_age_s: float = math.inf  # older prices are unknown to venues (policy)
    before_record: Callable[["Step"], None] = lambda _: None  # what the record cites must be on disk first
    figures: Figures | None = None  # what the book earned so far; none: a book that begins now
    desk: Desk | None = None  # where a person leaves a pause and orders of their own
    perpetual_venues: Mapping[str, PerpetualVenue] = field(default_factory=dict)
    account_venue: AccountVenue | None = None  # acts on positions and loans (R21, R29)
    _state: EngineState = field(init=False)
    _book: Book = field(init=False)
    _last: StepRecord | None = field(init=False)
    _last_full_s: float = field(init=False, default=-math.inf)
    _told: frozenset[tuple[str, str, str]] = field(init=False, default=frozenset())  # in that record
    _unread: bool = field(init=False, default=False)  # a venue could not be read in this step
    _figures: Figures = field(init=False)
    _pauses: Pauses = field(init=False)
    _perpetuals: Perpetuals = field(init=False)
    _accounts: AccountOrders = field(init=False)
    _seen: PerpetualsSeen = field(init=False, default_factory=PerpetualsSeen)  # of this step
    _executed: tuple[LegOutcome, ...] = field(init=False)  # in blocks that no moment has reached yet
    _pending: Mapping[str, tuple[LegStatus, str]] = field(init=False, default_factory=dict)  # last look
    _voted: tuple[PolicyVote | None, Policy] | None = field(init=False, default=None)
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
        self._perpetuals = Perpetuals(
            venues=self.perpetual_venues, journal=self.journal, pause_s=(first_s, longest_s)
        )
        self._accounts = AccountOrders(
            venue=self.account_venue,
            journal=self.journal,
            terms=AccountTerms(
                session_s=self.policy.tiers.session,
                valid_for_s=self.policy.orders.valid_for,
                pause_s=(first_s, longest_s),
            ),
        )
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
        asked = self.desk.asked() if self.desk is not None else Asked()
        moment = replace(moment, holds=(*moment.holds, *asked.holds))
        view = view_of(moment, max_age_s=self.max_price_age_s)
        reconciled = await self._reconcile(view)
        known = await self._perpetuals.reconcile(view)
        await self._accounts.reconcile(view)
        frame = await self._frame(moment, view)
        # Marks are taken before this step's legs, so the cash flow beside them is too.
        parts = (self._book, self._perpetuals, self._accounts)
        cash_flow_usd = sum(item.cash_flow_usd for item in parts)
        policy = self._policy_under(moment.vote)
        self._state, decision = self.decide(policy, self._state, frame)
        # A person's orders go first: what the plan wants after them is decided anew at the next step.
        own, moved = await self._execute_asked(asked, view)
        moved = await self._accounts.act(decision.proposals, frame.exposures, view) or moved
        first = moved or bool(own)
        traded = () if first else await self._perpetuals.execute(decision.perpetuals, view)
        outcomes = own if first else await self._execute_plan(decision.plan.legs, view)
        record = self._record(
            frame,
            decision,
            (*reconciled, *outcomes),
            cash_flow_usd,
            perpetuals=(*known, *self._seen.ends, *traded),
            account_orders=self._accounts.news(),
            vote=moment.vote,
        )
        self._figures.flush()
        self.before_record(Step(moment=moment, frame=frame, decision=decision, record=record))
        self.journal.append_step(record)
        self._last = record
        return record

    @property
    def last(self) -> StepRecord | None:
        """The newest record, also one of an earlier run."""
        return self._last

    def _policy_under(self, vote: PolicyVote | None) -> Policy:
        """Return the policy that decides while a vote is in force; hashed once for each vote."""
        if self._voted is None or self._voted[0] != vote:
            self._voted = (vote, under_vote(self.policy, vote))
        return self._voted[1]

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
        before, self._pending = self._pending, pending_of(closed)
        same = {key for key, said in self._pending.items() if before.get(key) == said}
        return tuple(item for item in closed if item.leg.key not in same)

    async def _frame(self, moment: Moment, view: MarketView) -> Frame:
        held, quotes, unread = await self._ask_venues(moment, view)
        self._seen = await self._perpetuals.look(
            view,
            quote_sizes(self.policy, moment.exposures, view),
            paired=self._book.paired,
            pair_block=self._book.pair_block,
        )
        held = self._book.paired_positions(held, self._seen.marks_usd)
        self._unread = bool(unread or self._seen.unread)
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
            pair_venues=tuple(name for name in self.venues if PAIR_SIGN in name),
            open_legs=(
                *(leg.key for leg in (*open_legs, *(item.leg for item in ahead))),
                *self._pauses.keys(moment.now_s),
            ),
        )
        frame = self._perpetuals.added(frame, self._seen, now_s=moment.now_s)
        is_booked = self._seen.is_whole and not (unread or unexplained or ahead)
        return self._figures.added(frame, is_booked=is_booked, unread={**unread, **self._seen.unread})

    def _still_held(
        self, positions: Sequence[VenuePosition], ahead: Sequence[LegOutcome]
    ) -> list[VenuePosition]:
        """Leave out what was closed after the block at which the venue listed it."""
        touched = {
            (venue, item.position_id)
            for item in ahead
            for venue in (item.leg.instrument.venue, item.leg.conversion and item.leg.conversion.option.venue)
            if venue
        }
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

    async def order(self, request: Request, moment: Moment) -> tuple[LegOutcome, ...]:
        """Do a person's orders and nothing else; what an earlier run left open is looked up first."""
        view = view_of(moment, max_age_s=self.max_price_age_s)
        reconciled = await self._reconcile(view)
        await self._accounts.reconcile(view)
        outcomes, _ = await self._execute_request(request, view)
        return (*reconciled, *outcomes)

    async def look(self, moment: Moment) -> Frame:
        """Return what is held and quoted at a moment, and decide nothing. Raises TransientError."""
        return await self._frame(moment, view_of(moment, max_age_s=self.max_price_age_s))

    async def _execute_asked(self, asked: Asked, view: MarketView) -> tuple[list[LegOutcome], bool]:
        """Do the orders that a person left, each once: the journal knows which were begun.

        Returns what became of legs, and whether an order on a position or loan was begun.
        """
        outcomes: list[LegOutcome] = []
        moved = False
        for path, request in asked.requests:
            done, begun = await self._execute_request(request, view)
            outcomes, moved = [*outcomes, *done], moved or begun
            if self.desk is not None and not self._waits(request):
                self.desk.done(path)
        return outcomes, moved

    async def _execute_request(self, request: Request, view: MarketView) -> tuple[list[LegOutcome], bool]:
        if self._waits(request):
            return [], False
        done = {item.leg.key: item for item in self.journal.outcomes()}
        legs = [leg for leg in request.legs if leg.key not in done]
        outcomes = await self._execute_plan(legs, view, done)
        return outcomes, await self._accounts.execute(request.account_orders, view)

    def _waits(self, request: Request) -> bool:
        """Say whether an order is open that is the request's own or in the way of one of its own."""
        places = {(leg.group, leg.layer) for leg in request.legs}
        return any(
            (leg.group, leg.layer) in places for leg in self.journal.open_legs()
        ) or self._accounts.is_open(request.account_orders)

    async def _execute_plan(
        self, legs: Sequence[HedgeLeg], view: MarketView, earlier: Mapping[str, LegOutcome] = _NOTHING
    ) -> list[LegOutcome]:
        """Execute legs in order; stop at one whose end is open, since what follows may rest on it."""
        done: dict[str, LegOutcome] = {}
        for leg in legs:
            if leg.only_after and not is_filled({**earlier, **done}.get(leg.only_after)):
                continue  # the protection that was to replace this leg's was not had
            done[leg.key] = await self._execute(leg, view)
            if done[leg.key].status in OPEN_STATUSES:
                break
        return list(done.values())

    @property
    def perpetuals(self) -> Perpetuals:
        """The part that trades perpetuals, with its book."""
        return self._perpetuals

    @property
    def accounts(self) -> AccountOrders:
        """The part that acts on positions and loans."""
        return self._accounts

    async def _execute(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        leg = self._book.with_parts(leg)
        self.journal.open_leg(leg, at_s=view.now_s)
        try:
            outcome = await self._venue(leg).execute(leg, view=view)
        except _UNSEEN as error:
            return LegOutcome(leg=leg, status=LegStatus.UNKNOWN, at_s=view.now_s, because=str(error))
        return self._close(outcome)

    def _close(self, outcome: LegOutcome) -> LegOutcome:
        if not is_booked(outcome):
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
        *,
        perpetuals: tuple[PerpetualOutcome, ...],
        account_orders: tuple[AccountOutcome, ...],
        vote: PolicyVote | None,
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
            hedge_value_usd=math.nan if self._unread else self._hedge_value_usd(frame),
            cash_flow_usd=cash_flow_usd,
            indicative=self._indicative,
            vote=vote,
            perpetuals=perpetuals,
            account_orders=account_orders,
        )
        now_told = told(decision)
        is_due = frame.now_s - self._last_full_s >= HOUR_S
        if is_due or is_news(record, last) or now_told != self._told:
            self._last_full_s, self._told = frame.now_s, now_told
            return record
        return heartbeat(record)

    def _hedge_value_usd(self, frame: Frame) -> float:
        """Return the marks of options and what open perpetuals would gain; their margin is in no sum."""
        return sum(mark_usd(hedge) for hedge in frame.held) + self._seen.open_value_usd
