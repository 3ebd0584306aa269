"""JSON documents that commands print: ISO 8601 UTC times, fractions, USD, no NaN."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bot.app.demo import DemoResult
from bot.app.plan import Plan
from bot.cover_document import cover_outcome_document
from bot.engine.protection import MoveLoss, Protection, ProtectionLeg
from bot.market_document import market_document, replication_document
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.base_layers import Action, Proposal
from bot.model.exposure import Exposure
from bot.model.hedge import CondorOrder, LayerTarget, LegOutcome, LegStatus, Shortfall, Side
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import GroupDecision, ProtocolDecision, StepRecord
from bot.model.tier import FamilyVote, Reading, RuleFinding
from bot.model.units import DAY_S, iso_utc
from bot.simulation.results import order_json, tier_changes, tier_json

Document = dict[str, Any]


def number(value: float) -> float | None:
    """Return a finite number, or None: JSON has no NaN, and unknown is not zero."""
    return value if math.isfinite(value) else None


def time(at_s: float) -> str | None:
    """Return a time as ISO 8601 UTC, None when it is unknown or never."""
    return iso_utc(at_s) if math.isfinite(at_s) else None


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
        "previous_tier": group.previous_tier.name,
        "shown_tier": group.shown_tier.name,  # the higher of market and protocol tier
        "protocol_tier": group.protocol_tier.name,
        "protocol": group.protocol or None,
        "degraded_families": list(group.degraded),
        "because": group.because,
        "value_usd": number(group.value_usd),
        "var_usd": number(group.var_usd),
        "var_method": group.var_method,
        "wanted_share": number(group.wanted_share),
        "covered_share": number(group.covered_share),
        "break_evens_usd": list(group.break_evens_usd),
        "votes": list(map(vote_document, group.votes)),
        "rules": list(map(finding_document, group.findings)),
        "layers": list(map(layer_document, group.targets)),
        "shortfalls": [shortfall_document(item) for item in group.shortfalls],
    }


def layer_document(target: LayerTarget) -> Document:
    return {
        "layer": target.layer.value,
        "open": target.open,
        "weight": target.weight,
        "wanted_contracts": number(target.wanted_contracts),
        "held_contracts": number(target.held_contracts),
        "because": target.because,
    }


def vote_document(vote: FamilyVote) -> Document:
    return {
        "family": vote.family.value,
        "score": number(vote.score),
        "voting": vote.voting,
        "because": vote.because,
    }


def finding_document(item: RuleFinding) -> Document:
    return {"rule": item.rule, "fired": item.fired, "because": item.because}


def shortfall_document(item: Shortfall) -> Document:
    return {
        "layer": item.layer.value,
        "missing": number(item.missing),
        "missing_contracts": number(item.missing_contracts),
        "reason": item.reason,
        "cap": item.cap or None,
        "frees_at": time(item.frees_at_s),
    }


def proposal_document(item: Proposal) -> Document:
    """What the base layers want done (R19-R21, R29), and who must act on it."""
    return {
        "rule": item.rule,
        "layer": item.layer.value,
        "action": item.action.value,
        "subject": item.subject,
        "amount_usd": number(item.amount_usd),
        "part": number(item.part),
        "from_reserve_usd": number(item.from_reserve_usd),
        "health_after": number(item.health_after),
        "health_after_reserve": number(item.health_after_reserve),
        "moves": [{"from": move.source, "to": move.target, "usd": move.usd} for move in item.moves],
        "due_at": time(item.due_s),
        "needs": item.needs.value,
        "follows": item.follows or None,
        "because": item.because,
    }


def protocol_document(item: ProtocolDecision) -> Document:
    """The tier of one protocol, stable or bridge; it buys no market layer."""
    return {
        "protocol": item.protocol,
        "tier": item.tier.name,
        "previous_tier": item.previous_tier.name,
        "groups": list(item.groups),
        "rules": list(map(finding_document, item.findings)),
    }


def condor_document(item: CondorOrder) -> Document:
    """An order for all legs of a condor (R16); sizes are signed, as the legs are, or will be, held."""
    return {
        "group": item.group,
        "action": item.action.value,
        "legs": [{"option": leg.instrument.id, "size": leg.size, "iv": number(leg.iv)} for leg in item.legs],
        "limit_usd": number(item.limit_usd),
        "expected_usd": number(item.expected_usd),
        "worst_loss_usd": number(item.worst_loss_usd),
        "position": item.position_id or None,
        "because": item.because,
    }


def perpetual_document(item: PerpetualOrder) -> Document:
    """An order for a perpetual (R27); the size is the signed change in units of the underlying."""
    return {
        "group": item.group,
        "action": item.action.value,
        "venue": item.perpetual.venue,
        "perpetual": item.perpetual.id,
        "underlying": item.perpetual.underlying,
        "size": item.size,
        "margin_usd": number(item.margin_usd),
        "limit_usd": number(item.limit_usd),
        "expected_usd": number(item.expected_usd),
        "reduce_only": item.reduce_only,
        "position": item.position_id or None,
        "because": item.because,
    }


def perpetual_outcome_document(item: PerpetualOutcome) -> Document:
    """What became of an order for a perpetual. Margin is moved and stays the account's own."""
    return {
        "ts": time(item.at_s),
        "block": item.block_number or None,
        **perpetual_document(item.order),
        "status": item.status.value,
        "filled_size": item.filled_size,
        "price_usd": item.price_usd or None,
        "margin_moved_usd": item.margin_usd,
        "realised_usd": item.realised_usd,
        "fee_usd": item.fee_usd,
        "funding_usd": item.funding_usd,
        "gas_usd": item.gas_usd,
        "tx_hash": item.tx_hash or None,
        "because": item.because or item.order.because,
    }


def account_order_document(order: AccountOrder) -> Document:
    """An order on a position or loan (R21, R29)."""
    return {
        "key": order.key,
        "group": order.group,
        "action": order.action.value,
        "subject": order.subject,
        "part": order.part if order.action is Action.WITHDRAW else None,
        "amount_usd": None if order.action is Action.WITHDRAW else order.amount_usd,
        "valid_until_ts": time(order.valid_until_s),
        "because": order.because,
    }


def account_outcome_document(item: AccountOutcome) -> Document:
    """What became of an order on a position or loan. Units that left the account are negative."""
    return {
        **account_order_document(item.order),
        "ts": time(item.at_s),
        "block": item.block_number or None,
        "status": item.status.value,
        "moved": [{"asset": each.asset, "units": number(each.units)} for each in item.moved],
        "gas_usd": item.gas_usd,
        "tx_hash": item.tx_hash or None,
        "because": item.because or item.order.because,
    }


def step_document(record: StepRecord, *, full: StepRecord | None = None) -> Document:
    """One step of `alvh monitor`, `run` and `status`.

    ``full`` has the readings, findings and proposals where ``record`` is a heartbeat.
    """
    decision, said = record.decision, (full or record).decision
    return {
        "ts": time(decision.now_s),
        "sequence": record.sequence,
        "mode": record.mode,
        "blocks": {str(chain): block for chain, block in decision.blocks.items()},
        "policy_hash": decision.policy_hash,
        "vote": None if record.vote is None else asdict(record.vote),
        "spot_usd": {name: number(value) for name, value in record.spot_usd.items()},
        "exposure_value_usd": dict(record.exposure_value_usd),
        "hedge_value_usd": number(record.hedge_value_usd),
        "cash_flow_usd": number(record.cash_flow_usd),
        "indicative": record.indicative,
        "limits": {name: number(value) for name, value in decision.limits.items()},
        "holds": list(decision.holds),
        "findings": list(map(finding_document, said.findings)),
        "proposals": list(map(proposal_document, said.proposals)),
        "protocols": list(map(protocol_document, decision.protocols)),
        "condors": list(map(condor_document, decision.condors)),
        "perpetuals": list(map(perpetual_document, decision.perpetuals)),
        "groups": [group_document(group) for group in decision.groups],
        "readings": [reading_document(reading) for reading in said.readings],
        "orders": [order_json(outcome) for outcome in record.outcomes],
        "perpetual_orders": [perpetual_outcome_document(outcome) for outcome in record.perpetuals],
        "account_orders": [account_outcome_document(outcome) for outcome in record.account_orders],
        "cover_orders": [cover_outcome_document(outcome) for outcome in record.covers],
    }


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


def plan_document(plan: Plan) -> Document:
    """The document of `alvh plan --json`. Fees are part of the premium; losses are positive."""
    return {
        "chain_id": plan.block.chain_id,
        "block": plan.block.number,
        "ts": time(float(plan.block.timestamp_s)),
        "exposures": [_exposure(item) for item in plan.exposures],
        "protections": [_protection(item) for item in plan.protections],
        "markets": [market_document(item) for item in plan.markets],
        "replications": [replication_document(item) for item in plan.replications],
        "left_out": list(plan.left_out),
    }


def _exposure(item: Exposure) -> Document:
    return {
        "id": item.id,
        "group": item.group,
        "kind": item.kind.value,
        "protocol": item.protocol,
        "pool": item.pool,
        "spot_usd": number(item.spot_usd),
        "value_usd": number(item.value_usd),
        "fees_uncollected_usd": number(item.fees_uncollected_usd),
        "lower_usd": item.shape.lower_usd,
        "upper_usd": number(item.shape.upper_usd),  # None: no upper end
    }


def _protection(item: Protection) -> Document:
    return {
        "group": item.group,
        "tier": item.tier.name,
        "spot_usd": number(item.spot_usd),
        "value_usd": number(item.value_usd),
        "var_usd": number(item.var_usd),
        "var_method": item.var_method,
        "wanted_share": number(item.wanted_share),
        "covered_share": number(item.covered_share),
        "legs": [_leg(leg) for leg in item.legs],
        "premium_usd": number(item.premium_usd),
        "indicative": item.indicative,
        "fee_usd": number(item.fee_usd),
        "swap_and_gas_usd": number(item.swap_and_gas_usd),
        "cost_usd": number(item.cost_usd),
        "carry_usd_year": number(item.carry_usd_year),
        "carry_share_year": number(item.carry_share_year),
        "break_evens_usd": list(item.break_evens_usd),
        "losses": [_loss(loss) for loss in item.losses],
        "payoff": item.payoff,
        "shortfalls": [shortfall_document(short) for short in item.shortfalls],
        "holds": list(item.holds),
    }


def _leg(leg: ProtectionLeg) -> Document:
    option = leg.instrument
    return {
        "layer": leg.layer.value,
        "venue": option.venue,
        "option": option.id,
        "underlying": option.underlying,
        "option_type": option.option_type.value,
        "strike_usd": option.strike_usd,
        "expiry_ts": time(float(option.expiry_s)),
        "dte": round(leg.dte, 4),
        "size": leg.contracts,
        "delta": number(leg.delta),
        "premium_usd": number(leg.premium_usd),
        "indicative": leg.indicative,
        "fee_usd": number(leg.fee_usd),
        "swap_usd": number(leg.swap_usd),
        "gas_usd": number(leg.gas_usd),
        "cost_usd": number(leg.cost_usd),
        "carry_usd_year": number(leg.carry_usd_year),
        "break_even_usd": number(leg.break_even_usd),
        "because": leg.because,
    }


def _loss(loss: MoveLoss) -> Document:
    return {
        "move": loss.move,
        "spot_usd": number(loss.spot_usd),
        "unhedged_usd": number(loss.unhedged_usd),
        "hedged_now_usd": number(loss.hedged_now_usd),
        "hedged_expiry_usd": number(loss.hedged_expiry_usd),
    }


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
        "tiers": [tier_json(item) for item in tier_changes(records)],
        "orders": [order_json(outcome) for outcome in outcomes],
        "final": {
            "unhedged_value_usd": number(float(report.unhedged_usd[-1])),
            "hedged_value_usd": number(float(report.hedged_usd[-1])),
            "unhedged_max_drawdown": number(report.unhedged_drawdown),
            "hedged_max_drawdown": number(report.hedged_drawdown),
            "premium_spent_usd": sum(o.premium_usd for o in outcomes if o.leg.side is Side.BUY),
            "proceeds_usd": sum(o.premium_usd for o in outcomes if o.leg.side is not Side.BUY),
            "swap_spent_usd": sum(o.swap_usd for o in outcomes),
            "gas_spent_usd": sum(o.gas_usd for o in outcomes),
            "hedge_mark_usd": number(report.money.mark_usd),
        },
        "limits": {"session_cap_usd": cap_usd, "max_session_spend_usd": spent_usd},
        "timing": {"setup_s": round(result.setup_s, 3), "run_s": round(result.run_s, 3)},
    }
