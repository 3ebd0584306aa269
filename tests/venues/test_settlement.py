"""The stable swap, and the overrides that quote without funds, on the devnet's real pool and tokens."""

from dataclasses import replace
from typing import Any

import pytest

from bot.chain.abi import Abi
from bot.chain.rpc import RpcError
from bot.chain.signing.calls import Bounds, CallBook
from bot.errors import TransientError, VenueRejected
from bot.venues.lyra import lyra_venue
from bot.venues.overrides import AMOUNT_RAW, QUOTING_ADDRESS, FundedSender, Layout
from bot.venues.settlement import SettlementSwap, StablePair, SwapLimits
from bot.venues.steps import OrderSteps
from bot.venues.v3_swap import Exact, V3Swap

from .conftest import NEVER_S, World, buy_leg

pytestmark = pytest.mark.devnet
WAD = 10**18


async def unbalance(world: World, *, share: float) -> None:
    """Somebody buys a share of the pool's sUSD, so that the next sUSD is dear."""
    at = world.at
    amount = int(share * await world.balance(at.susd, at.stable_pool) / 10**12)
    await world.send(at.trader, at.usdc, Abi.load("ERC20").encode("approve", at.v3_router, amount))
    order = (at.usdc, at.susd, at.stable_pool_fee, at.trader, 2**40, amount, 0, 0)
    await world.send(at.trader, at.v3_router, Abi.load("SwapRouter").encode("exactInputSingle", order))


async def make_dear(world: World, swap: SettlementSwap) -> None:
    """Move the pool until one sUSD costs more than the limits allow."""
    for _ in range(40):
        head = await world.reader.head()
        try:
            needed = await swap.stable_needed_raw(WAD, block=head)
        except VenueRejected:
            return
        if needed > 1_030_000:
            return
        await unbalance(world, share=0.3)
    raise AssertionError("the pool could not be moved")


async def test_in_and_out_move_exactly_what_was_quoted(world: World):
    swap, own = world.swap, world.transactor.address
    leg = buy_leg(await world.put_near_delta(0.3))
    steps = OrderSteps(world.transactor, leg.key)
    head = await world.reader.head()
    needed = await swap.stable_needed_raw(1_000 * WAD, block=head)
    usdc = await world.balance(world.at.usdc)
    swap_in = swap.swap_in(
        stable_raw=needed, min_settlement_raw=1_000 * WAD, account=own, valid_until_s=NEVER_S
    )
    await steps.send(swap_in, valid_until_s=NEVER_S)
    assert usdc - await world.balance(world.at.usdc) == needed
    received = await world.balance(world.at.susd)
    assert 1_000 * WAD <= received < 1_000 * WAD + 10**13  # one USDC unit is 1e12 of sUSD
    head = await world.reader.head()
    quoted = await swap.stable_received_raw(received, block=head)
    before = await world.balance(world.at.usdc)
    swap_out = await swap.swap_out(settlement_raw=received, block=head, account=own, valid_until_s=NEVER_S)
    await steps.send(swap_out, valid_until_s=NEVER_S)
    receipt = steps.receipts["swap-out"]
    assert await world.balance(world.at.usdc) - before == quoted
    assert await world.balance(world.at.susd) == 0
    assert await world.allowances() == (0, 0, 0, 0)
    cost = swap.cost_usd(receipt, account=own, stable_usd=1.0, settlement_usd=1.0)
    assert cost == pytest.approx(received / WAD - quoted / 1e6, abs=1e-9)


async def test_cost_shares_are_fee_and_impact(world: World):
    head = await world.reader.head()
    small = await world.swap.cost(WAD, block=head, stable_usd=1.0, settlement_usd=1.0)
    large = await world.swap.cost(100_000 * WAD, block=head, stable_usd=1.0, settlement_usd=1.0)
    fee = world.at.stable_pool_fee / 1e6
    assert small.share_in + small.share_out == pytest.approx(2.0 * fee, rel=0.2)
    assert large.share_in > small.share_in
    assert large.share_out > small.share_out


async def test_off_the_peg_every_swap_is_refused_and_nothing_is_sent(world: World):
    swap = world.swap
    await make_dear(world, swap)
    head = await world.reader.head()
    with pytest.raises(VenueRejected):
        await swap.bound_in_raw(WAD, block=head)
    with pytest.raises(VenueRejected, match="allowed is 1"):
        await swap.swap_out(
            settlement_raw=WAD, block=head, account=world.transactor.address, valid_until_s=NEVER_S
        )
    assert world.transactor.requests == []
    quotes = await world.quotes(await world.view())
    assert quotes
    assert all(item.indicative and "cannot be had" in item.because for item in quotes)


async def test_the_peg_limit_is_what_refuses(world: World):
    strict = SettlementSwap(reader=world.reader, pair=world.swap.pair, limits=SwapLimits(max_depeg_bps=0))
    head = await world.reader.head()
    with pytest.raises(VenueRejected, match="allowed is 1"):
        await strict.bound_in_raw(1_000 * WAD, block=head)
    assert await world.swap.bound_in_raw(1_000 * WAD, block=head) > 1_000 * 10**6


async def test_an_amount_the_pool_does_not_have_is_refused(world: World):
    with pytest.raises(VenueRejected):
        await world.swap.stable_needed_raw(10**15 * WAD, block=await world.reader.head())


@pytest.mark.parametrize("token", ["usdc", "susd", "weth"])
async def test_the_storage_of_each_token_is_found_in_one_probe(world: World, token: str):
    """USDC is Vyper or Solidity, sUSD is Solidity, WETH keeps its books elsewhere in its layout."""
    address = getattr(world.at, token)
    head = await world.reader.head()
    funded = FundedSender(world.reader)
    found = await funded.overrides(token=address, owner=QUOTING_ADDRESS, spender=world.at.trader, block=head)
    assert found is not None
    erc20 = Abi.load("ERC20")
    for name, args in (("balanceOf", (QUOTING_ADDRESS,)), ("allowance", (QUOTING_ADDRESS, world.at.trader))):
        data = await world.reader.simulate(
            to=address, data=erc20.encode(name, *args), block=head, sender=address, overrides=found
        )
        assert int.from_bytes(data) == AMOUNT_RAW


def test_mapping_slots_in_both_orders():
    """Golden: keccak256(key . slot) for Solidity, keccak256(slot . key) for Vyper."""
    key = "0x" + "11" * 20
    solidity, vyper = Layout(slot=0, vyper=False), Layout(slot=0, vyper=True)
    assert solidity.of(key) != vyper.of(key)
    assert hex(solidity.of("0x" + "00" * 20)) == hex(vyper.of("0x" + "00" * 20))  # both hash 64 zero bytes
    assert hex(solidity.of("0x" + "00" * 20)) == (
        "0xad3228b676f7d3cd4284a5443f17f1962b36e491b30a40b2405849e597ba5fb5"
    )


class NoOverrides:
    """A node that does not know the third parameter of eth_call."""

    def __init__(self, world: World, code: int = -32602) -> None:
        self._reader, self._code = world.reader, code
        self.probes = 0

    def __getattr__(self, name: str):
        return getattr(self._reader, name)

    async def simulate(self, *, overrides=None, **call):
        if overrides is not None:
            self.probes += 1
            raise RpcError(self._code, "too many arguments, want at most 2")
        return await self._reader.simulate(**call)


async def test_where_the_node_takes_no_overrides_quotes_are_indicative(world: World):
    reader = NoOverrides(world)
    venue = lyra_venue(reader=reader, contracts=world.contracts, swap=world.swap)
    view = await world.view()
    quotes = await venue.quotes(view, underlying="ETH", size=1.0)
    exact = {item.instrument: item for item in await world.quotes(view)}
    assert quotes
    for quote in quotes:
        assert quote.indicative
        assert "no state overrides" in quote.because
        assert quote.model_usd == exact[quote.instrument].model_usd
    await venue.quotes(view, underlying="ETH", size=1.0)
    assert reader.probes == 1  # asked once


async def test_without_overrides_a_purchase_still_works_within_its_limit(world: World):
    reader = NoOverrides(world)
    venue = lyra_venue(reader=reader, contracts=world.contracts, swap=world.swap, custody=world.transactor)
    quote = await world.put_near_delta(0.3)
    outcome = await venue.execute(buy_leg(quote), view=await world.view())
    assert outcome.status.value == "filled", outcome.because
    assert outcome.premium_usd <= outcome.leg.limit_usd
    assert await world.allowances() == (0, 0, 0, 0)
    late = replace(buy_leg(quote, key="plan/1"), limit_usd=0.5 * quote.premium_usd)
    refused = await venue.execute(late, view=await world.view())
    assert refused.status.value == "rejected"
    assert await world.allowances() == (0, 0, 0, 0)


async def test_a_node_that_is_away_is_not_taken_for_one_without_overrides(world: World):
    reader = NoOverrides(world, code=-32000)
    venue = lyra_venue(reader=reader, contracts=world.contracts, swap=world.swap)
    with pytest.raises(TransientError):
        await venue.quotes(await world.view(), underlying="ETH", size=1.0)


def test_into_the_settlement_token_a_swap_opens_and_out_of_it_it_closes():
    """REL-O3: where a pause comes between an allowance and its swap, the swap is not signed any more."""
    own, router, stable, settlement = ("0x" + digit * 40 for digit in "abcd")
    pair = StablePair(
        stable="USDC", stable_token=stable, settlement="sUSD", settlement_token=settlement,
        router=router, quoter=router, pool_fee=500,
    )  # fmt: skip
    reader: Any = None
    book = CallBook(SettlementSwap(reader=reader, pair=pair).permissions(), own=frozenset({own}))
    bounds = Bounds(
        recipients=frozenset({own}),
        now_s=1_000.0,
        valid_until_s=2_000.0,
        allowance=lambda _: 10**18,
        bought=lambda _: False,
    )
    for paid, got, opens in ((stable, settlement, True), (settlement, stable, False)):
        swap = V3Swap(
            exact=Exact.IN, token_in=paid, token_out=got, pool_fee=500, recipient=own,
            valid_until_s=2_000.0, amount_raw=10**6, bound_raw=10**5,
        )  # fmt: skip
        assert book.check(router, swap.data, bounds).opens is opens
