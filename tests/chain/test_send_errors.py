"""What a node's words about a send mean (REL-T4). Unknown words are ambiguous, never a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.send_errors import _WORDINGS, SendResult, classify_send_error

R = SendResult
SAID = [
    # geth
    ("already known", R.TAKEN),
    ("nonce too low", R.NONCE_TOO_LOW),
    ("nonce too low: next nonce 5, tx nonce 4", R.NONCE_TOO_LOW),
    ("nonce too high", R.NONCE_TOO_HIGH),
    ("replacement transaction underpriced", R.UNDERPRICED),
    ("transaction underpriced: gas tip cap 1, minimum needed 100000000", R.UNDERPRICED),
    ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7", R.UNDERPRICED),
    ("insufficient funds for gas * price + value: balance 0, tx cost 21000", R.NO_FUNDS),
    ("intrinsic gas too low: gas 20000, minimum needed 21000", R.GAS_LIMIT),
    ("exceeds block gas limit", R.GAS_LIMIT),
    ("invalid sender", R.REFUSED),
    ("transaction type not supported", R.REFUSED),
    ("tx fee (2.10 ether) exceeds the configured cap (1.00 ether)", R.REFUSED),
    ("txpool is full", R.AMBIGUOUS),
    # Erigon
    ("ALREADY_EXISTS: already known", R.TAKEN),
    ("existing tx with same hash", R.TAKEN),
    ("could not replace existing tx", R.UNDERPRICED),
    ("fee too low", R.UNDERPRICED),
    ("block gas limit is exceeded", R.GAS_LIMIT),
    ("INTERNAL_ERROR: existing tx with same hash", R.TAKEN),
    # Besu
    ("Known transaction", R.TAKEN),
    ("Nonce too low", R.NONCE_TOO_LOW),
    ("Transaction nonce is too distant from current sender nonce", R.NONCE_TOO_HIGH),
    ("Replacement transaction underpriced", R.UNDERPRICED),
    ("Gas price below configured minimum gas price", R.UNDERPRICED),
    ("Upfront cost exceeds account balance", R.NO_FUNDS),
    ("Intrinsic gas exceeds gas limit", R.GAS_LIMIT),
    ("Transaction gas limit exceeds block gas limit", R.GAS_LIMIT),
    ("Wrong chainId", R.REFUSED),
    # Nethermind
    ("AlreadyKnown", R.TAKEN),
    ("OldNonce, Current nonce: 22, nonce of rejected tx: 17", R.NONCE_TOO_LOW),
    ("OwnNonceAlreadyUsed", R.NONCE_TOO_LOW),
    ("NonceGap, Future nonce. Expected nonce: 3", R.NONCE_TOO_HIGH),
    ("ReplacementNotAllowed", R.UNDERPRICED),
    ("FeeTooLow, EffectivePriorityFeePerGas too low", R.UNDERPRICED),
    ("FeeTooLowToCompete", R.UNDERPRICED),
    ("InsufficientFunds, Account balance: 0, cumulative cost: 21000", R.NO_FUNDS),
    ("GasLimitExceeded", R.GAS_LIMIT),
    ("InvalidTxSignature", R.REFUSED),
    # anvil 1.7.1, as measured
    ("transaction already imported", R.TAKEN),
    ("Insufficient funds for gas * price + value", R.NO_FUNDS),
    ("max fee per gas less than block base fee", R.UNDERPRICED),
    ("invalid chain id for signer", R.REFUSED),
    # Arbitrum
    ("nonce too low: address 0x1, tx: 1 state: 2", R.NONCE_TOO_LOW),
    ("nonce cache is full, please try again", R.NONCE_TOO_HIGH),
    ("not enough funds for gas", R.NO_FUNDS),
    ("sequencer pending tx pool full, please try again", R.AMBIGUOUS),
    # nobody in particular
    ("", R.AMBIGUOUS),
    ("internal error", R.AMBIGUOUS),
    ("header not found", R.AMBIGUOUS),
    ("context deadline exceeded", R.AMBIGUOUS),
    ("execution reverted", R.AMBIGUOUS),
]


@pytest.mark.parametrize(("message", "meaning"), SAID, ids=lambda item: str(item)[:40])
def test_the_wordings_of_the_clients(message, meaning):
    assert classify_send_error(message) is meaning


@given(st.text())
def test_words_nobody_knows_are_ambiguous(message):
    text = " ".join(message.lower().split())
    known = any(wording in text for _, wordings in _WORDINGS for wording in wordings)
    assert known or classify_send_error(message) is R.AMBIGUOUS


def test_every_wording_means_what_its_row_says():
    for meaning, wordings in _WORDINGS:
        for wording in wordings:
            assert classify_send_error(f"rpc: {wording.upper()}\n, sorry") is meaning
