"""What `alvh positions`, `quote`, `close`, `roll`, `exercise` and `history` say with --json."""

from collections.abc import Sequence

from bot.app.account_orders import Asked
from bot.app.look import Look
from bot.app.manual import Held, Offer, Outcome, held, offers
from bot.app.manual_perpetual import named_perpetuals
from bot.app.orders import History
from bot.cover_document import cover_order_document, cover_outcome_document, held_cover_document
from bot.documents import (
    Document,
    account_order_document,
    account_outcome_document,
    number,
    perpetual_document,
    perpetual_outcome_document,
    time,
)
from bot.model.account_order import AccountOutcome
from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, Quote
from bot.model.perpetual import HeldPerpetual
from bot.model.units import iso_utc
from bot.pipeline.desk import Request
from bot.simulation.results import order_json


def positions_document(look: Look) -> Document:
    """Every position; values are of the whole position, null where they are not known."""
    return {
        **_moment(look),
        "running": look.running,
        "positions": [_position(item) for item in held(look)],
        "perpetuals": [_perpetual(name, item) for name, item in named_perpetuals(look).items()],
        "covers": [held_cover_document(item, now_s=look.moment.now_s) for item in look.covers],
    }


def offers_document(look: Look) -> Document:
    """What each slot of each hedge group could be filled with, the best first, and what was refused."""
    return {**_moment(look), "slots": [_offer(item) for item in offers(look)]}


def outcomes_document(request: Request, outcomes: Sequence[Outcome]) -> Document:
    return {
        "asked": [*map(_leg, request.legs), *map(perpetual_document, request.perpetuals)],
        "orders": [
            order_json(item) if isinstance(item, LegOutcome) else perpetual_outcome_document(item)
            for item in outcomes
        ],
    }


def account_document(asked: Asked, outcome: AccountOutcome) -> Document:
    """What was asked for by hand of a position or loan, and what became of it."""
    return {
        "asked": {
            **account_order_document(asked.order),
            "least_usd": number(asked.plan.least_usd),
            "most_usd": number(asked.plan.most_usd),
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
        "perpetual_orders": [perpetual_outcome_document(outcome) for outcome in found.perpetual_outcomes],
        "open_perpetual_orders": [perpetual_document(order) for order in found.open_perpetuals],
        "open_account_orders": [account_order_document(order) for order in found.open_account_orders],
        "cover_orders": [cover_outcome_document(outcome) for outcome in found.cover_outcomes],
        "open_cover_orders": [cover_order_document(order) for order in found.open_covers],
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
        "cost_usd": number(hedge.cost_usd),
        "model_usd": number(hedge.model_usd),
        "liquidation_usd": number(hedge.liquidation_usd),
        "marked_by": mark.marked_by if mark else "",
        "intrinsic_usd": number(mark.intrinsic_usd) if mark else None,
        "iv": number(hedge.iv),
        "settleable": hedge.settleable,
        "due": None
        if mark is None
        else {
            "action": mark.due.action.value,
            "from_ts": time(mark.due.from_s),
            "until_ts": time(mark.due.until_s),
            "because": mark.due.because,
        },
    }


def _perpetual(name: str, item: HeldPerpetual) -> Document:
    """What one group holds of a perpetual; sizes are units of the underlying, short < 0 < long."""
    return {
        "position": name,
        "venue": item.perpetual.venue,
        "perpetual": item.perpetual.id,
        "underlying": item.perpetual.underlying,
        "group": item.group,
        "size": item.size,
        "entry_usd": number(item.entry_usd),
        "mark_usd": number(item.mark_usd),
        "margin_usd": number(item.margin_usd),
        "liquidation_usd": number(item.liquidation_usd),
        "funding_usd": number(item.funding_usd),
        "unrealised_usd": number(item.unrealised_usd),
    }


def _offer(item: Offer) -> Document:
    choice = item.choice
    return {
        "group": item.group,
        "layer": item.slot.layer.value,
        "option_type": item.slot.option_type.value,
        "because": choice.because,
        "quotes": [
            {**_quote(each.quote), "gain_per_cost": number(each.gain_per_cost)} for each in choice.candidates
        ],
        "refused": list(choice.dropped),
    }


def _quote(quote: Quote) -> Document:
    return {
        "instrument": _instrument(quote.instrument),
        "contracts": quote.size,
        "premium_usd": number(quote.premium_usd),
        "fee_usd": number(quote.fee_usd),
        "swap_usd": number(quote.swap_usd),
        "gas_usd": number(quote.gas_usd),
        "exit_gas_usd": number(quote.exit_gas_usd),
        "net_unit_usd": number(quote.net_unit_usd),
        "model_usd": number(quote.model_usd),
        "iv": number(quote.iv),
        "delta": number(quote.delta),
        "liquidity_contracts": number(quote.liquidity),
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
        "limit_usd": number(leg.limit_usd),
        "expected_usd": number(leg.expected_usd),
        "valid_until_ts": time(leg.valid_until_s),
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
