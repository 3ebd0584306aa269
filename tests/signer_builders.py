"""A venue of tests for the signer: its contracts, the rules of its calls, and their calldata."""

from collections.abc import Mapping
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak
from send_builders import ADDRESS, CHAIN_ID

from bot.chain.fees import GWEI, Fees
from bot.chain.signer import Unsigned
from bot.model.signing import ApprovalRule, CallRule, Guard

NOW_S = 1_000_000.0
LATER_S = NOW_S + 600
TOKEN, MARKET, ROUTER, STRATEGY = ("0x" + pair * 20 for pair in ("70", "33", "44", "55"))
STRANGER, ME = "0x" + "66" * 20, ADDRESS.lower()
FEES = Fees(max_fee_wei=20 * GWEI, tip_wei=GWEI)
BUY = "buy((address,uint256,uint64))"  # (recipient, most to pay, deadline)
SELL = "sell(address,uint256,bytes)"  # recipient, least to get back, a tail of any length
COVER = "cover(uint256)"  # takes what it was allowed to
SETTLE = "settle(uint256[])"

RULES = (
    CallRule(
        target=MARKET, function=BUY, guard=Guard.BOUND, opens=True,
        recipients=((0, 0),), most=(0, 1), deadline=(0, 2),
    ),
    CallRule(target=ROUTER, function=SELL, guard=Guard.BOUND, opens=False, recipients=((0,),), least=(1,)),
    CallRule(target=STRATEGY, function=COVER, guard=Guard.ALLOWANCE, opens=True),
    CallRule(target=MARKET, function=SETTLE, guard=Guard.NO_MONEY, opens=False),
    ApprovalRule(token=TOKEN, spender=MARKET, opens=True),
    ApprovalRule(token=TOKEN, spender=STRATEGY, opens=True),
    ApprovalRule(token=TOKEN, spender=ROUTER, opens=False),
)  # fmt: skip


def call(function: str, *values: Any) -> bytes:
    inside = function[function.index("(") :]
    return (
        keccak(text=function)[:4]
        + encode([inside], [values])[0 if "[]" not in inside and "bytes" not in inside else 32 :]
    )


def buy(recipient: str = ME, most: int = 100, deadline: float = LATER_S) -> bytes:
    return call(BUY, (recipient, most, int(deadline)))


def sell(recipient: str = ME, least: int = 1, tail: bytes = b"path") -> bytes:
    return call(SELL, recipient, least, tail)


def settle(*boards: int) -> bytes:
    return call(SETTLE, list(boards))


def approve(spender: str = MARKET, amount: int = 100) -> bytes:
    return keccak(text="approve(address,uint256)")[:4] + encode(["address", "uint256"], [spender, amount])


def unsigned(**changes: Any) -> Unsigned:
    values: Mapping[str, Any] = {
        "chain_id": CHAIN_ID, "nonce": 3, "to": MARKET, "data": buy(), "value_wei": 0,
        "gas": 100_000, "fees": FEES, "valid_until_s": LATER_S,
    }  # fmt: skip
    return Unsigned(**{**values, **changes})


def cancel(**changes: Any) -> Unsigned:
    return unsigned(**{"to": ADDRESS, "data": b"", "gas": 21_000, "valid_until_s": 0.0, **changes})
