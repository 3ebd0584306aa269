"""The report in a terminal: 80 columns, no colour needed, key: value lines where it is narrower."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from bot.simulation.attribution import PART_NAMES
from bot.simulation.report.data import ReportData
from bot.simulation.report.decided import LayerView
from bot.simulation.results import ALVH
from bot.simulation.wording import (
    order_words,
    percent,
    perpetual_order_words,
    strategy_name,
    usd,
    when,
)

WIDTH = 80
_NARROW = 60
_ROWS = 10  # longer lists end with a count
_BAR = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table without lines that folds to key: value lines where there is no room for columns.

    ``left`` are the columns that hold words; numbers stand right. The last column of words may wrap, and so
    may ``wraps``: where nothing may, what has no room is cut.
    """

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: tuple[int, ...] = (0,)
    wraps: tuple[int, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < _NARROW:
            yield self._folded()
            return
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
        for i, name in enumerate(self.head):
            wraps = i in self.wraps or (i == len(self.head) - 1 and i in self.left)
            table.add_column(
                name, justify="left" if i in self.left else "right", no_wrap=not wraps, overflow="fold"
            )
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        yield table

    def _folded(self) -> Text:
        blocks = []
        for first, *rest in self.rows:
            pairs = zip(self.head[1:], rest, strict=True)
            blocks.append(
                "\n".join([first, *(f"  {f'{name}: ' if name else ''}{cell}" for name, cell in pairs)])
            )
        return Text("\n".join(blocks))


def print_report(report: ReportData, console: Console) -> None:
    """Print the summary. What happened comes first, in words and one number."""
    console.print(summary(report), width=min(console.width, WIDTH))


def summary(report: ReportData) -> RenderableType:
    """Return the summary as something rich can print."""
    parts: list[RenderableType] = [
        Text(report.headline, style="bold"),
        Text(f"{report.title} ({report.mode})"),
        Text(f"{when(report.times_s[0])[:10]} to {when(report.times_s[-1] - 1.0)[:10]} UTC"),
        Text(""),
    ]
    if report.compared:
        parts += [_compared(report), Text("")]
    parts += [_layers(report), Text(""), _money(report), Text(""), *_attribution(report)]
    many = len({item.group for item in report.tiers}) > 1
    parts += _listed(
        f"Tiers: {report.tier_words}",
        [
            (f"{when(item.at_s)}  ", f"{item.tier.name}{f' {item.group}' if many else ''}: {item.because}")
            for item in report.tiers
        ],
    )
    orders = report.decided.orders
    parts += _listed(
        f"Orders: {len(orders)}",
        [(f"{when(item.at_s)}  {item.leg.layer.value:<4} ", order_words(item)) for item in orders],
    )
    traded = report.decided.perpetuals
    parts += _listed(
        f"Orders for perpetuals: {len(traded)}",
        [(f"{when(item.at_s)}  ", perpetual_order_words(item)) for item in traded],
    )
    parts += _listed(
        f"Beside the hedges: {len(report.decided.beside)}",
        [(f"{when(item.at_s)}  {item.kind:<5} ", item.words) for item in report.decided.beside],
    )
    for title, lines in (
        ("Missing", report.missing),
        ("Gaps (nothing was filled)", report.gaps),
        ("Assumed", report.assumptions),
    ):
        parts += _listed(title, [("- ", line) for line in lines])
    return Group(*parts)


def hanging(start: str, text: Text) -> RenderableType:
    """Return ``start`` and a paragraph that wraps to the right of it."""
    if not start:
        return text
    grid = Table.grid(padding=0)
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(start, text)
    return grid


def _compared(report: ReportData) -> RenderableType:
    rows = [
        (strategy_name(item.name), usd(item.final_value_usd), percent(item.max_drawdown), usd(item.cost_usd))
        for item in report.compared
    ]
    return Rows(head=("strategy", "final value", "deepest fall", "cost"), rows=rows)


def _layers(report: ReportData) -> RenderableType:
    parts = [part for item in report.decided.layers for part in _layer(item)]
    title = Text("Protection held of wanted at the last decision, in contracts", style="bold")
    return Group(title, *(parts or [Text("  none decided")]))


def _layer(item: LayerView) -> list[RenderableType]:
    wanted, held = item.wanted_contracts, item.held_contracts
    share = min(held / wanted, 1.0) if wanted > 0.0 else float(held > 0.0)
    full = round(share * _BAR)
    bar = ("#" * full + "-" * (_BAR - full if wanted > 0.0 else 0)).ljust(_BAR)
    parts: list[RenderableType] = [Text(f"  {item.layer.value:<5}[{bar}] {held:,.2f} of {wanted:,.2f}")]
    if item.shortfall:
        parts.append(hanging(" " * 8, Text(item.shortfall)))
    return parts


def _money(report: ReportData) -> RenderableType:
    money = report.money
    received = money.sold_usd + money.settled_usd
    parts = ", ".join(f"{name} {usd(value, signed=True)}" for name, value in money.perpetual.parts)
    traded = f"\nPerpetuals in it: {parts}." if parts else ""
    return Text(
        f"Spent: premium {usd(money.premium_usd)}, fees {usd(money.fee_usd)}, swaps {usd(money.swap_usd)}, "
        f"gas {usd(money.gas_usd)}{f', covers {usd(money.cover_usd)}' if money.cover_usd else ''}.\n"
        f"Received {usd(received)}; still held, at sale value, {usd(money.mark_usd)}; "
        f"net {usd(money.net_usd, signed=True)}.{traded}"
    )


def _attribution(report: ReportData) -> list[RenderableType]:
    """Return where alvh's result came from, with what no part explains."""
    found = report.attributions.get(ALVH)
    if found is None or not math.isfinite(found.total_usd):
        return []
    parts = [f"{PART_NAMES[name]} {usd(value, signed=True)}" for name, value in found.parts if value]
    said = f"{', '.join(parts)}; residual {usd(found.residual_usd, signed=True)}."
    return [
        Text(f"Result {usd(found.total_usd, signed=True)}, of it", style="bold"),
        hanging("  ", Text(said)),
        Text(""),
    ]


def _listed(title: str, lines: Sequence[tuple[str, str]]) -> list[RenderableType]:
    if not lines:
        return []
    shown: list[RenderableType] = [hanging(f"  {start}", Text(line)) for start, line in lines[:_ROWS]]
    if len(lines) > _ROWS:
        shown.append(Text(f"  and {len(lines) - _ROWS} more in the report"))
    return [Text(title, style="bold"), *shown, Text("")]
