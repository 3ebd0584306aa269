"""Safe transactions: the EIP-712 hash that owners sign, their signatures, and the call that executes.

Valid for Safe 1.3.0 and 1.4.1, whose hash and signature rules are the same (Safe.sol, `getTransactionHash`
and `checkNSignatures`). Everything here is pure; what a Safe is like now is read in ``safe_state``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from bot.chain.abi import Abi
from bot.chain.address import checksummed
from bot.errors import ConfigError, InvariantError
from bot.model.intent import Log, Receipt

SAFE = Abi.load("Safe")
ZERO = "0x" + "00" * 20
SIGNATURE_BYTES = 65

_DOMAIN_TYPE = keccak(text="EIP712Domain(uint256 chainId,address verifyingContract)")
_SAFE_TX_TYPE = keccak(
    text="SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,"
    "uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)"
)
_ETH_SIGN_PREFIX = b"\x19Ethereum Signed Message:\n32"
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1 (EIP-2)
_EIP712_V, _ETH_SIGN_V, _APPROVED_V = (27, 28), (31, 32), 1


class Operation(IntEnum):
    CALL = 0
    DELEGATE_CALL = 1  # runs the target's code as the Safe; only MultiSendCallOnly is ever proposed so


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeTx:
    """One Safe transaction. Addresses are checksummed; integers are uint256.

    ``safe_tx_gas`` and ``gas_price`` of 0 make a failure inside revert the whole transaction (GS013).
    """

    to: str
    data: bytes
    nonce: int  # of the Safe, not of the account that pays gas
    value_wei: int = 0
    operation: Operation = Operation.CALL
    safe_tx_gas: int = 0
    base_gas: int = 0
    gas_price: int = 0
    gas_token: str = ZERO
    refund_receiver: str = ZERO

    @property
    def reverts_whole(self) -> bool:
        """Say whether a failure inside undoes everything, the Safe's nonce included, and refunds nobody."""
        return (self.safe_tx_gas, self.base_gas, self.gas_price, self.gas_token, self.refund_receiver) == (
            0, 0, 0, ZERO, ZERO,
        )  # fmt: skip


class SafeOutcome(IntEnum):
    """What a mined transaction did with one Safe transaction."""

    ABSENT = 0  # it says nothing of it
    SUCCEEDED = 1
    FAILED = 2  # its nonce is used, its calls were undone


def rejection(safe: str, nonce: int) -> SafeTx:
    """Return the transaction that uses up a Safe nonce and does nothing: a call of the Safe by itself."""
    return SafeTx(to=checksummed(safe), data=b"", nonce=nonce)


def is_rejection(tx: SafeTx, safe: str) -> bool:
    return tx == rejection(safe, tx.nonce)


def safe_tx_hash(tx: SafeTx, *, chain_id: int, safe: str) -> bytes:
    """Return the 32 bytes that owners sign: EIP-712 over the transaction, the chain and the Safe.

    Raises InvariantError for a field outside of its type.
    """
    domain = keccak(encode(["bytes32", "uint256", "address"], [_DOMAIN_TYPE, chain_id, safe]))
    types = ["bytes32", "address", "uint256", "bytes32", "uint8"] + ["uint256"] * 3 + ["address"] * 2
    try:
        struct = encode(
            [*types, "uint256"],
            [
                _SAFE_TX_TYPE,
                tx.to,
                tx.value_wei,
                keccak(tx.data),
                int(tx.operation),
                tx.safe_tx_gas,
                tx.base_gas,
                tx.gas_price,
                tx.gas_token,
                tx.refund_receiver,
                tx.nonce,
            ],
        )
    except EncodingError as error:
        raise InvariantError(f"a Safe transaction does not fit its types: {error}") from None
    return bytes(keccak(b"\x19\x01" + domain + keccak(struct)))


def signed_by(tx_hash: bytes, signature: bytes) -> str:
    """Return the owner that a signature of 65 bytes speaks for, checksummed, or "" where it is none.

    v 27/28 is EIP-712, 31/32 eth_sign; v 1 names an owner that approved the hash on the chain, which only the
    chain can tell. The high half of s is refused, so that a signature has one form (EIP-2). Signatures of
    contract owners (v 0) carry more bytes and are not read.
    """
    if len(signature) != SIGNATURE_BYTES:
        return ""
    v = signature[64]
    if v == _APPROVED_V:
        padded = signature[:12] == bytes(12) and signature[32:64] == bytes(32)
        return checksummed("0x" + signature[12:32].hex()) if padded else ""
    if v in _ETH_SIGN_V:
        return _recovered(keccak(_ETH_SIGN_PREFIX + tx_hash), signature, v - 31)
    return _recovered(tx_hash, signature, v - 27) if v in _EIP712_V else ""


def is_approval(signature: bytes) -> bool:
    """Say whether a signature only points at an approval on the chain."""
    return len(signature) == SIGNATURE_BYTES and signature[64] == _APPROVED_V


def packed(signatures: Mapping[str, bytes]) -> bytes:
    """Return signatures by owner as ``execTransaction`` takes them: rising by owner (else GS026)."""
    ordered = sorted(signatures.items(), key=lambda item: int(item[0], 16))
    return b"".join(signature for _, signature in ordered)


def execution(tx: SafeTx, signatures: Mapping[str, bytes]) -> bytes:
    """Return calldata of ``execTransaction``. Raises InvariantError for a signature that is not 65 bytes."""
    if any(len(signature) != SIGNATURE_BYTES for signature in signatures.values()):
        raise InvariantError(f"a Safe signature must have {SIGNATURE_BYTES} bytes")
    return SAFE.encode(
        "execTransaction",
        tx.to,
        tx.value_wei,
        tx.data,
        int(tx.operation),
        tx.safe_tx_gas,
        tx.base_gas,
        tx.gas_price,
        tx.gas_token,
        tx.refund_receiver,
        packed(signatures),
    )


def outcome_of(receipt: Receipt, *, safe: str, tx_hash: bytes) -> SafeOutcome:
    """Return what a receipt says of one Safe transaction, by the Safe's own events."""
    own = (log for log in receipt.logs if log.address.lower() == safe.lower())
    return max((logged(log, tx_hash) for log in own), default=SafeOutcome.ABSENT)


def logged(log: Log, tx_hash: bytes) -> SafeOutcome:
    """Return what one log of a Safe says of one Safe transaction."""
    if _names(log, "ExecutionSuccess", tx_hash):
        return SafeOutcome.SUCCEEDED
    return SafeOutcome.FAILED if _names(log, "ExecutionFailure", tx_hash) else SafeOutcome.ABSENT


def _names(log: Log, event: str, tx_hash: bytes) -> bool:
    """Say whether a log is the event of this hash: a topic since 1.4, the first word of the data before."""
    if not SAFE.is_event(event, log):
        return False
    if len(log.topics) > 1:
        return bytes.fromhex(log.topics[1].removeprefix("0x")) == tx_hash
    return log.data[:32] == tx_hash


def _recovered(digest: bytes, signature: bytes, parity: int) -> str:
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        return ""
    try:
        key = Signature(signature[:64] + bytes([parity])).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError, ValueError):  # numbers that are no point of the curve
        return ""
    return key.to_checksum_address()


def address(text: str, what: str) -> str:
    """Return a checksummed address. Raises ConfigError naming ``what`` otherwise."""
    try:
        return checksummed(text)
    except ValueError as error:
        raise ConfigError(f"{what} {text!r:.60} {error}") from None
