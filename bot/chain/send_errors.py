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

# First match wins. Lower case, as the sources of the clients have them: geth core/txpool and core/error.go,
# Erigon txpoolcfg.go, Besu RpcErrorType.java, Nethermind AcceptTxResult.cs (its older words too), anvil
# error/mod.rs, Arbitrum Nitro. That a pool is full, a node syncs or the sender has another transaction
# under way says nothing lasting of this one: such words are not here, and so AMBIGUOUS.
_WORDINGS: tuple[tuple[SendResult, tuple[str, ...]], ...] = (
    (
        SendResult.TAKEN,
        (
            "already known",  # geth, Erigon, Nethermind, Arbitrum
            "alreadyknown",  # Nethermind, before 2026
            "known transaction",  # Besu, old geth
            "already imported",  # anvil, old Parity
            "existing tx with same hash",  # Erigon 2
            "existing txn with same hash",  # Erigon 3
            "transaction already exists",
        ),
    ),
    (
        # Before "nonce too low": these speak of an authority's nonce (EIP-7702), never of ours.
        SendResult.REFUSED,
        ("authority nonce too low",),
    ),
    (
        SendResult.UNDERPRICED,
        (
            "underpriced",  # geth, Besu, Erigon, Nethermind
            "insufficient gas price to replace",  # anvil
            "transaction gas price below minimum",  # geth from 1.16 on
            "could not replace existing tx",  # Erigon
            "replacementnotallowed",  # Nethermind, before 2026
            "feetoolow",  # the same, also FeeTooLowToCompete
            "fee too low",  # Erigon
            "max fee per gas less than block base fee",  # geth, anvil, Nethermind, Arbitrum
            "gas price below configured minimum",  # Besu
            "gas price below current base fee",  # Besu
            "gas price too low",
            "max fee per gas too low",
        ),
    ),
    (
        SendResult.NONCE_TOO_LOW,
        (
            "nonce too low",  # geth, Besu, Erigon, Nethermind, anvil, Arbitrum
            "oldnonce",  # Nethermind, before 2026
            "nonce below",  # Besu
            "ownnoncealreadyused",  # Nethermind, before 2026
            "invalid transaction nonce",  # Arbitrum classic
        ),
    ),
    (
        SendResult.NONCE_TOO_HIGH,
        (
            "nonce too high",  # geth, Besu, Nethermind, anvil, Arbitrum
            "noncegap",  # Nethermind, before 2026
            "delegation nonce gap",  # Nethermind
            "gapped-nonce tx",  # geth, of a delegated account
            "nonce is too distant",  # Besu
            "nonce too far in",  # Nethermind; Besu "nonce too far in the future"
            "transaction with a lower nonce exists",  # Besu: an invalid one before it
            "invalid transaction with a lower nonce",  # Besu
            "nonce cache is full",  # Arbitrum
        ),
    ),
    (
        SendResult.NO_FUNDS,
        (
            "insufficient funds",  # geth, Erigon, Nethermind, anvil, Arbitrum
            "insufficientfunds",  # Nethermind, before 2026
            "upfront cost exceeds account balance",  # Besu
            "insufficient balance",
            "not enough funds for gas",  # Arbitrum classic
        ),
    ),
    (
        SendResult.GAS_LIMIT,
        (
            "intrinsic gas",  # geth, anvil (too low, too high), Besu, Nethermind
            "intrinsicgas",  # Erigon
            "insufficient gas for floor data gas cost",  # geth from Prague on (EIP-7623)
            "exceeds block gas limit",  # geth, Besu
            "greater than the block gas limit",  # anvil
            "block gas limit is exceeded",  # Erigon 2
            "gaslimitexceeded",  # Nethermind, before 2026
            "gas limit reached",  # Nethermind, geth
            "txgaslimitcapexceeded",  # Nethermind (EIP-7825)
            "gas limit too high",  # geth from Osaka on (EIP-7825)
            "gas limit is too high",  # Erigon
        ),
    ),
    (
        SendResult.REFUSED,
        (
            "invalid chain id",  # geth, anvil
            "invalidtxchainid",  # Nethermind
            "wrong chainid",  # Besu
            "wrong chain id",
            "chainid not supported",  # Besu
            "chainid is required",  # Besu
            "invalid sender",  # geth, Erigon
            "failed to recover sender",  # Nethermind
            "failedtoresolvesender",  # Nethermind, before 2026
            "sender not an eoa",  # geth, Nethermind, anvil
            "senderiscontract",  # Nethermind, before 2026
            "sender account not authorized",  # Besu
            "invalidtxsignature",  # Nethermind
            "invalid signature",  # Besu
            "transaction type not supported",  # geth, anvil
            "unsupported transaction type",  # Nethermind
            "invalid transaction type",  # Besu
            "not activated yet",  # Erigon: a fork
            "max priority fee per gas higher than max fee per gas",  # geth, anvil
            "max priority fee per gas exceeds max fee per gas",  # Besu
            "invalidmaxpriorityfeepergas",  # Nethermind
            "nonce has max value",  # geth, anvil
            "negative value",  # geth, Erigon
            "oversized data",  # geth, Erigon
            "rlptoolong",  # Erigon
            "transaction too large",  # Nethermind
            "gas uint64 overflow",  # geth, anvil
            "gasuintoverflow",  # Erigon
            "transaction cost overflow",  # Nethermind
            "int256overflow",  # Nethermind, before 2026
            "transaction invalid",  # Nethermind
            "plugin has marked the transaction as invalid",  # Besu
            "rlp:",  # geth: bytes that do not decode
            "failed to decode",  # anvil
            "exceeds the configured cap",  # geth --rpc.txfeecap
            "transaction fee cap exceeded",  # Besu
            "forbidden sender",  # Arbitrum
            "invalid message format",  # Arbitrum classic
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
