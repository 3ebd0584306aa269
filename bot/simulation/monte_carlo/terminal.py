"""A Monte Carlo run in 80 columns."""

import math

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bot.simulation.monte_carlo.results import TIERS_AGREE, ExactCheck, MonteCarloResult, PolicyRisk
from bot.simulation.report.inputs import LEVELS, Estimate, RiskFigure
from bot.simulation.report.terminal import WIDTH, Rows, hanging
from bot.simulation.wording import percent, usd

_UNKNOWN = "?"


def print_monte_carlo(result: MonteCarloResult, console: Console) -> None:
    console.print(summary(result), width=min(console.width, WIDTH))


def summary(result: MonteCarloResult) -> RenderableType:
    """Return what the paths say of each policy, and what they rest on."""
    parts: list[RenderableType] = [
        Text(f"{' and '.join(result.exposures)}, {usd(result.value_usd)}", style="bold"),
        Text(f"{result.paths:,} paths of {result.days:g} days, {result.kind}, seed {result.seed}"),
        Text(""),
    ]
    for item in result.policies:
        parts += [Text(item.name, style="bold"), Text(_headline(item)), Text("")]
        parts += [_compared(item), Text(""), _of_the_hedge(item), Text(""), _fan(item), Text("")]
    for check in result.exact:
        parts += [_exact(check), Text(_agreement(check)), Text("")]
    parts.append(
        Text(
            "In brackets: the interval that so many paths give a figure, 90 %. It says nothing of the model.",
            "dim",
        )
    )
    for title, lines in (
        ("Assumed", result.assumptions),
        ("Simplified against the engine", result.simplified),
    ):
        parts += [Text(""), Text(title, style="bold"), *(hanging("  - ", Text(line)) for line in lines)]
    return Group(*parts)


def _headline(item: PolicyRisk) -> str:
    worst, cost = item.figure("Worst 10 days, mean loss"), item.figure("Cost a year")
    return (
        f"Hedging cut the worst 10 days from {percent(worst.unhedged.value)} to "
        f"{percent(worst.hedged.value)} "
        f"and {'cost' if cost.hedged.value >= 0.0 else 'brought'} {percent(abs(cost.hedged.value))} a year."
    )


def _compared(item: PolicyRisk) -> RenderableType:
    rows = [
        (
            each.name,
            _said(each, each.unhedged),
            _said(each, each.hedged),
            _said(each, each.difference, signed=True),
        )
        for each in item.figures
        if math.isfinite(each.unhedged.value)
    ]
    return Rows(head=("", "unhedged", "hedged", "difference"), rows=rows, wraps=(0, 1, 2, 3))


def _of_the_hedge(item: PolicyRisk) -> RenderableType:
    rows = [
        (each.name, _said(each, each.hedged))
        for each in item.figures
        if not math.isfinite(each.unhedged.value)
    ]
    return Rows(head=("hedge", "value"), rows=rows, wraps=(0,))


def _fan(item: PolicyRisk) -> RenderableType:
    """Return the distribution of the value at some days."""
    fan = item.fan
    count = fan.days.size
    shown = sorted({round(part * (count - 1) / 4) for part in range(1, 5)}) if count > 1 else [0]
    rows = [
        (f"{fan.days[at]:,.0f} d {side}", *(usd(float(row[at])) for row in lines))
        for at in shown
        for side, lines in (("unhedged", fan.unhedged), ("hedged", fan.hedged))
    ]
    return Rows(
        head=("value, share of paths below", *(f"{level:.0%}" for level in LEVELS)), rows=rows, wraps=(0,)
    )


def _exact(check: ExactCheck) -> RenderableType:
    def line(name: str, pair: tuple[object, object]) -> tuple[str, str, str, str]:
        import numpy as np

        engine, kernel = (np.asarray(side, dtype=np.float64) for side in pair)
        apart = engine - kernel
        worst = float(np.abs(apart).max()) if apart.size else math.nan
        return name, percent(float(engine.mean())), percent(float(kernel.mean())), percent(worst)

    rows = [
        line("value at the end", check.end),
        line("deepest fall", check.drawdown),
        line("time at GUARDED", check.guarded_share),
        line("time at ELEVATED or above", check.high_share),
    ]
    head = (f"{check.policy}: {check.paths} exact paths", "engine", "simplified", "furthest apart")
    return Rows(head=head, rows=rows, wraps=(0,))


def _agreement(check: ExactCheck) -> str:
    """Return in words how far the simplified tiers can be taken for the engine's."""
    same, apart = percent(float(check.same_side.mean())), f"{100.0 * check.tiers_apart:.1f} points"
    said = f"Both stand on the same side of ELEVATED at {same} of days' ends"
    if check.tiers_apart <= TIERS_AGREE:
        return f"{said}; their shares of time are {apart} apart at most."
    return (
        f"{said}, but their shares of time are {apart} apart, over {100.0 * TIERS_AGREE:g}: take tiers, "
        "time to protect and the perpetual's part here as the simplified rule's, or run more paths."
    )


def _said(item: RiskFigure, found: Estimate, *, signed: bool = False) -> str:
    value = _number(item.unit, found.value, signed=signed)
    if not math.isfinite(found.range.low):
        return value
    return f"{value} [{_number(item.unit, found.range.low)}, {_number(item.unit, found.range.high)}]"


def _number(unit: str, value: float, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return _UNKNOWN
    if unit == "USD":
        return usd(value, signed=signed)
    if unit == "share":
        sign = "+" if signed and value > 0.0 else ""
        return f"{sign}{100.0 * value:.2f} %"
    return f"{value:,.1f} d" if unit == "days" else f"{value:,.1f}"
