"""The tables of a run's report: those of the page, and the values behind its figures for the folder."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bot.model.hedge import LegOutcome, Side
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.simulation.attribution import PART_NAMES
from bot.simulation.intervals import Measured, measured
from bot.simulation.market.implied_vols import HOLE_S
from bot.simulation.report.chart_timeline import falls
from bot.simulation.report.charts import rolling_cost
from bot.simulation.report.data import ReportData
from bot.simulation.report.money import Paid
from bot.simulation.report.payoff_view import Payoff
from bot.simulation.report.table import Cell, Column, Kind, Table
from bot.simulation.results import ALVH, UNHEDGED
from bot.simulation.wording import budget_names, strategy_name


def text(name: str, title: str) -> Column:
    return Column(name=name, title=title, kind=Kind.TEXT)


def usd_column(name: str, title: str, *, signed: bool = False) -> Column:
    return Column(name=name, title=title, kind=Kind.SIGNED_USD if signed else Kind.USD)


def share_column(name: str, title: str) -> Column:
    return Column(name=name, title=title, kind=Kind.SHARE)


def with_bounds(column: Column) -> tuple[Column, Column, Column]:
    """Return a column and those of its interval's ends."""
    low = Column(name=f"{column.name}_p05", title="", kind=column.kind, low_of=column.name)
    high = Column(name=f"{column.name}_p95", title="", kind=column.kind, high_of=column.name)
    return column, low, high


_TIME = Column(name="ts", title="Time, UTC", kind=Kind.TIME)
_COMPARISON = (
    text("strategy", "Strategy"),
    usd_column("final_value_usd", "Final value"),
    *with_bounds(share_column("max_drawdown", "Deepest fall")),
    *with_bounds(share_column("removed", "Fall removed")),
    usd_column("cost_usd", "Cost"),
    *with_bounds(share_column("cost_a_year", "Cost a year")),
    Column(name="trades", title="Trades", kind=Kind.NUMBER),
)


def measures_of(data: ReportData) -> dict[str, Measured]:
    """Return the figures of every strategy with their intervals."""
    curves = data.curves
    gains = {name: values - data.unhedged_usd for name, values in curves.items()}
    return measured(data.times_s, data.unhedged_usd, gains, hole_s=HOLE_S)


def comparison(data: ReportData, measures: Mapping[str, Measured]) -> Table:
    """Return one row a strategy. ``removed`` is of the deepest fall; cost a year is of the position."""
    base = next((item.max_drawdown for item in data.compared if item.name == UNHEDGED), math.nan)
    rows = []
    for item in data.compared:
        found = measures.get(item.name, Measured())
        removed = 1.0 - item.max_drawdown / base if base > 0.0 else math.nan
        is_hedged = item.name != UNHEDGED  # of what is not there nothing is uncertain
        rows.append(
            (
                strategy_name(item.name),
                item.final_value_usd,
                item.max_drawdown,
                found.max_drawdown.low,
                found.max_drawdown.high,
                removed,
                found.removed.low if is_hedged else math.nan,
                found.removed.high if is_hedged else math.nan,
                item.cost_usd,
                found.cost_a_year,
                found.cost_range.low if is_hedged else math.nan,
                found.cost_range.high if is_hedged else math.nan,
                float(item.trades),
            )
        )
    return Table(name="comparison", columns=_COMPARISON, rows=tuple(rows), own=strategy_name(ALVH))


def attribution(data: ReportData) -> Table:
    """Return one row a part and one column a strategy; parts that nobody has are left out."""
    found = {name: data.attributions[name] for name in data.names if name in data.attributions}
    columns = [usd_column(f"{name}_usd", strategy_name(name), signed=True) for name in found]
    parts = [dict(item.parts) for item in found.values()]
    rows: list[tuple[Cell, ...]] = [
        (PART_NAMES[part].capitalize() if part != "lp_fees" else "LP fees", *(item[part] for item in parts))
        for part in PART_NAMES
        if any(item[part] for item in parts)
    ]
    rows.append(("Residual", *(item.residual_usd for item in found.values())))
    rows.append(("Total", *(item.total_usd for item in found.values())))
    return Table(name="attribution", columns=(text("part", "Part"), *columns), rows=tuple(rows), own="Total")


def money(data: ReportData) -> Table:
    """Return what hedging paid and brought; the last row is the net."""
    found = data.money
    parts: list[tuple[str, float]] = [
        ("Premium without fees", -found.premium_usd),
        ("Venue fees", -found.fee_usd),
        ("Swaps to and from the venue's stable", -found.swap_usd),
        ("Gas", -found.gas_usd),
        *([("Premium of covers", -found.cover_usd)] if found.cover_usd else []),
        ("Received from sales", found.sold_usd),
        ("Received at expiry", found.settled_usd),
        ("Still held, at sale value", found.mark_usd),
        *((f"Perpetuals: {name}", value) for name, value in found.perpetual.parts),
        ("Net", found.net_usd),
    ]
    columns = (text("part", "Paid and received"), usd_column("usd", "USD", signed=True))
    return Table(name="money", columns=columns, rows=tuple(parts), own="Net")


def budget(data: ReportData) -> Table:
    """Return what may be spent on hedges, at the last decision (R9)."""
    limits = data.decided.limits
    columns = (
        text("budget", "Spending"),
        usd_column("cap_usd", "At most"),
        usd_column("used_usd", "Used"),
        usd_column("left_usd", "Left"),
    )
    rows = tuple(
        (words, limits[cap], limits[used], max(limits[cap] - limits[used], 0.0))
        for words, cap, used in budget_names(limits)
    )
    return Table(name="budget", columns=columns, rows=rows)


def equity(data: ReportData) -> Table:
    """Return price, values, falls from the peak and tier of every step."""
    curves = data.curves
    columns = (
        _TIME,
        text("tier", ""),
        usd_column("spot_usd", ""),
        *(usd_column(f"{name}_usd", "") for name in curves),
        *(share_column(f"{name}_fall", "") for name in curves),
    )
    tiers = [item.name for item in data.decided.tier_by_step] or [""] * data.times_s.size
    numbers = [data.spot_usd, *curves.values()]
    numbers += [-falls(data.times_s, values) for values in curves.values()]
    return Table(name="equity", columns=columns, rows=_rows(data.times_s, tiers, numbers))


def carry(data: ReportData, paid: Paid) -> Table:
    """Return what hedging paid, received and is worth by step."""
    columns = (
        _TIME,
        *(usd_column(name, "") for name in ("paid_usd", "received_usd", "held_usd", "net_usd")),
        share_column("loss_30d_a_year", ""),
    )
    rolling = rolling_cost(data.times_s, data.unhedged_usd, paid.net_usd)
    numbers = [paid.paid_usd, paid.received_usd, paid.held_usd, paid.net_usd, rolling]
    return Table(name="carry", columns=columns, rows=_rows(data.times_s, None, numbers))


def tiers(data: ReportData) -> Table:
    columns = (_TIME, *(text(name, "") for name in ("group", "tier", "previous", "because")))
    rows = tuple(
        (item.at_s, item.group, item.tier.name, item.previous.name, item.because) for item in data.tiers
    )
    return Table(name="tiers", columns=columns, rows=rows)


def inventory(data: ReportData) -> Table:
    """Return the stretches in which a layer's contracts, or the perpetuals' units, stayed the same."""
    columns = (
        Column(name="from_ts", title="", kind=Kind.TIME),
        Column(name="to_ts", title="", kind=Kind.TIME),
        text("layer", ""),
        Column(name="size", title="", kind=Kind.NUMBER),
    )
    rows: list[tuple[Cell, ...]] = [
        (item.from_s, item.to_s, item.layer.value, item.contracts) for item in data.decided.holdings
    ]
    rows += [(item.from_s, item.to_s, "perpetual", item.units) for item in data.decided.perpetual_holdings]
    return Table(name="inventory", columns=columns, rows=tuple(rows))


def layers(data: ReportData) -> Table:
    columns = (
        text("layer", ""),
        Column(name="wanted_contracts", title="", kind=Kind.NUMBER),
        Column(name="held_contracts", title="", kind=Kind.NUMBER),
        text("because", ""),
        text("shortfall", ""),
    )
    rows = tuple(
        (item.layer.value, item.wanted_contracts, item.held_contracts, item.because, item.shortfall)
        for item in data.decided.layers
    )
    return Table(name="layers", columns=columns, rows=rows)


def orders(data: ReportData) -> Table:
    """Return every order of an option; premium is negative where it was paid, fees are part of it."""
    numbers = ("size", "premium_usd", "fee_usd", "swap_usd", "gas_usd")
    columns = (
        _TIME,
        *(text(name, "") for name in ("layer", "side", "instrument", "status")),
        *(Column(name=name, title="", kind=Kind.NUMBER) for name in numbers),
        *(text(name, "") for name in ("tx_hash", "because")),
    )
    return Table(name="orders", columns=columns, rows=tuple(map(_order, data.decided.orders)))


def perpetual_orders(data: ReportData) -> Table:
    numbers = ("size", "price_usd", "margin_moved_usd", "fee_usd", "funding_usd", "gas_usd")
    columns = (
        _TIME,
        *(text(name, "") for name in ("action", "perpetual", "status")),
        *(Column(name=name, title="", kind=Kind.NUMBER) for name in numbers),
        text("because", ""),
    )
    rows = tuple(map(_perpetual_order, data.decided.perpetuals))
    return Table(name="perpetual_orders", columns=columns, rows=rows)


def payoff(view: Payoff) -> Table:
    columns = (
        text("what", ""),
        text("when", ""),
        usd_column("spot_usd", ""),
        usd_column("change_usd", "", signed=True),
    )
    curves = [("position alone", "now", view.alone)]
    curves += [("hedge alone", item.label, item.change_usd) for item in view.hedges]
    curves += [("both", item.label, item.change_usd) for item in view.both]
    rows = tuple(
        (what, label, spot, change)
        for what, label, changes in curves
        for spot, change in zip(view.spots_usd.tolist(), changes.tolist(), strict=True)
    )
    return Table(name="payoff", columns=columns, rows=rows)


def payoff_surface(view: Payoff) -> Table:
    columns = (
        Column(name="days", title="", kind=Kind.NUMBER),
        usd_column("spot_usd", ""),
        usd_column("change_usd", "", signed=True),
    )
    rows: list[tuple[Cell, ...]] = []
    if view.surface is not None:
        surface = view.surface
        rows = [
            (days, spot, change)
            for days, changes in zip(surface.days.tolist(), surface.change_usd, strict=True)
            for spot, change in zip(surface.spots_usd.tolist(), changes.tolist(), strict=True)
        ]
    return Table(name="payoff_surface", columns=columns, rows=tuple(rows))


def policy(keys: Mapping[str, str]) -> Table:
    columns = (text("key", "Key"), text("value", "Value"))
    return Table(name="policy", columns=columns, rows=tuple(sorted(keys.items())))


def _rows(
    times_s: FloatArray, words: Sequence[str] | None, numbers: Sequence[FloatArray]
) -> tuple[tuple[Cell, ...], ...]:
    return tuple(_each(times_s, words, numbers))


def _each(
    times_s: FloatArray, words: Sequence[str] | None, numbers: Sequence[FloatArray]
) -> Iterator[tuple[Cell, ...]]:
    stacked = np.column_stack(numbers).tolist()
    for i, at_s in enumerate(times_s.tolist()):
        yield (at_s, *([words[i]] if words is not None else []), *stacked[i])


def _order(item: LegOutcome) -> tuple[Cell, ...]:
    leg = item.leg
    sign = -1.0 if leg.side is Side.BUY else 1.0
    return (
        item.at_s,
        leg.layer.value,
        leg.side.value,
        leg.instrument.label,
        item.status.value,
        item.filled_size,
        sign * item.premium_usd,
        item.fee_usd,
        item.swap_usd,
        item.gas_usd,
        item.tx_hash,
        item.because or leg.because,
    )


def _perpetual_order(item: PerpetualOutcome) -> tuple[Cell, ...]:
    order = item.order
    return (
        item.at_s,
        order.action.value,
        f"{order.perpetual.venue} {order.perpetual.id}",
        item.status.value,
        item.filled_size,
        item.price_usd,
        item.margin_usd,
        item.fee_usd,
        item.funding_usd,
        item.gas_usd,
        order.because or item.because,
    )
