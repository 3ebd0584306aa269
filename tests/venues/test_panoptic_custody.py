"""Orders at Panoptic and Nexus as a Safe's batch, and under the signer's rules."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from safe_builders import make_safe

from bot.chain.abi import Abi
from bot.chain.rpc import Rpc
from bot.chain.signing.calls import Bounds, CallBook, Effect
from bot.devnet.node import Devnet
from bot.errors import InvariantError
from bot.model.hedge import LegStatus
from bot.model.intent import TxRequest
from bot.venues.panoptic import panoptic_venue

from .safe_batch import SignedAtOnce
from .test_nexus import Mutual, mutual, ordered
from .test_panoptic import Market, market

__all__ = ("market", "mutual")  # fixtures
pytestmark = pytest.mark.devnet


@pytest.fixture
async def batch(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> SignedAtOnce:
    safes = await make_safe(rpc, cache_dir, devnet.deployment)
    usdc = safes.bench.at("TestERC20SetDecimals", devnet.deployment.usdc)
    await usdc.send("mint", safes.address, 50_000 * 10**6)
    return SignedAtOnce(safes)


async def test_a_put_is_bought_and_sold_in_one_batch_each(market: Market, batch: SignedAtOnce) -> None:
    owned = replace(market, transactor=batch, desk=replace(market.desk, me=batch.address))  # type: ignore[arg-type]
    start = await owned.worth_usd()
    bought = await owned.buy()
    assert bought.status is LegStatus.FILLED, bought.because
    assert bought.premium_usd <= bought.leg.limit_usd
    assert batch.proposed[0] == (
        "approve-trade",
        "approve-trade-1",
        "approve-trade-2",
        "buy-unit",
        "deposit-cash",
        "deposit-unit",
        "open",
        "revoke-trade",
        "revoke-trade-1",
        "revoke-trade-2",
    )
    assert await owned.allowances() == {0}
    await market.desk.swap_to(2500)
    await market.desk.calm()
    (position,) = await owned.held()
    assert position.id == bought.position_id
    sold = await owned.close(position)
    assert sold.status is LegStatus.FILLED, sold.because
    assert batch.proposed[1] == ("close", "withdraw-unit", "withdraw-cash")
    assert await owned.held() == ()
    gained = sold.premium_usd - bought.premium_usd
    assert gained > 100.0
    assert await owned.worth_usd() - start == pytest.approx(gained, abs=0.05 * sold.premium_usd)


async def test_a_batch_that_would_fail_sends_nothing(market: Market, batch: SignedAtOnce) -> None:
    owned = replace(market, transactor=batch, desk=replace(market.desk, me=batch.address))  # type: ignore[arg-type]
    usdc = market.desk.bench.at("TestERC20SetDecimals", market.contracts.cash_token)
    await usdc.send("burn", batch.address, await owned.balance(market.contracts.cash_token) - 100 * 10**6)
    outcome = await owned.buy()
    assert outcome.status is LegStatus.REJECTED
    assert "lacks" in outcome.because
    assert not batch.proposed


async def test_a_cover_is_bought_in_one_batch(mutual: Mutual, batch: SignedAtOnce) -> None:
    owned = replace(mutual, transactor=batch)  # type: ignore[arg-type]
    before = await owned.usdc()
    outcome = await owned.buy()
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert batch.proposed == [("approve-trade", "cover", "revoke-trade")]
    assert before - await owned.usdc() == round(outcome.premium_usd * 1e6)
    assert await owned.allowance() == 0
    (held,) = await owned.held()
    assert held.id == outcome.cover_id


# --- the signer's rules -----------------------------------------------------------------------------------


def judged(market_or_mutual: Market | Mutual, requests: Sequence[TxRequest]) -> dict[str, Effect]:
    """Ask the signer's own rules about every request; raises where one would be refused."""
    own = market_or_mutual.transactor.address.lower()
    book = CallBook(market_or_mutual.venue.permissions(), own=frozenset({own}))
    given: dict[str, int] = {}
    found = {}
    for request in requests:
        bounds = Bounds(
            recipients=frozenset({own}),
            now_s=0.0,
            valid_until_s=request.valid_until_s,
            allowance=lambda spender: given.get(spender, 0),
        )
        effect = book.check(request.to.lower(), request.data, bounds)
        if effect.approval is not None:
            given[effect.approval.spender] = effect.approval.amount_raw
        found[request.purpose] = effect
    return found


async def test_the_signer_would_sign_every_call_of_a_life(market: Market) -> None:
    await market.buy()
    effects = judged(market, market.transactor.requests)
    assert effects["open"].opens
    assert effects["deposit-cash"].opens
    assert not effects["deposit-unit"].opens
    market.transactor.requests.clear()
    await market.desk.swap_to(2500)
    await market.desk.calm()
    (position,) = await market.held()
    await market.close(position)
    effects = judged(market, market.transactor.requests)
    assert set(effects) >= {"close", "withdraw-cash", "withdraw-unit"}
    assert not any(effect.opens for effect in effects.values())  # all of it goes on while paused


async def test_the_signer_tells_an_opening_from_a_close(market: Market) -> None:
    pool = Abi.load("PanopticPool")
    own = market.transactor.address.lower()
    book = CallBook(market.venue.permissions(), own=frozenset({own}))
    bounds = Bounds(recipients=frozenset({own}), now_s=0.0, valid_until_s=1e12, allowance=lambda _: 0)
    limits = [(10, -10, 0)]
    for ids, sizes, opens in (([7], [0], False), ([7], [5], True), ([7, 8], [5, 0], True)):
        data = pool.encode("dispatch", ids, [], sizes, limits * len(ids), False, 0)
        assert book.check(market.contracts.pool.lower(), data, bounds).opens is opens
    hidden = pool.encode("dispatch", [7, 8], [], [0, 5], limits * 2, False, 0)
    with pytest.raises(InvariantError, match="must have 0"):
        book.check(market.contracts.pool.lower(), hidden, bounds)
    tracker = Abi.load("PanopticCollateralTracker")
    elsewhere = tracker.encode("withdraw(uint256,address,address)", 5, "0x" + "99" * 20, own)
    with pytest.raises(InvariantError, match="would pay 0x9999"):
        book.check(market.contracts.cash_tracker.lower(), elsewhere, bounds)
    multicall = pool.encode("multicall", [data])
    with pytest.raises(InvariantError, match="allow-list"):
        book.check(market.contracts.pool.lower(), multicall, bounds)


async def test_the_signer_signs_covers_and_no_claim(mutual: Mutual) -> None:
    await mutual.venue.execute(ordered(await mutual.quote()), view=await mutual.view())
    effects = judged(mutual, mutual.transactor.requests)
    assert effects["cover"].opens
    (held,) = await mutual.held()
    await mutual.warp(60)
    draft = await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=1.0)
    request = replace(
        mutual.transactor.requests[0],
        to=draft.to,
        data=bytes.fromhex(draft.data[2:]),
        value_wei=draft.value_wei,
    )
    with pytest.raises(InvariantError, match="allow-list"):
        judged(mutual, [request])


async def test_money_for_a_deposit_alone_is_too_little(market: Market) -> None:
    """Two payments in one token, the deposit and the swap, share what the account holds."""
    quote = await market.quote()
    leg_money = quote.premium_usd
    margin = float(quote.because.partition("; ")[2].partition(" ")[0])
    usdc = market.desk.bench.at("TestERC20SetDecimals", market.contracts.cash_token)
    enough = round((margin + leg_money) * 1e6)
    held = await market.balance(market.contracts.cash_token)
    await usdc.send("burn", market.transactor.address, held - enough * 9 // 10)
    refused = await market.buy()
    assert refused.status is LegStatus.REJECTED
    assert "lacks" in refused.because
    assert not market.transactor.requests


def test_a_venue_without_an_account_names_its_rules_too() -> None:
    from .test_panoptic_value import CONTRACTS

    venue = panoptic_venue(reader=None, contracts=CONTRACTS)  # type: ignore[arg-type]
    assert CallBook(venue.permissions(), own=frozenset())
