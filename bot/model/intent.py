"""The life of one transaction, as append-only events."""

from dataclasses import dataclass
from enum import StrEnum


class IntentState(StrEnum):
    """What is known of a transaction. An unknown outcome is a state of its own, never a failure."""

    RESERVED = "reserved"  # nonce taken; only this intent may ever carry it
    SIGNED = "signed"  # raw bytes and hash are on disk; nothing was sent before this row
    SENT = "sent"  # a node took it, or may have
    MINED = "mined"  # a receipt exists
    FINAL = "final"  # success at confirmation depth
    REVERTED = "reverted"  # mined without effect, at depth; gas is booked
    CANCELLED = "cancelled"  # its nonce was used by our own cancel
    LOST = "lost"  # its nonce was used by a transaction that is not ours, at depth: a person must look
    RELEASED = "released"  # refused before anything was signed; the nonce may be used again


CLOSED_STATES = frozenset(
    {
        IntentState.FINAL,
        IntentState.REVERTED,
        IntentState.CANCELLED,
        IntentState.LOST,
        IntentState.RELEASED,
    }
)
# Closed, and can never take effect. LOST is none of them: whoever used the nonce may have sent the same call.
WITHOUT_EFFECT = frozenset({IntentState.RELEASED, IntentState.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TxRequest:
    """One transaction that a venue wants sent, with its bounds."""

    key: str  # "<leg key>/<position>-<purpose>", unique for ever
    leg_key: str
    purpose: str  # "swap", "approve", "open", "close", "settle", "revoke"
    to: str
    data: bytes
    value_wei: int = 0
    valid_until_s: float
    gas_ceiling: int
    max_gas_cost_wei: int = 0  # most that its gas may cost, cancels left out; 0: no bound of its own
    again: bool = False  # its leg was resumed: where all tries at the key ended WITHOUT_EFFECT, try anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    address: str
    topics: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the chain says of a mined transaction."""

    tx_hash: str
    succeeded: bool
    block_number: int
    block_hash: str
    gas_used: int
    gas_cost_wei: int
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentEvent:
    """One row of the intent journal. Fields that are not known yet keep their defaults."""

    key: str
    leg_key: str
    purpose: str
    state: IntentState
    at_s: float
    chain_id: int
    sender: str
    nonce: int
    to: str = ""
    data: str = ""  # calldata, 0x hex
    raw: str = ""  # signed bytes, 0x hex; the same bytes are sent again after a restart
    tx_hash: str = ""
    valid_until_s: float = 0.0
    max_gas_cost_wei: int = 0
    block_number: int = 0
    block_hash: str = ""
    gas_cost_wei: int = 0
    because: str = ""
