"""What a reply of Derive says became of an order, held to what was signed. Pure.

The limit, the size and the fee are signed: a fill that is worse is a lie or a bug and raises InvariantError,
which stops the bot. Fills that a history lists twice count once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.chain.derive_actions import E18, PRECISION
from bot.chain.json_fields import field, millis
from bot.errors import InvariantError
from bot.venues.derive_orders import DeriveOrder, product_up
from bot.venues.derive_replies import OrderRow, TradeRow, e18, order_of, trade_of, unique

_ENDED = frozenset({"filled", "rejected", "cancelled", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What was traded of an order."""

    id: str  # of the order or the quote
    size_e18: int
    cost_e18: int  # price times contracts, fees left out
    fee_e18: int  # negative: a rebate
    at_s: float


def fill_of(order: DeriveOrder, reply: Mapping[str, Any]) -> Fill | None:
    """Return what a reply says was traded, None for nothing. Raises InvariantError for a fill that is worse
    than what was signed, of another option, or larger than the order.
    """
    found = _of_quote(order, reply) if order.quote_id else _of_order(order, reply)
    if found is None or found.size_e18 == 0:
        return None
    _check_fill(order, found)
    return found


def is_resting(reply: Mapping[str, Any]) -> bool:
    """Say whether an order is still on the book, against its time in force: its end is not known then."""
    row = reply.get("order")
    return row is not None and order_of(row).status not in _ENDED


def _of_order(order: DeriveOrder, reply: Mapping[str, Any]) -> Fill | None:
    row = order_of(reply["order"]) if reply.get("order") is not None else None
    trades = unique(trade_of(item) for item in reply.get("trades", ()))
    if row is not None:
        _check_row(order, row)
    for trade in trades:
        _same(order, trade.name, trade.is_buy)
    if not trades:
        return None if row is None else _from_row(row)
    filled = sum(trade.amount_e18 for trade in trades)
    if row is not None and filled < row.filled_e18:  # its history lags behind
        return _from_row(row)
    if row is not None and filled > row.filled_e18:
        raise InvariantError(
            f"Derive order {row.order_id} filled {row.filled_e18 / E18:g} contracts, "
            f"its trades say {filled / E18:g}"
        )
    return _from_trades(trades, row.order_id if row else trades[0].order_id)


def _of_quote(order: DeriveOrder, reply: Mapping[str, Any]) -> Fill | None:
    trades = unique(trade_of(item) for item in reply.get("trades", ()))
    for trade in trades:
        _same(order, trade.name, trade.is_buy)
    if trades:
        return _from_trades(trades, order.quote_id)
    row = reply.get("quote")
    if row is None:
        return None
    if (row.get("quote_id"), row.get("rfq_id")) != (order.quote_id, order.rfq_id):
        raise InvariantError(f"asked for Derive quote {order.quote_id}, got {row.get('quote_id')!r:.60}")
    if row.get("status") != "filled":
        return None
    cost = product_up(order.amount_e18, order.price_e18)
    # The quote's reply has no price of its own; the fee is bounded by what was signed.
    return Fill(
        id=order.quote_id,
        size_e18=order.amount_e18,
        cost_e18=cost,
        fee_e18=e18(row.get("fee"), "quote fee"),
        at_s=millis(field(row, "last_update_timestamp", "quote"), "last_update_timestamp"),
    )


def _from_row(row: OrderRow) -> Fill:
    return Fill(
        id=row.order_id,
        size_e18=row.filled_e18,
        cost_e18=row.filled_e18 * row.average_e18 // E18,
        fee_e18=row.fee_e18,
        at_s=row.at_s,
    )


def _from_trades(trades: tuple[TradeRow, ...], id: str) -> Fill:
    return Fill(
        id=id,
        size_e18=sum(trade.amount_e18 for trade in trades),
        cost_e18=sum(trade.amount_e18 * trade.price_e18 for trade in trades) // E18,
        fee_e18=sum(trade.fee_e18 for trade in trades),
        at_s=max(trade.at_s for trade in trades),
    )


def _check_row(order: DeriveOrder, row: OrderRow) -> None:
    _same(order, row.name, row.is_buy)
    # A reduce-only order is cut down to the position by the exchange.
    fits = row.amount_e18 == order.amount_e18 or (order.reduce_only and row.amount_e18 < order.amount_e18)
    if not fits:
        raise InvariantError(
            f"Derive order {row.order_id} is for {row.amount_e18 / E18:g} contracts, "
            f"signed was {order.amount_e18 / E18:g}"
        )


def _same(order: DeriveOrder, name: str, is_buy: bool) -> None:
    if (name, is_buy) != (order.name, order.is_buy):
        raise InvariantError(
            f"Derive answers with a {'buy' if is_buy else 'sell'} of {name:.60}, signed was a "
            f"{'buy' if order.is_buy else 'sell'} of {order.name}"
        )


def _check_fill(order: DeriveOrder, fill: Fill) -> None:
    """Hold a fill to what was signed, up to the rounding of 12 decimals."""
    slack = PRECISION * 10
    bound = fill.size_e18 * order.price_e18 // E18
    worse = fill.cost_e18 > bound + slack if order.is_buy else fill.cost_e18 < bound - slack
    fee_bound = order.max_fee_e18 if order.quote_id else product_up(fill.size_e18, order.max_fee_e18)
    if fill.size_e18 > order.amount_e18:
        raise InvariantError(
            f"Derive filled {fill.size_e18 / E18:g} contracts of {order.name}, "
            f"signed was {order.amount_e18 / E18:g}"
        )
    if worse:
        raise InvariantError(
            f"Derive filled {order.name} at {fill.cost_e18 / fill.size_e18:g} USDC, "
            f"the limit that was signed is {order.price_e18 / E18:g}"
        )
    if fill.fee_e18 > fee_bound + slack:
        raise InvariantError(
            f"Derive took {fill.fee_e18 / E18:g} USDC of fees on {order.name}, "
            f"signed was at most {fee_bound / E18:g}"
        )
