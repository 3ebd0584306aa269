"""What a person reads in a terminal of 80 columns, without needing colour."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from bot.model.hedge import LayerTarget, LegOutcome, Side
from bot.model.record import GroupDecision, StepRecord
from bot.model.tier import Quality, Reading, Tier
from bot.model.units import iso_utc

TIER_STYLE = {
    Tier.CALM: "bold bright_blue",
    Tier.GUARDED: "bold cyan",
    Tier.ELEVATED: "bold yellow",
    Tier.SEVERE: "bold dark_orange",
    Tier.CRISIS: "bold red",
}
BAR_WIDTH = 20


def usd(value: float) -> str:
    """Return dollars with thousands, cents only below 100; a dash when unknown."""
    if not math.isfinite(value):
        return "–"
    sign = "-" if value < 0 else ""
    return f"{sign}${abs(value):,.0f}" if abs(value) >= 100 else f"{sign}${abs(value):,.2f}"


def percent(value: float) -> str:
    """Return a fraction as a percentage with one digit; a dash when unknown."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def state_line(record: StepRecord) -> Text:
    """Return the state in one line: time, tier and why, price."""
    line = Text()
    line.append(iso_utc(record.decision.now_s)[:16].replace("T", " ") + "  ", style="dim")
    for group in record.decision.groups:
        line.append(group.tier.name, style=TIER_STYLE[group.tier])
        line.append(f" {group.group}: {group.because}  ")
    spots = ", ".join(f"{name} {usd(value)}" for name, value in record.spot_usd.items())
    line.append(spots, style="dim")
    return line


def order_line(outcome: LegOutcome) -> Text:
    """Return one order in one line."""
    leg = outcome.leg
    verb = {Side.BUY: "bought", Side.SELL: "sold", Side.SETTLE: "settled"}[leg.side]
    size = outcome.filled_size or leg.size
    text = (
        f"  {leg.layer.value:<4} {verb} {size:,.2f} {leg.instrument.underlying} "
        f"{leg.instrument.strike_usd:,.0f} {leg.instrument.option_type.value}, "
        f"{max(leg.instrument.dte(outcome.at_s), 0):.0f} d, for {usd(outcome.premium_usd)}"
    )
    if outcome.status.value != "filled":
        text += f": {outcome.status.value} ({outcome.because})"
    return Text(text, style="bold" if outcome.status.value == "filled" else "yellow")


def status_view(record: StepRecord, *, full: StepRecord | None = None) -> RenderableType:
    """Return the whole state: sentence, protection, money, trust. ``full`` has the readings."""
    parts: list[RenderableType] = []
    for group in record.decision.groups:
        parts.append(_sentence(group))
        parts.append(_protection(group))
    parts.append(_money(record))
    parts.extend(Text(f"HOLD: {reason}", style="bold yellow") for reason in record.decision.holds)
    parts.append(_signals((full or record).decision.readings))
    parts.append(_trust(record))
    return Group(*parts)


def _sentence(group: GroupDecision) -> Text:
    line = Text(group.tier.name, style=TIER_STYLE[group.tier])
    line.append(f"  {group.group}: {group.because}", style="default")
    return line


def _protection(group: GroupDecision) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for title, right in (("layer", False), ("held / wanted", True), ("", False), ("why", False)):
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    reasons = {item.layer: item.reason for item in group.shortfalls}
    for target in group.targets:
        why = reasons.get(target.layer, target.because)
        wanted = "–" if not math.isfinite(target.wanted_contracts) else f"{target.wanted_contracts:,.2f}"
        table.add_row(target.layer.value, f"{target.held_contracts:,.2f} / {wanted}", _bar(target), why)
    return table


def _bar(target: LayerTarget) -> str:
    if not target.wanted_contracts > 0.0:
        return "·" * BAR_WIDTH
    filled = min(BAR_WIDTH, round(BAR_WIDTH * target.held_contracts / target.wanted_contracts))
    return "█" * filled + "░" * (BAR_WIDTH - filled)


def _money(record: StepRecord) -> Text:
    value = sum(record.exposure_value_usd.values())
    limits = record.decision.limits
    left = "".join(
        f"; {name.removesuffix('_usd').replace('_', ' ')} {usd(limit)}"
        for name, limit in limits.items()
        if name.endswith("_left_usd")
    )
    return Text(
        f"Positions {usd(value)}, hedges {usd(record.hedge_value_usd)}, "
        f"paid for hedges so far {usd(-record.cash_flow_usd)}{left}"
    )


def _signals(readings: Iterable[Reading]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for title in ("signal", "score", "state", "because"):
        table.add_column(title, justify="right" if title == "score" else "left", overflow="fold")
    for item in readings:
        if item.quality is Quality.ABSENT:
            continue
        score = f"{item.score:.2f}" if math.isfinite(item.score) else "–"
        state = item.quality.value
        if item.quality is Quality.WARMING and math.isfinite(item.warm_at_s):
            state += f" until {iso_utc(item.warm_at_s)[:16]}"
        table.add_row(f"{item.signal} {item.name}", score, state, item.because)
    return table


def _trust(record: StepRecord) -> Text:
    blocks = ", ".join(f"chain {chain} block {block}" for chain, block in record.decision.blocks.items())
    return Text(
        f"{record.mode.upper()} · {blocks or 'no chain'} · decided {iso_utc(record.decision.now_s)} · "
        f"policy {record.decision.policy_hash[:12]}",
        style="dim",
    )


class StepPrinter:
    """Prints what is news of each step above a progress bar with the time left."""

    def __init__(self, console: Console) -> None:
        self._progress = _progress(console)
        self._task = self._progress.add_task("hours", total=None)
        self._tiers: dict[str, Tier] = {}

    def __enter__(self) -> "StepPrinter":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, record: StepRecord, done: int, total: int) -> None:
        """Print a line when a tier changed, and one per order."""
        tiers = {group.group: group.tier for group in record.decision.groups}
        if tiers != self._tiers:
            self._progress.console.print(state_line(record))
        self._tiers = tiers
        for outcome in record.outcomes:
            self._progress.console.print(order_line(outcome))
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def hours_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with the time left; yields what to call with (hours done, hours in all)."""
    with _progress(console) as progress:
        task = progress.add_task("hours", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
