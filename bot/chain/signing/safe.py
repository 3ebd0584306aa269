"""The bytes whose Keccak-256 is a Safe's transaction hash, for keys that take a message and not a hash."""

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bot.chain.safe import SafeTx, safe_tx_hash
from bot.errors import InvariantError

_DOMAIN_TYPE = keccak(text="EIP712Domain(uint256 chainId,address verifyingContract)")
_SAFE_TX_TYPE = keccak(
    text="SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,"
    "uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)"
)
_STRUCT = (
    "bytes32",
    "address",
    "uint256",
    "bytes32",
    "uint8",
    *("uint256",) * 3,
    *("address",) * 2,
    "uint256",
)
_NOBODY = "0x" + "00" * 20


def safe_preimage(tx: SafeTx, *, chain_id: int, safe: str) -> bytes:
    """Return the EIP-712 bytes of a transaction that refunds nobody. Raises InvariantError.

    Written a second time beside ``safe_tx_hash`` and held against it: the signer does not sign what one
    piece of code alone calls the hash.
    """
    expected = safe_tx_hash(tx, chain_id=chain_id, safe=safe)
    domain = keccak(encode(("bytes32", "uint256", "address"), (_DOMAIN_TYPE, chain_id, safe)))
    data = keccak(tx.data)
    given = (_SAFE_TX_TYPE, tx.to, tx.value_wei, data, int(tx.operation), 0, 0, 0, _NOBODY, _NOBODY, tx.nonce)
    message = b"\x19\x01" + domain + keccak(encode(_STRUCT, given))
    if keccak(message) != expected:
        raise InvariantError("the hash of a Safe transaction differs from its own encoding")
    return message
