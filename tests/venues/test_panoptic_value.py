"""The payoff of a put on a range, the premium to expect, its effective life: pure, against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import VenueRejected
from bot.model.hedge import Instrument, OptionType
from bot.model.signing import ApprovalRule, CallRule
from bot.quant import options
from bot.venues.panoptic import panoptic_venue
from bot.venues.panoptic_quotes import chunk_of, free_token_id
from bot.venues.panoptic_reads import margin_raw, notional_raw
from bot.venues.panoptic_terms import Chunk, PanopticContracts, effective_days
from bot.venues.panoptic_token_id import MAX_RATIO, amounts_of, liquidity_of, price_of_tick, sqrt_ratio_x96
from bot.venues.panoptic_value import expected_premium, range_payoff, spread_multiplier

LOW, HIGH = 2_000.0, 3_200.0
STRIKE = math.sqrt(LOW * HIGH)
CONTRACTS = PanopticContracts(
    pool="0x" + "01" * 20,
    uniswap_pool="0x" + "02" * 20,
    unit_token="0x" + "03" * 20,
    cash_token="0x" + "04" * 20,
    unit_tracker="0x" + "05" * 20,
    cash_tracker="0x" + "06" * 20,
    router="0x" + "07" * 20,
)


def test_the_payoff_is_a_puts_far_from_the_range() -> None:
    assert float(range_payoff(HIGH, LOW, HIGH)) == pytest.approx(0.0, abs=1e-9)
    assert float(range_payoff(9_000.0, LOW, HIGH)) == pytest.approx(0.0, abs=1e-9)
    assert float(range_payoff(LOW, LOW, HIGH)) == pytest.approx(STRIKE - LOW)
    assert float(range_payoff(500.0, LOW, HIGH)) == pytest.approx(STRIKE - 500.0)


@given(st.floats(1.0, 20_000.0), st.floats(1.0, 20_000.0))
@settings(max_examples=200)
def test_the_payoff_falls_is_convex_and_never_under_a_puts(first: float, second: float) -> None:
    a, b = sorted((first, second))
    at_a, middle, at_b = (float(range_payoff(x, LOW, HIGH)) for x in (a, (a + b) / 2, b))
    assert at_a >= at_b - 1e-9
    assert middle <= (at_a + at_b) / 2 + 1e-9
    assert at_a >= max(STRIKE - a, 0.0) - 1e-9


@given(st.floats(1_500.0, 4_000.0))
@settings(max_examples=40)
def test_the_payoff_is_what_uniswaps_amounts_are_worth(spot: float) -> None:
    """The same by the integers of v3: notional in cash less what the chunk is at the price."""
    lower, upper = -200_400, -195_600  # of WETH (18) in USDC (6)
    low, high = (price_of_tick(tick, decimals0=18, decimals1=6) for tick in (lower, upper))
    liquidity = liquidity_of(10**18, asset=0, lower=lower, upper=upper)
    sqrt_price = int(math.sqrt(spot * 1e-12) * 2**96)
    weth, usdc = amounts_of(liquidity, sqrt_price_x96=sqrt_price, lower=lower, upper=upper)
    strike = amounts_of(liquidity, sqrt_price_x96=sqrt_ratio_x96(upper), lower=lower, upper=upper)[1]
    inner = strike / 1e6 - usdc / 1e6 - weth / 1e18 * spot
    assert float(range_payoff(spot, low, high)) == pytest.approx(inner, abs=0.01)


@pytest.mark.parametrize("iv", [0.3, 0.8, 1.5])
def test_a_narrow_range_costs_the_time_value_of_the_european_put(iv: float) -> None:
    """As the range narrows its payoff is the put's, so the expected premium is Black-Scholes' time value."""
    narrow = (STRIKE / 1.001, STRIKE * 1.001)
    for spot in (2_000.0, 2_500.0, 3_000.0):
        found = expected_premium(spot, *narrow, years=30 / 365, iv=iv)
        value = float(options.price(spot, STRIKE, 30 / 365, iv, is_put=True))
        assert found == pytest.approx(value - max(STRIKE - spot, 0.0), abs=STRIKE * 0.004)


@given(st.floats(500.0, 9_000.0), st.floats(0.01, 1.0), st.floats(0.1, 2.0))
@settings(max_examples=60)
def test_expected_premium_is_that_of_a_simulation(spot: float, years: float, iv: float) -> None:
    draws = np.random.default_rng(7).standard_normal(200_000)
    total = iv * math.sqrt(years)
    ends = spot * np.exp(total * draws - total * total / 2)
    payoffs = range_payoff(ends, LOW, HIGH)
    wanted = max(float(payoffs.mean() - range_payoff(spot, LOW, HIGH)), 0.0)
    error = 5 * float(payoffs.std()) / math.sqrt(len(draws)) + 0.5
    assert expected_premium(spot, LOW, HIGH, years=years, iv=iv) == pytest.approx(wanted, abs=error)


@pytest.mark.parametrize("width", [20, 120, 480, 1_500])
@pytest.mark.parametrize("iv", [0.5, 0.8, 1.2])
def test_the_effective_life_is_that_of_the_option_of_equal_gamma(width: int, iv: float) -> None:
    days = effective_days(width, tick_spacing=10, iv=iv)
    half = 1.0001 ** (width * 5)
    strike = 2_500.0
    step = strike * 1e-3
    values = [float(range_payoff(strike + x, strike / half, strike * half)) for x in (-step, 0.0, step)]
    gamma = (values[0] - 2 * values[1] + values[2]) / step**2
    years = days / 365
    at_strike = 1.0 / (strike * iv * math.sqrt(2 * math.pi * years))  # Black-Scholes with d1 = 0
    if width > 20:  # a narrower range than the step has no gamma of its own
        assert gamma == pytest.approx(at_strike, rel=0.01)
    assert days == pytest.approx(effective_days(width, tick_spacing=10, iv=2 * iv) * 4)


def test_a_chunk_that_is_bought_up_costs_more() -> None:
    assert spread_multiplier(100.0, 0.0, vegoid=8) == 1.0
    assert spread_multiplier(100.0, 200.0, vegoid=8) == pytest.approx(1.25)
    assert spread_multiplier(0.0, 1.0, vegoid=8) == math.inf


def test_margin_is_ten_per_cent_and_the_buffer_rounded_up() -> None:
    assert margin_raw(10**9, buyer_ratio=1_000_000, buffer=10_666_667) == 106_666_670 + 2
    chunk = Chunk(strike=-198_000, width=480)
    cash = notional_raw(chunk, 10**18, unit_index=0, tick_spacing=10)
    assert cash / 1e6 == pytest.approx(price_of_tick(-198_000, decimals0=18, decimals1=6), rel=1e-6)


def test_names_of_chunks_are_read_back() -> None:
    chunk = Chunk(strike=-196_920, width=12)
    option = Instrument(
        venue="panoptic",
        id=chunk.id,
        underlying="ETH",
        option_type=OptionType.PUT,
        strike_usd=2_808.0,
        expiry_s=1,
        settlement="USDC",
    )
    assert chunk_of(option) == chunk
    for wrong in ("strike:7", "put:1", "put:x:12", "call:1:2", "put:1:-2", "put:1:2:3"):
        with pytest.raises(VenueRejected, match="none of Panoptic's"):
            chunk_of(Instrument(**{**_fields(option), "id": wrong}))


def _fields(option: Instrument) -> dict[str, object]:
    return {name: getattr(option, name) for name in Instrument.__dataclass_fields__}


def test_every_ratio_can_be_taken_once() -> None:
    chunk, held = Chunk(strike=-196_950, width=480), []
    for ratio in range(1, MAX_RATIO + 1):
        token_id = free_token_id(chunk, held, 7, unit_index=0)
        assert token_id.legs[0].ratio == ratio
        held.append(token_id.value)
    with pytest.raises(VenueRejected, match="all 127"):
        free_token_id(chunk, held, 7, unit_index=0)


def test_closing_stays_possible_while_paused_and_nothing_goes_elsewhere() -> None:
    venue = panoptic_venue(reader=None, contracts=CONTRACTS)  # type: ignore[arg-type]
    rules = [rule for rule in venue.permissions() if isinstance(rule, CallRule)]
    grants = [rule for rule in venue.permissions() if isinstance(rule, ApprovalRule)]
    opening = {(rule.target, rule.name) for rule in rules if rule.opens}
    assert opening == {(CONTRACTS.pool, "dispatch"), (CONTRACTS.cash_tracker, "deposit")}
    assert [rule.zeros for rule in rules if rule.name == "dispatch" and not rule.opens] == [((2,),)]
    for rule in rules:
        assert rule.recipients or rule.name == "dispatch"
    assert [rule.opens for rule in grants] == [True, False, False]
