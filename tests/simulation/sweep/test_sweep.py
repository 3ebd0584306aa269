"""A whole sweep without an engine: the same result whoever evaluates, and nothing hidden that it rests on."""

import io
import json
import math
import random

import pytest
from rich.console import Console
from sweep_builders import Pretend, plan, share_of, study

from bot.errors import ConfigError
from bot.simulation.sweep.cells import Evaluations
from bot.simulation.sweep.choice import Objective
from bot.simulation.sweep.store import open_results
from bot.simulation.sweep.sweep import run_sweep
from bot.simulation.sweep.terminal import print_sweep

GRID = ("near.delta_share.ELEVATED=10%,20%,30%,35%", "tiers.fast_vote=0.6,0.75")
STUDY = study()


def by_share(policy, span):
    """The more perpetual the more is removed, at a carry that grows faster; every other span is rougher."""
    share = share_of(policy)
    return share * (1.0 if span % 2 else 0.8), share**2 + 0.1 * abs(policy.tiers.fast_vote - 0.75)


def swept(tmp_path, wanted, *, score=by_share, executor=None, wanted_study=STUDY, name="r.jsonl", told=None):
    executor = executor or Pretend(wanted_study, score)
    with open_results(tmp_path / name, wanted_study.digest) as results:
        evaluations = Evaluations(wanted_study, results, executor, trials=wanted.most_policies, progress=told)
        return run_sweep(wanted, wanted_study, evaluations)


def text_of(result):
    return json.dumps(result.to_json(), allow_nan=False)


def test_the_chosen_cell_keeps_the_constraint_and_stands_on_a_plateau(tmp_path):
    """Efficiency is about 0.9 / share: 10 % is best. With a least removal of 18 % (0.9 x 20 %) it is 20 %,
    at the fast vote that costs nothing.
    """
    free = swept(tmp_path, plan(*GRID))
    assert free.row(free.chosen).values == ("10%", 0.75)
    bound = swept(tmp_path, plan(*GRID, objective=Objective(min_removed=0.17)))
    chosen = bound.row(bound.chosen)
    assert chosen.values == ("20%", 0.75)
    assert chosen.figures.removed == pytest.approx(0.9 * 0.2)
    assert chosen.figures.carry == pytest.approx(0.04)
    assert chosen.keeps
    assert bound.rows[0].keeps
    assert not bound.rows[-1].keeps
    assert bound.crises == 8
    assert bound.validation.overfit == 0.0  # skill, not luck, made it


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_who_hands_results_back_in_which_order_changes_nothing(tmp_path, method):
    wanted = plan("near.delta_share.ELEVATED=5%..35%:5%", "tiers.fast_vote=0.6,0.7,0.75", method=method)
    texts = []
    for at, order in enumerate((lambda places: places, lambda places: places[::-1], _shuffled)):
        executor = Pretend(STUDY, by_share, order)
        texts.append(text_of(swept(tmp_path, wanted, executor=executor, name=f"{at}.jsonl")))
    assert texts[0] == texts[1] == texts[2]


def _shuffled(places):
    random.Random(7).shuffle(places)
    return places


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_a_sweep_that_was_cut_off_goes_on_to_the_same_result(tmp_path, method):
    wanted = plan("near.delta_share.ELEVATED=5%..35%:2%", "tiers.fast_vote=0.6,0.7", method=method)
    whole = swept(tmp_path, wanted, name="whole.jsonl")

    class CutOff(Pretend):
        def run(self, jobs, on_hours):
            for found in super().run(jobs, on_hours):
                yield found
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt

    left = [7]
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, wanted, executor=CutOff(STUDY, by_share), name="cut.jsonl")
    again = Pretend(STUDY, by_share)
    resumed = swept(tmp_path, wanted, executor=again, name="cut.jsonl")
    assert text_of(resumed) == text_of(whole)
    policies = len({row.policy_hash for row in whole.rows} | {whole.base_hash})
    assert len(again.jobs) == policies - 7


def test_a_policy_is_evaluated_once_however_often_it_is_written(tmp_path):
    """The base is one of the cells, and two cells of words read as the same policy as no other."""
    executor = Pretend(STUDY, by_share)
    result = swept(tmp_path, plan("near.delta_share.ELEVATED=25 %,30 %"), executor=executor)
    assert len(executor.jobs) == 2
    assert result.base_hash in {row.policy_hash for row in result.rows}
    assert result.deflated.trials == 2


def test_trials_of_earlier_sweeps_on_the_same_history_count(tmp_path):
    swept(tmp_path, plan("near.delta_share.ELEVATED=11%,12%,13%"))
    second = swept(tmp_path, plan("near.delta_share.ELEVATED=20%,30%"))
    assert second.deflated.trials == 5
    fresh = swept(tmp_path, plan("near.delta_share.ELEVATED=20%,30%"), name="fresh.jsonl")
    assert fresh.deflated.trials == 2
    assert fresh.deflated.luck < second.deflated.luck


def test_a_cell_that_breaks_a_rule_of_policies_is_refused_alone(tmp_path):
    """Shares of delta may not fall with the tier: SEVERE is 40 %."""
    result = swept(tmp_path, plan("near.delta_share.ELEVATED=30%,41%"))
    assert [bool(row.refused) for row in result.rows] == [False, True]
    assert "near.delta_share" in result.rows[-1].refused
    assert result.row(0).neighbours == ()
    with pytest.raises(ConfigError, match=r"every cell of the sweep breaks a rule of policies, .*delta"):
        swept(tmp_path, plan("near.delta_share.ELEVATED=41%,45%"))


def test_what_is_held_out_moves_no_choice(tmp_path):
    """The last two of eight spans turn everything round: held out, they change their own line alone."""

    def turned(policy, span):
        removed, carry = by_share(policy, span)
        return (0.35 - removed, carry) if span >= 6 else (removed, carry)

    held = plan(*GRID, hold_out=0.25, objective=Objective(name="removed"))
    one, two = (
        swept(tmp_path, held, score=score, name=f"{at}.jsonl") for at, score in enumerate((by_share, turned))
    )
    assert one.chosen == two.chosen
    assert one.rows == two.rows
    assert one.hold_out.from_s == STUDY.spans[6].from_s
    assert one.hold_out.chosen.removed > one.hold_out.base.removed
    assert two.hold_out.chosen.removed < two.hold_out.base.removed
    seen = swept(tmp_path, plan(*GRID, objective=Objective(name="removed")), score=turned, name="2.jsonl")
    assert seen.rows != two.rows
    assert seen.hold_out is None


def without_crises(policy, span):
    return math.nan, 0.01


def test_without_a_crisis_no_cell_is_chosen_and_it_says_so(tmp_path):
    result = swept(tmp_path, plan(*GRID), score=without_crises)
    assert (result.chosen, result.best, result.deflated, result.crises) == (None, None, None, 0)
    assert "No cell has a figure" in printed(result)
    assert json.loads(text_of(result))["rows"][0]["efficiency"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "anneal"}, "--method must be one of grid, random, bayes, was 'anneal'"),
        ({"trials": 0}, "--trials must be between 1 and 100,000, was 0"),
        ({"folds": 5}, "--folds must be an even number from 4 to 12.* was 5"),
        ({"folds": 2}, "was 2"),
        ({"folds": 10}, "the history has 8 stretches to choose on, --folds 10 needs as many"),
        ({"hold_out": 0.95}, "--hold-out must be a share from 0 to under 0.9, was 0.95"),
        ({"hold_out": 0.001}, "--hold-out 0.001 holds no whole stretch of the 8 of this history; give"),
        ({"hold_out": 0.8}, "the history has 1 stretches"),
        ({"objective": Objective(name="profit")}, "--objective must be one of .*was 'profit'"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_meant_is_refused(tmp_path, change, words):
    executor = Pretend(STUDY, by_share)
    with pytest.raises(ConfigError, match=words):
        swept(tmp_path, plan(*GRID, **change), executor=executor)
    assert executor.jobs == []


def test_the_bayesian_search_finds_what_is_best(tmp_path):
    """Best is the least share that removes 15 % (0.9 x 17 %): efficiency 0.9 / 0.17. 40 of 310 are tried."""
    wanted = plan(
        "near.delta_share.ELEVATED=5%..35%:1%",
        "tiers.fast_vote=0.6..0.78:0.02",
        method="bayes",
        trials=40,
        objective=Objective(min_removed=0.15),
    )
    result = swept(tmp_path, wanted)
    best = result.row(result.best).figures
    assert best.removed >= 0.15
    assert best.efficiency > 0.85 * 0.9 / 0.17
    assert len(result.rows) <= 40
    assert result.row(result.chosen).keeps


def test_progress_ends_at_all_hours(tmp_path):
    told = []
    swept(tmp_path, plan(*GRID), told=lambda done, total: told.append((done, total)))
    hours = int(STUDY.segments[0].end_s - STUDY.segments[0].start_s) // 3600
    assert told[-1] == (9 * hours, 9 * hours)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_efficient_cells_are_those_that_none_betters(tmp_path):
    result = swept(tmp_path, plan(*GRID))
    assert {row.values for row in result.rows if row.is_efficient} == {
        (share, 0.75) for share in ("10%", "20%", "30%", "35%")
    }


def test_a_heat_map_is_the_slice_through_the_chosen_cell(tmp_path):
    result = swept(tmp_path, plan(*GRID, "tail.ladder=1,3"))
    found = result.heat_map("near.delta_share.ELEVATED", "tiers.fast_vote")
    assert found.values.shape == (2, 4)
    assert found.chosen == (1, 0)
    assert found.values[found.chosen] == result.row(result.chosen).figures.efficiency
    assert found.x_values == ("10%", "20%", "30%", "35%")
    assert result.heat_map("tail.ladder", "tiers.fast_vote").values.shape == (2, 2)
    with pytest.raises(KeyError):
        result.heat_map("tail.ladder", "tiers.vote")


def test_a_refused_cell_is_a_hole_in_the_heat_map(tmp_path):
    result = swept(tmp_path, plan("near.delta_share.ELEVATED=30%,41%", "tiers.fast_vote=0.6,0.75"))
    found = result.heat_map("near.delta_share.ELEVATED", "tiers.fast_vote")
    assert [math.isnan(value) for value in found.values[0]] == [False, True]


def test_a_range_has_no_heat_map(tmp_path):
    wanted = plan("near.delta_share.ELEVATED=5%..35%", "tiers.fast_vote=0.6,0.7", method="random", trials=6)
    assert swept(tmp_path, wanted).heat_map("near.delta_share.ELEVATED", "tiers.fast_vote") is None


def printed(result):
    console = Console(width=80, file=io.StringIO())
    print_sweep(result, console)
    return console.file.getvalue()


def test_the_chosen_cell_is_never_printed_without_what_it_is_worth(tmp_path):
    result = swept(
        tmp_path, plan(*GRID, hold_out=0.25, objective=Objective(min_removed=0.17, max_carry=0.05))
    )
    text = " ".join(printed(result).split())
    assert f"Cell {result.chosen} is chosen" in text
    assert "removed at least 17.0%; carry at most 5.0% a year" in text
    for words in (
        "in sample",
        "out of sample",
        "Probability of overfitting",
        "trials without skill",
        "neighbours have efficiency",
        "Held out, seen by no choice: from",
        "rests on 6 market crises",
    ):
        assert words in text, words
    assert all(len(line) <= 80 for line in printed(result).splitlines())


def test_a_cell_of_many_keys_is_read_in_a_line_and_not_letter_by_letter(tmp_path):
    keys = (
        "near.delta_share.ELEVATED=10%,20%",
        "tiers.fast_vote=0.65",
        "tiers.vote=0.5",
        "tiers.cooldown=48 h",
        "tiers.step_down=straight",
        "perpetual.min_funding=-30%",
    )
    lines = printed(swept(tmp_path, plan(*keys))).splitlines()
    assert any("cell" in line and "a, b, c, d, e, f" in line and "removed" in line for line in lines)
    assert any("0.65, 0.5, 48 h," in line for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_many_cells_are_cut_in_the_terminal_and_whole_in_json(tmp_path):
    result = swept(tmp_path, plan("near.delta_share.ELEVATED=5%..34%:1%"))
    assert "18 more cells are in --json" in " ".join(printed(result).split())
    assert len(result.to_json()["rows"]) == 30
