"""Reads a recording back: the moments of its steps, and a venue that answers as the venues did."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bot.engine.policy import Policy
from bot.errors import ConfigError, TransientError
from bot.model.base_layers import NOTHING_STATED, BaseHoldings
from bot.model.exposure import Exposure
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Quote
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.model.parsing import json_of
from bot.model.perpetual import (
    Perpetual,
    PerpetualAction,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualOutcome, refused
from bot.model.policy_vote import PolicyVote
from bot.model.record import StepRecord
from bot.pipeline import codec
from bot.pipeline.derived import Figures, figures_history
from bot.pipeline.desk import Request, request_from
from bot.pipeline.history import Change, ChangeKind, History
from bot.pipeline.history_store import StoredRows
from bot.pipeline.loop import Moment
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.recorded_orders import NO_SUCH_ORDER, JournalOrders, unseen
from bot.pipeline.recorded_venue import FAILURES, HELD, Answer
from bot.pipeline.recording import BASE, DERIVED, FIGURES, SCHEMA, START, Line, tail_lines
from bot.ports import MarketView, VenuePosition

SIZE_DUST = 1e-9  # of a lot: a whole number of them divided by a lot may fall just short of it
LOT_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """One step as it was recorded."""

    moment: Moment
    answers: tuple[Answer, ...]
    asked: tuple[Request, ...]  # by a person
    record: StepRecord
    decision_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPart:
    """One part of a recording: where its run stood when it began."""

    folder: Path
    mode: str
    run: str
    policy_hash: str
    last: StepRecord | None
    orders: JournalOrders

    def history(self) -> History:
        """Return the history as it was at the first step."""
        history = History()
        history.load(_stored_rows(_read_parquet(self.folder / BASE)))
        return history

    def figures(self, policy: Policy) -> Figures:
        """Return what had been derived at the first step; nothing in a recording of an older program."""
        history = figures_history(policy)
        if (self.folder / FIGURES).exists():
            history.load(_stored_rows(_read_parquet(self.folder / FIGURES)))
        return Figures(history, bar_s=policy.signals.bar_s)

    def records(self) -> Iterator[StepRecord]:
        """Yield what the run left of each step, oldest first."""
        for line in self._lines():
            yield codec.loads(StepRecord, line["record"])

    def steps(self, history: History) -> Iterator[RecordedStep]:
        """Yield the steps, oldest first, and bring the history to each of them."""
        for line in self._lines():
            for change in line["changes"]:
                if change[0] != DERIVED:  # what is decided again has a book of its own
                    history.redo(_change_of(change))
            yield _recorded(line, history)

    def _lines(self) -> Iterator[Line]:
        for path in sorted(self.folder.glob("steps-*.parquet")):
            changes = _read_parquet(path.with_name(path.name.replace("steps", "rows")))
            by_step = {number: table for number, table in changes.groupby("sequence", sort=False)}
            for row in _read_parquet(path).to_dict("records"):
                found = by_step.get(row["sequence"])
                rows = [] if found is None else found.itertuples(index=False, name=None)
                yield {
                    **{str(name): value for name, value in row.items()},
                    "changes": [list(item[1:]) for item in rows],
                }
        yield from tail_lines(self.folder)


def read_part(folder: Path) -> RecordedPart:
    """Raises ConfigError when it is no part of a recording, or of a newer program."""
    try:
        start = json_of((folder / START).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"recording {folder}: {START} cannot be read: {error}") from None
    try:
        return _part(folder, start)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"recording {folder}: {START} is not whole: {error!r}") from None


def _part(folder: Path, start: Mapping[str, Any]) -> RecordedPart:
    if start.get("schema") != SCHEMA:
        raise ConfigError(f"recording {folder} has schema {start.get('schema')}, this program reads {SCHEMA}")
    return RecordedPart(
        folder=folder,
        mode=start["mode"],
        run=start["run"],
        policy_hash=start["policy_hash"],
        last=codec.loads(StepRecord, start["last"]) if start["last"] else None,
        orders=JournalOrders.from_document(start),
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise ConfigError(f"recording {path} cannot be read: {error}") from None


def _stored_rows(table: pd.DataFrame) -> Iterator[StoredRows]:
    for _, part in table.groupby(["metric", "subject", "source"], sort=False):
        metric, subject, source = (str(part[name].iloc[0]) for name in ("metric", "subject", "source"))
        kept = part[part["observed_at_s"].notna()]
        yield StoredRows(
            SeriesKey(Metric(metric), subject, source),
            kept["observed_at_s"].to_numpy(dtype=np.float64, copy=True),
            kept["value"].to_numpy(dtype=np.float64, copy=True),
            kept["block"].to_numpy(dtype=np.int64, copy=True),
        )


def _recorded(line: Line, history: History) -> RecordedStep:
    blocks = [codec.loads(Block, item) for item in json_of(line["blocks"])]
    now_s = float(line["now_s"])
    return RecordedStep(
        moment=Moment(
            now_s=now_s,
            blocks={block.chain_id: block for block in blocks},
            columns=history.columns(until_s=now_s),
            exposures=tuple(codec.loads(Exposure, item) for item in json_of(line["exposures"])),
            holds=tuple(json_of(line["holds"])),
            unseen=tuple(json_of(line["unseen"])),
            # An older program recorded none.
            base=codec.loads(BaseHoldings, line["base"]) if line.get("base") else NOTHING_STATED,
            vote=codec.loads(PolicyVote, line["vote"]) if line.get("vote") else None,
        ),
        answers=tuple(_answer_of(item) for item in json_of(line["answers"])),
        asked=tuple(request_from(item) for item in json_of(line.get("asked") or "[]")),
        record=codec.loads(StepRecord, line["record"]),
        decision_hash=line["decision_hash"],
    )


def _answer_of(item: Sequence[Any]) -> Answer:
    venue, underlying, size, quotes, positions, failure, why, *perpetual = item
    listed, held = perpetual or ((), ())  # an older program recorded none
    return Answer(
        venue,
        underlying,
        float(size),
        tuple(codec.loads(Quote, text) for text in quotes),
        tuple(codec.loads(VenuePosition, text) for text in positions),
        failure,
        why,
        tuple(codec.loads(PerpetualQuote, text) for text in listed),
        tuple(codec.loads(PerpetualPosition, text) for text in held),
    )


def _change_of(item: Sequence[Any]) -> Change:
    kind, metric, subject, source, at_s, value, read_at_s, block, why = item
    number = None if block is None or pd.isna(block) else int(block)
    if kind == ChangeKind.TRIM:
        return Change(ChangeKind.TRIM, before_s=float(at_s))
    key = SeriesKey(Metric(metric), subject, source)
    if kind == ChangeKind.ORPHAN:
        return Change(ChangeKind.ORPHAN, key=key, from_block=number or 0)
    row = Observation(
        metric=key.metric,
        subject=subject,
        source=source,
        value=math.nan if value is None else float(value),
        observed_at_s=float(at_s),
        read_at_s=float(read_at_s),
        block_number=number,
        why_unknown=why,
    )
    return Change(ChangeKind(kind), row=row)


def journal_of(part: RecordedPart) -> MemoryJournal:
    """Return a journal that stands where the run stood when the part began."""
    return part.orders.journal(part.last)


@dataclass(slots=True)
class PlaybackVenue:
    """Answers and fills as a venue did in the step that is played; PaperVenue over it fills anew.

    A size that nobody asked for then gets the nearest answer in proportion: that is what another policy
    sees, and it is marked as indicative.
    """

    name: str
    _step: RecordedStep | None = field(default=None, init=False)
    _asked: bool = field(default=False, init=False)

    def at(self, step: RecordedStep) -> None:
        """Go to a step."""
        self._step = step

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:  # noqa: ARG002
        found = self._answers(underlying)
        exact = next((item for item in found if item.size == size), None)
        # When the recording began the run was under way: its first question had a size that only it knew.
        nearest = min(found, key=lambda item: abs(math.log(item.size / size))) if self._asked else found[0]
        self._asked = True
        answer = _checked(exact or nearest)
        return answer.quotes if exact else tuple(_scaled(item, size) for item in answer.quotes)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:  # noqa: ARG002
        return _checked(self._answers(HELD)[0]).positions

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        return self._outcome(leg) or LegOutcome(
            leg=leg, status=LegStatus.REJECTED, at_s=view.now_s, because=NO_SUCH_ORDER
        )

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:  # noqa: ARG002
        """Raises TransientError for a leg of which the run heard nothing in this step: it stays open."""
        found = self._outcome(leg)
        if found is None:
            raise unseen(leg.key)
        return found

    def _outcome(self, leg: HedgeLeg) -> LegOutcome | None:
        outcomes = self._step.record.outcomes if self._step else ()
        return next((item for item in outcomes if item.leg.key == leg.key), None)

    def _answers(self, underlying: str) -> list[Answer]:
        return _answers_of(self._step, self.name, underlying)


@dataclass(slots=True)
class PlaybackPerpetualVenue:
    """As PlaybackVenue, for perpetuals. Another size gets the nearest answer, marked as indicative."""

    name: str
    _step: RecordedStep | None = field(default=None, init=False)

    def at(self, step: RecordedStep) -> None:
        """Go to a step."""
        self._step = step

    async def perpetual_quotes(
        self,
        view: MarketView,  # noqa: ARG002
        *,
        underlying: str,
        size: float,
    ) -> tuple[PerpetualQuote, ...]:
        found = _answers_of(self._step, self.name, underlying)
        nearest = min(found, key=lambda item: abs(math.log(item.size / size)))
        quotes = _checked(nearest).perpetual_quotes
        return quotes if nearest.size == size else tuple(replace(item, indicative=True) for item in quotes)

    async def held_perpetuals(self, view: MarketView) -> tuple[PerpetualPosition, ...]:  # noqa: ARG002
        return _checked(_answers_of(self._step, self.name, HELD)[0]).perpetual_positions

    async def execute(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:
        return self._outcome(order) or refused(order, at_s=view.now_s, because=NO_SUCH_ORDER)

    async def reconcile(self, order: PerpetualOrder, *, view: MarketView) -> PerpetualOutcome:  # noqa: ARG002
        """As PlaybackVenue."""
        found = self._outcome(order)
        if found is None:
            raise unseen(order.key)
        return found

    async def ended(
        self,
        perpetual: Perpetual,
        size: float,
        *,
        view: MarketView,  # noqa: ARG002
        since_block: int,  # noqa: ARG002
    ) -> PerpetualEnd | None:
        """Return what the run booked in this step, None where it could prove nothing."""
        mine = [
            item
            for item in (self._step.record.perpetuals if self._step else ())
            if item.order.action is PerpetualAction.ENDED and item.order.perpetual == perpetual
        ]
        if not mine:
            return None
        return PerpetualEnd(
            size=size,
            price_usd=mine[0].price_usd,
            fee_usd=math.fsum(item.fee_usd for item in mine),
            funding_usd=math.fsum(item.funding_usd for item in mine),
            because=mine[0].because,
            tx_hash=mine[0].tx_hash,
            block_number=mine[0].block_number,
        )

    def _outcome(self, order: PerpetualOrder) -> PerpetualOutcome | None:
        outcomes = self._step.record.perpetuals if self._step else ()
        return next((item for item in outcomes if item.order.key == order.key), None)


def _answers_of(step: RecordedStep | None, venue: str, underlying: str) -> list[Answer]:
    answers = step.answers if step else ()
    found = [item for item in answers if (item.venue, item.underlying) == (venue, underlying)]
    if not found:
        what = f"quotes of {underlying}" if underlying else "positions"
        raise TransientError(f"nobody asked {venue} for {what} at this step")
    return found


def _checked(answer: Answer) -> Answer:
    if answer.failure:
        raise FAILURES.get(answer.failure, TransientError)(answer.why)
    return answer


def _scaled(quote: Quote, size: float) -> Quote:
    """Return the quote at another size: in whole lots and within what was there, as a venue gives it."""
    lots = math.floor(min(size, quote.liquidity) / quote.lot + SIZE_DUST)
    wanted = max(round(lots * quote.lot, LOT_DIGITS), quote.min_size)
    factor = wanted / quote.size
    return replace(
        quote,
        size=wanted,
        premium_usd=quote.premium_usd * factor,
        fee_usd=quote.fee_usd * factor,
        swap_usd=quote.swap_usd * factor,
        model_usd=quote.model_usd * factor,
        indicative=True,
        because=f"recorded for {quote.size:g} contracts",
    )
