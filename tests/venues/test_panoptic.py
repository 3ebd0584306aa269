"""The Panoptic adapter through the one executor, against the reference pool over the real Uniswap v3 pool."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from panoptic_desk import ETH, Desk

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_panoptic import PanopticDeployment, deploy_panoptic, deposit, sell
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.errors import TransientError, VenueRejected
from bot.model.execution import DueAction
from bot.model.hedge import (
    ExerciseStyle,
    HedgeLeg,
    LegOutcome,
    LegStatus,
    OptionType,
    Quote,
    Side,
    StrikeMode,
)
from bot.model.market import Columns
from bot.ports import MarketView, VenuePosition
from bot.venues.panoptic import PanopticAdapter, panoptic_venue
from bot.venues.panoptic_reads import position_name
from bot.venues.panoptic_terms import PanopticContracts, PanopticTerms, effective_days
from bot.venues.panoptic_token_id import split
from bot.venues.planned import PlannedVenue
from bot.venues.table import VENUES

from .conftest import NEVER_S, UnlockedTransactor, buy_leg

pytestmark = pytest.mark.devnet
PUT = OptionType.PUT
WIDTH = 480
STRIKES = (2800.0, 2500.0)


@dataclass
class Market:
    """The user at the venue."""

    desk: Desk
    reader: JsonRpcReader
    transactor: UnlockedTransactor
    contracts: PanopticContracts
    terms: PanopticTerms

    @property
    def venue(self) -> PlannedVenue:
        return panoptic_venue(
            reader=self.reader, contracts=self.contracts, custody=self.transactor, terms=self.terms
        )

    async def view(self) -> MarketView:
        block = await self.reader.head()
        return MarketView(
            now_s=block.timestamp_s,
            block=block,
            columns=Columns(series={}),
            spot_usd={"ETH": await self.desk.price()},
            stable_usd={"USDC": 1.0},
        )

    async def quote(self, strike_usd: float = STRIKES[0], *, size: float = 1.0) -> Quote:
        quotes = await self.venue.quotes(await self.view(), underlying="ETH", size=size)
        return min(quotes, key=lambda item: abs(item.instrument.strike_usd - strike_usd))

    async def buy(self, *, size: float = 1.0, key: str = "buy", **changes: Any) -> LegOutcome:
        quote = await self.quote(size=size)
        leg = buy_leg(quote, key=key, **changes)
        return await self.venue.execute(leg, view=await self.view())

    async def held(self) -> tuple[VenuePosition, ...]:
        return await self.venue.held(await self.view())

    async def close(self, position: VenuePosition, *, key: str = "sell", **changes: Any) -> LegOutcome:
        return await self.venue.execute(closing_leg(position, key=key, **changes), view=await self.view())

    async def balance(self, token: str) -> int:
        call = Abi.load("ERC20").call("balanceOf", token, self.transactor.address)
        row = (await self.reader.read([call], block=await self.reader.head()))[0]
        assert row is not None
        return int(row[0])

    async def allowances(self) -> set[int]:
        c = self.contracts
        pairs = (
            (c.cash_token, c.cash_tracker),
            (c.unit_token, c.unit_tracker),
            (c.cash_token, c.router),
        )
        own = self.transactor.address
        calls = [Abi.load("ERC20").call("allowance", token, own, to) for token, to in pairs]
        rows = await self.reader.read(calls, block=await self.reader.head())
        return {row[0] for row in rows if row is not None}

    async def worth_usd(self) -> float:
        """All that the account has in the two tokens, in its hands and as collateral."""
        c, price = self.contracts, await self.desk.price()
        weth, usdc = await self.balance(c.unit_token), await self.balance(c.cash_token)
        return await self.pool_usd() + weth / 1e18 * price + usdc / 1e6

    async def pool_usd(self) -> float:
        """What the account has as collateral."""
        weth, usdc = await self.desk.assets()
        return weth / 1e18 * await self.desk.price() + usdc / 1e6


def closing_leg(position: VenuePosition, *, key: str = "sell", **changes: Any) -> HedgeLeg:
    fields: dict[str, Any] = {
        "key": key,
        "group": "ETH/USDC",
        "layer": "MID",
        "side": Side.SELL,
        "instrument": position.instrument,
        "size": position.size,
        "limit_usd": position.liquidation_usd * 0.95,
        "expected_usd": position.liquidation_usd,
        "valid_until_s": NEVER_S,
        "position_id": position.id,
    }
    return HedgeLeg(**{**fields, **changes})


@pytest.fixture
async def market(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> Market:
    known = devnet.deployment
    bench = Bench(rpc, fetch(cache_dir), known.accounts)
    at = await deploy_panoptic(
        bench, uniswap_pool=known.v3_pool, weth=known.weth, usdc=known.usdc, seller=known.accounts[5]
    )
    await sell(at, [at.option(PUT, strike, width=WIDTH, is_long=False) for strike in STRIKES], contracts=100)
    return Market(
        desk=Desk(at, bench, devnet, known.user),
        reader=await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=known.multicall3),
        transactor=UnlockedTransactor(rpc, known.user),
        contracts=contracts_of(at, devnet),
        terms=PanopticTerms(),
    )


def contracts_of(at: PanopticDeployment, devnet: Devnet) -> PanopticContracts:
    return PanopticContracts(
        pool=at.pool.address,
        uniswap_pool=at.uniswap_pool,
        unit_token=devnet.deployment.weth,
        cash_token=devnet.deployment.usdc,
        unit_tracker=at.trackers[at.unit].address,
        cash_tracker=at.trackers[1 - at.unit].address,
        router=devnet.deployment.v3_router,
    )


async def test_what_is_listed_is_what_somebody_sold(market: Market) -> None:
    quotes = await market.venue.quotes(await market.view(), underlying="ETH", size=1.0)
    assert sorted(round(item.instrument.strike_usd, -2) for item in quotes) == sorted(STRIKES)
    for quote in quotes:
        instrument = quote.instrument
        assert (instrument.style, instrument.strike_mode) == (ExerciseStyle.PERPETUAL, StrikeMode.RANGE)
        assert instrument.option_type is PUT
        days = effective_days(WIDTH, tick_spacing=10, iv=market.terms.assumed_iv)
        assert instrument.dte((await market.view()).now_s) == pytest.approx(days, abs=0.01)
        assert quote.liquidity == pytest.approx(100 * 2 / 3, abs=0.02)  # removed at most twice what is left
        assert "estimate" in quote.because
        assert "margin" in quote.because
        assert 0.5 < quote.premium_usd / quote.model_usd < 2.0
        assert -1.0 < quote.delta < 0.0
    assert await market.venue.quotes(await market.view(), underlying="BTC", size=1.0) == ()


async def test_a_put_is_bought_marked_and_sold_again(market: Market) -> None:
    start = await market.worth_usd()
    quote = await market.quote()
    outcome = await market.buy()
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.filled_size == pytest.approx(1.0)
    assert outcome.premium_usd == pytest.approx(quote.premium_usd, rel=0.02)
    assert outcome.premium_usd <= outcome.leg.limit_usd
    assert await market.allowances() == {0}
    (position,) = await market.held()
    assert position.id == outcome.position_id
    assert position.size == pytest.approx(1.0)
    assert position.due.action is DueAction.NOTHING
    assert position.instrument.is_that(quote.instrument)
    # at once it is worth what it cost, less commission, the swaps' fees and the gas of a close
    assert position.liquidation_usd == pytest.approx(outcome.premium_usd, abs=12.0)
    assert position.intrinsic_usd < position.liquidation_usd
    sold = await market.close(position)
    assert sold.status is LegStatus.FILLED, sold.because
    assert await market.held() == ()
    assert await market.allowances() == {0}
    assert await market.worth_usd() == pytest.approx(start, abs=15.0)
    # booked is what came out; the slack of the close's bounds is still collateral, for the next order
    left = await market.pool_usd()
    assert 0.0 < left < 0.01 * 2940
    lost = outcome.premium_usd - sold.premium_usd
    assert start - (await market.worth_usd() - left) == pytest.approx(lost, abs=0.5)


async def test_gas_that_is_reckoned_with_is_enough(market: Market) -> None:
    """The protocol's own dispatch took 439 to 524 k (venues.md), so the figures are well above these."""
    await market.buy(size=2.0)
    await market.desk.swap_to(2500)
    await market.desk.calm()
    (position,) = await market.held()
    await market.close(position)
    used = {
        key: sum(item.gas_used for item in receipts.values())
        for key, receipts in market.transactor.receipts.items()
    }
    gas = market.terms.gas
    assert 1.3 * used["buy"] < gas.buy < 3 * used["buy"]
    assert 1.3 * used["sell"] < gas.sell < 3 * used["sell"]
    ceilings = {"open": gas.dispatch_ceiling, "close": gas.dispatch_ceiling}
    for key, purpose in (("buy", "open"), ("sell", "close")):
        assert market.transactor.receipts[key][purpose].gas_used * 2 < ceilings[purpose]


async def test_a_fall_is_paid_in_cash(market: Market) -> None:
    start = await market.worth_usd()
    bought = await market.buy(size=2.0)
    await market.desk.swap_to(2300)
    await market.desk.calm()
    (position,) = await market.held()
    assert position.intrinsic_usd == pytest.approx(2 * (2800 - 2300), rel=0.15)
    assert position.liquidation_usd > position.intrinsic_usd * 0.95
    sold = await market.close(position)
    assert sold.status is LegStatus.FILLED, sold.because
    gained = sold.premium_usd - bought.premium_usd
    assert gained > 500.0
    end = await market.worth_usd()
    assert end - start == pytest.approx(gained, abs=0.03 * sold.premium_usd)
    assert await market.pool_usd() < 0.03 * sold.premium_usd  # what the bound of the swap left there


async def test_a_close_too_large_for_its_swap_buys_the_underlying_beforehand(market: Market) -> None:
    """The pool's own rule: no dispatch may move the price by more than 2 x 513 ticks."""
    desk = market.desk
    usdc = desk.bench.at("TestERC20SetDecimals", market.contracts.cash_token)
    await usdc.send("mint", desk.me, 4 * 10**12)
    deep = desk.at.option(PUT, 2900, width=WIDTH, is_long=False)
    held = [desk.at.option(PUT, strike, width=WIDTH, is_long=False).value for strike in STRIKES]
    limits = [(-887_273, 887_273, 0)]
    await desk.at.pool.send(
        "dispatch", [deep.value], [*held, deep.value], [3_000 * ETH], limits, True, 0, sender=desk.at.seller
    )
    view = await market.view()
    quotes = await market.venue.quotes(view, underlying="ETH", size=1_200.0)
    quote = max(quotes, key=lambda item: item.size)
    bought = await market.venue.execute(buy_leg(quote, key="large", limit=1.3), view=view)
    assert bought.status is LegStatus.FILLED, bought.because
    await desk.swap_to(2500)
    await desk.calm()
    at = desk.devnet.deployment
    nfts = desk.bench.at("NonfungiblePositionManager", at.v3_position_manager)
    liquidity = (await nfts.call("positions", at.whale_v3_token_id))[7]
    gone = (at.whale_v3_token_id, liquidity, 0, 0, 2**40)
    await nfts.send("decreaseLiquidity", gone, sender=at.whale)
    (position,) = await market.held()
    assert math.isfinite(position.liquidation_usd)
    market.terms = replace(market.terms, swap_slippage_bps=2_000)
    venue, leg = market.venue, closing_leg(position, limit_usd=0.0)
    waiting = await venue.execute(leg, view=await market.view())
    assert waiting.status is LegStatus.WAITING, waiting.because
    assert "buy-unit" in market.transactor.receipts["sell"]
    sold = await venue.reconcile(leg, view=await market.view())
    assert sold.status is LegStatus.FILLED, sold.because
    assert await market.allowances() == {0}
    assert await market.held() == ()
    assert await market.pool_usd() < 1.0


async def test_two_positions_on_one_chunk_differ_by_their_ratio(market: Market) -> None:
    first = await market.buy(key="a")
    second = await market.buy(key="b", size=0.5)
    assert second.status is LegStatus.FILLED, second.because
    assert first.position_id != second.position_id
    held = await market.held()
    assert sorted(item.size for item in held) == pytest.approx([0.5, 1.0])
    await market.desk.swap_to(2500)
    await market.desk.calm()
    before = {item.id: item for item in await market.held()}
    sold = await market.close(before[first.position_id])
    assert sold.status is LegStatus.FILLED, sold.because
    (left,) = await market.held()
    assert left.id == second.position_id
    assert left.liquidation_usd == pytest.approx(before[left.id].liquidation_usd, rel=0.05)
    assert (await market.close(left, key="last")).status is LegStatus.FILLED
    assert await market.held() == ()


async def test_what_is_owed_in_the_underlying_is_bought_when_it_is_lacking(market: Market) -> None:
    """All collateral in WETH was withdrawn by hand: the close buys what it owes and goes through."""
    await market.buy(size=5.0)
    (position,) = await market.held()
    await market.desk.swap_to(2500)
    await market.desk.swap_to(2940)
    desk, token_id = market.desk, int(position.id.partition("@")[0], 16)
    unit, _ = await desk.assets()
    owed = (await desk.at.pool.call("getFullPositionsData", desk.me, True, [token_id]))[1]
    assert owed > 0
    long = "withdraw(uint256,address,address,uint256[],bool)"
    await desk.unit_tracker.send(long, unit - 10**12, desk.me, desk.me, [token_id], False, sender=desk.me)
    await desk.at.tokens[desk.at.unit].send(
        "withdraw", await market.balance(market.contracts.unit_token), sender=desk.me
    )
    await desk.calm()
    (position,) = await market.held()
    sold = await market.close(position, limit_usd=0.0)
    assert sold.status is LegStatus.FILLED, sold.because
    assert "buy-unit" in market.transactor.receipts["sell"]
    assert await market.allowances() == {0}


async def test_a_put_whose_premium_is_used_up_is_due(market: Market) -> None:
    """Most of what was put aside is withdrawn by hand, then premium streams: SETTLE closes it."""
    await market.buy(size=5.0)
    desk = market.desk
    (position,) = await market.held()
    assert position.due.action is DueAction.NOTHING
    token_id = int(position.id.partition("@")[0], 16)
    required = (await desk.at.pool.call("getFullPositionsData", desk.me, True, [token_id]))[3][0]
    margin = split(required)[1 - desk.at.unit] * 1.0666667
    spare = round(await market.pool_usd() * 1e6 - margin - 2e6)
    long = "withdraw(uint256,address,address,uint256[],bool)"
    await desk.usdc_tracker.send(long, spare, desk.me, desk.me, [token_id], False, sender=desk.me)
    await desk.swap_to(2500)
    await desk.swap_to(2940)
    await desk.calm()
    (position,) = await market.held()
    assert position.due.action is DueAction.EXERCISE
    assert position.settleable
    assert "used up" in position.due.because
    leg = closing_leg(position, side=Side.SETTLE, limit_usd=0.0, key="settle")
    outcome = await market.venue.execute(leg, view=await market.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert await market.held() == ()


async def test_an_order_that_was_cut_off_after_its_close_withdraws_when_it_is_looked_at(
    market: Market,
) -> None:
    await market.buy()
    await market.desk.swap_to(2500)
    await market.desk.calm()
    (position,) = await market.held()

    async def cut(request: Any) -> None:
        if request.purpose.startswith("withdraw"):
            raise TransientError("the process was killed here")

    market.transactor.before_send = cut
    leg = closing_leg(position, valid_until_s=(await market.view()).now_s + 60.0)
    outcome = await market.venue.execute(leg, view=await market.view())
    assert outcome.status is LegStatus.UNKNOWN
    market.transactor.before_send = None
    await market.desk.bench.set_time(int(leg.valid_until_s) + 3_600)  # the order's own time is long over
    outcome = await market.venue.reconcile(leg, view=await market.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.premium_usd == pytest.approx(position.liquidation_usd, rel=0.05)
    late = market.transactor.requests[-1]
    assert late.valid_until_s > leg.valid_until_s


async def test_money_that_a_failed_order_left_in_the_pool_is_taken_out_by_the_next(market: Market) -> None:
    async def fail(request: Any) -> None:
        if request.purpose == "open":
            await market.desk.swap_to(2600)

    market.transactor.before_send = fail
    failed = await market.buy(key="failed")
    assert failed.status is LegStatus.REJECTED
    assert "PriceBoundFail" in failed.because
    market.transactor.before_send = None
    assert (await market.desk.assets())[1] > 100 * 10**6
    await market.desk.swap_to(2940)
    await market.desk.calm()
    bought = await market.buy(key="again")
    assert bought.status is LegStatus.FILLED, bought.because
    (position,) = await market.held()
    assert position.liquidation_usd == pytest.approx(bought.premium_usd, abs=12.0)


async def test_a_position_that_was_closed_by_hand_is_told_so(market: Market) -> None:
    await market.buy()
    (position,) = await market.held()
    token_id = int(position.id.partition("@")[0], 16)
    limits = [(887_273, -887_273, 0)]
    await market.desk.at.pool.send("dispatch", [token_id], [], [0], limits, False, 0, sender=market.desk.me)
    leg = closing_leg(position, side=Side.SETTLE, limit_usd=0.0)
    outcome = await market.venue.execute(leg, view=await market.view())
    assert outcome.status is LegStatus.FILLED
    assert "closed by hand" in outcome.because
    gone = await market.close(position, key="late")
    assert gone.status is LegStatus.REJECTED
    assert "is not an open position" in gone.because


# --- bad input --------------------------------------------------------------------------------------------


async def refused(market: Market, leg: HedgeLeg) -> str:
    sent = len(market.transactor.requests)
    outcome = await market.venue.execute(leg, view=await market.view())
    assert outcome.status is LegStatus.REJECTED, outcome
    assert len(market.transactor.requests) == sent
    assert await market.allowances() <= {0, 5}
    return outcome.because


async def test_nothing_is_bought_in_safe_mode_and_what_is_held_can_be_closed(market: Market) -> None:
    await market.buy()
    quote = await market.quote()
    at = market.desk.at
    await at.risk_engine.send("lockPool", at.pool.address)
    assert await market.venue.quotes(await market.view(), underlying="ETH", size=1.0) == ()
    assert isinstance(market.venue.adapter, PanopticAdapter)
    assert "safe mode 3" in await refused(market, buy_leg(quote, key="locked"))
    (position,) = await market.held()
    venue, leg = market.venue, closing_leg(position, limit_usd=0.0)
    sold = await venue.execute(leg, view=await market.view())  # the underlying is bought beforehand
    assert sold.status is LegStatus.WAITING, sold.because
    sold = await venue.reconcile(leg, view=await market.view())
    assert sold.status is LegStatus.FILLED, sold.because
    assert await market.held() == ()
    assert sold.premium_usd == pytest.approx(position.liquidation_usd, rel=0.1)


async def test_a_price_that_fell_within_minutes_is_no_time_to_buy(market: Market) -> None:
    quote = await market.quote()
    await market.desk.swap_to(2650)
    assert "safe mode" in await refused(market, buy_leg(quote, limit=10.0))


async def test_a_pool_away_from_the_market_is_not_traded_with(market: Market) -> None:
    quote = await market.quote()
    view = replace(await market.view(), spot_usd={"ETH": 3300.0})
    assert await market.venue.quotes(view, underlying="ETH", size=1.0) == ()
    outcome = await market.venue.execute(buy_leg(quote), view=view)
    assert "apart" in outcome.because


async def test_a_quote_of_another_strike_or_side_is_refused(market: Market) -> None:
    quote = await market.quote()
    instrument = quote.instrument
    for wrong in (
        replace(instrument, strike_usd=instrument.strike_usd * 1.02),
        replace(instrument, option_type=OptionType.CALL),
        replace(instrument, settlement="DAI"),
    ):
        assert "the leg wants" in await refused(market, buy_leg(quote, instrument=wrong))
    other = replace(instrument, id="strike:7")
    assert "none of Panoptic's" in await refused(market, buy_leg(quote, instrument=other))


async def test_a_limit_that_pays_for_no_life_is_refused(market: Market) -> None:
    quote = await market.quote()
    assert "put aside for premium" in await refused(market, buy_leg(quote, limit=0.3))


async def test_more_than_is_for_sale_is_refused(market: Market) -> None:
    quote = await market.quote()
    leg = buy_leg(quote, size=90.0, limit=100.0)
    assert "are for sale within the spread" in await refused(market, leg)


async def test_an_account_without_money_is_refused(market: Market) -> None:
    usdc = market.desk.bench.at("TestERC20SetDecimals", market.contracts.cash_token)
    await usdc.send("burn", market.transactor.address, await market.balance(market.contracts.cash_token))
    assert "lacks" in await refused(market, buy_leg(await market.quote()))


async def test_an_allowance_left_by_somebody_is_refused(market: Market) -> None:
    quote, c = await market.quote(), market.contracts
    usdc = market.desk.bench.at("TestERC20SetDecimals", c.cash_token)
    await usdc.send("approve", c.cash_tracker, 5, sender=market.transactor.address)
    assert "revoke it" in await refused(market, buy_leg(quote))


async def test_only_whole_positions_are_closed(market: Market) -> None:
    await market.buy(size=2.0)
    (position,) = await market.held()
    assert "only be closed whole" in await refused(market, closing_leg(position, size=1.0))
    assert "the leg says" in await refused(
        market, closing_leg(position, instrument=replace(position.instrument, id="put:-190000:480"))
    )
    assert "the leg asks" in await refused(market, closing_leg(position, limit_usd=5_000.0))
    assert "not an open position" in await refused(market, closing_leg(position, position_id="0x1@2"))


async def test_an_address_that_is_no_v2_pool_is_refused(market: Market) -> None:
    quote = await market.quote()
    market.contracts = replace(market.contracts, pool=market.contracts.uniswap_pool)
    assert "does not answer as a Panoptic v2 pool" in await refused(market, buy_leg(quote))
    with pytest.raises(VenueRejected, match="v2 pool"):
        await market.venue.quotes(await market.view(), underlying="ETH", size=1.0)


async def test_trackers_of_another_pool_are_refused(market: Market) -> None:
    quote, c = await market.quote(), market.contracts
    market.contracts = replace(c, cash_tracker=c.unit_tracker, unit_tracker=c.cash_tracker)
    assert "check the addresses" in await refused(market, buy_leg(quote))


async def test_other_margin_rules_are_an_upgrade(market: Market) -> None:
    quote = await market.quote()
    market.terms = replace(market.terms, buffer=11_000_000)
    assert "upgraded" in await refused(market, buy_leg(quote))


async def test_positions_before_the_configured_block_are_not_overlooked(market: Market) -> None:
    await market.buy()
    market.terms = replace(market.terms, from_block=(await market.reader.head()).number + 1)
    with pytest.raises(TransientError, match="from_block"):
        await market.held()


async def test_options_of_another_kind_are_a_persons(market: Market) -> None:
    desk = market.desk
    await deposit(desk.at, owner=desk.me, usdc_raw=10**9)
    short = desk.at.option(PUT, 2000, width=WIDTH, is_long=False)
    await desk.dispatch([short], [short], [ETH])
    with pytest.raises(VenueRejected, match="a person must close them"):
        await market.held()


async def test_without_an_account_it_only_quotes(market: Market) -> None:
    venue = panoptic_venue(reader=market.reader, contracts=market.contracts, terms=market.terms)
    view = await market.view()
    quotes = await venue.quotes(view, underlying="ETH", size=1.0)
    mine = await market.venue.quotes(view, underlying="ETH", size=1.0)
    assert [item.premium_usd for item in quotes] == pytest.approx([item.premium_usd for item in mine])
    assert await venue.held(view) == ()
    outcome = await venue.execute(buy_leg(quotes[0]), view=view)
    assert "no account that can sign" in outcome.because
    calls_only = replace(market.terms, option_types=(OptionType.CALL,))
    other = panoptic_venue(reader=market.reader, contracts=market.contracts, terms=calls_only)
    assert await other.quotes(view, underlying="ETH", size=1.0) == ()


async def test_a_price_that_is_not_known_is_no_reason_to_trade(market: Market) -> None:
    await market.buy()
    quote, (position,) = await market.quote(), await market.held()
    blind = replace(await market.view(), spot_usd={})
    assert await market.venue.quotes(blind, underlying="ETH", size=1.0) == ()
    (marked,) = await market.venue.held(blind)
    assert math.isnan(marked.liquidation_usd)
    assert marked.due.action is DueAction.NOTHING
    market.transactor.requests.clear()
    for leg in (buy_leg(quote, key="blind"), closing_leg(position, key="blind-too")):
        outcome = await market.venue.execute(leg, view=blind)
        assert outcome.status is LegStatus.REJECTED
        assert "not known" in outcome.because
    assert not market.transactor.requests


def test_the_adapter_is_registered() -> None:
    assert VENUES["panoptic"] is PanopticAdapter
    assert PanopticAdapter.capabilities.name == "panoptic"


def test_a_position_is_named_by_its_life() -> None:
    assert position_name(0xABC, 1_700_000_000) == "0xabc@1700000000"
