"""Calls of a batch in words: by the rule that allows them, with its bounds; anything else is marked."""

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.safe_batch import InnerCall
from bot.chain.safe_calls import STANDING_RAW, Allowance, ReadCall, Token, read_call
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule, CallRule, Guard

MARKET, TOKEN, ROUTER, OTHER = (f"0x{digit * 40}" for digit in "1234")
BUY = "buy((uint256,uint256),uint256,uint256)"
ERC20, SAFE = Abi.load("ERC20"), Abi.load("Safe")
RULES = (
    CallRule(
        target=MARKET, function=BUY, guard=Guard.BOUND, opens=True, most=(0, 1), least=(1,), deadline=(2,)
    ),
    CallRule(target=MARKET, function="settle(uint256[])", guard=Guard.NO_MONEY, opens=False),
    ApprovalRule(token=TOKEN, spender=ROUTER, opens=True),
    ApprovalRule(token=BOUGHT_TOKEN, spender=MARKET, opens=False),
)


def read(to: str, data: bytes, value_wei: int = 0) -> ReadCall:
    return read_call(
        InnerCall(to=to, data=data, value_wei=value_wei),
        permissions=RULES,
        tokens={TOKEN: Token(symbol="USDC", decimals=6)},
        labels={MARKET: "lyra.option_market", ROUTER: "lyra.swap_router"},
    )


def test_a_trade_says_its_bounds() -> None:
    data = keccak(text=BUY)[:4] + encode(
        ["(uint256,uint256)", "uint256", "uint256"], [(7, 9), 3, 1_700_000_000]
    )
    found = read(MARKET, data)
    assert found.is_allowed
    assert found.name == "buy of lyra.option_market"
    assert found.words == "pays at most 9 raw; brings at least 3 raw; until 2023-11-14T22:13:20Z"
    settle = keccak(text="settle(uint256[])")[:4] + encode(["uint256[]"], [[1, 2]])
    assert read(MARKET, settle).words == "no money"


@given(raw=st.integers(0, 2**256 - 1))
def test_an_allowance_says_who_may_take_how_much(raw: int) -> None:
    """Law: allowed exactly where a rule names token and spender and it is no standing one."""
    named = read(TOKEN, ERC20.encode("approve", ROUTER, raw))
    assert named.is_allowed is (raw < STANDING_RAW)
    assert named.gives == Allowance(TOKEN, ROUTER, raw)
    assert named.words.startswith("lyra.swap_router may take")
    assert ("USDC" in named.words) is (raw > 0)
    assert not read(TOKEN, ERC20.encode("approve", OTHER, raw)).is_allowed
    sold = read(OTHER, ERC20.encode("approve", MARKET, raw))
    assert sold.is_allowed is (raw < STANDING_RAW)


@pytest.mark.parametrize(
    ("to", "data", "value_wei", "name"),
    [
        (OTHER, b"", 5, f"transfer to {OTHER} with 5 wei"),
        (OTHER, b"\x12\x34\x56\x78\x00", 0, f"0x12345678 of {OTHER}"),
        (MARKET, b"\x12\x34\x56\x78", 0, "0x12345678 of lyra.option_market"),
        (TOKEN, ERC20.encode("transfer", OTHER, 1), 0, f"transfer of {TOKEN}"),
        (OTHER, SAFE.encode("enableModule", OTHER), 0, f"enableModule of {OTHER}"),
        (TOKEN, ERC20.encode("approve", ROUTER, 1), 1, f"approve of {TOKEN}"),
        (MARKET, keccak(text=BUY)[:4] + b"\x01", 0, f"0x{keccak(text=BUY)[:4].hex()} of lyra.option_market"),
    ],
)
def test_what_no_rule_describes_is_marked(to: str, data: bytes, value_wei: int, name: str) -> None:
    found = read(to, data, value_wei)
    assert not found.is_allowed
    assert found.name == name
