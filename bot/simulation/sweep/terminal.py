"""A sweep in 80 columns: what was chosen and what it is worth unseen, then the cells."""

import math
import string

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bot.model.units import DAY_S
from bot.simulation.report.terminal import WIDTH, Rows, hanging
from bot.simulation.sweep.choice import OBJECTIVES
from bot.simulation.sweep.honesty import CrossValidation, Deflated
from bot.simulation.sweep.results import Figures, Row, SweepResult
from bot.simulation.sweep.space import spoken
from bot.simulation.wording import crises_words, when

_MOST_KEYS_ABREAST = 4  # columns of keys that 80 columns have room for
_MOST_ROWS = 12  # of cells; all are in --json
_BLANK = "?"
_RATIOS = {"efficiency"}
_HEAD = ("removed", "carry", "net", "eff.", "trades")


def print_sweep(result: SweepResult, console: Console) -> None:
    """Print what a sweep found. The chosen cell never stands without what it is worth out of sample."""
    console.print(summary(result), width=min(console.width, WIDTH))


def summary(result: SweepResult) -> RenderableType:
    run = sum(not row.refused for row in result.rows)
    goal = f"{'least' if OBJECTIVES[result.objective.name] < 0 else 'most'} {result.objective.name}"
    parts: list[RenderableType] = [
        Text(_headline(result), style="bold"),
        Text(f"{result.spec.pool}, {run} policies around {result.policy} ({result.method}), for {goal}"),
        Text("; ".join(result.objective.constraints) or "no constraints"),
        Text(""),
        _compared(result),
        Text(""),
        *_listed("What it is worth", _worth(result)),
        *_listed("Keys", _keys(result)),
        *_cells(result),
        *_listed("Refused, not run", _refused(result)),
    ]
    return Group(*parts)


def _headline(result: SweepResult) -> str:
    if result.chosen is None:
        return "No cell has a figure: no market crisis with a known hedge, or under a month of calm hours"
    keeps = "" if result.row(result.chosen).keeps else ", though no cell keeps every constraint"
    return f"Cell {result.chosen} is chosen{keeps}"


def _keys(result: SweepResult) -> list[str]:
    """Return each key with its letter in the table below, and the value that is chosen."""
    values = result.row(result.chosen).values if result.chosen is not None else ()
    chosen = [f" = {spoken(value)}" for value in values] or [""] * len(result.space.keys)
    return [
        f"{letter}  {key}{value}"
        for letter, key, value in zip(_letters(result), result.space.keys, chosen, strict=True)
    ]


def _letters(result: SweepResult) -> tuple[str, ...]:
    many = len(result.space.keys)
    return tuple(string.ascii_lowercase[:many]) if many <= 26 else tuple(f"k{at}" for at in range(many))


def _compared(result: SweepResult) -> RenderableType:
    rows = [(f"{result.policy} as it is", *_spoken(result.base))]
    if result.chosen is not None:
        rows.append((f"cell {result.chosen}, chosen", *_spoken(result.row(result.chosen).figures)))
    if result.best is not None and result.best != result.chosen:
        rows.append((f"cell {result.best}, best alone", *_spoken(result.row(result.best).figures)))
    if result.hold_out:
        rows.append((f"{result.policy}, held out", *_spoken(result.hold_out.base)))
        rows.append(("chosen, held out", *_spoken(result.hold_out.chosen)))
    return Rows(head=("", *_HEAD), rows=rows, wraps=(0,))


def _worth(result: SweepResult) -> list[str]:
    lines = [_validated(result, result.validation)]
    if result.chosen is not None and result.deflated:
        is_base = result.row(result.chosen).policy_hash == result.base_hash
        lines.append(f"It is {result.policy} as it is." if is_base else _deflated(result, result.deflated))
    around = result.flatness
    if around and around.neighbours:
        name = result.objective.name
        lines.append(
            f"Around it {around.neighbours} neighbours have {name} {_said(name, around.lowest)} to "
            f"{_said(name, around.highest)}, median {_said(name, around.median)}; {around.kept} keep every "
            "constraint."
        )
    if result.hold_out:
        lines.append(f"Held out, seen by no choice: from {when(result.hold_out.from_s)} UTC.")
    lines.append(f"All of it rests on {crises_words(result.crises)}: magnitudes, not decimals.")
    return lines


def _validated(result: SweepResult, item: CrossValidation) -> str:
    name = result.objective.name
    many = len(item.halves) + item.unknown
    if not item.halves:
        return f"None of the {many} halves of history has a crisis and hours enough on both sides."
    overfit = (
        f"Probability of overfitting {item.overfit:.0%}: so often the chosen cell was in the lower half."
        if math.isfinite(item.overfit)
        else "Too few halves for a probability of overfitting."
    )
    unknown = f" ({item.unknown} more lack a crisis or hours)" if item.unknown else ""
    return (
        f"Chosen anew on {len(item.halves)} halves of history{unknown}, embargo "
        f"{result.embargo_s / DAY_S:g} days: {name} {_said(name, item.in_sample)} in sample, "
        f"{_said(name, item.out_of_sample)} out of sample; constraints kept there in {item.kept_share:.0%}. "
        f"{overfit}"
    )


def _deflated(result: SweepResult, item: Deflated) -> str:
    name = result.objective.name
    if not math.isfinite(item.probability):
        return f"Nothing says whether it betters {result.policy}: one fold holds all that is known."
    return (
        f"Better than {result.policy} by {_said(name, item.advantage)} +- {_said(name, item.error)}; the "
        f"best of {item.trials} trials without skill would show {_said(name, item.luck)}. Probability that "
        f"it is more than luck: {item.probability:.0%}."
    )


def _cells(result: SweepResult) -> list[RenderableType]:
    shown = [row for row in result.rows if not row.refused]
    rows = [_cell(result, row) for row in shown[:_MOST_ROWS]]
    title = "Cells, the best plateau first (a cell and its neighbours, mean)"
    keys = _abreast(_letters(result))
    table = Rows(
        head=("cell", *keys, *_HEAD[:-1], "plateau"),
        rows=rows,
        left=(0,) if len(keys) > 1 else (0, 1),
        wraps=tuple(range(1, 1 + len(keys))),
    )
    legend = "! breaks a constraint. ~ no other cell removes as much for less carry."
    more = f" {len(shown) - _MOST_ROWS} more cells are in --json." if len(shown) > _MOST_ROWS else ""
    return [Text(title, style="bold"), table, Text(f"{legend}{more}", style="dim"), Text("")]


def _cell(result: SweepResult, row: Row) -> tuple[str, ...]:
    marks = f"{'' if row.keeps else '!'}{'~' if row.is_efficient else ''}"
    name = result.objective.name
    level = _said(name, row.plateau)
    values = _abreast(tuple(map(spoken, row.values)))
    return (f"{row.place}{marks}", *values, *_spoken(row.figures)[:-1], level)


def _abreast(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return a column for each key; one for all of them where 80 columns have no room for so many."""
    return texts if len(texts) <= _MOST_KEYS_ABREAST else (", ".join(texts),)


def _refused(result: SweepResult) -> list[str]:
    refused = [row for row in result.rows if row.refused]
    lines = [f"cell {row.place}: {row.refused}" for row in refused[:3]]
    return [*lines, f"and {len(refused) - 3} more, in --json"] if len(refused) > 3 else lines


def _listed(title: str, lines: list[str]) -> list[RenderableType]:
    if not lines:
        return []
    return [Text(title, style="bold"), *(hanging("  - ", Text(line)) for line in lines), Text("")]


def _spoken(figures: Figures) -> tuple[str, ...]:
    return (
        _said("removed", figures.removed),
        _said("carry", figures.carry),
        _said("net", figures.net),
        _said("efficiency", figures.efficiency),
        f"{figures.trades_a_year:,.0f}" if math.isfinite(figures.trades_a_year) else _BLANK,
    )


def _said(name: str, value: float) -> str:
    if not math.isfinite(value):
        return _BLANK
    return f"{value:.2f}" if name in _RATIOS else f"{100.0 * value:.1f} %"
