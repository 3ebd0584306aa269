"""A proposal as JSON, in the field names of the Transaction Service: its fields in both directions."""

from typing import Any

from bot.chain.address import checksummed
from bot.chain.safe import ZERO, Operation, SafeTx
from bot.chain.safe_proposal import Proposal


def proposal_document(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal in the fields of the Transaction Service, signatures left out."""
    tx = proposal.tx
    return {
        "to": tx.to,
        "value": str(tx.value_wei),
        "data": "0x" + tx.data.hex() if tx.data else None,
        "operation": int(tx.operation),
        "safeTxGas": str(tx.safe_tx_gas),
        "baseGas": str(tx.base_gas),
        "gasPrice": str(tx.gas_price),
        "gasToken": tx.gas_token,
        "refundReceiver": tx.refund_receiver,
        "nonce": str(tx.nonce),
        "safeTxHash": proposal.tx_hash,
        "origin": proposal.origin,
        "proposer": proposal.proposer,
    }


def proposal_from(found: Any) -> Proposal:
    """Return the proposal that a document states, signatures left out; its hash is not checked here.

    Raises ValueError, KeyError, TypeError or AttributeError for what is none.
    """
    origin, proposer = found.get("origin"), found.get("proposer")
    return Proposal(
        tx=SafeTx(
            to=checksummed(found["to"]),
            value_wei=whole(found["value"]),
            data=raw_bytes(found["data"]),
            operation=Operation(whole(found["operation"])),
            safe_tx_gas=whole(found["safeTxGas"]),
            base_gas=whole(found["baseGas"]),
            gas_price=whole(found["gasPrice"]),
            gas_token=checksummed(found["gasToken"] or ZERO),
            refund_receiver=checksummed(found["refundReceiver"] or ZERO),
            nonce=whole(found["nonce"]),
        ),
        tx_hash=str(found["safeTxHash"]).lower(),
        origin=origin if isinstance(origin, str) else "",
        proposer=checksummed(proposer) if proposer else ZERO,
    )


def whole(value: object) -> int:
    """Return a uint256 of a JSON number or text. Raises ValueError or TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"no whole number: {value!r:.40}")
    number = int(value)
    if not 0 <= number < 2**256:
        raise ValueError(f"no uint256: {number}")
    return number


def raw_bytes(value: object) -> bytes:
    """Return bytes of 0x hex; none of None. Raises ValueError."""
    if value is None:
        return b""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"no 0x hex: {value!r:.40}")
    return bytes.fromhex(value[2:])
