"""R27: a put made of a Lyra call and a short on Perp v2, on the real contracts: both parts or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pytest

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.errors import AwaitingSignatures, OutcomeUnknown, TransientError, VenueRejected
from bot.model.hedge import Conversion, HedgeLeg, Layer, LegStatus, OptionType, Quote, Side
from bot.model.intent import Receipt, TxRequest
from bot.ports import Proposer, Transactor
from bot.venues.paired import PairVenue

from .conftest import World, make_world
from .perp_world import SOON, BatchAccount, PerpWorld, make_perp_world

pytestmark = pytest.mark.devnet
SIZE = 2.0
MARGIN_USD = 1_200.0  # of one contract


@dataclass
class Pair:
    """Both worlds on one account, and the venue over them."""

    lyra: World
    perp: PerpWorld

    @cached_property
    def venue(self) -> PairVenue:
        return self.over(self.lyra.transactor)

    def over(self, custody: Transactor | Proposer | None) -> PairVenue:
        option = self.lyra.venue.adapter
        return PairVenue(
            option,
            self.perp.venue.adapter,
            reader=self.lyra.reader,
            money=option.money,
            custody=custody,
            swap=self.lyra.swap,
        )

    async def view(self):
        return replace(await self.perp.view(), stable_usd={"USDC": 1.0, "sUSD": 1.0})

    async def call(self, *, size: float = SIZE) -> Quote:
        """Return a call in the money whose strike a put would be struck at."""
        view = await self.lyra.view()
        calls = [
            quote
            for quote in await self.lyra.quotes(view, size=size)
            if quote.instrument.option_type is OptionType.CALL and quote.instrument.dte(view.now_s) >= 20.0
        ]
        return min(calls, key=lambda quote: abs(quote.delta - 0.6))

    async def leg(self, *, slack_usd: float = 60.0, key: str = "plan/0", **changes) -> HedgeLeg:
        call, mark = await self.call(), await self.perp.mark()
        listed = call.instrument
        premium_usd = call.premium_usd + SIZE * (listed.strike_usd - mark * 0.996)
        fields = {
            "key": key,
            "group": "ETH/USDC",
            "layer": Layer.MID,
            "side": Side.BUY,
            "instrument": replace(
                listed, venue="lyra+perp-v2", id=f"{listed.id}+vETH", option_type=OptionType.PUT
            ),
            "size": SIZE,
            "limit_usd": premium_usd + slack_usd,
            "expected_usd": premium_usd,
            "valid_until_s": SOON,
            "conversion": Conversion(
                option=listed,
                perpetual=self.perp.venue.adapter.terms.perpetual,
                perpetual_size=-1.0,
                margin_usd=MARGIN_USD,
            ),
        }
        return HedgeLeg(**{**fields, **changes})

    async def parts(self) -> tuple[float, float]:
        """Return what is held of both: contracts of the option, units of the perpetual."""
        view = await self.view()
        options = await self.lyra.venue.held(view)
        perpetuals = await self.perp.venue.held_perpetuals(view)
        return sum(item.size for item in options), sum(item.size for item in perpetuals)

    async def clean(self) -> bool:
        return await self.perp.allowance() == 0 and await self.lyra.allowances() == (0, 0, 0, 0)


@pytest.fixture
async def pair(devnet: Devnet, rpc: Rpc) -> Pair:
    at = devnet.deployment
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    lyra, perp = make_world(rpc, reader, at), make_perp_world(rpc, reader, at)
    perp.transactor = lyra.transactor
    return Pair(lyra, perp)


async def test_both_parts_are_bought_and_sold_and_the_money_adds_up(pair: Pair):
    before = await pair.perp.usdc()
    leg = await pair.leg()
    bought = await pair.venue.execute(leg, view=await pair.view())
    assert bought.status is LegStatus.FILLED, bought.because
    assert bought.filled_size == SIZE
    assert await pair.parts() == (SIZE, -SIZE)
    assert await pair.clean()
    # A put's premium: of the call, and by how much the strike is worth more than the perpetual's price.
    assert bought.premium_usd == pytest.approx(leg.expected_usd, abs=30.0)
    assert bought.premium_usd <= leg.limit_usd
    purposes = [item.purpose for item in pair.lyra.transactor.requests]
    assert purposes.index("perpetual-trade") < purposes.index("open")
    sold = await pair.venue.execute(
        replace(leg, key="plan/1", side=Side.SELL, limit_usd=0.0, position_id=bought.position_id),
        view=await pair.view(),
    )
    assert sold.status is LegStatus.FILLED, sold.because
    assert await pair.parts() == (0.0, 0.0)
    assert await pair.clean()
    assert await pair.perp.in_vault() == pytest.approx(0.0, abs=1e-6)
    loose = await pair.lyra.balance(pair.lyra.at.susd) / 1e18
    costs = bought.swap_usd + sold.swap_usd
    spent = before - await pair.perp.usdc() - loose
    assert bought.premium_usd - sold.premium_usd + costs == pytest.approx(spent, abs=0.5)


async def test_where_the_option_is_refused_after_the_short_the_short_is_given_back(pair: Pair):
    """The price of the option moves between the parts: none is kept, and the cost is said and counted."""
    before = await pair.perp.usdc()
    leg = await pair.leg()
    real = pair.lyra.transactor.send

    async def refused(request: TxRequest):
        if request.purpose == "open":
            raise VenueRejected("open would revert: the price moved")
        return await real(request)

    pair.lyra.transactor.send = refused  # type: ignore[method-assign]
    outcome = await pair.venue.execute(leg, view=await pair.view())
    assert outcome.status is LegStatus.REJECTED
    assert "given back" in outcome.because
    assert await pair.parts() == (0.0, 0.0)
    assert await pair.clean()
    assert await pair.perp.in_vault() == pytest.approx(0.0, abs=1e-6)
    mark = await pair.perp.mark()
    assert 0.0 < outcome.premium_usd < SIZE * mark * 0.01  # two fees of 0.3 %, and the impact
    loose = await pair.lyra.balance(pair.lyra.at.susd) / 1e18
    spent = before - await pair.perp.usdc() - loose
    assert outcome.premium_usd + outcome.swap_usd == pytest.approx(spent, abs=0.5)


async def test_what_cannot_be_had_within_the_limit_sends_nothing(pair: Pair):
    dear = await pair.leg(slack_usd=-40.0)
    outcome = await pair.venue.execute(dear, view=await pair.view())
    assert outcome.status is LegStatus.REJECTED
    assert pair.lyra.transactor.requests == []
    late = await pair.leg(valid_until_s=(await pair.view()).now_s - 1.0)
    outcome = await pair.venue.execute(late, view=await pair.view())
    assert "valid until" in outcome.because
    bare = replace(await pair.leg(), conversion=None)
    outcome = await pair.venue.execute(bare, view=await pair.view())
    assert "made of" in outcome.because
    assert pair.lyra.transactor.requests == []


@pytest.mark.parametrize("mined", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("purpose", ["perpetual-deposit", "perpetual-trade", "open"])
async def test_a_crash_between_the_parts_ends_in_both_or_none(pair: Pair, purpose: str, mined: bool):
    leg = await pair.leg()
    await die_at(pair, leg, purpose, mined=mined)
    outcome = await pair.venue.reconcile(leg, view=await pair.view())
    whole = purpose == "open" and mined
    assert outcome.status is (LegStatus.FILLED if whole else LegStatus.REJECTED), outcome.because
    assert await pair.parts() == ((SIZE, -SIZE) if whole else (0.0, 0.0))
    assert await pair.clean()
    if not whole:
        assert await pair.perp.in_vault() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("mined", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("purpose", ["perpetual-trade", "close"])
async def test_a_crash_while_closing_goes_on_to_both_closed(pair: Pair, purpose: str, mined: bool):
    bought = await pair.venue.execute(await pair.leg(), view=await pair.view())
    sale = replace(bought.leg, key="plan/1", side=Side.SELL, limit_usd=0.0, position_id=bought.position_id)
    await die_at(pair, sale, purpose, mined=mined)
    outcome = await pair.venue.reconcile(sale, view=await pair.view())
    begun = purpose == "close" or mined
    assert outcome.status is (LegStatus.FILLED if begun else LegStatus.REJECTED), outcome.because
    assert await pair.parts() == ((0.0, 0.0) if begun else (SIZE, -SIZE))
    assert await pair.clean()


async def test_an_option_that_cannot_be_sold_any_more_is_kept_without_its_short(pair: Pair):
    bought = await pair.venue.execute(await pair.leg(), view=await pair.view())
    sale = replace(bought.leg, key="plan/1", side=Side.SELL, limit_usd=0.0, position_id=bought.position_id)
    await die_at(pair, sale, "close", mined=False)
    over = replace(sale, valid_until_s=(await pair.view()).now_s - 1.0)
    outcome = await pair.venue.reconcile(over, view=await pair.view())
    assert (outcome.status, outcome.filled_size) == (LegStatus.PARTIAL, 0.0)
    assert "kept alone" in outcome.because
    assert await pair.parts() == (SIZE, 0.0)


async def die_at(pair: Pair, leg: HedgeLeg, purpose: str, *, mined: bool) -> None:
    real = pair.lyra.transactor.send

    async def dying(request: TxRequest):
        if request.purpose == purpose:
            if mined:
                await real(request)
            raise OutcomeUnknown(request.purpose, request.leg_key)
        return await real(request)

    pair.lyra.transactor.send = dying  # type: ignore[method-assign]
    outcome = await pair.venue.execute(leg, view=await pair.view())
    assert outcome.status is LegStatus.UNKNOWN
    pair.lyra.transactor.send = real  # type: ignore[method-assign]


async def test_a_pair_that_expired_is_settled_and_its_short_closed(pair: Pair):
    """At expiry the call pays above its strike, the short what the price fell: together a put's payoff."""
    leg = await pair.leg()
    bought = await pair.venue.execute(leg, view=await pair.view())
    await pair.lyra.warp(leg.instrument.expiry_s + 60)
    await pair.lyra.set_spot(2_500.0)
    owed_usd = (await pair.perp.position()).funding_usd  # three months of it
    settling = replace(leg, key="plan/1", side=Side.SETTLE, limit_usd=0.0, position_id=bought.position_id)
    outcome = await pair.venue.execute(settling, view=await pair.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert await pair.parts() == (0.0, 0.0)
    assert await pair.clean()
    # The call ended worthless at 2,500; the short is closed where the perpetual's own market stands.
    moved_usd = SIZE * (leg.conversion.option.strike_usd - outcome.perpetual_usd)
    assert outcome.premium_usd == pytest.approx(moved_usd - outcome.fee_usd + owed_usd, abs=0.1)


async def test_an_option_that_others_settled_leaves_the_short_to_be_closed(pair: Pair):
    leg = await pair.leg()
    bought = await pair.venue.execute(leg, view=await pair.view())
    await pair.lyra.warp(leg.instrument.expiry_s + 60)
    at = pair.lyra.at
    board = await board_of(pair, listed=leg.conversion.option.id)
    market, collateral = Abi.load("OptionMarket"), Abi.load("ShortCollateral")
    await pair.lyra.send(at.whale, at.lyra_option_market, market.encode("settleExpiredBoard", board))
    data = collateral.encode("settleOptions", [int(bought.position_id)])
    await pair.lyra.send(at.whale, at.lyra_short_collateral, data)
    settling = replace(leg, key="plan/1", side=Side.SETTLE, limit_usd=0.0, position_id=bought.position_id)
    outcome = await pair.venue.execute(settling, view=await pair.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert await pair.parts() == (0.0, 0.0)


async def board_of(pair: Pair, *, listed: str) -> int:
    """Return the board of "strike:7"."""
    strike = await pair.lyra.read(
        "OptionMarket", "getStrike", pair.lyra.at.lyra_option_market, int(listed.partition(":")[2])
    )
    return int(strike[-1])


async def test_a_safe_has_both_parts_in_one_batch_or_none(pair: Pair):
    leg = await pair.leg(slack_usd=120.0)
    venue = pair.over(BatchAccount(pair.lyra.transactor))

    async def refused(request: TxRequest) -> None:
        if request.purpose == "open":
            raise VenueRejected("open would revert: the price moved")

    pair.lyra.transactor.before_send = refused
    none = await venue.execute(replace(leg, key="plan/9"), view=await pair.view())
    assert none.status is LegStatus.REJECTED
    assert await pair.parts() == (0.0, 0.0)
    pair.lyra.transactor.before_send = None
    both = await venue.execute(leg, view=await pair.view())
    assert both.status is LegStatus.FILLED, both.because
    assert await pair.parts() == (SIZE, -SIZE)
    assert both.premium_usd == pytest.approx(leg.expected_usd, abs=40.0)
    assert await pair.clean()


@dataclass
class SlowOwners(BatchAccount):
    """ports.Proposer whose owners have not signed yet."""

    withdrawn: tuple[str, ...] = ()

    async def propose(self, requests: Sequence[TxRequest]) -> Mapping[str, Receipt]:
        raise AwaitingSignatures(f"{requests[0].leg_key} awaits 1 of 2 signatures", "0x" + "5a" * 32)

    async def withdraw(self, leg_key: str, *, because: str) -> None:
        self.withdrawn = (*self.withdrawn, f"{leg_key}: {because}")

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        raise AwaitingSignatures(f"{leg_key} awaits 1 of 2 signatures", "0x" + "5a" * 32)


@pytest.mark.parametrize("trouble", ["the market moves", "its time is over"])
async def test_an_open_proposal_of_a_pair_is_withdrawn_when_it_is_overtaken(pair: Pair, trouble: str):
    leg = await pair.leg(slack_usd=120.0)
    leg = replace(leg, valid_until_s=(await pair.view()).now_s + 600.0)
    owners = SlowOwners(pair.lyra.transactor)
    venue = pair.over(owners)
    assert (await venue.execute(leg, view=await pair.view())).status is LegStatus.PROPOSED
    still = await venue.reconcile(leg, view=await pair.view())
    assert (still.status, owners.withdrawn) == (LegStatus.PROPOSED, ())
    assert "awaits 1 of 2" in still.because
    if trouble == "the market moves":
        await pair.lyra.set_spot(1.2 * (await pair.lyra.view()).spot_usd["ETH"])
    else:
        await pair.lyra.warp(int(leg.valid_until_s) + 1)
    overtaken = await venue.reconcile(leg, view=await pair.view())
    assert overtaken.status is LegStatus.PROPOSED  # until either transaction has used the Safe's nonce
    (said,) = owners.withdrawn
    assert said == f"{leg.key}: {overtaken.because}"
    because = "overtaken by the market" if trouble == "the market moves" else "the order was valid until"
    assert because in said
    assert await pair.parts() == (0.0, 0.0)


async def test_without_an_account_an_open_leg_stays_open(pair: Pair):
    """Only whoever signs may say that it never was."""
    leg, view = await pair.leg(), await pair.view()
    nobody = pair.over(None)
    refused = await nobody.execute(leg, view=view)
    assert (refused.status, "no account that can sign" in refused.because) == (LegStatus.REJECTED, True)
    with pytest.raises(TransientError, match="stays open"):
        await nobody.reconcile(leg, view=view)


async def test_a_leg_that_does_not_say_what_it_is_made_of_is_refused(pair: Pair):
    leg, view = replace(await pair.leg(), conversion=None), await pair.view()
    for outcome in (await pair.venue.execute(leg, view=view), await pair.venue.reconcile(leg, view=view)):
        assert outcome.status is LegStatus.REJECTED
        assert "does not say what it is made of" in outcome.because
