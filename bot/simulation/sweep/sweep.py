"""Runs a sweep: makes cells, evaluates them, chooses one, and judges the choice by what it did not see."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.errors import ConfigError
from bot.simulation.sweep.bayes import BayesianSearch
from bot.simulation.sweep.cells import Cell, Evaluations, cells_of
from bot.simulation.sweep.choice import (
    OBJECTIVES,
    Neighbours,
    Objective,
    Scores,
    choose,
    flatness,
    neighbours_of,
    plateau,
    scores_of,
)
from bot.simulation.sweep.evaluation import Evaluation, Measures, Sums, window_spans
from bot.simulation.sweep.honesty import Deflated, cross_validate, deflate
from bot.simulation.sweep.results import Figures, HoldOut, Row, SweepResult
from bot.simulation.sweep.space import Space, Table
from bot.simulation.sweep.study import Study
from bot.simulation.windows.splits import Split, hold_out_from_s, purged_splits

METHODS = ("grid", "random", "bayes")
LEAST_FOLDS, MOST_FOLDS = 4, 12  # half of 12 can be chosen in 924 ways
MOST_TRIALS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is searched, how, for what, and how it is judged."""

    policy: str  # name of the policy that the keys are varied in
    base: Table  # its whole table
    space: Space
    method: str  # one of METHODS
    trials: int  # cells to draw; a grid has as many as it has
    seed: int
    objective: Objective
    folds: int  # even: half of them are chosen on, half tested on
    embargo_s: float
    hold_out: float = 0.0  # share of the history, its last, that no choice looks at

    def check(self) -> None:
        """Raise ConfigError for what cannot be meant."""
        if self.method not in METHODS:
            raise ConfigError(f"--method must be one of {', '.join(METHODS)}, was {self.method!r}")
        if not 1 <= self.trials <= MOST_TRIALS:
            raise ConfigError(f"--trials must be between 1 and {MOST_TRIALS:,}, was {self.trials}")
        if self.folds % 2 or not LEAST_FOLDS <= self.folds <= MOST_FOLDS:
            raise ConfigError(
                f"--folds must be an even number from {LEAST_FOLDS} to {MOST_FOLDS}: half are tested on; "
                f"was {self.folds}"
            )
        if self.objective.name not in OBJECTIVES:
            raise ConfigError(
                f"--objective must be one of {', '.join(OBJECTIVES)}, was {self.objective.name!r}"
            )
        if not 0.0 <= self.hold_out < 0.9:
            raise ConfigError(f"--hold-out must be a share from 0 to under 0.9, was {self.hold_out:g}")

    @property
    def most_policies(self) -> int:
        """Return how many policies are asked for at most, the base among them."""
        cells = self.space.cells
        return 1 + int(cells if self.method == "grid" else min(cells, self.trials))


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """What of a study a choice may look at, as places of spans."""

    seen: tuple[int, ...]
    held_out: tuple[int, ...]
    held_out_from_s: float
    splits: tuple[Split, ...]  # positions in ``seen``
    folds: tuple[tuple[int, ...], ...]  # places of spans


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The cells in the order they were made, and the evaluations by policy."""

    cells: tuple[Cell, ...]
    evaluations: Mapping[str, Evaluation]
    base_hash: str

    @property
    def usable(self) -> tuple[int, ...]:
        """Return the places of the cells that were run."""
        return tuple(at for at, cell in enumerate(self.cells) if cell.policy_hash)


def run_sweep(plan: Plan, study: Study, evaluations: Evaluations) -> SweepResult:
    """Evaluate the cells of a plan and judge them.

    Raises ConfigError for a plan that cannot be meant on this study and where every cell breaks a rule of
    policies, BotError as an evaluation does.
    """
    plan.check()
    history = _history(plan, study)
    (base,) = cells_of(plan.base, Space(dimensions=()), [()])
    found: dict[str, Evaluation] = {}
    cells: list[Cell] = []
    for batch in _batches(plan, cells, found, history, study):
        first = () if found else (base,)  # with the others, so that no processor waits for it
        cells += batch
        found |= evaluations.of([*first, *batch])
    if not any(cell.policy_hash for cell in cells):
        raise ConfigError(f"every cell of the sweep breaks a rule of policies, the first: {cells[0].refused}")
    searched = _Found(cells=tuple(cells), evaluations=found, base_hash=base.policy_hash)
    tried = evaluations.known - (base.policy_hash not in {cell.policy_hash for cell in cells})
    return _result(plan, study, history, searched, trials=tried)


def _history(plan: Plan, study: Study) -> _History:
    spans = study.spans
    first_s, last_s = spans[0].from_s, spans[-1].to_s
    from_s = hold_out_from_s(first_s, last_s, share=plan.hold_out) if plan.hold_out else math.inf
    seen = tuple(at for at, span in enumerate(spans) if span.to_s <= from_s)
    held_out = tuple(at for at, span in enumerate(spans) if span.from_s >= from_s)
    starts, ends = [spans[at].from_s for at in seen], [spans[at].to_s for at in seen]
    if plan.hold_out and not held_out:
        raise ConfigError(
            f"--hold-out {plan.hold_out:g} holds no whole stretch of the {len(spans)} of this history; "
            "give a larger share"
        )
    if len(seen) < plan.folds:
        raise ConfigError(
            f"the history has {len(seen)} stretches to choose on, --folds {plan.folds} needs as many; "
            "give more history, fewer folds or a smaller --hold-out"
        )
    single = purged_splits(starts, ends, folds=plan.folds)
    return _History(
        seen=seen,
        held_out=held_out,
        held_out_from_s=from_s,
        splits=purged_splits(
            starts, ends, folds=plan.folds, embargo_s=plan.embargo_s, test_folds=plan.folds // 2
        ),
        folds=tuple(tuple(seen[at] for at in split.test) for split in single),
    )


def _batches(
    plan: Plan,
    cells: Sequence[Cell],
    found: Mapping[str, Evaluation],
    history: _History,
    study: Study,
) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells to evaluate; what was found of a batch is looked at when the next is asked for."""
    if plan.method != "bayes":
        values = plan.space.grid() if plan.method == "grid" else plan.space.draw(plan.trials, plan.seed)
        yield cells_of(plan.base, plan.space, values)
        return
    search = BayesianSearch(plan.space, seed=plan.seed, trials=plan.trials)
    while asked := search.ask():
        made = {json.dumps(cell.values): cell for cell in cells}
        batch = {json.dumps(each): each for each in asked}
        yield cells_of(plan.base, plan.space, [each for name, each in batch.items() if name not in made])
        made = {json.dumps(cell.values): cell for cell in cells}
        _tell(search, [made[json.dumps(each)] for each in asked], found, history, study, plan.objective)


def _tell(
    search: BayesianSearch,
    asked: Sequence[Cell],
    found: Mapping[str, Evaluation],
    history: _History,
    study: Study,
    objective: Objective,
) -> None:
    values, excesses = [math.nan] * len(asked), [math.inf] * len(asked)
    usable = [at for at, cell in enumerate(asked) if cell.policy_hash]
    if usable:
        sums = Sums([found[asked[at].policy_hash] for at in usable], window_spans(study.windows, study.spans))
        scores = scores_of(sums.measures(history.seen), objective)
        for at, value, excess in zip(usable, scores.value.tolist(), scores.excess.tolist(), strict=True):
            values[at], excesses[at] = value, excess
    search.tell(values, excesses)


def _result(plan: Plan, study: Study, history: _History, found: _Found, *, trials: int) -> SweepResult:
    objective, places, sign = plan.objective, found.usable, OBJECTIVES[plan.objective.name]
    windows = window_spans(study.windows, study.spans)
    evaluated = [found.evaluations[found.cells[at].policy_hash] for at in places]
    base = found.evaluations[found.base_hash]
    cells, all_sums = Sums(evaluated, windows), Sums([*evaluated, base], windows)
    measures = cells.measures(history.seen)
    scores = scores_of(measures, objective)
    neighbours = neighbours_of(
        plan.space, [found.cells[at].values for at in places], is_grid=plan.space.cells == len(found.cells)
    )
    chosen, best = choose(scores, neighbours), choose(scores, ((),) * len(places))
    return SweepResult(
        spec=study.spec,
        study=study.digest,
        policy=plan.policy,
        space=plan.space,
        method=plan.method,
        seed=plan.seed,
        objective=objective,
        samples=len(history.seen),
        folds=plan.folds,
        embargo_s=plan.embargo_s,
        crises=_crises(evaluated, windows, history),
        rows=_rows(found, measures, scores, neighbours, sign=sign),
        base=_figures(all_sums.measures(history.seen), len(places)),
        base_hash=found.base_hash,
        chosen=None if chosen is None else places[chosen],
        best=None if best is None else places[best],
        flatness=None if chosen is None else flatness(scores, neighbours, chosen, sign),
        validation=cross_validate(
            cells, history.seen, history.splits, objective=objective, neighbours=neighbours
        ),
        deflated=_deflated(all_sums, history, objective, chosen, base=len(places), trials=trials),
        hold_out=_hold_out(all_sums, history, chosen, len(places)),
    )


def _deflated(
    sums: Sums, history: _History, objective: Objective, chosen: int | None, *, base: int, trials: int
) -> Deflated | None:
    if chosen is None:
        return None
    return deflate(sums, history.folds, objective=objective, chosen=chosen, base=base, trials=trials)


def _crises(evaluated: Sequence[Evaluation], windows: Sequence[int], history: _History) -> int:
    """Return how many windows are market crises with a known hedge under any policy."""
    seen = set(history.seen)
    return sum(
        span in seen and any(math.isfinite(item.removed[at]) for item in evaluated)
        for at, span in enumerate(windows)
    )


def _figures(measures: Measures, at: int) -> Figures:
    return Figures(**measures.at(at))


def _hold_out(sums: Sums, history: _History, chosen: int | None, base: int) -> HoldOut | None:
    if not history.held_out or chosen is None:
        return None
    measures = sums.measures(history.held_out)
    return HoldOut(
        from_s=history.held_out_from_s, chosen=_figures(measures, chosen), base=_figures(measures, base)
    )


def _rows(
    found: _Found, measures: Measures, scores: Scores, neighbours: Neighbours, *, sign: float
) -> tuple[Row, ...]:
    places = found.usable
    levels, front = plateau(scores.value, neighbours), _efficient(measures)
    rows = [
        Row(
            place=place,
            values=found.cells[place].values,
            policy_hash=found.cells[place].policy_hash,
            figures=_figures(measures, at),
            keeps=bool(scores.is_kept[at]),
            plateau=float(sign * levels[at]),
            neighbours=tuple(places[other] for other in neighbours[at]),
            is_efficient=bool(front[at]),
        )
        for at, place in enumerate(places)
    ]
    order = {place: (not rows[at].keeps, _last(-levels[at]), place) for at, place in enumerate(places)}
    refused = [
        Row(place=place, values=cell.values, refused=cell.refused)
        for place, cell in enumerate(found.cells)
        if cell.refused
    ]
    return (*sorted(rows, key=lambda row: order[row.place]), *refused)


def _last(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _efficient(measures: Measures) -> list[bool]:
    """Return which cells no other betters: none removes as much for less carry, or more for as little."""
    removed, carry = measures.removed, measures.carry
    known = np.isfinite(removed) & np.isfinite(carry)
    found = []
    for at in range(removed.size):
        better = (removed >= removed[at]) & (carry <= carry[at])
        better &= (removed > removed[at]) | (carry < carry[at])
        found.append(bool(known[at] and not better.any()))
    return found
