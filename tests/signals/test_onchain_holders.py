"""S1, S2 and S3 of pools of stables, vaults, lending markets, bridges and treasuries."""

import dataclasses
import math

import numpy as np
import pytest
from signals.series import PRICE, columns_of, end_s, hourly

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Quality
from bot.signals import SIGNALS
from bot.signals.onchain_policy import OnchainPolicy
from bot.signals.policy import SignalsPolicy

HOURS = 60
DAYS_31 = 31 * 24 + 24


def policy_with(**onchain):
    return SignalsPolicy(onchain=dataclasses.replace(OnchainPolicy(), **onchain))


POLICY = policy_with()


def key(metric, subject, source):
    return SeriesKey(metric, subject, source)


def units(subject, values, *, source="balances"):
    return {key(Metric.TOKEN_UNITS, subject, source): hourly(values)}


def read(name, series, *, hours, policy=POLICY):
    return SIGNALS[name].read(Columns(series=series), now_s=end_s(hours), policy=policy)


def read_one(name, series, *, hours, policy=POLICY):
    (reading,) = read(name, series, hours=hours, policy=policy)
    return reading


def then(last, *, first=100.0, hours=HOURS):
    """Return a level that stood until the last hour."""
    return [first] * (hours - 1) + [last]


@pytest.mark.parametrize(
    ("last", "score"), [(101.0, 0.0), (97.0, 0.0), (92.5, 0.5), (92.0, 0.555555556), (88.0, 1.0), (0.0, 1.0)]
)
@pytest.mark.parametrize(
    ("subject", "source"), [("sdai/DAI", "erc4626"), ("arbitrum/DAI", "lockbox"), ("silo/DAI", "balances")]
)
def test_s1_scores_the_tokens_that_left_a_vault_or_bridge(subject, source, last, score):
    reading = read_one("S1", units(subject, then(last), source=source), hours=HOURS)
    assert reading.quality is Quality.LIVE
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert (reading.subject, reading.source) == (subject.split("/")[0], f"{source}:DAI")


def test_s1_reports_the_price_part_apart():
    """ETH fell by 20 % while 5 % of the amount left: 5 % scores."""
    series = units("silo/WETH", then(95.0)) | {PRICE: hourly(then(2400.0, first=3000.0))}
    reading = read_one("S1", series, hours=HOURS)
    assert reading.value == pytest.approx(-0.05)
    assert reading.because == (
        "WETH -5.0% from its 48 h high, stress from -3% to -12%; price part -20.0%, not scored"
    )


@pytest.mark.parametrize("usd", [1500.0, 3000.0, 6000.0])
def test_s1_of_one_token_does_not_depend_on_its_price(usd):
    series = units("silo/WETH", then(95.0)) | {PRICE: hourly(then(usd, first=3000.0))}
    assert read_one("S1", series, hours=HOURS).value == pytest.approx(-0.05)


def test_s1_adds_tokens_up_at_the_prices_of_now():
    """100 ETH at 2 000 and 200 000 USDC; half the USDC leaves: a quarter of the value."""
    series = units("silo/WETH", [100.0] * HOURS) | units("silo/USDC", then(100e3, first=200e3))
    series |= {PRICE: hourly(then(2000.0, first=4000.0))}
    reading = read_one("S1", series, hours=HOURS)
    assert reading.value == pytest.approx(-0.25)
    assert (reading.subject, reading.source) == ("silo", "balances")


def test_s1_without_prices_takes_the_worst_token():
    series = units("silo/AAA", [100.0] * HOURS) | units("silo/BBB", then(92.5))
    reading = read_one("S1", series, hours=HOURS)
    assert reading.score == pytest.approx(0.5)
    assert "BBB, worst of 2" in reading.because


def curve(usdc, usdt, *, shares=True):
    usdc, usdt = np.asarray(usdc), np.asarray(usdt)
    found = units("curve:3pool/USDC", usdc, source="curve") | units("curve:3pool/USDT", usdt, source="curve")
    if shares:
        for name, part in (("USDC", usdc), ("USDT", usdt)):
            found[key(Metric.POOL_SHARE, f"curve:3pool/{name}", "curve")] = hourly(part / (usdc + usdt))
    return found


def test_s1_of_a_stable_pool_does_not_take_a_swap_for_a_flow():
    """40 of 100 USDC are bought with USDT: nothing left the pool."""
    reading = read_one("S1", curve(then(60.0), then(140.0)), hours=HOURS)
    assert (reading.value, reading.score) == (pytest.approx(0.0), 0.0)
    left = read_one("S1", curve(then(60.0), then(125.0)), hours=HOURS)
    assert left.value == pytest.approx(-0.075)


def test_s1_reads_a_pool_with_an_lp_supply_once():
    series = units("balancer:A/B/A", then(50.0), source="balancer_v2")
    series |= units("balancer:A/B/B", then(200.0), source="balancer_v2")
    series |= {key(Metric.POOL_LIQUIDITY, "balancer:A/B", "balancer_v2"): hourly(then(97.0))}
    reading = read_one("S1", series, hours=HOURS)
    assert (reading.value, reading.score) == (pytest.approx(-0.03), 0.0)


def lending(idle, utilisation):
    return {
        key(Metric.IDLE_UNITS, "aave/WETH", "aave_v3"): hourly(idle),
        key(Metric.UTILISATION, "aave/WETH", "aave_v3"): hourly(utilisation),
    }


def test_s1_of_a_lending_market_sees_withdrawals_and_no_borrowing():
    """1 000 supplied: 300 idle of which 200 are borrowed, against 75 withdrawn."""
    borrowed = read_one("S1", lending(then(100.0, first=300.0), then(0.9, first=0.7)), hours=HOURS)
    withdrawn = read_one("S1", lending(then(225.0, first=300.0), then(700 / 925, first=0.7)), hours=HOURS)
    assert borrowed.value == pytest.approx(0.0, abs=1e-9)
    assert withdrawn.value == pytest.approx(-0.075)
    assert (withdrawn.subject, withdrawn.source) == ("aave", "aave_v3:WETH")


def test_s1_of_a_market_lent_out_in_full_is_unknown_and_s2_is_full_stress():
    columns = lending(then(0.0, first=300.0, hours=DAYS_31), then(1.0, first=0.7, hours=DAYS_31))
    assert read_one("S1", columns, hours=DAYS_31).quality is Quality.MISSING
    assert read_one("S2", columns, hours=DAYS_31).score == 1.0


@pytest.mark.parametrize(
    ("last", "score"), [(1.02, 0.0), (0.9991, 0.0), (0.9945, 0.5), (0.99, 1.0), (0.5, 1.0)]
)
@pytest.mark.parametrize(
    ("metric", "subject", "source"),
    [(Metric.VIRTUAL_PRICE, "curve:3pool", "curve"), (Metric.EXCHANGE_RATE, "sDAI/DAI", "erc4626")],
)
def test_s1_takes_a_fall_of_a_shares_value_as_a_loss(metric, subject, source, last, score):
    reading = read_one("S1", {key(metric, subject, source): hourly(then(last, first=1.0))}, hours=HOURS)
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert (reading.subject, reading.source) == (subject, f"{source}:{metric}")


@pytest.mark.parametrize("source", ["chainlink:stETH/ETH", "curve:steth"])
def test_s1_takes_no_markets_rate_for_a_vaults(source):
    series = {key(Metric.EXCHANGE_RATE, "stETH/ETH", source): hourly(then(0.5, first=1.0))}
    assert read_one("S1", series, hours=HOURS).quality is Quality.ABSENT


def test_s1_says_an_aggregators_tvl_and_never_scores_it():
    tvl = {key(Metric.TVL_USD, "aave:Ethereum", "defillama"): hourly(then(60e6, first=100e6))}
    tvl |= units("aave:Ethereum/WETH", then(1.0), source="defillama")
    alone = read_one("S1", tvl, hours=HOURS)
    assert (alone.quality, alone.subject) == (Quality.ABSENT, "aave:Ethereum")
    assert "never scores alone" in alone.because
    both = read_one("S1", tvl | lending([300.0] * HOURS, [0.7] * HOURS), hours=HOURS)
    assert both.score == 0.0
    assert "defillama TVL -40.0%, prices in it, not scored" in both.because


def test_s1_does_not_take_redemptions_at_the_destination_for_a_drain():
    series = units("arbitrum/USDC", [100.0] * HOURS, source="lockbox")
    series |= units("arbitrum/USDC", then(50.0), source="minted:nova")
    assert read_one("S1", series, hours=HOURS).score == 0.0


def test_s1_of_a_holder_one_token_of_which_fails_is_held_then_missing():
    """Two hourly sources: the sum is that of the last time at which both were known."""
    lost = [100.0] * 56 + [math.nan] * 4
    series = units("silo/USDC", [100.0] * HOURS) | units("silo/USDT", lost)
    assert read_one("S1", series, hours=59).quality is Quality.HELD
    assert read_one("S1", series, hours=HOURS).quality is Quality.MISSING


def vault(idle, *, left=0.9):
    hours = np.arange(DAYS_31)
    return units("sdai/DAI", 1e6 * left ** (hours / 24.0), source="erc4626") | {
        key(Metric.IDLE_UNITS, "sdai/DAI", "erc4626"): hourly(np.full(hours.size, idle))
    }


def test_s2_of_a_vault_divides_idle_units_by_its_withdrawals():
    """10 % leave each day; the P95 of a falling amount is its oldest days'."""
    found = vault(50e3)
    amount = next(column for key, column in found.items() if key.metric is Metric.TOKEN_UNITS).values
    claim = np.quantile((amount[:-24] - amount[24:])[-720:], 0.95)
    reading = read_one("S2", found, hours=DAYS_31)
    assert reading.value == pytest.approx(50e3 / claim, rel=1e-9)
    assert reading.score == pytest.approx(min(max(2.0 - 50e3 / claim, 0.0), 1.0), abs=2e-9)
    assert (reading.subject, reading.source) == ("sdai", "erc4626:DAI")
    assert read_one("S2", vault(0.0), hours=DAYS_31).score == 1.0


def test_s2_of_a_vault_nobody_left_is_calm_with_a_number():
    reading = read_one("S2", vault(50e3, left=1.0), hours=DAYS_31)
    assert (reading.score, reading.value) == (0.0, pytest.approx(50.0))  # floor: 0.1 % of 1 000 000


def test_s2_of_a_vault_without_amounts_is_absent_with_words():
    series = {key(Metric.IDLE_UNITS, "sdai/DAI", "erc4626"): hourly([1.0] * 10)}
    reading = read_one("S2", series, hours=10)
    assert (reading.quality, reading.subject) == (Quality.ABSENT, "sdai")
    assert "withdrawals are unknown" in reading.because


def test_s2_of_a_vault_is_warming_for_its_window():
    short = read_one("S2", vault(50e3), hours=200)
    assert short.quality is Quality.WARMING
    assert end_s(200) < short.warm_at_s <= end_s(DAYS_31)


@pytest.mark.parametrize(("due", "score"), [(150e3, 0.0), (200e3, 0.5), (300e3, 1.0), (600e3, 1.0)])
def test_s2_of_a_treasury_counts_stables_and_native_coins(due, score):
    """100 WETH at 2 000 and 100 000 USDC; its own token does not count."""
    series = units("dao/WETH", [100.0] * 5) | units("dao/USDC", [100e3] * 5) | units("dao/GOV", [1e9] * 5)
    series |= {PRICE: hourly([2000.0] * 5)}
    policy = policy_with(treasury_obligations=(f"dao={due:.0f}",))
    reading = read_one("S2", series, hours=5, policy=policy)
    assert (reading.subject, reading.value) == ("dao", pytest.approx(300e3 / due))
    assert reading.score == pytest.approx(score, abs=2e-9)
    assert "dao" not in {item.subject for item in read("S1", series, hours=5, policy=policy)}


def test_s2_of_a_treasury_counts_a_stable_at_its_price_and_at_par_at_most():
    policy = policy_with(treasury_obligations=("dao=100",))
    for usd, ratio in ((0.5, 1.0), (1.0, 2.0), (1.1, 2.0)):
        series = units("dao/USDC", [200.0]) | {key(Metric.PRICE_USD, "USDC", "chainlink:x"): hourly([usd])}
        assert read_one("S2", series, hours=1, policy=policy).value == pytest.approx(ratio)


@pytest.mark.parametrize("series", [{}, units("dao/GOV", [1.0]), units("dao/WETH", [1.0])])
def test_s2_of_a_treasury_that_cannot_be_read_is_absent_with_words(series):
    reading = read_one("S2", series, hours=1, policy=policy_with(treasury_obligations=("dao=100",)))
    assert (reading.quality, reading.subject) == (Quality.ABSENT, "dao")
    assert "configured" in reading.because


@pytest.mark.parametrize(
    ("share", "score"), [(0.5, 0.0), (0.55, 0.0), (0.70, 0.5), (0.30, 0.5), (0.85, 1.0), (1.0, 1.0)]
)
def test_s3_measures_shares_against_equal_ones(share, score):
    reading = read_one("S3", curve([share * 100], [(1 - share) * 100]), hours=1)
    assert reading.score == pytest.approx(score, abs=3e-9)
    assert reading.value == pytest.approx(abs(share - 0.5))
    assert (reading.subject, reading.source) == ("curve:3pool", "curve")


def test_s3_distance_is_the_part_of_the_pool_on_the_wrong_side():
    names = [key(Metric.POOL_SHARE, f"curve:4pool/{token}", "curve") for token in "ABCD"]
    shares = (0.45, 0.35, 0.15, 0.05)
    reading = read_one("S3", {name: hourly([x]) for name, x in zip(names, shares, strict=True)}, hours=1)
    assert reading.value == pytest.approx(0.3)  # 20 + 10 points over


@pytest.mark.parametrize("shares", [(0.5, 0.6), (-0.1, 1.1), (math.nan, 0.5), (0.0, 0.0)])
def test_s3_refuses_shares_that_are_none(shares):
    found = {
        key(Metric.POOL_SHARE, f"curve:x/{token}", "curve"): hourly([share])
        for token, share in zip("AB", shares, strict=True)
    }
    assert read_one("S3", found, hours=1).quality is Quality.MISSING


WEIGHTED = ("balancer:BAL/WETH/BAL=0.8", "balancer:BAL/WETH/WETH=0.2")


def weighted(bal, weth):
    return units("balancer:BAL/WETH/BAL", [bal], source="balancer_v2") | units(
        "balancer:BAL/WETH/WETH", [weth], source="balancer_v2"
    )


@pytest.mark.parametrize(("bal_usd", "distance"), [(4.0, 0.0), (2.0, 2 / 15)])
def test_s3_of_a_weighted_pool_compares_value_at_oracle_prices_with_its_weights(bal_usd, distance):
    """2 000 BAL and 1 ETH at 2 000: at 4 USD 8 000 of 10 000, at 2 USD 4 000 of 6 000."""
    prices = {PRICE: hourly([2000.0]), key(Metric.PRICE_USD, "BAL", "chainlink:BAL/USD"): hourly([bal_usd])}
    series = weighted(2000.0, 1.0) | prices
    reading = read_one("S3", series, hours=1, policy=policy_with(share_targets=WEIGHTED))
    assert reading.value == pytest.approx(distance)
    assert reading.subject == "balancer:BAL/WETH"


def test_s3_of_a_weighted_pool_without_a_price_is_absent_and_without_targets_not_read():
    series = weighted(2000.0, 1.0) | {PRICE: hourly([2000.0])}
    reading = read_one("S3", series, hours=1, policy=policy_with(share_targets=WEIGHTED))
    assert "no price of BAL is configured" in reading.because
    assert read_one("S3", series, hours=1).subject == ""


def test_s3_names_a_target_of_a_token_that_the_pool_has_not():
    policy = policy_with(share_targets=("curve:3pool/USDC=0.5", "curve:3pool/DAI=0.5"))
    reading = read_one("S3", curve([50.0], [50.0]), hours=1, policy=policy)
    assert reading.quality is Quality.ABSENT
    assert "share_targets" in reading.because


def test_a_world_of_pools_alone_reads_nothing_of_holders():
    columns = columns_of(LIQUIDITY=hourly([1.0] * HOURS))
    assert [item.subject for item in SIGNALS["S1"].read(columns, now_s=end_s(HOURS), policy=POLICY)] == [
        "v3:ETH/USDC"
    ]
