"""Rules of calls, one by one: what each lets through, to the edge, and what it refuses (REL-I10, E16)."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from send_builders import ADDRESS
from signer_builders import LATER_S, MARKET, ME, NOW_S, ROUTER, STRANGER, TOKEN, approve

from bot.chain.signing.calls import Bounds, CallBook, Effect
from bot.errors import ConfigError, InvariantError, VenueRejected
from bot.model.signing import BOUGHT_TOKEN, ActionRule, ApprovalRule, CallRule, Guard

OWN = frozenset({ME})


def rule(function: str, **changes: Any) -> CallRule:
    return CallRule(
        **{"target": MARKET, "function": function, "guard": Guard.NO_MONEY, "opens": False, **changes}
    )


def check(permission: CallRule, *values: Any, rest: bytes = b"", **bounds: Any) -> Effect:
    """Judge a call of the rule's own function with these arguments."""
    book = CallBook([permission], own=OWN)
    types = permission.function.partition("(")[2][:-1]
    data = keccak(text=permission.function)[:4] + encode(_split(types), values) + rest
    return book.check(MARKET, data, Bounds(**{**BOUNDS, **bounds}))


def _split(types: str) -> list[str]:
    parts, depth = [""], 0
    for letter in types:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


BOUNDS: dict[str, Any] = {
    "recipients": OWN, "now_s": NOW_S, "valid_until_s": LATER_S, "allowance": lambda _: 0,
}  # fmt: skip
MOST = rule("f(uint256,address)", guard=Guard.BOUND, most=(0,))
LEAST = rule("f(uint256,address)", guard=Guard.BOUND, least=(0,))
EQUAL = rule("f(uint256,address)", equals=(((0,), 5), ((1,), STRANGER)))
SINGLE = rule("f(uint256[],address)", single=((0,),))
ZERO = rule("f(uint256,uint256[])", zeros=((0,), (1,)))
RECIPIENT = rule("f(uint256,address)", recipients=((1,),))
DEADLINE = rule("f(uint256,address)", deadline=(0,))


@pytest.mark.parametrize(
    ("permission", "values"),
    [
        (MOST, (1, STRANGER)),
        (MOST, (2**127 - 1, STRANGER)),
        (LEAST, (1, STRANGER)),
        (EQUAL, (5, STRANGER)),
        (SINGLE, ([7], STRANGER)),
        (ZERO, (0, [])),
        (ZERO, (0, [0, 0])),
        (RECIPIENT, (0, ADDRESS)),  # in whatever capitals
        (DEADLINE, (int(NOW_S) + 1, STRANGER)),
        (DEADLINE, (int(LATER_S), STRANGER)),
    ],
)
def test_what_holds_every_bound_passes(permission, values):
    assert check(permission, *values) == Effect(opens=False, approval=None, spends_raw=0, buys="")


@pytest.mark.parametrize(
    ("permission", "values", "words"),
    [
        (MOST, (0, STRANGER), "f must bound what is paid"),
        (MOST, (2**127, STRANGER), "f must bound what is paid"),
        (LEAST, (0, STRANGER), "f must ask for at least 1"),
        (EQUAL, (6, STRANGER), "f must have 5 as argument"),
        (EQUAL, (5, ME), f"f must have {STRANGER} as argument"),
        (SINGLE, ([], STRANGER), "f must hold one item in argument .*held 0"),
        (SINGLE, ([1, 2], STRANGER), "held 2"),
        (ZERO, (1, []), "f must have 0 as argument"),
        (ZERO, (0, [0, 1]), "f must have 0 as argument"),
        (RECIPIENT, (0, STRANGER), f"f would pay {STRANGER}, allowed is only {ME}"),
        (DEADLINE, (int(LATER_S) + 1, STRANGER), "f names deadline"),
    ],
)
def test_what_breaks_one_is_refused(permission, values, words):
    with pytest.raises(InvariantError, match=words):
        check(permission, *values)


def test_a_deadline_that_passed_is_asked_for_again():
    with pytest.raises(VenueRejected, match="f had until"):
        check(DEADLINE, int(NOW_S), STRANGER)


@pytest.mark.parametrize("amount", [0, 2**127])
def test_an_allowance_that_stands_for_a_bound_is_exact(amount):
    permission = rule("f(uint256)", guard=Guard.ALLOWANCE)
    assert check(permission, 0, allowance=lambda spender: {MARKET: 1}.get(spender, 0))
    assert check(permission, 0, allowance=lambda _: 2**127 - 1)
    with pytest.raises(InvariantError, match=f"f is bounded by an exact allowance alone.* is {amount}"):
        check(permission, 0, allowance=lambda _: amount)


@pytest.mark.parametrize("permission", [MOST, SINGLE])
def test_nothing_follows_the_arguments(permission):
    values = (1, STRANGER) if permission is MOST else ([1], STRANGER)
    with pytest.raises(InvariantError, match="not the canonical encoding of f"):
        check(permission, *values, rest=bytes(32))


def test_what_a_purchase_brings_is_told_in_small_letters():
    permission = rule("f(address,uint256)", guard=Guard.BOUND, most=(1,), buys=(0,), opens=True)
    assert check(permission, ADDRESS, 1) == Effect(opens=True, buys=ME)


# allowances


def allow(*permissions: Any, token: str, spender: str, amount: int, **bounds: Any) -> Effect:
    return CallBook(permissions, own=OWN).check(
        token, approve(spender, amount), Bounds(**{**BOUNDS, **bounds})
    )


NAMED = ApprovalRule(token=TOKEN, spender=MARKET, opens=True)
SELLER = ApprovalRule(token=BOUGHT_TOKEN, spender=ROUTER, opens=False)


def test_an_allowance_says_what_it_is():
    found = allow(NAMED, token=TOKEN, spender=MARKET, amount=7)
    assert (found.opens, found.spends_raw, found.buys) == (True, 7, "")
    assert found.approval is not None
    assert (found.approval.token, found.approval.spender, found.approval.amount_raw) == (TOKEN, MARKET, 7)
    sold = allow(SELLER, token=STRANGER, spender=ROUTER, amount=7, bought=lambda token: token == STRANGER)
    assert (sold.opens, sold.spends_raw) == (False, 0)
    back = allow(NAMED, token=TOKEN, spender=STRANGER, amount=0)
    assert (back.opens, back.spends_raw) == (False, 0)


@pytest.mark.parametrize("amount", [2**127, 2**248, 2**255, 2**256 - 1])
def test_an_unlimited_allowance_is_refused_by_every_byte(amount):
    with pytest.raises(InvariantError, match="unlimited"):
        allow(NAMED, token=TOKEN, spender=MARKET, amount=amount)


def test_a_token_with_a_name_keeps_to_its_own_spenders():
    for bought in (True, False):
        with pytest.raises(InvariantError, match=r"spender .* is not on the signer's allow-list"):
            allow(NAMED, SELLER, token=TOKEN, spender=ROUTER, amount=1, bought=lambda _, it=bought: it)


def test_a_strange_token_is_taken_back_only_from_who_sells():
    assert allow(SELLER, token=STRANGER, spender=ROUTER, amount=0)
    with pytest.raises(InvariantError, match="allow-list"):
        allow(SELLER, token=STRANGER, spender=MARKET, amount=0)


# packed actions

TAKE = ActionRule(code=0x11, arguments=("address", "uint256"), recipients=((0,),), zeros=((1,),))
BURN = ActionRule(code=0x03, arguments=("uint256", "uint128"), least=(1,))
PACKED = rule("modify(bytes,uint256)", guard=Guard.BOUND, packed=(0,), actions=(BURN, TAKE))
GOOD = ((7, 1), (ME, 0))


def packed(*arguments: tuple[Any, ...], codes: bytes = b"\x03\x11", rest: bytes = b"") -> bytes:
    types = (("uint256", "uint128"), ("address", "uint256"), ("uint256",))
    bodies = [encode(kinds, values) for kinds, values in zip(types, arguments, strict=False)]
    return encode(["bytes", "bytes[]"], [codes, bodies]) + rest


def test_actions_in_their_order_pass():
    assert check(PACKED, packed(*GOOD), 0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "modify holds no canonical encoding of actions"),
        (packed(*GOOD, rest=bytes(32)), "modify holds no canonical encoding of actions"),
        (packed(*GOOD, codes=b"\x11\x03"), "modify holds actions 0x1103 with 2 parameters"),
        (packed(*GOOD, codes=b"\x03"), "modify holds actions 0x03 with 2 parameters"),
        (packed(*GOOD, (1,)), "with 3 parameters, allowed are exactly 0x0311"),
        (packed(GOOD[0]), "with 1 parameters"),
        (packed((7, 0), (ME, 0)), "modify action 0x03 must ask for at least 1"),
        (packed((7, 1), (STRANGER, 0)), f"modify action 0x11 would pay {STRANGER}"),
        (packed((7, 1), (ME, 1)), "modify action 0x11 must have 0"),
        (
            encode(["bytes", "bytes[]"], [b"\x03\x11", [encode(["uint256"], [7]), bytes(64)]]),
            r"modify action 0x03 is not the canonical encoding of \(uint256,uint128\)",
        ),
    ],
)
def test_any_other_actions_are_refused(body, words):
    with pytest.raises(InvariantError, match=words):
        check(PACKED, body, 0)


# rules that guard nothing


@pytest.mark.parametrize(
    ("permission", "words"),
    [
        (rule("f(bytes)", packed=(0,)), "needs packed and actions together"),
        (rule("f(bytes)", actions=(TAKE,)), "needs packed and actions together"),
        (rule("f(uint256)", packed=(0,), actions=(TAKE,)), "argument 0 is no bytes"),
        (rule("f(bytes)", packed=(0,), actions=(ActionRule(code=256, arguments=()),)), "256 is no code"),
        (rule("f(bytes)", packed=(0,), actions=(ActionRule(code=-1, arguments=()),)), "-1 is no code"),
        (rule("f(bytes)", packed=(0,), actions=(ActionRule(code=1, arguments=("uint",)),)), "f"),
        (
            rule("f(bytes)", packed=(0,),
                 actions=(ActionRule(code=1, arguments=("uint256",), recipients=((0,),)),)),
            "argument 0 is no address",
        ),
        (
            rule("f(bytes)", packed=(0,), actions=(ActionRule(code=1, arguments=("address",), least=(0,)),)),
            "argument 0 is no uint",
        ),
        (rule("f(address)", deadline=(0,)), "argument 0 is no uint"),
        (rule("f(uint256)", equals=(((0,), ME),)), "argument 0 is no address"),
        (rule("f(address)", equals=(((0,), 5),)), "argument 0 is no uint"),
        (rule("f((uint256,address))", recipients=((0, 0),)), r"argument 0\.0 is no address"),
        (rule("f((uint256,address))", recipients=((0, 2),)), r"argument 0\.2 is no address"),
        (rule("f((uint256,address))", recipients=((0, -1),)), r"argument 0\.-1 is no address"),
        (rule("f(address[])", recipients=((0,),)), "argument 0 is no address"),
        (rule("f(uint256)", guard=Guard.BOUND), "is guarded by a bound and names none"),
        *(
            (rule(f"{name}(uint256)"), f"must not allow {name}")
            for name in (
                "approve", "increaseAllowance", "permit", "setApprovalForAll", "transfer", "transferFrom",
            )
        ),
    ],
)  # fmt: skip
def test_a_rule_that_could_guard_nothing_is_refused(permission, words):
    with pytest.raises(ConfigError, match=words):
        CallBook([permission], own=OWN)


@pytest.mark.parametrize("code", [0, 255])
def test_the_codes_of_actions_are_bytes(code):
    action = ActionRule(code=code, arguments=("address",), recipients=((0,),))
    one = rule("f(bytes)", guard=Guard.NO_MONEY, packed=(0,), actions=(action,))
    body = encode(["bytes", "bytes[]"], [bytes([code]), [encode(["address"], [ME])]])
    assert check(one, body)


@pytest.mark.parametrize("name", ["int256", "uint8", "int24"])
def test_whole_numbers_of_any_size_are_bounds(name):
    assert check(rule(f"f({name})", guard=Guard.BOUND, least=(0,)), 1)


@pytest.mark.parametrize(
    "function",
    [
        "f(uint)",
        "f(int,address)",
        "f(byte)",
        "f(fixed)",
        "f(uint256",
        "f",
        "f()x",
        "f(uint257)",
        "(uint256)",
        "1(uint256)",
    ],
)
def test_only_canonical_signatures_make_a_selector(function):
    with pytest.raises(ConfigError, match="signature of a function"):
        CallBook([rule(function)], own=OWN)
