"""What a person reads in a terminal of 80 columns, without needing colour."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from bot.app.plan import Plan
from bot.engine.protection import Protection, ProtectionLeg
from bot.engine.sentence import spoken_value
from bot.model.hedge import LayerTarget, LegOutcome, LegStatus, Shortfall
from bot.model.record import GroupDecision, StepRecord
from bot.model.tier import Quality, Reading, Tier
from bot.model.units import iso_utc
from bot.simulation.report_terminal import Rows
from bot.simulation.results import cash_usd
from bot.simulation.wording import UNKNOWN, order_words, percent, usd, when

TIER_STYLE = {
    Tier.CALM: "bold bright_blue",
    Tier.GUARDED: "bold cyan",
    Tier.ELEVATED: "bold yellow",
    Tier.SEVERE: "bold dark_orange",
    Tier.CRISIS: "bold red",
}
BAR_WIDTH = 16
_BUDGETS = (
    ("session", "24 h"),
    ("budget_30d", "30 days"),
    ("budget_365d", "365 days"),
    ("defined_risk", "at risk at once"),
)


def state_line(record: StepRecord) -> RenderableType:
    """Return the state of every group: time, tier, why, and the price."""
    spots = ", ".join(f"{name} {usd(value)}" for name, value in record.spot_usd.items())
    at = when(record.decision.now_s)
    return Group(
        *(_hanging(f"{at}  ", _sentence(item).append(f" · {spots}", style="dim"), indent=4) for item in record.decision.groups)
    )


def order_line(outcome: LegOutcome) -> RenderableType:
    """Return one order in one line, in words; a refused one says why."""
    done = outcome.status in (LegStatus.FILLED, LegStatus.PARTIAL)
    line = Text(f"{outcome.leg.layer.value:<4}  {order_words(outcome)}", style="bold" if done else "yellow")
    return _hanging(f"{when(outcome.at_s)}  ", line, indent=4)


def status_view(record: StepRecord, *, full: StepRecord | None = None) -> RenderableType:
    """Return the whole state: sentence, protection, orders, money, signals, trust.

    ``full`` has the readings where ``record`` is a heartbeat.
    """
    decision = record.decision
    parts: list[RenderableType] = []
    for group in decision.groups:
        parts += [_sentence(group), Text(""), _protection(group), Text("")]
    if not decision.groups:
        parts.append(Text("No position is protected: add one under [[positions]] in the configuration."))
    parts += [order_line(outcome) for outcome in record.outcomes]
    parts.append(_money(record))
    parts += [_hanging("", Text(f"HOLD: {reason}", style="bold yellow")) for reason in decision.holds]
    parts += [Text(""), *_signals((full or record).decision.readings), Text(""), _trust(record)]
    return Group(*parts)


def explain_view(lines: Iterable[str]) -> RenderableType:
    """Return the lines of ``alvh explain``, each wrapped under its own indent."""
    return Group(*(_explained(line) for line in lines))


def _explained(line: str) -> RenderableType:
    bare = line.lstrip()
    depth = len(line) - len(bare)
    return _hanging(" " * depth, Text(bare), indent=depth + 4)


def _hanging(start: str, text: Text, *, indent: int = 2) -> RenderableType:
    """Return ``start`` and text as one paragraph whose further lines are indented."""
    return Padding(_Hanging(Text(start, style="dim").append_text(text), indent), (0, 0), expand=False)


class _Hanging:
    def __init__(self, text: Text, indent: int) -> None:
        self._text, self._indent = text, indent

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        width = getattr(options, "max_width", console.width)
        first, *rest = self._text.wrap(console, width)
        yield first
        if rest:
            left = Text(" ").join(Text.from_markup("") + line for line in rest)
            for line in left.wrap(console, max(width - self._indent, 1)):
                yield Text(" " * self._indent).append_text(line)


def _sentence(group: GroupDecision) -> Text:
    line = Text(group.tier.name, style=TIER_STYLE[group.tier])
    return line.append(f" {group.group}: {group.because}", style="not bold default")


def _protection(group: GroupDecision) -> RenderableType:
    short = {item.layer: item for item in group.shortfalls}
    rows = []
    for target in group.targets:
        wanted = f"{target.wanted_contracts:,.2f}" if math.isfinite(target.wanted_contracts) else UNKNOWN
        held = f"{target.held_contracts:,.2f} of {wanted}"
        rows.append((target.layer.value, held, _bar(target), _layer_note(target, short.get(target.layer))))
    return Rows(head=("layer", "contracts held", "", "option, or what is missing and why"), rows=rows, left=(0, 2, 3))


def _layer_note(target: LayerTarget, short: Shortfall | None) -> str:
    option = target.instrument
    named = f"{option.strike_usd:,.0f} {option.option_type.value}, expires {iso_utc(option.expiry_s)[:10]}" if option else ""
    if short is not None:
        return f"{short.missing:.0%} missing: {short.reason}"
    return named if target.open and named else target.because


def _bar(target: LayerTarget) -> str:
    if not target.wanted_contracts > 0.0:
        return "█" * BAR_WIDTH if target.held_contracts > 0.0 else "·" * BAR_WIDTH
    filled = min(BAR_WIDTH, round(BAR_WIDTH * target.held_contracts / target.wanted_contracts))
    return "█" * filled + "░" * (BAR_WIDTH - filled)
