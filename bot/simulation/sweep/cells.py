"""Evaluates the cells of a sweep: each distinct policy once, from the results file where it is there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bot.engine.policy import parse_policy
from bot.errors import ConfigError
from bot.model.units import HOUR_S
from bot.simulation.backtest import Progress
from bot.simulation.sweep.evaluation import Evaluation
from bot.simulation.sweep.space import Space, Table, Value, policy_table
from bot.simulation.sweep.store import ResultsFile
from bot.simulation.sweep.study import Job, Study, evaluator_of
from bot.simulation.sweep.workers import Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One choice of values, and the policy that it makes; a refused one has no hash."""

    values: tuple[Value, ...]
    table: Table = field(repr=False)
    policy_hash: str = ""
    refused: str = ""  # why a rule between keys forbids it


def cells_of(base: Table, space: Space, values: Sequence[tuple[Value, ...]]) -> tuple[Cell, ...]:
    """Return the cells of some values. One that breaks a rule between keys is refused, not the sweep."""
    return tuple(_cell(base, space, each) for each in values)


def _cell(base: Table, space: Space, values: tuple[Value, ...]) -> Cell:
    table = policy_table(base, space.keys, values)
    try:
        policy = parse_policy(table)
    except ConfigError as error:
        return Cell(values=values, table=table, refused=str(error))
    return Cell(values=values, table=table, policy_hash=policy.hash)


class Evaluations:
    """Finds the evaluation of every policy asked for, and runs what is not there yet."""

    def __init__(
        self,
        study: Study,
        results: ResultsFile,
        executor: Executor,
        *,
        trials: int,
        progress: Progress | None = None,
    ) -> None:
        """``trials`` is the most policies asked for; ``progress`` gets hours done and in all."""
        self._study, self._results, self._executor = study, results, executor
        self._batch = evaluator_of(study.evaluator).batch
        self._hours = _Hours(study=study, trials=trials, progress=progress)
        self.ran = 0  # policies that were run, not found in the file

    @property
    def known(self) -> int:
        """Return how many policies were ever evaluated on this study, as far as the results file knows."""
        return len(self._results)

    def of(self, cells: Sequence[Cell]) -> dict[str, Evaluation]:
        """Return the evaluation of each policy by its hash, each on disk. Raises BotError."""
        wanted = {cell.policy_hash: cell.table for cell in cells if cell.policy_hash}
        missing = [name for name in wanted if self._results.get(name) is None]
        self._hours.found(len(wanted) - len(missing))
        jobs = [Job(tables=tuple(wanted[name] for name in part)) for part in _parts(missing, self._batch)]
        for at, done in self._executor.run(jobs, self._hours.told):
            for evaluation in done:
                self._results.add(evaluation)
            self._hours.done(at, len(done))
            self.ran += len(done)
        self._hours.end_round()
        return {name: found for name in wanted if (found := self._results.get(name)) is not None}


def _parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), size):
        yield names[at : at + size]


@dataclass(slots=True, kw_only=True)
class _Hours:
    """Adds up the hours of all policies for a progress bar."""

    study: Study
    trials: int
    progress: Progress | None
    policies: int = 0  # done
    running: dict[int, int] = field(default_factory=dict)  # place of a job -> hours it has told of

    @property
    def _each(self) -> int:
        return int(sum(item.end_s - item.start_s for item in self.study.segments) // HOUR_S)

    def found(self, policies: int) -> None:
        self.policies += policies
        self._show()

    def told(self, at: int, hours: int) -> None:
        self.running[at] = self.running.get(at, 0) + hours
        self._show()

    def done(self, at: int, policies: int) -> None:
        self.running.pop(at, None)
        self.policies += policies
        self._show()

    def end_round(self) -> None:
        self.running.clear()

    def _show(self) -> None:
        if self.progress:
            self.progress(self.policies * self._each + sum(self.running.values()), self.trials * self._each)
