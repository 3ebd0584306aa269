"""The report in a terminal: 80 columns, no colour needed, key: value lines where it is narrower."""

import math
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bot.model.units import iso_utc
from bot.simulation.report import percent, strategy_name, usd
from bot.simulation.report_data import LayerView, ReportData

WIDTH = 80
_NARROW = 60
_ROWS = 10  # longer lists end with a count
_BAR = 16


def print_report(report: ReportData, console: Console) -> None:
    """Print the summary. What happened comes first, in words and one number."""
    console.print(summary(report, width=min(console.width, WIDTH)), width=min(console.width, WIDTH))


def summary(report: ReportData, *, width: int = WIDTH) -> RenderableType:
    """Return the summary as something rich can print."""
    parts: list[RenderableType] = [
        Text(report.headline, style="bold"),
        Text(f"{report.title} ({report.mode})"),
        Text(f"{_day(report.times_s[0])} to {_day(report.times_s[-1])} UTC"),
        Text(""),
    ]
    if report.compared:
        parts += [_compared(report, width), Text("")]
    parts += [_layers(report), Text(""), _money(report), Text("")]
    parts += _listed(
        "Tiers", [f"{_when(item.at_s)}  {item.tier.name}  {item.because}" for item in report.tiers]
    )
    parts += _listed("Missing", report.missing)
    parts += _listed("Gaps (nothing was filled)", report.gaps)
    parts += _listed("Assumed", report.assumptions)
    return Group(*parts)


def _compared(report: ReportData, width: int) -> RenderableType:
    head = ("strategy", "final value", "deepest fall", "cost")
    rows = [
        (strategy_name(item.name), usd(item.final_value_usd), percent(item.max_drawdown), usd(item.cost_usd))
        for item in report.compared
    ]
    return _table(head, rows, width=width)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> RenderableType:
    """Return a table, or key: value lines where it would not fit."""
    if width < _NARROW:
        lines = [f"{name}: {cell}" for row in rows for name, cell in (*zip(head, row, strict=True), ("", ""))]
        return Text("\n".join(line if line != ": " else "" for line in lines))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _layers(report: ReportData) -> RenderableType:
    parts = [part for item in report.decided.layers for part in _layer(item)]
    title = Text("Protection held of wanted, at the end", style="bold")
    return Group(title, *(parts or [Text("  none decided")]))


def _layer(item: LayerView) -> list[RenderableType]:
    wanted, held = item.wanted_contracts, item.held_contracts
    share = min(held / wanted, 1.0) if wanted > 0.0 else float(held > 0.0)
    full = round(share * _BAR)
    empty = _BAR - full if wanted > 0.0 else 0
    bar = ("#" * full + "-" * empty).ljust(_BAR)
    parts: list[RenderableType] = [Text(f"  {item.layer.value:<5}[{bar}] {held:,.2f} of {wanted:,.2f}")]
    if item.shortfall:
        parts.append(Padding(Text(f"shortfall {item.shortfall}"), (0, 0, 0, 8), expand=False))
    return parts


def _money(report: ReportData) -> RenderableType:
    money = report.money
    received = money.sold_usd + money.settled_usd
    orders = len(report.decided.orders)
    return Text(
        f"Spent: premium {usd(money.premium_usd)}, fees {usd(money.fee_usd)}, swaps {usd(money.swap_usd)}, "
        f"gas {usd(money.gas_usd)} in {orders} orders.\n"
        f"Received {usd(received)}, still held {usd(money.mark_usd)}; net {usd(money.net_usd, signed=True)}."
    )


def _listed(title: str, lines: Sequence[str]) -> list[RenderableType]:
    if not lines:
        return []
    shown: list[RenderableType] = [
        Padding(Text(f"- {line}"), (0, 0, 0, 2), expand=False) for line in lines[:_ROWS]
    ]
    if len(lines) > _ROWS:
        shown.append(Text(f"  and {len(lines) - _ROWS} more in the report"))
    return [Text(title, style="bold"), *shown, Text("")]


def _day(at_s: float) -> str:
    return iso_utc(at_s)[:10] if math.isfinite(at_s) else "unknown"


def _when(at_s: float) -> str:
    return iso_utc(at_s).replace("T", " ")[:16]
