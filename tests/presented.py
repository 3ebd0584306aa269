"""Decisions, plans and records of a small made-up market, for tests of what people and programs read."""

from dataclasses import replace

from engine.factory import GROUP, NOW_S, SPOT, board, classic, fill, frame, held, option, stressed_columns

from bot.app.plan import Plan
from bot.engine import decide
from bot.engine.protection import price_protection
from bot.model.hedge import Layer, LegStatus
from bot.model.market import Block
from bot.model.record import EngineState, GroupState, StepRecord
from bot.model.tier import Tier

POLICY = classic()


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


def plan(**changes):
    at = frame(quotes=board(), **changes)
    return Plan(
        block=block(),
        exposures=at.exposures,
        protections=tuple(price_protection(POLICY, at, group=GROUP, tier=tier) for tier in Tier),
        left_out=("v3:9 is closed",),
    )
