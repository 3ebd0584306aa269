"""Positions withdrawn from real Uniswap v4 (R29), and what the signer lets pass of it (REL-I10, REL-Y1)."""

import math
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.signing.calls import Bounds, CallBook
from bot.devnet.moves.wire import calldata
from bot.errors import ConfigError, InvariantError, OutcomeUnknown, VenueRejected
from bot.model.account_order import AccountOrder
from bot.model.base_layers import Action
from bot.model.hedge import LegStatus
from bot.model.intent import Log, Receipt, TxRequest
from bot.model.signing import ActionRule, CallRule, Guard
from bot.venues.planned_account import PlannedAccount
from bot.venues.priced_token import PricedToken
from bot.venues.prices import Money
from bot.venues.uniswap_v4_exit import (
    BURN,
    BURN_TYPES,
    DECREASE,
    DECREASE_TYPES,
    ERC20,
    NATIVE,
    POSITIONS,
    TAKE_PAIR,
    TAKE_PAIR_TYPES,
    V4Exit,
)
from bot.venues.withdrawal import ExitLimits, ExitPair

from .conftest import World

UNTIL_S = 2**40
HIGHEST_PRICE = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_341  # TickMath of v4-core
OWN, STRANGER, TOKEN, MANAGER = ("0x" + digit * 20 for digit in ("11", "22", "33", "44"))


def pair(usdc: str, **limits: int) -> ExitPair:
    return ExitPair(
        token0=PricedToken(symbol="ETH", address=NATIVE, decimals=18),
        token1=PricedToken(symbol="USDC", address=usdc, decimals=6, is_stable=True),
        base_is_token0=True,
        underlying="ETH",
        limits=ExitLimits(**limits),
    )


def exit_of(world: World, token_id: int | None = None, **limits: int) -> V4Exit:
    at = world.at
    return V4Exit(
        reader=world.reader,
        account=world.transactor.address,
        positions=at.v4_position_manager,
        pool_manager=at.v4_pool_manager,
        state_view=at.v4_state_view,
        token_id=at.user_v4_token_id if token_id is None else token_id,
        key=(NATIVE, at.usdc, at.v4_pool_fee, at.v4_tick_spacing, NATIVE),
        pair=pair(at.usdc, **limits),
    )


def account(world: World, *adapters: V4Exit) -> PlannedAccount:
    return PlannedAccount(
        adapters or [exit_of(world)],
        reader=world.reader,
        money=Money(settlement="USDC", stable="USDC"),
        custody=world.transactor,
    )


def order(world: World, *, part: float = 1.0, token_id: int | None = None, **fields) -> AccountOrder:
    number = world.at.user_v4_token_id if token_id is None else token_id
    given_fields = {"key": "exit/0", "group": "ETH/USDC", "valid_until_s": UNTIL_S, **fields}
    return AccountOrder(action=Action.WITHDRAW, subject=f"v4:{number}", part=part, **given_fields)


async def liquidity(world: World) -> int:
    positions, token = world.at.v4_position_manager, world.at.user_v4_token_id
    return await world.read("PositionManager", "getPositionLiquidity", positions, token)


async def push(world: World, *, usdc: int) -> None:
    """Somebody buys ETH in the pool with so much USDC (PoolSwapTest of v4-core)."""
    at = world.at
    mint = calldata("mint(address,uint256)", at.trader, usdc)
    await world.send(at.deployer, at.usdc, bytes.fromhex(mint[2:]))
    await world.send(at.trader, at.usdc, Abi.load("ERC20").encode("approve", at.v4_swap_router, usdc))
    key = "(address,address,uint24,int24,address)"
    types = (key, "(bool,int256,uint160)", "(bool,bool)", "bytes")
    pool = (NATIVE, at.usdc, at.v4_pool_fee, at.v4_tick_spacing, NATIVE)
    arguments = (pool, (False, -usdc, HIGHEST_PRICE), (False, False), b"")
    selector = bytes.fromhex(calldata(f"swap({','.join(types)})", *arguments)[2:10])
    await world.send(at.trader, at.v4_swap_router, selector + encode(types, arguments))


@pytest.mark.devnet
async def test_a_position_leaves_whole_and_its_token_is_burned(world: World):
    at, own = world.at, world.transactor.address
    usdc, coins = await world.balance(at.usdc), await coins_of(world)
    outcome = await account(world).execute(order(world), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    moved = {item.asset: item.units for item in outcome.moved}
    assert (await world.balance(at.usdc) - usdc) / 1e6 == pytest.approx(moved["USDC"], abs=1e-9)
    assert moved["USDC"] > 100_000.0
    assert math.isnan(moved["ETH"])  # the coin leaves no event
    assert await coins_of(world) - coins > 30 * 10**18
    assert [item.purpose for item in world.transactor.requests] == ["withdraw"]
    assert await world.read("ERC20", "balanceOf", at.v4_position_manager, own) == 0  # ERC-721 has it alike


async def coins_of(world: World) -> int:
    return int(await world.rpc.read("eth_getBalance", [world.transactor.address, "latest"]), 16)


@pytest.mark.devnet
async def test_a_part_of_a_position_leaves_and_the_rest_stays(world: World):
    before = await liquidity(world)
    outcome = await account(world).execute(order(world, part=0.25), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    assert await liquidity(world) == before - before // 4
    assert outcome.gas_usd > 0.0


@pytest.mark.devnet
async def test_a_pool_off_the_price_feeds_gives_nothing_away(world: World):
    """REL-R13: a v4 pool has no mean price, the feeds are the fair one."""
    before = await liquidity(world)
    await push(world, usdc=2_000_000 * 10**6)
    outcome = await account(world).execute(order(world), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "from its fair price" in outcome.because
    assert world.transactor.requests == []
    assert await liquidity(world) == before


@pytest.mark.devnet
async def test_a_push_before_the_withdrawal_fails_at_the_floors(world: World):
    before = await liquidity(world)

    async def pushed(request: TxRequest) -> None:
        await push(world, usdc=3_000_000 * 10**6)

    world.transactor.before_send = pushed
    outcome = await account(world).execute(order(world), view=await world.view())
    assert outcome.status is LegStatus.REJECTED
    assert "MinimumAmountInsufficient" in outcome.because
    assert await liquidity(world) == before


@pytest.mark.devnet
async def test_without_a_price_of_the_feeds_nothing_leaves(world: World):
    view = replace(await world.view(), spot_usd={})
    outcome = await account(world).execute(order(world), view=view)
    assert outcome.status is LegStatus.REJECTED
    assert "no fair price" in outcome.because


@pytest.mark.devnet
async def test_what_is_not_ours_or_not_in_the_pool_is_refused(world: World):
    whale = world.at.whale_v4_token_id
    view, foreign = await world.view(), exit_of(world, whale)
    outcome = await account(world, foreign).execute(order(world, token_id=whale), view=view)
    assert world.at.whale.lower() in outcome.because.lower()
    other = replace(exit_of(world), key=(NATIVE, world.at.usdc, 500, 60, NATIVE))
    outcome = await account(world, other).execute(order(world), view=view)
    assert "not in the configured pool" in outcome.because
    assert world.transactor.requests == []


@pytest.mark.devnet
@pytest.mark.parametrize("mined", [False, True])
async def test_a_withdrawal_that_was_cut_off_is_found_again_and_not_repeated(world: World, mined: bool):
    real_send = world.transactor.send

    async def dying(request: TxRequest):
        if mined:
            await real_send(request)
        raise OutcomeUnknown(request.purpose, request.key)

    planned, asked = account(world), order(world, part=0.5)
    world.transactor.send = dying
    assert (await planned.execute(asked, view=await world.view())).status is LegStatus.UNKNOWN
    world.transactor.send = real_send
    again = await planned.reconcile(asked, view=await world.view())
    assert again.status is (LegStatus.FILLED if mined else LegStatus.REJECTED)
    assert len(world.transactor.requests) == int(mined)


# What a hook, or a token that one of them calls, can say within the withdrawal: any topics, any words.
LOUD = "0x" + "0bad" * 10
DIRTY = "0x" + "ff" * 32
TELLS_ONE = "0x60015f5260205ff3"  # whatever it is asked
REVERTS = "0x5f5ffd"
NOISE = {
    "an owner and a spender that are no addresses": (TELLS_ONE, ("Approval", DIRTY, DIRTY)),
    "an allowance of ours that stands": (TELLS_ONE, ("Approval", OWN, STRANGER)),
    "an allowance that nobody can read": (REVERTS, ("Approval", OWN, STRANGER)),
    "an ERC-721 token's transfer": (TELLS_ONE, ("Transfer", OWN, STRANGER, DIRTY)),
    "a transfer between no addresses": (TELLS_ONE, ("Transfer", DIRTY, DIRTY)),
}


@pytest.mark.devnet
@pytest.mark.parametrize("why", NOISE)
async def test_what_strangers_say_within_a_withdrawal_ends_nothing(world: World, why: str):
    """It is booked by what the token itself said; nothing is sent to whoever else spoke."""
    code, (event, *said) = NOISE[why]
    await world.rpc.request("anvil_setCode", [LOUD, code])
    own = world.transactor.address
    words = (item.replace(OWN, own) for item in said)
    topics = (ERC20.topic(event), *("0x" + word[2:].lower().rjust(64, "0") for word in words))
    noise = tuple(Log(address=at, topics=topics, data=bytes(31) + b"\1") for at in (LOUD, world.at.usdc))
    mine = world.transactor._mine

    async def loud(call: dict[str, str]) -> Receipt:
        receipt = await mine(call)
        return replace(receipt, logs=(*noise, *receipt.logs))

    world.transactor._mine = loud
    usdc = await world.balance(world.at.usdc)
    outcome = await account(world).execute(order(world), view=await world.view())
    assert outcome.status is LegStatus.FILLED, outcome.because
    moved = {item.asset: item.units for item in outcome.moved}
    assert (await world.balance(world.at.usdc) - usdc) / 1e6 == pytest.approx(moved["USDC"], abs=1e-9)
    assert [item.to for item in world.transactor.requests] == [world.at.v4_position_manager]


@pytest.mark.devnet
async def test_a_withdrawal_whose_receipt_lacks_its_event_is_looked_at_again(world: World):
    """REL-F15: a node gave half a receipt."""
    mine, whole = world.transactor._mine, []

    async def bare(call: dict[str, str]) -> Receipt:
        whole.append(await mine(call))
        return replace(whole[0], logs=())

    world.transactor._mine = bare
    planned, asked = account(world), order(world)
    outcome = await planned.execute(asked, view=await world.view())
    assert outcome.status is LegStatus.UNKNOWN
    assert "succeeded without its event" in outcome.because
    world.transactor.receipts[asked.key]["withdraw"] = whole[0]
    assert (await planned.reconcile(asked, view=await world.view())).status is LegStatus.FILLED


@pytest.mark.devnet
@pytest.mark.parametrize("part", [0.5, 1.0])
async def test_the_signer_lets_pass_what_is_really_sent(world: World, part: float):
    adapter = exit_of(world)
    head = await world.reader.head()
    plan = await adapter.plan(order(world, part=part), view=await world.view(), head=head)
    (step,) = plan.steps
    own = world.transactor.address.lower()
    book = CallBook(adapter.permissions(), own=frozenset({own}))
    bounds = Bounds(recipients=frozenset({own}), now_s=0.0, valid_until_s=UNTIL_S, allowance=lambda _: 0)
    assert not book.check(step.to.lower(), step.data, bounds).opens


# what the signer refuses: the packed bytes are judged as strictly as the call itself

RULES = V4Exit(
    reader=None,  # type: ignore[arg-type] - rules are made without the chain
    account=OWN,
    positions=MANAGER,
    pool_manager=MANAGER,
    state_view=MANAGER,
    token_id=7,
    key=(NATIVE, TOKEN, 500, 10, NATIVE),
    pair=pair(TOKEN),
).permissions()
BOOK = CallBook(RULES, own=frozenset({OWN}))
BOUNDS = Bounds(recipients=frozenset({OWN}), now_s=100.0, valid_until_s=200.0, allowance=lambda _: 0)


def packed(*actions: tuple[int, tuple[str, ...], tuple], until_s: int = 150) -> bytes:
    codes = bytes(code for code, _, _ in actions)
    parameters = [encode(types, values) for _, types, values in actions]
    return unlock(encode(("bytes", "bytes[]"), (codes, parameters)), until_s=until_s)


def unlock(data: bytes, *, until_s: int = 150) -> bytes:
    return POSITIONS.encode("modifyLiquidities", data, until_s)


def decrease(floor0: int = 1, floor1: int = 0, hook: bytes = b""):
    return DECREASE, DECREASE_TYPES, (7, 1_000, floor0, floor1, hook)


def burn(floor0: int = 0, floor1: int = 1, hook: bytes = b""):
    return BURN, BURN_TYPES, (7, floor0, floor1, hook)


def take(to: str = OWN):
    return TAKE_PAIR, TAKE_PAIR_TYPES, (NATIVE, TOKEN, to)


@pytest.mark.parametrize("less", [decrease(), decrease(0, 1), burn(), burn(1, 0), burn(5, 5)])
def test_a_withdrawal_to_ourselves_with_a_floor_passes_and_stays_possible_while_paused(less):
    assert not BOOK.check(MANAGER, packed(less, take()), BOUNDS).opens


MINT = (0x02, ("uint256",), (1,))
SWEEP = (0x14, ("address", "address"), (TOKEN, STRANGER))
REFUSED = {
    "to a stranger": packed(decrease(), take(STRANGER)),
    "to whoever sends, by the router's own word": packed(decrease(), take("0x" + "00" * 19 + "01")),
    "no floor": packed(decrease(0, 0), take()),
    "no floor of a burn": packed(burn(0, 0), take()),
    "data for a hook": packed(decrease(hook=b"\x01"), take()),
    "zeros for a hook": packed(decrease(hook=b"\x00"), take()),
    "nothing taken": packed(decrease()),
    "only taken": packed(take()),
    "taken first": packed(take(), decrease()),
    "one more action": packed(decrease(), take(), SWEEP),
    "swept in place of taken": packed(decrease(), SWEEP),
    "minted": packed(MINT, take()),
    "a burn's code over a decrease": packed((BURN, *decrease()[1:]), take()),
    "more parameters than codes": unlock(
        encode(("bytes", "bytes[]"), (bytes((DECREASE,)), [encode(*decrease()[1:]), encode(*take()[1:])]))
    ),
    "one word": unlock(b"\x00" * 32),
    "empty": unlock(b""),
}


@pytest.mark.parametrize("why", REFUSED)
def test_any_other_packing_is_refused(why: str):
    with pytest.raises(InvariantError):
        BOOK.check(MANAGER, REFUSED[why], BOUNDS)


def test_a_rest_behind_the_packed_actions_or_their_parameters_is_refused():
    good = encode(("bytes", "bytes[]"), (bytes((DECREASE, TAKE_PAIR)), bodies()))
    assert not BOOK.check(MANAGER, unlock(good), BOUNDS).opens
    with pytest.raises(InvariantError, match="canonical"):
        BOOK.check(MANAGER, unlock(good + b"\x00" * 32), BOUNDS)
    for number in range(2):
        longer = bodies()
        longer[number] += b"\x00" * 32
        with pytest.raises(InvariantError, match="canonical"):
            BOOK.check(
                MANAGER,
                unlock(encode(("bytes", "bytes[]"), (bytes((DECREASE, TAKE_PAIR)), longer))),
                BOUNDS,
            )


def bodies() -> list[bytes]:
    return [encode(types, values) for _, types, values in (decrease(), take())]


def test_its_deadline_is_kept():
    with pytest.raises(VenueRejected, match="ask for a new quote"):
        BOOK.check(MANAGER, packed(decrease(), take(), until_s=100), BOUNDS)
    with pytest.raises(InvariantError, match="after its valid-until"):
        BOOK.check(MANAGER, packed(decrease(), take(), until_s=201), BOUNDS)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 2**16), bit=st.integers(0, 7))
def test_one_flipped_bit_never_pays_another_nor_drops_the_floor(place: int, bit: int):
    """Fuzz: whatever passes is still a withdrawal to ourselves with a floor."""
    data = bytearray(packed(decrease(1, 0), take()))
    data[4 + place % (len(data) - 4)] ^= 1 << bit
    try:
        BOOK.check(MANAGER, bytes(data), BOUNDS)
    except (InvariantError, VenueRejected):
        return
    codes, parameters = unpacked(bytes(data))
    assert codes in (bytes((DECREASE, TAKE_PAIR)), bytes((BURN, TAKE_PAIR)))
    assert decoded(TAKE_PAIR_TYPES, parameters[1])[2].lower() == OWN
    less = decoded(DECREASE_TYPES, parameters[0])
    assert max(less[2:4]) > 0
    assert less[4] == b""


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(data: bytes):
    with pytest.raises(InvariantError):
        BOOK.check(MANAGER, unlock(data), BOUNDS)


@settings(max_examples=100, deadline=None)
@given(
    codes=st.lists(st.sampled_from([0, DECREASE, 2, BURN, 0x0E, TAKE_PAIR, 0x14]), max_size=4),
    body=st.sampled_from([encode(*item[1:]) for item in (decrease(), burn(), take(), take(STRANGER))]),
)
def test_arbitrary_actions_pass_only_as_a_withdrawal(codes: list[int], body: bytes):
    known = {DECREASE: encode(*decrease()[1:]), BURN: encode(*burn()[1:]), TAKE_PAIR: body}
    parameters = [known.get(code, body) for code in codes]
    data = unlock(encode(("bytes", "bytes[]"), (bytes(codes), parameters)))
    ours = body == encode(*take()[1:])
    if ours and codes in ([DECREASE, TAKE_PAIR], [BURN, TAKE_PAIR]):
        BOOK.check(MANAGER, data, BOUNDS)
    else:
        with pytest.raises(InvariantError):
            BOOK.check(MANAGER, data, BOUNDS)


def unpacked(data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    inner = decoded(("bytes", "uint256"), data[4:])[0]
    return decoded(("bytes", "bytes[]"), inner)


def decoded(types: tuple[str, ...], data: bytes) -> tuple:
    from eth_abi.abi import decode

    return decode(types, data)


TAKE_RULE = ActionRule(code=TAKE_PAIR, arguments=TAKE_PAIR_TYPES, recipients=((2,),))
SENSELESS = {
    "actions without bytes": {"actions": (TAKE_RULE,)},
    "bytes without actions": {"packed": (0,)},
    "packed in a number": {"packed": (1,), "actions": (TAKE_RULE,)},
    "no floor at all": {"packed": (0,), "actions": (TAKE_RULE,)},
    "a code of two bytes": {
        "packed": (0,),
        "actions": (ActionRule(code=256, arguments=("uint256",), least=(0,)),),
    },
    "a floor that is an address": {
        "packed": (0,),
        "actions": (ActionRule(code=1, arguments=("address",), least=(0,)),),
    },
    "a recipient that is a number": {
        "packed": (0,),
        "actions": (ActionRule(code=1, arguments=("uint256",), least=(0,), recipients=((0,),)),),
    },
    "a type that is none": {
        "packed": (0,),
        "actions": (ActionRule(code=1, arguments=("uint",), least=(0,)),),
    },
}


@pytest.mark.parametrize("why", SENSELESS)
def test_a_rule_that_could_guard_nothing_is_refused(why: str):
    rule = CallRule(
        target=MANAGER,
        function="modifyLiquidities(bytes,uint256)",
        guard=Guard.BOUND,
        opens=False,
        **SENSELESS[why],
    )
    with pytest.raises(ConfigError):
        CallBook([rule], own=frozenset({OWN}))
