"""The loop's part that trades options: looks, reconciles, executes legs and keeps their book.

A leg is in the journal before anything is sent, one is open per layer, and what an earlier run left open is
looked up on the chain before anything new is opened.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bot.errors import NotFoundError
from bot.model.hedge import OPEN_STATUSES, HedgeLeg, LegOutcome, LegStatus, Quote
from bot.model.market import Frame
from bot.model.perpetual import Perpetual
from bot.pipeline.book import Book, book_of, reserved
from bot.pipeline.legs import is_booked, is_filled, pending_of
from bot.pipeline.orders import UNSEEN
from bot.pipeline.pauses import Pauses
from bot.ports import Journal, MarketView, Venue, VenuePosition

PAIR_SIGN = "+"  # between the names of the two venues that a venue of pairs stands for
_NOTHING: Mapping[str, LegOutcome] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionsSeen:
    """What the venues of options said at one moment."""

    positions: tuple[VenuePosition, ...] = ()
    quotes: Sequence[Quote] = ()
    unread: Mapping[str, str] = field(default_factory=dict)  # venue -> why
    ahead: tuple[LegOutcome, ...] = ()  # executed after the pinned block
    unexplained: tuple[str, ...] = ()  # why nothing may be opened: journal and venue disagree

    @property
    def is_whole(self) -> bool:
        return not (self.unread or self.unexplained or self.ahead)


@dataclass(slots=True, kw_only=True)
class Options:
    """State is the journal's: a new one on the same journal goes on where the last stopped."""

    venues: Mapping[str, Venue]
    journal: Journal
    pause_s: tuple[float, float]  # first and longest wait after refused legs
    _book: Book = field(init=False)
    _pauses: Pauses = field(init=False)
    _executed: tuple[LegOutcome, ...] = field(init=False)  # in blocks that no moment has reached yet
    _pending: Mapping[str, tuple[LegStatus, str]] = field(init=False, default_factory=dict)  # last look
    _indicative: bool = field(init=False)

    def __post_init__(self) -> None:
        self._executed = self.journal.outcomes()
        self._book = book_of(self._executed)
        self._indicative = any(item.indicative for item in self._executed)
        first_s, longest_s = self.pause_s
        self._pauses = Pauses(first_s=first_s, longest_s=longest_s)
        self._pauses.note(self._executed)

    @property
    def book(self) -> Book:
        return self._book

    @property
    def cash_flow_usd(self) -> float:
        return self._book.cash_flow_usd

    @property
    def indicative(self) -> bool:
        """Say whether the book holds, or held, fills at indicative quotes."""
        return self._indicative

    async def reconcile(self, view: MarketView) -> tuple[LegOutcome, ...]:
        """Close what an earlier step or run left open, from chain facts alone."""
        closed = []
        for leg in self.journal.open_legs():
            try:
                outcome = replace(await self._venue(leg).reconcile(leg, view=view), reconciled=True)
            except UNSEEN:
                continue  # stays open: blocks its layer and holds its budget until a fact is known
            closed.append(self._close(outcome))
        before, self._pending = self._pending, pending_of(closed)
        same = {key for key, said in self._pending.items() if before.get(key) == said}
        return tuple(item for item in closed if item.leg.key not in same)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return what all venues hold. Raises TransientError."""
        return tuple([item for venue in self.venues.values() for item in await venue.held(view)])

    async def look(self, view: MarketView, sizes: Mapping[str, float]) -> OptionsSeen:
        """Ask every venue what is held and quoted, at about a size for each underlying."""
        positions: list[VenuePosition] = []
        offered: list[Sequence[Quote]] = []
        unread: dict[str, str] = {}
        for name, venue in self.venues.items():
            try:
                positions.extend(await venue.held(view))
                for underlying, size in sizes.items():
                    offered.append(await venue.quotes(view, underlying=underlying, size=size))
            except UNSEEN as error:
                # Without the venue's own book we could buy what is held already.
                unread[name] = f"venue {name} could not be read: {error}"
        return OptionsSeen(
            positions=tuple(positions), quotes=_together(offered), unread=unread, ahead=self._ahead_of(view)
        )

    def joined(
        self, seen: OptionsSeen, marks_usd: Mapping[Perpetual, float], *, now_s: float, is_read: bool
    ) -> OptionsSeen:
        """Return what was seen as the book knows it: pairs as what they make (R27), closed ones left out.

        Only where all venues, those of perpetuals too, were read can a difference be called unexplained.
        """
        paired = self._book.paired_positions(seen.positions, marks_usd)
        held = self._still_held(paired, seen.ahead)
        unexplained = self._book.unexplained(held, now_s=now_s) if is_read else ()
        return replace(seen, positions=held, unexplained=unexplained)

    def added(self, frame: Frame, seen: OptionsSeen) -> Frame:
        """Return the frame with options in it."""
        orders = self.journal.open_legs()
        return replace(
            frame,
            held=self._book.hedges(seen.positions, now_s=frame.now_s),
            quotes=seen.quotes,
            spends=(*frame.spends, *self._book.spends, *reserved(orders)),
            holds=(*frame.holds, *seen.unread.values(), *seen.unexplained),
            pair_venues=tuple(name for name in self.venues if PAIR_SIGN in name),
            open_legs=(
                *frame.open_legs,
                *(leg.key for leg in (*orders, *(item.leg for item in seen.ahead))),
                *self._pauses.keys(frame.now_s),
            ),
        )

    async def execute(
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

    def is_open(self, legs: Sequence[HedgeLeg]) -> bool:
        """Say whether a leg is open that is one of these or in the way of one."""
        places = {(leg.group, leg.layer) for leg in legs}
        return any((leg.group, leg.layer) in places for leg in self.journal.open_legs())

    def _still_held(
        self, positions: Sequence[VenuePosition], ahead: Sequence[LegOutcome]
    ) -> tuple[VenuePosition, ...]:
        """Leave out what was closed after the block at which the venue listed it."""
        touched = {
            (venue, item.position_id)
            for item in ahead
            for venue in (item.leg.instrument.venue, item.leg.conversion and item.leg.conversion.option.venue)
            if venue
        }
        closed = touched - self._book.purchases.keys()
        return tuple(item for item in positions if (item.instrument.venue, item.id) not in closed)

    def _ahead_of(self, view: MarketView) -> tuple[LegOutcome, ...]:
        """Return what was executed after the pinned block and so cannot be read at it.

        Its layers wait for a later block, or what is left of a position sold in part would be sold as if it
        were whole; and a position that it closed is not held any more, or it would be settled twice.
        """
        height = view.block.number if view.block else math.inf
        self._executed = tuple(item for item in self._executed if item.block_number > height)
        return self._executed

    async def _execute(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        leg = self._book.with_parts(leg)
        self.journal.open_leg(leg, at_s=view.now_s)
        try:
            outcome = await self._venue(leg).execute(leg, view=view)
        except UNSEEN as error:
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


def _together(offered: Sequence[Sequence[Quote]]) -> Sequence[Quote]:
    """Return all quotes; those of one venue and underlying alone as they came, which may be a board."""
    return offered[0] if len(offered) == 1 else tuple([item for each in offered for item in each])
