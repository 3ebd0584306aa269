"""What can go wrong between us and a node, and what a node's own words mean."""

from typing import Any

from bot.chain.abi import revert_reason
from bot.errors import TransientError

_REVERT_CODE = 3
_RATE_LIMIT_CODES = frozenset({-32005, 429})
_METHOD_NOT_FOUND = -32601
_UNKNOWN_BLOCK_CODE = -32001  # anvil, EIP-1474: resource not found
_UNKNOWN_BLOCK_WORDS = (
    "header not found",
    "block not found",
    "resource not found",
    "not currently canonical",
    "is not canonical",
    "unknown block",
    "unknown header",
    "header for hash not found",
    "could not find block",
)
# Infura and others say "too many results" with the code of a rate limit.
_TOO_MUCH_WORDS = ("more than", "range", "results", "response size", "too large", "too many logs")


class RpcError(TransientError):
    """The node answered with a JSON-RPC error object."""

    def __init__(self, code: int, message: str, data: bytes = b"") -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"node error {self.code}: {self.message}"


class RevertError(RpcError):
    """The EVM reverted the call; asking again at the same block brings the same answer."""

    @property
    def reason(self) -> str:
        """The decoded reason, or the node's own words when it sent no revert data."""
        if self.data:
            return revert_reason(self.data)
        text = self.message.partition("execution reverted")[2].lstrip(": ")
        return text or self.message or "reverted without a reason"

    def __str__(self) -> str:
        return f"reverted: {self.reason}"


class RateLimitedError(TransientError):
    """The node asked for a pause of ``retry_after_s``; until then nothing is sent to it."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class ReplyTooLargeError(TransientError):
    """The reply is larger than we are willing to read; ask for less."""


class HttpStatusError(TransientError):
    """The node answered with an HTTP status other than 200 and no JSON-RPC error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message

    @property
    def is_refusal(self) -> bool:
        """Whether the key or the plan is refused, so that asking again soon is of no use."""
        return self.status in (401, 402, 403)


def node_error(code: Any, message: str, data: bytes) -> RpcError:
    """Return the error object of a reply as an exception, reverts told apart."""
    reverted = code == _REVERT_CODE or "revert" in message.lower() or message.startswith("EVM error")
    return (RevertError if reverted else RpcError)(code if isinstance(code, int) else 0, message, data)


def is_rate_limit(error: BaseException) -> bool:
    """Whether the node asks for fewer requests, not for a smaller one."""
    if isinstance(error, RpcError):
        return error.code in _RATE_LIMIT_CODES and not says_too_much(error)
    return isinstance(error, RateLimitedError)


def says_too_much(error: RpcError) -> bool:
    """Whether the node says that one request asked for too much at once."""
    text = error.message.lower()
    return any(words in text for words in _TOO_MUCH_WORDS)


def is_method_unknown(error: BaseException) -> bool:
    return isinstance(error, RpcError) and error.code == _METHOD_NOT_FOUND


def says_unknown_block(error: BaseException) -> bool:
    """Whether the node says that it does not have, or no longer has, the block asked about."""
    if not isinstance(error, RpcError) or error.code == _METHOD_NOT_FOUND:
        return False
    text = error.message.lower()
    return error.code == _UNKNOWN_BLOCK_CODE or any(words in text for words in _UNKNOWN_BLOCK_WORDS)
