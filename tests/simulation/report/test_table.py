"""One table for page and file: what the page says is what the file holds."""

import csv
import html
import io
import math
import re

from hypothesis import given
from hypothesis import strategies as st

from bot.simulation.report.table import (
    UNIT,
    Column,
    Kind,
    Table,
    cell_text,
    csv_text,
    table_html,
    unit_text,
)

MONEY = Column(name="cost_usd", title="Cost", kind=Kind.USD)
SHARE = Column(name="fall", title="Fall", kind=Kind.SHARE)
LOW = Column(name="fall_p05", title="", kind=Kind.SHARE, low_of="fall")
HIGH = Column(name="fall_p95", title="", kind=Kind.SHARE, high_of="fall")
NAME = Column(name="name", title="Name", kind=Kind.TEXT)
TIME = Column(name="ts", title="Time", kind=Kind.TIME)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def cells_of(page):
    """Return the texts of a shown table's cells, row by row, intervals apart."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page)
    return [[html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows[1:]]


numbers = st.floats(-1e12, 1e12) | st.just(math.nan)


@given(rows=st.lists(st.tuples(st.text(), numbers, numbers), min_size=1, max_size=5))
def test_the_page_says_what_the_file_holds(rows):
    table = Table(name="t", columns=(NAME, MONEY, SHARE), rows=tuple(rows))
    text = csv_text(Table(name="t", columns=(MONEY, SHARE), rows=tuple(row[1:] for row in rows)))
    shown = re.findall(r'<td class="n">(.*?)</td>', table_html(table))
    told = [
        cell_text(float(row[column.name] or "nan"), column.kind)
        for row in read(text)
        for column in (MONEY, SHARE)
    ]
    assert list(map(html.unescape, shown)) == told


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_in_full(value):
    (row,) = read(csv_text(Table(name="t", columns=(MONEY,), rows=((value,),))))
    assert float(row["cost_usd"]) == value


def test_unknown_is_empty_in_the_file_and_said_on_the_page():
    table = Table(name="t", columns=(NAME, MONEY, TIME), rows=(("a", math.nan, 0.0),))
    assert read(csv_text(table)) == [{"name": "a", "cost_usd": "", "ts": "1970-01-01T00:00:00Z"}]
    assert cells_of(table_html(table)) == [["a", "unknown", "1970-01-01 00:00"]]


def test_an_interval_stands_under_its_number_and_in_columns_of_the_file():
    columns = (NAME, SHARE, LOW, HIGH)
    table = Table(name="t", columns=columns, rows=(("a", 0.2, 0.1, 0.3), ("b", 0.2, math.nan, math.nan)))
    assert cells_of(table_html(table)) == [["a", "20.0 %<small>10.0 % to 30.0 %</small>"], ["b", "20.0 %"]]
    assert read(csv_text(table))[0]["fall_p95"] == "0.3"
    assert table_html(table).count("<th") == 2


def test_every_text_is_escaped():
    evil = "<script>alert(1)</script>"
    table = Table(name="t", columns=(NAME,), rows=((evil,),), own=evil)
    assert evil not in table_html(table)
    assert read(csv_text(table)) == [{"name": evil}]


def test_rows_may_have_units_of_their_own():
    columns = (
        Column(name=UNIT, title="", kind=Kind.TEXT),
        Column(name="a", title="A", kind=Kind.BY_UNIT),
        Column(name="b", title="B less A", kind=Kind.DIFFERENCE),
    )
    rows = (("USD", 1_500.0, -20.0), ("share", 0.25, 0.013), ("days", 2.5, 1.0), ("number", 3.0, ""))
    assert cells_of(table_html(Table(name="t", columns=columns, rows=rows))) == [
        ["$1,500", "-$20.00"],
        ["25.0 %", "+1.3 pts"],
        ["2.50 d", "+1 d"],
        ["3", ""],
    ]
    assert unit_text(math.nan, "days") == "unknown"
