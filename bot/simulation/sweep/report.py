"""What the page of a sweep is made of, from its result."""

import math
from collections.abc import Iterator
from itertools import combinations

from bot.model.units import DAY_S, iso_utc
from bot.simulation.report.inputs import Heat, SweepCell, SweepReport
from bot.simulation.sweep.choice import Flatness
from bot.simulation.sweep.results import Figures, HoldOut, Row, SweepResult
from bot.simulation.sweep.space import spoken
from bot.simulation.wording import UNKNOWN, crises_words, percent, usd

_MOST_HEATS = 6


def sweep_report(result: SweepResult) -> SweepReport:
    """Return the report. Heat maps are of pairs of keys that were lists of values, at most six of them."""
    return SweepReport(
        title=f"{result.policy} varied in {len(result.space.keys)} keys by {result.method}, "
        f"{usd(result.spec.value_usd)} in {result.spec.pool}, {crises_words(result.crises)}",
        objective=result.objective.name,
        keys=result.space.keys,
        cells=tuple(map(_cell, result.rows)),
        base=_base(result),
        chosen=result.chosen,
        best=result.best,
        heats=tuple(_heats(result)),
        checks=tuple(_checks(result)),
        constraints=result.objective.constraints,
        assumptions=tuple(_rests_on(result)),
    )


def _rests_on(result: SweepResult) -> Iterator[str]:
    yield f"{crises_words(result.crises)} with a known hedge: magnitudes, not decimals."
    yield (
        f"{result.samples} stretches of history, {result.folds} folds, {result.embargo_s / DAY_S:g} days of "
        "embargo after a tested stretch."
    )
    yield f"Policies by {result.method}, seed {result.seed}; the study's digest is {result.study[:16]}."


def _cell(row: Row) -> SweepCell:
    figures = row.figures
    return SweepCell(
        place=row.place,
        values=tuple(map(spoken, row.values)),
        removed=figures.removed,
        carry=figures.carry,
        net=figures.net,
        efficiency=figures.efficiency,
        trades_a_year=figures.trades_a_year,
        keeps=row.keeps,
        plateau=row.plateau,
        is_efficient=row.is_efficient,
        refused=row.refused,
    )


def _base(result: SweepResult) -> SweepCell:
    figures = result.base
    return SweepCell(
        place=-1,
        values=(),
        removed=figures.removed,
        carry=figures.carry,
        net=figures.net,
        efficiency=figures.efficiency,
        trades_a_year=figures.trades_a_year,
    )


def _heats(result: SweepResult) -> Iterator[Heat]:
    found = 0
    for x_key, y_key in combinations(result.space.keys, 2):
        heat = result.heat_map(x_key, y_key)
        if heat is not None and found < _MOST_HEATS:
            found += 1
            yield Heat(
                x_key=heat.x_key,
                y_key=heat.y_key,
                x_values=heat.x_values,
                y_values=heat.y_values,
                rows=tuple(heat.values),
                chosen=heat.chosen,
            )


def _checks(result: SweepResult) -> Iterator[tuple[str, str]]:
    """Yield what was checked and what came of it, in words."""
    name, validation = result.objective.name, result.validation
    if result.flatness is not None:
        yield "Around the chosen cell", _flat(result.flatness, name)
    if validation.halves:
        yield (
            f"Cross-validation, {len(validation.halves)} halves of history",
            f"{name} {_said(name, validation.in_sample)} where chosen, "
            f"{_said(name, validation.out_of_sample)} where not looked at; constraints kept there in "
            f"{percent(validation.kept_share)}",
        )
        yield "Probability of overfitting", percent(validation.overfit)
    if result.deflated is not None:
        found = result.deflated
        yield (
            f"Advantage over the policy as it is, {found.trials:,} policies tried",
            f"{_said(name, found.advantage)}, of which luck would show {_said(name, found.luck)}; more than "
            f"luck with probability {percent(found.probability)}",
        )
    if result.hold_out is not None:
        yield _held_out(result.hold_out)


def _flat(found: Flatness, name: str) -> str:
    if not found.neighbours:
        return "it has no neighbour with a known figure"
    return (
        f"{name} of its {found.neighbours} neighbours {_said(name, found.lowest)} to "
        f"{_said(name, found.highest)}, median {_said(name, found.median)}; {found.kept} keep every "
        "constraint"
    )


def _held_out(found: HoldOut) -> tuple[str, str]:
    return (
        f"Hold-out from {iso_utc(found.from_s)[:10]}",
        f"chosen: {_figures(found.chosen)}; policy as it is: {_figures(found.base)}",
    )


def _figures(item: Figures) -> str:
    return f"removed {percent(item.removed)}, carry {percent(item.carry)}, net {percent(item.net)}"


def _said(name: str, value: float) -> str:
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.2f}" if name == "efficiency" else percent(value)
