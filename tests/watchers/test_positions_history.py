"""Deposits from logs: what is compared with holding, and the fees of 30 days."""

import math

import pytest

from bot.chain.abi import Abi
from bot.devnet.deployment import Deployment
from bot.errors import TransientError
from bot.model.lp_position import Deposits, LpPosition
from bot.quant import lp
from bot.quant.lp_figures import figures_of
from bot.watchers.pools import Pool
from bot.watchers.positions import V2PositionReader, V3PositionReader, read_positions
from bot.watchers.positions.history import deposits_at, deposits_of

pytestmark = pytest.mark.devnet

MANAGER = Abi.load("NonfungiblePositionManager")
ERC20 = Abi.load("ERC20")
ROUTER = Abi.load("UniswapV2Router02")
SWAP = Abi.load("SwapRouter")
NEVER = 2**40
MOST = 2**128 - 1
DAY_S = 86_400


@pytest.fixture
def reader(at: Deployment, v3_pool: Pool) -> V3PositionReader:
    return V3PositionReader(token_id=at.user_v3_token_id, pool=v3_pool, manager=at.v3_position_manager)


async def read(chain, reader) -> LpPosition:
    (found,) = await read_positions(chain, [reader], block=await chain.head())
    assert isinstance(found, LpPosition), found
    return found


async def deposits(chain, reader, *, oldest: int = 0) -> tuple[LpPosition, Deposits]:
    position = await read(chain, reader)
    manager = getattr(reader, "manager", None)
    found = await deposits_of(chain, position, manager=manager, oldest=oldest, block=await chain.head())
    return position, found


async def swap(send, at: Deployment, usdc: int) -> None:
    await send(at.trader, at.usdc, ERC20.encode("approve", at.v3_router, usdc))
    order = (at.usdc, at.weth, 500, at.trader, NEVER, usdc, 0, 0)
    await send(at.trader, at.v3_router, SWAP.encode("exactInputSingle", order))


async def test_a_mint_is_the_deposit_and_its_entry(chain, at, reader) -> None:
    position, found = await deposits(chain, reader)
    assert (found.source, found.why_unknown) == ("logs", "")
    assert (found.units, found.quote) == pytest.approx((position.units, position.quote_units), rel=1e-9)
    assert found.entry_value == pytest.approx(position.value, rel=1e-9)
    assert found.fees_units == found.fees_quote == 0
    assert found.since_s < at.deployed_at_s


async def test_the_loss_is_that_of_the_curve_and_fees_come_on_top(chain, at, reader, send) -> None:
    await swap(send, at, 8_000_000 * 10**6)
    position, found = await deposits(chain, reader)
    assert position.spot > 1.3 * at.start_price_usd
    position = _with(position, found)
    figures = figures_of(position)
    entry = at.start_price_usd
    expected = float(lp.impermanent_loss(position.shape, entry, position.spot))
    assert expected < -1_000
    assert figures.loss_hold == pytest.approx(expected, rel=1e-6)
    usd = float(lp.impermanent_loss(position.shape, entry, position.spot, measure="usd"))
    assert figures.loss_entry == pytest.approx(usd, rel=1e-6)
    assert figures.fees_earned == pytest.approx(position.fees)
    assert position.fees > 10
    assert figures.net_hold == pytest.approx(expected + position.fees, rel=1e-6)
    assert figures.fee_income_30d == pytest.approx(position.fees)
    by_price = figures_of(_with(position, deposits_at(position, entry)))
    assert by_price.loss_hold == pytest.approx(expected, rel=1e-9)
    assert math.isnan(by_price.fees_earned)


async def test_a_withdrawal_takes_its_share_and_a_collect_is_fees(chain, at, reader, send) -> None:
    await swap(send, at, 4_000_000 * 10**6)
    before, full = await deposits(chain, reader)
    half = before.liquidity_raw // 2
    manager = at.v3_position_manager
    leave = MANAGER.encode("decreaseLiquidity", (reader.token_id, half, 0, 0, NEVER))
    await send(at.user, manager, leave)
    _, between = await deposits(chain, reader)
    assert between.fees_quote < 0, "set free and not collected yet: it waits among the uncollected"
    await send(at.user, manager, MANAGER.encode("collect", (reader.token_id, at.user, MOST, MOST)))
    position, found = await deposits(chain, reader)
    assert (found.units, found.quote) == pytest.approx((full.units / 2, full.quote / 2), rel=1e-9)
    assert found.entry_value == pytest.approx(full.entry_value / 2, rel=1e-9)
    assert position.fees == 0
    paid = (found.fees_units, found.fees_quote)
    assert paid == pytest.approx((before.fees_units, before.fees_quote), rel=1e-6, abs=1e-5)
    halves = figures_of(_with(position, found)).loss_hold
    assert halves == pytest.approx(figures_of(_with(before, full)).loss_hold / 2, rel=1e-6)


async def test_fees_of_30_days_leave_out_what_was_earned_before(chain, at, reader, send) -> None:
    await swap(send, at, 2_000_000 * 10**6)
    old, _ = await deposits(chain, reader)
    await send.wait(40 * DAY_S)
    for _ in range(3):
        await send.wait(DAY_S)
    await swap(send, at, 1_000_000 * 10**6)
    position, found = await deposits(chain, reader)
    figures = figures_of(_with(position, found))
    assert figures.fees_earned == pytest.approx(position.fees)
    assert 0 < figures.fee_income_30d < figures.fees_earned - 0.9 * old.fees


async def test_logs_that_do_not_explain_the_liquidity_are_no_deposit(chain, at, reader) -> None:
    head = await chain.head()
    _, found = await deposits(chain, reader, oldest=head.number)
    assert math.isnan(found.units)
    assert "explain 0 of the liquidity" in found.why_unknown
    assert "--entry-price" in found.why_unknown


async def test_a_node_without_logs_is_named(chain, at, reader) -> None:
    class Mute:
        def __getattr__(self, name: str):
            return getattr(chain, name)

        async def logs(self, **_):
            raise TransientError("eth_getLogs is not served")

    position = await read(chain, reader)
    block = await chain.head()
    found = await deposits_of(Mute(), position, manager=reader.manager, oldest=0, block=block)
    assert found.why_unknown == "the deposits could not be read: eth_getLogs is not served"


async def test_a_v2_deposit_is_what_the_pair_took(chain, at, v2_pool, send) -> None:
    reader = V2PositionReader(holder=at.user, pool=v2_pool)
    position, found = await deposits(chain, reader)
    assert (found.units, found.quote) == pytest.approx((position.units, position.quote_units), rel=1e-6)
    figures = figures_of(_with(position, found))
    assert figures.fees_earned == pytest.approx(0, abs=1e-3)
    amount = 10_000_000 * 10**6
    await send(at.trader, at.usdc, ERC20.encode("approve", at.v2_router, amount))
    path = (amount, 0, [at.usdc, at.weth], at.trader, NEVER)
    await send(at.trader, at.v2_router, ROUTER.encode("swapExactTokensForTokens", *path))
    position = await read(chain, reader)
    _, found = await deposits(chain, reader)
    figures = figures_of(_with(position, found))
    ratio = position.spot / at.start_price_usd
    textbook = 2 * math.sqrt(ratio) / (1 + ratio) - 1
    assert figures.loss_hold_share == pytest.approx(textbook, rel=1e-5)
    assert figures.fees_earned > 100, "0.3 % of ten million, by share"


async def test_v2_shares_that_leave_and_shares_from_elsewhere(chain, at, v2_pool, send) -> None:
    reader = V2PositionReader(holder=at.user, pool=v2_pool)
    position, full = await deposits(chain, reader)
    await send(at.user, at.v2_pair, ERC20.encode("transfer", at.trader, position.liquidity_raw // 4))
    _, left = await deposits(chain, reader)
    assert left.units == pytest.approx(0.75 * full.units, rel=1e-9)
    _, theirs = await deposits(chain, V2PositionReader(holder=at.trader, pool=v2_pool))
    assert "came from another address" in theirs.why_unknown


def _with(position: LpPosition, found: Deposits) -> LpPosition:
    from dataclasses import replace

    return replace(position, deposits=found, quote_usd=1.0)
