"""A table of a report: one set of values for the page, the CSV file and the comparison of two runs."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape

from bot.model.units import iso_utc
from bot.simulation.wording import UNKNOWN, percent, usd, when

Cell = str | float


class Kind(StrEnum):
    """What a column holds: how a person reads it. The file has the bare value."""

    TEXT = "text"
    USD = "usd"
    SIGNED_USD = "signed usd"
    SHARE = "share"  # fraction, shown in percent
    TIME = "time"  # seconds since the epoch, in the file ISO 8601 UTC
    NUMBER = "number"
    BY_UNIT = "by unit"  # a number whose unit stands in the row's own column "unit"
    DIFFERENCE = "difference"  # of two such, signed; of shares in points


UNIT = "unit"
UNITS = {"USD": Kind.USD, "share": Kind.SHARE, "number": Kind.NUMBER, "days": Kind.NUMBER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """``name`` is the file's header and carries the unit; ``title`` is the page's, "" where it is not shown.

    One that is ``low_of`` or ``high_of`` another is the end of its interval, shown under its number.
    """

    name: str
    title: str
    kind: Kind
    low_of: str = ""
    high_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of values; NaN is unknown. ``name`` is the file's name without its ending."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    own: str = ""  # the row of this name is set off

    def at(self, row: Sequence[Cell], name: str) -> Cell:
        return row[[column.name for column in self.columns].index(name)]

    def text_at(self, row: Sequence[Cell], column: Column) -> str:
        """Return a row's cell as a person reads it."""
        kind, value = column.kind, self.at(row, column.name)
        if kind not in (Kind.BY_UNIT, Kind.DIFFERENCE) or isinstance(value, str):
            return cell_text(value, kind)
        return unit_text(value, str(self.at(row, UNIT)), signed=kind is Kind.DIFFERENCE)


def csv_text(table: Table) -> str:
    """Return the table as CSV (RFC 4180): numbers in full, unknown ones empty, times ISO 8601 UTC."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    kinds = [column.kind for column in table.columns]
    writer.writerows(
        [[_bare(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in table.rows]
    )
    return out.getvalue()


def cell_text(value: Cell, kind: Kind) -> str:
    """Return a value as a person reads it; "unknown" for NaN."""
    if isinstance(value, str):
        return value
    if kind is Kind.TIME:
        return when(value)
    if kind is Kind.SHARE:
        return percent(value)
    if kind in (Kind.USD, Kind.SIGNED_USD):
        return usd(value, signed=kind is Kind.SIGNED_USD)
    return _number(value)


def unit_text(value: float, unit: str, *, signed: bool = False) -> str:
    """Return a number of one of UNITS as a person reads it; a signed share is in points of a percent."""
    if not math.isfinite(value):
        return UNKNOWN
    if unit == "USD":
        return usd(value, signed=signed)
    if unit == "share":
        return f"{100.0 * value:+.1f} pts" if signed else percent(value)
    words = cell_text(value, UNITS[unit])
    words = f"+{words}" if signed and value > 0.0 else words
    return f"{words} d" if unit == "days" else words


def table_html(table: Table) -> str:
    """Return the table for the page; bounds stand under the number that they are of."""
    shown = [column for column in table.columns if column.title]
    head = "".join(f"<th{_mark(column)}>{escape(column.title)}</th>" for column in shown)
    rows = "".join(_row_html(table, row, shown) for row in table.rows)
    return f'<div class="scroll"><table data-table="{escape(table.name)}"><tr>{head}</tr>{rows}</table></div>'


def _row_html(table: Table, row: Sequence[Cell], shown: Sequence[Column]) -> str:
    own = ' class="own"' if table.own and row[0] == table.own else ""
    cells = []
    for column in shown:
        text = escape(table.text_at(row, column))
        cells.append(f"<td{_mark(column)}>{text}{_bounds_html(table, row, column)}</td>")
    return f"<tr{own}>{''.join(cells)}</tr>"


def _bounds_html(table: Table, row: Sequence[Cell], column: Column) -> str:
    """Return the second line of a cell: from where to where; nothing where no interval is known."""
    ends = [item for item in table.columns if column.name in (item.low_of, item.high_of)]
    known = [table.at(row, item.name) for item in ends]
    if len(known) != 2 or not all(isinstance(end, float) and math.isfinite(end) for end in known):
        return ""
    low, high = (table.text_at(row, item) for item in ends)
    return f"<small>{escape(low)} to {escape(high)}</small>"


def _mark(column: Column) -> str:
    return "" if column.kind in (Kind.TEXT, Kind.TIME) else ' class="n"'


def _bare(value: Cell, kind: Kind) -> str:
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return ""
    return iso_utc(value) if kind is Kind.TIME else repr(float(value))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1_000.0 or value == int(value) else f"{value:,.2f}"
