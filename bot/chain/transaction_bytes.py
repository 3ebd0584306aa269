"""Bytes of EIP-1559 transactions: what is signed, and what is sent.

Written out because the way from a decision to bytes is timed; a test compares it with eth-account.
"""

from coincurve import PublicKey
from eth_utils.crypto import keccak

from bot.chain.signer import Signed, Unsigned

_TYPE = b"\x02"
_NO_ACCESS_LIST = b"\xc0"
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1 (EIP-2)


def preimage(unsigned: Unsigned) -> bytes:
    """Return the bytes whose Keccak-256 is signed."""
    return _TYPE + _list(_fields(unsigned))


def assembled(unsigned: Unsigned, signature: bytes) -> Signed:
    """Return the transaction to send. ``signature`` is r, s and the parity or v, 65 bytes."""
    parity = signature[64] % 27
    tail = _number(parity) + _string(signature[:32].lstrip(b"\0")) + _string(signature[32:64].lstrip(b"\0"))
    raw = _TYPE + _list(_fields(unsigned) + tail)
    return Signed(raw="0x" + raw.hex(), tx_hash="0x" + keccak(raw).hex())


def signer_of(message: bytes, signature: bytes) -> str:
    """Return the lower-case address that signed Keccak-256 of ``message``, or "" where none did.

    The high half of s is refused, so that a signature has one form (EIP-2).
    """
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        return ""
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        return ""
    compact = signature[:64] + bytes([signature[64] % 27])
    try:
        public = PublicKey.from_signature_and_message(compact, keccak(message), hasher=None)
    except ValueError:  # numbers that are no point of the curve
        return ""
    return address_of(public.format(compressed=False)[1:])


def address_of(public_key: bytes) -> str:
    """Return the lower-case address of a public key, 64 bytes."""
    return "0x" + keccak(public_key)[12:].hex()


def _fields(unsigned: Unsigned) -> bytes:
    return b"".join(
        (
            _number(unsigned.chain_id),
            _number(unsigned.nonce),
            _number(unsigned.fees.tip_wei),
            _number(unsigned.fees.max_fee_wei),
            _number(unsigned.gas),
            _string(bytes.fromhex(unsigned.to[2:])),
            _number(unsigned.value_wei),
            _string(unsigned.data),
            _NO_ACCESS_LIST,
        )
    )


def _number(value: int) -> bytes:
    return _string(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _string(value: bytes) -> bytes:
    if len(value) == 1 and value[0] < 0x80:
        return value
    return _header(0x80, len(value)) + value


def _list(items: bytes) -> bytes:
    return _header(0xC0, len(items)) + items


def _header(base: int, size: int) -> bytes:
    if size < 56:
        return bytes([base + size])
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(length)]) + length
