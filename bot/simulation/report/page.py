"""One self-contained HTML page: no file beside it, nothing loaded from anywhere. Every text is escaped.

A page is a head and panels; a panel answers one question with figures and tables. The same panels make the
folder of a report: each figure a PNG file, each table a CSV file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from bot.simulation.report.table import Table, table_html

DETAIL_ROWS = 12  # longer lists fold
_PLOT = {"displaylogo": False, "responsive": True, "displayModeBar": False}
# A page that is printed is laid out anew: figures are told, for they keep the width of the screen else.
_PRINT = (
    "addEventListener('beforeprint',()=>document.querySelectorAll('details').forEach(d=>d.open=true));"
    "for(const when of ['beforeprint','afterprint'])addEventListener(when,()=>"
    "document.querySelectorAll('.js-plotly-plot').forEach(p=>Plotly.Plots.resize(p)));"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """``name`` is the file's name without its ending; it stays the same for the same kind of run.

    A panel with several figures gives each its own ``title``.
    """

    name: str
    plot: go.Figure
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """``title`` is the answer where there is one; ``html`` is made by these modules and stands last."""

    title: str
    subtitle: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    html: str = ""
    files: tuple[Table, ...] = ()  # what the figures and the text say, for the folder alone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """``head`` is HTML with the first screen."""

    title: str
    head: str
    panels: tuple[Panel, ...]
    footer: str

    @property
    def figures(self) -> Iterator[tuple[Panel, Figure]]:
        return ((panel, figure) for panel in self.panels for figure in panel.figures)

    @property
    def tables(self) -> Iterator[Table]:
        return (table for panel in self.panels for table in (*panel.tables, *panel.files))


def page_text(page: Page) -> str:
    """Return the page as text."""
    style = resources.files("bot.simulation.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(page.title)}</title><style>{style}</style>"
        f"<script>{get_plotlyjs()}</script><script>{_PRINT}</script></head><body><main>"
        f"{page.head}{''.join(map(_panel_html, page.panels))}"
        f"<footer>{escape(page.footer)} An ALVH-style method; no affiliation. "
        "Not investment advice.</footer></main></body></html>\n"
    )


def head_html(
    *, mode: str, title: str, headline: str, lead: str, facts: Sequence[tuple[str, str, str]]
) -> str:
    """Return the first screen: what happened in words, then numbers as (name, value, note)."""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in facts
    )
    return (
        f'<header><span class="mode">{escape(mode)}</span><p class="title">{escape(title)}</p>'
        f'<h1>{escape(headline)}</h1><p class="lead">{escape(lead)}</p>'
        f'<dl class="facts">{cells}</dl></header>'
    )


def list_html(items: Sequence[str]) -> str:
    lines = [f"<li>{escape(item)}</li>" for item in items]
    shown = f"<ul>{''.join(lines[:DETAIL_ROWS])}</ul>"
    rest = lines[DETAIL_ROWS:]
    if rest:
        shown += f"<details><summary>{len(rest)} more</summary><ul>{''.join(rest)}</ul></details>"
    return shown


def stacked_table(head: str, rows: Sequence[str]) -> str:
    """Return rows that stand under each other on a phone; many fold."""
    if not rows:
        return "<p>None.</p>"
    shown = f'<div class="scroll"><table class="stack">{head}{"".join(rows[:DETAIL_ROWS])}</table></div>'
    rest = rows[DETAIL_ROWS:]
    if rest:
        shown += (
            f"<details><summary>{len(rest)} more</summary>"
            f'<div class="scroll"><table class="stack">{head}{"".join(rest)}</table></div></details>'
        )
    return shown


def row_html(tag: str, cells: Iterable[str], *, numbers_from: int | None = None) -> str:
    parts = []
    for i, cell in enumerate(cells):
        mark = ' class="n"' if numbers_from is not None and i >= numbers_from else ""
        parts.append(f"<{tag}{mark}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"


def _panel_html(panel: Panel) -> str:
    figures = "".join(map(_figure_html, panel.figures))
    tables = "".join(map(table_html, panel.tables))
    subtitle = f'<p class="sub">{escape(panel.subtitle)}</p>' if panel.subtitle else ""
    return f"<section><h2>{escape(panel.title)}</h2>{subtitle}{figures}{tables}{panel.html}</section>"


def _figure_html(figure: Figure) -> str:
    """Return a figure as a piece of the page; a fixed name keeps the page the same for the same run."""
    html: str = figure.plot.to_html(
        full_html=False, include_plotlyjs=False, config=_PLOT, div_id=f"chart-{figure.name}"
    )
    return f"<h3>{escape(figure.title)}</h3>{html}" if figure.title else html
