"""What `alvh plan` says of the quotes and of past moves: smiles, forwards, term structure, realised vols."""

import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import (
    FEED,
    GROUP,
    NOW_S,
    SPOT,
    board,
    calm_columns,
    classic,
    exposure,
    frame,
    hourly,
    option,
    quote,
    set_last,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from bot.engine.group import read_group
from bot.engine.market_view import market_view
from bot.model.hedge import OptionType, ParityTerms
from bot.model.market import Column
from bot.model.units import DAY_S
from bot.quant.options import black76_price
from bot.quant.smile import SmileModel
from bot.quant.svi import Svi, total_variance

POLICY = classic()
STRIKES = np.array([1000.0, 1200.0, 1400.0, 1600.0, 1800.0, 1900.0, 2000.0, 2100.0, 2200.0, 2500.0, 3000.0])
SKEWED = Svi(a=0.01, b=0.05, rho=-0.4, m=0.02, sigma=0.15)  # of 30 days
MONTH = 30.0 / 365.0
NAN = float("nan")


def seen(policy=POLICY, **changes):
    columns = calm_columns()
    at = frame(**({"columns": columns | {FEED: set_last(columns[FEED], SPOT, hours=1)}} | changes))
    return market_view(policy, at, read_group(policy, at, GROUP))


def svi_iv(strike, forward=SPOT, days=30.0, svi=SKEWED):
    """Vols of a smile whose total variance grows in time: free of calendar arbitrage."""
    return float(np.sqrt(total_variance(svi, np.log(strike / forward)) / MONTH))


def skewed(days=30.0, kinds=tuple(OptionType), iv_of=svi_iv, **changes):
    return tuple(
        quote(option(at, days, kind=kind), iv=iv_of(at), **changes) for at in STRIKES for kind in kinds
    )


def only(**changes):
    (expiry,) = seen(**changes).expiries
    return expiry


def test_a_smile_is_read_back_from_its_quotes():
    item = only(quotes=skewed())
    assert item.model is SmileModel.SVI
    assert item.dte == 30.0
    assert item.used == STRIKES.size
    assert item.atm_iv == pytest.approx(svi_iv(SPOT), abs=1e-4)
    assert item.max_error_iv < 1e-3
    assert item.rms_error_iv <= item.max_error_iv
    assert (item.left_out, item.left_out_because, item.arbitrages, item.why_unknown) == (0, "", (), "")


def test_the_skew_is_that_of_the_25_delta_strikes():
    """Each strike is found anew by search over Black's delta on the quoted smile."""
    item = only(quotes=skewed())
    strikes = np.linspace(1200.0, 3000.0, 200_001)
    w = total_variance(SKEWED, np.log(strikes / SPOT))
    d1 = (0.5 * w - np.log(strikes / SPOT)) / np.sqrt(w)
    put, call = (strikes[np.argmin(np.abs(norm.cdf(d1) - share))] for share in (0.75, 0.25))
    assert item.put_25_iv == pytest.approx(svi_iv(put), abs=1e-4)
    assert item.call_25_iv == pytest.approx(svi_iv(call), abs=1e-4)
    assert item.skew_25 == pytest.approx(svi_iv(put) - svi_iv(call), abs=2e-4)
    assert item.skew_25 > 0.0
    assert item.put_over_atm == pytest.approx(svi_iv(put) - svi_iv(SPOT), abs=2e-4)


def test_beyond_the_quoted_strikes_nothing_is_told():
    below = tuple(item for item in skewed() if item.instrument.strike_usd < SPOT)
    item = only(quotes=below)
    assert item.model is SmileModel.SVI
    assert np.isnan(item.atm_iv)
    assert np.isnan(item.call_25_iv)
    assert np.isfinite(item.put_25_iv)
    assert np.isnan(seen(quotes=below).term[1].iv)


def with_parity(forward, *, spread=0.0, discount=1.0):
    """Calls and puts whose middle is Black's price on a forward."""
    quotes = []
    for item in skewed(iv_of=lambda at: svi_iv(at, forward)):
        option_, iv = item.instrument, item.iv
        is_put = option_.option_type is OptionType.PUT
        mid = discount * float(black76_price(forward, option_.strike_usd, MONTH, iv, is_put=is_put))
        terms = ParityTerms(mid_usd=mid, forward_usd=1.5 * forward, discount=discount, forward_cost_usd=1.0)
        ask = item.size * mid * (1.0 + spread)
        quotes.append(replace(item, premium_usd=ask + item.fee_usd, model_usd=item.size * mid, parity=terms))
    return tuple(quotes)


@pytest.mark.parametrize("discount", [1.0, 0.99])
def test_the_forward_is_that_of_put_call_parity_where_both_are_quoted(discount):
    item = only(quotes=with_parity(2_040.0, spread=0.03, discount=discount))
    assert item.forward_usd == pytest.approx(2_040.0, rel=1e-3)
    assert item.forward_from == f"put-call parity at {STRIKES.size} strikes"
    assert item.atm_iv == pytest.approx(svi_iv(2_040.0, 2_040.0), abs=1e-3)


def test_with_puts_alone_the_forward_is_the_venues_own():
    puts = [item for item in with_parity(2_040.0) if item.instrument.option_type is OptionType.PUT]
    item = only(quotes=tuple(puts))
    assert item.forward_usd == pytest.approx(1.5 * 2_040.0)
    assert item.forward_from == "the venue's own forward"


def test_without_bids_the_forward_is_the_spot_and_says_so():
    item = only(quotes=skewed())
    assert item.forward_usd == SPOT
    assert item.forward_from.startswith("spot: no strike has a bid and an ask of both")


def test_parity_that_no_spread_explains_is_told():
    quotes = list(with_parity(2_040.0))
    place = next(i for i, q in enumerate(quotes) if q.instrument.strike_usd == 2_000.0)
    terms = replace(quotes[place].parity, mid_usd=quotes[place].parity.mid_usd + 40.0)
    quotes[place] = replace(quotes[place], parity=terms, premium_usd=quotes[place].premium_usd + 400.0)
    (words,) = [line for line in only(quotes=tuple(quotes)).arbitrages if "parity" in line]
    assert "off by 40" in words or "off by 39" in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"premium_usd": -5.0}, "premium"),
        ({"iv": NAN}, "iv"),
        ({"iv": 50.0}, "implied vol is 5000%"),
        ({"liquidity": 0.0}, "liquidity"),
        ({"bid_usd": 1e9}, "crossed"),
        ({"valid_until_s": NOW_S - 5.0}, "expired 5 s ago"),
    ],
)
def test_a_refused_quote_is_left_out_with_its_reason(changes, words):
    good, bad = skewed(kinds=(OptionType.PUT,)), quote(option(1_700.0, 30.0))
    item = only(quotes=(*good, replace(bad, **changes)))
    assert (item.used, item.left_out) == (STRIKES.size, 1)
    assert words in item.left_out_because
    alone = only(quotes=(replace(bad, **changes),))
    assert alone.model is SmileModel.UNKNOWN
    assert words in alone.why_unknown
    assert np.isnan([alone.forward_usd, alone.atm_iv, alone.put_25_iv, alone.rms_error_iv]).all()


def test_an_expiry_that_has_passed_is_unknown():
    passed = replace(quote(option(1_800.0, 30.0)), instrument=option(1_800.0, -1.0))
    item = only(quotes=(passed,))
    assert item.model is SmileModel.UNKNOWN
    assert item.dte == -1.0
    assert "time to expiry must be > 0" in item.why_unknown


@pytest.mark.parametrize(
    ("count", "model"), [(1, SmileModel.FLAT), (3, SmileModel.SSVI), (9, SmileModel.SVI)]
)
def test_few_strikes_carry_a_smaller_model(count, model):
    quotes = skewed(kinds=(OptionType.PUT,))
    middle = sorted(quotes, key=lambda item: abs(item.instrument.strike_usd - SPOT))[:count]
    assert only(quotes=tuple(middle)).model is model


def test_a_vol_that_falls_with_time_is_a_calendar_arbitrage():
    near, far = board(days=[7.0], iv=1.2), board(days=[14.0], iv=0.6)
    found = seen(quotes=(*near, *far)).expiries
    (words,) = found[0].arbitrages
    assert words.startswith("calendar at strike")
    assert "14.0 days" in words
    assert found[1].arbitrages == ()
    assert np.isnan(found[1].forward_iv)


def test_the_term_structure_adds_variance_over_time():
    view = seen(quotes=(*board(days=[7.0], iv=0.9), *board(days=[30.0], iv=0.7), *board(days=[90.0], iv=0.6)))
    assert [(item.days, round(item.iv, 6)) for item in view.term] == [(7.0, 0.9), (30.0, 0.7), (90.0, 0.6)]
    assert view.term_slope == pytest.approx(0.5)
    variance = (0.7**2 * 30.0 - 0.9**2 * 7.0) / 23.0
    assert view.expiries[1].forward_iv == pytest.approx(variance**0.5, abs=1e-6)
    assert np.isnan(view.expiries[0].forward_iv)


def test_a_tenor_far_from_every_expiry_is_unknown():
    view = seen(quotes=board(days=[5.0], iv=0.9))
    assert view.term[0].iv == pytest.approx(0.9)
    assert np.isnan(view.term[2].iv)
    assert np.isnan(view.term_slope)


def test_without_quotes_there_are_no_expiries():
    view = seen(quotes=())
    assert view.expiries == ()
    assert np.isnan(view.term_slope)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_quotes_in_any_order_give_the_same(seed):
    quotes = [*board(), *with_parity(2_040.0)]
    random.Random(seed).shuffle(quotes)
    assert repr(seen(quotes=tuple(quotes))) == repr(seen(quotes=(*board(), *with_parity(2_040.0))))


def walk(days, *, per_day=24, vol=0.8, seed=3):
    """A random walk sampled so many times a day, to just before now."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, vol / np.sqrt(365.0 * per_day), days * per_day)
    times_s = NOW_S - 1.0 - DAY_S / per_day * np.arange(steps.size - 1, -1, -1, dtype=np.float64)
    return Column(times_s=times_s, values=SPOT * np.exp(np.cumsum(steps)))


def realised(column):
    return {item.name: item for item in seen(columns={FEED: column}).realised}


def test_realised_vols_find_the_vol_of_a_walk():
    found = realised(walk(400))
    assert found["30 d"].vol == pytest.approx(0.8, rel=0.1)
    assert found["EWMA 24 h"].vol == pytest.approx(0.8, rel=0.5)
    assert found["GARCH(1,1) next 10 d"].vol == pytest.approx(0.8, rel=0.25)
    assert "399 daily returns" in found["GARCH(1,1) next 10 d"].because
    assert np.isnan(found["Parkinson 30 d"].vol), "an hourly table has no daily range"
    assert found["Parkinson 30 d"].because == "0 days with 96 prices or more known, 18 needed"


def test_parkinson_speaks_where_a_day_has_many_prices():
    found = realised(walk(31, per_day=288))
    assert found["Parkinson 30 d"].vol == pytest.approx(0.8, rel=0.2)
    assert np.isnan(found["GARCH(1,1) next 10 d"].vol)
    assert found["GARCH(1,1) next 10 d"].because == "30 returns are known, GARCH needs 250"


def test_s11_has_the_same_two_vols():
    from bot.signals import read_signals

    at = frame({FEED: walk(60)})
    (reading,) = [
        item for item in read_signals(at.columns, now_s=NOW_S, policy=POLICY.signals) if item.signal == "S11"
    ]
    found = realised(walk(60))
    assert found["EWMA 24 h"].vol / found["30 d"].vol == pytest.approx(reading.value, rel=1e-9)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "no source of ETH's price"),
        ({FEED: hourly(np.full(40, NAN))}, "0 hourly returns known"),
        ({FEED: hourly(np.full(2, SPOT))}, "1 hourly returns known"),
    ],
)
def test_what_is_not_known_is_nan_with_its_reason(columns, words):
    found = seen(columns=columns, exposures=(exposure(),)).realised
    assert all(np.isnan(item.vol) for item in found)
    assert words in found[0].because
    assert all(item.because for item in found)


def test_neither_help_nor_a_decision_loads_arch():
    code = (
        "import sys; import bot.engine.step; import bot.cli; assert 'arch' not in sys.modules; "
        "assert 'bot.engine.market_view' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
