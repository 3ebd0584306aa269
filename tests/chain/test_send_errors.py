"""What a node's words about a send mean (REL-T4). Unknown words are ambiguous, never a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.send_errors import _WORDINGS, SendResult, classify_send_error

R = SendResult
# What each client says, by its own source; where it fills in values, with some.
CLIENTS = {
    "geth": [
        ("already known", R.TAKEN),
        ("nonce too low", R.NONCE_TOO_LOW),
        ("nonce too low: next nonce 5, tx nonce 4", R.NONCE_TOO_LOW),
        ("nonce too high", R.NONCE_TOO_HIGH),
        ("nonce too high: tx nonce 9, gapped nonce 7", R.NONCE_TOO_HIGH),
        ("gapped-nonce tx from delegated accounts", R.NONCE_TOO_HIGH),
        ("replacement transaction underpriced", R.UNDERPRICED),
        ("transaction underpriced: gas tip cap 1, minimum needed 100000000", R.UNDERPRICED),
        ("transaction gas price below minimum: gas tip cap 0, minimum needed 1", R.UNDERPRICED),
        ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7", R.UNDERPRICED),
        ("insufficient funds for gas * price + value: balance 0, tx cost 21000", R.NO_FUNDS),
        (
            "insufficient funds for gas * price + value: balance 1, queued cost 5, tx bumped 2, overshot 6",
            R.NO_FUNDS,
        ),
        ("insufficient funds for transfer", R.NO_FUNDS),
        ("intrinsic gas too low: gas 20000, minimum needed 21000", R.GAS_LIMIT),
        ("insufficient gas for floor data gas cost: gas 21000, minimum needed 25000", R.GAS_LIMIT),
        ("exceeds block gas limit", R.GAS_LIMIT),
        ("transaction gas limit too high (cap: 16777216, tx: 21000000)", R.GAS_LIMIT),
        ("invalid sender: invalid transaction v, r, s values", R.REFUSED),
        ("invalid chain id for signer: have 1 want 5", R.REFUSED),
        ("transaction type not supported: type 2 rejected, pool not yet in London", R.REFUSED),
        ("max priority fee per gas higher than max fee per gas", R.REFUSED),
        ("sender not an eoa: address 0x1, len(code): 24", R.REFUSED),
        ("nonce has max value", R.REFUSED),
        ("negative value", R.REFUSED),
        ("oversized data: transaction size 140000, limit 131072", R.REFUSED),
        ("gas uint64 overflow", R.REFUSED),
        ("authority nonce too low", R.REFUSED),
        ("rlp: value size exceeds available input length", R.REFUSED),
        ("tx fee (2.10 ether) exceeds the configured cap (1.00 ether)", R.REFUSED),
        ("txpool is full", R.AMBIGUOUS),
        ("account limit exceeded: pooled 16 txs", R.AMBIGUOUS),
        ("future transaction tries to replace pending", R.AMBIGUOUS),
        ("address already reserved", R.AMBIGUOUS),
        ("in-flight transaction limit reached for delegated accounts", R.AMBIGUOUS),
    ],
    "erigon": [
        ("already known", R.TAKEN),
        ("ALREADY_EXISTS: already known", R.TAKEN),
        ("existing tx with same hash", R.TAKEN),
        ("existing txn with same hash", R.TAKEN),
        ("INTERNAL_ERROR: existing tx with same hash", R.TAKEN),
        ("could not replace existing tx", R.UNDERPRICED),
        ("replacement transaction underpriced", R.UNDERPRICED),
        ("underpriced", R.UNDERPRICED),
        ("fee too low", R.UNDERPRICED),
        ("nonce too low", R.NONCE_TOO_LOW),
        ("insufficient funds", R.NO_FUNDS),
        ("IntrinsicGas", R.GAS_LIMIT),
        ("block gas limit is exceeded", R.GAS_LIMIT),
        ("gas limit is too high", R.GAS_LIMIT),
        ("GasUintOverflow", R.REFUSED),
        ("RLPTooLong", R.REFUSED),
        ("invalid sender", R.REFUSED),
        ("oversized data", R.REFUSED),
        ("fork supporting this transaction type is not activated yet", R.REFUSED),
        ("not set", R.AMBIGUOUS),
        ("mined", R.AMBIGUOUS),
        ("spammer", R.AMBIGUOUS),
        ("replaced by transaction with higher tip", R.AMBIGUOUS),
        ("pending sub-pool is full", R.AMBIGUOUS),
        ("baseFee sub-pool is full", R.AMBIGUOUS),
        ("queued sub-pool is full", R.AMBIGUOUS),
    ],
    "besu": [
        ("Known transaction", R.TAKEN),
        ("Nonce too low", R.NONCE_TOO_LOW),
        ("Nonce too high", R.NONCE_TOO_HIGH),
        ("Transaction nonce is too distant from current sender nonce", R.NONCE_TOO_HIGH),
        ("An invalid transaction with a lower nonce exists", R.NONCE_TOO_HIGH),
        ("Replacement transaction underpriced", R.UNDERPRICED),
        ("Gas price below configured minimum gas price", R.UNDERPRICED),
        ("Gas price below current base fee", R.UNDERPRICED),
        ("Upfront cost exceeds account balance", R.NO_FUNDS),
        ("Intrinsic gas exceeds gas limit", R.GAS_LIMIT),
        ("Transaction gas limit exceeds block gas limit", R.GAS_LIMIT),
        ("Wrong chainId", R.REFUSED),
        ("ChainId not supported", R.REFUSED),
        ("ChainId is required", R.REFUSED),
        ("Invalid signature", R.REFUSED),
        ("Invalid transaction type", R.REFUSED),
        ("Sender account not authorized to send transactions", R.REFUSED),
        ("Transaction fee cap exceeded", R.REFUSED),
        ("Max priority fee per gas exceeds max fee per gas", R.REFUSED),
        ("Plugin has marked the transaction as invalid", R.REFUSED),
        ("Initial sync is still in progress", R.AMBIGUOUS),
        (
            "Transaction pool not enabled. (Either txpool explicitly disabled, or node not yet in sync).",
            R.AMBIGUOUS,
        ),
        ("World state unavailable", R.AMBIGUOUS),
        ("Internal error", R.AMBIGUOUS),
        ("Timeout expired", R.AMBIGUOUS),
    ],
    "nethermind": [
        ("already known", R.TAKEN),
        ("transaction underpriced", R.UNDERPRICED),
        ("replacement transaction underpriced", R.UNDERPRICED),
        ("max fee per gas less than block base fee", R.UNDERPRICED),
        ("nonce too low", R.NONCE_TOO_LOW),
        ("nonce too high", R.NONCE_TOO_HIGH),
        ("nonce too far in future", R.NONCE_TOO_HIGH),
        ("delegation nonce gap", R.NONCE_TOO_HIGH),
        ("insufficient funds for gas * price + value", R.NO_FUNDS),
        ("gas limit reached", R.GAS_LIMIT),
        ("intrinsic gas too low", R.GAS_LIMIT),
        ("TxGasLimitCapExceeded: Gas limit 30000000 exceeded cap of 16777216.", R.GAS_LIMIT),
        ("failed to recover sender", R.REFUSED),
        ("transaction cost overflow", R.REFUSED),
        ("transaction invalid", R.REFUSED),
        ("sender not an eoa", R.REFUSED),
        ("unsupported transaction type", R.REFUSED),
        ("transaction too large", R.REFUSED),
        ("InvalidTxSignature: Signature is invalid.", R.REFUSED),
        ("InvalidTxChainId: Expected 1, got 5.", R.REFUSED),
        ("pending transaction type conflict", R.AMBIGUOUS),
        ("delegation authority has pending transaction", R.AMBIGUOUS),
        ("node is syncing", R.AMBIGUOUS),
    ],
    "nethermind, before 2026": [
        ("AlreadyKnown", R.TAKEN),
        ("OldNonce, Current nonce: 22, nonce of rejected tx: 17", R.NONCE_TOO_LOW),
        ("OwnNonceAlreadyUsed", R.NONCE_TOO_LOW),
        ("NonceGap, Future nonce. Expected nonce: 3", R.NONCE_TOO_HIGH),
        ("ReplacementNotAllowed", R.UNDERPRICED),
        ("FeeTooLow, EffectivePriorityFeePerGas too low", R.UNDERPRICED),
        ("FeeTooLowToCompete", R.UNDERPRICED),
        ("InsufficientFunds, Account balance: 0, cumulative cost: 21000", R.NO_FUNDS),
        ("GasLimitExceeded, Gas limit: 30000000, gas limit of rejected tx: 40000000", R.GAS_LIMIT),
        ("InvalidTxSignature", R.REFUSED),
        ("SenderIsContract", R.REFUSED),
        ("FailedToResolveSender", R.REFUSED),
        ("Int256Overflow", R.REFUSED),
    ],
    "anvil": [
        ("transaction already imported", R.TAKEN),  # 1.7.1, as measured
        ("Tx: [0xab] already Imported", R.TAKEN),
        ("Tx: [0xab] insufficient gas price to replace existing transaction", R.UNDERPRICED),
        ("max fee per gas less than block base fee", R.UNDERPRICED),
        ("nonce too low", R.NONCE_TOO_LOW),
        ("Nonce too high", R.NONCE_TOO_HIGH),
        ("Insufficient funds for gas * price + value", R.NO_FUNDS),
        ("insufficient funds for transfer", R.NO_FUNDS),
        ("intrinsic gas too low", R.GAS_LIMIT),
        ("intrinsic gas too high -- CallerGasLimitMoreThanBlock", R.GAS_LIMIT),
        (
            "Transaction gas limit is greater than the block gas limit, gas_limit: 40000000, cap: 30000000",
            R.GAS_LIMIT,
        ),
        ("invalid chain id for signer", R.REFUSED),
        ("Failed to decode signed transaction", R.REFUSED),
        ("sender not an eoa", R.REFUSED),
        ("max priority fee per gas higher than max fee per gas", R.REFUSED),
        ('Internal error: "x"', R.AMBIGUOUS),
    ],
    "arbitrum": [
        ("already known", R.TAKEN),
        ("nonce too low: address 0x1, tx: 1 state: 2", R.NONCE_TOO_LOW),
        ("nonce too high: address 0x1, tx: 5 state: 2", R.NONCE_TOO_HIGH),
        ("invalid transaction nonce", R.NONCE_TOO_LOW),
        ("nonce cache is full, please try again", R.NONCE_TOO_HIGH),
        ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7", R.UNDERPRICED),
        ("gas price too low", R.UNDERPRICED),
        ("not enough funds for gas", R.NO_FUNDS),
        ("insufficient funds for gas * price + value: address 0x1 have 0 want 5", R.NO_FUNDS),
        ("intrinsic gas too low: have 21000, want 400000", R.GAS_LIMIT),
        ("forbidden sender address", R.REFUSED),
        ("invalid message format", R.REFUSED),
        ("sequencer pending tx pool full, please try again", R.AMBIGUOUS),
        ("queue full", R.AMBIGUOUS),
        ("tx dropped due to L2 congestion", R.AMBIGUOUS),
        ("502 Bad Gateway: upstream", R.AMBIGUOUS),
    ],
    "nobody in particular": [
        ("", R.AMBIGUOUS),
        ("internal error", R.AMBIGUOUS),
        ("header not found", R.AMBIGUOUS),
        ("context deadline exceeded", R.AMBIGUOUS),
        ("execution reverted", R.AMBIGUOUS),
    ],
}
SAID = [(client, *row) for client, rows in CLIENTS.items() for row in rows]


@pytest.mark.parametrize(("client", "message", "meaning"), SAID, ids=lambda item: str(item)[:40])
def test_the_wordings_of_the_clients(client, message, meaning):
    assert classify_send_error(message) is meaning, client


@pytest.mark.parametrize("client", ["geth", "erigon", "besu", "nethermind", "anvil", "arbitrum"])
def test_each_client_has_a_row_for_each_meaning_that_it_can_give(client):
    given_by = {meaning for _, meaning in CLIENTS[client]}
    missing = set(R) - given_by
    assert missing <= ({R.NONCE_TOO_HIGH} if client == "erigon" else set()), (client, missing)


@given(st.text())
def test_words_nobody_knows_are_ambiguous(message):
    text = " ".join(message.lower().split())
    known = any(wording in text for _, wordings in _WORDINGS for wording in wordings)
    assert known or classify_send_error(message) is R.AMBIGUOUS


def test_every_wording_means_what_its_row_says():
    for meaning, wordings in _WORDINGS:
        for wording in wordings:
            assert classify_send_error(f"rpc: {wording.upper()}\n, sorry") is meaning
