"""The simplified tiers beside the engine's on the same made-up hours, and the hours themselves."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from bot.settings import named_policy
from bot.simulation.backtest import cut_moments
from bot.simulation.exposures import parse_exposure
from bot.simulation.kernels import layout
from bot.simulation.kernels.evaluate import evaluate_tiers
from bot.simulation.kernels.tape_set import Tapes
from bot.simulation.market.model import load_market
from bot.simulation.monte_carlo.exact import compared
from bot.simulation.monte_carlo.exact_history import HOURS, by_day, history_of, hourly_paths
from bot.simulation.monte_carlo.hedge_twin import hedge_paths
from bot.simulation.monte_carlo.model import load_model
from bot.simulation.monte_carlo.numbers import path_numbers
from bot.simulation.monte_carlo.path_twin import path_keys, walk
from bot.simulation.monte_carlo.results import TIERS_AGREE
from bot.simulation.monte_carlo.run import set_up
from bot.simulation.monte_carlo.terminal import _agreement

MODEL, MARKET = load_model(), load_market()
SPEC = parse_exposure("v2:ETH/USDC:1000000")


def hours_of(name: str, *, paths: int, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Return log prices and implied vols by the hour, [hour, path]."""
    numbers = path_numbers(MODEL, MARKET, ["ETH", "BTC"], step_days=1.0 / HOURS)
    at = ["ETH", "BTC"].index(name)
    rows = [
        (states[at].x.copy(), states[at].iv.copy())
        for states in walk(numbers, path_keys(8, 0, paths), days * HOURS)
    ]
    logs, ivs = zip(*rows, strict=True)
    return np.array(logs, np.float64), np.array(ivs, np.float64)


@pytest.mark.parametrize("name", ["ETH", "BTC"])
def test_implied_vol_moves_within_a_day_as_the_index_does(name: str):
    """BTC DVOL 2021-25: daily log changes deviate by 0.044; S25's rise has a median of 1.7 % and is over 9 %
    in 3.4 % of hours, over 15 % in 0.9 %; it rises with falls, correlation of daily moves -0.15 to -0.20.
    """
    logs, ivs = hours_of(name, paths=24, days=100)
    daily = np.log(ivs[24::24] / ivs[:-24:24])
    assert daily.std() == pytest.approx(0.044, abs=0.006)
    rises = ivs[24:] / sliding_window_view(ivs, 25, axis=0).min(axis=-1) - 1.0
    assert np.median(rises) == pytest.approx(0.017, abs=0.008)
    assert (rises > 0.09).mean() == pytest.approx(0.034, abs=0.02)
    assert (rises > 0.15).mean() == pytest.approx(0.009, abs=0.008)
    moves = logs[24::24] - logs[:-24:24]
    assert -0.3 < np.corrcoef(moves.ravel(), daily.ravel())[0, 1] < 0.0


def test_the_simplified_tiers_agree_with_the_engines():
    """Shares of time at GUARDED and at ELEVATED within TIERS_AGREE, over paths that have both (R1, R3).

    They stand at ELEVATED a fifth of the time or more: two that knew nothing of each other would agree on
    65 % of days. The policy is the preset as it is.
    """
    policy = named_policy("steward")
    setup = set_up(MODEL, MARKET, [SPEC], [policy], paths=4, steps=40, seed=6)
    hours = hourly_paths(setup, SPEC, 4)
    run = hedge_paths(by_day(setup, hours), setup.hedge, policy=0, steps=40, step_days=1.0)
    tiers = []
    for path in range(4):
        tapes = Tapes(moments=tuple(cut_moments(history_of(setup, SPEC, hours, path), SPEC)), market=MARKET)
        tiers.append(evaluate_tiers([policy], tapes, compiled=False)[0][::HOURS])
        assert not ((tapes.tier(policy).flags >> layout.LONE_SHIFT) & 7).any()  # TECHNICAL is not alone
    found = compared("steward", run, list(run.worth.T.astype(np.float64)), tiers)
    assert found.high_share[0].mean() > 0.03
    assert found.guarded_share[0].mean() > 0.1
    assert found.tiers_apart < TIERS_AGREE
    assert found.same_side.mean() > 0.75
    assert "at most" in _agreement(found)
    np.testing.assert_array_equal(found.end[0], found.end[1])  # the same worths were given to both sides


def test_tiers_that_are_apart_are_said_to_be():
    policy = named_policy("steward")
    setup = set_up(MODEL, MARKET, [SPEC], [policy], paths=2, steps=4, seed=1)
    states = walk(setup.paths, path_keys(1, 0, 2), 4)
    run = hedge_paths(states, setup.hedge, policy=0, steps=4, step_days=1.0)
    run.tier[:] = 0.0
    found = compared(
        "steward", run, list(run.worth.T.astype(np.float64)), [np.full(5, 2, np.int8), np.zeros(5, np.int8)]
    )
    assert found.tiers_apart == pytest.approx(0.5)
    assert found.same_side.tolist() == [0.0, 1.0]
    assert "over 10: take tiers" in _agreement(found)
