"""Which of several providers' replies to one question is handed on. Pure."""

from collections.abc import Sequence
from typing import Any

from bot.chain.node_errors import (
    RateLimitedError,
    ReplyTooLargeError,
    RevertError,
    RpcError,
    is_method_unknown,
    is_rate_limit,
    says_unknown_block,
)
from bot.errors import TransientError


def best_answer(seen: Sequence[Any]) -> Any:
    """Return the one good answer, else raise the error that says most."""
    for answer in seen:
        if isinstance(answer, RevertError):
            raise answer
        if answer is not None and not isinstance(answer, TransientError):
            return answer
    errors = [answer for answer in seen if isinstance(answer, TransientError)]
    if not errors or len(errors) < len(seen):
        return None  # who answered does not know it
    raise min(errors, key=_rank)


def _rank(error: TransientError) -> int:
    """Order errors: what a node says of this request first, what only says to wait last."""
    if isinstance(error, ReplyTooLargeError):
        return 0
    if isinstance(error, RpcError) and not is_rate_limit(error):
        return 1 if not is_method_unknown(error) else 2
    return 4 if isinstance(error, RateLimitedError) else 3


def better_elsewhere(item: Any) -> bool:
    """Whether another provider may have an answer to an item of a batch where this one had none."""
    return isinstance(item, RpcError) and (
        says_unknown_block(item) or is_rate_limit(item) or is_method_unknown(item)
    )


def misses_in(answer: Any) -> int:
    """Count the items of a batch that another provider may have."""
    return sum(better_elsewhere(item) for item in answer) if isinstance(answer, list) else 0
