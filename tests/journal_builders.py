"""A journal's owner, transactions and steps, as its tests write them."""

from bot.model.hedge import HedgePlan
from bot.model.intent import IntentEvent
from bot.model.intent import IntentState as S
from bot.model.record import Decision, EngineState, StepRecord
from bot.pipeline.journal import JournalIdentity

ME = "0x" + "aa" * 20
IDENTITY = JournalIdentity(mode="live", chain_id=31337, account=ME)


def event(state: S, *, number: int = 1, nonce: int = 0, leg_key: str = "leg", **changes) -> IntentEvent:
    values = {
        "key": f"{leg_key}/{number}-open", "leg_key": leg_key, "purpose": "open", "state": state, "at_s": 1.5,
        "chain_id": 31337, "sender": ME, "nonce": nonce,
    }  # fmt: skip
    return IntentEvent(**{**values, **changes})


def step(sequence: int, *, now_s: float | None = None) -> StepRecord:
    at_s = float(sequence) if now_s is None else now_s
    return StepRecord(
        sequence=sequence,
        mode="live",
        decision=Decision(
            now_s=at_s,
            blocks={1: 5},
            policy_hash="p",
            readings=(),
            groups=(),
            plan=HedgePlan(key="k", created_at_s=at_s),
        ),
        state=EngineState(),
        outcomes=(),
        frame_hash="f",
        spot_usd={"ETH": 2_000.0},
        exposure_value_usd={},
        hedge_value_usd=0.0,
        cash_flow_usd=0.0,
    )
