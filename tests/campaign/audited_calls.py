"""What a signed transaction of the account may be, by its bytes alone (I10)."""

from collections.abc import Iterator
from typing import Any

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from campaign.audited_chain import Brief
from campaign.pool import Pooled

_TRADE = "(uint256,uint256,uint256,uint8,uint256,uint256,uint256,uint256)"
_SWAP = "(address,address,uint24,address,uint256,uint256,uint256,uint160)"
_FAR_S = 7 * 86_400  # after the newest block: no deadline of a call may lie further away
_MOST_GAS, _MOST_FEE_WEI = 10_000_000, 1_200 * 10**9  # of one transaction; a cancel may pay twice the cap


def judge(tx: Pooled, brief: Brief, *, now_s: int) -> Iterator[str]:
    """Yield what is wrong with one signed transaction. ``now_s``: the chain's time, then or later."""
    if tx.gas > _MOST_GAS or tx.max_fee_wei > _MOST_FEE_WEI:
        yield f"gas {tx.gas} at {tx.max_fee_wei} wei is over every limit"
    own = brief.account.lower()
    if tx.to.lower() == own and tx.data == "0x" and tx.value_wei == 0:
        return  # a cancel
    if tx.value_wei:
        yield f"it carries {tx.value_wei} wei"
    handlers = (
        {(token.lower(), "approve(address,uint256)"): _approve for token in (brief.stable, brief.settlement)}
        | {
            (brief.market.lower(), f"{name}({_TRADE})"): _trade
            for name in ("openPosition", "closePosition", "forceClosePosition")
        }
        | {
            (brief.router.lower(), f"exactInputSingle({_SWAP})"): _swap_in,
            (brief.router.lower(), f"exactOutputSingle({_SWAP})"): _swap_out,
            (brief.market.lower(), "settleExpiredBoard(uint256)"): _nothing,
            (brief.collateral.lower(), "settleOptions(uint256[])"): _nothing,
        }
    )
    selectors = {
        (to, "0x" + keccak(text=name)[:4].hex()): (name, check) for (to, name), check in handlers.items()
    }
    found = selectors.get((tx.to.lower(), tx.data[:10]))
    if found is None:
        yield f"{tx.data[:10]} of {tx.to} is not on the list"
        return
    name, check = found
    values = decode(_types(name), bytes.fromhex(tx.data[10:]))
    yield from check(name, values, brief)
    yield from _deadline(name, values, now_s)


def _approve(_: str, values: tuple[Any, ...], brief: Brief) -> Iterator[str]:
    spender, amount = values
    if spender.lower() not in (brief.market.lower(), brief.router.lower()):
        yield f"it allows {spender}, no contract of the venue"
    if amount >= 2**127:
        yield "it allows without bound"


def _trade(name: str, values: tuple[Any, ...], _: Brief) -> Iterator[str]:
    ((_, _, iterations, _, amount, collateral, least, most),) = values
    if amount <= 0 or collateral or not iterations:
        yield f"{name} of {amount} with collateral {collateral}"
    if name.startswith("openPosition") and not 0 < most < 2**127:
        yield f"it pays up to {most}: no bound"
    if not name.startswith("openPosition") and least <= 0:
        yield "it sells for anything"


def _swap_in(_: str, values: tuple[Any, ...], brief: Brief) -> Iterator[str]:
    ((_, _, _, recipient, _, _, least, _),) = values
    yield from _swap(recipient, brief)
    if least <= 0:
        yield "it swaps for anything"


def _swap_out(_: str, values: tuple[Any, ...], brief: Brief) -> Iterator[str]:
    ((_, _, _, recipient, _, _, most, _),) = values
    yield from _swap(recipient, brief)
    if not 0 < most < 2**127:
        yield f"it swaps up to {most}: no bound"


def _swap(recipient: str, brief: Brief) -> Iterator[str]:
    if recipient.lower() != brief.account.lower():
        yield f"it pays {recipient}, not the account"


def _deadline(name: str, values: tuple[Any, ...], now_s: int) -> Iterator[str]:
    if not name.startswith("exact"):
        return
    deadline_s = values[0][4]
    if not 0 < deadline_s < now_s + _FAR_S:
        yield f"its deadline is {deadline_s}, the chain is at {now_s}"


def _nothing(*_: Any) -> Iterator[str]:
    yield from ()


def _types(signature: str) -> list[str]:
    inner = signature.partition("(")[2][:-1]
    return [inner] if inner.startswith("(") else inner.split(",")
