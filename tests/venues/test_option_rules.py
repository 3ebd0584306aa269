"""What the signer signs of Opyn and Hegic by the rules that their adapters state, and what it never does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.chain.abi import Abi
from bot.chain.rpc import Rpc
from bot.chain.signing.calls import Bounds, CallBook
from bot.devnet.deploy_opyn import DISPUTE_S, LOCKING_S
from bot.devnet.node import Devnet
from bot.errors import ConfigError, InvariantError
from bot.model.hedge import LegStatus, Side
from bot.model.intent import TxRequest
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule, Permission
from bot.venues.hegic import HegicAdapter
from bot.venues.hegic_terms import HegicContracts
from bot.venues.opyn import OpynAdapter
from bot.venues.opyn_terms import OpynContracts

from .hegic_world import make_world as make_hegic_world
from .opyn_world import closing
from .opyn_world import make_world as make_opyn_world

OWN, THIEF, NOBODY = "0x" + "0a" * 20, "0x" + "0b" * 20, "0x" + "00" * 20
USDC, WETH, OTOKEN = "0x" + "01" * 20, "0x" + "02" * 20, "0x" + "03" * 20
CONTROLLER, ROUTER, PRICER = "0x" + "04" * 20, "0x" + "05" * 20, "0x" + "06" * 20
TREASURY, STRATEGY = "0x" + "07" * 20, "0x" + "08" * 20
OTHER = "0x" + "09" * 20
NOW_S, UNTIL_S = 1_000, 2_000
ERC20 = Abi.load("ERC20")
ROUTER_ABI, CONTROLLER_ABI, TREASURY_ABI = map(
    Abi.load, ("SwapRouter", "GammaController", "HegicOperationalTreasury")
)


def permissions() -> tuple[Permission, ...]:
    reader: Any = None
    opyn = OpynContracts(
        controller=CONTROLLER,
        factory=OTHER,
        v3_factory=OTHER,
        router=ROUTER,
        quoter=OTHER,
        token=USDC,
        underlying_token=WETH,
        pricer=PRICER,
    )
    hegic = HegicContracts.of(
        {"PUT_90_ETH_2": STRATEGY}, treasury=TREASURY, manager=OTHER, cover_pool=OTHER, token=USDC
    )
    return (
        *OpynAdapter(reader=reader, contracts=opyn).permissions(),
        *HegicAdapter(reader=reader, contracts=hegic).permissions(),
    )


BOOK = CallBook(permissions(), own=frozenset({OWN}))


def check(to: str, data: bytes, *, allowed_raw: int = 5, bought: str = OTOKEN):
    bounds = Bounds(
        recipients=frozenset({OWN}),
        now_s=NOW_S,
        valid_until_s=UNTIL_S,
        allowance=lambda _spender: allowed_raw,
        bought=lambda token: token == bought,
    )
    return BOOK.check(to, data, bounds)


def operate(*actions: tuple[Any, ...]) -> bytes:
    return CONTROLLER_ABI.encode("operate", list(actions))


def redemption(kind: int = 8, receiver: str = OWN) -> tuple[Any, ...]:
    return (kind, NOBODY, receiver, OTOKEN, 0, 10**8, 0, b"")


def swap(
    function: str,
    *,
    receiver: str = OWN,
    bound: int = 1,
    until_s: int = UNTIL_S,
    tokens: tuple[str, str] | None = None,
) -> bytes:
    """Encode a purchase of oTokens, or their sale, unless ``tokens`` says what goes in and comes out."""
    paid, got = tokens or ((USDC, OTOKEN) if function == "exactOutputSingle" else (OTOKEN, USDC))
    return ROUTER_ABI.encode(function, (paid, got, 500, receiver, until_s, 10**8, bound, 0))


def signed(requests: Sequence[TxRequest], rules: Sequence[Permission], *, own: str, now_s: int) -> list[bool]:
    """Judge transactions in their order as the signer would; say of each whether it opens."""
    book, allowed = CallBook(rules, own=frozenset({own.lower()})), dict[str, int]()
    bought = set[str]()
    found = []
    for request in requests:
        bounds = Bounds(
            recipients=frozenset({own.lower()}),
            now_s=now_s,
            valid_until_s=request.valid_until_s,
            allowance=lambda spender: allowed.get(spender, 0),
            bought=bought.__contains__,
        )
        effect = book.check(request.to.lower(), request.data, bounds)
        if effect.approval is not None:
            allowed[effect.approval.spender] = effect.approval.amount_raw
        bought.update(filter(None, [effect.buys]))
        found.append(effect.opens)
    return found


@pytest.mark.devnet
async def test_every_step_of_an_otokens_life_is_signed(devnet: Devnet, rpc: Rpc, cache_dir: Path):
    world = await make_opyn_world(devnet, rpc, cache_dir)
    now_s = await world.bench.now_s()
    opened = await world.bought()
    sold = await world.close(opened, Side.SELL, size=0.5, limit_usd=1.0, key="plan/1")
    assert sold.status is LegStatus.FILLED, sold.because
    await world.expire(2400.0)
    await world.bench.set_time(world.put.series.expiry_s + LOCKING_S + 1)
    leg = closing(opened, Side.SETTLE, size=1.5)
    assert (await world.venue.execute(leg, view=await world.view())).status is LegStatus.WAITING
    await world.bench.set_time(await world.bench.now_s() + DISPUTE_S + 1)
    assert (await world.venue.reconcile(leg, view=await world.view())).premium_usd == 450.0
    requests = world.transactor.requests
    purposes = [item.purpose.partition("-")[0] for item in requests]
    assert purposes == ["approve", "open", "revoke", "approve", "close", "push", "redeem"]
    opens = signed(requests, world.venue.permissions(), own=world.at.user, now_s=now_s)
    assert opens == [True, True, False, False, False, False, False]


@pytest.mark.devnet
async def test_every_step_of_a_hegic_options_life_is_signed(devnet: Devnet, rpc: Rpc, cache_dir: Path):
    world = await make_hegic_world(devnet, rpc, cache_dir)
    now_s = await world.bench.now_s()
    opened = await world.bought()
    await world.publish(2500.0)
    assert (await world.settle(opened)).premium_usd == 880.0
    opens = signed(world.transactor.requests, world.venue.permissions(), own=world.at.user, now_s=now_s)
    assert opens == [True, True, False]


def test_a_purchase_opens_and_what_brings_money_in_does_not():
    assert check(ROUTER, swap("exactOutputSingle")).opens
    assert check(ROUTER, swap("exactOutputSingle")).buys == OTOKEN
    assert check(ROUTER, swap("exactInputSingle")).buys == ""
    assert not check(ROUTER, swap("exactInputSingle")).opens
    assert not check(CONTROLLER, operate(redemption())).opens
    push = Abi.load("GammaChainlinkPricer").encode("setExpiryPriceInOracle", 5, 7)
    assert not check(PRICER, push).opens
    assert check(TREASURY, TREASURY_ABI.encode("buy", STRATEGY, OWN, 1, 2, [])).opens
    assert not check(TREASURY, TREASURY_ABI.encode("payOff", 0, OWN)).opens


def test_approvals_of_a_purchase_are_spend_and_those_of_a_sale_are_not():
    spent = check(USDC, ERC20.encode("approve", ROUTER, 7))
    assert (spent.opens, spent.spends_raw) == (True, 7)
    sold = check(OTOKEN, ERC20.encode("approve", ROUTER, 7))  # no rule names it, and it was bought
    assert (sold.opens, sold.spends_raw) == (False, 0)
    assert sold.approval is not None
    assert sold.approval.token == OTOKEN
    assert not check(OTOKEN, ERC20.encode("approve", ROUTER, 0)).opens
    assert check(USDC, ERC20.encode("approve", TREASURY, 7)).opens


@pytest.mark.parametrize(
    ("to", "data", "because"),
    [
        (CONTROLLER, operate(redemption(receiver=THIEF)), "would pay"),
        (CONTROLLER, operate(redemption(), redemption(receiver=THIEF)), "one item"),
        (CONTROLLER, operate(), "lacks argument"),
        (CONTROLLER, operate(redemption(kind=1)), "must have 8"),
        (CONTROLLER, operate(redemption(kind=9)), "must have 8"),
        (CONTROLLER, Abi.load("GammaController").encode("hasExpired", OTOKEN), "not on the signer's"),
        (ROUTER, swap("exactOutputSingle", receiver=THIEF), "would pay"),
        (ROUTER, swap("exactOutputSingle", bound=2**127), "must bound what is paid"),
        (ROUTER, swap("exactInputSingle", bound=0), "at least 1"),
        (ROUTER, swap("exactInputSingle", tokens=(OTOKEN, OTHER)), f"must have {USDC}"),
        (ROUTER, swap("exactOutputSingle", tokens=(OTOKEN, OTHER)), f"must have {USDC}"),
        (OTHER, ERC20.encode("approve", ROUTER, 7), "signed no purchase of it"),
        (WETH, ERC20.encode("approve", ROUTER, 7), "signed no purchase of it"),
        (ROUTER, swap("exactInputSingle", until_s=UNTIL_S + 1), "after its valid-until"),
        (OTOKEN, ERC20.encode("approve", THIEF, 7), "not on the signer's"),
        (OTOKEN, ERC20.encode("approve", TREASURY, 7), "not on the signer's"),
        (OTOKEN, ERC20.encode("approve", ROUTER, 2**128), "unlimited"),
        (OTOKEN, ERC20.encode("transfer", THIEF, 7), "not on the signer's"),
        (TREASURY, TREASURY_ABI.encode("buy", STRATEGY, THIEF, 1, 2, []), "would pay"),
        (TREASURY, TREASURY_ABI.encode("payOff", 0, THIEF), "would pay"),
        (TREASURY, TREASURY_ABI.encode("unlock", 0), "not on the signer's"),
    ],
)
def test_what_is_never_signed(to: str, data: bytes, because: str):
    with pytest.raises(InvariantError, match=because):
        check(to, data)


def test_a_purchase_without_an_allowance_has_no_bound():
    """Hegic's ``buy`` takes no price: what was approved last is all that limits it."""
    with pytest.raises(InvariantError, match="bounded by an exact allowance alone"):
        check(TREASURY, TREASURY_ABI.encode("buy", STRATEGY, OWN, 1, 2, []), allowed_raw=0)


def test_a_token_that_is_bought_with_must_be_named():
    rule = ApprovalRule(token=BOUGHT_TOKEN, spender=ROUTER, opens=True)
    with pytest.raises(ConfigError, match="must name the token"):
        CallBook([rule], own=frozenset({OWN}))
