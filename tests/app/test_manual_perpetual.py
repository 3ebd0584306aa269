"""Perpetuals by hand (R27): how they are named, and what bounds the order that closes one."""

import math
from dataclasses import replace

import pytest
from perpetual_builders import PERP, perpetual_quote
from pipeline_builders import START_S, moment

from bot.app.look import Look
from bot.app.manual import closing, find
from bot.app.manual_perpetual import named_perpetuals
from bot.errors import ConfigError, NotFoundError
from bot.model.market import Columns, Frame
from bot.model.perpetual import HeldPerpetual, PerpetualAction, PerpetualOrder
from bot.pipeline.codec import dumps, loads
from bot.settings import PolicySettings, load_policy

POLICY = load_policy(PolicySettings())
SLIP = POLICY.perpetual.max_slippage
SHORT = HeldPerpetual(
    id="vETH",
    perpetual=PERP,
    group="ETH/USDC",
    size=-4.0,
    entry_usd=2_500.0,
    mark_usd=2_600.0,
    margin_usd=3_000.0,
    liquidation_usd=3_100.0,
    opened_at_s=START_S,
    funding_usd=20.0,
)


def look(*held: HeldPerpetual, quoted: bool = True) -> Look:
    now = moment(1)
    frame = Frame(
        now_s=now.now_s,
        blocks=now.blocks,
        columns=Columns(series={}),
        exposures=(),
        perpetuals=held,
        perpetual_quotes=(perpetual_quote(cost=0.002, gas_usd=1.0),) if quoted else (),
    )
    return Look(
        settings=None,
        policy=POLICY,
        mode="live",
        moment=now,
        frame=frame,
        positions=(),
        running=False,
        outcomes=(),
        accounts=None,
    )


def order_of(seen: Look, name: str, **bounds: float | None) -> PerpetualOrder:
    (order,) = closing(seen, name, **{"size": None, **bounds}).perpetuals
    return order


def test_a_name_holds_the_group_where_several_share_one_position():
    assert list(named_perpetuals(look(SHORT))) == ["perp-v2:vETH"]
    other = replace(SHORT, group="ETH/DAI", size=-1.0)
    both = look(SHORT, other)
    assert list(named_perpetuals(both)) == ["perp-v2:vETH@ETH/USDC", "perp-v2:vETH@ETH/DAI"]
    assert order_of(both, "perp-v2:vETH@ETH/DAI").size == 1.0
    with pytest.raises(NotFoundError, match=r"perp-v2:vETH@ETH/USDC, perp-v2:vETH@ETH/DAI"):
        closing(both, "perp-v2:vETH", size=None)


def test_the_whole_is_bought_back_within_the_marks_cost_and_slippage():
    order = order_of(look(SHORT), "perp-v2:vETH")
    assert (order.action, order.size, order.position_id) == (PerpetualAction.REDUCE, 4.0, "vETH")
    assert order.limit_usd == pytest.approx(2_600.0 * (1.0 + 0.002 + SLIP))
    assert order.expected_usd == pytest.approx(4.0 * 2_600.0 * 0.002 + 1.0)
    assert order.release_usd == pytest.approx(3_000.0 - 4.0 * 100.0 + 20.0)  # what losses leave of the margin
    assert order.valid_until_s == moment(1).now_s + POLICY.orders.valid_for
    assert order.key.startswith("manual.")
    assert loads(PerpetualOrder, dumps(order)) == order


def test_a_part_of_a_long_is_sold_and_frees_its_part_of_the_margin():
    long = replace(SHORT, size=4.0, liquidation_usd=1_900.0)  # it gained: no more than the margin comes back
    order = order_of(look(long), "vETH", size=1.0)
    assert order.size == -1.0
    assert order.limit_usd == pytest.approx(2_600.0 * (1.0 - 0.002 - SLIP))
    assert order.release_usd == pytest.approx(750.0)


def test_without_a_quote_the_slippage_alone_bounds_it_and_a_price_that_is_named_wins():
    unquoted = order_of(look(SHORT, quoted=False), "vETH")
    assert unquoted.limit_usd == pytest.approx(2_600.0 * (1.0 + SLIP))
    assert math.isnan(unquoted.expected_usd)
    assert order_of(look(SHORT), "vETH", price_usd=2_550.0).limit_usd == 2_550.0


@pytest.mark.parametrize(
    ("held", "bounds", "words"),
    [
        (SHORT, {"size": 5.0}, "--size 5: perp-v2:vETH has 4 units"),
        (SHORT, {"size": 0.0}, "--size 0"),
        (SHORT, {"size": math.nan}, "--size nan"),
        (SHORT, {"price_usd": 0.0}, "give --price, over 0"),
        (SHORT, {"least_usd": 5.0}, "bound it by --price"),
        (replace(SHORT, mark_usd=math.nan), {}, "give --price, over 0"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(held: HeldPerpetual, bounds: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        closing(look(held), "perp-v2:vETH", **{"size": None, **bounds})


def test_it_can_be_neither_rolled_nor_exercised():
    with pytest.raises(ConfigError, match="vETH is a perpetual: it can only be closed"):
        find(look(SHORT), "vETH")
