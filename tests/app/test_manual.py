"""A person's order for an option (R18): what its preview refuses before anything is asked of a bot."""

import math
from dataclasses import replace

import pytest
from engine.factory import GROUP, held, option
from pipeline_builders import moment

from bot.app.look import Look
from bot.app.manual import closing
from bot.errors import ConfigError
from bot.model.hedge import HedgeLeg, HeldHedge, Layer, Side
from bot.model.market import Columns, Frame
from bot.settings import PolicySettings, load_policy

POLICY = load_policy(PolicySettings())
WHOLE = replace(option(1_800, 30), venue="hegic", closes_whole=True)


def hedge(instrument=WHOLE, *, size: float = 4.0) -> HeldHedge:
    return replace(held(instrument, Layer.MID, size), id="7", group=GROUP, liquidation_usd=200.0)


def look(item: HeldHedge) -> Look:
    now = moment(1)
    frame = Frame(now_s=now.now_s, blocks=now.blocks, columns=Columns(series={}), exposures=(), held=(item,))
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


def sale(item: HeldHedge, **bounds: float | None) -> HedgeLeg:
    (leg,) = closing(look(item), f"{item.instrument.venue}:7", **{"size": None, **bounds}).legs
    return leg


@pytest.mark.parametrize("size", [1.0, 3.999, 1e-9])
def test_a_part_of_what_its_venue_closes_whole_is_refused_by_name(size: float):
    """Hegic exercises, Panoptic burns a position whole or not at all; the venue is not even asked."""
    words = r"hegic closes a position whole or not at all, hegic:7 has 4 contracts; leave --size out"
    with pytest.raises(ConfigError, match=words):
        sale(hedge(), size=size)


@pytest.mark.parametrize("size", [None, 4.0, 4.0 * (1.0 + 1e-12), 4.0 * (1.0 - 1e-12)])
def test_all_of_it_is_sold_within_the_policys_slippage(size: float | None):
    leg = sale(hedge(), size=size)
    assert (leg.side, leg.position_id, leg.group) == (Side.SELL, "7", GROUP)
    assert leg.size == 4.0
    assert leg.limit_usd == pytest.approx(200.0 * (1.0 - POLICY.orders.max_slippage))


def test_a_part_of_any_other_position_is_sold_for_its_part_of_the_price():
    leg = sale(hedge(option(1_800, 30)), size=1.0)
    assert (leg.size, leg.expected_usd) == (1.0, 50.0)
    assert sale(hedge(option(1_800, 30)), size=1.0, least_usd=12.0).limit_usd == 12.0


@pytest.mark.parametrize("size", [0.0, -1.0, 4.1, math.nan, math.inf])
def test_a_size_that_it_does_not_have_is_refused(size: float):
    with pytest.raises(ConfigError, match=r"hegic:7 has 4 contracts"):
        sale(hedge(), size=size)
