"""The JSON document of ``alvh monitor`` over LP positions: one refresh."""

from bot.app.lp import ChainLp, LpRow, LpView
from bot.documents import Document, number, time
from bot.model.lp_position import LpToken


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
