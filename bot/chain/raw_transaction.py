"""Reading back signed bytes, so that what goes out after a restart is checked and not believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from bot.chain.fees import Fees
from bot.chain.send_state import Intent
from bot.errors import InvariantError

_EIP1559 = b"\x02"
_UNSIGNED_FIELDS, _FIELDS = 9, 12
_ADDRESS_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTransaction:
    """The fields of a signed EIP-1559 transaction. Addresses are lower case; ``to`` of a creation is "0x"."""

    tx_hash: str
    sender: str
    chain_id: int
    nonce: int
    to: str
    data: bytes
    value_wei: int
    gas: int
    fees: Fees


@lru_cache(maxsize=256)  # the bytes say all; an intent's own are decoded at every poll
def decode_raw(raw: str) -> RawTransaction:
    """Decode signed bytes and recover who signed; raises InvariantError when they are damaged."""
    try:
        data = bytes.fromhex(raw.removeprefix("0x"))
        if data[:1] != _EIP1559:
            raise ValueError("not of type 2")
        fields = rlp.decode(data[1:])
        if not isinstance(fields, list) or len(fields) != _FIELDS:
            raise ValueError(f"a transaction has {_FIELDS} fields")
        return _decoded(data, fields)
    except (ValueError, TypeError, InvariantError, RLPException, BadSignature, ValidationError) as error:
        raise InvariantError(
            f"signed bytes in the journal do not decode ({type(error).__name__}): the journal is damaged"
        ) from None


def _decoded(data: bytes, fields: Sequence[Any]) -> RawTransaction:
    chain_id, nonce, tip, max_fee, gas = map(_integer, fields[:5])
    to, value, payload, accesses = fields[5:_UNSIGNED_FIELDS]
    if not isinstance(to, bytes) or not isinstance(payload, bytes) or accesses:
        raise ValueError("a target or data that are lists, or an access list: nothing that we sign")
    if len(to) not in (0, _ADDRESS_BYTES):
        raise ValueError("a target of another length: nothing that we sign")
    y_parity, r, s = map(_integer, fields[_UNSIGNED_FIELDS:])
    digest = keccak(_EIP1559 + rlp.encode(fields[:_UNSIGNED_FIELDS]))
    signer = Signature(vrs=(y_parity, r, s)).recover_public_key_from_msg_hash(digest)
    return RawTransaction(
        tx_hash="0x" + keccak(data).hex(),
        sender=signer.to_address(),
        chain_id=chain_id,
        nonce=nonce,
        to="0x" + to.hex(),
        data=payload,
        value_wei=_integer(value),
        gas=gas,
        fees=Fees(max_fee_wei=max_fee, tip_wei=tip),
    )


def _integer(field: Any) -> int:
    if not isinstance(field, bytes) or field[:1] == b"\0":
        raise ValueError("an integer without leading zeros was expected")
    return int.from_bytes(field, "big")


def unsigned_rlp(
    *, chain_id: int, nonce: int, to: str, data: bytes, value_wei: int, gas: int, fees: Fees
) -> bytes:
    """Return what an EIP-1559 transaction is before it is signed, as rollups price it."""
    target = bytes.fromhex(to.removeprefix("0x"))
    fields = [chain_id, nonce, fees.tip_wei, fees.max_fee_wei, gas, target, value_wei, data, []]
    return _EIP1559 + bytes(rlp.encode(fields))


def checked_raw(raw: str, *, tx_hash: str, intent: Intent) -> RawTransaction:
    """Decode bytes and refuse them unless they are this intent's: a broken signer or a damaged journal."""
    found = decode_raw(raw)
    wanted = (tx_hash, intent.sender, intent.chain_id, intent.nonce)
    if (found.tx_hash, found.sender, found.chain_id, found.nonce) != wanted:
        raise InvariantError(
            f"intent {intent.key}: signed bytes are for {found.sender} nonce {found.nonce} on chain "
            f"{found.chain_id}, the journal says {intent.sender} nonce {intent.nonce} "
            f"on chain {intent.chain_id}"
        )
    return found
