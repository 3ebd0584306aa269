"""The page of one run: a backtest over one stretch, a demo, or what a journal tells."""

import math
from collections.abc import Mapping
from html import escape

import numpy as np

from bot.model.hedge import LegOutcome, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.tier import Tier
from bot.simulation.intervals import Measured
from bot.simulation.report import chart_timeline, charts, tables
from bot.simulation.report.beside_orders import BesideOrder
from bot.simulation.report.chart_style import TIER_COLOURS
from bot.simulation.report.data import BACKTEST, ReportData
from bot.simulation.report.decided import LayerView
from bot.simulation.report.page import (
    Figure,
    Page,
    Panel,
    head_html,
    list_html,
    page_text,
    row_html,
    stacked_table,
)
from bot.simulation.report.payoff_view import Payoff
from bot.simulation.report.table import Table, table_html
from bot.simulation.results import ALVH, UNHEDGED
from bot.simulation.wording import (
    order_words,
    percent,
    perpetual_order_words,
    strategy_name,
    usd,
    when,
)


def render(data: ReportData) -> str:
    """Return the page as text."""
    return page_text(page_of(data))


def page_of(data: ReportData) -> Page:
    """Return the page of one run."""
    measures = tables.measures_of(data)
    panels = (
        _layers(data),
        _timeline(data),
        *_comparison(data, measures),
        _attribution(data),
        _costs(data, measures),
        *_inventory(data),
        *_payoff(data),
        _tiers(data),
        _orders(data),
        _trust(data),
    )
    return Page(
        title=data.headline,
        head=_first_screen(data),
        panels=panels,
        footer=f"Policy {data.decided.policy_hash}.",
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
    return head_html(
        mode=data.mode,
        title=f"{data.title}, {start} to {end} (UTC)",
        headline=data.headline,
        lead=f"At the end: {data.decided.state or 'no decision was taken'}",
        facts=facts,
    )


def _first_elevated(data: ReportData) -> str:
    first = next((item.at_s for item in data.tiers if item.tier >= Tier.ELEVATED), math.nan)
    return f"ELEVATED first at {when(first)}" if math.isfinite(first) else "never ELEVATED"


def _layers(data: ReportData) -> Panel:
    title, files = "Protection held against wanted", (tables.layers(data),)
    if not data.decided.layers:
        return Panel(title=title, subtitle="No layer was decided on.", files=files)
    return Panel(
        title=title,
        subtitle="Contracts per layer at the last decision: full is held and wanted, hatched is missing, "
        "pale is held and no longer wanted.",
        html="".join(_layer(item) for item in data.decided.layers),
        files=files,
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


def _timeline(data: ReportData) -> Panel:
    orders = len(data.decided.orders)
    return Panel(
        title=f"{data.headline}; tier: {data.tier_words}",
        subtitle="From the top: the position's value with and without hedge; its fall from the peak; the "
        f"price of {data.underlying}; what each layer holds (higher is more) with its orders, {orders} in "
        "all; the tier, with its reason under the pointer. Times are UTC.",
        figures=(Figure(name="timeline", plot=chart_timeline.timeline(data)),),
        files=(tables.equity(data), tables.tiers(data)),
    )


def _comparison(data: ReportData, measures: Mapping[str, Measured]) -> tuple[Panel, ...]:
    if not data.compared:
        return ()
    own = next((item for item in data.compared if item.name == ALVH), None)
    known = [item for item in data.compared if math.isfinite(item.max_drawdown)]
    best = min(known, key=lambda item: item.max_drawdown, default=None)
    title = "Against the benchmarks"
    if own and best:
        title = (
            f"{strategy_name(best.name)} had the smallest fall, {percent(best.max_drawdown)}; "
            f"ALVH {percent(own.max_drawdown)}"
        )
    about = list_html([f"{strategy_name(item.name)}: {item.about}" for item in data.compared])
    return (
        Panel(
            title=title,
            subtitle="Same hours, prices and costs for all. Cost is money paid less received less what is "
            f"still held; negative cost is a gain. {_interval_words(measures)}",
            figures=(Figure(name="comparison", plot=charts.comparison(data)),),
            tables=(tables.comparison(data, measures),),
            html=f"<details><summary>What each one does</summary>{about}</details>",
        ),
    )


def _interval_words(measures: Mapping[str, Measured]) -> str:
    if any(math.isfinite(item.max_drawdown.low) for item in measures.values()):
        return (
            "Under a number: where 90 % of 500 resamples of this run lie, in blocks of ten days, the same "
            "blocks for all."
        )
    return "The run is too short for intervals: they need six blocks of ten days."


def _attribution(data: ReportData) -> Panel:
    found = data.attributions.get(ALVH)
    if found is None or not math.isfinite(found.total_usd):
        return Panel(title="Where the result comes from", subtitle="No value is known in this range.")
    hedging_usd = found.hedge.net_usd + found.residual_usd
    alone_usd = found.total_usd - hedging_usd
    figures = [
        Figure(
            name="attribution_hedge",
            plot=charts.attribution(found, of_hedge=True),
            title=f"Hedging: {usd(hedging_usd, signed=True)}",
        ),
        Figure(
            name="attribution_position",
            plot=charts.attribution(found, of_hedge=False),
            title=f"The position alone: {usd(alone_usd, signed=True)}",
        ),
    ]
    if len(data.attributions) > 2:
        hedged = {name: data.attributions[name] for name in data.names if name != UNHEDGED}
        bars = charts.attribution_bars(hedged)
        figures.append(Figure(name="attribution_strategies", plot=bars, title="Hedging, of each strategy"))
    return Panel(
        title=f"{usd(found.total_usd, signed=True)} in all: the position alone "
        f"{usd(alone_usd, signed=True)}, "
        f"hedging {usd(found.hedge.net_usd, signed=True)}, "
        f"{usd(found.residual_usd, signed=True)} unexplained",
        subtitle="Price is what the deposited tokens would have gained, impermanent loss what the pool's "
        "curve did to that. Premium is the time value paid for options; option payoff what they brought, at "
        "the model's value; slippage spreads, venue fees and swaps; all USD. The parts come from orders and "
        "prices, the total from the path of values: the residual is what they leave open.",
        figures=tuple(figures),
        tables=(tables.attribution(data),),
    )


def _costs(data: ReportData, measures: Mapping[str, Measured]) -> Panel:
    money, paid = data.money, data.paid
    word = "brought" if money.net_usd >= 0.0 else "cost"
    yearly = measures.get(ALVH, Measured()).cost_a_year
    rate = ""
    if math.isfinite(yearly):
        rate = f", {percent(abs(yearly))} of the position a year"
    budget = tables.budget(data)
    is_long = bool(data.times_s[-1] - data.times_s[0] >= charts.ROLLING_S)
    return Panel(
        title=f"Hedging {word} {usd(abs(money.net_usd))} net{rate}",
        subtitle="What hedging paid and received so far, what is held at sale value, and all of it together"
        + ("; below, what it lost over the last 30 days, of the position as of a year." if is_long else "."),
        figures=(Figure(name="carry", plot=charts.carry(data, paid)),),
        tables=(tables.money(data),),
        html=_budget_html(budget),
        files=(tables.carry(data, paid), *((budget,) if budget.rows else ())),
    )


def _budget_html(budget: Table) -> str:
    if not budget.rows:
        return ""
    return f"<h3>What may be spent on hedges, at the last decision (R9)</h3>{table_html(budget)}"


def _inventory(data: ReportData) -> tuple[Panel, ...]:
    decided = data.decided
    if not (decided.holdings or decided.perpetual_holdings):
        return ()
    layers = charts.inventory_by_layer(data)
    most = float(np.sum(list(layers.values()), axis=0).max())
    units = max((abs(item.units) for item in decided.perpetual_holdings), default=0.0)
    words = [f"{most:,.0f} option contracts"] if most else []
    words += [f"{units:,.2f} {data.underlying} of perpetuals"] if units else []
    return (
        Panel(
            title=f"At most {' and '.join(words)} held",
            subtitle="Contracts of each layer, stacked, and units of perpetuals, short ones negative.",
            figures=(Figure(name="inventory", plot=charts.inventory(data)),),
            files=(tables.inventory(data),),
        ),
    )


def _payoff(data: ReportData) -> tuple[Panel, ...]:
    view = data.payoff
    if view is None:
        return (Panel(title="Payoff", subtitle="No hedge is held at the end, or its volatility is unknown."),)
    levels = [f"{label} {level:,.0f}" for level, label in charts.labelled_break_evens(view)]
    half = int(np.argmin(np.abs(view.spots_usd - 0.6 * view.spot_usd)))
    panel = Panel(
        title=f"At a further 40 % fall the position loses {usd(-float(view.alone[half]))}, "
        f"hedged {usd(-float(view.both[0].change_usd[half]))} at once",
        subtitle="Change from today's value over the price: position alone, hedges alone, both, now and at "
        "the next expiries, at today's volatility and without funding. USD. Break-evens: "
        f"{', '.join(levels) or 'none but spot'}.",
        figures=(Figure(name="payoff", plot=charts.payoff(view, data.underlying)),),
        files=(tables.payoff(view),),
    )
    return (panel, *_surface(view, data.underlying))


def _surface(view: Payoff, underlying: str) -> tuple[Panel, ...]:
    surface = view.surface
    if surface is None:
        return ()
    worst = min(float(row.min()) for row in surface.change_usd)
    return (
        Panel(
            title=f"Held unchanged for {surface.days[-1]:.0f} days, the hedged position loses at most "
            f"{usd(-min(worst, 0.0))} at these prices",
            subtitle="Change of position and hedges together from today's value, over the price and the days "
            "from now, at today's volatility; dashed lines are expiries. USD.",
            figures=(
                Figure(
                    name="payoff_surface",
                    plot=charts.payoff_surface(surface, underlying, view.spot_usd),
                ),
            ),
            files=(tables.payoff_surface(view),),
        ),
    )


def _tiers(data: ReportData) -> Panel:
    several = len({item.group for item in data.tiers}) > 1
    rows = [
        f'<tr><td class="t">{escape(when(item.at_s))}</td><td>{_tier(item.tier)}'
        f"{f'<small>{escape(item.group)}</small>' if several else ''}</td>"
        f"<td>{escape(_capital(item.because))}{_votes(item.votes)}</td></tr>"
        for item in data.tiers
    ]
    return Panel(
        title=f"Tier: {data.tier_words}",
        subtitle="The first tier and every change, with what each family said.",
        html=stacked_table(row_html("th", ("Time, UTC", "Tier", "Because")), rows),
    )


def _orders(data: ReportData) -> Panel:
    head = row_html("th", ("Time, UTC", "Layer", "Order", "Paid or received", "Gas"), numbers_from=3)
    rows = [_order_row(item) for item in data.decided.orders]
    rows += [_perpetual_row(item) for item in data.decided.perpetuals]
    rows += [_beside_row(item) for item in data.decided.beside]
    about = "What was bought, sold and settled, and why. Premium is with fees; gas comes on top."
    if data.decided.perpetuals:
        about += " Of perpetuals it is fees and funding: what the price brought is in the sums above."
    if data.decided.beside:
        about += " Last what was done beside the hedges; what moved there stays the account's own."
    return Panel(
        title=f"{len(rows)} order{'s' if len(rows) != 1 else ''}",
        subtitle=about,
        html=stacked_table(head, rows),
        files=(tables.orders(data), tables.perpetual_orders(data)),
    )


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


def _trust(data: ReportData) -> Panel:
    decided = data.decided
    lists = (
        ("Assumptions", data.assumptions),
        ("Missing files, and what is lost without them", data.missing),
        ("Gaps in the data; nothing was filled", data.gaps),
        ("Signals without a source (absent)", decided.absent),
        ("Signals still warming", decided.warming),
        ("Sources", data.sources),
    )
    count = len(data.gaps) + len(data.missing)
    what = "one stretch of history" if data.mode == BACKTEST else "what its journal holds"
    return Panel(
        title="Can this be trusted? " + (f"{count} gaps or missing files" if count else "Nothing is missing"),
        subtitle=f"What was assumed, what was not there, where the numbers come from. It rests on {what}.",
        html="".join(f"<h3>{escape(name)}</h3>{list_html(items)}" for name, items in lists if items),
        files=(tables.policy(data.policy),) if data.policy else (),
    )


def _votes(votes: tuple[str, ...]) -> str:
    return "".join(f"<small>{escape(vote)}</small>" for vote in votes)


def _tier(tier: Tier) -> str:
    return f'<span class="tier" style="--tier:{TIER_COLOURS[tier]}">{tier.name}</span>'


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
