"""One self-contained HTML page: no file beside it, nothing loaded from anywhere. Every text is escaped."""

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from bot.errors import ConfigError
from bot.model.hedge import LegOutcome, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.tier import Tier
from bot.simulation import charts
from bot.simulation.beside_orders import BesideOrder
from bot.simulation.report_data import Compared, LayerView, ReportData
from bot.simulation.wording import (
    budget_names,
    order_words,
    percent,
    perpetual_order_words,
    strategy_name,
    usd,
    when,
)

_PLOT = {"displaylogo": False, "responsive": True, "displayModeBar": False}
_DETAIL_ROWS = 12  # longer tables fold


def write_report(report: ReportData, path: Path) -> None:
    """Write the page. It is complete or not there. Raises ConfigError when it cannot be written."""
    part = path.parent / f".{path.name}.part"
    try:
        part.write_text(render(report), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ConfigError(
            f"report {path} cannot be written: {error.strerror}; free space or choose another path"
        ) from error


def render(report: ReportData) -> str:
    """Return the page as text."""
    style = resources.files("bot.simulation").joinpath("report.css").read_text(encoding="utf-8")
    sections = (
        _first_screen(report),
        _layers(report),
        _timeline(report),
        _comparison(report),
        _payoff(report),
        _costs(report),
        _tiers(report),
        _orders(report),
        _trust(report),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.headline)}</title><style>{style}</style>"
        f"<script>{get_plotlyjs()}</script></head><body><main>"
        f"{''.join(sections)}"
        f"<footer>Policy {escape(report.decided.policy_hash)}. An ALVH-style method; no affiliation. "
        "Not investment advice.</footer></main></body></html>\n"
    )


def _first_screen(data: ReportData) -> str:
    start, end = when(data.times_s[0])[:10], when(data.times_s[-1] - 1.0)[:10]
    money = data.money
    facts = [
        ("Fall without hedge", percent(data.unhedged_drawdown), "deepest, from a peak"),
        ("Fall with hedge", percent(data.hedged_drawdown), "the same, hedges at sale value"),
        (
            "Hedging brought" if money.net_usd >= 0 else "Hedging cost",
            usd(abs(money.net_usd)),
            "proceeds and mark less all costs",
        ),
        ("Highest tier", data.highest_tier.name, _first_elevated(data)),
    ]
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in facts
    )
    return (
        f'<header><span class="mode">{escape(data.mode)}</span>'
        f'<p class="title">{escape(data.title)}, {start} to {end} (UTC)</p>'
        f"<h1>{escape(data.headline)}</h1>"
        f'<p class="lead">At the end: {escape(data.decided.state or "no decision was taken")}</p>'
        f'<dl class="facts">{cells}</dl></header>'
    )


def _first_elevated(data: ReportData) -> str:
    first = next((item.at_s for item in data.tiers if item.tier >= Tier.ELEVATED), math.nan)
    return f"ELEVATED first at {when(first)}" if math.isfinite(first) else "never ELEVATED"


def _layers(data: ReportData) -> str:
    if not data.decided.layers:
        return _section("Protection held against wanted", "No layer was decided on.", "")
    body = "".join(_layer(item) for item in data.decided.layers)
    return _section(
        "Protection held against wanted",
        "Contracts per layer at the last decision: full is held and wanted, hatched is missing, "
        "pale is held and no longer wanted.",
        body,
    )


def _layer(item: LayerView) -> str:
    whole = max(item.wanted_contracts, item.held_contracts, 1e-12)
    held = 100.0 * min(item.held_contracts, item.wanted_contracts) / whole
    excess = 100.0 * max(item.held_contracts - item.wanted_contracts, 0.0) / whole
    short = 100.0 * max(item.wanted_contracts - item.held_contracts, 0.0) / whole if item.shortfall else 0.0
    if not item.wanted_contracts and not item.held_contracts:
        numbers = "nothing wanted, nothing held"
    else:
        numbers = f"{item.held_contracts:,.2f} held of {item.wanted_contracts:,.2f} wanted"
    shortfall = f'<span class="short">{escape(item.shortfall)}</span>' if item.shortfall else ""
    return (
        f'<div class="layer"><b>{escape(item.layer)}</b>'
        f'<div class="bar" role="img" aria-label="{escape(numbers)}">'
        f'<i style="width:{held:.1f}%"></i><s style="width:{excess:.1f}%"></s>'
        f'<u style="width:{short:.1f}%"></u></div>'
        f"<span>{escape(numbers)}. {escape(_capital(item.because))}.</span>{shortfall}</div>"
    )


def _timeline(data: ReportData) -> str:
    orders = len(data.decided.orders)
    return _section(
        f"{data.headline}; tier: {data.tier_words}",
        f"From the top: the position's value with and without hedge; the price of {data.underlying}; "
        f"what each layer holds (thicker is more) with its orders, {orders} in all; the tier. Times are UTC.",
        _figure(charts.timeline(data), "timeline"),
    )


def _comparison(data: ReportData) -> str:
    if not data.compared:
        return ""
    base = next((item.max_drawdown for item in data.compared if item.name == "unhedged"), math.nan)
    rows = "".join(_compared_row(item, base) for item in data.compared)
    head = _row_of("th", ("Strategy", "Final value", "Deepest fall", "Fall removed", "Cost"), numbers_from=1)
    own = next((item for item in data.compared if item.name == "alvh"), None)
    best = min(
        (item for item in data.compared if math.isfinite(item.max_drawdown)),
        key=lambda item: item.max_drawdown,
        default=None,
    )
    title = "Against the benchmarks"
    if own and best:
        title = (
            f"{strategy_name(best.name)} had the smallest fall, {percent(best.max_drawdown)}; "
            f"ALVH {percent(own.max_drawdown)}"
        )
    body = f'<div class="scroll"><table>{head}{rows}</table></div>' + _figure(
        charts.comparison(data), "comparison"
    )
    note = "Same hours, prices and costs for all. Cost is money paid less received less what is still held."
    return _section(title, f"{note} Negative cost is a gain.", body)


def _compared_row(item: Compared, base: float) -> str:
    removed = 1.0 - item.max_drawdown / base if base > 0.0 else math.nan
    cells = (
        usd(item.final_value_usd),
        percent(item.max_drawdown),
        percent(removed),
        usd(item.cost_usd),
    )
    numbers = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
    mark = ' class="own"' if item.name == "alvh" else ""
    return f'<tr{mark}><td title="{escape(item.about)}">{escape(strategy_name(item.name))}</td>{numbers}</tr>'


def _payoff(data: ReportData) -> str:
    view = data.payoff
    if view is None:
        return _section("Payoff", "No hedge is held at the end, or its volatility is unknown.", "")
    levels = [f"{label} {level:,.0f}" for level, label in charts.labelled_break_evens(view)]
    half = int(np.argmin(np.abs(view.spots_usd - 0.6 * view.spot_usd)))
    title = (
        f"At a further 40 % fall the position loses {usd(-float(view.alone[half]))}, "
        f"hedged {usd(-float(view.both[0].change_usd[half]))} at once"
    )
    return _section(
        title,
        "Change from today's value over the price: position alone, hedges alone, both, now and at the "
        f"next expiries, at today's volatility. USD. Break-evens: {', '.join(levels) or 'none but spot'}.",
        _figure(charts.payoff(view, data.underlying), "payoff"),
    )


def _costs(data: ReportData) -> str:
    money = data.money
    gained = data.hedged_usd - data.unhedged_usd
    known = gained[np.isfinite(gained)]
    parts = (
        ("Premium without fees", money.premium_usd),
        ("Venue fees", money.fee_usd),
        ("Swaps to and from the venue's stable", money.swap_usd),
        ("Gas", money.gas_usd),
        *((("Premium of covers", money.cover_usd),) if money.cover_usd else ()),
        ("Received from sales", money.sold_usd),
        ("Received at expiry", money.settled_usd),
        ("Still held, at sale value", money.mark_usd),
    )
    rows = "".join(_row_of("td", (name, usd(value)), numbers_from=1) for name, value in parts)
    rows += "".join(
        _row_of("td", (f"Perpetuals: {name}", usd(value, signed=True)), numbers_from=1)
        for name, value in money.perpetual.parts
    )
    rows += _row_of("td", ("Net", usd(money.net_usd, signed=True)), numbers_from=1)
    body = f"<table>{rows}</table>{_budget(data)}"
    if known.size:
        figure = charts.attribution(money, hedged_less_unhedged_usd=float(known[-1]))
        body = _figure(figure, "attribution") + body
    word = "brought" if money.net_usd >= 0.0 else "cost"
    return _section(
        f"Hedging {word} {usd(abs(money.net_usd))} net",
        "What hedging paid and brought, USD; the parts sum to the difference between both lines at the end.",
        body,
    )


def _budget(data: ReportData) -> str:
    limits = data.decided.limits
    head = _row_of("th", ("Spending", "At most", "Used", "Left"), numbers_from=1)
    rows = [
        _row_of(
            "td",
            (words, usd(limits[cap]), usd(limits[used]), usd(max(limits[cap] - limits[used], 0.0))),
            numbers_from=1,
        )
        for words, cap, used in budget_names(limits)
    ]
    if not rows:
        return ""
    table = f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'
    return f"<h3>What may be spent on hedges, at the last decision (R9)</h3>{table}"


def _tiers(data: ReportData) -> str:
    several = len({item.group for item in data.tiers}) > 1
    rows = [
        f'<tr><td class="t">{escape(when(item.at_s))}</td><td>{_tier(item.tier)}'
        f"{f'<small>{escape(item.group)}</small>' if several else ''}</td>"
        f"<td>{escape(_capital(item.because))}{_votes(item.votes)}</td></tr>"
        for item in data.tiers
    ]
    head = _row_of("th", ("Time, UTC", "Tier", "Because"))
    title = f"Tier: {data.tier_words}"
    return _section(title, "The first tier and every change, with what each family said.", _table(head, rows))


def _orders(data: ReportData) -> str:
    head = _row_of("th", ("Time, UTC", "Layer", "Order", "Paid or received", "Gas"), numbers_from=3)
    rows = [_order_row(item) for item in data.decided.orders]
    rows += [_perpetual_row(item) for item in data.decided.perpetuals]
    rows += [_beside_row(item) for item in data.decided.beside]
    title = f"{len(rows)} order{'s' if len(rows) != 1 else ''}"
    about = "What was bought, sold and settled, and why. Premium is with fees; gas comes on top."
    if data.decided.perpetuals:
        about += " Of perpetuals it is fees and funding: what the price brought is in the sums above."
    if data.decided.beside:
        about += " Last what was done beside the hedges; what moved there stays the account's own."
    return _section(title, about, _table(head, rows))


def _order_row(item: LegOutcome) -> str:
    leg = item.leg
    sign = -1.0 if leg.side is Side.BUY else 1.0
    paid = usd(sign * item.premium_usd, signed=True, about=item.indicative)
    return _told_row(item, leg.layer.value, order_words(item, money=False), because=leg.because, paid=paid)


def _perpetual_row(item: PerpetualOutcome) -> str:
    paid = usd(item.funding_usd - item.fee_usd, signed=True, about=item.indicative)
    return _told_row(item, "PERP", perpetual_order_words(item), because=item.order.because, paid=paid)


def _beside_row(item: BesideOrder) -> str:
    paid = usd(-item.premium_usd, signed=True)
    return _told_row(item, item.kind, item.words, because=item.because, paid=paid)


def _told_row(
    item: LegOutcome | PerpetualOutcome | BesideOrder, kind: str, words: str, *, because: str, paid: str
) -> str:
    about = f"{because} · transaction {item.tx_hash[:10]}…" if item.tx_hash else because
    return (
        f'<tr><td class="t">{escape(when(item.at_s))}</td><td>{escape(kind)}</td>'
        f'<td>{escape(_capital(words))}<small title="{escape(item.tx_hash)}">{escape(about)}</small></td>'
        f'<td class="n" data-name="paid or received">{escape(paid)}</td>'
        f'<td class="n" data-name="gas">{escape(usd(item.gas_usd))}</td></tr>'
    )


def _trust(data: ReportData) -> str:
    decided = data.decided
    lists = (
        ("Assumptions", data.assumptions),
        ("Missing files, and what is lost without them", data.missing),
        ("Gaps in the data; nothing was filled", data.gaps),
        ("Signals without a source (absent)", decided.absent),
        ("Signals still warming", decided.warming),
        ("Sources", data.sources),
    )
    body = "".join(f"<h3>{escape(name)}</h3>{_list(items)}" for name, items in lists if items)
    count = len(data.gaps) + len(data.missing)
    title = "Can this be trusted? " + (f"{count} gaps or missing files" if count else "Nothing is missing")
    return _section(title, "What was assumed, what was not there, where the numbers come from.", body)


def _section(title: str, subtitle: str, body: str) -> str:
    return f'<section><h2>{escape(title)}</h2><p class="sub">{escape(subtitle)}</p>{body}</section>'


def _figure(figure: go.Figure, name: str) -> str:
    """Return a figure as a piece of the page; a fixed name keeps the page the same for the same run."""
    html: str = figure.to_html(full_html=False, include_plotlyjs=False, config=_PLOT, div_id=f"chart-{name}")
    return html


def _table(head: str, rows: Sequence[str]) -> str:
    if not rows:
        return "<p>None.</p>"
    shown = f'<div class="scroll"><table class="stack">{head}{"".join(rows[:_DETAIL_ROWS])}</table></div>'
    rest = rows[_DETAIL_ROWS:]
    if rest:
        shown += (
            f"<details><summary>{len(rest)} more</summary>"
            f'<div class="scroll"><table class="stack">{head}{"".join(rest)}</table></div></details>'
        )
    return shown


def _row_of(tag: str, cells: Iterable[str], *, numbers_from: int | None = None) -> str:
    parts = []
    for i, cell in enumerate(cells):
        mark = ' class="n"' if numbers_from is not None and i >= numbers_from else ""
        parts.append(f"<{tag}{mark}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"


def _list(items: Sequence[str]) -> str:
    lines = [f"<li>{escape(item)}</li>" for item in items]
    shown = f"<ul>{''.join(lines[:_DETAIL_ROWS])}</ul>"
    rest = lines[_DETAIL_ROWS:]
    if rest:
        shown += f"<details><summary>{len(rest)} more</summary><ul>{''.join(rest)}</ul></details>"
    return shown


def _votes(votes: Sequence[str]) -> str:
    return "".join(f"<small>{escape(vote)}</small>" for vote in votes)


def _tier(tier: Tier) -> str:
    return f'<span class="tier" style="--tier:{charts.TIER_COLOURS[tier]}">{tier.name}</span>'


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
