"""JSON documents that commands print: ISO 8601 UTC times, fractions, USD, no NaN."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bot.app.demo import DemoResult
from bot.app.lp import ChainLp, LpRow, LpView
from bot.app.plan import Plan
from bot.engine.protection import MoveLoss, Protection, ProtectionLeg
from bot.model.base_layers import Proposal
from bot.model.exposure import Exposure
from bot.model.hedge import LegOutcome, LegStatus, Shortfall, Side
from bot.model.lp_position import LpToken
from bot.model.record import GroupDecision, StepRecord
from bot.model.tier import Reading
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
        "shortfalls": [shortfall_document(item) for item in group.shortfalls],
    }


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
        "from_reserve_usd": item.from_reserve_usd,
        "health_after": number(item.health_after),
        "health_after_reserve": number(item.health_after_reserve),
        "moves": [{"from": move.source, "to": move.target, "usd": move.usd} for move in item.moves],
        "due_at": time(item.due_s),
        "needs": item.needs.value,
        "follows": item.follows or None,
        "because": item.because,
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
        "indicative": record.indicative,
        "limits": {name: number(value) for name, value in decision.limits.items()},
        "holds": list(decision.holds),
        "proposals": [proposal_document(item) for item in decision.proposals],
        "groups": [group_document(group) for group in decision.groups],
        "readings": [reading_document(reading) for reading in decision.readings],
        "orders": [order_json(outcome) for outcome in record.outcomes],
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


def lp_document(view: LpView) -> Document:
    """One refresh of the LP monitor. Sums are of what is known; ``unknown`` says what they leave out."""
    return {
        "wallet": view.wallet,
        "value_usd": number(view.value_usd),
        "fees_uncollected_usd": number(view.fees_usd),
        "impermanent_loss_usd": number(view.loss_hold_usd),
        "unknown": list(view.unknown),
        "chains": [_lp_chain(chain) for chain in view.chains],
    }


def _lp_chain(chain: ChainLp) -> Document:
    return {
        "chain_id": chain.chain_id,
        "name": chain.name,
        "block": chain.block.number if chain.block else None,
        "ts": time(float(chain.block.timestamp_s)) if chain.block else None,
        "value_usd": number(chain.value_usd),
        "positions": [_lp_position(row) for row in chain.rows],
        "left_out": list(chain.left_out),
        "trouble": chain.trouble or None,
    }


def _lp_position(row: LpRow) -> Document:
    """Prices and values are in quote tokens but for those that end in ``_usd``."""
    item, figures, ticks = row.position, row.figures, row.position.ticks
    return {
        "id": item.id,
        "kind": item.kind.value,
        "protocol": item.protocol,
        "pool": item.pool,
        "pool_address": item.pool_address,
        "fee": number(item.fee),
        "owner": item.owner,
        "staker": item.staker or None,
        "base": _lp_token(item.base),
        "quote": _lp_token(item.quote),
        "price": number(item.spot),
        "quote_usd": number(item.quote_usd),
        "usd_source": item.usd_source,
        "amounts": {"base": number(item.units), "quote": number(item.quote_units)},
        "value": number(item.value),
        "value_usd": number(item.value_usd),
        "in_range": item.in_range,
        "lower": number(item.shape.lower_usd),
        "upper": number(item.shape.upper_usd),  # None: no upper end
        "distance_lower": number(item.distance_lower),  # fraction of the price; negative: below the range
        "distance_upper": number(item.distance_upper),
        "ticks_to_lower": ticks.tick - ticks.lower if ticks else None,
        "ticks_to_upper": ticks.upper - ticks.tick if ticks else None,
        "delta": number(figures.delta_units),
        "gamma": number(figures.gamma),
        "gamma_1pct": number(figures.gamma_1pct),
        "fees": _lp_fees(row),
        "hold": _lp_hold(row),
    }


def _lp_token(token: LpToken) -> Document:
    return {"symbol": token.symbol, "address": token.address, "decimals": token.decimals}


def _lp_fees(row: LpRow) -> Document:
    item, figures = row.position, row.figures
    return {
        "uncollected_base": number(item.fees_units),
        "uncollected_quote": number(item.fees_quote),
        "uncollected_usd": number(item.fees_usd),
        "earned": number(figures.fees_earned),
        "income_30d": number(figures.fee_income_30d),
        "why_unknown": item.why_no_fees or None,
    }


def _lp_hold(row: LpRow) -> Document:
    """Impermanent loss: against holding the deposited tokens, and against the value at the deposit."""
    figures, deposits, usd = row.figures, row.position.deposits, row.position.quote_usd
    return {
        "deposited_base": number(deposits.units),
        "deposited_quote": number(deposits.quote),
        "since": time(deposits.since_s),
        "source": deposits.source or None,
        "value": number(figures.hold_value),
        "loss": number(figures.loss_hold),
        "loss_share": number(figures.loss_hold_share),
        "loss_usd": number(figures.loss_hold * usd),
        "with_fees": number(figures.net_hold),
        "entry_value": number(deposits.entry_value),
        "against_entry": number(figures.loss_entry),
        "against_entry_share": number(figures.loss_entry_share),
        "why_unknown": deposits.why_unknown or None,
    }
