"""The one loop. Every mode runs it; only where moments come from and who fills legs differ."""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace

from bot.engine.policy import Policy
from bot.engine.policy_vote import under_vote
from bot.errors import InvariantError
from bot.model.account_order import AccountOutcome
from bot.model.cover import CoverOutcome
from bot.model.hedge import LegOutcome
from bot.model.market import Frame
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.policy_vote import PolicyVote
from bot.model.record import Decision, EngineState, StepRecord
from bot.model.units import HOUR_S
from bot.pipeline.account_orders import AccountOrders, AccountTerms
from bot.pipeline.breaker_desk import Breakers
from bot.pipeline.covers import CoverOrders
from bot.pipeline.derived import Figures, figures_history
from bot.pipeline.desk import Asked, OrderDesk, Request
from bot.pipeline.moments import Moment as Moment
from bot.pipeline.moments import quote_sizes as quote_sizes
from bot.pipeline.moments import view_of as view_of
from bot.pipeline.moments import view_spots as view_spots
from bot.pipeline.options import Options, OptionsSeen
from bot.pipeline.perpetuals import Perpetuals, PerpetualsSeen
from bot.pipeline.records import frame_hash, heartbeat, is_news, mark_usd, told, values_usd
from bot.ports import AccountVenue, CoverVenue, Journal, MarketView, PerpetualVenue, Venue, VenuePosition
from bot.ports.spans import Span, no_span

Decide = Callable[[Policy, EngineState, Frame], tuple[EngineState, Decision]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """All that one step saw and decided, whole: a record may be a heartbeat."""

    moment: Moment
    frame: Frame
    decision: Decision
    record: StepRecord
    asked: tuple[Request, ...] = ()  # what a person had left for it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """What all venues said at one moment, and the frame that was made of it."""

    frame: Frame
    options: OptionsSeen
    perpetuals: PerpetualsSeen

    @property
    def hedge_value_usd(self) -> float:
        """Return the marks of options and what open perpetuals would gain; their margin is in no sum.

        NaN while a venue could not be read.
        """
        if self.options.unread or self.perpetuals.unread:
            return math.nan
        return sum(mark_usd(hedge) for hedge in self.frame.held) + self.perpetuals.open_value_usd


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
    desk: OrderDesk | None = None  # where a person leaves a pause and orders of their own
    breakers: Breakers | None = None  # pause when money goes wrong
    perpetual_venues: Mapping[str, PerpetualVenue] = field(default_factory=dict)
    account_venue: AccountVenue | None = None  # acts on positions and loans (R21, R29)
    cover_venue: CoverVenue | None = None  # covers protocols (R20)
    span: Span = no_span  # times and traces the stages of a step
    _state: EngineState = field(init=False)
    _last: StepRecord | None = field(init=False)
    _last_full_s: float = field(init=False, default=-math.inf)
    _told: frozenset[tuple[str, str, str]] = field(init=False, default=frozenset())  # in that record
    _figures: Figures = field(init=False)
    _options: Options = field(init=False)
    _perpetuals: Perpetuals = field(init=False)
    _accounts: AccountOrders = field(init=False)
    _covers: CoverOrders = field(init=False)
    _voted: tuple[PolicyVote | None, Policy] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._last = self.journal.last_step()
        self._state = self._last.state if self._last else EngineState()
        pause_s = self.policy.orders.refusal_pause
        self._options = Options(venues=self.venues, journal=self.journal, pause_s=pause_s)
        self._perpetuals = Perpetuals(venues=self.perpetual_venues, journal=self.journal, pause_s=pause_s)
        terms = AccountTerms(
            session_s=self.policy.tiers.session, valid_for_s=self.policy.orders.valid_for, pause_s=pause_s
        )
        self._accounts = AccountOrders(venue=self.account_venue, journal=self.journal, terms=terms)
        self._covers = CoverOrders(venue=self.cover_venue, journal=self.journal)
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
        with self.span("step"):
            return await self._step(moment)

    async def _step(self, moment: Moment) -> StepRecord:
        self._must_be_later(moment)
        if self.breakers is not None:
            self.breakers.begin(moment.now_s)
        asked = self.desk.asked() if self.desk is not None else Asked()
        moment = replace(moment, holds=(*moment.holds, *asked.holds))
        view = view_of(moment, max_age_s=self.max_price_age_s)
        reconciled = await self._options.reconcile(view)
        known = await self._perpetuals.reconcile(view)
        await self._accounts.reconcile(view)
        await self._covers.reconcile(view)
        moment = await self._covers.seen(moment, view)
        with self.span("quote"):
            seen = await self._look(moment, view)
        # Marks are taken before this step's legs, so the cash flow beside them is too.
        parts = (self._options, self._perpetuals, self._accounts, self._covers)
        cash_flow_usd = sum(part.cash_flow_usd for part in parts)
        policy = self._policy_under(moment.vote)
        with self.span("decide"):
            self._state, decision = self.decide(policy, self._state, seen.frame)
        if self.breakers is not None:
            self.breakers.saw(decision.holds, now_s=moment.now_s)
        with self.span("execute"):
            outcomes, traded = await self._act(asked, decision, seen.frame, view)
        record = self._record(
            seen,
            decision,
            (*reconciled, *outcomes),
            cash_flow_usd,
            perpetuals=(*known, *seen.perpetuals.ends, *traded, *self._perpetuals.news()),
            account_orders=self._accounts.news(),
            covers=self._covers.news(),
            vote=moment.vote,
        )
        requests = tuple(request for _, request in asked.requests)
        with self.span("journal"):
            self._figures.flush()
            self.before_record(
                Step(moment=moment, frame=seen.frame, decision=decision, record=record, asked=requests)
            )
            self.journal.append_step(record)
        self._last = record
        return record

    def _must_be_later(self, moment: Moment) -> None:
        if self._last and not moment.now_s > self._last.decision.now_s:
            raise InvariantError(
                f"a moment must be later than the journal's last, "
                f"{self._last.decision.now_s}, was {moment.now_s}"
            )

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
        return await self._options.held(view_of(moment, max_age_s=self.max_price_age_s))

    async def _look(self, moment: Moment, view: MarketView) -> _Seen:
        """Ask all venues, and make the frame of what they said and the book knows."""
        sizes = quote_sizes(self.policy, moment.exposures, view)
        options, book = await self._options.look(view, sizes), self._options.book
        perpetuals = await self._perpetuals.look(view, sizes, paired=book.paired, pair_block=book.pair_block)
        is_read = not (options.unread or perpetuals.unread)
        options = self._options.joined(options, perpetuals.marks_usd, now_s=moment.now_s, is_read=is_read)
        frame = Frame(
            now_s=moment.now_s,
            blocks=moment.blocks,
            columns=moment.columns,
            exposures=moment.exposures,
            holds=moment.holds,
            unseen=moment.unseen,
            base=moment.base,
        )
        frame = self._perpetuals.added(self._options.added(frame, options), perpetuals, now_s=moment.now_s)
        frame = self._covers.added(frame)
        is_booked = perpetuals.is_whole and options.is_whole
        unread = {**options.unread, **perpetuals.unread}
        frame = self._figures.added(frame, is_booked=is_booked, unread=unread)
        return _Seen(frame=frame, options=options, perpetuals=perpetuals)

    async def _act(
        self, asked: Asked, decision: Decision, frame: Frame, view: MarketView
    ) -> tuple[list[LegOutcome], list[PerpetualOutcome]]:
        """Do what a person asked for, else what the plan wants: after theirs it is decided anew."""
        own, moved = await self._execute_asked(asked, view)
        moved = await self._accounts.act(decision.proposals, frame.exposures, view) or moved
        if own or moved:
            return own, []
        traded = await self._perpetuals.execute(decision.perpetuals, view)
        return await self._options.execute(decision.plan.legs, view), traded

    async def order(self, request: Request, moment: Moment) -> tuple[LegOutcome, ...]:
        """Do a person's orders and nothing else; what an earlier run left open is looked up first."""
        view = view_of(moment, max_age_s=self.max_price_age_s)
        reconciled = await self._options.reconcile(view)
        await self._perpetuals.reconcile(view)
        await self._accounts.reconcile(view)
        await self._covers.reconcile(view)
        outcomes, _ = await self._execute_request(request, view)
        return (*reconciled, *outcomes)

    async def look(self, moment: Moment) -> Frame:
        """Return what is held and quoted at a moment, and decide nothing. Raises TransientError."""
        return (await self._look(moment, view_of(moment, max_age_s=self.max_price_age_s))).frame

    async def _execute_asked(self, asked: Asked, view: MarketView) -> tuple[list[LegOutcome], bool]:
        """Do the orders that a person left, each once: the journal knows which were begun.

        Returns what became of legs, and whether an order of another kind was begun.
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
        outcomes = await self._options.execute(legs, view, done)
        moved = [
            await self._accounts.execute(request.account_orders, view),
            await self._covers.execute(request.covers, view),
            await self._perpetuals.execute_asked(request.perpetuals, view),
        ]
        return outcomes, any(moved)

    def _waits(self, request: Request) -> bool:
        """Say whether an order is open that is the request's own or in the way of one of its own."""
        return (
            self._options.is_open(request.legs)
            or self._accounts.is_open(request.account_orders)
            or self._covers.is_open(request.covers)
            or self._perpetuals.is_open(request.perpetuals)
        )

    @property
    def perpetuals(self) -> Perpetuals:
        """The part that trades perpetuals, with its book."""
        return self._perpetuals

    @property
    def accounts(self) -> AccountOrders:
        """The part that acts on positions and loans."""
        return self._accounts

    @property
    def covers(self) -> CoverOrders:
        """The part that buys cover."""
        return self._covers

    def _record(
        self,
        seen: _Seen,
        decision: Decision,
        outcomes: tuple[LegOutcome, ...],
        cash_flow_usd: float,
        *,
        perpetuals: tuple[PerpetualOutcome, ...],
        account_orders: tuple[AccountOutcome, ...],
        covers: tuple[CoverOutcome, ...],
        vote: PolicyVote | None,
    ) -> StepRecord:
        last, frame = self._last, seen.frame
        record = StepRecord(
            sequence=last.sequence + 1 if last else 1,
            mode=self.mode,
            decision=decision,
            state=self._state,
            outcomes=outcomes,
            frame_hash=frame_hash(frame),
            spot_usd=dict(view_spots(frame.columns, frame.exposures)),
            exposure_value_usd=values_usd(frame.exposures),
            hedge_value_usd=seen.hedge_value_usd,
            perpetual_value_usd=seen.perpetuals.open_value_usd,
            cash_flow_usd=cash_flow_usd,
            indicative=self._options.indicative,
            vote=vote,
            perpetuals=perpetuals,
            account_orders=account_orders,
            covers=covers,
            exposures=frame.exposures,
            held=frame.held,
            held_perpetuals=frame.perpetuals,
        )
        now_told = told(decision)
        is_due = frame.now_s - self._last_full_s >= HOUR_S
        if is_due or is_news(record, last) or now_told != self._told:
            self._last_full_s, self._told = frame.now_s, now_told
            return record
        return heartbeat(record)
