"""Rows as the Derive v3 API writes them (docs.derive.xyz, openapi 0.2.0, 2026-11). Part of the reference."""

import uuid
from decimal import ROUND_HALF_UP, Decimal
from typing import Any


def order_row(
    request: dict[str, Any],
    filled: Decimal,
    average: Decimal,
    fee: Decimal,
    *,
    whole: bool,
    subaccount_id: int,
    now_s: float,
) -> dict[str, Any]:
    """An order of which ``filled`` was traded."""
    stamp = int(now_s * 1e3)
    kept = ("amount", "direction", "instrument_name", "limit_price", "max_fee", "nonce", "signature")
    return {name: request[name] for name in (*kept, "signature_expiry_sec", "signer")} | {
        "average_price": text(average),
        "cancel_reason": "" if whole else "ioc_or_market_partial_fill",
        "creation_timestamp": stamp,
        "extra_fee": "0",
        "filled_amount": text(filled),
        "is_transfer": False,
        "label": request.get("label") or "",
        "last_update_timestamp": stamp,
        "mmp": False,
        "order_fee": text(fee),
        "order_id": str(uuid.uuid4()),
        "order_status": "filled" if whole else "cancelled",
        "order_type": request.get("order_type", "limit"),
        "quote_id": None,
        "replaced_order_id": None,
        "signed_limit_price": request["limit_price"],
        "subaccount_id": subaccount_id,
        "time_in_force": request.get("time_in_force", "gtc"),
        "trigger_price": None,
    }


def trade_row(
    request: dict[str, Any],
    order_id: str,
    *,
    price: Decimal,
    amount: Decimal,
    fee: Decimal,
    name: str,
    mark: Decimal,
    index: Decimal,
    subaccount_id: int,
    now_s: float,
) -> dict[str, Any]:
    """One fill."""
    return {
        "batch_status": None,
        "direction": request["direction"],
        "expected_rebate": "0",
        "extra_fee": "0",
        "index_price": text(index),
        "instrument_name": name,
        "is_transfer": False,
        "label": request.get("label") or "",
        "liquidity_role": "taker",
        "mark_price": text(mark),
        "op_uuid": str(uuid.uuid4()),
        "order_id": order_id,
        "quote_id": request.get("quote_id"),
        "realized_pnl": "0",
        "realized_pnl_excl_fees": "0",
        "rfq_id": request.get("rfq_id"),
        "subaccount_id": subaccount_id,
        "timestamp": int(now_s * 1e3),
        "trade_amount": text(amount),
        "trade_fee": text(fee),
        "trade_id": str(uuid.uuid4()),
        "trade_price": text(price),
        "tx_hash": None,
    }


def executed_row(
    request: dict[str, Any], quote: dict[str, Any], *, fee: Decimal, subaccount_id: int
) -> dict[str, Any]:
    """A maker's quote that a taker executed, as the taker sees it."""
    return {
        **{name: value for name, value in quote.items() if name != "wallet"},
        "direction": request["direction"],
        "liquidity_role": "taker",
        "subaccount_id": subaccount_id,
        "label": request.get("label") or "",
        "fee": text(fee),
        "extra_fee": "0",
        "fill_pct": "1",
        "rfq_filled_pct": "1",
        "is_transfer": False,
        "mmp": False,
        "max_fee": request["max_fee"],
        "nonce": str(request["nonce"]),
        "signature_expiry_sec": request["signature_expiry_sec"],
    }


def text(value: Decimal) -> str:
    """Write a number as the exchange does: a plain decimal of at most 12 places."""
    found = format(value.quantize(Decimal("1e-12"), rounding=ROUND_HALF_UP), "f")
    return found.rstrip("0").rstrip(".") if "." in found else found
