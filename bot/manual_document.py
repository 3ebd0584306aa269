"""What `alvh positions`, `quote`, `close`, `roll`, `exercise` and `history` say with --json."""

import math
from collections.abc import Sequence
from typing import Any

from bot.app.account_orders import Asked
from bot.app.look import Look
from bot.app.manual import Held, Offer, held, offers
from bot.app.orders import History
from bot.documents import account_order_document, account_outcome_document
from bot.model.account_order import AccountOutcome
from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, Quote
from bot.model.units import iso_utc
from bot.pipeline.desk import Request
from bot.simulation.results import order_json

Document = dict[str, Any]


def positions_document(look: Look) -> Document:
    """Every position; values are of the whole position, null where they are not known."""
    return {**_moment(look), "running": look.running, "positions": [_position(item) for item in held(look)]}


def offers_document(look: Look) -> Document:
    """What each slot of each hedge group could be filled with, the best first, and what was refused."""
    return {**_moment(look), "slots": [_offer(item) for item in offers(look)]}


def outcomes_document(request: Request, outcomes: Sequence[LegOutcome]) -> Document:
    return {
        "asked": [_leg(leg) for leg in request.legs],
        "orders": [order_json(outcome) for outcome in outcomes],
    }


def account_document(asked: Asked, outcome: AccountOutcome) -> Document:
    """What was asked for by hand of a position or loan, and what became of it."""
    return {
        "asked": {
            **account_order_document(asked.order),
            "least_usd": _number(asked.plan.least_usd),
            "most_usd": _number(asked.plan.most_usd),
            "amounts": asked.plan.because,
        },
        "order": account_outcome_document(outcome),
    }


def history_document(found: History) -> Document:
    """Closed orders, what is open, and every event of every transaction."""
    return {
        "orders": [order_json(outcome) for outcome in found.outcomes],
        "open": [_leg(leg) for leg in found.open_legs],
        "account_orders": [account_outcome_document(outcome) for outcome in found.account_outcomes],
        "open_account_orders": [account_order_document(order) for order in found.open_account_orders],
        "waiting": list(found.waiting),
        "transactions": [
            {
                "ts": iso_utc(int(item.at_s)),
                "order": item.leg_key,
                "purpose": item.purpose,
                "state": item.state.value,
                "chain_id": item.chain_id,
                "nonce": item.nonce,
                "tx_hash": item.tx_hash,
                "block": item.block_number or None,
                "because": item.because,
            }
            for item in found.intents
        ],
    }


def _moment(look: Look) -> Document:
    blocks = sorted(look.moment.blocks.items())
    return {
        "ts": iso_utc(int(look.moment.now_s)),
        "mode": look.mode,
        "blocks": {str(chain_id): block.number for chain_id, block in blocks},
    }


def _position(item: Held) -> Document:
    hedge, mark = item.hedge, item.mark
    return {
        "position": item.name,
        "instrument": _instrument(hedge.instrument),
        "group": hedge.group,
        "layer": hedge.layer.value,
        "contracts": hedge.size,
        "cost_usd": _number(hedge.cost_usd),
        "model_usd": _number(hedge.model_usd),
        "liquidation_usd": _number(hedge.liquidation_usd),
        "marked_by": mark.marked_by if mark else "",
        "intrinsic_usd": _number(mark.intrinsic_usd) if mark else None,
        "iv": _number(hedge.iv),
        "settleable": hedge.settleable,
        "due": None
        if mark is None
        else {
            "action": mark.due.action.value,
            "from_ts": _time(mark.due.from_s),
            "until_ts": _time(mark.due.until_s),
            "because": mark.due.because,
        },
    }


def _offer(item: Offer) -> Document:
    choice = item.choice
    return {
        "group": item.group,
        "layer": item.slot.layer.value,
        "option_type": item.slot.option_type.value,
        "because": choice.because,
        "quotes": [
            {**_quote(each.quote), "gain_per_cost": _number(each.gain_per_cost)} for each in choice.candidates
        ],
        "refused": list(choice.dropped),
    }


def _quote(quote: Quote) -> Document:
    return {
        "instrument": _instrument(quote.instrument),
        "contracts": quote.size,
        "premium_usd": _number(quote.premium_usd),
        "fee_usd": _number(quote.fee_usd),
        "swap_usd": _number(quote.swap_usd),
        "gas_usd": _number(quote.gas_usd),
        "exit_gas_usd": _number(quote.exit_gas_usd),
        "net_unit_usd": _number(quote.net_unit_usd),
        "model_usd": _number(quote.model_usd),
        "iv": _number(quote.iv),
        "delta": _number(quote.delta),
        "liquidity_contracts": _number(quote.liquidity),
        "indicative": quote.indicative,
        "because": quote.because,
    }


def _leg(leg: HedgeLeg) -> Document:
    return {
        "key": leg.key,
        "group": leg.group,
        "layer": leg.layer.value,
        "side": leg.side.value,
        "instrument": _instrument(leg.instrument),
        "contracts": leg.size,
        "limit_usd": _number(leg.limit_usd),
        "expected_usd": _number(leg.expected_usd),
        "valid_until_ts": _time(leg.valid_until_s),
        "only_after": leg.only_after,
        "because": leg.because,
    }


def _instrument(item: Instrument) -> Document:
    return {
        "venue": item.venue,
        "id": item.id,
        "underlying": item.underlying,
        "option_type": item.option_type.value,
        "strike_usd": item.strike_usd,
        "strike_mode": item.strike_mode.value,
        "style": item.style.value,
        "expiry_ts": iso_utc(item.expiry_s),
        "settlement": item.settlement,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _time(at_s: float) -> str | None:
    return iso_utc(int(at_s)) if math.isfinite(at_s) else None
