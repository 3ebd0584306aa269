"""Decoders of what a node and a contract say."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from eth_abi.abi import encode
from fake_chain import BLOCK
from fuzz.kinds import BROKEN, READ, Decoder, dumped, of_json, of_text, waited
from fuzz.nodes import Told

from bot.chain import wake
from bot.chain.abi import Abi, decode_or_none, revert_reason
from bot.chain.account_view import AccountView, _receipt
from bot.chain.agreement import Ballot, Estimates, is_agreed, is_estimate
from bot.chain.fees import parse_fee_history
from bot.chain.http_session import retry_after_s
from bot.chain.l2_fees import FeeParts, read_share
from bot.chain.multicall import decode_aggregate3
from bot.chain.reader import JsonRpcReader
from bot.chain.replies import SHAPES, problem_of
from bot.chain.send_errors import classify_send_error
from bot.chain.send_state import Intent
from bot.errors import ConfigError, InvariantError, StaleDataError, TransientError, VenueRejected
from bot.model.intent import IntentState, Log
from bot.ports import Call

ERC20, POOL = Abi.load("ERC20"), Abi.load("UniswapV3Pool")
A, B = "0x" + "11" * 20, "0x" + "22" * 20
OURS, PARENT, TOPIC = BLOCK.hash, BLOCK.parent_hash, ERC20.topic("Transfer")
HEADER = {
    "number": hex(BLOCK.number), "hash": OURS, "parentHash": PARENT, "timestamp": hex(BLOCK.timestamp_s),
    "baseFeePerGas": "0x7", "logsBloom": "0x" + "ff" * 256,
}  # fmt: skip
LOG = {
    "address": A, "topics": [TOPIC, "0x" + "00" * 32, "0x" + "00" * 32], "data": "0x" + "00" * 32,
    "blockNumber": hex(BLOCK.number), "blockHash": OURS, "transactionHash": PARENT, "transactionIndex": "0x0",
    "logIndex": "0x1",
}  # fmt: skip
RECEIPT = {
    "transactionHash": PARENT, "blockHash": OURS, "blockNumber": hex(BLOCK.number), "gasUsed": "0x5208",
    "status": "0x1", "effectiveGasPrice": "0x1", "logs": [LOG],
}  # fmt: skip
FEES = {"oldestBlock": "0x1", "baseFeePerGas": ["0x1", "0x2"], "gasUsedRatio": [0.5], "reward": [["0x1"]]}
SENT = Intent(
    key="leg/1-open", leg_key="leg", purpose="open", chain_id=BLOCK.chain_id, sender=A, nonce=7, to=B,
    data="0x", valid_until_s=1.0, state=IntentState.SENT,
)  # fmt: skip
RESULTS = encode(["(bool,bytes)[]"], [[(True, encode(["uint8"], [6])), (False, b"")]])
CALLS = (ERC20.call("decimals", A), Call(A, ERC20.encode("symbol"), ("string",)))
REVERT = "0x08c379a0" + encode(["string"], ["no"]).hex()
VALUES: dict[tuple[str, ...], Any] = {
    ("uint256",): (7,),
    ("string",): ("USDC",),
    ("bytes32",): (b"\0" * 32,),
    ("(bool,bytes)[]",): ([(True, b"\1")],),
    ("address", "int24", "bytes"): (A, -5, b"\1"),
    ("uint112", "uint112", "uint32"): (1, 2, 3),
    ("int256[]", "string[]", "bool"): ([-1], ["x"], True),
    ("uint8[3][]", "(string,uint256[])"): ([[1, 2, 3]], ("x", [1])),
}


def told(**results: Any) -> bytes:
    return json.dumps({name: {"result": value} for name, value in results.items()}).encode()


def refused(method: str, **error: Any) -> bytes:
    return json.dumps({method: {"error": error}}).encode()


def reply(raw: bytes) -> Any:
    """Read the reply to call 1 of a node, every byte of it given."""
    node = Told(b"")
    return node._result("eth_getBlockByNumber", 1, node._parsed("eth_getBlockByNumber", 200, {}, raw))


def traded(found: Any) -> Any:
    """Read what moved in a transaction, from a receipt of the right shape."""
    if problem_of("eth_getTransactionReceipt", found) or found is None:
        return None
    return ERC20.logs("Transfer", _receipt(found, PARENT, FeeParts.OP).logs, address=A)


def asked(
    name: str,
    ask: Callable[[Told], Awaitable[Any]],
    *valid: bytes,
    module: str = "chain/reader.py",
    errors: Sequence[Any] = (TransientError, StaleDataError),
) -> Decoder:
    """Return the row of a question to a node."""

    def run(raw: bytes) -> Any:
        async def work() -> Any:
            return await ask(Told(raw))

        return waited(work())

    return Decoder(name=name, module=module, run=run, valid=valid, errors=tuple(errors))


def reader(node: Told) -> JsonRpcReader:
    return JsonRpcReader(node, chain_id=BLOCK.chain_id, multicall3=B, pins_by_hash=True)


def view(node: Told) -> AccountView:
    return AccountView(node, chain_id=BLOCK.chain_id, sender=A, final_tag="finalized")


def method_row(method: str) -> Decoder:
    def run(raw: bytes) -> Any:
        async def ask() -> Any:
            return await Told(raw).request(method, [], send=method.startswith("eth_send"))

        return waited(ask())

    body = {name: value for name, value in GOOD.items() if name == method}
    return Decoder(
        name=method, module="chain/rpc.py", run=run, errors=READ,
        valid=(told(**body),),
        refused=(refused(method, code=3, message="execution reverted", data=REVERT),),
        wrong=lambda value: problem_of(method, value),
    )  # fmt: skip


GOOD: dict[str, Any] = {
    "eth_blockNumber": "0x7", "eth_chainId": "0x7a69", "eth_gasPrice": "0x1", "eth_getBalance": "0x0",
    "eth_maxPriorityFeePerGas": "0x1", "eth_getTransactionCount": "0x3", "eth_estimateGas": "0x5208",
    "eth_call": "0x01", "eth_getCode": "0x60", "eth_getStorageAt": "0x" + "00" * 32,
    "eth_sendRawTransaction": OURS, "eth_sendTransaction": OURS, "eth_getLogs": [LOG],
    "eth_feeHistory": FEES, "eth_getBlockByNumber": HEADER, "eth_getBlockByHash": HEADER,
    "eth_getBlockReceipts": [RECEIPT], "eth_getTransactionByHash": {"hash": OURS},
    "eth_getTransactionReceipt": RECEIPT, "eth_accounts": [A], "anvil_dumpState": "0x00",
}  # fmt: skip


def abi_row(types: tuple[str, ...]) -> Decoder:
    return Decoder(
        name=f"abi {','.join(types)}", module="chain/abi.py", errors=(),
        run=lambda raw: decode_or_none(types, raw), valid=(encode(types, VALUES[types]),),
        back=lambda found: encode(types, found),
    )  # fmt: skip


def log_row(abi: Abi, event: str) -> Decoder:
    """Topics and data of a log that claims to be the event: the first byte says how many topics there are."""

    def run(raw: bytes) -> Any:
        count = raw[0] % 5 if raw else 0
        words = [raw[1 + 32 * at : 33 + 32 * at] for at in range(count)]
        topics = (abi.topic(event), *("0x" + word.hex() for word in words))
        return abi.decode_log(event, Log(address=A, topics=topics, data=raw[1 + 32 * count :]))

    kinds = [kind for _, kind, indexed in abi.event(event).fields if not indexed]
    count = sum(indexed for _, _, indexed in abi.event(event).fields)
    data = bytes([count]) + bytes(32 * count) + bytes(32 * len(kinds))
    return Decoder(name=f"log {event}", module="chain/abi.py", run=run, valid=(data,), errors=BROKEN)


def vote(answers: Any) -> Any:
    """Count the votes on answers by method; what has the wrong shape never comes so far."""
    for method, value in answers.items() if isinstance(answers, dict) else ():
        if is_agreed(method) and not problem_of(method, value):
            Ballot(method, needed=1).add("x", value)
        if is_estimate(method) and not problem_of(method, value):
            Estimates(method, needed=1).add(value)


def head_of(raw: bytes) -> Any:
    return wake._head_hash(wake._decoded(raw))


HEAD = {"method": "eth_subscription", "params": {"subscription": "0x1", "result": {"hash": OURS}}}
WORD = "0x" + "00" * 31 + "12"

ROWS: tuple[Decoder, ...] = (
    Decoder(
        name="receipt",
        module="chain/account_view.py",
        run=of_json(traded),
        errors=(TransientError, InvariantError),
        valid=dumped(RECEIPT),
    ),
    Decoder(
        name="reply of a node",
        module="chain/rpc.py",
        run=reply,
        errors=READ,
        valid=dumped({"jsonrpc": "2.0", "id": 1, "result": HEADER}),
        refused=dumped(
            {"id": 1, "error": {"code": 3, "message": "no", "data": REVERT}}, {"id": 1, "error": "no"}
        ),
    ),
    *(method_row(method) for method in SHAPES),
    *(abi_row(types) for types in VALUES),
    log_row(ERC20, "Transfer"),
    log_row(POOL, "Swap"),
    log_row(Abi.load("AdminEvents"), "Upgraded"),
    asked(
        "batch",
        lambda node: node.batch([("eth_call", []), ("eth_blockNumber", [])]),
        told(eth_call="0x", eth_blockNumber="0x1"),
        module="chain/rpc.py",
        errors=READ,
    ),
    asked("head", lambda node: reader(node).head(), told(eth_getBlockByNumber=HEADER)),
    asked(
        "multicall",
        lambda node: reader(node).read(CALLS, block=BLOCK),
        told(eth_call="0x" + RESULTS.hex(), eth_getBlockByNumber=HEADER),
    ),
    asked(
        "logs",
        lambda node: reader(node).logs(addresses=[A], topics=[[TOPIC]], from_block=BLOCK.number, to=BLOCK),
        told(eth_getLogs=[LOG], eth_getBlockByNumber=HEADER, eth_getBlockReceipts=[RECEIPT]),
        told(eth_getLogs=[], eth_getBlockByNumber=HEADER, eth_getBlockReceipts=[RECEIPT]),
        module="chain/logs.py",
    ),
    asked(
        "fee history",
        lambda node: reader(node).fee_history(blocks=1, percentiles=[50.0], to=BLOCK),
        told(eth_feeHistory=FEES),
    ),
    asked("storage", lambda node: reader(node).storage_at(A, 0, block=BLOCK), told(eth_getStorageAt=WORD)),
    asked(
        "simulation",
        lambda node: reader(node).simulate(to=A, data=b"", block=BLOCK, sender=B),
        told(eth_call="0x01"),
        errors=(TransientError, StaleDataError, VenueRejected),
    ),
    asked(
        "heads of an account",
        lambda node: view(node).heads(),
        told(eth_chainId="0x7a69", eth_getBlockByNumber=HEADER),
        module="chain/account_view.py",
        errors=(TransientError, ConfigError),
    ),
    asked(
        "who used a nonce",
        lambda node: view(node).stranger(SENT, by=1),
        told(
            eth_getTransactionCount="0x8",
            eth_getBlockByNumber={
                **HEADER,
                "transactions": [{"from": A, "nonce": "0x7", "hash": PARENT}, {"from": B, "nonce": "0x7"}],
            },
            eth_getTransactionReceipt={**RECEIPT, "from": A},
        ),
        module="chain/account_view.py",
        errors=READ,
    ),
    asked(
        "fee market",
        lambda node: view(node).market(),
        told(eth_feeHistory=FEES),
        module="chain/fees.py",
        errors=READ,
    ),
    asked(
        "queued nonces",
        lambda node: view(node).queued_nonces(),
        told(txpool_contentFrom={"pending": {"7": {}}, "queued": {}}),
        module="chain/account_view.py",
        errors=(TransientError, ConfigError),
    ),
    Decoder(
        name="aggregate3",
        module="chain/multicall.py",
        valid=(RESULTS,),
        errors=READ,
        run=lambda raw: decode_aggregate3(raw, count=2),
    ),
    Decoder(
        name="revert reason",
        module="chain/abi.py",
        valid=(bytes.fromhex(REVERT[2:]),),
        errors=(),
        run=revert_reason,
    ),
    Decoder(
        name="calldata",
        module="chain/abi.py",
        valid=(ERC20.encode("balanceOf", A),),
        errors=BROKEN,
        run=ERC20.decode_input,
    ),
    Decoder(name="agreement", module="chain/agreement.py", valid=dumped(GOOD), errors=(), run=of_json(vote)),
    Decoder(
        name="fees",
        module="chain/fees.py",
        valid=dumped(FEES),
        errors=READ,
        run=of_json(
            lambda found: (
                parse_fee_history(found)
                if isinstance(found, dict) and not SHAPES["eth_feeHistory"](found)
                else None
            )
        ),
    ),
    Decoder(
        name="L1 share",
        module="chain/l2_fees.py",
        valid=dumped(WORD),
        errors=READ,
        run=of_json(lambda found: read_share(FeeParts.OP, [found, found])),
    ),
    Decoder(
        name="words of a send",
        module="chain/send_errors.py",
        valid=(b"nonce too low", b"already known"),
        errors=(),
        run=of_text(classify_send_error),
    ),
    Decoder(
        name="Retry-After",
        module="chain/http_session.py",
        errors=(),
        run=of_text(lambda text: retry_after_s(text, unsaid_s=1.0)),
        valid=(b"7", b"Sun, 22 Nov 2026 19:58:29 GMT"),
        wrong=lambda found: "" if found == found else "NaN",
    ),
    Decoder(name="websocket head", module="chain/wake.py", valid=dumped(HEAD), errors=(), run=head_of),
)
