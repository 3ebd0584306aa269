"""Bayesian search: Optuna's tree-structured Parzen estimator, asked for a batch of cells at a time.

The size of a batch does not depend on who evaluates it, and results are told in the order in which they were
asked for, so that one seed gives the same cells on one core and on a cluster.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

from bot.simulation.sweep.space import Dimension, Range, Space, Value

BATCH = 8
_AT_RANDOM = 10  # first cells, before there is anything to learn from (Optuna's own default)


class BayesianSearch:
    """Proposes cells whose objective is likely high and whose constraints are likely kept."""

    def __init__(self, space: Space, *, seed: int, trials: int) -> None:
        import optuna

        self._space = space
        self._left = trials
        self._running: list[Any] = []
        self._failed = optuna.trial.TrialState.FAIL
        self._distributions = {item.key: _distribution(item) for item in space.dimensions}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=min(_AT_RANDOM, max(trials // 4, 1)),
                multivariate=True,
            )
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self) -> tuple[tuple[Value, ...], ...]:
        """Return the next cells; none when all trials were asked for. A cell may come twice."""
        many = min(BATCH, self._left)
        self._left -= many
        self._running = [self._study.ask(self._distributions) for _ in range(many)]
        return tuple(
            tuple(_value(item, trial.params[item.key]) for item in self._space.dimensions)
            for trial in self._running
        )

    def tell(self, values: Sequence[float], excesses: Sequence[float]) -> None:
        """Take the results of the cells last asked for, in their order; NaN and infinity for none."""
        for trial, value, excess in zip(self._running, values, excesses, strict=True):
            if math.isfinite(value) and math.isfinite(excess):
                trial.set_constraint("excess", excess)
                self._study.tell(trial, value)
            else:
                self._study.tell(trial, state=self._failed)
        self._running = []


def _distribution(item: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(item, Range):
        return FloatDistribution(0.0, 1.0)
    places = range(len(item.values))
    return IntDistribution(0, places[-1]) if item.is_ordered else CategoricalDistribution(tuple(places))


def _value(item: Dimension, param: float) -> Value:
    return item.value_at(param) if isinstance(item, Range) else item.values[int(param)]
