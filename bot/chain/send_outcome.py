"""What became of a transaction that was given to several nodes at once (REL-R11). Pure.

One node that took it is success, whatever the others say. Without one, what is raised is the most doubtful
outcome: it may be in a pool unless every node refused it for good.
"""

from collections.abc import Mapping
from typing import NamedTuple

from bot.chain.node_errors import RpcError
from bot.chain.send_errors import DEFINITE, SendResult, classify_send_error
from bot.errors import TransientError


class Sent(NamedTuple):
    """``tx_hash`` when a node took it, else ``error``; and what a person should hear of."""

    tx_hash: str | None
    error: TransientError | None
    trouble: str


def sent_outcome(outcomes: Mapping[str, str | TransientError], *, expected_hash: str) -> Sent:
    """Judge what each node answered: a transaction hash or an error.

    ``expected_hash`` is the hash of the bytes that were sent, empty when it is not known; a node that
    answers with another one proves nothing.
    """
    judged = {where: _result(answer, expected_hash) for where, answer in outcomes.items()}
    takers = [where for where, result in judged.items() if result is SendResult.TAKEN]
    others = "; ".join(
        f"{where}: {outcomes[where]}" for where, result in judged.items() if result is not SendResult.TAKEN
    )
    if takers:
        answer = outcomes[takers[0]]
        tx_hash = expected_hash or (answer if isinstance(answer, str) else "")
        if tx_hash:
            # The reason why one that has it already refuses it again is no news.
            return Sent(
                tx_hash,
                None,
                f"a transaction was taken by {takers[0]} but not by all: {others}" if others else "",
            )
    doubtful = sorted(judged, key=lambda where: _doubt(judged[where]))
    if not doubtful:
        return Sent(None, TransientError("a transaction was given to no provider"), "")
    first = outcomes[doubtful[0]]
    if isinstance(first, str):
        first = TransientError(
            f"{doubtful[0]} answered with another hash, {first}, than that of the transaction"
        )
    return Sent(None, first, others if len(doubtful) > 1 else "")


def _result(answer: str | TransientError, expected_hash: str) -> SendResult:
    if isinstance(answer, str):
        same = not expected_hash or answer.lower() == expected_hash
        return SendResult.TAKEN if same else SendResult.AMBIGUOUS
    return classify_send_error(answer.message) if isinstance(answer, RpcError) else SendResult.AMBIGUOUS


def _doubt(result: SendResult) -> int:
    """Return the order of what to raise: ambiguity first, for it is never failure."""
    if result is SendResult.NONCE_TOO_LOW:
        return 1  # something with this nonce was mined, perhaps this very transaction
    return 2 if result in DEFINITE else 0
