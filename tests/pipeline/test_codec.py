"""Model values survive the journal exactly, and equal values have equal bytes."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from send_builders import filled, leg

from bot.errors import InvariantError
from bot.model import base_layers, exposure, hedge, intent, market, record, tier
from bot.model.cover import CoverOrder, CoverProduct
from bot.model.exposure import LpShape
from bot.model.hedge import HedgeLeg, HedgePlan, Layer, LegOutcome, Side
from bot.model.intent import IntentEvent, IntentState, Log
from bot.model.market import Block, Column, Columns, Frame, Metric, SeriesKey
from bot.model.policy_vote import PolicyVote
from bot.model.record import EngineState, GroupState, StepRecord
from bot.model.tier import Family, FamilyVote, Tier
from bot.pipeline import codec
from bot.pipeline.codec import dumps, loads

MODEL_TYPES = sorted(
    {
        value
        for module in (base_layers, exposure, hedge, intent, market, record, tier)
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value)
    },
    key=lambda kind: kind.__name__,
)

numbers = st.floats(allow_nan=True, allow_infinity=True)
text = st.text(max_size=20)
SCALARS = {float: numbers, int: st.integers(), bool: st.booleans(), str: text, bytes: st.binary(max_size=8)}


VOTE = PolicyVote(
    registry="0x" + "00" * 20,
    policy_hash="0" * 64,
    near_bps=10_000,
    mid_bps=0,
    tail_bps=0,
    sequence=1,
    changed_at_s=2,
    block_number=3,
)


COVER = CoverOrder(
    key="c-1",
    product=CoverProduct(venue="nexus", id="1", name="Uniswap v3", protocol="uniswap-v3"),
    amount_usd=1_000.0,
    period_s=90 * 86_400,
    limit_usd=10.0,
    expected_usd=9.0,
    valid_until_s=4e9,
)


def values_of(hint) -> st.SearchStrategy:
    """Return a strategy of a field type; dataclasses are built with every field, defaults included."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if hint is HedgeLeg:  # refuses most floats
        return st.sampled_from([leg("a"), leg("b", layer=Layer.TAIL)])
    if hint is LpShape:  # refuses what is no range
        return st.sampled_from([LpShape(liquidity=1.0), LpShape(liquidity=0.0, lower_usd=0.5, upper_usd=2.0)])
    if hint is CoverOrder:  # likewise
        return st.sampled_from([COVER, dataclasses.replace(COVER, key="c-2", limit_usd=1e-300)])
    if hint is PolicyVote:  # refuses weights that are no whole
        return st.sampled_from([VOTE, dataclasses.replace(VOTE, near_bps=0, tail_bps=10_000)])
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if item is type(None) else values_of(item) for item in arguments])
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    hints = typing.get_type_hints(hint)
    return st.builds(hint, **{item.name: values_of(hints[item.name]) for item in dataclasses.fields(hint)})


records = values_of(StepRecord)
states = values_of(EngineState)


@pytest.mark.parametrize("kind", MODEL_TYPES, ids=lambda kind: kind.__name__)
def test_every_model_value_has_a_stored_form(kind):
    encode, decode = codec._codec(kind)
    assert callable(encode)
    assert callable(decode)


@given(records)
@settings(max_examples=60, deadline=None)
def test_a_step_survives_exactly(value):
    stored = dumps(value)
    again = loads(StepRecord, stored)
    assert again == _with_one_nan(value)
    assert dumps(again) == stored


@given(states)
def test_the_bytes_do_not_depend_on_the_order_of_a_mapping(value):
    turned = EngineState(
        groups=dict(reversed(value.groups.items())),
        protocol_tiers=dict(reversed(value.protocol_tiers.items())),
        protocol_needed_s=dict(reversed(value.protocol_needed_s.items())),
    )
    assert dumps(turned) == dumps(value)


@given(numbers)
def test_a_float_comes_back_to_the_bit(value):
    state = EngineState(groups={"g": GroupState(last_needed_s=value)})
    again = loads(EngineState, dumps(state)).groups["g"].last_needed_s
    assert np.float64(again).tobytes() == np.float64(value).tobytes() or (
        math.isnan(value) and again is math.nan
    )


@given(st.builds(Log, address=text, topics=st.lists(text, max_size=2).map(tuple), data=st.binary()))
def test_bytes_survive(value):
    assert loads(Log, dumps(value)) == value


def test_whole_numbers_in_float_fields_have_one_form():
    assert dumps(HedgePlan(key="k", created_at_s=5)) == dumps(HedgePlan(key="k", created_at_s=5.0))
    assert dumps(HedgePlan(key="k", created_at_s=np.float64(5))) == dumps(
        HedgePlan(key="k", created_at_s=5.0)
    )


def test_the_golden_text():
    """The stored form is a promise to journals on disk: a field may only be added, with a default."""
    value = FamilyVote(
        family=Family.ONCHAIN,
        score=math.nan,
        third_score=-math.inf,
        voting=True,
        configured=3,
        live=0,
        because="ü",
    )
    assert dumps(value) == (
        '{"because":"ü","configured":3,"family":"ONCHAIN","live":0,"score":"NaN","third_score":"-Infinity",'
        '"voting":true}'
    )
    assert dumps(EngineState(protocol_tiers={"x": Tier.CRISIS, "a": Tier.CALM})) == (
        '{"groups":{},"protocol_needed_s":{},"protocol_tiers":{"a":0,"x":4}}'
    )


def test_a_frame_with_its_arrays_survives():
    key = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:x")
    column = Column(times_s=np.array([1.0, 2.0]), values=np.array([math.nan, 3.5]))
    block = Block(chain_id=1, number=2, hash="0x", parent_hash="0x", timestamp_s=3)
    frame = Frame(now_s=2.0, blocks={1: block}, columns=Columns(series={key: column}), exposures=())
    again = loads(Frame, dumps(frame))
    assert dumps(again) == dumps(frame)
    assert again.blocks == frame.blocks
    assert again.columns[key].values.tolist()[1] == 3.5


def test_a_frozen_mapping_is_a_mapping():
    state = EngineState(protocol_tiers=MappingProxyType({"a": Tier.CALM}))
    assert isinstance(loads(EngineState, dumps(state)).protocol_tiers, Mapping)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda fields: {**fields, "sise": 1.0}, "unknown fields.*sise"),
        (lambda fields: {name: fields[name] for name in fields if name != "size"}, "lacks fields.*size"),
        (lambda fields: {**fields, "size": "1"}, "HedgeLeg.size must be a float"),
        (lambda fields: {**fields, "size": True}, "HedgeLeg.size"),
        (lambda fields: {**fields, "size": 1}, "HedgeLeg.size"),
        (lambda fields: {**fields, "size": "nan"}, "HedgeLeg.size"),
        (lambda fields: {**fields, "layer": "near"}, "HedgeLeg.layer must be one of"),
        (lambda fields: {**fields, "key": None}, "HedgeLeg.key"),
        (lambda fields: {**fields, "instrument": []}, "HedgeLeg.instrument must be an object"),
        (lambda fields: {**fields, "size": -1.0}, "size must be finite"),
    ],
)
def test_text_that_does_not_fit_is_refused_by_name(change, words):
    with pytest.raises(InvariantError, match=words):
        loads(HedgeLeg, json.dumps(change(json.loads(dumps(leg())))))


@pytest.mark.parametrize("stored", ["", "{", "NaN", '{"a":1,"a":2}', "[" * 1_500, "nul"])
def test_text_that_is_not_json_is_refused(stored):
    with pytest.raises(InvariantError, match="HedgePlan"):
        loads(HedgePlan, stored)


@pytest.mark.parametrize("value", [1.0, "text", object(), {"a": 1}, HedgePlan])
def test_only_model_values_are_stored(value):
    if isinstance(value, float | str):
        assert loads(type(value), dumps(value)) == value
        return
    with pytest.raises(InvariantError):
        dumps(value)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: dataclasses.replace(leg(), key=5),
        lambda: dataclasses.replace(leg(), layer="NEAR"),
        lambda: dataclasses.replace(leg(), expected_usd="5"),
        lambda: dataclasses.replace(leg(), expected_usd=True),
        lambda: dataclasses.replace(leg(), instrument=None),
    ],
)
def test_a_value_whose_field_has_another_type_is_not_stored(bad):
    with pytest.raises(InvariantError):
        dumps(bad())


def test_an_older_row_without_a_newer_field_reads_as_its_default():
    fields = json.loads(dumps(leg()))
    del fields["because"]
    assert loads(HedgeLeg, json.dumps(fields)).because == ""


def test_the_examples_of_the_journal_survive():
    event = IntentEvent(
        key="k",
        leg_key="l",
        purpose="open",
        state=IntentState.SIGNED,
        at_s=1.0,
        chain_id=1,
        sender="0x",
        nonce=2**60,
    )
    for value in (leg(), filled(leg()), event):
        assert loads(type(value), dumps(value)) == value
    assert leg().side is Side.BUY
    assert leg().layer is Layer.NEAR
    assert isinstance(filled(leg()), LegOutcome)


def _with_one_nan(value):
    """Return a value with every NaN replaced by math.nan itself, so that == compares by identity."""
    if isinstance(value, float):
        return math.nan if math.isnan(value) else value
    if dataclasses.is_dataclass(value):
        return type(value)(
            **{item.name: _with_one_nan(getattr(value, item.name)) for item in dataclasses.fields(value)}
        )
    if isinstance(value, tuple):
        return tuple(_with_one_nan(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _with_one_nan(item) for key, item in value.items()}
    return value
