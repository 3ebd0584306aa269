"""Decisions, plans and records of a small made-up market, for tests of what people and programs read."""

import math
from dataclasses import replace

import numpy as np
from engine.factory import (
    GROUP,
    NOW_S,
    SPOT,
    board,
    calm_columns,
    classic,
    fill,
    frame,
    held,
    option,
    stressed_columns,
)

from bot.app.plan import Plan, markets_of, read_groups
from bot.engine.protection import price_protection
from bot.engine.replicate import replicate
from bot.engine.step import decide
from bot.model.hedge import CondorAction, CondorLeg, CondorOrder, Layer, LegStatus, OptionType
from bot.model.market import Block, Column, Metric, SeriesKey
from bot.model.perpetual import Perpetual, PerpetualAction, PerpetualOrder
from bot.model.record import EngineState, GroupState, StepRecord
from bot.model.tier import Tier

POLICY = classic()


_WINGS = tuple(
    CondorLeg(instrument=option(strike, 16, kind=kind), size=size, iv=0.6)
    for strike, kind, size in (
        (1800, OptionType.PUT, -2.0),
        (1600, OptionType.PUT, 2.0),
        (2200, OptionType.CALL, -2.0),
        (2400, OptionType.CALL, 2.0),
    )
)
_CONDOR = CondorOrder(
    key="condor",
    group=GROUP,
    action=CondorAction.OPEN,
    legs=_WINGS,
    limit_usd=58.0,
    expected_usd=60.0,
    worst_loss_usd=342.0,
    valid_until_s=NOW_S,
    because="calm, and vols pay for it",
)
CONDORS = (
    _CONDOR,
    replace(_CONDOR, action=CondorAction.CLOSE, position_id="c1", limit_usd=12.5, because="most is earned"),
)
_PERPETUAL = PerpetualOrder(
    key="perp",
    group=GROUP,
    action=PerpetualAction.OPEN,
    perpetual=Perpetual(venue="perp-v2", id="sETHPERP", underlying="ETH", settlement="sUSD"),
    size=-12.5,
    margin_usd=6_000.0,
    limit_usd=1_980.0,
    expected_usd=21.0,
    valid_until_s=NOW_S,
    because="no option is listed for NEAR",
)
PERPETUALS = (
    replace(_PERPETUAL, action=PerpetualAction.REDUCE, size=2.5, margin_usd=0.0, limit_usd=2_020.0),
    _PERPETUAL,
    replace(
        _PERPETUAL, action=PerpetualAction.ADD_MARGIN, size=0.0, margin_usd=500.0, limit_usd=math.nan,
        expected_usd=math.nan,
    ),
)  # fmt: skip


def block(at_s=NOW_S):
    return Block(chain_id=31337, number=7, hash="0x7", parent_hash="0x6", timestamp_s=int(at_s))


def record(columns=None, *, tier=None, mode="dry-run", rejected=False, **changes):
    """Return the record of one step that filled, or was refused, all its orders."""
    state = EngineState()
    if tier is not None:
        state = replace(state, groups={GROUP: GroupState(tier=tier, last_needed_s=NOW_S)})
    at = frame(columns, blocks={31337: block()}, **changes)
    after, decision = decide(POLICY, state, at)
    outcomes = tuple(fill(leg, NOW_S) for leg in decision.plan.legs)
    if rejected:
        outcomes = tuple(
            replace(item, status=LegStatus.REJECTED, filled_size=0.0, premium_usd=0.0, because="too dear")
            for item in outcomes
        )
    return StepRecord(
        sequence=1,
        mode=mode,
        decision=decision,
        state=after,
        outcomes=outcomes,
        frame_hash="f",
        spot_usd={"ETH": SPOT},
        exposure_value_usd={item.id: item.value_usd for item in at.exposures},
        hedge_value_usd=sum(item.liquidation_usd for item in at.held),
        cash_flow_usd=-100.0 if at.held else 0.0,
    )


def stressed_record(**changes):
    hedge = held(option(1300, 70), Layer.TAIL, 3.0)
    return record(stressed_columns(), tier=Tier.SEVERE, **{"held": (hedge,), **changes})


def troubled_record(**changes):
    """Return the record of a calm market, a paused protocol, a loan in trouble, and orders of every kind."""
    times_s = NOW_S - np.array([120.0, 60.0, 1.0])
    bad = {
        SeriesKey(Metric.HEALTH_FACTOR, "loan", "aave_v3"): np.full(3, 1.2),
        SeriesKey(Metric.PAUSED, "uniswap-v2", "admin"): np.ones(3),
    }
    series = {key: Column(times_s=times_s, values=values) for key, values in bad.items()}
    made = record(calm_columns() | series, **changes)
    return replace(made, decision=replace(made.decision, condors=CONDORS, perpetuals=PERPETUALS))


def plan(**changes):
    at = frame(**({"quotes": board()} | changes))
    groups = read_groups(POLICY, at)
    return Plan(
        block=block(),
        exposures=at.exposures,
        protections=tuple(price_protection(POLICY, at, group=GROUP, tier=tier) for tier in Tier),
        left_out=("v3:9 is closed",),
        markets=markets_of(POLICY, at, groups),
        replications=tuple(replicate(POLICY, at, group) for group in groups),
    )
