"""Reading back signed bytes, so that what goes out after a restart is checked and not believed."""

from dataclasses import dataclass

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from bot.chain.fees import Fees
from bot.chain.send_state import Intent
from bot.errors import InvariantError


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTransaction:
    """The fields of a signed EIP-1559 transaction. Addresses are lower case."""

    tx_hash: str
    sender: str
    chain_id: int
    nonce: int
    to: str
    data: bytes
    value_wei: int
    gas: int
    fees: Fees


def decode_raw(raw: str) -> RawTransaction:
    """Decode signed bytes and recover who signed; raises InvariantError when they are damaged."""
    try:
        data = bytes.fromhex(raw.removeprefix("0x"))
        fields = TypedTransaction.from_bytes(HexBytes(data)).as_dict()
        return RawTransaction(
            tx_hash="0x" + keccak(data).hex(),
            sender=str(Account.recover_transaction(data)).lower(),
            chain_id=int(fields["chainId"]),
            nonce=int(fields["nonce"]),
            to="0x" + bytes(fields["to"]).hex(),
            data=bytes(fields["data"]),
            value_wei=int(fields["value"]),
            gas=int(fields["gas"]),
            fees=Fees(max_fee_wei=int(fields["maxFeePerGas"]), tip_wei=int(fields["maxPriorityFeePerGas"])),
        )
    except (ValueError, TypeError, KeyError, RLPException) as error:
        raise InvariantError(
            f"signed bytes in the journal do not decode ({type(error).__name__}): the journal is damaged"
        ) from None


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
