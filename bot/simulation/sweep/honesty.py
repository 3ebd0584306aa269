"""What is left of a sweep's best figure once the search itself is paid for.

Combinatorial purged cross-validation: samples of history are cut into folds, every half of them is chosen on
and the other half tested on (Lopez de Prado 2018, ch. 7 and 12). Probability of backtest overfitting: Bailey,
Borwein, Lopez de Prado and Zhu (2017). Deflation for the number of trials: Bailey and Lopez de Prado (2014),
with the objective's advantage over the base policy in place of a Sharpe ratio.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bot.model.market import FloatArray
from bot.simulation.sweep.choice import OBJECTIVES, Neighbours, Objective, choose, scores_of
from bot.simulation.sweep.evaluation import Sums
from bot.simulation.windows.splits import Split

_EULER = 0.5772156649015329
LEAST_SPLITS = 4  # with a known figure on both sides, for a probability of overfitting


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One split: what was chosen on one half of history, and what became of it on the other."""

    chosen: int  # place of the cell
    in_sample: float  # the objective in its own sign
    out_of_sample: float
    rank: float  # share of the cells that did no better out of sample; 1 best, NaN unknown
    is_kept: bool  # every constraint held out of sample too


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """All splits together. NaN is unknown."""

    halves: tuple[Half, ...]  # those with a known figure on both sides
    unknown: int  # splits without: no crisis or too few hours on a side
    in_sample: float = math.nan  # means over the halves
    out_of_sample: float = math.nan
    kept_share: float = math.nan  # of the halves, those in which the constraints held out of sample
    overfit: float = math.nan  # probability that the chosen cell is in the lower half out of sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """The advantage of a cell over the base policy, against that of the luckiest of so many trials."""

    trials: int
    advantage: float = math.nan  # in the objective's unit, positive is better
    error: float = math.nan  # standard error, by leaving out one fold of history at a time
    luck: float = math.nan  # advantage that the best of so many equal policies is expected to show
    probability: float = math.nan  # that the advantage is more than luck


def cross_validate(
    sums: Sums,
    samples: Sequence[int],
    splits: Sequence[Split],
    *,
    objective: Objective,
    neighbours: Neighbours,
) -> CrossValidation:
    """Choose on the training side of every split as on the whole, and look at the other side.

    ``samples`` are the spans that the positions of the splits stand for.
    """
    found = [_half(sums, samples, split, objective, neighbours) for split in splits]
    halves = tuple(item for item in found if item is not None)
    if not halves:
        return CrossValidation(halves=(), unknown=len(splits))
    ranked = [item.rank for item in halves if math.isfinite(item.rank)]
    return CrossValidation(
        halves=halves,
        unknown=len(splits) - len(halves),
        in_sample=float(np.mean([item.in_sample for item in halves])),
        out_of_sample=float(np.mean([item.out_of_sample for item in halves])),
        kept_share=float(np.mean([item.is_kept for item in halves])),
        overfit=float(np.mean(np.array(ranked) <= 0.5)) if len(ranked) >= LEAST_SPLITS else math.nan,
    )


def _half(
    sums: Sums, samples: Sequence[int], split: Split, objective: Objective, neighbours: Neighbours
) -> Half | None:
    sign = OBJECTIVES[objective.name]
    train = scores_of(sums.measures([samples[at] for at in split.train]), objective)
    test = scores_of(sums.measures([samples[at] for at in split.test]), objective)
    chosen = choose(train, neighbours)
    if chosen is None or not math.isfinite(test.value[chosen]):
        return None
    return Half(
        chosen=chosen,
        in_sample=float(sign * train.value[chosen]),
        out_of_sample=float(sign * test.value[chosen]),
        rank=_rank(test.value, chosen),
        is_kept=bool(test.is_kept[chosen]),
    )


def _rank(value: FloatArray, at: int) -> float:
    """Return the relative rank in (0, 1) of Bailey et al.: rank / (cells + 1), ties in the middle."""
    known = value[np.isfinite(value)]
    if known.size < 2:
        return math.nan
    below, equal = float((known < value[at]).sum()), float((known == value[at]).sum())
    return (below + 0.5 * (equal + 1.0)) / (known.size + 1.0)


def deflate(
    sums: Sums,
    folds: Sequence[Sequence[int]],
    *,
    objective: Objective,
    chosen: int,
    base: int,
    trials: int,
) -> Deflated:
    """Return the deflated advantage of the chosen cell over the base policy.

    ``folds`` are the spans of each fold, all of them the history chosen on; ``trials`` how many policies were
    ever tried on it. Unknown where a figure is unknown with any fold left out.
    """
    whole = _advantages(sums, [span for fold in folds for span in fold], objective, base)
    without = np.array(
        [
            _advantages(sums, [span for fold in folds if fold is not left for span in fold], objective, base)
            for left in folds
        ]
    )
    advantage, error = float(whole[chosen]), _jackknife_error(without[:, chosen])
    others = np.delete(whole, base)
    luck = _luck(others[np.isfinite(others)], trials)
    if not (math.isfinite(advantage) and error > 0.0):
        return Deflated(trials=trials, advantage=advantage, luck=luck)
    probability = float(stats.t.cdf((advantage - luck) / error, df=len(folds) - 1))
    return Deflated(trials=trials, advantage=advantage, error=error, luck=luck, probability=probability)


def _advantages(sums: Sums, spans: Sequence[int], objective: Objective, base: int) -> FloatArray:
    value = scores_of(sums.measures(spans), objective).value
    return np.asarray(value - value[base])


def _jackknife_error(values: FloatArray) -> float:
    """Return the delete-one jackknife standard error (Efron 1982), NaN where a value is unknown."""
    return math.sqrt((values.size - 1) / values.size * float(np.sum((values - values.mean()) ** 2)))


def _luck(advantages: FloatArray, trials: int) -> float:
    """Return the expected best of so many trials without skill, whose results scatter as these do."""
    if trials < 2 or advantages.size < 2:
        return 0.0
    first = float(stats.norm.ppf(1.0 - 1.0 / trials))
    second = float(stats.norm.ppf(1.0 - 1.0 / (trials * math.e)))
    return float(np.std(advantages, ddof=1)) * ((1.0 - _EULER) * first + _EULER * second)
