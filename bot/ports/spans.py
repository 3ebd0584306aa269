"""Where the loop says what it is doing, so that it can be timed and traced. Off, it costs nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

# Named stages: "step" and within it "quote", "decide", "execute", "journal"; before it "cut".
Span = Callable[[str], AbstractContextManager[object]]
_NOTHING: AbstractContextManager[object] = nullcontext()


def no_span(_: str) -> AbstractContextManager[object]:
    """Time nothing."""
    return _NOTHING
