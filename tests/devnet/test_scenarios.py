"""Laws of the made-up paths: calibration for every seed, repeatability. Figures: the Terra week of 2022."""

import numpy as np
import pytest

from bot.devnet.noise import bridge, generator, ornstein_uhlenbeck, steady_bridge
from bot.devnet.scenarios import (
    SCENARIOS,
    START_S,
    TERRA_LOW_HOUR,
    TERRA_PEAK_HOUR,
    TERRA_WORST_AT,
    MarketPoint,
    scenario_named,
)
from bot.errors import ConfigError, NotFoundError

SEEDS = range(1, 21)
HOURS_A_YEAR = 8_760


def column(path: tuple[MarketPoint, ...], name: str) -> np.ndarray:
    return np.array([getattr(point, name) for point in path])


@pytest.mark.parametrize("name", SCENARIOS)
def test_points_are_hourly_and_start_an_hour_after_the_devnet_is_ready(name: str) -> None:
    path = SCENARIOS[name].path(1)
    times = column(path, "at_s")
    assert START_S == 1_651_708_800  # 2022-05-05T00:00:00Z
    assert times[0] == START_S + 3_600
    assert set(np.diff(times)) == {3_600}
    assert 9 * 24 <= len(path) - 1 <= 10 * 24
    assert path[0].eth_usd == 2_940.0
    assert path[0].lp_share == pytest.approx(1.0, abs=0.003)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_repeats_to_the_digit_and_another_differs(name: str) -> None:
    scenario = SCENARIOS[name]
    assert scenario.path(7) == scenario.path(7)
    assert scenario.path(7) != scenario.path(8)


def test_scenarios_do_not_share_their_noise() -> None:
    assert generator(1, stream=1).standard_normal() != generator(1, stream=2).standard_normal()


def test_points_carry_no_digits_that_differ_between_machines() -> None:
    for point in SCENARIOS["terra"].path(3):
        assert point.eth_usd == round(point.eth_usd, 2)
        assert point.iv_30d == round(point.iv_30d, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_terra_falls_as_eth_fell(seed: int) -> None:
    price = column(SCENARIOS["terra"].path(seed), "eth_usd")
    assert int(price.argmax()) == TERRA_PEAK_HOUR
    assert int(price.argmin()) == TERRA_LOW_HOUR
    assert TERRA_LOW_HOUR - TERRA_PEAK_HOUR == 173
    assert price.min() == 1_800.0
    assert 1.0 - price.min() / price.max() == pytest.approx(0.391, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_terras_worst_hour_and_worst_day_are_the_calibrated_ones(seed: int) -> None:
    price = column(SCENARIOS["terra"].path(seed), "eth_usd")
    hour, day = price[1:] / price[:-1] - 1.0, price[24:] / price[:-24] - 1.0
    assert int(hour.argmin()) == TERRA_WORST_AT - 1
    assert hour.min() == pytest.approx(-0.098, abs=1e-4)
    assert int(day.argmin()) == TERRA_LOW_HOUR - 24
    assert day.min() == pytest.approx(-0.244, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_terra_is_calm_first_and_realises_about_150_percent(seed: int) -> None:
    price = column(SCENARIOS["terra"].path(seed), "eth_usd")
    returns = np.diff(np.log(price))
    assert returns[:42].std() * HOURS_A_YEAR**0.5 < 0.60
    assert np.abs(price[:43] / price[0] - 1.0).max() < 0.05
    assert 1.3 < returns.std() * HOURS_A_YEAR**0.5 < 2.0  # 156 % in the figures


@pytest.mark.parametrize("seed", SEEDS)
def test_terras_liquidity_leaves_as_tvl_did(seed: int) -> None:
    """Daily, as the figures are: -26.2 % in two days and -44.5 % in all, price and flows together."""
    path = SCENARIOS["terra"].path(seed)[::24]
    tvl = column(path, "lp_share") * np.sqrt(column(path, "eth_usd"))
    assert (tvl[2:] / tvl[:-2] - 1.0).min() == pytest.approx(-0.262, abs=0.01)
    assert tvl.min() / tvl.max() - 1.0 == pytest.approx(-0.445, abs=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_terras_vol_funding_and_gas_span_the_figures(seed: int) -> None:
    path = SCENARIOS["terra"].path(seed)
    per_8h = column(path, "funding_premium") / 3.0
    assert per_8h.min() == pytest.approx(-0.00080, abs=1e-7)
    assert per_8h.max() <= 0.00010 + 1e-9
    assert 0.00007 < np.median(per_8h[:48]) <= 0.0001
    vol = column(path, "iv_30d")
    assert vol[0] == pytest.approx(0.75, abs=1e-9)  # BTC 60 + 15 points
    assert vol.max() == pytest.approx(1.55, abs=1e-9)  # BTC 140 + 15 points
    gas = column(path, "base_fee_wei")
    assert (gas[0], gas.max()) == (570_000_000, 2_140_000_000)  # 57 and 214 gwei, a hundredth of them


@pytest.mark.parametrize("seed", SEEDS)
def test_terras_front_vol_rises_over_the_back_only_in_the_crash(seed: int) -> None:
    path = SCENARIOS["terra"].path(seed)
    slope = column(path, "iv_7d") / column(path, "iv_90d") - 1.0
    assert slope[:72].max() < 0.0
    assert 0.25 < slope.max() < 0.45
    assert abs(column(path, "pool_gap")).max() > 0.01  # the pools lag in the worst hour


@pytest.mark.parametrize("seed", SEEDS)
def test_calm_holds_no_stress(seed: int) -> None:
    path = SCENARIOS["calm"].path(seed)
    price = column(path, "eth_usd")
    returns = np.diff(np.log(price))
    assert price[-1] == price[0]  # no drift
    assert 0.35 < returns.std() * HOURS_A_YEAR**0.5 < 0.60
    assert np.abs(returns).max() < 0.026  # the worst hour of a calm quarter
    assert np.abs(price[24:] / price[:-24] - 1.0).max() < 0.08
    day_vol = np.array([returns[start : start + 24].std() for start in range(len(returns) - 24)])
    assert day_vol.max() < 1.35 * returns.std()
    assert np.abs(column(path, "pool_gap")).max() < 0.001
    assert np.ptp(column(path, "lp_share")) < 0.006
    assert np.ptp(column(path, "iv_30d")) < 0.02
    assert (column(path, "iv_7d") < column(path, "iv_90d")).all()
    assert np.ptp(column(path, "funding_premium")) * 365.0 < 0.041  # APR: two of S10's least sigmas
    assert np.abs(column(path, "stable_usd") - 1.0).max() < 0.0005


def test_a_bridge_is_zero_at_its_knots() -> None:
    knots = {0: 1.0, 7: 2.0, 20: 0.0}
    noise = bridge(generator(1, stream=9), knots, np.full(20, 0.5))
    assert noise[list(knots)] == pytest.approx(0.0, abs=1e-12)
    assert np.abs(noise).max() > 0.1


def test_a_steady_bridge_realises_the_same_vol_in_every_half_day() -> None:
    walk = steady_bridge(generator(2, stream=9), 240, sigma=0.01, max_excursion=10.0)
    blocks = np.diff(walk).reshape(-1, 12)
    assert (walk[0], walk[-1]) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert np.sqrt((blocks**2).mean(axis=1)) == pytest.approx(0.01, rel=0.1)


def test_mean_reverting_noise_stays_in_its_bound() -> None:
    noise = ornstein_uhlenbeck(generator(3, stream=9), 5_000, sigma=0.2, bound=1.5, start=0.0)
    assert noise[0] == 0.0
    assert np.abs(noise).max() <= 0.3 + 1e-12
    assert 0.12 < noise.std() < 0.22


def test_an_unknown_scenario_names_the_ones_there_are() -> None:
    with pytest.raises(NotFoundError, match=r"'luna'.*calm, terra"):
        scenario_named("luna")
    assert scenario_named("calm") is SCENARIOS["calm"]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="-1"):
        SCENARIOS["calm"].path(-1)
