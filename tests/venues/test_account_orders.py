"""Positions withdrawn from real Uniswap v2 and v3 (R29), a loan of real Aave v3 paid for (R21)."""

import math
from dataclasses import replace

import pytest

from bot.chain.abi import Abi
from bot.devnet.moves.wire import calldata
from bot.errors import NotFoundError, OutcomeUnknown, VenueRejected
from bot.model.account_order import AccountOrder
from bot.model.base_layers import Action
from bot.model.hedge import LegStatus
from bot.model.intent import TxRequest
from bot.model.signing import ApprovalRule
from bot.quant.ticks import X96, amounts_in, sqrt_ratio_x96
from bot.venues.aave_reserve import AaveReserve
from bot.venues.planned_account import PlannedAccount
from bot.venues.priced_token import PricedToken
from bot.venues.prices import Money
from bot.venues.uniswap_exit import V2Exit, V3Exit
from bot.venues.withdrawal import ExitLimits, ExitPair, least_amounts

from .conftest import NEVER_S, World

pytestmark = pytest.mark.devnet
UNTIL_S = 2**40


def accounts(world: World, **limits: int) -> PlannedAccount:
    at, own = world.at, world.transactor.address
    weth = PricedToken(symbol="ETH", address=at.weth, decimals=18)
    usdc = PricedToken(symbol="USDC", address=at.usdc, decimals=6)
    weth_first = int(at.weth, 16) < int(at.usdc, 16)
    tokens = (weth, usdc) if weth_first else (usdc, weth)
    pair = ExitPair(
        token0=tokens[0],
        token1=tokens[1],
        base_is_token0=weth_first,
        underlying="ETH",
        limits=ExitLimits(**limits),
    )
    v3 = V3Exit(
        reader=world.reader,
        account=own,
        manager=at.v3_position_manager,
        token_id=at.user_v3_token_id,
        pool=at.v3_pool,
        pair=pair,
    )
    foreign = replace(v3, token_id=at.whale_v3_token_id)
    v2 = V2Exit(
        reader=world.reader,
        account=own,
        router=at.v2_router,
        pool=at.v2_pair,
        label="v2:ETH/USDC",
        pair=pair,
    )
    loan = AaveReserve(
        reader=world.reader,
        account=own,
        label="loan",
        pool=at.aave_pool,
        collateral=weth,
        debt=usdc,
    )
    money = Money(settlement="USDC", stable="USDC")
    return PlannedAccount([v3, foreign, v2, loan], reader=world.reader, money=money, custody=world.transactor)


def order(subject: str, action: Action = Action.WITHDRAW, *, key: str = "exit/0", **fields) -> AccountOrder:
    given = {"key": key, "group": "ETH/USDC", "action": action, "subject": subject, "valid_until_s": UNTIL_S}
    return AccountOrder(**{**given, **fields})


def v3_name(world: World) -> str:
    return f"v3:{world.at.user_v3_token_id}"


async def liquidity(world: World) -> int:
    manager, token = world.at.v3_position_manager, world.at.user_v3_token_id
    return (await world.read("NonfungiblePositionManager", "positions", manager, token))[7]


async def push_v3(world: World, *, usdc: int) -> None:
    """Somebody buys ETH in the pool with so much USDC."""
    at = world.at
    await world.send(
        at.deployer, at.usdc, bytes.fromhex(calldata("mint(address,uint256)", at.trader, usdc)[2:])
    )
    await world.send(at.trader, at.usdc, Abi.load("ERC20").encode("approve", at.v3_router, usdc))
    fee = await world.read("UniswapV3Pool", "fee", at.v3_pool)
    swap = (at.usdc, at.weth, fee, at.trader, UNTIL_S, usdc, 0, 0)
    await world.send(at.trader, at.v3_router, Abi.load("SwapRouter").encode("exactInputSingle", swap))


async def push_v2(world: World, *, usdc: int) -> None:
    at = world.at
    await world.send(at.trader, at.usdc, Abi.load("ERC20").encode("approve", at.v2_router, usdc))
    data = Abi.load("UniswapV2Router02").encode(
        "swapExactTokensForTokens", usdc, 0, [at.usdc, at.weth], at.trader, UNTIL_S
    )
    await world.send(at.trader, at.v2_router, data)


async def test_a_v3_position_leaves_whole_with_its_fees_and_its_token_is_burned(world: World):
    own = world.transactor.address
    before = {name: await world.balance(token) for name, token in tokens(world)}
    outcome = await accounts(world).execute(order(v3_name(world)), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert outcome.gas_usd > 0.0
    moved = {item.asset: item.units for item in outcome.moved}
    for name, token in tokens(world):
        gained = (await world.balance(token) - before[name]) / 10 ** (18 if name == "ETH" else 6)
        assert gained == pytest.approx(moved[name], abs=1e-9)
        assert gained > 0.0
    purposes = [item.purpose for item in world.transactor.requests]
    assert purposes == ["withdraw", "collect", "burn"]
    held = await world.read("NonfungiblePositionManager", "balanceOf", world.at.v3_position_manager, own)
    assert held == 0


def tokens(world: World):
    return (("ETH", world.at.weth), ("USDC", world.at.usdc))


async def test_a_part_of_a_v3_position_leaves_and_the_rest_stays(world: World):
    before = await liquidity(world)
    outcome = await accounts(world).execute(order(v3_name(world), part=0.25), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert await liquidity(world) == before - before // 4  # rounded down
    assert "burn" not in {item.purpose for item in world.transactor.requests}


async def test_a_v3_pool_that_was_just_moved_gives_nothing_away(world: World):
    """REL-R13: the mean price over half an hour does not follow a push within one block."""
    before = await liquidity(world)
    await push_v3(world, usdc=15_000_000 * 10**6)
    outcome = await accounts(world).execute(order(v3_name(world)), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "from its fair price" in outcome.because
    assert world.transactor.requests == []
    assert await liquidity(world) == before


async def test_a_push_between_check_and_withdrawal_fails_at_the_floors(world: World):
    before = await liquidity(world)

    async def push(request: TxRequest) -> None:
        if request.purpose == "withdraw":
            await push_v3(world, usdc=15_000_000 * 10**6)

    world.transactor.before_send = push
    outcome = await accounts(world).execute(order(v3_name(world)), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "Price slippage check" in outcome.because
    assert await liquidity(world) == before


async def test_the_position_of_another_is_not_touched(world: World):
    foreign = order(f"v3:{world.at.whale_v3_token_id}")
    outcome = await accounts(world).execute(foreign, view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert world.at.whale.lower() in outcome.because.lower()
    assert world.transactor.requests == []


async def test_a_position_of_another_pool_than_configured_stays(world: World):
    """Its floors would be of another price."""
    planned = accounts(world)
    exit_v3 = planned._adapters[v3_name(world)]
    wrong = replace(exit_v3, pool=world.at.stable_pool)
    head = await world.reader.head()
    with pytest.raises(VenueRejected, match="is not in pool"):
        await wrong.plan(order(v3_name(world)), view=await world.view(), head=head)


async def test_a_plan_says_what_is_asked_for_at_least(world: World):
    view = await world.view()
    plan = await accounts(world).plan(order(v3_name(world), part=0.5), view=view)
    assert "ETH and" in plan.because or "USDC and" in plan.because
    value = plan.least_usd
    outcome = await accounts(world).execute(order(v3_name(world), part=0.5), view=view)
    worth = {"ETH": view.spot_usd["ETH"], "USDC": 1.0}
    got = sum(item.units * worth[item.asset] for item in outcome.moved)
    assert 0.9 * got < value < got
    paid = await accounts(world).plan(order("loan", Action.REPAY, amount_usd=600.0), view=view)
    assert paid.because == "600 USDC"
    assert paid.most_usd == 600.0


async def test_lp_tokens_of_v2_leave_and_no_allowance_stays(world: World):
    at = world.at
    before = {name: await world.balance(token) for name, token in tokens(world)}
    held = await world.balance(at.v2_pair)
    outcome = await accounts(world).execute(order("v2:ETH/USDC", part=0.5), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert await world.balance(at.v2_pair) == held - held // 2
    for name, token in tokens(world):
        assert await world.balance(token) > before[name]
    left = await world.read("ERC20", "allowance", at.v2_pair, world.transactor.address, at.v2_router)
    assert left == 0


async def test_the_very_withdrawal_from_v2_is_run_before_anything_is_approved(world: World):
    """Only the router knows what it refuses: here, that the time of the order is over."""
    late = order("v2:ETH/USDC", valid_until_s=1.0)
    with pytest.raises(VenueRejected, match="EXPIRED"):
        await accounts(world).plan(late, view=await world.view())
    assert world.transactor.requests == []


async def test_a_v2_pair_off_the_price_feeds_gives_nothing_away(world: World):
    await push_v2(world, usdc=2_000_000 * 10**6)
    outcome = await accounts(world).execute(order("v2:ETH/USDC"), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "from its fair price" in outcome.because
    assert world.transactor.requests == []


async def test_a_v2_push_before_the_withdrawal_fails_at_the_floors_and_no_allowance_stays(world: World):
    at = world.at
    held = await world.balance(at.v2_pair)

    async def push(request: TxRequest) -> None:
        if request.purpose == "withdraw":
            await push_v2(world, usdc=5_000_000 * 10**6)

    world.transactor.before_send = push
    outcome = await accounts(world).execute(order("v2:ETH/USDC"), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert await world.balance(at.v2_pair) == held
    left = await world.read("ERC20", "allowance", at.v2_pair, world.transactor.address, at.v2_router)
    assert left == 0


async def test_without_a_price_of_the_feeds_v2_stays(world: World):
    view = replace(await world.view(), spot_usd={})
    outcome = await accounts(world).execute(order("v2:ETH/USDC"), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert "no fair price" in outcome.because


@pytest.mark.parametrize("action", [Action.TOP_UP, Action.REPAY])
async def test_a_loan_is_healthier_by_what_was_paid(world: World, action: Action):
    at, own = world.at, world.transactor.address
    await world.send(at.trader, at.weth, Abi.load("ERC20").encode("transfer", own, 10**18))
    before = await world.read("Pool", "getUserAccountData", at.aave_pool, own)
    paid = order("loan", action, amount_usd=1_000.0)
    outcome = await accounts(world).execute(paid, view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    after = await world.read("Pool", "getUserAccountData", at.aave_pool, own)
    assert after[5] > before[5]  # health factor
    (moved,) = outcome.moved
    worth = 1.0 if moved.asset == "USDC" else (await world.view()).spot_usd["ETH"]
    assert -moved.units * worth == pytest.approx(1_000.0, rel=1e-6)
    token = at.usdc if moved.asset == "USDC" else at.weth
    assert await world.read("ERC20", "allowance", token, own, at.aave_pool) == 0


async def test_what_the_account_does_not_have_is_not_paid(world: World):
    outcome = await accounts(world).execute(
        order("loan", Action.REPAY, amount_usd=1e12), view=await world.view()
    )
    assert outcome.status is LegStatus.REJECTED
    assert world.transactor.requests == []


@pytest.mark.parametrize("at_purpose", ["withdraw", "collect", "burn"])
@pytest.mark.parametrize("mined", [False, True])
async def test_an_exit_that_was_cut_off_is_found_again_and_not_repeated(world: World, at_purpose, mined):
    real_send = world.transactor.send

    async def dying(request: TxRequest):
        if request.purpose == at_purpose:
            if mined:
                await real_send(request)
            raise OutcomeUnknown(request.purpose, request.key)
        return await real_send(request)

    planned, asked = accounts(world), order(v3_name(world))
    world.transactor.send = dying
    first = await planned.execute(asked, view=await world.view())
    assert first.status is LegStatus.UNKNOWN
    world.transactor.send = real_send
    again = await planned.reconcile(asked, view=await world.view())
    gone = at_purpose != "withdraw" or mined
    assert again.status is (LegStatus.FILLED if gone else LegStatus.REJECTED)
    assert (await planned.reconcile(asked, view=await world.view())).status is again.status
    assert [item.purpose for item in world.transactor.requests].count("withdraw") == int(gone)


async def test_a_subject_that_is_not_configured_is_refused_by_name(world: World):
    with pytest.raises(NotFoundError, match="v3:99"):
        await accounts(world).execute(order("v3:99"), view=await world.view())


async def test_an_order_past_its_time_sends_nothing(world: World):
    late = order(v3_name(world), valid_until_s=1.0)
    outcome = await accounts(world).execute(late, view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert world.transactor.requests == []


async def test_every_call_and_allowance_has_a_rule_that_stays_possible_while_paused(world: World):
    planned = accounts(world)
    await planned.execute(order(v3_name(world)), view=await world.view())
    await planned.execute(order("v2:ETH/USDC", key="exit/1"), view=await world.view())
    rules = planned.permissions()
    assert not any(rule.opens for rule in rules)
    allowed = {rule.token if isinstance(rule, ApprovalRule) else rule.target for rule in rules}
    assert {item.to.lower() for item in world.transactor.requests} <= allowed
    assert NEVER_S > UNTIL_S / 2


@pytest.mark.parametrize("width", [10, 60, 600, 6_000, 887_220])
@pytest.mark.parametrize("offset", [-1.0, -0.4, 0.0, 0.4, 1.0])
def test_floors_are_met_everywhere_within_the_allowed_deviation(width: int, offset: float):
    limits = ExitLimits(max_deviation_bps=200, slippage_bps=50)
    tick = int(offset * width) if width < 800_000 else 1_000
    fair = sqrt_ratio_x96(tick)
    bounds = (sqrt_ratio_x96(-width), sqrt_ratio_x96(width))
    floors = least_amounts(10**24, fair_x96=fair, range_x96=bounds, limits=limits)
    assert any(floors)
    for share in (-0.5, 0.0, 0.5):
        at = int(fair * math.sqrt(1.0 + share * 0.001))
        low, high = bounds
        got = amounts_in(10**24, at_x96=at, low_x96=low, high_x96=high)
        if width >= 600:  # a narrower range trades whole within the deviation
            assert got[0] >= floors[0]
            assert got[1] >= floors[1]
    assert X96 == 2**96
