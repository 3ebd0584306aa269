"""The model file, the fit to a history, the bootstrap."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.model.market import Column
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.market.model import load_market
from bot.simulation.monte_carlo import path_tiles
from bot.simulation.monte_carlo.bootstrap import DailyHistory, read_daily, replay_of
from bot.simulation.monte_carlo.exact_history import HourlyAsset, HourlyPaths, history_of
from bot.simulation.monte_carlo.fit import _Days, _seen, fitted, model_text
from bot.simulation.monte_carlo.model import load_model, parse_model
from bot.simulation.monte_carlo.numbers import implied_from_spot, path_numbers
from bot.simulation.monte_carlo.path_twin import path_keys, replay, walk

MODEL, MARKET = load_model(), load_market()
PACKAGED = Path(path_tiles.__file__).with_name("monte_carlo.toml")


def tables() -> dict:
    return tomllib.loads(PACKAGED.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("regimes", "vol_multiple"), 0.5, "vol_multiple must be a number from 1 to 10, was 0.5"),
        (("assets", "ETH", "vol"), "high", "vol must be a number from 0.01 to 5, was 'high'"),
        (("assets", "ETH", "lean"), float("nan"), "lean must be a number from -0.99 to 0.99, was nan"),
        (("assets", "ETH", "colour"), 1.0, "unknown key colour"),
        (("correlation", "ETH BTC"), 1.5, "must be a number from -0.999 to 0.999, was 1.5"),
        (("correlation", "ETH DOGE"), 0.1, "unknown key ETH DOGE"),
        (("fees",), 3, "must be a table"),
    ],
)
def test_a_wrong_key_is_named(path: tuple[str, ...], value: object, words: str):
    wrong = tables()
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        parse_model(wrong, name="mine.toml")


def test_a_missing_table_and_impossible_pairs_are_named():
    lacking = {name: part for name, part in tables().items() if name != "funding"}
    with pytest.raises(ConfigError, match="missing key funding"):
        parse_model(lacking)
    three = tables()
    three["assets"]["SOL"] = three["assets"]["ETH"]
    three["correlation"] = {"ETH BTC": 0.9, "ETH SOL": 0.9, "BTC SOL": -0.9}
    with pytest.raises(ConfigError, match="no assets can be correlated like this"):
        parse_model(three)


def write_history(folder: Path, model, *, days: int, seed: int = 1) -> None:
    """Write hourly closes of made-up paths of the model, of both assets."""
    import gzip
    from datetime import UTC, datetime

    numbers = path_numbers(model, MARKET, ["ETH", "BTC"], step_days=1.0 / 24.0)
    logs = [[s.x[0] for s in states] for states in walk(numbers, path_keys(seed, 0, 1), days * 24)]
    start = datetime(2021, 1, 1, tzinfo=UTC).timestamp()
    for at, name in enumerate(("eth", "btc")):
        with gzip.open(folder / f"{name}_usdt_spot_1h_binance.csv.gz", "wt") as file:
            file.write("ts,open,high,low,close,volume,src\n")
            for hour, row in enumerate(logs):
                stamp = datetime.fromtimestamp(start + 3600 * hour, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                price = 2000.0 * float(np.exp(row[at]))
                file.write(f"{stamp},{price},{price},{price},{price},1.0,made-up\n")


def test_a_fit_finds_the_model_that_made_the_history(tmp_path: Path):
    regimes = replace(MODEL.regimes, enter_a_year=0.0, jumps_a_year=40.0)
    assets = {name: replace(item, vol_half_life_days=15.0) for name, item in MODEL.assets.items()}
    made = replace(MODEL, regimes=regimes, assets=assets)
    write_history(tmp_path, made, days=700)
    found, history = fitted(made, tmp_path)
    eth = found.assets["ETH"]
    assert eth.vol == pytest.approx(0.55, rel=0.25)
    assert eth.vol_spread == pytest.approx(0.37, rel=0.4)
    assert 6.0 < eth.vol_half_life_days < 40.0
    assert eth.jump_sd == pytest.approx(0.056, rel=0.4)
    assert 15.0 < found.regimes.jumps_a_year < 50.0  # the small ones are not told from the noise
    assert found.correlation[0, 1] == pytest.approx(0.8, abs=0.12)
    again = parse_model(tomllib.loads(model_text(found, history)))
    assert again.assets["BTC"].vol == pytest.approx(found.assets["BTC"].vol, rel=1e-5)


def test_a_fit_needs_a_year(tmp_path: Path):
    write_history(tmp_path, MODEL, days=270)
    with pytest.raises(ConfigError, match="under a year of hours"):
        fitted(MODEL, tmp_path)


def made_up_days() -> DailyHistory:
    """Return 300 days whose return says which day it is, with a hole after the 100th."""
    days = np.concatenate([np.arange(100), np.arange(105, 305)]) * DAY_S
    return DailyHistory(assets=("ETH",), times_s=days, returns=np.linspace(-0.03, 0.03, 300)[None, :])


def test_blocks_run_day_by_day_and_never_over_a_hole():
    history = made_up_days()
    made, numbers = replay_of(history, path_numbers(MODEL, MARKET, ["ETH"], step_days=1.0), MODEL, ["ETH"])
    returns = made.returns[0]
    found = np.array([s[0].moved.copy() for s in replay(numbers, made, path_keys(3, 0, 2_000), 60)])[1:]
    place = np.searchsorted(returns, found)
    assert set(np.unique(place)) == set(range(300))  # only returns of the history, and all of them
    follows = np.diff(place, axis=0) == 1
    assert follows.mean() == pytest.approx(0.9, abs=0.01)  # blocks of 10 days on average
    assert not ((place[:-1] == 99) & (place[1:] == 100)).mean() > 0.02  # a jump there is chance
    assert np.exp(returns.astype(np.float64)).mean() == pytest.approx(1.0, abs=1e-6)


def test_the_bootstrap_kernel_has_the_twins_bits():
    from bot.settings import named_policy
    from bot.simulation.exposures import parse_exposure
    from bot.simulation.monte_carlo import measure_tiles as measure
    from bot.simulation.monte_carlo.hedge_twin import hedge_paths
    from bot.simulation.monte_carlo.run import run, set_up

    specs, policies = [parse_exposure("v2:ETH/USDC:1000000")], [named_policy("fortress")]
    setup = set_up(MODEL, MARKET, specs, policies, paths=300, steps=25, seed=5, history=made_up_days())
    states = replay(setup.paths, setup.replay, path_keys(5, 0, 300), 25)
    twin = hedge_paths(states, setup.hedge, policy=0, steps=25, step_days=1.0)
    kept = run(setup).kept
    np.testing.assert_array_equal(kept[0, measure.END], twin.bare[-1])
    np.testing.assert_array_equal(kept[1, measure.END], twin.worth[-1])


def test_too_little_history_is_refused(tmp_path: Path):
    write_history(tmp_path, MODEL, days=40)
    with pytest.raises(ConfigError, match="the bootstrap needs 250"):
        read_daily(tmp_path, ["ETH", "BTC"])


def test_an_exact_path_reads_as_history_with_the_models_implied_vol():
    from bot.model.market import Metric
    from bot.settings import named_policy
    from bot.simulation.exposures import parse_exposure
    from bot.simulation.monte_carlo.run import set_up

    spec = parse_exposure("v2:ETH/USDC:1000000")
    setup = set_up(MODEL, MARKET, [spec], [named_policy("steward")], paths=1, steps=2, seed=5)
    hours = 420 * 24 + 48 + 1
    logs, ivs = np.linspace(0.0, 0.1, hours)[:, None], np.linspace(0.6, 0.9, hours)[:, None]
    own = HourlyAsset(spot_usd=2800.0, logs=logs, ivs=ivs, fundings=np.full((hours, 1), 0.1))
    bitcoin = HourlyAsset(spot_usd=9e4, logs=0.5 * logs, ivs=0.8 * ivs, fundings=np.full((hours, 1), 0.1))
    history = history_of(setup, spec, HourlyPaths(first=420 * 24, own=own, bitcoin=bitcoin), 0)
    level, _ = history.columns.latest(Metric.IV_30D, "ETH")
    assert level == pytest.approx(0.9, rel=1e-6)
    assert history.columns.latest(Metric.VOL_INDEX, "ETH")[0] == pytest.approx(0.9, rel=1e-6)
    assert history.columns.latest(Metric.VOL_INDEX, "BTC")[0] == pytest.approx(0.72, rel=1e-6)
    logs = logs[:, 0]
    assert history.price.values[-1] == pytest.approx(2800.0 * np.exp(logs[-1] - logs[420 * 24]))
    assert history.to_s - history.from_s == 2 * DAY_S


def test_kicks_and_lean_are_the_indexs_where_there_is_one():
    """The index steps up 3 % in the hour of each fall and moves against the day's return: kick x what of the
    implied variance follows the vol is 0.03, lean is close to -1.
    """
    random = np.random.default_rng(4)
    returns, hours = random.normal(0.0, 0.03, 200), np.arange(200 * 24 + 1, dtype=np.float64)
    falls = np.arange(40, 140, 5) * 24.0 + 7.0
    jumps = np.where(np.isin(np.arange(200), falls // 24.0), -0.08, 0.0)
    level = -5.0 * np.interp(hours, np.arange(201) * 24.0, np.concatenate([[0.0], np.cumsum(returns)]))
    drift = level[(falls + 1.0).astype(int)] - level[(falls - 1.0).astype(int)]
    level += 0.03 * (falls[None, :] <= hours[:, None]).sum(axis=1)
    days = _Days(
        first_day=0,
        vols=np.full(200, 0.6),
        returns=returns,
        jumps=jumps,
        falls_s=falls * HOUR_S,
        spot_usd=1.0,
    )
    asset = MODEL.assets["ETH"]
    found = _seen(asset, days, Column(times_s=hours * HOUR_S, values=np.exp(level)), MODEL)
    base, slope = implied_from_spot(asset, MODEL, in_crisis=False)
    follows = slope * asset.vol**2 / (base + slope * asset.vol**2)
    assert found.vol_kick == pytest.approx((0.03 + drift.mean()) / follows, rel=1e-9)
    assert found.lean < -0.85
    assert _seen(asset, days, Column(times_s=hours[:2], values=np.ones(2)), MODEL) == asset  # nothing seen
