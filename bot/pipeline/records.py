"""What of a step goes into the journal: whole where there is news, else a heartbeat; and what it cites."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from bot.model.exposure import Exposure
from bot.model.hedge import HeldHedge
from bot.model.market import Frame
from bot.model.reasons import kind_of
from bot.model.record import Decision, StepRecord


def frame_hash(frame: Frame) -> str:
    """Return a digest of what a frame was cut from: its time, blocks, and the end of each column."""
    digest = hashlib.sha256(repr(frame.now_s).encode())
    for chain_id, block in sorted(frame.blocks.items()):
        digest.update(f"{chain_id}:{block.hash}".encode())
    for key in sorted(frame.columns.series):
        column = frame.columns.series[key]
        digest.update(f"{key}#{column.times_s.size}".encode())
        digest.update(column.times_s[-1:].tobytes() + column.values[-1:].tobytes())
    return digest.hexdigest()


def mark_usd(hedge: HeldHedge) -> float:
    """Return what a hedge counts for: a sale now, else the model; nothing while it is only to be booked."""
    if math.isfinite(hedge.liquidation_usd):
        return hedge.liquidation_usd
    return hedge.model_usd if math.isfinite(hedge.model_usd) else 0.0


def is_news(record: StepRecord, last: StepRecord | None) -> bool:
    orders = (
        record.outcomes,
        record.perpetuals,
        record.account_orders,
        record.covers,
        record.decision.plan.legs,
        record.decision.perpetuals,
    )
    if last is None or any(orders):
        return True
    if list(map(kind_of, record.decision.holds)) != list(map(kind_of, last.decision.holds)):
        return True  # the age of a stale price alone is none
    if record.state.protocol_tiers != last.state.protocol_tiers or record.vote != last.vote:
        return True
    before = {item.group: item.tier for item in last.decision.groups}
    return any(before.get(item.group) != item.tier for item in record.decision.groups)


def told(decision: Decision) -> frozenset[tuple[str, str, str]]:
    """Return what base layers propose and how many findings of each rule stand, without their figures."""
    fired = Counter(item.rule for item in decision.findings if item.fired)
    proposed = [item.key for item in decision.proposals]
    return frozenset((*proposed, *((rule, "fired", str(count)) for rule, count in fired.items())))


def heartbeat(record: StepRecord) -> StepRecord:
    """Drop what repeats the last full record: readings, votes, findings, proposals, and what is held."""
    protocols = tuple(replace(item, findings=()) for item in record.decision.protocols)
    groups = tuple(
        replace(item, votes=(), findings=(), reads=(), fast_reads=(), alternatives=(), refused_quotes=())
        for item in record.decision.groups
    )
    decision = replace(record.decision, readings=(), groups=groups, protocols=protocols, findings=())
    decision = replace(decision, proposals=())
    return replace(record, decision=decision, is_heartbeat=True, exposures=(), held=(), held_perpetuals=())


def values_usd(exposures: Iterable[Exposure]) -> dict[str, float]:
    """Return what each position is worth with the fees that wait in it, by its id."""
    return {item.id: item.value_usd + item.fees_uncollected_usd for item in exposures}
