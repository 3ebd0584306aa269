"""The assumed market: its file, and vols that know only the past."""

import math
from dataclasses import replace

import numpy as np
import pytest
from history_builders import START_S

from bot.errors import ConfigError
from bot.model.market import Metric
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.market.model import (
    load_market,
    mean_variance,
    tenor_vols,
    with_implied_vols,
)

DAY_S, HOUR_S = 86_400, 3_600
SPEC = parse_exposure("v2:ETH/USDC:1000000")


def history_of(folder):
    return load_history(folder.path, SPEC, from_s=START_S + 35 * DAY_S, to_s=START_S + 50 * DAY_S)


def test_the_shipped_file_states_what_the_issue_asks():
    market = load_market()
    assert market.options.spread_share == 0.12
    text = " ".join(market.assumptions("ETH"))
    for fact in (
        "BTC DVOL times what ETH has realised over BTC",
        "12% of premium (measured on Lyra) and 2 vol points",
        "x 2 in full stress, and 0.03% of notional",
        "gas is 5 USD, x 4 in full stress",
        "half-life of 20 days",
        "opened anew around the price every 7 days",
    ):
        assert fact in text
    assert "realised over" not in market.assumptions("BTC")[0]


def test_eth_vol_is_dvol_times_the_ratio_and_its_index_is_dvol_as_published(folder):
    """With the same prices for both assets the ratio is 1 once a month is known, and 1.2 before (ours)."""
    folder.write_prices("btc")
    history, market = history_of(folder), load_market()
    columns = with_implied_vols(history, market).columns
    (month,) = columns.find(Metric.IV_30D, "ETH")
    assert month.source == "dvol"
    np.testing.assert_allclose(columns[month].values[-24 * 20 :], history.vol_index.values[-24 * 20 :])
    np.testing.assert_allclose(columns[month].values[:24], 1.2 * history.vol_index.values[:24])
    (index,) = columns.find(Metric.VOL_INDEX, "ETH")
    assert np.array_equal(columns[index].values, history.vol_index.values)  # 10 % up is 10 % up (S25)


def test_term_structure_is_flat_at_its_mean_and_inverts_above_it():
    mean = np.array([0.64, 0.64, 0.64])
    vol = np.array([0.8, 1.2, 0.6])
    week, quarter = (tenor_vols(vol, mean, days=days, half_life_days=25.0) for days in (7.0, 90.0))
    assert week[0] == pytest.approx(0.8)
    assert quarter[0] == pytest.approx(0.8)
    assert week[1] > 1.2 > quarter[1] > 0.8
    assert week[2] < 0.6 < quarter[2] < 0.8


def test_term_structure_by_hand():
    # k = ln2/25; g(T) = (1-exp(-kT))/(kT): g(7) = 0.909136, g(30) = 0.679077; mean 0.5, v30 = 1
    vol = tenor_vols(np.array([1.0]), np.array([0.5]), days=7.0, half_life_days=25.0)
    assert vol[0] == pytest.approx(math.sqrt(0.5 + 0.5 * 0.909136 / 0.679077), rel=1e-5)


def test_the_mean_weights_by_age_and_starts_anew_after_a_long_hole():
    vols = np.array([1.0, 0.5, 0.8])
    near = mean_variance(np.array([0.0, DAY_S, 2 * DAY_S]), vols, mean_days=1.0)
    kept = math.exp(-1.0)
    assert near[1] == pytest.approx((kept * 1.0 + 0.25) / (kept + 1.0))
    cut = mean_variance(np.array([0.0, DAY_S, DAY_S + 37 * HOUR_S]), vols, mean_days=1.0)
    assert cut[2] == pytest.approx(0.64)
    skipped = mean_variance(np.array([0.0, DAY_S, DAY_S + 36 * HOUR_S]), vols, mean_days=1.0)
    assert skipped[2] != pytest.approx(0.64)


def test_no_vol_knows_the_future(folder):
    whole = with_implied_vols(history_of(folder), load_market()).columns
    short = load_history(folder.path, SPEC, from_s=START_S + 35 * DAY_S, to_s=START_S + 42 * DAY_S)
    part = with_implied_vols(short, load_market()).columns
    for metric in (Metric.IV_7D, Metric.IV_30D, Metric.IV_90D, Metric.VOL_INDEX):
        (key,) = part.find(metric, "ETH")
        known = part[key].values
        assert np.array_equal(known, whole[key].values[: known.size])
        assert known.std() > 0.0  # a flat path would prove nothing


def test_hours_without_an_index_follow_realised_vols_or_have_no_vol_as_the_market_says(folder):
    folder.dropped = {"btc_dvol_1h_deribit": set(range(40 * 24, 41 * 24))}
    folder.write_all()
    market = load_market()
    closed = replace(market, realised=replace(market.realised, fills=False))
    for chosen, longest in ((market, 1), (closed, 25)):
        columns = with_implied_vols(history_of(folder), chosen).columns
        (key,) = columns.find(Metric.IV_7D, "ETH")
        assert np.diff(columns[key].times_s).max() == longest * HOUR_S
        (index,) = columns.find(Metric.VOL_INDEX, "ETH")
        assert np.diff(columns[index].times_s).max() == 25 * HOUR_S  # signals see what was published


def test_programmes_of_the_index_level_may_read_the_modelled_one(folder):
    folder.dropped = {"btc_dvol_1h_deribit": set(range(40 * 24, 41 * 24))}
    folder.write_all()
    columns = with_implied_vols(history_of(folder), load_market(), index_everywhere=True).columns
    (index,) = columns.find(Metric.VOL_INDEX, "ETH")
    assert np.diff(columns[index].times_s).max() == HOUR_S


def test_doubling_doubles_every_cost_and_the_skew():
    """R26: the same with spread and skew doubled."""
    market = load_market()
    costly = market.doubled()
    for key in ("spread_share", "spread_vol", "impact_vol", "notional_share", "skew_calm", "skew_stress"):
        assert getattr(costly.options, key) == 2.0 * getattr(market.options, key), key
    assert costly.options.skew_curvature == 2.0 * market.options.skew_curvature
    assert costly.perpetual.cost == 2.0 * market.perpetual.cost
    assert costly.options.gas_usd == market.options.gas_usd


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("order_usd = 5.0", "order_usd = 5.0\nspeed = 1", "unknown key speed"),
        ("order_usd = 5.0", "ordered_usd = 5.0", "unknown key ordered_usd"),
        ("gwei = 30.0", "", "missing key gwei"),
        ("order_usd = 5.0", 'order_usd = "much"', "gas.order_usd must be a number"),
        ("order_usd = 5.0", "order_usd = -1", "gas_usd"),
        ("spread_points = 2.0", "spread_points = -2", "spread_vol"),
        ("half_life_days = 20.0", "half_life_days = 0", "over 0"),
        ("recentre_cost = 0.001", "recentre_cost = 1.0", "from 0 to below 1"),
        ("fills = true ", "fills = 1 ", "true or false"),
        ("list_calls = false", "list_calls = 0", "true or false"),
        ("[exposure]", "[exposures]", "lacks the table"),
        ("[realised]", "[realized]", "lacks the table .realised."),
        ("[realised]", "[realised", "cannot be read"),
    ],
)
def test_a_wrong_market_file_is_refused_by_name(tmp_path, old, new, named):
    from importlib import resources

    text = resources.files("bot.simulation.market").joinpath("market.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=named):
        load_market(path)


def test_a_market_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_market(tmp_path / "none.toml")
