"""Laws of the made-up paths: calibration for every seed, repeatability. Figures: the Terra week of 2022."""

import numpy as np
import pytest

from bot.devnet.scenarios import (
    START_S,
    START_USD,
    MarketPoint,
    left_out,
    market_path,
    playable,
    playable_names,
)
from bot.errors import ConfigError, NotFoundError
from bot.simulation.stress.paths import build_paths

PLAYED = ("calm", "terra")
TERRA_PEAK_HOUR, TERRA_LOW_HOUR, TERRA_WORST_AT = 2, 175, 157
SEEDS = range(1, 21)
HOURS_A_YEAR = 8_760


def column(path: tuple[MarketPoint, ...], name: str) -> np.ndarray:
    return np.array([getattr(point, name) for point in path])


@pytest.mark.parametrize("name", PLAYED)
def test_points_are_hourly_and_start_an_hour_after_the_devnet_is_ready(name: str) -> None:
    path = market_path(playable(name), 1)
    times = column(path, "at_s")
    assert START_S == 1_651_708_800  # 2022-05-05T00:00:00Z
    assert times[0] == START_S + 3_600
    assert set(np.diff(times)) == {3_600}
    assert 9 * 24 <= len(path) - 1 <= 10 * 24
    assert path[0].eth_usd == 2_940.0
    assert path[0].lp_share == pytest.approx(1.0, abs=0.003)


@pytest.mark.parametrize("name", PLAYED)
def test_the_same_seed_repeats_to_the_digit_and_another_differs(name: str) -> None:
    scenario = playable(name)
    assert market_path(scenario, 7) == market_path(scenario, 7)
    assert market_path(scenario, 7) != market_path(scenario, 8)


def test_points_carry_no_digits_that_differ_between_machines() -> None:
    for point in market_path(playable("terra"), 3):
        assert point.eth_usd == round(point.eth_usd, 2)
        assert point.iv_30d == round(point.iv_30d, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_terra_falls_as_eth_fell(seed: int) -> None:
    price = column(market_path(playable("terra"), seed), "eth_usd")
    assert int(price.argmax()) == TERRA_PEAK_HOUR
    assert int(price.argmin()) == TERRA_LOW_HOUR
    assert TERRA_LOW_HOUR - TERRA_PEAK_HOUR == 173
    assert price.min() == 1_800.0
    assert 1.0 - price.min() / price.max() == pytest.approx(0.391, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_terras_worst_hour_and_worst_day_are_the_calibrated_ones(seed: int) -> None:
    price = column(market_path(playable("terra"), seed), "eth_usd")
    hour, day = price[1:] / price[:-1] - 1.0, price[24:] / price[:-24] - 1.0
    assert int(hour.argmin()) == TERRA_WORST_AT - 1
    assert hour.min() == pytest.approx(-0.098, abs=1e-4)
    assert int(day.argmin()) == TERRA_LOW_HOUR - 24
    assert day.min() == pytest.approx(-0.244, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_terra_is_calm_first_and_realises_about_150_percent(seed: int) -> None:
    price = column(market_path(playable("terra"), seed), "eth_usd")
    returns = np.diff(np.log(price))
    assert returns[:42].std() * HOURS_A_YEAR**0.5 < 0.60
    assert np.abs(price[:43] / price[0] - 1.0).max() < 0.05
    assert 1.3 < returns.std() * HOURS_A_YEAR**0.5 < 2.0  # 156 % in the figures


@pytest.mark.parametrize("seed", SEEDS)
def test_terras_liquidity_leaves_as_tvl_did(seed: int) -> None:
    """Daily, as the figures are: -26.2 % in two days and -44.5 % in all, price and flows together."""
    path = market_path(playable("terra"), seed)[::24]
    tvl = column(path, "lp_share") * np.sqrt(column(path, "eth_usd"))
    assert (tvl[2:] / tvl[:-2] - 1.0).min() == pytest.approx(-0.262, abs=0.01)
    assert tvl.min() / tvl.max() - 1.0 == pytest.approx(-0.445, abs=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_terras_vol_funding_and_gas_span_the_figures(seed: int) -> None:
    path = market_path(playable("terra"), seed)
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
    path = market_path(playable("terra"), seed)
    slope = column(path, "iv_7d") / column(path, "iv_90d") - 1.0
    assert slope[:72].max() < 0.0
    assert 0.25 < slope.max() < 0.45
    assert abs(column(path, "pool_gap")).max() > 0.01  # the pools lag in the worst hour


@pytest.mark.parametrize("seed", SEEDS)
def test_calm_holds_no_stress(seed: int) -> None:
    path = market_path(playable("calm"), seed)
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


def test_an_unknown_scenario_offers_the_nearest_names() -> None:
    with pytest.raises(NotFoundError, match=r"'tera' does not exist; did you mean terra"):
        playable("tera")


def test_a_scenario_that_no_chain_carries_says_why_and_what_can_be_played() -> None:
    """Never silently dropped: the event itself would be missing."""
    with pytest.raises(ConfigError, match=r"bridge-drain.*a devnet is one chain.*terra-2022"):
        playable("bridge-drain")
    assert {"terra-2022", "calm", "may-2021", "rally"} <= set(playable_names())
    assert "stablecoin-depeg" not in playable_names()


def test_what_a_devnet_cannot_carry_is_named() -> None:
    assert left_out(playable("calm")) == ()
    assert any("USDT" in words for words in left_out(playable("terra")))
    assert any("no node answers" in words for words in left_out(playable("rpc-outage")))
    assert any("15 minutes" in words for words in left_out(playable("flash-crash")))
    assert any("Uniswap cannot be paused" in words for words in left_out(playable("protocol-exploit")))
    assert any("halted" in words for words in left_out(playable("venue-halt")))


@pytest.mark.parametrize("name", playable_names())
def test_every_point_of_a_played_path_can_be_moved_to(name: str) -> None:
    """Scaled to the devnet's first price: the same returns; an hour apart, prices and vols over 0."""
    scenario = playable(name)
    path, own = market_path(scenario, 1), build_paths(scenario, 1).hourly("eth_usd")
    price = column(path, "eth_usd")
    assert len(path) == scenario.hours + 1
    assert price[0] == START_USD
    assert price / price[0] == pytest.approx(own / own[0], rel=1e-4)
    assert set(np.diff(column(path, "at_s"))) == {3_600}
    assert column(path, "lp_share")[0] == 1.0
    for vol in ("iv_7d", "iv_30d", "iv_90d"):
        assert (column(path, vol) > 0.2).all()


def test_a_protocols_own_trouble_becomes_a_vault_and_a_pause() -> None:
    """Curve, July 2023: -47 % in about 24 h; paused from hour 40."""
    path = market_path(playable("protocol-exploit"), 1)
    assert column(path, "vault_share").max() <= 1.0
    assert path[-1].vault_share == pytest.approx(0.53, abs=0.001)
    assert [path[39].paused, path[40].paused] == [False, True]
    terra = market_path(playable("terra"), 1)
    assert {(point.vault_share, point.paused) for point in terra} == {(1.0, False)}


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="-1"):
        market_path(playable("calm"), -1)
