"""JSON documents that commands print: ISO 8601 UTC times, fractions, USD, no NaN."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.app.demo import DemoResult
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.record import GroupDecision, StepRecord
from bot.model.tier import Reading
from bot.model.units import DAY_S, iso_utc

Document = dict[str, Any]


def number(value: float) -> float | None:
    """Return a finite number, or None: JSON has no NaN, and unknown is not zero."""
    return value if math.isfinite(value) else None


def time(at_s: float) -> str | None:
    """Return a time as ISO 8601 UTC, None when it is unknown or never."""
    return iso_utc(at_s) if math.isfinite(at_s) else None


def order_document(outcome: LegOutcome) -> Document:
    """One order as it ended."""
    leg = outcome.leg
    return {
        "ts": time(outcome.at_s),
        "group": leg.group,
        "layer": leg.layer.value,
        "venue": leg.instrument.venue,
        "side": leg.side.value,
        "option_type": leg.instrument.option_type.value,
        "strike_usd": leg.instrument.strike_usd,
        "expiry": time(leg.instrument.expiry_s),
        "dte": round(leg.instrument.dte(outcome.at_s), 4),
        "size": outcome.filled_size or leg.size,
        "limit_usd": leg.limit_usd,
        "premium_usd": outcome.premium_usd,
        "fee_usd": outcome.fee_usd,
        "swap_usd": outcome.swap_usd,
        "gas_usd": outcome.gas_usd,
        "tx_hash": outcome.tx_hash,
        "block": outcome.block_number or None,
        "position_id": outcome.position_id,
        "status": outcome.status.value,
        "because": outcome.because or leg.because,
    }


def reading_document(reading: Reading) -> Document:
    return {
        "signal": reading.signal,
        "name": reading.name,
        "subject": reading.subject,
        "family": reading.family.value,
        "value": number(reading.value),
        "unit": reading.unit,
        "score": number(reading.score),
        "quality": reading.quality.value,
        "observed": time(reading.observed_at_s),
        "warm_at": time(reading.warm_at_s),
        "source": reading.source,
        "because": reading.because,
    }


def group_document(group: GroupDecision) -> Document:
    """Tier, protection held against wanted, and why, of one hedge group."""
    return {
        "group": group.group,
        "tier": group.tier.name,
        "because": group.because,
        "value_usd": number(group.value_usd),
        "var_usd": number(group.var_usd),
        "var_method": group.var_method,
        "wanted_share": number(group.wanted_share),
        "covered_share": number(group.covered_share),
        "break_evens_usd": list(group.break_evens_usd),
        "votes": [
            {
                "family": vote.family.value,
                "score": number(vote.score),
                "voting": vote.voting,
                "because": vote.because,
            }
            for vote in group.votes
        ],
        "rules": [
            {"rule": item.rule, "fired": item.fired, "because": item.because} for item in group.findings
        ],
        "layers": [
            {
                "layer": target.layer.value,
                "open": target.open,
                "weight": target.weight,
                "wanted_contracts": number(target.wanted_contracts),
                "held_contracts": target.held_contracts,
                "because": target.because,
            }
            for target in group.targets
        ],
        "shortfalls": [
            {
                "layer": item.layer.value,
                "missing": number(item.missing),
                "missing_contracts": number(item.missing_contracts),
                "reason": item.reason,
                "cap": item.cap or None,
                "frees_at": time(item.frees_at_s),
            }
            for item in group.shortfalls
        ],
    }


def step_document(record: StepRecord) -> Document:
    """One step of `alvh monitor`, `run` and `status`."""
    decision = record.decision
    return {
        "ts": time(decision.now_s),
        "sequence": record.sequence,
        "mode": record.mode,
        "blocks": {str(chain): block for chain, block in decision.blocks.items()},
        "policy_hash": decision.policy_hash,
        "spot_usd": {name: number(value) for name, value in record.spot_usd.items()},
        "exposure_value_usd": dict(record.exposure_value_usd),
        "hedge_value_usd": number(record.hedge_value_usd),
        "cash_flow_usd": number(record.cash_flow_usd),
        "limits": {name: number(value) for name, value in decision.limits.items()},
        "holds": list(decision.holds),
        "groups": [group_document(group) for group in decision.groups],
        "readings": [reading_document(reading) for reading in decision.readings],
        "orders": [order_document(outcome) for outcome in record.outcomes],
    }


def tier_changes(records: Iterable[StepRecord]) -> list[Document]:
    """Return the first tier of every group and each change of it."""
    last: dict[str, str] = {}
    changes = []
    for record in records:
        for group in record.decision.groups:
            if last.get(group.group) == group.tier.name:
                continue
            last[group.group] = group.tier.name
            changes.append(
                {
                    "block": next(iter(record.decision.blocks.values()), None),
                    "ts": time(record.decision.now_s),
                    "group": group.group,
                    "tier": group.tier.name,
                    "because": group.because,
                }
            )
    return changes


def session_spend(outcomes: Sequence[LegOutcome], caps_usd: Mapping[float, float]) -> tuple[float, float]:
    """Return (most spent on purchases in any rolling 24 h, the session cap when it was spent).

    ``caps_usd`` maps the time of each step to the cap in force (R9: 25 % of defined-risk capital, which
    moves with the exposure).
    """
    bought = [
        (item.at_s, item.premium_usd + item.swap_usd + item.gas_usd)
        for item in outcomes
        if item.leg.side is Side.BUY and item.status in (LegStatus.FILLED, LegStatus.PARTIAL)
    ]
    times = sorted(caps_usd)
    worst, cap = 0.0, caps_usd[times[0]] if times else 0.0
    for end_s, _ in bought:
        spent = sum(usd for at_s, usd in bought if end_s - DAY_S < at_s <= end_s)
        if spent > worst:
            worst = spent
            cap = caps_usd[max((at_s for at_s in times if at_s <= end_s), default=times[0])]
    return worst, cap


def demo_document(result: DemoResult) -> Document:
    """The document of `alvh demo --json`."""
    records = result.records
    outcomes = [outcome for record in records for outcome in record.outcomes]
    spent_usd, cap_usd = session_spend(
        outcomes,
        {record.decision.now_s: record.decision.limits["session_cap_usd"] for record in records},
    )
    report = result.report
    return {
        "chain_id": result.chain_id,
        "scenario": result.scenario.name,
        "seed": result.seed,
        "tiers": tier_changes(records),
        "orders": [order_document(outcome) for outcome in outcomes],
        "final": {
            "unhedged_value_usd": float(report.unhedged_usd[-1]),
            "hedged_value_usd": float(report.hedged_usd[-1]),
            "unhedged_max_drawdown": report.unhedged_drawdown,
            "hedged_max_drawdown": report.hedged_drawdown,
            "premium_spent_usd": sum(o.premium_usd for o in outcomes if o.leg.side is Side.BUY),
            "proceeds_usd": sum(o.premium_usd for o in outcomes if o.leg.side is not Side.BUY),
            "swap_spent_usd": sum(o.swap_usd for o in outcomes),
            "gas_spent_usd": sum(o.gas_usd for o in outcomes),
            "hedge_mark_usd": report.money.mark_usd,
        },
        "limits": {"session_cap_usd": cap_usd, "max_session_spend_usd": spent_usd},
        "timing": {"setup_s": round(result.setup_s, 3), "run_s": round(result.run_s, 3)},
    }
