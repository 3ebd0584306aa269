"""Requests for quotes at Derive, for sizes that its book does not hold. Asking binds to nothing."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from bot.chain.derive_actions import E18, PRECISION
from bot.chain.json_fields import field, listing, string
from bot.errors import OutcomeUnknown, TransientError, VenueRejected
from bot.model.hedge import Quote
from bot.venues.derive_account import DeriveAccount
from bot.venues.derive_client import DeriveClient
from bot.venues.derive_orders import DeriveOrder, DeriveTerms, PriceLimit, product_up
from bot.venues.derive_quotes import Listed
from bot.venues.derive_replies import MakerQuote, e18, maker_quote_of
from bot.venues.derive_signing import decimal_e18


async def best_maker(
    client: DeriveClient,
    account: DeriveAccount,
    listed: Listed,
    limit: PriceLimit,
    *,
    is_buy: bool,
    key: str,
    terms: DeriveTerms,
) -> DeriveOrder | None:
    """Ask makers for the whole amount and return the best quote within the limit, None where none comes.

    Raises what the calls raise: nothing of ours can be executed by them, since nothing is signed.
    """
    name = listed.contract.instrument.id
    leg = {"instrument_name": name, "direction": "buy", "amount": decimal_e18(limit.amount_e18)}
    asked = {"subaccount_id": account.subaccount_id, "legs": [leg], "label": key[:64]}
    rfq = await client.send("private/send_rfq", asked, key=key)
    rfq_id = string(field(rfq, "rfq_id", "send_rfq"), "rfq_id")
    for _ in range(max(int(terms.rfq_wait_s / terms.rfq_poll_s), 1)):
        quotes = await _open_quotes(client, account, rfq_id)
        fitting = [item for item in quotes if _fits(item, name, limit, is_buy=is_buy)]
        if fitting:
            best = min(fitting, key=lambda item: item.price_e18 if is_buy else -item.price_e18)
            return _order(listed, limit, best, is_buy=is_buy)
        await asyncio.sleep(terms.rfq_poll_s)
    with suppress(TransientError, OutcomeUnknown, VenueRejected):  # it ends by itself
        await client.send(
            "private/cancel_rfq", {"subaccount_id": account.subaccount_id, "rfq_id": rfq_id}, key=key
        )
    return None


async def estimated(
    client: DeriveClient,
    account: DeriveAccount,
    quotes: Sequence[Quote],
    size: float,
    *,
    terms: DeriveTerms,
    usdc_usd: float,
) -> tuple[Quote, ...]:
    """Price the quotes whose book is too thin for ``size`` by the exchange's own estimate of an RFQ.

    The estimate is by the mark, so a spread comes on top; the order's limit is what holds in the end.
    """
    thin = [place for place, quote in enumerate(quotes) if quote.liquidity < size]
    if len(thin) > terms.rfq_most:
        picks = np.unique(np.linspace(0, len(thin) - 1, terms.rfq_most).round().astype(int))
        thin = [thin[pick] for pick in picks]
    found = list(quotes)
    for place in thin:
        with suppress(TransientError, VenueRejected):
            found[place] = await _estimate(client, account, found[place], size, terms, usdc_usd)
    return tuple(found)


async def _estimate(
    client: DeriveClient,
    account: DeriveAccount,
    quote: Quote,
    size: float,
    terms: DeriveTerms,
    usdc_usd: float,
) -> Quote:
    lots = int(size / quote.lot + 1e-9)
    contracts = round(lots * quote.lot, 12)
    leg = {"instrument_name": quote.instrument.id, "direction": "buy", "amount": f"{contracts:.12f}"}
    asked = {"subaccount_id": account.subaccount_id, "direction": "buy", "legs": [leg]}
    reply = await client.read("private/rfq_get_best_quote", asked)
    if field(reply, "is_valid", "rfq_get_best_quote") is not True:
        return quote
    cost = e18(field(reply, "estimated_total_cost", "estimate"), "estimated_total_cost", least=1) / E18
    fee = e18(field(reply, "estimated_fee", "estimate"), "estimated_fee") / E18
    return replace(
        quote,
        size=contracts,
        premium_usd=(cost * (1.0 + terms.rfq_spread) + fee) * usdc_usd,
        fee_usd=fee * usdc_usd,
        model_usd=quote.model_usd * contracts / quote.size,
        liquidity=contracts,
        because="over its book's depth: the exchange's estimate of a request for quotes, and a spread",
        bid_usd=float("nan"),
    )


async def _open_quotes(client: DeriveClient, account: DeriveAccount, rfq_id: str) -> list[MakerQuote]:
    asked = {"subaccount_id": account.subaccount_id, "rfq_id": rfq_id, "status": "open"}
    reply: Any = await client.read("private/poll_quotes", asked)
    rows = listing(field(reply, "quotes", "poll_quotes"), "quotes")
    made = (maker_quote_of(row) for row in rows)
    return [item for item in made if item is not None and item.rfq_id == rfq_id and item.is_open]


def _fits(quote: MakerQuote, name: str, limit: PriceLimit, *, is_buy: bool) -> bool:
    """Say whether a quote is for what was asked, on our other side, and within the limit with its fees."""
    same = (quote.name, quote.amount_e18, quote.leg_is_buy) == (name, limit.amount_e18, True)
    can_be_signed = quote.price_e18 > 0 and quote.price_e18 % PRECISION == 0
    if not same or not can_be_signed or quote.is_ask is not is_buy:
        return False
    fees = product_up(limit.amount_e18, limit.fee_e18)
    if is_buy:
        return product_up(quote.amount_e18, quote.price_e18) + fees <= limit.total_e18
    return quote.amount_e18 * quote.price_e18 // E18 - fees >= limit.total_e18


def _order(listed: Listed, limit: PriceLimit, quote: MakerQuote, *, is_buy: bool) -> DeriveOrder:
    return DeriveOrder(
        name=quote.name,
        asset=listed.contract.asset,
        sub_id=listed.contract.sub_id,
        is_buy=is_buy,
        amount_e18=quote.amount_e18,
        price_e18=quote.price_e18,
        max_fee_e18=product_up(limit.amount_e18, limit.fee_e18),
        rfq_id=quote.rfq_id,
        quote_id=quote.quote_id,
    )
