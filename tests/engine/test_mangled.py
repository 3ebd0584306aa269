"""Frames as no source should ever give them: ``decide`` answers, and nothing unknown is ever traded."""

import math
import random
from dataclasses import fields, replace

import pytest
from engine.factory import GROUP, NOW_S, exposure, frame, held, lp_shape, stressed_columns
from engine.held_legs import preset
from engine.test_perpetual import STEADY, full_board, perp, short

from bot.engine.step import decide
from bot.errors import InvariantError
from bot.model.hedge import Layer, Side
from bot.model.record import Decision, EngineState, GroupState
from bot.model.tier import Tier
from bot.pipeline.codec import dumps, loads

BAD = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, 1e-300, 1e12, -1e12)
POLICIES = {name: preset(name) for name in ("classic", "steward", "fortress", "promoter")}
FRAMES = 40


def mangled(rng, item, part):
    """Return the value with some of its numbers replaced, where its class lets it."""
    names = [each.name for each in fields(item) if isinstance(getattr(item, each.name), float)]
    try:
        return replace(item, **{name: rng.choice(BAD) for name in names if rng.random() < part})
    except InvariantError:
        return item


def mangled_quote(rng, quote):
    quote = mangled(rng, quote, rng.choice((0.0, 0.0, 0.05, 0.3)))
    if rng.random() < 0.8:
        return quote
    listed = quote.instrument
    changes = {
        "strike_usd": rng.choice((listed.strike_usd, *BAD)),
        "multiplier": rng.choice((1.0, 0.1, 10.0, *BAD)),
        "expiry_s": rng.choice((listed.expiry_s, int(NOW_S) - 1, int(NOW_S), int(NOW_S) + 60)),
    }
    return replace(quote, instrument=replace(listed, **changes))


def mangled_columns(rng):
    columns = dict(rng.choice((STEADY, stressed_columns())))
    for key in list(columns):
        if rng.random() < 0.1:
            values = columns[key].values.copy()
            values[rng.sample(range(values.size), rng.randint(1, 50))] = rng.choice(BAD)
            values[-1] = rng.choice((values[-1], rng.choice(BAD)))
            columns[key] = replace(columns[key], values=values)
        if rng.random() < 0.03:
            del columns[key]
    return columns


def mangled_exposure(rng, number):
    found = mangled(rng, exposure(rng.choice((1e6, 1.0, 1e12, 5e4))), rng.choice((0.0, 0.0, 0.2)))
    if rng.random() < 0.3:
        edges = sorted((rng.choice((0.0, 1_500.0, 1e300)), rng.choice((2_500.0, 1e12, math.inf))))
        found = replace(found, shape=lp_shape(rng.choice((1e3, 0.0, 1e300)), *edges))
    return replace(found, id=f"v2:{number}")


def mangled_frame(rng):
    quotes = tuple(mangled_quote(rng, item) for item in full_board())
    hedges = [
        replace(mangled(rng, held(rng.choice(quotes).instrument, layer, 5.0), 0.1), id=f"h{layer}")
        for layer in Layer
        if rng.random() < 0.5
    ]
    shorts = [replace(mangled(rng, short(10.0), 0.1), id=f"p{n}") for n in range(rng.randint(0, 2))]
    return frame(
        mangled_columns(rng),
        quotes=quotes,
        exposures=tuple(mangled_exposure(rng, n) for n in range(rng.randint(0, 3))),
        held=tuple(hedges),
        perpetual_quotes=tuple(mangled(rng, perp(), 0.1) for _ in range(rng.randint(0, 2))),
        perpetuals=tuple(shorts),
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy speaks of the overflows that are meant here
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_no_frame_raises_and_no_order_is_unknown(name, seed):
    rng = random.Random(f"{name} {seed}")
    for _ in range(FRAMES // 4):
        state = EngineState(groups={GROUP: GroupState(tier=rng.choice(list(Tier)), last_needed_s=NOW_S)})
        after, decision = decide(POLICIES[name], state, mangled_frame(rng))
        assert loads(EngineState, dumps(after)) == after
        assert dumps(loads(Decision, dumps(decision))) == dumps(decision)
        for leg in decision.plan.legs:
            assert 0.0 < leg.size < math.inf
            if leg.side is Side.BUY:
                assert 0.0 < leg.expected_usd <= leg.limit_usd < math.inf
        for order in decision.perpetuals:
            assert math.isfinite(order.size)
            assert 0.0 <= order.margin_usd < math.inf
