"""What a node's refusal of a transaction means, by the wordings of the clients. Pure."""

from enum import StrEnum


class SendResult(StrEnum):
    """What a node's answer to a send means. Only TAKEN says that the node has the transaction."""

    TAKEN = "taken"
    UNDERPRICED = "underpriced"
    NONCE_TOO_LOW = "nonce too low"  # something with this nonce was mined, perhaps our own
    NONCE_TOO_HIGH = "nonce too high"
    NO_FUNDS = "no funds"
    GAS_LIMIT = "gas limit"
    REFUSED = "refused"  # malformed, wrong chain, sender blocked
    AMBIGUOUS = "ambiguous"


# The node did not take it now. Still nothing is closed by that: another node may have it.
DEFINITE = frozenset(
    {
        SendResult.UNDERPRICED,
        SendResult.NONCE_TOO_HIGH,
        SendResult.NO_FUNDS,
        SendResult.GAS_LIMIT,
        SendResult.REFUSED,
    }
)

# First match wins. Lower case; wordings of geth, Erigon, Besu, Nethermind, anvil, Arbitrum Nitro.
_WORDINGS: tuple[tuple[SendResult, tuple[str, ...]], ...] = (
    (
        SendResult.TAKEN,
        (
            "already known",  # geth, Erigon, Arbitrum
            "alreadyknown",  # Nethermind
            "known transaction",  # Besu, old geth
            "already imported",  # anvil, old Parity
            "existing tx with same hash",  # Erigon
            "transaction already exists",
        ),
    ),
    (
        SendResult.UNDERPRICED,
        (
            "underpriced",  # geth, Besu, Erigon, anvil
            "could not replace existing tx",  # Erigon
            "replacementnotallowed",  # Nethermind
            "feetoolow",  # Nethermind, also FeeTooLowToCompete
            "fee too low",  # Erigon
            "max fee per gas less than block base fee",  # geth, anvil, Arbitrum
            "gas price below configured minimum",  # Besu
            "gas price below current base fee",  # Besu
            "gas price too low",
            "max fee per gas too low",
        ),
    ),
    (
        SendResult.NONCE_TOO_LOW,
        (
            "nonce too low",  # geth, Besu, Erigon, anvil, Arbitrum
            "oldnonce",  # Nethermind
            "nonce below",  # Besu
            "ownnoncealreadyused",  # Nethermind
            "invalid transaction nonce",  # Arbitrum classic
        ),
    ),
    (
        SendResult.NONCE_TOO_HIGH,
        (
            "nonce too high",
            "noncegap",  # Nethermind
            "nonce is too distant",  # Besu
            "nonce too far in the future",  # Besu
            "nonce cache is full",  # Arbitrum
        ),
    ),
    (
        SendResult.NO_FUNDS,
        (
            "insufficient funds",  # geth, Erigon, anvil, Arbitrum
            "insufficientfunds",  # Nethermind
            "upfront cost exceeds account balance",  # Besu
            "insufficient balance",
            "not enough funds for gas",  # Arbitrum classic
        ),
    ),
    (
        SendResult.GAS_LIMIT,
        (
            "intrinsic gas",  # geth, anvil, Besu
            "exceeds block gas limit",  # geth, Besu
            "block gas limit is exceeded",  # Erigon
            "gaslimitexceeded",  # Nethermind
            "gas limit is too high",
        ),
    ),
    (
        SendResult.REFUSED,
        (
            "invalid chain id",  # geth, anvil
            "wrong chainid",  # Besu
            "wrong chain id",
            "invalid sender",  # geth, Erigon
            "invalidtxsignature",  # Nethermind
            "invalid signature",
            "transaction type not supported",  # geth
            "rlp:",  # geth: bytes that do not decode
            "exceeds the configured cap",  # geth --rpc.txfeecap
            "forbidden sender",  # Arbitrum
        ),
    ),
)


def classify_send_error(message: str) -> SendResult:
    """Return what a node's error text means. A text that is not known is AMBIGUOUS, never a failure."""
    text = " ".join(message.lower().split())
    for result, wordings in _WORDINGS:
        if any(wording in text for wording in wordings):
            return result
    return SendResult.AMBIGUOUS
