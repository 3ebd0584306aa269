"""What `alvh cover` says with --json, and what every document says of covers (R20). Money is USD."""

import math
from collections.abc import Sequence
from typing import Any

from bot.model.cover import ClaimDraft, CoverOrder, CoverOutcome, CoverProduct, CoverQuote, HeldCover
from bot.model.units import DAY_S, iso_utc

Document = dict[str, Any]


def cover_order_document(order: CoverOrder) -> Document:
    """A purchase of cover."""
    return {
        "key": order.key,
        **_product(order.product),
        "amount_usd": order.amount_usd,
        "days": order.period_s / DAY_S,
        "limit_usd": order.limit_usd,
        "expected_usd": _number(order.expected_usd),
        "valid_until_ts": _time(order.valid_until_s),
        "because": order.because,
    }


def cover_outcome_document(item: CoverOutcome) -> Document:
    """What became of a purchase of cover."""
    return {
        **cover_order_document(item.order),
        "ts": _time(item.at_s),
        "block": item.block_number or None,
        "status": item.status.value,
        "cover": item.cover_id or None,
        "premium_usd": item.premium_usd,
        "gas_usd": item.gas_usd,
        "tx_hash": item.tx_hash or None,
        "because": item.because or item.order.because,
    }


def cover_quote_document(quote: CoverQuote) -> Document:
    """What a cover costs now."""
    return {
        **_product(quote.product),
        "amount_usd": quote.amount_usd,
        "days": quote.period_s / DAY_S,
        "premium_usd": quote.premium_usd,
        "rate": quote.rate,
        "gas_usd": _number(quote.gas_usd),
        "settlement": quote.settlement,
        "capacity_usd": _number(quote.capacity_usd),
        "grace_days": quote.grace_s / DAY_S,
        "block": quote.block_number,
        "valid_until_ts": _time(quote.valid_until_s),
        "because": quote.because,
    }


def bought_document(order: CoverOrder, outcome: CoverOutcome) -> Document:
    """What was asked for, and what became of it."""
    return {"asked": cover_order_document(order), "order": cover_outcome_document(outcome)}


def covers_document(covers: Sequence[HeldCover], *, now_s: float) -> Document:
    """What the account holds."""
    return {"ts": _time(now_s), "covers": [held_cover_document(item, now_s=now_s) for item in covers]}


def held_cover_document(item: HeldCover, *, now_s: float) -> Document:
    """A cover that is held; it has no buyer, so that its market value is 0."""
    return {
        "cover": item.id,
        **_product(item.product),
        "amount_usd": _number(item.amount_usd),
        "settlement": item.settlement,
        "market_usd": item.market_usd,
        "alive": item.is_alive(now_s),
        "starts_ts": _time(item.starts_s),
        "expires_ts": _time(item.expires_s),
        "claim_until_ts": _time(item.claim_until_s),
        "claim": item.claim.value,
    }


def claim_document(draft: ClaimDraft) -> Document:
    """What a person sends, and what they need before."""
    return {
        "cover": draft.cover_id,
        "purpose": draft.purpose,
        "to": draft.to,
        "data": draft.data,
        "value_wei": str(draft.value_wei),
        "amount_usd": _number(draft.amount_usd),
        "until_ts": _time(draft.until_s),
        "needs": list(draft.needs),
        "because": draft.because,
    }


def _product(product: CoverProduct) -> Document:
    return {
        "venue": product.venue,
        "product": product.id,
        "name": product.name,
        "protocol": product.protocol,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _time(at_s: float) -> str | None:
    return iso_utc(at_s) if math.isfinite(at_s) else None
