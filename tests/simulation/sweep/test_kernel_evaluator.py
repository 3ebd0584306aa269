"""The kernels as an evaluator: the engine's evaluations where they stand in for it, the engine elsewhere."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
from history_builders import DataFolder
from sweep_builders import BASE, hours_study

from bot.engine.policy import parse_policy
from bot.simulation.sweep.evaluation import Evaluation
from bot.simulation.sweep.kernel_evaluator import KernelEvaluator
from bot.simulation.sweep.space import policy_table
from bot.simulation.sweep.study import KERNEL, EngineEvaluator, evaluator_of

pytestmark = pytest.mark.xdist_group("kernels")  # compiled once

NO_OPTIONS = dict.fromkeys(("CALM", "GUARDED", "ELEVATED", "SEVERE", "CRISIS"), "0 %")


def perpetual_alone(share: str, vote: float):
    keys = ("sizing.shares", "near.delta_share.ELEVATED", "tiers.fast_vote")
    return parse_policy(policy_table(BASE, keys, (NO_OPTIONS, share, vote)))


class Counter:
    def __init__(self) -> None:
        self.hours = 0

    def __call__(self) -> None:
        self.hours += 1


def assert_alike(found: Sequence[Evaluation], expected: Sequence[Evaluation]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.policy_hash == theirs.policy_hash
        assert ours.removed == pytest.approx(theirs.removed, rel=1e-9, nan_ok=True)
        for one, two in zip(ours.spans, theirs.spans, strict=True):
            assert asdict(one) == pytest.approx(asdict(two), rel=1e-9, abs=1e-9)


def test_kernels_give_the_evaluations_of_the_engine(folder: DataFolder):
    """A day from the crash on, in which both policies trade."""
    study, told = hours_study(folder.path, hours=24), Counter()
    policies = [perpetual_alone("25 %", 0.75), perpetual_alone("35 %", 0.5)]
    found = KernelEvaluator(study)(policies, told)
    assert told.hours == 2 * 25
    assert all(span.trades for item in found for span in item.spans)
    assert_alike(found, EngineEvaluator(study)(policies, told))


def test_what_the_kernels_do_not_take_runs_on_the_engine(folder: DataFolder):
    """steward wants options; a policy beside it does not."""
    study, told = hours_study(folder.path, hours=3), Counter()
    policies = [parse_policy(BASE), perpetual_alone("25 %", 0.75)]
    assert_alike(KernelEvaluator(study)(policies, told), EngineEvaluator(study)(policies, told))


def test_results_of_the_kernels_are_kept_apart(folder: DataFolder):
    study = hours_study(folder.path)
    assert replace(study, evaluator=KERNEL).digest != study.digest
    assert evaluator_of(KERNEL) is KernelEvaluator
    assert evaluator_of(study.evaluator) is EngineEvaluator
