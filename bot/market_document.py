"""What `alvh plan --json` says of quotes, vols and replication. Vols, shares and errors are fractions."""

import math
from typing import Any

from bot.engine.market_view import ExpiryView, MarketView
from bot.engine.replicate import ExpiryReplication, GroupReplication, ReplicationLeg
from bot.model.units import iso_utc

Document = dict[str, Any]


def market_document(view: MarketView) -> Document:
    """Smiles, forwards, term structure and realised vols of one underlying."""
    return {
        "underlying": view.underlying,
        "spot_usd": _number(view.spot_usd),
        "expiries": [_expiry(item) for item in view.expiries],
        "term_structure": [{"days": item.days, "atm_iv": _number(item.iv)} for item in view.term],
        "term_slope": _number(view.term_slope),
        "realised": [
            {"name": item.name, "vol": _number(item.vol), "because": item.because} for item in view.realised
        ],
    }


def replication_document(found: GroupReplication) -> Document:
    """One group's loss against what every listed expiry can replicate of it."""
    return {
        "group": found.group,
        "value_usd": _number(found.value_usd),
        "loss_measure": found.measure,
        "confidence": found.confidence,
        "because": found.because,
        "expiries": [_replication(item) for item in found.expiries],
    }


def _expiry(item: ExpiryView) -> Document:
    return {
        "expiry_ts": iso_utc(item.expiry_s),
        "dte": round(item.dte, 4),
        "forward_usd": _number(item.forward_usd),
        "forward_from": item.forward_from,
        "atm_iv": _number(item.atm_iv),
        "put_25_iv": _number(item.put_25_iv),
        "call_25_iv": _number(item.call_25_iv),
        "skew_25": _number(item.skew_25),
        "forward_iv": _number(item.forward_iv),
        "model": item.model.value,
        "rms_error_iv": _number(item.rms_error_iv),
        "max_error_iv": _number(item.max_error_iv),
        "strikes_used": item.used,
        "left_out": item.left_out,
        "left_out_because": item.left_out_because,
        "arbitrages": list(item.arbitrages),
        "because": item.why_unknown,
    }


def _replication(item: ExpiryReplication) -> Document:
    return {
        "expiry_ts": iso_utc(item.expiry_s),
        "dte": round(item.dte, 4),
        "low_usd": _number(item.low_usd),
        "high_usd": _number(item.high_usd),
        "cost_usd": item.cost_usd,
        "cost_share": item.cost_share,
        "indicative": item.indicative,
        "mean_loss_share": _number(item.mean_loss),
        "mean_error_share": _number(item.mean_error),
        "worst_error_share": _number(item.worst_error),
        "worst_error_bound": _number(item.worst_bound),
        "worst_error_usd": _number(item.worst_error * item.value_usd),
        "worst_spot_usd": _number(item.worst_usd),
        "over_hedge_usd": _number(item.over_hedge_usd),
        "optimal": item.optimal,
        "legs": [_leg(leg) for leg in item.legs],
        "usable": item.usable,
        "unusable": item.unusable,
        "unusable_because": item.unusable_because,
        "because": item.because,
    }


def _leg(leg: ReplicationLeg) -> Document:
    option = leg.instrument
    return {
        "venue": option.venue,
        "option": option.id,
        "option_type": option.option_type.value,
        "strike_usd": option.strike_usd,
        "size": leg.contracts,
        "cost_usd": leg.cost_usd,
        "at_liquidity": leg.at_liquidity,
        "indicative": leg.indicative,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
