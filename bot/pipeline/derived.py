"""Series that follow from a frame itself: what a hedged group earns (S21), how far parity is off (S22).

Nobody observes them, so the loop derives them, in every mode alike, from the quotes, exposures, hedges and
spends of a frame: one row for each series, at the first frame of a bar in which all of it is known. The
decision of a frame sees rows up to its own, and none of them knows its orders.

Nothing is written for what is not known, and a series is in a frame only while it can be had there: S21 is
warming until the marks of 30 days ago are known, and a venue that shows no call beside a put has no S22.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from bot.engine.policy import Policy
from bot.model.exposure import Exposure
from bot.model.hedge import HeldHedge, OptionType, ParityTerms, Quote
from bot.model.market import Column, Columns, Frame, Metric, Observation, SeriesKey
from bot.model.quotes import with_parity
from bot.model.units import DAY_S
from bot.pipeline.history import Change, History
from bot.pipeline.history_store import StoredRows
from bot.quant.carry import FEE_INCOME_DAYS, fee_apr, group_carry
from bot.quant.parity import ParityRows, widest_gap

BOOK = "book"  # source of a group's own figures
MARK_WITHIN_S = DAY_S  # a mark this much older than 30 days still stands for that time

_CARRY_S = FEE_INCOME_DAYS * DAY_S


class Figures:
    """Derives the series, and keeps them in a history of their own: each book has its own figures."""

    def __init__(self, history: History, *, bar_s: float) -> None:
        self._history = history
        self._bar_s = bar_s

    def added(self, frame: Frame, *, is_booked: bool, unread: Collection[str] = ()) -> Frame:
        """Return the frame with its figures.

        ``is_booked`` says that journal and venues agree on what is held; ``unread`` are venues that could
        not be asked.
        """
        rows = list(self._rows(frame, is_booked=is_booked))
        self._history.append(rows)
        kept = self._history.cut(until_s=frame.now_s)
        series = {key: kept[key] for key in self._shown(frame, kept, unread)}
        return replace(frame, columns=Columns(series={**frame.columns.series, **series}))

    def flush(self) -> None:
        """Write what is new to the file, if there is one, and let old rows leave."""
        self._history.flush()

    def close(self) -> None:
        self._history.close()

    def record(self) -> None:
        """Begin to keep what is derived for ``taken``."""
        self._history.record()

    def base(self) -> tuple[StoredRows, ...]:
        """Return every row that the newest frame had; only after ``record``."""
        return self._history.base()

    def taken(self) -> list[Change]:
        """Return what was derived for the newest frame, and forget it."""
        return [item for item in self._history.changes() if item.row is not None]

    def _rows(self, frame: Frame, *, is_booked: bool) -> Iterator[Observation]:
        known = self._history.columns()
        for group, exposures in _groups(frame).items():
            keys = _book_keys(group)
            if frame.unseen or not any(self._is_due(known[key], frame.now_s) for key in keys):
                continue  # what a group has, or what it is worth, is known in part only
            values = self._figures_of(frame, group, exposures, known, is_booked=is_booked)
            yield from self._due(frame, known, zip(keys, values, strict=True))
        for key, quotes in _parity_quotes(frame.quotes).items():
            if self._is_due(known[key], frame.now_s):
                yield from self._due(frame, known, [(key, parity_ratio(quotes))])

    def _figures_of(
        self, frame: Frame, group: str, exposures: Sequence[Exposure], known: Columns, *, is_booked: bool
    ) -> tuple[float, float, float, float]:
        """Return the values of ``_book_keys``; NaN where unknown."""
        mark_usd = _marked_usd(frame.held, group) if is_booked else math.nan
        since_s, mark_then_usd = _mark_then(known[_mark_key(group)], frame.now_s)
        carry = group_carry(
            exposures,
            [item for item in frame.spends if item.group == group],
            since_s=since_s,
            now_s=frame.now_s,
            mark_then_usd=mark_then_usd,
            mark_now_usd=mark_usd,
        )
        income_usd = math.fsum(item.fee_income_30d_usd for item in exposures)
        value_usd = math.fsum(item.value_usd for item in exposures)
        fees = fee_apr(fee_income_30d_usd=income_usd, value_usd=value_usd)
        return fees, mark_usd, carry.hedge_cost_apr, carry.hedged_irr.value

    def _due(
        self, frame: Frame, known: Columns, values: Iterable[tuple[SeriesKey, float]]
    ) -> Iterator[Observation]:
        for key, value in values:
            if math.isfinite(value) and self._is_due(known[key], frame.now_s):
                yield Observation(
                    metric=key.metric,
                    subject=key.subject,
                    source=key.source,
                    value=value,
                    observed_at_s=frame.now_s,
                    read_at_s=frame.now_s,
                )

    def _is_due(self, column: Column, now_s: float) -> bool:
        """Say whether a bar has begun since the newest row."""
        last_s = _last_s(column)
        return last_s == -math.inf or math.floor(now_s / self._bar_s) > math.floor(last_s / self._bar_s)

    def _shown(self, frame: Frame, kept: Columns, unread: Collection[str]) -> Iterator[SeriesKey]:
        """Yield the series that can be had in this frame: only they may be missed when they fail."""
        for group in _groups(frame):
            fees, mark, cost, irr = _book_keys(group)
            wanted = [fees, mark]
            if math.isfinite(_mark_then(kept[mark], frame.now_s)[1]):
                wanted.append(cost)
                # Flows that change sign more than once have no rate: its newest row is then of another time.
                wanted += [irr] if _last_s(kept[irr]) == _last_s(kept[cost]) else []
            yield from (key for key in wanted if kept[key].times_s.size)
        paired = _parity_quotes(frame.quotes)
        for key in kept.find(Metric.PARITY_GAP):
            if key in paired or key.source in unread:
                yield key


def figures_history(policy: Policy) -> History:
    """Return an empty history that keeps figures as long as one in a file does."""
    return History(keep_s=keep_figures_s(policy))


def keep_figures_s(policy: Policy) -> float:
    """Return how far back figures are looked at."""
    signals = policy.signals
    return _CARRY_S + MARK_WITHIN_S + signals.bar_s + signals.slack_s


def parity_ratio(quotes: Sequence[Quote]) -> float:
    """Return the widest put-call gap of one venue's quotes over what trading it costs; NaN without a pair."""
    rows = [(item, item.parity) for item in quotes if item.parity is not None]
    table = ParityRows(
        is_call=np.array(
            [item.instrument.option_type is OptionType.CALL for item, _ in rows], dtype=np.bool_
        ),
        strike_usd=np.array([item.instrument.strike_usd for item, _ in rows], dtype=np.float64),
        expiry_s=np.array([item.instrument.expiry_s for item, _ in rows], dtype=np.int64),
        price_usd=np.array([terms.mid_usd for _, terms in rows], dtype=np.float64),
        cost_usd=np.array([_cost_usd(item, terms) for item, terms in rows], dtype=np.float64),
        forward_usd=np.array([terms.forward_usd for _, terms in rows], dtype=np.float64),
        discount=np.array([terms.discount for _, terms in rows], dtype=np.float64),
    )
    found = widest_gap(table, forward_cost_usd=0.0)  # each side of a pair bears half of it
    return math.nan if found is None else found.ratio


def _cost_usd(quote: Quote, terms: ParityTerms) -> float:
    """Return what trading one unit costs: half the spread, fee, swap and gas, half of the forward's cost."""
    paid_usd = quote.premium_usd + quote.swap_usd + quote.gas_usd
    return (
        paid_usd / (quote.size * quote.instrument.multiplier) - terms.mid_usd + terms.forward_cost_usd / 2.0
    )


def _parity_quotes(quotes: Sequence[Quote]) -> dict[SeriesKey, list[Quote]]:
    """Return the quotes of every market that shows a call and a put of one strike and expiry."""
    found: dict[SeriesKey, list[Quote]] = {}
    for item in with_parity(quotes):
        key = SeriesKey(Metric.PARITY_GAP, item.instrument.underlying, item.instrument.venue)
        found.setdefault(key, []).append(item)
    return {key: rows for key, rows in found.items() if _listings(rows, "call") & _listings(rows, "put")}


def _listings(quotes: Iterable[Quote], kind: str) -> set[tuple[float, int]]:
    found = (item.instrument for item in quotes)
    return {(item.strike_usd, item.expiry_s) for item in found if item.option_type.value == kind}


def _groups(frame: Frame) -> dict[str, list[Exposure]]:
    found: dict[str, list[Exposure]] = {}
    for item in frame.exposures:
        found.setdefault(item.group, []).append(item)
    return dict(sorted(found.items()))


def _book_keys(group: str) -> tuple[SeriesKey, SeriesKey, SeriesKey, SeriesKey]:
    metrics = (Metric.LP_FEE_APR, Metric.HEDGE_MARK_USD, Metric.HEDGE_COST_APR, Metric.HEDGED_IRR)
    fees, mark, cost, irr = (SeriesKey(metric, group, BOOK) for metric in metrics)
    return fees, mark, cost, irr


def _mark_key(group: str) -> SeriesKey:
    return SeriesKey(Metric.HEDGE_MARK_USD, group, BOOK)


def _marked_usd(held: Iterable[HeldHedge], group: str) -> float:
    """Return what the hedges of a group are worth; NaN while one of them has no mark.

    One that no journal knows belongs to no group: nobody knows what it cost, so its worth is no income.
    """
    return math.fsum(
        item.liquidation_usd if math.isfinite(item.liquidation_usd) else item.model_usd
        for item in held
        if item.group == group
    )


def _mark_then(marks: Column, now_s: float) -> tuple[float, float]:
    """Return the time and value of the newest mark of 30 days ago, NaN when none of then is known."""
    since_s = now_s - _CARRY_S
    then = marks.until(since_s).since(since_s - MARK_WITHIN_S)
    last = then.last_known()
    return (float(then.times_s[last]), float(then.values[last])) if last >= 0 else (since_s, math.nan)


def _last_s(column: Column) -> float:
    return float(column.times_s[-1]) if column.times_s.size else -math.inf
