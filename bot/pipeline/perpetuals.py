"""The loop's part that trades perpetuals (R27): looks, reconciles, executes and keeps their book.

The guarantees are those of legs: an order is in the journal before anything is sent, one is open per group,
what an earlier run left open is looked up on the chain before anything new is opened.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.engine.plan import PAUSED
from bot.errors import NotFoundError
from bot.model.hedge import OPEN_STATUSES, LegStatus
from bot.model.market import Frame
from bot.model.perpetual import (
    HeldPerpetual,
    Perpetual,
    PerpetualAction,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.pipeline.orders import UNSEEN
from bot.pipeline.perpetual_book import PerpetualBook, perpetual_book_of, reserved_perpetuals
from bot.ports import Journal, MarketView, PerpetualVenue


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualsSeen:
    """What the venues of perpetuals said at one moment."""

    positions: tuple[PerpetualPosition, ...] = ()
    quotes: tuple[PerpetualQuote, ...] = ()
    held: tuple[HeldPerpetual, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)  # venue -> why
    unexplained: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()  # keys of orders executed after the pinned block
    open_value_usd: float = 0.0  # what closing at the marks would gain, less what the cash flow has already
    ends: tuple[PerpetualOutcome, ...] = ()  # booked at this look: closed by the venue on its own

    @property
    def marks_usd(self) -> Mapping[Perpetual, float]:
        marks = {item.perpetual: item.mark_usd for item in self.quotes}
        return {**marks, **{item.perpetual: item.mark_usd for item in self.positions}}

    @property
    def is_whole(self) -> bool:
        return not (self.unread or self.unexplained or self.ahead)


@dataclass(slots=True, kw_only=True)
class Perpetuals:
    """State is the journal's: a new one on the same journal goes on where the last stopped."""

    venues: Mapping[str, PerpetualVenue]
    journal: Journal
    pause_s: tuple[float, float]  # first and longest wait after refused openings
    _book: PerpetualBook = field(init=False)
    _executed: tuple[PerpetualOutcome, ...] = field(init=False)
    _news: tuple[PerpetualOutcome, ...] = field(init=False, default=())  # not in a record yet
    _refused: dict[str, tuple[int, float, str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._executed = self.journal.perpetual_outcomes() if self.venues else ()
        self._book = perpetual_book_of(self._executed)
        for outcome in self._executed:
            self._note(outcome)

    @property
    def cash_flow_usd(self) -> float:
        return self._book.cash_flow_usd

    @property
    def book(self) -> PerpetualBook:
        return self._book

    async def reconcile(self, view: MarketView) -> tuple[PerpetualOutcome, ...]:
        """Close what an earlier step or run left open, from chain facts alone."""
        closed = []
        for order in self.journal.open_perpetuals() if self.venues else ():
            try:
                outcome = await self._venue(order).reconcile(order, view=view)
            except UNSEEN:
                continue  # stays open: blocks its group's perpetuals until a fact is known
            done = self._close(replace(outcome, reconciled=True))
            if done.status not in OPEN_STATUSES:
                closed.append(done)
        return tuple(closed)

    async def look(
        self,
        view: MarketView,
        sizes: Mapping[str, float],
        *,
        paired: Mapping[Perpetual, float],
        pair_block: int = 0,
    ) -> PerpetualsSeen:
        """Ask every venue what is held and quoted, and join it with the book.

        ``paired`` is what conversions hold, since ``pair_block``. While one is open nobody can say whose a
        difference is.
        """
        positions, quotes, unread = await self._ask_venues(view, sizes)
        height = view.block.number if view.block else math.inf
        self._executed = tuple(item for item in self._executed if item.block_number > height)
        settled = bool(self.venues) and not (unread or self._executed or self._is_trading())
        held = self._book.held(positions, paired=paired)
        seen = PerpetualsSeen(
            positions=tuple(positions),
            quotes=tuple(quotes),
            held=held,
            open_value_usd=self._book.open_value_usd(held),
            unread=unread,
            unexplained=self._book.unexplained(positions, paired=paired) if settled else (),
            ahead=tuple(item.order.key for item in self._executed),
        )
        if not seen.unexplained:
            return seen
        ends = await self._book_ends(view, seen, paired=paired, pair_block=pair_block)
        held = self._book.held(positions, paired=paired)
        return replace(
            seen,
            ends=ends,
            held=held,
            open_value_usd=self._book.open_value_usd(held),
            unexplained=self._book.unexplained(positions, paired=paired),
        )

    async def _ask_venues(
        self, view: MarketView, sizes: Mapping[str, float]
    ) -> tuple[list[PerpetualPosition], list[PerpetualQuote], dict[str, str]]:
        """Return what is held, the quotes, and why a venue could not be read, by its name."""
        positions: list[PerpetualPosition] = []
        quotes: list[PerpetualQuote] = []
        unread: dict[str, str] = {}
        for name, venue in self.venues.items():
            try:
                positions.extend(await venue.held_perpetuals(view))
                for underlying, size in sizes.items():
                    quotes.extend(await venue.perpetual_quotes(view, underlying=underlying, size=size))
            except UNSEEN as error:
                unread[name] = f"venue {name} could not be read: {error}"
        return positions, quotes, unread

    def _is_trading(self) -> bool:
        """Say whether an order or a pair has no final outcome yet: what it did is not in the book."""
        legs = any(leg.conversion is not None for leg in self.journal.open_legs())
        return legs or bool(self.journal.open_perpetuals())

    async def _book_ends(
        self,
        view: MarketView,
        seen: PerpetualsSeen,
        *,
        paired: Mapping[Perpetual, float],
        pair_block: int,
    ) -> tuple[PerpetualOutcome, ...]:
        """Book what the venue closed without an order of ours (a liquidation), where it can prove it."""
        listed = {item.perpetual: item.size for item in seen.positions}
        found: list[PerpetualOutcome] = []
        for name, venue in self.venues.items():
            for perpetual in sorted({key for key, _ in self._book.holdings if key.venue == name}):
                size = self._book.size_of(perpetual)
                total = size + paired.get(perpetual, 0.0)
                gone = total - listed.get(perpetual, 0.0)
                if gone * size <= 0.0 or total * size <= 0.0:
                    continue
                since_block = max(self._book.blocks.get(perpetual, 0), pair_block)
                try:
                    end = await venue.ended(perpetual, gone, view=view, since_block=since_block)
                except UNSEEN:
                    continue  # the position stays unexplained, and that is a hold
                if end is not None:
                    # What was taken from pairs stays a hold: their options are still there.
                    found += self._book_end(perpetual, _part_of(end, min(size / total, 1.0)), view)
        return tuple(found)

    def _book_end(self, perpetual: Perpetual, end: PerpetualEnd, view: MarketView) -> list[PerpetualOutcome]:
        """Give each group its part of what was closed."""
        size = self._book.size_of(perpetual)
        holdings = [(group, item) for (key, group), item in self._book.holdings.items() if key == perpetual]
        outcomes = []
        for group, item in sorted(holdings, key=lambda each: each[0]):
            part = item.size / size
            order = PerpetualOrder(
                key=f"ended.{round(view.now_s * 1000)}-{group.replace('/', '.')}-PERPETUAL-end",
                group=group,
                action=PerpetualAction.ENDED,
                perpetual=perpetual,
                size=-end.size * part,
                margin_usd=0.0,
                limit_usd=end.price_usd,
                expected_usd=end.fee_usd * part,
                valid_until_s=view.now_s,
                because=end.because,
            )
            outcome = PerpetualOutcome(
                order=order,
                status=LegStatus.FILLED,
                at_s=view.now_s,
                filled_size=order.size,
                price_usd=end.price_usd,
                fee_usd=end.fee_usd * part,
                funding_usd=end.funding_usd * part,
                position_id=perpetual.id,
                tx_hash=end.tx_hash,
                block_number=end.block_number,
                because=end.because,
                reconciled=True,
            )
            self.journal.open_perpetual(order, at_s=view.now_s)
            outcomes.append(self._close(outcome))
        return outcomes

    def added(self, frame: Frame, seen: PerpetualsSeen, *, now_s: float) -> Frame:
        """Return the frame with perpetuals in it."""
        if not self.venues:
            return frame
        orders = self.journal.open_perpetuals()
        return replace(
            frame,
            perpetuals=seen.held,
            perpetual_quotes=seen.quotes,
            perpetual_orders=orders,
            spends=(*frame.spends, *self._book.spends, *reserved_perpetuals(orders)),
            holds=(*frame.holds, *seen.unread.values(), *seen.unexplained),
            open_legs=(
                *frame.open_legs,
                *(order.key for order in orders),
                *seen.ahead,
                *self._paused(now_s),
            ),
        )

    def is_open(self, orders: Sequence[PerpetualOrder]) -> bool:
        """Say whether an order is open that is one of these or in the way of one."""
        groups = {order.group for order in orders}
        return any(item.group in groups for item in self.journal.open_perpetuals())

    async def execute_asked(self, orders: Sequence[PerpetualOrder], view: MarketView) -> bool:
        """Do a person's orders that were not done before. Says whether any was begun; see ``news``."""
        known = {item.order.key for item in self.journal.perpetual_outcomes()} if orders else set()
        done = await self.execute([order for order in orders if order.key not in known], view)
        self._news = (*self._news, *done)
        return bool(done)

    def news(self) -> tuple[PerpetualOutcome, ...]:
        """Return what became of a person's orders since the last call, each once."""
        news, self._news = self._news, ()
        return news

    async def execute(self, orders: Sequence[PerpetualOrder], view: MarketView) -> list[PerpetualOutcome]:
        """Execute orders in their order; stop at one whose end is open."""
        done: list[PerpetualOutcome] = []
        for order in orders:
            self.journal.open_perpetual(order, at_s=view.now_s)
            try:
                outcome = self._close(await self._venue(order).execute(order, view=view))
            except UNSEEN as error:
                outcome = PerpetualOutcome(
                    order=order, status=LegStatus.UNKNOWN, at_s=view.now_s, because=str(error)
                )
            done.append(outcome)
            if outcome.status in OPEN_STATUSES:
                break
        return done

    def _close(self, outcome: PerpetualOutcome) -> PerpetualOutcome:
        if not _is_booked(outcome):
            why = f"booked without a known price: {outcome}"
            outcome = PerpetualOutcome(
                order=outcome.order, status=LegStatus.UNKNOWN, at_s=outcome.at_s, because=why
            )
        if outcome.status in OPEN_STATUSES:
            return outcome  # stays open in the journal
        self.journal.close_perpetual(outcome)
        self._executed = (*self._executed, outcome)
        self._book = self._book.after(outcome)
        self._note(outcome)
        return outcome

    def _note(self, outcome: PerpetualOutcome) -> None:
        """Count refused openings in a row; reducing and margin are tried at every step."""
        order = outcome.order
        if order.action is not PerpetualAction.OPEN:
            return
        if outcome.status is not LegStatus.REJECTED:
            self._refused.pop(order.group, None)
        elif not outcome.reconciled:
            count = self._refused.get(order.group, (0, 0.0, ""))[0]
            self._refused[order.group] = (count + 1, outcome.at_s, order.key)

    def _paused(self, now_s: float) -> tuple[str, ...]:
        first_s, longest_s = self.pause_s
        return tuple(
            f"{PAUSED}{key}"
            for count, last_s, key in self._refused.values()
            if count > 1 and now_s < last_s + min(longest_s, first_s * 2.0 ** min(count - 2, 16))
        )

    def _venue(self, order: PerpetualOrder) -> PerpetualVenue:
        try:
            return self.venues[order.perpetual.venue]
        except KeyError:
            raise NotFoundError(
                f"order {order.key} belongs to venue {order.perpetual.venue!r}, configured are "
                f"{', '.join(self.venues) or 'none'}; add the venue to the configuration"
            ) from None


def _part_of(end: PerpetualEnd, share: float) -> PerpetualEnd:
    return replace(
        end, size=end.size * share, fee_usd=end.fee_usd * share, funding_usd=end.funding_usd * share
    )


def _is_booked(outcome: PerpetualOutcome) -> bool:
    """Say whether all money of an outcome is known."""
    money = (
        outcome.filled_size,
        outcome.price_usd,
        outcome.margin_usd,
        outcome.fee_usd,
        outcome.funding_usd,
        outcome.gas_usd,
    )
    return all(math.isfinite(value) for value in money)
