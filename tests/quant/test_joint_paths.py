"""Paths of several assets on the same rows (R8): the same dates, betas, residuals, short histories."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import InvariantError
from bot.quant.joint_paths import (
    BETA_RESIDUAL,
    Asset,
    beta_paths,
    joint_paths,
    ranked_paths,
    token_paths,
)
from bot.quant.statistics import Fit, ols, residuals
from bot.quant.var import (
    EWMA_STUDENT,
    FILTERED_HISTORICAL,
    past_shocks,
    spot_paths,
    value_at_risk,
)
from bot.quant.volatility import log_returns

NAN = math.nan
RNG = np.random.default_rng(31)
COMMON = RNG.standard_t(5, 499)
ETH_RETURNS = 0.03 * COMMON
BTC_RETURNS = 0.015 * COMMON + RNG.normal(0.0, 0.012, 499)
TOKEN_RETURNS = 1.3 * ETH_RETURNS + RNG.normal(0.0, 0.02, 499)


def closes(returns, start=2000.0):
    return start * np.exp(np.concatenate(([0.0], np.cumsum(returns))))


ETH = Asset(daily_close=closes(ETH_RETURNS), spot=3000.0)
BTC = Asset(daily_close=closes(BTC_RETURNS, 40_000.0), spot=60_000.0)
TOKEN = Asset(daily_close=closes(TOKEN_RETURNS, 5.0), spot=7.0)


def without(asset, *parts):
    close = asset.daily_close.copy()
    for part in parts:
        close[part] = NAN
    return Asset(daily_close=close, spot=asset.spot)


def moves(paths):
    return np.log(paths.spots[:, -1] / paths.spots[:, 0])


def same(found, wanted):
    assert (found.method, found.warmed, found.vol) == (wanted.method, wanted.warmed, wanted.vol)
    assert found.returns_known == wanted.returns_known
    np.testing.assert_array_equal(found.spots, wanted.spots)


def test_whole_histories_give_each_asset_its_own_paths_bit_for_bit():
    found = joint_paths({"ETH": ETH, "BTC": BTC}, horizon_days=10)
    assert list(found) == ["ETH", "BTC"]
    for name, asset in (("ETH", ETH), ("BTC", BTC)):
        same(found[name], spot_paths(asset.daily_close, spot=asset.spot, horizon_days=10))


@settings(max_examples=25)
@given(
    days=st.integers(0, 500),
    holes=st.lists(st.tuples(st.integers(0, 499), st.integers(1, 4)), max_size=4),
    horizon=st.integers(1, 12),
)
def test_one_asset_is_as_spot_paths_bit_for_bit(days, holes, horizon):
    asset = without(ETH, *(slice(at, at + size) for at, size in holes))
    asset = Asset(daily_close=asset.daily_close[:days], spot=asset.spot)
    found = joint_paths({"ETH": asset}, horizon_days=horizon)["ETH"]
    same(found, spot_paths(asset.daily_close, spot=asset.spot, horizon_days=horizon))


def test_a_row_is_the_same_run_of_dates_for_all():
    """Each path step, over its asset's vol, is the shock of one date; both come from the same date."""
    btc = without(BTC, 300, slice(400, 403))
    found = joint_paths({"ETH": ETH, "BTC": btc}, horizon_days=5)
    rows = {}
    for name, asset in (("ETH", ETH), ("BTC", btc)):
        steps = np.diff(np.log(found[name].spots), axis=1) / found[name].vol * math.sqrt(365)
        by_day = past_shocks(asset.daily_close).by_day
        apart = np.abs(steps[:, :, None] - np.where(np.isnan(by_day), np.inf, by_day))
        assert apart.min(axis=2).max() < 1e-9
        rows[name] = apart.argmin(axis=2)
    np.testing.assert_array_equal(rows["ETH"], rows["BTC"])
    steps = np.diff(rows["ETH"], axis=1)
    assert (steps >= 1).all()
    assert steps.max() == 3  # over the day missing at 300
    assert not ((rows["ETH"].min(axis=1) < 400) & (rows["ETH"].max(axis=1) > 403)).any()  # not over three


def test_a_crash_that_both_had_is_on_one_row():
    returns = {"ETH": ETH_RETURNS.copy(), "BTC": BTC_RETURNS.copy()}
    for part in returns.values():
        part[250] = -0.4
    assets = {name: Asset(daily_close=closes(part), spot=1.0) for name, part in returns.items()}
    found = joint_paths(assets, horizon_days=1)
    assert moves(found["ETH"]).argmin() == moves(found["BTC"]).argmin()
    together = value_at_risk(2.0 - found["ETH"].spots[:, -1] - found["BTC"].spots[:, -1], confidence=0.999)
    alone = [value_at_risk(1.0 - paths.spots[:, -1], confidence=0.999) for paths in found.values()]
    assert together == pytest.approx(sum(alone))


def test_what_moves_against_the_other_diversifies():
    mirror = Asset(daily_close=closes(-ETH_RETURNS), spot=1.0)
    found = joint_paths({"ETH": Asset(daily_close=ETH.daily_close, spot=1.0), "ANTI": mirror}, horizon_days=1)
    np.testing.assert_allclose(moves(found["ETH"]), -moves(found["ANTI"]), rtol=1e-9, atol=1e-12)
    together = value_at_risk(2.0 - found["ETH"].spots[:, -1] - found["ANTI"].spots[:, -1])
    assert together <= 0.0 + 1e-12  # e^x + e^-x >= 2


@pytest.mark.parametrize(("first", "joins"), [(499 - 249, False), (499 - 250, True)])
def test_an_asset_joins_with_250_returns_that_are_most_of_the_leaders(first, joins):
    """R8; else it falls with the leader, and takes no rows from it."""
    short = without(BTC, slice(0, first))
    found = joint_paths({"ETH": ETH, "BTC": short}, horizon_days=10)
    # 250 returns leave 230 shocks, under 60 % of the leader's 479
    assert found["BTC"].method == EWMA_STUDENT
    same(found["ETH"], spot_paths(ETH.daily_close, spot=ETH.spot, horizon_days=10))
    recent = {name: without(asset, slice(0, 180)) for name, asset in (("ETH", ETH), ("BTC", short))}
    found = joint_paths(recent, horizon_days=10)
    assert (found["BTC"].method == FILTERED_HISTORICAL) is joins
    assert found["BTC"].spots.shape == found["ETH"].spots.shape


def test_short_history_falls_with_the_leader_to_the_student_quantile():
    short = Asset(daily_close=np.full(500, NAN), spot=10.0)
    found = joint_paths({"ETH": ETH, "NEW": short}, horizon_days=10)
    order = np.argsort(found["ETH"].spots[:, -1], kind="stable")
    assert (np.diff(found["NEW"].spots[order, -1]) > 0.0).all()
    assert (found["NEW"].warmed, found["NEW"].vol) == (False, 0.60)
    count = order.size
    level = 10.0 * math.exp(-3.746947388 * 0.60 * math.sqrt(10 / 365))  # t(4) at 1 %
    assert value_at_risk(10.0 - found["NEW"].spots[:, -1]) == pytest.approx(10.0 - level, rel=0.05)
    assert count == 499 - 20 - 9
    np.testing.assert_allclose(np.diff(np.log(found["NEW"].spots), axis=1).std(axis=1), 0.0, atol=1e-12)


def test_no_long_history_takes_the_same_quantile_on_each_row():
    assets = {name: Asset(daily_close=np.full(5, NAN), spot=1.0) for name in ("ETH", "BTC")}
    found = joint_paths(assets, horizon_days=10)
    np.testing.assert_array_equal(found["ETH"].spots, found["BTC"].spots)
    np.testing.assert_array_equal(
        found["ETH"].spots, spot_paths(np.empty(0), spot=1.0, horizon_days=10).spots
    )
    assert joint_paths({}, horizon_days=10) == {}


def test_disjoint_histories_do_not_pretend_to_be_joint():
    old, new = without(ETH, slice(250, 500)), without(BTC, slice(0, 250))
    found = joint_paths({"NEW": new, "OLD": old}, horizon_days=10, min_returns=200)
    assert found["NEW"].method == FILTERED_HISTORICAL
    assert found["OLD"].method == EWMA_STUDENT
    assert found["NEW"].spots.shape == found["OLD"].spots.shape


def test_an_asset_torn_to_pieces_does_not_lead_nor_join():
    """Two days in ten are missing: no run of ten days is left, though 300 returns are known."""
    torn = without(BTC, *(slice(at, at + 2) for at in range(5, 500, 10)))
    assert spot_paths(torn.daily_close, spot=1.0, horizon_days=10).returns_known >= 300
    for assets in ({"BTC": torn, "ETH": ETH}, {"ETH": ETH, "BTC": torn}):
        found = joint_paths(assets, horizon_days=10)
        same(found["ETH"], spot_paths(ETH.daily_close, spot=ETH.spot, horizon_days=10))
        assert found["BTC"].method == EWMA_STUDENT
        assert found["BTC"].spots.shape == found["ETH"].spots.shape


@settings(max_examples=20)
@given(
    firsts=st.tuples(st.integers(0, 499), st.integers(0, 499)),
    every=st.tuples(st.integers(8, 400), st.integers(8, 400)),
    hole=st.integers(1, 3),
    horizon=st.integers(1, 11),
)
def test_all_assets_have_as_many_rows_whatever_is_missing(firsts, every, hole, horizon):
    assets = {
        name: without(asset, slice(0, first), *(slice(at, at + hole) for at in range(first, 500, step)))
        for (name, asset), first, step in zip({"ETH": ETH, "BTC": BTC}.items(), firsts, every, strict=True)
    }
    found = joint_paths(assets, horizon_days=horizon)
    assert len({paths.spots.shape for paths in found.values()}) == 1
    for name, paths in found.items():
        assert np.isfinite(paths.spots).all()
        np.testing.assert_array_equal(paths.spots[:, 0], assets[name].spot)
    leader = found["ETH"] if found["ETH"].warmed else found["BTC"]
    assert leader.warmed or all(paths.spots.shape[0] == 199 for paths in found.values())


def test_token_has_its_beta_and_its_residual_vol():
    """R8. The residuals hit every row independent of the leader: variances add."""
    leader = joint_paths({"ETH": ETH}, horizon_days=10)
    found = token_paths("UNI", TOKEN, leaders={"ETH": ETH}, paths=leader)
    x, y = ETH_RETURNS[-90:], TOKEN_RETURNS[-90:]
    fit = ols(x, y)
    assert found.follows.fit == pytest.approx(fit)
    assert (found.follows.factor, found.follows.hedgeable) == ("ETH", True)
    paths, eth = found.paths, leader["ETH"]
    assert (paths.method, paths.warmed, paths.returns_known) == (BETA_RESIDUAL, True, 90)
    assert paths.vol == pytest.approx(math.hypot(fit.slope * eth.vol, fit.residual_sd * math.sqrt(365)))
    np.testing.assert_array_equal(paths.spots[:, 0], 7.0)
    own = np.diff(np.log(paths.spots), axis=1) - fit.slope * np.diff(np.log(eth.spots), axis=1)
    assert own.std() == pytest.approx(fit.residual_sd, rel=0.02)
    assert own.mean() == pytest.approx(0.0, abs=2e-3 * fit.residual_sd)
    sums = own.sum(axis=1)
    assert sums.std() == pytest.approx(fit.residual_sd * math.sqrt(10), rel=0.1)  # days are independent
    assert abs(np.corrcoef(sums, moves(eth))[0, 1]) < 0.15


def test_each_residual_stands_on_as_many_rows_as_any_other():
    leader = ranked_paths(spot_paths(np.empty(0), spot=1.0, horizon_days=3), ETH)
    raw = np.array([-0.03, -0.01, 0.01, 0.03])
    found = beta_paths(leader, "UNI", spot=1.0, fit=Fit(0.0, 0.0, 0.0, 0.05, 4, 1.0), residual_returns=raw)
    steps = np.diff(np.log(found.spots), axis=1)
    for day in range(3):
        values, counts = np.unique(np.round(steps[:, day], 12), return_counts=True)
        np.testing.assert_allclose(values, raw * 0.05 / math.sqrt(np.mean(raw**2)))
        assert counts.max() - counts.min() <= 1


def test_residuals_depend_on_the_name_alone():
    """Another token is independent, the same one the same; nothing else is remembered."""
    leader = joint_paths({"ETH": ETH}, horizon_days=10)["ETH"]
    fit = ols(ETH_RETURNS[-90:], TOKEN_RETURNS[-90:])
    own = residuals(ETH_RETURNS[-90:], TOKEN_RETURNS[-90:], fit)

    def of(name):
        return moves(beta_paths(leader, name, spot=1.0, fit=fit._replace(slope=0.0), residual_returns=own))

    np.testing.assert_array_equal(of("UNI"), of("UNI"))
    assert abs(np.corrcoef(of("UNI"), of("SUSHI"))[0, 1]) < 0.15
    missing = np.insert(own, 3, NAN)
    np.testing.assert_array_equal(
        moves(beta_paths(leader, "UNI", spot=1.0, fit=fit._replace(slope=0.0), residual_returns=missing)),
        of("UNI"),
    )


@pytest.mark.parametrize("beta", [1.0, 0.5, -2.0, 0.0])
def test_without_residuals_a_token_is_the_power_of_its_leader(beta):
    leader = joint_paths({"ETH": ETH}, horizon_days=10)["ETH"]
    fit = Fit(beta, 0.0, 1.0, 0.0, 90, 1.0)
    found = beta_paths(leader, "stETH", spot=2.0, fit=fit, residual_returns=np.zeros(90))
    np.testing.assert_allclose(found.spots, 2.0 * (leader.spots / leader.spots[:, :1]) ** beta, rtol=1e-12)


def test_past_drift_of_a_token_is_no_forecast():
    leader = joint_paths({"ETH": ETH}, horizon_days=10)
    drift = Asset(daily_close=TOKEN.daily_close * 1.02 ** np.arange(500), spot=7.0)
    plain, drifting = (
        token_paths("UNI", asset, leaders={"ETH": ETH}, paths=leader).paths for asset in (TOKEN, drift)
    )
    np.testing.assert_allclose(drifting.spots, plain.spots, rtol=1e-9)


def test_a_weak_beta_gives_paths_but_no_hedge():
    """R8: the residual vol is in the paths; the rest is basis risk, not a hedge by ETH."""
    loner = Asset(daily_close=closes(0.3 * ETH_RETURNS + RNG.normal(0.0, 0.05, 499)), spot=1.0)
    leader = joint_paths({"ETH": ETH}, horizon_days=10)
    found = token_paths("DOGE", loner, leaders={"ETH": ETH}, paths=leader)
    assert found.follows.hedgeable is False
    assert found.paths.method == BETA_RESIDUAL
    assert found.paths.vol > 0.04 * math.sqrt(365)


def test_token_follows_the_better_leader_on_its_rows():
    leaders = {"BTC": BTC, "ETH": ETH}
    paths = joint_paths(leaders, horizon_days=10)
    found = token_paths("UNI", TOKEN, leaders=leaders, paths=paths)
    assert found.follows.factor == "ETH"
    assert np.corrcoef(moves(found.paths), moves(paths["ETH"]))[0, 1] > 0.7


@pytest.mark.parametrize(("known", "method"), [(54, EWMA_STUDENT), (55, BETA_RESIDUAL)])
def test_a_young_token_falls_with_the_first_leader(known, method):
    """54 returns of 90 are needed for a beta: 55 closes."""
    young = without(TOKEN, slice(0, 500 - known))
    paths = joint_paths({"ETH": ETH}, horizon_days=10)
    found = token_paths("NEW", young, leaders={"ETH": ETH}, paths=paths)
    assert found.paths.method == method
    assert found.paths.spots.shape == paths["ETH"].spots.shape
    if method == EWMA_STUDENT:
        assert found.paths.warmed is False
        assert found.follows.factor == ""
        assert "no beta: 53 of 90" in found.follows.because
        assert found.paths.vol >= 0.60
        np.testing.assert_array_equal(np.argsort(moves(found.paths)), np.argsort(moves(paths["ETH"])))


def test_leader_without_history_still_carries_its_tokens():
    leaders = {"ETH": without(ETH, slice(0, 350))}
    paths = joint_paths(leaders, horizon_days=10)
    found = token_paths("UNI", TOKEN, leaders=leaders, paths=paths)
    assert (found.paths.method, found.paths.warmed) == (BETA_RESIDUAL, False)
    assert found.paths.spots.shape == (199, 11)


@pytest.mark.parametrize(
    "call",
    [
        lambda: joint_paths({"ETH": ETH, "BTC": Asset(daily_close=np.ones(9), spot=1.0)}, horizon_days=10),
        lambda: joint_paths({"ETH": Asset(daily_close=np.ones(9), spot=0.0)}, horizon_days=10),
        lambda: joint_paths({"ETH": Asset(daily_close=np.ones(9), spot=NAN)}, horizon_days=10),
        lambda: joint_paths({"ETH": ETH}, horizon_days=0),
        lambda: ranked_paths(
            spot_paths(np.empty(0), spot=1.0, horizon_days=3), Asset(daily_close=np.ones(9), spot=0.0)
        ),
        lambda: beta_paths(
            spot_paths(np.empty(0), spot=1.0, horizon_days=3), "UNI", spot=1.0,
            fit=ols(np.ones(3), np.ones(3)), residual_returns=np.ones(3),
        ),
        lambda: beta_paths(
            spot_paths(np.empty(0), spot=1.0, horizon_days=3), "UNI", spot=1.0,
            fit=Fit(1.0, 0.0, 1.0, 0.1, 3, 1.0), residual_returns=np.full(3, NAN),
        ),
        lambda: token_paths("UNI", Asset(daily_close=np.ones(9), spot=1.0), leaders={"ETH": ETH}, paths={}),
    ],
)  # fmt: skip
def test_senseless_paths_are_refused(call):
    with pytest.raises(InvariantError):
        call()


def test_returns_cross_no_hole_in_a_beta():
    """A token that was not read for a while has fewer pairs, not one large return."""
    torn = without(TOKEN, slice(440, 450))
    paths = joint_paths({"ETH": ETH}, horizon_days=10)
    found = token_paths("UNI", torn, leaders={"ETH": ETH}, paths=paths)
    assert found.follows.fit.pairs == 90 - 11
    assert np.isfinite(log_returns(torn.daily_close)).sum() == 499 - 11
