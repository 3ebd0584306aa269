"""Paths: draws, the kernel's bits, and the laws that the model states."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bot.simulation.market.model import load_market
from bot.simulation.monte_carlo import lane_maths, path_tiles
from bot.simulation.monte_carlo.model import PathModel, load_model
from bot.simulation.monte_carlo.numbers import implied_from_spot, path_numbers
from bot.simulation.monte_carlo.path_twin import exp_of, log_of, mix, normals, path_keys, uniforms, walk

pytestmark = pytest.mark.xdist_group("monte-carlo")  # compiled once

MODEL, MARKET = load_model(), load_market()
DAY = 1.0


def moves(model: PathModel, *, paths: int, days: int, seed: int = 3, name: str = "ETH") -> np.ndarray:
    """Return daily log returns, [day, path]."""
    numbers = path_numbers(model, MARKET, [name], step_days=DAY)
    keys = path_keys(seed, 0, paths)
    return np.array([state.moved.copy() for (state,) in walk(numbers, keys, days)])[1:].astype(np.float64)


def test_mix_is_splitmix64():
    # The first outputs of SplitMix64 from state 0 (Vigna's reference code).
    states = np.arange(1, 4, dtype=np.uint64) * lane_maths.GAMMA
    assert [hex(item) for item in mix(states).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_normals_are_normal_and_independent():
    one, other = normals(mix(np.arange(1 << 19, dtype=np.uint64) * lane_maths.GAMMA))
    for side in (one, other):
        assert stats.kstest(side, "norm").pvalue > 0.001
        assert side.mean() == pytest.approx(0.0, abs=0.005)
        assert side.var() == pytest.approx(1.0, abs=0.01)
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.0, abs=0.005)
    assert np.corrcoef(one**2, other**2)[0, 1] == pytest.approx(0.0, abs=0.005)


def test_the_edges_of_a_draw_give_finite_normals():
    bits = np.array([0, 2**64 - 1, 2**63, 2**32, 2**32 - 1, 2**31], np.uint64)
    first, second = uniforms(bits)
    for side in (first, second):
        assert (side > 0.0).all()
        assert (side <= 1.0).all()
    assert all(np.isfinite(side).all() for side in normals(bits))
    assert max(np.abs(side).max() for side in normals(bits)) < 6.9


@given(st.floats(-80.0, 80.0))
def test_exp_is_right_to_rounding(x: float):
    found = float(exp_of(np.array([x], np.float32))[0])
    assert found == pytest.approx(math.exp(float(np.float32(x))), rel=4e-7)


@given(st.floats(1e-9, 1.0))
def test_log_is_right_to_rounding(x: float):
    at = np.array([x], np.float32)
    assert float(log_of(at)[0]) == pytest.approx(math.log(float(at[0])), rel=3e-7, abs=1e-7)


@given(
    seed=st.integers(0, 2**64 - 1),
    spread=st.floats(0.0, 0.8),
    enter=st.floats(0.0, 30.0),
    jumps=st.floats(0.0, 200.0),
    lean=st.floats(-0.9, 0.9),
)
@settings(max_examples=12, deadline=None)
def test_the_kernel_has_the_twins_bits(seed: int, spread: float, enter: float, jumps: float, lean: float):
    asset = replace(MODEL.assets["BTC"], vol_spread=spread, lean=lean)
    regimes = replace(MODEL.regimes, enter_a_year=enter, jumps_a_year=jumps)
    model = replace(MODEL, assets={**MODEL.assets, "BTC": asset}, regimes=regimes)
    numbers, steps = path_numbers(model, MARKET, ["ETH", "BTC"], step_days=DAY), 9
    keys = path_keys(seed, 0, path_tiles.LANES)
    tiles = np.empty((2, path_tiles.ROWS * path_tiles.LANES), np.float32)
    rows = {"x": path_tiles.X, "iv": path_tiles.IV, "spot": path_tiles.SPOT, "slope": path_tiles.SLOPE}
    for step, states in enumerate(walk(numbers, keys, steps)):
        path_tiles.next_step(tiles, keys, numbers.assets, numbers.shared, numbers.factors, step)
        for tile, state in zip(tiles, states, strict=True):
            for name, row in rows.items():
                part = tile[row * path_tiles.LANES : (row + 1) * path_tiles.LANES]
                np.testing.assert_array_equal(part, getattr(state, name), err_msg=f"{name}, step {step}")


def test_the_price_has_no_drift_of_its_own():
    # E[S_t] = S_0: the jumps' compensator and the variance's half take what randomness adds.
    ends = np.exp(moves(MODEL, paths=200_000, days=5).sum(axis=0))
    error = ends.std() / math.sqrt(ends.size)
    assert abs(ends.mean() - 1.0) < 4.0 * error


def test_one_regime_without_jumps_or_vol_of_vol_is_geometric_brownian():
    calm = replace(MODEL.assets["ETH"], vol_spread=0.0, vol=0.73, vol_kick=0.0)
    regimes = replace(MODEL.regimes, enter_a_year=0.0, jumps_a_year=0.0)
    found = moves(replace(MODEL, assets={"ETH": calm}, regimes=regimes), paths=50_000, days=2).ravel()
    sd = 0.73 / math.sqrt(365.0)
    assert stats.kstest(found, "norm", args=(-0.5 * sd * sd, sd)).pvalue > 0.001


def test_jumps_come_at_their_rate_and_size():
    # Variance of a day: (vol^2 + rate (mean^2 + sd^2)) / 365, with the vol all but off.
    quiet = replace(MODEL.assets["ETH"], vol_spread=0.0, vol=0.01, vol_kick=0.0)
    regimes = replace(MODEL.regimes, enter_a_year=0.0, jumps_a_year=50.0)
    found = moves(replace(MODEL, assets={"ETH": quiet}, regimes=regimes), paths=100_000, days=3).ravel()
    wanted = (0.01**2 + 50.0 * quiet.jump_variance) / 365.0
    assert found.var() == pytest.approx(wanted, rel=0.04)
    assert (np.abs(found) > 0.005).mean() == pytest.approx(-math.expm1(-50.0 / 365.0), rel=0.12)


def test_crises_take_their_share_of_the_time():
    share = MODEL.regimes.crisis_share
    assert share == pytest.approx(8.6 / (8.6 + 365.0 / 2.4))
    numbers = path_numbers(MODEL, MARKET, ["ETH"], step_days=DAY)
    usual, crisis = (implied_from_spot(MODEL.assets["ETH"], MODEL, in_crisis=flag) for flag in (False, True))
    assert crisis[0] > usual[0]  # more variance is expected, though what is seen now fades soon
    means = [state.q.mean() for (state,) in walk(numbers, path_keys(1, 0, 20_000), 30)]
    asset = MODEL.assets["ETH"]
    jumped = MODEL.regimes.mean_jumps_a_year * asset.jump_variance
    wanted = asset.mean_variance(MODEL.regimes) - jumped
    assert np.mean(means) == pytest.approx(wanted, rel=0.10)


def test_assets_move_together_as_the_matrix_says():
    numbers = path_numbers(MODEL, MARKET, ["ETH", "BTC"], step_days=DAY)
    pairs = [(a.moved.copy(), b.moved.copy()) for a, b in walk(numbers, path_keys(5, 0, 50_000), 3)][1:]
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(MODEL.correlation[0, 1], abs=0.05)


def test_a_path_is_its_own_whatever_else_runs():
    numbers = path_numbers(MODEL, MARKET, ["ETH"], step_days=DAY)
    many = [state.x.copy() for (state,) in walk(numbers, path_keys(9, 0, 300), 4)][-1]
    few = [state.x.copy() for (state,) in walk(numbers, path_keys(9, 250, 50), 4)][-1]
    np.testing.assert_array_equal(many[250:], few)
