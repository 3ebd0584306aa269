"""Laws of the made-up history: it joins the live rows, depends on names alone, and warms every signal."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from bot.devnet.history import HISTORY_DAYS, history
from bot.devnet.scenarios import FIRST_POINT_S, MarketPoint, market_path, playable
from bot.errors import InvariantError
from bot.model.market import Columns, Metric, Observation, SeriesKey, columns_from
from bot.model.tier import Family, Quality, Reading
from bot.signals import read_signals
from bot.signals.policy import SignalsPolicy
from bot.simulation.stress.description import Scenario

POOLS = ("v2:ETH/USDC", "v3:ETH/USDC")
QUOTE_USD = 15_000_000.0
FEED = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD")


def levels_at(point: MarketPoint, first: MarketPoint) -> dict[SeriesKey, float]:
    """What the watchers of a devnet would read, with two wide pools."""
    spot, pool = point.eth_usd, point.eth_usd * (1.0 + point.pool_gap)
    share = point.lp_share / first.lp_share
    money = share * math.sqrt(spot / first.eth_usd)
    levels = {
        FEED: spot,
        SeriesKey(Metric.PRICE_USD, "ETH", "twap:v3:ETH/USDC"): pool,
        SeriesKey(Metric.PRICE_USD, "sUSD", "twap:v3:sUSD/USDC"): point.stable_usd,
        SeriesKey(Metric.POOL_PRICE_USD, "v3:sUSD/USDC", "pool"): point.stable_usd,
        SeriesKey(Metric.FUNDING_APR, "ETH", "perp_v2"): point.funding_premium * 365.0,
        SeriesKey(Metric.IV_7D, "ETH", "lyra"): point.iv_7d,
        SeriesKey(Metric.IV_30D, "ETH", "lyra"): point.iv_30d,
        SeriesKey(Metric.IV_90D, "ETH", "lyra"): point.iv_90d,
        SeriesKey(Metric.VOL_INDEX, "ETH", "lyra"): point.iv_30d,
        SeriesKey(Metric.TOKEN_UNITS, "v2:ETH/USDC/WETH", "balances"): 5_000.0 * share**2 / money,
        SeriesKey(Metric.TOKEN_UNITS, "v2:ETH/USDC/USDC", "balances"): QUOTE_USD * money,
    }
    for label in POOLS:
        levels |= {
            SeriesKey(Metric.POOL_PRICE_USD, label, "pool"): pool,
            SeriesKey(Metric.POOL_LIQUIDITY, label, "pool"): 300_000.0 * share,
            SeriesKey(Metric.POOL_QUOTE_USD, label, "pool"): QUOTE_USD * money,
            SeriesKey(Metric.POOL_QUOTE_NEAR_USD, label, "pool"): 0.01 * QUOTE_USD * money,
            SeriesKey(Metric.POOL_DEPTH_USD, label, "pool"): 0.01 * QUOTE_USD * money,
        }
    return levels


def made(scenario: Scenario, seed: int) -> list[Observation]:
    first = market_path(scenario, seed)[0]
    return history(scenario, seed, levels=levels_at(first, first), end_s=first.at_s)


@pytest.fixture(params=map(playable, ("calm", "terra")), ids=lambda scenario: scenario.name)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return request.param


def test_every_series_has_one_row_an_hour_up_to_the_hour_before_the_path(scenario: Scenario) -> None:
    columns = columns_from(made(scenario, 1))
    assert set(columns.series) == set(levels_at(market_path(scenario, 1)[0], market_path(scenario, 1)[0]))
    for column in columns.series.values():
        assert len(column.times_s) == HISTORY_DAYS * 24
        assert set(np.diff(column.times_s)) == {3_600.0}
        assert column.times_s[-1] == FIRST_POINT_S - 3_600


def test_rows_are_oldest_first(scenario: Scenario) -> None:
    times = [row.observed_at_s for row in made(scenario, 1)]
    assert times == sorted(times)


@pytest.mark.parametrize("seed", range(1, 6))
def test_history_joins_the_levels_without_a_jump_and_is_not_constant(scenario: Scenario, seed: int) -> None:
    first = market_path(scenario, seed)[0]
    columns = columns_from(made(scenario, seed))
    for key, level in levels_at(first, first).items():
        values = columns[key].values
        jump = abs(values[-1] - level) if key.metric is Metric.FUNDING_APR else abs(values[-1] / level - 1.0)
        assert jump < (0.03 if key.metric is Metric.FUNDING_APR else 0.02), key
        assert np.isfinite(values).all()
        assert values.std() > 0.0, key


def test_the_price_history_realises_its_vol(scenario: Scenario) -> None:
    close = columns_from(made(scenario, 3))[FEED].values
    vol = np.diff(np.log(close)).std() * 8_760**0.5
    assert 0.40 < vol <= 0.62
    assert np.abs(np.log(close / close[-1])).max() < 0.17


def test_the_same_seed_gives_the_same_rows(scenario: Scenario) -> None:
    assert made(scenario, 4) == made(scenario, 4)
    assert made(scenario, 4) != made(scenario, 5)


def test_a_series_does_not_depend_on_which_others_are_asked_for(scenario: Scenario) -> None:
    levels = {SeriesKey(Metric.POOL_LIQUIDITY, "v2:ETH/USDC", "pool"): 300_000.0}
    alone = columns_from(history(scenario, 1, levels=levels, end_s=FIRST_POINT_S))
    for key in levels:
        assert (alone[key].values == columns_from(made(scenario, 1))[key].values).all()


def test_what_belongs_to_one_pool_moves_together(scenario: Scenario) -> None:
    columns = columns_from(made(scenario, 1))
    quote, near, liquidity = (
        columns[SeriesKey(metric, "v2:ETH/USDC", "pool")].values
        for metric in (Metric.POOL_QUOTE_USD, Metric.POOL_QUOTE_NEAR_USD, Metric.POOL_LIQUIDITY)
    )
    assert near / quote == pytest.approx(0.01)
    price = columns[FEED].values
    assert quote / liquidity / np.sqrt(price) == pytest.approx(quote[0] / liquidity[0] / price[0] ** 0.5)
    units = [
        columns[SeriesKey(Metric.TOKEN_UNITS, f"v2:ETH/USDC/{token}", "balances")].values
        for token in ("WETH", "USDC")
    ]
    assert units[1] / units[0] / price == pytest.approx(units[1][0] / units[0][0] / price[0])


def test_an_unknown_level_is_refused(scenario: Scenario) -> None:
    with pytest.raises(InvariantError, match="price_usd:ETH"):
        history(scenario, 1, levels={FEED: math.nan}, end_s=FIRST_POINT_S)


# --- what the signals make of history and path -------------------------------------------------------------


def family_scores(columns: Columns, now_s: float) -> tuple[list[float], list[float]]:
    """(TECHNICAL, ONCHAIN) scores, each signal's highest, falling; nothing may be warming or missing."""
    readings = read_signals(columns, now_s=now_s, policy=SignalsPolicy())
    for reading in readings:
        assert reading.quality in (Quality.LIVE, Quality.ABSENT), reading
    return tuple(  # type: ignore[return-value]
        sorted((max(scores) for scores in by_signal(readings, family).values()), reverse=True)
        for family in (Family.TECHNICAL, Family.ONCHAIN)
    )


def by_signal(readings: Sequence[Reading], family: Family) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = {}
    for reading in readings:
        if reading.counts and reading.family is family:
            scores.setdefault(reading.signal, []).append(reading.score)
    return scores


def whole(scenario: Scenario, seed: int) -> Columns:
    path = market_path(scenario, seed)
    rows = made(scenario, seed)
    for point in path:
        rows += [
            Observation(
                metric=key.metric, subject=key.subject, source=key.source, value=value,
                observed_at_s=point.at_s, read_at_s=point.at_s,
            )
            for key, value in levels_at(point, path[0]).items()
        ]  # fmt: skip
    return columns_from(rows)


def at(columns: Columns, now_s: float) -> Columns:
    return Columns(series={key: column.until(now_s) for key, column in columns.series.items()})


def test_nothing_is_warming_at_the_first_point(scenario: Scenario) -> None:
    technical, onchain = family_scores(at(whole(scenario, 1), FIRST_POINT_S), FIRST_POINT_S)
    assert len(technical) >= 5
    assert len(onchain) >= 4


def asks_for_guarded(technical: list[float]) -> bool:
    """R1: TECHNICAL votes by its two highest scores, and GUARDED wants its third over vote_off too."""
    return sum(technical[:2]) / 2 > 0.5 and technical[2] > 0.35


def test_calm_hardly_ever_asks_for_a_tier() -> None:
    """R1: ONCHAIN stays at rest; TECHNICAL's noise asks for GUARDED at no two points in a row."""
    scenario, asked = playable("calm"), 0
    for seed in (1, 5, 9, 13, 17):
        columns, before = whole(scenario, seed), False
        for point in market_path(scenario, seed)[::6]:
            technical, onchain = family_scores(at(columns, point.at_s), point.at_s)
            assert max(onchain) == 0.0
            asks = asks_for_guarded(technical)
            assert not (asks and before), (seed, point.at_s)
            asked, before = asked + asks, asks
    assert asked <= 2  # of 185


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_terra_wakes_the_families_in_time_and_fully(seed: int) -> None:
    """R1: no vote in the first 40 hours, two votes before the crash, one family over 0.75 at the low."""
    scenario = playable("terra")
    path, columns = market_path(scenario, seed), whole(playable("terra"), seed)
    for hour in (6, 18, 30, 40):
        technical, onchain = family_scores(at(columns, path[hour].at_s), path[hour].at_s)
        assert sum(onchain[:2]) / 2 < 0.5
        assert not asks_for_guarded(technical)
    before = family_scores(at(columns, path[120].at_s), path[120].at_s)
    assert all(sum(scores[:2]) / 2 > 0.5 for scores in before)
    low = family_scores(at(columns, path[175].at_s), path[175].at_s)
    assert max(sum(scores[:2]) / 2 for scores in low) > 0.75
    assert min(sum(scores[:2]) / 2 for scores in low) > 0.5
