"""Which quote a layer takes, and which are refused by name."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from engine.factory import GROUP, NOW_S, board, classic, exposure, frame, held, option, quote

from bot.engine.choose import Slot, choose, refuse_quote
from bot.engine.group import read_group
from bot.model.hedge import Layer, OptionType
from bot.model.market import Column, Metric, SeriesKey

POLICY = classic()
SLOTS = {layer: Slot(layer, OptionType.PUT) for layer in Layer}


def group_of(**changes):
    return read_group(POLICY, frame(quotes=(), **changes), GROUP)


@pytest.mark.parametrize("layer", Layer)
def test_choice_is_in_its_bands(layer):
    choice = choose(POLICY, group_of(), tuple(Layer), board())[SLOTS[layer]]
    low, high = POLICY.layers.of(layer).delta
    assert low <= abs(choice.quote.delta) <= high
    assert choice.quote.instrument.option_type is OptionType.PUT
    life_s = choice.quote.instrument.expiry_s - NOW_S
    assert POLICY.layers.of(layer).dte[0] <= life_s <= POLICY.layers.of(layer).dte[1]


def test_the_most_gain_per_cost_wins():
    cheap = quote(option(1500, 30, kind=OptionType.PUT), iv=0.9)
    dear = quote(option(1500, 31), iv=0.9, spread=0.9)
    choice = choose(POLICY, group_of(), (Layer.MID,), [dear, cheap])
    picked = choice[SLOTS[Layer.MID]].quote
    assert picked is None or picked.instrument == cheap.instrument


def test_order_of_quotes_does_not_matter():
    quotes = list(board())
    first = choose(POLICY, group_of(), tuple(Layer), quotes)
    random.Random(5).shuffle(quotes)
    assert choose(POLICY, group_of(), tuple(Layer), quotes) == first


def test_ties_go_to_the_smaller_instrument():
    one, two = (quote(option(1700, 30)) for _ in range(2))
    import dataclasses

    other = dataclasses.replace(two, instrument=dataclasses.replace(two.instrument, id="a-first"))
    for quotes in ([one, other], [other, one]):
        assert (
            choose(POLICY, group_of(), (Layer.MID,), quotes)[SLOTS[Layer.MID]].quote.instrument.id
            == "a-first"
        )


@pytest.mark.parametrize(
    ("layer", "listed", "taken"),
    [
        (Layer.NEAR, (3.0, 6.0), (3.0, 6.0)),
        (Layer.NEAR, (1.0,), None),  # rolled at 1 d: not bought there
        (Layer.NEAR, (1.1,), (1.1,)),
        (Layer.NEAR, (10.0, 30.0), (10.0,)),
        (Layer.NEAR, (30.0,), (30.0,)),  # the next layer's band
        (Layer.NEAR, (75.0,), None),
        (Layer.MID, (7.0,), None),
        (Layer.MID, (8.0,), (8.0,)),
        (Layer.MID, (50.0, 75.0), (50.0,)),
        (Layer.TAIL, (58.0,), (58.0,)),  # would keep its layer: rolled at 30 d
        (Layer.TAIL, (30.0,), None),
        (Layer.TAIL, (60.0,), (60.0,)),
    ],
)
def test_r17_expiry_fallback(layer, listed, taken):
    quotes = [
        quote(option(strike, days), iv=0.8)
        for days in listed
        for strike in (
            900,
            1000,
            1100,
            1200,
            1300,
            1400,
            1500,
            1600,
            1700,
            1800,
            1850,
            1900,
            1940,
            1960,
            1980,
        )
    ]
    choice = choose(POLICY, group_of(), (layer,), quotes)[SLOTS[layer]]
    if taken is None:
        assert choice.quote is None
        assert "no listed put fits" in choice.because
    else:
        assert round(choice.quote.instrument.dte(NOW_S), 6) in taken


GOOD = quote(option(1700, 30))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"premium_usd": 0.0}, "finite and > 0"),
        ({"premium_usd": -1.0}, "finite and > 0"),
        ({"premium_usd": math.nan}, "finite and > 0"),
        ({"premium_usd": math.inf}, "finite and > 0"),
        ({"size": 0.0}, "finite and > 0"),
        ({"iv": math.nan}, "finite and > 0"),
        ({"iv": 0.0}, "finite and > 0"),
        ({"liquidity": 0.0}, "finite and > 0"),
        ({"delta": math.nan}, "delta finite"),
        ({"gas_usd": math.nan}, "gas"),
        ({"swap_usd": -1.0}, "swap"),
        ({"valid_until_s": NOW_S - 1}, "expired 1 s ago"),
        ({"valid_until_s": NOW_S}, ""),
        ({"valid_until_s": math.nan}, "expired"),
        ({"bid_usd": GOOD.premium_usd}, ""),
        ({"bid_usd": GOOD.premium_usd * 1.001}, "crossed: the venue buys it for more"),
        ({"indicative": True}, "indicative"),
        ({"indicative": True, "on_paper": True}, ""),
        ({"premium_usd": GOOD.model_usd * 50.0}, ""),
        ({"premium_usd": GOOD.model_usd * 50.1}, "x its model value"),
        ({"premium_usd": GOOD.model_usd / 50.0}, ""),
        ({"premium_usd": GOOD.model_usd / 50.1}, "x its model value"),
    ],
)
def test_bad_quotes_are_refused_by_name(changes, words):
    import dataclasses

    refusal = refuse_quote(POLICY, group_of(), dataclasses.replace(GOOD, **changes))
    assert (words in refusal) if words else refusal == ""


@pytest.mark.parametrize("multiplier", [0.01, 0.1, 10.0])
def test_a_delta_band_is_of_one_unit_whatever_a_contract_is(multiplier):
    """R12-R14: a contract of a tenth of an ETH has a tenth of the delta, and is the same option."""
    import dataclasses

    def scaled(item):
        sold = dataclasses.replace(item.instrument, multiplier=multiplier)
        money = ("premium_usd", "fee_usd", "swap_usd", "model_usd", "delta")
        return dataclasses.replace(
            item, instrument=sold, **{name: multiplier * getattr(item, name) for name in money}
        )

    group = group_of()
    ours = choose(POLICY, group, tuple(Layer), board())
    theirs = choose(POLICY, group, tuple(Layer), [scaled(item) for item in board()])
    for slot, choice in ours.items():
        assert theirs[slot].quote.instrument.strike_usd == choice.quote.instrument.strike_usd
        assert theirs[slot].because == choice.because


@pytest.mark.parametrize("size", [0.0, math.nan])
def test_a_held_leg_without_a_size_crosses_no_quote(size):
    hedge = replace(held(GOOD.instrument, Layer.MID, 5.0, salvage=1.5), size=size)
    assert refuse_quote(POLICY, group_of(held=(hedge,)), GOOD) == ""


def test_a_crossed_quote_is_refused():
    hedge = held(GOOD.instrument, Layer.MID, 5.0, salvage=1.5)
    assert "crossed" in refuse_quote(POLICY, group_of(held=(hedge,)), GOOD)


def test_r10_an_unpriced_settlement_asset_is_refused():
    from engine.factory import calm_columns

    columns = calm_columns()
    columns[SeriesKey(Metric.PRICE_USD, "sUSD", "pool")] = Column(
        times_s=np.array([NOW_S - 60.0]), values=np.array([math.nan])
    )
    group = read_group(POLICY, frame(columns, quotes=()), GROUP)
    assert "price of sUSD is unknown" in refuse_quote(POLICY, group, GOOD)


def test_refusals_reach_the_reason():
    import dataclasses

    bad = dataclasses.replace(GOOD, premium_usd=math.nan)
    choice = choose(POLICY, group_of(), (Layer.MID,), [bad])[SLOTS[Layer.MID]]
    assert choice.quote is None
    assert f"refused: {GOOD.instrument.id}" in choice.because


def test_other_underlyings_are_not_ours():
    import dataclasses

    other = dataclasses.replace(GOOD, instrument=dataclasses.replace(GOOD.instrument, underlying="BTC"))
    assert choose(POLICY, group_of(), (Layer.MID,), [other])[SLOTS[Layer.MID]].quote is None


def test_hold_measure_picks_both_wings():
    policy = classic(sizing={"loss_measure": "hold"})
    group = read_group(policy, frame(quotes=(), exposures=(exposure(),)), GROUP)
    choices = choose(policy, group, (Layer.TAIL,), board())
    assert {slot.option_type for slot, choice in choices.items() if choice.quote} == set(OptionType)
