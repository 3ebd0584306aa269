"""What a rollup charges for putting a transaction on L1, which an Ethereum-only bound would leave out.

OP stack: a fee in wei on top of the gas, said by the predeploy GasPriceOracle (from Isthmus on with an
operator's fee). Arbitrum: gas of the transaction itself, said by NodeInterface, an address that only nodes
answer for. Both move with the price of L1 until the transaction is in a block, so twice of them is kept free.
Specifications: specs.optimism.io (predeploys, exec-engine), docs.arbitrum.io (gas and fees, NodeInterface).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bot.chain.abi import Abi
from bot.chain.chain_traits import FeeParts
from bot.chain.fees import FeePolicy, Fees
from bot.chain.node_errors import RevertError
from bot.chain.raw_transaction import unsigned_rlp
from bot.chain.replies import hex_bytes
from bot.errors import TransientError
from bot.model.intent import TxRequest

GAS_PRICE_ORACLE = "0x420000000000000000000000000000000000000f"
NODE_INTERFACE = "0x00000000000000000000000000000000000000c8"
ROOM = 2  # the L1 base fee rises by an eighth per block at most: it doubles in six, over a minute
_SOME_NONCE = 2**24  # as many bytes as a nonce will ever have
_ORACLE = Abi.load("GasPriceOracle")
_NODE = Abi.load("NodeInterface")
_WORD = 32

RpcCall = tuple[str, Sequence[Any]]


class L1Share(NamedTuple):
    """Bounds on what L1 takes of one transaction, with room for a rise."""

    gas: int = 0  # of the gas limit, on top of what the call itself uses
    estimated_gas: int = 0  # of that, what an estimate of the gas holds already
    fee_wei: int = 0  # besides the gas

    @classmethod
    def none(cls) -> "L1Share":
        return cls()


def share_calls(
    parts: FeeParts, request: TxRequest, *, chain_id: int, sender: str, policy: FeePolicy, block: Any
) -> list[RpcCall]:
    """Return the reads that say what L1 takes of a request; none on a chain that takes nothing."""
    if parts is FeeParts.OP:
        raw = unsigned_rlp(
            chain_id=chain_id,
            nonce=_SOME_NONCE,
            to=request.to,
            data=request.data,
            value_wei=request.value_wei,
            gas=request.gas_ceiling,
            fees=Fees(max_fee_wei=policy.max_fee_cap_wei, tip_wei=policy.tip_max_wei),
        )
        asked = [_ORACLE.encode("getL1Fee", raw), _ORACLE.encode("getOperatorFee", request.gas_ceiling)]
        return [("eth_call", [{"to": GAS_PRICE_ORACLE, "data": "0x" + data.hex()}, block]) for data in asked]
    if parts is FeeParts.ARBITRUM:
        data = _NODE.encode("gasEstimateL1Component", request.to, False, request.data)
        call = {"from": sender, "to": NODE_INTERFACE, "data": "0x" + data.hex()}
        return [("eth_call", [call, block])]
    return []


def read_share(parts: FeeParts, replies: Sequence[Any]) -> L1Share:
    """Read the replies to ``share_calls``.

    Raises TransientError when they say nothing: a cost that is not known is never taken for none.
    """
    if parts is FeeParts.OP:
        data_fee = _word(replies[0], "getL1Fee")
        # Before Isthmus there is no operator's fee, and its function reverts.
        operator = 0 if isinstance(replies[1], RevertError) else _word(replies[1], "getOperatorFee")
        return L1Share(fee_wei=ROOM * data_fee + operator)
    if parts is FeeParts.ARBITRUM:
        gas = _word(replies[0], "gasEstimateL1Component")
        return L1Share(gas=ROOM * gas, estimated_gas=gas)
    return L1Share.none()


def _word(reply: Any, what: str) -> int:
    """Return the first word of an answer."""
    if isinstance(reply, Exception):
        raise TransientError(f"the L1 share of the cost cannot be read: {what}: {reply}")
    data = hex_bytes(reply, what)
    if len(data) < _WORD:
        raise TransientError(
            f"the L1 share of the cost cannot be read: {what} answered with {len(data)} bytes; "
            "is chain.id that of a rollup of this kind?"
        )
    return int.from_bytes(data[:_WORD], "big")
