"""Nexus covers through the one executor, against the reference: from the quote to the claim's draft."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_nexus import (
    COOL_DOWN_S,
    DAY_S,
    GRACE_S,
    REDEMPTION_S,
    USDC_ASSET,
    VOTING_S,
    NexusDeployment,
    add_pool,
    deploy_nexus,
)
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import InvariantError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.cover import ClaimState, CoverOrder, CoverOutcome, CoverQuote, HeldCover, order_of
from bot.model.hedge import LegStatus
from bot.model.market import Columns
from bot.model.signing import ApprovalRule, CallRule
from bot.ports import MarketView
from bot.venues.nexus import NexusAdapter
from bot.venues.nexus_reads import Offer, allocate, allocations, free_units, premium_raw
from bot.venues.nexus_terms import NexusContracts, NexusTerms
from bot.venues.planned_cover import PlannedCoverVenue, nexus_venue
from bot.venues.table import COVER_VENUES

from .conftest import NEVER_S, UnlockedTransactor

PERIOD_S = 90 * DAY_S
AMOUNT_USD = 50_000.0


@dataclass
class Mutual:
    """The user at the mutual; no member."""

    at: NexusDeployment
    bench: Bench
    reader: JsonRpcReader
    transactor: UnlockedTransactor
    contracts: NexusContracts
    terms: NexusTerms

    @property
    def venue(self) -> PlannedCoverVenue:
        return nexus_venue(
            reader=self.reader, contracts=self.contracts, custody=self.transactor, terms=self.terms
        )

    async def view(self, **changes: Any) -> MarketView:
        block = await self.reader.head()
        view = MarketView(
            now_s=block.timestamp_s,
            block=block,
            columns=Columns(series={}),
            spot_usd={"ETH": 2_940.0},
            stable_usd={"USDC": 1.0},
        )
        return replace(view, **changes)

    async def quote(
        self, *, protocol: str = "aave-v3", amount_usd: float = AMOUNT_USD, period_s: int = PERIOD_S
    ) -> CoverQuote:
        view = await self.view()
        return await self.venue.quote(view, protocol=protocol, amount_usd=amount_usd, period_s=period_s)

    async def buy(self, *, key: str = "cover", **changes: Any) -> CoverOutcome:
        order = ordered(await self.quote(), key=key, **changes)
        return await self.venue.execute(order, view=await self.view())

    async def held(self) -> tuple[HeldCover, ...]:
        return await self.venue.held(await self.view())

    async def usdc(self) -> int:
        return int(await self._token("balanceOf", self.transactor.address))

    async def allowance(self) -> int:
        return int(await self._token("allowance", self.transactor.address, self.contracts.seller))

    async def _token(self, function: str, *args: Any) -> Any:
        call = Abi.load("ERC20").call(function, self.contracts.token, *args)
        row = (await self.reader.read([call], block=await self.reader.head()))[0]
        assert row is not None
        return row[0]

    async def send_draft(self, to: str, data: str, value_wei: int) -> None:
        """A person sends what was made ready."""
        await self.bench.transact(
            "a draft", to=to, data=data, sender=self.transactor.address, value_wei=value_wei
        )

    async def warp(self, seconds: int) -> None:
        await self.bench.set_time(await self.bench.now_s() + seconds)


def ordered(quote: CoverQuote, *, key: str = "cover", **changes: Any) -> CoverOrder:
    fields: dict[str, Any] = {
        "key": key,
        "product": quote.product,
        "amount_usd": quote.amount_usd,
        "period_s": quote.period_s,
        "limit_usd": quote.premium_usd * 1.01,
        "expected_usd": quote.premium_usd,
        "valid_until_s": NEVER_S,
    }
    return CoverOrder(**{**fields, **changes})


@pytest.fixture
async def mutual(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> Mutual:
    known = devnet.deployment
    bench = Bench(rpc, fetch(cache_dir), known.accounts)
    at = await deploy_nexus(bench, usdc=known.usdc)
    return Mutual(
        at=at,
        bench=bench,
        reader=await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=known.multicall3),
        transactor=UnlockedTransactor(rpc, known.user),
        contracts=NexusContracts(
            cover=at.cover.address,
            seller=at.broker.address,
            nft=at.nft.address,
            products=at.products.address,
            staking_viewer=at.staking.address,
            pool=at.pool.address,
            claims=at.claims.address,
            registry=at.registry.address,
            token=known.usdc,
            asset_id=USDC_ASSET,
        ),
        terms=NexusTerms(products={"aave-v3": 0, "uniswap-v3": 1, "gone": 9}),
    )


# --- the life of a cover ----------------------------------------------------------------------------------


@pytest.mark.devnet
async def test_a_cover_is_quoted_bought_and_held(mutual: Mutual) -> None:
    quote = await mutual.quote()
    assert quote.rate == pytest.approx(0.025, rel=0.001)
    assert quote.premium_usd == pytest.approx(AMOUNT_USD * 0.025 * 90 / 365, rel=0.001)
    assert "pool 1 at 2.50 % a year" in quote.because
    before = await mutual.usdc()
    outcome = await mutual.buy()
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(quote.premium_usd, rel=0.001)
    assert before - await mutual.usdc() == round(outcome.premium_usd * 1e6)
    assert outcome.gas_usd > 0.0
    assert await mutual.allowance() == 0
    (held,) = await mutual.held()
    assert (held.id, held.product) == (outcome.cover_id, quote.product)
    assert held.amount_usd == pytest.approx(AMOUNT_USD, rel=0.001)
    assert held.amount_usd >= AMOUNT_USD
    assert held.expires_s - held.starts_s == PERIOD_S
    assert held.claim_until_s == held.expires_s + GRACE_S
    assert (held.claim, held.market_usd) == (ClaimState.NONE, 0.0)
    assert held.is_alive(held.starts_s)
    assert not held.is_alive(held.expires_s)
    assert (held.cover.protocol, held.cover.venue) == ("aave-v3", "nexus")
    assert held.cover.expires_s == held.expires_s


@pytest.mark.devnet
async def test_a_member_buys_of_the_cover_contract_itself(mutual: Mutual) -> None:
    mutual.contracts = replace(mutual.contracts, seller=mutual.at.cover.address)
    with pytest.raises(VenueRejected, match="OnlyMember"):
        await mutual.quote()
    await mutual.at.registry.send("admit", mutual.transactor.address)
    outcome = await mutual.buy()
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(outcome.order.expected_usd, rel=0.001)
    assert await mutual.allowance() == 0


@pytest.mark.devnet
async def test_a_large_cover_is_split_over_pools(mutual: Mutual) -> None:
    """Pool 1 covers 40,000 NXM by its stake and pool 2 half of that, at 30 USDC each."""
    usdc = mutual.bench.at("TestERC20SetDecimals", mutual.contracts.token)
    await usdc.send("mint", mutual.transactor.address, 10**12)
    quote = await mutual.quote(amount_usd=1_500_000.0, period_s=30 * DAY_S)
    assert "pool 1" in quote.because
    assert "pool 2" in quote.because
    outcome = await mutual.venue.execute(ordered(quote), view=await mutual.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    with pytest.raises(VenueRejected, match="do not cover 700,000 USD"):
        await mutual.quote(amount_usd=700_000.0)
    small = await mutual.quote(amount_usd=100_000.0)  # pool 1 is full: the next one takes it
    assert small.because.startswith("underwritten by pool 2")
    with pytest.raises(VenueRejected, match="do not cover"):
        await mutual.quote(amount_usd=5_000_000.0)


@pytest.mark.devnet
async def test_a_price_that_was_raised_by_purchases_is_quoted_and_falls_back(mutual: Mutual) -> None:
    """The premium reckoned from the pools' prices is what is paid, raised price or not."""
    usdc = mutual.bench.at("TestERC20SetDecimals", mutual.contracts.token)
    await usdc.send("mint", mutual.transactor.address, 10**12)
    for key, amount_usd in (("one", 600_000.0), ("two", 300_000.0)):  # half of each pool: 2.5 % on its price
        quote = await mutual.quote(amount_usd=amount_usd)
        outcome = await mutual.venue.execute(ordered(quote, key=key), view=await mutual.view())
        assert outcome.status is LegStatus.FILLED, outcome.because
    raised = await mutual.quote(amount_usd=100_000.0)
    assert raised.rate == pytest.approx(0.05, rel=0.01)
    outcome = await mutual.venue.execute(ordered(raised, key="three"), view=await mutual.view())
    assert outcome.premium_usd == pytest.approx(raised.premium_usd, rel=1e-3)
    await mutual.warp(3 * DAY_S)
    assert (await mutual.quote()).rate == pytest.approx(0.025, rel=0.001)


@pytest.mark.devnet
async def test_a_claim_is_made_ready_and_sent_by_a_person_alone(mutual: Mutual) -> None:
    await mutual.buy()
    (held,) = await mutual.held()
    await mutual.warp(DAY_S)
    draft = await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=20_000.0)
    assert draft.needs[0].startswith("membership of")
    assert any("0.05 ETH" in item for item in draft.needs)
    assert (draft.to, draft.value_wei) == (mutual.contracts.claims, 5 * 10**16)
    assert draft.until_s == held.claim_until_s
    assert [item.purpose for item in mutual.transactor.requests] == ["approve-trade", "cover"]
    await mutual.at.registry.send("admit", mutual.transactor.address)
    draft = await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=20_000.0)
    assert not any("membership" in item for item in draft.needs)
    await mutual.send_draft(draft.to, draft.data, draft.value_wei)
    (held,) = await mutual.held()
    assert held.claim is ClaimState.OPEN
    with pytest.raises(VenueRejected, match="no payout"):
        await mutual.venue.draft_payout(held, view=await mutual.view())
    await mutual.at.claims.send("assess", 1, True)
    await mutual.warp(VOTING_S + COOL_DOWN_S + 1)
    (held,) = await mutual.held()
    assert held.claim is ClaimState.PAYABLE
    payout = await mutual.venue.draft_payout(held, view=await mutual.view())
    assert payout.amount_usd == pytest.approx(20_000.0)
    before = await mutual.usdc()
    await mutual.send_draft(payout.to, payout.data, payout.value_wei)
    assert await mutual.usdc() == before + 20_000 * 10**6
    (held,) = await mutual.held()
    assert held.claim is ClaimState.PAID
    assert held.amount_usd == pytest.approx(AMOUNT_USD - 20_000.0, rel=0.001)


@pytest.mark.devnet
async def test_a_private_pool_sells_covers_too(mutual: Mutual) -> None:
    """RUN: only its stake is its manager's own."""
    assert await add_pool(mutual.at, 30_000, is_private=True) == 3
    quote = await mutual.quote(amount_usd=2_400_000.0)
    assert "pool 3" in quote.because


@pytest.mark.devnet
async def test_stake_that_ends_before_a_cover_and_its_grace_period_covers_nothing(mutual: Mutual) -> None:
    """RUN: capacity is counted from the tranche on that outlasts both."""
    await add_pool(mutual.at, 100_000, tranche=1)
    with pytest.raises(VenueRejected, match="do not cover"):
        await mutual.quote(amount_usd=1_900_000.0, period_s=180 * DAY_S)
    assert "pool 1" in (await mutual.quote(amount_usd=1_500_000.0, period_s=180 * DAY_S)).because


@pytest.mark.devnet
async def test_what_others_took_is_not_asked_of_a_pool_again(mutual: Mutual) -> None:
    usdc = mutual.bench.at("TestERC20SetDecimals", mutual.contracts.token)
    await usdc.send("mint", mutual.transactor.address, 10**12)
    order = ordered(await mutual.quote(amount_usd=500_000.0))
    assert (await mutual.venue.execute(order, view=await mutual.view())).status is LegStatus.FILLED
    await mutual.warp(2 * DAY_S)  # the price has fallen back: pool 1 comes first again, with 700,000 left
    quote = await mutual.quote(amount_usd=1_200_000.0)
    assert "pool 1" in quote.because
    assert "pool 2" in quote.because


@pytest.mark.devnet
@pytest.mark.parametrize("vote", [False, None])
async def test_a_claim_that_was_denied_or_drawn_is_closed_and_another_can_be_made(
    mutual: Mutual, vote: bool | None
) -> None:
    await mutual.at.registry.send("admit", mutual.transactor.address)
    await mutual.buy()
    (held,) = await mutual.held()
    await mutual.warp(DAY_S)
    draft = await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=20_000.0)
    await mutual.send_draft(draft.to, draft.data, draft.value_wei)
    (held,) = await mutual.held()
    with pytest.raises(VenueRejected, match="claim 1 on cover 1 is open"):
        await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=20_000.0)
    if vote is not None:
        await mutual.at.claims.send("assess", 1, vote)
    await mutual.warp(VOTING_S + COOL_DOWN_S + 1)
    (held,) = await mutual.held()
    assert held.claim is ClaimState.CLOSED
    draft = await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=20_000.0)
    await mutual.send_draft(draft.to, draft.data, draft.value_wei)
    assert (await mutual.held())[0].claim is ClaimState.OPEN


@pytest.mark.devnet
async def test_a_payout_can_be_taken_after_the_grace_period_and_until_it_lapses(mutual: Mutual) -> None:
    """RUN: until voting, cool-down and redemption period are over, whenever it is looked at."""
    await mutual.at.registry.send("admit", mutual.transactor.address)
    await mutual.buy()
    (held,) = await mutual.held()
    await mutual.warp(PERIOD_S + GRACE_S - 3_600)
    draft = await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=20_000.0)
    await mutual.send_draft(draft.to, draft.data, draft.value_wei)
    submitted_s = await mutual.bench.now_s()
    await mutual.at.claims.send("assess", 1, True)
    await mutual.warp(VOTING_S + COOL_DOWN_S + 20 * DAY_S)
    (held,) = await mutual.held()  # its grace period ended weeks ago
    assert held.claim is ClaimState.PAYABLE
    payout = await mutual.venue.draft_payout(held, view=await mutual.view())
    assert payout.until_s == submitted_s + VOTING_S + COOL_DOWN_S + REDEMPTION_S
    with pytest.raises(VenueRejected, match="is payable"):
        await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=1.0)
    await mutual.bench.set_time(int(payout.until_s))
    assert await mutual.held() == ()
    with pytest.raises(VenueRejected, match="its claim is closed"):
        await mutual.venue.draft_payout(held, view=await mutual.view())


@pytest.mark.devnet
async def test_a_cover_that_has_ended_is_shown_until_it_can_no_longer_be_claimed_on(mutual: Mutual) -> None:
    await mutual.buy()
    await mutual.warp(PERIOD_S + 1)
    (held,) = await mutual.held()
    assert not held.is_alive((await mutual.view()).now_s)
    await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=1.0)
    await mutual.warp(GRACE_S)
    assert await mutual.held() == ()
    with pytest.raises(VenueRejected, match="could be claimed on until"):
        await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=1.0)


@pytest.mark.devnet
async def test_a_cover_that_was_given_away_is_not_ours(mutual: Mutual) -> None:
    await mutual.buy()
    (held,) = await mutual.held()
    other = mutual.bench.accounts[6]
    await mutual.at.nft.send(
        "transferFrom", mutual.transactor.address, other, 1, sender=mutual.transactor.address
    )
    assert await mutual.held() == ()
    with pytest.raises(VenueRejected, match="is not one of"):
        await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=1.0)


@pytest.mark.devnet
async def test_an_order_that_was_cut_off_is_found_again(mutual: Mutual) -> None:
    await mutual.at.registry.send("admit", mutual.transactor.address)
    mutual.contracts = replace(mutual.contracts, seller=mutual.at.cover.address)
    quote = await mutual.quote()

    async def cut(request: Any) -> None:
        if request.purpose.startswith("revoke"):
            raise OutcomeUnknown("a revocation", request.key)

    mutual.transactor.before_send = cut
    order = ordered(quote, limit_usd=quote.premium_usd * 1.5)
    outcome = await mutual.venue.execute(order, view=await mutual.view())
    assert outcome.status is LegStatus.UNKNOWN
    assert await mutual.allowance() > 0  # the cap was not taken whole
    mutual.transactor.before_send = None
    outcome = await mutual.venue.reconcile(order, view=await mutual.view())
    assert outcome.status is LegStatus.FILLED
    assert outcome.cover_id == "1"
    assert await mutual.allowance() == 0
    assert len(await mutual.held()) == 1


# --- bad input --------------------------------------------------------------------------------------------


async def refused(mutual: Mutual, order: CoverOrder, **changes: Any) -> str:
    outcome = await mutual.venue.execute(order, view=await mutual.view(**changes))
    assert outcome.status is LegStatus.REJECTED, outcome
    assert not mutual.transactor.requests
    return outcome.because


@pytest.mark.devnet
async def test_what_cannot_be_quoted_is_refused_by_name(mutual: Mutual) -> None:
    for changes, words in (
        ({"protocol": "compound"}, "no cover of 'compound' is configured; known are aave-v3"),
        ({"protocol": "gone"}, "has no product 9"),
        ({"period_s": 27 * DAY_S}, "28 to 365 days"),
        ({"period_s": 366 * DAY_S}, "28 to 365 days"),
        ({"amount_usd": 0.0}, "the amount is 0"),
        ({"amount_usd": float("nan")}, "the amount is nan"),
    ):
        with pytest.raises(VenueRejected, match=words):
            await mutual.quote(**changes)
    await mutual.at.products.send("setDeprecated", 0, True)
    with pytest.raises(VenueRejected, match="no longer covered"):
        await mutual.quote()
    await mutual.at.cover.send("setPaused", True)
    with pytest.raises(VenueRejected, match="Paused"):
        await mutual.quote(protocol="uniswap-v3")


@pytest.mark.devnet
async def test_a_dearer_cover_than_the_limit_is_refused(mutual: Mutual) -> None:
    quote = await mutual.quote()
    assert "the order allows" in await refused(mutual, ordered(quote, limit_usd=quote.premium_usd * 0.99))


@pytest.mark.devnet
async def test_a_price_that_rises_between_plan_and_purchase_costs_no_more_than_the_cap(
    mutual: Mutual,
) -> None:
    """Somebody buys half of the pool in between: the purchase fails whole, nothing stays allowed."""
    quote = await mutual.quote()
    other = mutual.bench.accounts[6]

    async def outrun(request: Any) -> None:
        if request.purpose == "cover" and not mutual.transactor.receipts.get("other"):
            mutual.transactor.before_send = None
            usdc = mutual.bench.at("TestERC20SetDecimals", mutual.contracts.token)
            await usdc.send("mint", other, 10**12)
            await usdc.send("approve", mutual.contracts.seller, 10**12, sender=other)
            amount = 600_000 * 10**6
            nobody = "0x" + "00" * 20
            order = (0, other, 0, USDC_ASSET, amount, 30 * DAY_S, 10**10, USDC_ASSET, 0, nobody, "")
            await mutual.at.broker.send("buyCover", order, [(1, amount)], sender=other)

    mutual.transactor.before_send = outrun
    outcome = await mutual.venue.execute(ordered(quote), view=await mutual.view())
    assert outcome.status is LegStatus.REJECTED
    assert "PriceExceedsMaxPremiumInAsset" in outcome.because
    assert await mutual.allowance() == 0
    assert await mutual.held() == ()


@pytest.mark.devnet
async def test_orders_for_something_else_are_refused(mutual: Mutual) -> None:
    quote = await mutual.quote()
    product = quote.product
    assert "none of Nexus" in await refused(mutual, ordered(quote, product=replace(product, venue="other")))
    assert "the chain has" in await refused(mutual, ordered(quote, product=replace(product, id="1")))
    assert "was valid until" in await refused(mutual, ordered(quote, valid_until_s=1.0))
    assert "prices are not known" in await refused(mutual, ordered(quote), stable_usd={"USDC": float("nan")})
    no_code = replace(mutual.contracts, seller="0x" + "11" * 20)
    mutual.contracts = no_code
    assert "has no code" in await refused(mutual, ordered(quote))


@pytest.mark.devnet
async def test_an_account_without_money_or_with_an_old_allowance_is_refused(mutual: Mutual) -> None:
    quote = await mutual.quote()
    usdc = mutual.bench.at("TestERC20SetDecimals", mutual.contracts.token)
    await usdc.send("approve", mutual.contracts.seller, 7, sender=mutual.transactor.address)
    assert "revoke it" in await refused(mutual, ordered(quote))
    await usdc.send("approve", mutual.contracts.seller, 0, sender=mutual.transactor.address)
    await usdc.send("burn", mutual.transactor.address, await mutual.usdc())
    assert "lacks" in await refused(mutual, ordered(quote))


@pytest.mark.devnet
async def test_another_asset_under_the_configured_id_is_refused(mutual: Mutual) -> None:
    quote = await mutual.quote()
    mutual.contracts = replace(mutual.contracts, asset_id=0)
    assert "configured is" in await refused(mutual, ordered(quote))
    mutual.contracts = replace(mutual.contracts, asset_id=3)
    with pytest.raises(VenueRejected, match="configured is"):
        await mutual.quote()


@pytest.mark.devnet
async def test_an_impossible_claim_is_not_drafted(mutual: Mutual) -> None:
    await mutual.buy()
    (held,) = await mutual.held()
    with pytest.raises(VenueRejected, match="pays at most"):
        await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=2 * AMOUNT_USD)
    with pytest.raises(VenueRejected, match="pays at most"):
        await mutual.venue.draft_claim(held, view=await mutual.view(), amount_usd=0.0)
    view = await mutual.view()
    assert view.block is not None
    same = replace(view.block, timestamp_s=int(held.starts_s))
    with pytest.raises(VenueRejected, match="in this very block"):
        await mutual.venue.draft_claim(held, view=replace(view, block=same), amount_usd=1.0)


@pytest.mark.devnet
async def test_covers_that_cannot_be_read_are_never_none(mutual: Mutual) -> None:
    await mutual.buy()
    mutual.contracts = replace(mutual.contracts, claims=mutual.contracts.token)
    with pytest.raises(TransientError, match="covers could not be read"):
        await mutual.held()


@pytest.mark.devnet
async def test_without_an_account_it_only_quotes(mutual: Mutual) -> None:
    venue = nexus_venue(reader=mutual.reader, contracts=mutual.contracts, terms=mutual.terms)
    view = await mutual.view()
    quote = await venue.quote(view, protocol="aave-v3", amount_usd=AMOUNT_USD, period_s=PERIOD_S)
    assert quote.premium_usd > 0.0
    assert await venue.held(view) == ()
    outcome = await venue.execute(ordered(quote), view=view)
    assert "no account that can sign" in outcome.because


# --- pure -------------------------------------------------------------------------------------------------


def test_the_signer_has_no_rule_for_claims() -> None:
    contracts = NexusContracts(**{name: "0x" + "ab" * 20 for name in _ADDRESSES})
    venue = nexus_venue(reader=None, contracts=contracts)  # type: ignore[arg-type]
    approval, buy = venue.permissions()
    assert isinstance(approval, ApprovalRule)
    assert isinstance(buy, CallRule)
    assert (buy.name, buy.recipients, buy.most, buy.opens) == ("buyCover", ((0, 1),), (0, 6), True)


_ADDRESSES = (
    "cover", "seller", "nft", "products", "staking_viewer", "pool", "claims", "registry", "token",
)  # fmt: skip
_OFFERS = [
    Offer(pool_id=n, price=price, capacity_raw=size) for n, price, size in ((1, 250, 60), (2, 300, 50))
]


def test_it_is_registered_beside_the_options() -> None:
    assert COVER_VENUES["nexus"] is NexusAdapter
    assert NexusAdapter.capabilities.name == "nexus"


def test_parts_are_the_cheapest_first_and_whole_or_none() -> None:
    first, second = _OFFERS
    assert allocate(100, _OFFERS) == [(first, 60), (second, 40)]
    assert allocate(111, _OFFERS) == []
    assert allocations(50, _OFFERS) == [[(first, 50)], [(second, 50)]]
    assert allocations(100, _OFFERS) == [[(first, 60), (second, 40)]]
    assert premium_raw(10**9, first, period_s=365 * DAY_S) == 25 * 10**6
    assert premium_raw(1, first, period_s=1) == 1  # up


def test_a_tranche_that_is_taken_beyond_its_capacity_takes_of_the_next() -> None:
    assert free_units([6, 4, 0], [0, 0, 0], 0) == 10
    assert free_units([6, 4, 0], [0, 0, 0], 1) == 4  # what ends before the cover counts for nothing
    assert free_units([6, 4, 5], [9, 0, 0], 1) == 6  # 3 too much in the first
    assert free_units([6, 4, 5], [9, 6, 0], 2) == 0
    assert free_units([6, 4, 5], [3, 4, 1], 1) == 4


@pytest.mark.devnet
async def test_a_quote_becomes_an_order_within_a_bound(mutual: Mutual) -> None:
    quote = await mutual.quote()
    assert quote.capacity_usd == pytest.approx(60_000 * 30 * 2 * 0.5)  # 60,000 NXM staked, half of it here
    assert quote.grace_s == GRACE_S
    order = order_of(quote, key="r20/1", limit_usd=quote.premium_usd * 1.01, valid_until_s=NEVER_S)
    assert (order.expected_usd, order.group) == (quote.premium_usd, "aave-v3")
    outcome = await mutual.venue.execute(order, view=await mutual.view())
    assert outcome.status is LegStatus.FILLED
    assert outcome.cost_usd == outcome.premium_usd + outcome.gas_usd
    for wrong in ({"limit_usd": 0.0}, {"amount_usd": float("nan")}, {"period_s": 0}):
        with pytest.raises(InvariantError):
            ordered(quote, **wrong)
