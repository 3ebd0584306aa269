"""R16: the condor overlay, with quotes that carry a bid; no venue of this release has one."""

import math
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
    flat,
    frame,
    held,
    option,
    quote,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.condors import capital_at_risk, losses_over, with_condors
from bot.engine.group import read_group
from bot.engine.limits import DEFINED_RISK_CAP, over_hedge_factor, premium_caps
from bot.engine.overlay import overlay
from bot.engine.step import decide
from bot.model.hedge import (
    CondorAction,
    CondorLeg,
    HeldCondor,
    Layer,
    OptionType,
    worst_loss_usd,
)
from bot.model.market import Metric, SeriesKey
from bot.model.record import EngineState, GroupState
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.pipeline.codec import dumps, loads
from bot.quant.options import price

ON = classic(overlay={"enabled": True})
IV_KEY = SeriesKey(Metric.IV_30D, "ETH", "lyra")
STRIKES = tuple(range(1_400, 2_700, 25))


def sellable(*, days=(7.0,), spread=0.02, size=500.0, **changes):
    """Return a board on which the venue buys, too: bids and asks ``spread`` around the model."""
    quotes = []
    for day in days:
        for strike in STRIKES:
            for kind in OptionType:
                item = quote(option(strike, day, kind=kind), spread=spread, size=size, swap_usd=0.0)
                quotes.append(replace(item, bid_usd=item.model_usd * (1.0 - spread), **changes))
    return tuple(quotes)


BOARD = sellable()


def quiet_columns(*, implied=0.8):
    """Calm columns whose realised vol is about 47 % a year: the zigzag of the factory, half as high."""
    columns = calm_columns()
    for key in list(columns):
        if key.metric is Metric.PRICE_USD and key.subject == "ETH":
            column = columns[key]
            columns[key] = replace(column, values=SPOT + 0.25 * (column.values - SPOT))
    return columns | {IV_KEY: flat(implied)}


def market(**changes):
    return frame(quiet_columns(), **({"quotes": BOARD} | changes))


def ruling(policy=ON, tier=Tier.CALM, *, doubt="", room_usd=30_000.0, at=None, **changes):
    at = at or market(**changes)
    group = with_condors(read_group(policy, at, GROUP), at.condors)
    return overlay(policy, at, group, tier, doubt=doubt, room_usd=room_usd)


def condor(*, days=6.0, units=10.0, close_usd=100.0, iv=0.8, credit_usd=400.0) -> HeldCondor:
    legs = [(1_600, OptionType.PUT, 1), (1_800, OptionType.PUT, -1), (2_200, OptionType.CALL, -1),
            (2_400, OptionType.CALL, 1)]  # fmt: skip
    return HeldCondor(
        id="condor:1",
        group=GROUP,
        legs=tuple(
            CondorLeg(instrument=option(strike, days, kind=kind), size=sign * units, iv=iv)
            for strike, kind, sign in legs
        ),
        credit_usd=credit_usd,
        opened_at_s=NOW_S - DAY_S,
        close_usd=close_usd,
    )


def test_r16_off_by_default():
    orders, finding = ruling(classic())
    assert orders == ()
    assert (finding.fired, finding.because) == (False, "off by policy (overlay.enabled)")


def test_r16_a_condor_of_the_method_is_sold():
    (order,), finding = ruling()
    assert finding.fired
    sizes = {(leg.instrument.option_type, leg.size > 0.0): leg.instrument.strike_usd for leg in order.legs}
    long_put, short_put = sizes[OptionType.PUT, True], sizes[OptionType.PUT, False]
    short_call, long_call = sizes[OptionType.CALL, False], sizes[OptionType.CALL, True]
    assert long_put < short_put < SPOT < short_call < long_call
    assert sum(leg.size for leg in order.legs) == pytest.approx(0.0)
    quotes = {item.instrument: item for item in BOARD}
    for leg in order.legs:
        if leg.size < 0.0:
            assert 0.15 <= abs(quotes[leg.instrument].delta) <= 0.25
    units = max(leg.size for leg in order.legs)
    width = max(short_put - long_put, long_call - short_call)
    assert 0.15 <= order.expected_usd / (width * units) <= 0.25
    assert order.limit_usd < order.expected_usd
    assert order.worst_loss_usd == pytest.approx(width * units - order.limit_usd)
    assert order.worst_loss_usd <= 30_000.0
    assert units * SPOT <= 0.10 * 1e6 * 1.01


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tier": Tier.GUARDED}, "nothing is sold at GUARDED"),
        ({"tier": Tier.CRISIS}, "nothing is sold at CRISIS"),
        ({"doubt": "ONCHAIN is degraded"}, "the calm is not certain: ONCHAIN is degraded"),
        ({"unseen": ("position 1",)}, "position 1 was not read yet"),
        ({"quotes": board()}, "no venue buys options from us"),
        ({"quotes": ()}, "no venue buys options from us (0 quotes"),
        ({"quotes": sellable(valid_until_s=NOW_S - 1.0)}, "no listed condor"),  # stale
        ({"quotes": sellable(iv=math.nan)}, "no listed condor"),
        ({"quotes": sellable(indicative=True)}, "no listed condor"),
        ({"quotes": sellable(days=(30.0,))}, "no listed condor of 5-9 d"),
        ({"quotes": sellable(spread=-0.05)}, "no listed condor"),  # crossed: bids over asks
        ({"quotes": sellable(spread=0.5)}, "no listed condor"),  # no credit is left
        ({"quotes": sellable(min_size=1e6)}, "under the venue's least"),
        ({"room_usd": 0.0}, "under the venue's least"),
        ({"quotes": sellable(gas_usd=2_000.0), "room_usd": 1e6}, "credit after gas"),
        ({"open_legs": ("abc.1-ETH.USDC-OVERLAY-open0",)}, "no final outcome"),
        ({"exposures": ()}, "value is not known"),
    ],
)
def test_r16_when_nothing_is_sold(changes, words):
    orders, finding = ruling(**changes)
    assert orders == ()
    assert not finding.fired
    assert words in finding.because


@pytest.mark.parametrize(
    ("implied", "ratio", "sold"),
    [(0.8, 1.0, True), (0.8, 5.0, False), (0.1, 1.0, False), (math.nan, 1.0, False), (0.0, 1.0, False)],
)
def test_r16_implied_over_realised_vol(implied, ratio, sold):
    policy = classic(overlay={"enabled": True, "vol_ratio": ratio})
    orders, finding = ruling(policy, at=frame(quiet_columns(implied=implied), quotes=BOARD))
    assert bool(orders) is sold
    assert sold or "vol" in finding.because


@pytest.mark.parametrize("key", [IV_KEY, FEED])
def test_r16_stale_vols_sell_nothing(key):
    columns = quiet_columns()
    columns[key] = columns[key].until(NOW_S - 2 * DAY_S)
    orders, finding = ruling(at=frame(columns, quotes=BOARD))
    assert orders == ()
    assert "must be live" in finding.because


@pytest.mark.parametrize(
    ("policy", "tier", "changes", "words"),
    [
        (ON, Tier.CALM, {}, ""),
        (ON, Tier.GUARDED, {}, ""),  # stopped, not closed
        (ON, Tier.ELEVATED, {}, "the market tier is ELEVATED"),
        (ON, Tier.CRISIS, {}, "the market tier is CRISIS"),
        (classic(), Tier.CALM, {}, "off by policy"),
        (ON, Tier.CALM, {"days": 1.01}, ""),
        (ON, Tier.CALM, {"days": 1.0}, "to be sold anew"),
    ],
)
def test_r16_what_is_closed(policy, tier, changes, words):
    orders, finding = ruling(policy, tier, condors=(condor(**changes),), doubt="a hold does not stop it")
    assert [order.action for order in orders] == ([CondorAction.CLOSE] if words else [])
    assert words in finding.because
    for order in orders:
        assert order.position_id == "condor:1"
        assert order.limit_usd == pytest.approx(103.0)


def test_r16_a_condor_of_a_position_that_left_is_closed():
    orders, finding = ruling(condors=(condor(),), exposures=())
    assert [order.action for order in orders] == [CondorAction.CLOSE]
    assert ruling(condors=(condor(),), exposures=(), unseen=("position 1",))[0] == ()
    assert "nothing is protected" in finding.because


def test_r16_what_cannot_be_closed_raises_an_alarm():
    orders, finding = ruling(tier=Tier.SEVERE, condors=(condor(close_usd=math.nan),))
    assert orders == ()
    assert finding.because.startswith("ALARM: condor condor:1")


@pytest.mark.parametrize(
    ("sizes", "credit", "worst"),
    [
        ((1, -1, -1, 1), 0.0, 200.0),
        ((1, -1, -1, 1), 50.0, 150.0),
        ((1, -1, -1, 1), 300.0, 0.0),
        ((0, -1, -1, 1), 50.0, 1_750.0),  # no bought put: down to nothing
        ((1, -1, -1, 0), 50.0, math.inf),  # naked call
        ((1, -1, -1, 0.5), 50.0, math.inf),
    ],
)
def test_r16_worst_loss(sizes, credit, worst):
    legs = [
        CondorLeg(instrument=leg.instrument, size=float(size), iv=0.8)
        for leg, size in zip(condor().legs, sizes, strict=True)
    ]
    assert worst_loss_usd(legs, credit_usd=credit) == pytest.approx(worst)


def test_r16_worst_loss_counts_in_defined_risk_capital():
    at = market(condors=(condor(),))
    assert capital_at_risk(at.condors) == pytest.approx(10 * 200.0 - 400.0)
    used = {cap.name: cap.used_usd for cap in premium_caps(ON, at, exposure_usd=1e6)}
    assert used[DEFINED_RISK_CAP] == pytest.approx(1_600.0)


@pytest.mark.parametrize("iv", [0.8, math.nan])
def test_r16_losses_count_in_value_at_risk(iv):
    """Oracle: the condor is settled before the horizon, so each path ends at its four inner values."""
    at = market(condors=(condor(iv=iv),))
    bare = read_group(ON, at, GROUP)
    full = with_condors(bare, at.condors)
    there, spot = full.paths[:, 6], full.spot_usd  # the prices that it is settled at
    settled = np.zeros_like(there)
    for leg in condor().legs:
        sign = -1.0 if leg.instrument.option_type is OptionType.PUT else 1.0
        settled += leg.size * np.maximum(sign * (there - leg.instrument.strike_usd), 0.0)
    mark = sum(
        leg.size
        * float(price(spot, leg.instrument.strike_usd, 6 / 365.0, 0.8,
                      is_put=leg.instrument.option_type is OptionType.PUT))
        for leg in condor().legs
    )  # fmt: skip
    if math.isfinite(iv):
        assert bare.losses_usd - full.losses_usd == pytest.approx(settled - mark, abs=1e-6)
    else:  # no mark: settled at the end of the path, the credit counted
        assert np.isfinite(full.losses_usd).all()
    assert full.var_usd >= bare.var_usd
    assert with_condors(bare, ()) is bare


def test_r16_losses_count_in_the_over_hedge_guard():
    """Where the condor loses, the hedge may gain as much more; its gains never widen or narrow the guard."""
    at = market(condors=(condor(units=50.0),))
    bare = read_group(ON, at, GROUP)
    full = with_condors(bare, at.condors)
    spots, days = np.array([1_000.0, 1_700.0, full.spot_usd, 3_000.0]), np.array([0.0, 6.0])
    lost = losses_over(full, spots, days)
    assert (lost >= 0.0).all()
    assert lost[1, 0] == pytest.approx(50 * 200.0, rel=0.2)  # the width less today's mark
    assert (losses_over(bare, spots, days) == 0.0).all()
    new = [(quote(option(1_700, 30)), 1_500.0)]
    factors = [over_hedge_factor(ON, group, kept=(), leaving=frozenset(), new=new) for group in (bare, full)]
    assert 0.0 < factors[0] < factors[1] <= 1.0


def test_r16_whole_decision_sells_and_closes():
    policy = classic(overlay={"enabled": True}, sizing={"loss_measure": "usd"})
    state, decision = decide(policy, EngineState(), market(quotes=(*BOARD, *board())))
    assert [order.action for order in decision.condors] == [CondorAction.OPEN]
    finding = next(item for item in decision.groups[0].findings if item.rule == "R16")
    assert finding.fired
    assert dumps(loads(type(decision), dumps(decision))) == dumps(decision)
    severe = EngineState(groups={GROUP: GroupState(tier=Tier.SEVERE, last_needed_s=NOW_S)})
    _, closing = decide(policy, severe, market(condors=(condor(),), holds=("feed is down",)))
    assert [order.action for order in closing.condors] == [CondorAction.CLOSE]
    assert state.groups[GROUP].tier is Tier.CALM


def test_r16_protection_comes_before_the_overlay():
    """The room that purchases of this decision take is not there for a condor's worst loss."""
    open_usd = held(option(1_300, 75), Layer.TAIL, 300.0, cost_usd=29_990.0, age_s=9 * DAY_S)
    policy = classic(overlay={"enabled": True})
    _, decision = decide(policy, EngineState(), market(held=(open_usd,), quotes=(*BOARD, *board())))
    assert decision.condors == ()


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.0, 60_000.0),
    st.floats(1e4, 1e7),
    st.floats(0.005, 0.06),
    st.floats(0.1, 5_000.0),
)
def test_r16_laws(room_usd, value_usd, spread, size):
    """Never naked, never over the room of R9, never over a tenth of the exposure."""
    quotes = tuple(
        replace(item, bid_usd=item.model_usd * (1.0 - spread), premium_usd=item.model_usd * (1.0 + spread))
        for item in BOARD
    )
    scaled = tuple(
        replace(item, size=size, **{
            name: getattr(item, name) * size / item.size for name in ("bid_usd", "premium_usd", "model_usd")
        })
        for item in quotes
    )  # fmt: skip
    orders, _ = ruling(room_usd=room_usd, quotes=scaled, exposures=(exposure(value_usd),))
    for order in orders:
        bought = sum(leg.size for leg in order.legs if leg.size > 0.0)
        sold = -sum(leg.size for leg in order.legs if leg.size < 0.0)
        assert bought == pytest.approx(sold)
        assert order.worst_loss_usd <= room_usd * (1.0 + 1e-9)
        assert 0.5 * sold * SPOT <= 0.10 * value_usd * 1.02
        assert order.worst_loss_usd <= 0.10 * value_usd
        assert order.limit_usd > 0.0
