"""The batch of a Safe: MultiSendCallOnly's packed calls, written and read back byte for byte.

Each call is operation (1 byte, 0), target (20), value (32), length (32) and data, without padding
(MultiSendCallOnly.sol of Safe 1.4.1, which reverts on any other operation).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.chain.abi import Abi
from bot.chain.address import checksummed
from bot.chain.safe import Operation, SafeTx
from bot.errors import InvariantError

MULTI_SEND = Abi.load("MultiSendCallOnly")
_HEAD_BYTES = 1 + 20 + 32 + 32
_WORD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerCall:
    """One call that the Safe makes."""

    to: str  # checksummed
    data: bytes
    value_wei: int = 0


def encode_batch(calls: Sequence[InnerCall]) -> bytes:
    """Return calldata of ``multiSend``. Raises InvariantError for no call, or a value that is no uint256."""
    if not calls:
        raise InvariantError("a batch of a Safe must hold at least one call")
    return MULTI_SEND.encode("multiSend", b"".join(map(_packed, calls)))


def decode_batch(data: bytes) -> tuple[InnerCall, ...]:
    """Return the calls of ``multiSend`` calldata. Raises InvariantError unless it is exactly such a batch.

    Bytes that another reader could take otherwise (padding that is not zero, a rest after the last call, an
    operation other than a call) are refused: what is shown must be all that would be done.
    """
    _, arguments = MULTI_SEND.decode_input(data)
    blob = bytes(arguments["transactions"])
    if MULTI_SEND.encode("multiSend", blob) != data:
        raise InvariantError("calldata of multiSend is not in its canonical form")
    calls, at = [], 0
    while at < len(blob):
        call, at = _unpacked(blob, at)
        calls.append(call)
    if not calls:
        raise InvariantError("a batch of a Safe holds no call")
    return tuple(calls)


def batch_tx(calls: Sequence[InnerCall], *, multi_send: str, nonce: int) -> SafeTx:
    """Return the Safe transaction of a batch: a delegate call of MultiSendCallOnly, all or nothing."""
    return SafeTx(
        to=checksummed(multi_send),
        data=encode_batch(calls),
        nonce=nonce,
        operation=Operation.DELEGATE_CALL,
    )


def calls_of(tx: SafeTx, *, multi_send: str) -> tuple[InnerCall, ...]:
    """Return what a Safe transaction does as plain calls. Raises InvariantError where that cannot be told.

    A delegate call of anything but the configured MultiSendCallOnly can do anything at all.
    """
    if tx.operation is Operation.CALL:
        return (InnerCall(to=tx.to, data=tx.data, value_wei=tx.value_wei),)
    if tx.to.lower() != multi_send.lower():
        raise InvariantError(
            f"Safe transaction {tx.nonce} delegates to {tx.to}, allowed is only MultiSendCallOnly, "
            f"{multi_send}; never sign it"
        )
    if tx.value_wei:
        raise InvariantError(f"Safe transaction {tx.nonce} delegates with a value of {tx.value_wei} wei")
    return decode_batch(tx.data)


def _packed(call: InnerCall) -> bytes:
    try:
        value, length = call.value_wei.to_bytes(_WORD, "big"), len(call.data).to_bytes(_WORD, "big")
    except OverflowError:
        raise InvariantError(f"a call's value must be a uint256, was {call.value_wei}") from None
    return bytes([Operation.CALL]) + bytes.fromhex(call.to[2:]) + value + length + call.data


def _unpacked(blob: bytes, at: int) -> tuple[InnerCall, int]:
    head, start = blob[at : at + _HEAD_BYTES], at + _HEAD_BYTES
    length = int.from_bytes(head[-_WORD:], "big")
    if len(head) < _HEAD_BYTES or start + length > len(blob):
        raise InvariantError(f"a batch of a Safe ends inside the call that begins at byte {at}")
    if head[0] != Operation.CALL:
        raise InvariantError(f"a batch of a Safe holds operation {head[0]} at byte {at}, only calls may be")
    to = checksummed("0x" + head[1:21].hex())
    value_wei = int.from_bytes(head[21:53], "big")
    return InnerCall(to=to, data=blob[start : start + length], value_wei=value_wei), start + length
