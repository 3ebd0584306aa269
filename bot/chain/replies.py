"""The shapes of JSON-RPC results, checked before anything believes them (REL-F8, REL-F9)."""

import re
from binascii import unhexlify  # takes no spaces, which bytes.fromhex does
from collections.abc import Callable, Mapping
from typing import Any

from bot.errors import TransientError

MAX_QUANTITY = 2**256 - 1
_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})")  # no leading zero, at most 256 bits
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

Problem = str  # what is wrong with a value; empty when nothing is
Check = Callable[[Any], Problem]


def quantity(value: Any, what: str = "") -> int:
    """Return a JSON-RPC quantity, 0 to 2^256 - 1. Raises TransientError naming ``what`` when it is none."""
    if not _is_quantity(value):
        raise TransientError(_said(what, f"expected a hex quantity, found {shown(value)}"))
    return int(value, 16)


def hex_bytes(value: Any, what: str = "") -> bytes:
    """Return JSON-RPC data as bytes. Raises TransientError naming ``what`` when it is none."""
    if not is_data(value):
        raise TransientError(_said(what, f"expected hex data, found {shown(value)}"))
    return unhexlify(value[2:])


def hash_text(value: Any, what: str = "") -> str:
    """Return a hash of 32 bytes in lower case. Raises TransientError naming ``what`` when it is none."""
    if not _is_hash(value):
        raise TransientError(_said(what, f"expected a hash of 32 bytes, found {shown(value)}"))
    return str(value).lower()


def address_text(value: Any, what: str = "") -> str:
    """Return an address in lower case. Raises TransientError naming ``what`` when it is none."""
    if not _is_address(value):
        raise TransientError(_said(what, f"expected an address, found {shown(value)}"))
    return str(value).lower()


def is_data(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("0x") or len(value) % 2:
        return False
    try:  # much faster than a pattern on the large replies of a multicall
        unhexlify(value[2:])
    except ValueError:
        return False
    return True


def problem_of(method: str, result: Any) -> Problem:
    """Say what is wrong with the result of a method, by field; empty when it has the right shape."""
    check = SHAPES.get(method)
    return "" if check is None else check(result)


def shown(value: Any) -> str:
    """Return a value for an error message, short however long or deep it is."""
    if isinstance(value, str | bytes) and len(value) > 80:
        value = value[:80]
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} nested too deeply"
    return text if len(text) <= 80 else text[:77] + "…"


def _said(what: str, problem: str) -> str:
    return f"{what}: {problem}" if what else problem


def _is_quantity(value: Any) -> bool:
    return isinstance(value, str) and _QUANTITY.fullmatch(value) is not None


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None


def _is_ratio(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _plain(test: Callable[[Any], bool], kind: str) -> Check:
    return lambda value: "" if test(value) else f"result {shown(value)} is no {kind}"


def _fields(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def check(value: Any) -> Problem:
        if not isinstance(value, dict):
            return f"result {shown(value)} is no object"
        for name, part in required.items():
            if name not in value:
                return f"{name} is missing"
            if problem := part(value[name]):
                return problem.replace("result", name, 1)
        for name, part in optional.items():
            if value.get(name) is not None and (problem := part(value[name])):
                return problem.replace("result", name, 1)
        return ""

    return check


def _list_of(item: Check) -> Check:
    def check(value: Any) -> Problem:
        if not isinstance(value, list):
            return f"result {shown(value)} is no list"
        return next((problem for each in value if (problem := item(each))), "")

    return check


def _or_null(check: Check) -> Check:
    """Null has a meaning here: the node does not know it. It is None for the caller, never a value."""
    return lambda value: "" if value is None else check(value)


_quantity = _plain(_is_quantity, "hex quantity")
_data = _plain(is_data, "hex data")
_hash = _plain(_is_hash, "hash of 32 bytes")
_address = _plain(_is_address, "address")
_ratio = _plain(_is_ratio, "ratio")
_list = _plain(lambda value: isinstance(value, list), "list")
_block = _fields(
    {"number": _quantity, "hash": _hash, "parentHash": _hash, "timestamp": _quantity},
    {"baseFeePerGas": _quantity, "logsBloom": _data, "transactions": _list},
)
_receipt = _fields(
    {
        "transactionHash": _hash,
        "blockHash": _hash,
        "blockNumber": _quantity,
        "gasUsed": _quantity,
        "logs": _list,
    },
    {"status": _quantity, "effectiveGasPrice": _quantity, "l1Fee": _quantity},
)
_fee_history = _fields(
    {"oldestBlock": _quantity, "baseFeePerGas": _list_of(_quantity)},
    {"gasUsedRatio": _list_of(_ratio), "reward": _list_of(_list_of(_quantity))},
)

# Every method that bot/ calls, but for the control methods of a devnet, whose null is an answer.
SHAPES: Mapping[str, Check] = {
    "eth_accounts": _list_of(_address),
    "eth_blockNumber": _quantity,
    "eth_chainId": _quantity,
    "eth_gasPrice": _quantity,
    "eth_maxPriorityFeePerGas": _quantity,
    "eth_getBalance": _quantity,
    "eth_getTransactionCount": _quantity,
    "eth_estimateGas": _quantity,
    "eth_call": _data,
    "eth_getCode": _data,
    "eth_getStorageAt": _data,
    "eth_sendRawTransaction": _hash,
    "eth_sendTransaction": _hash,
    "eth_getLogs": _list,  # its items are checked one by one where they are read
    "eth_feeHistory": _fee_history,
    "eth_getBlockByNumber": _or_null(_block),
    "eth_getBlockByHash": _or_null(_block),
    "eth_getBlockReceipts": _or_null(_list_of(_receipt)),
    "eth_getTransactionByHash": _or_null(_fields({"hash": _hash}, {})),
    "eth_getTransactionReceipt": _or_null(_receipt),
    "anvil_dumpState": _data,
}
