"""Splits of history for choosing a policy: nothing that is learnt from overlaps what it is judged on.

Pure functions of times. A sample is whatever a score is taken over (a crisis window, a month, a segment): it
begins at ``starts_s`` and what decides its score is known at ``ends_s``, both in seconds since 1970.
Source: Lopez de Prado, Advances in Financial Machine Learning (2018), ch. 7 (purging, embargo) and ch. 12
(combinatorial splits).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bot.errors import ConfigError
from bot.model.market import FloatArray

MOST_FOLDS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One way to divide the samples. Both are positions in what was given, in time order, never the same.

    What is in neither was purged or lies in the embargo.
    """

    train: tuple[int, ...]  # may be empty: an embargo can take all
    test: tuple[int, ...]  # never empty


def purged_splits(
    starts_s: ArrayLike,
    ends_s: ArrayLike,
    *,
    folds: int,
    embargo_s: float = 0.0,
    test_folds: int = 1,
) -> tuple[Split, ...]:
    """Return k-fold splits of contiguous folds, purged and with an embargo.

    A sample is left out of training where it overlaps the span of a tested fold, or begins within
    ``embargo_s`` after its end. With ``test_folds`` over 1, every combination of so many folds is tested once
    (combinatorial purged cross-validation): neighbours among them are one span. Folds differ by at most one
    sample. Raises ConfigError for fewer than two folds, more folds than samples, and times that are none.
    """
    starts, ends = _sampled(starts_s, ends_s)
    _check_folds(folds, starts.size, test_folds=test_folds, embargo_s=embargo_s)
    order = np.argsort(starts, kind="stable")
    parts = np.array_split(order, folds)
    return tuple(
        _split(starts, ends, order, [parts[at] for at in chosen], embargo_s=embargo_s)
        for chosen in combinations(range(folds), test_folds)
    )


def walk_forward_splits(
    starts_s: ArrayLike, ends_s: ArrayLike, *, folds: int, embargo_s: float = 0.0, rolling: int | None = None
) -> tuple[Split, ...]:
    """Return splits whose training lies wholly before their test: ``folds`` of them.

    Samples are cut into ``folds`` + 1 contiguous parts; each part after the first is tested once, trained on
    all parts before it, or on the last ``rolling`` of them. A training sample must end ``embargo_s`` before
    the test begins. Raises ConfigError like ``purged_splits``.
    """
    starts, ends = _sampled(starts_s, ends_s)
    _check_folds(folds + 1, starts.size, test_folds=1, embargo_s=embargo_s)
    if rolling is not None and rolling < 1:
        raise ConfigError(f"a rolling walk-forward needs at least one part to train on, was {rolling}")
    parts = np.array_split(np.argsort(starts, kind="stable"), folds + 1)
    splits = []
    for at in range(1, folds + 1):
        first_s = float(starts[parts[at]].min())
        earlier = np.concatenate(parts[max(at - rolling, 0) if rolling else 0 : at])
        kept = earlier[ends[earlier] + embargo_s <= first_s]
        splits.append(Split(train=tuple(kept.tolist()), test=tuple(parts[at].tolist())))
    return tuple(splits)


def hold_out_from_s(first_s: float, last_s: float, *, share: float) -> float:
    """Return where the last ``share`` of a stretch of time begins: what is never looked at while choosing.

    Raises ConfigError for a share that is not between 0 and 1.
    """
    if not 0.0 < share < 1.0:
        raise ConfigError(f"the share to hold out must be between 0 and 1, was {share:g}")
    return last_s - share * (last_s - first_s)


def _split(
    starts: FloatArray,
    ends: FloatArray,
    order: NDArray[np.intp],
    tested: Sequence[NDArray[np.intp]],
    *,
    embargo_s: float,
) -> Split:
    test = np.concatenate(tested)
    usable = ~np.isin(order, test)
    for part in tested:
        first_s, last_s = float(starts[part].min()), float(ends[part].max())
        # A sample that only touches the span, ending where it begins, shares nothing with it.
        usable &= (ends[order] <= first_s) | (starts[order] >= last_s + embargo_s)
    return Split(train=tuple(order[usable].tolist()), test=tuple(test.tolist()))


def _sampled(starts_s: ArrayLike, ends_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
    starts, ends = np.asarray(starts_s, np.float64), np.asarray(ends_s, np.float64)
    if starts.ndim != 1 or starts.shape != ends.shape:
        raise ConfigError(
            f"splits need one start and one end for each sample, were {starts.shape} and {ends.shape}"
        )
    if not (np.isfinite(starts).all() and np.isfinite(ends).all() and (starts < ends).all()):
        raise ConfigError("splits need samples that begin before they end, at times that are known")
    return starts, ends


def _check_folds(folds: int, samples: int, *, test_folds: int, embargo_s: float) -> None:
    if not 2 <= folds <= min(samples, MOST_FOLDS):
        raise ConfigError(
            f"folds must be between 2 and the number of samples ({samples}, at most {MOST_FOLDS}), "
            f"was {folds}"
        )
    if not 1 <= test_folds < folds:
        raise ConfigError(f"of {folds} folds 1 to {folds - 1} can be tested at a time, was {test_folds}")
    if not 0.0 <= embargo_s < math.inf:
        raise ConfigError(f"an embargo must be 0 s or longer, was {embargo_s:g}")
