"""How long something takes at its best."""

import time
from collections.abc import Awaitable, Callable


async def at_best(limit_s: float, act: Callable[[], Awaitable[object]], *, tries: int = 3) -> bool:
    """Say whether it takes less than that at its best.

    A machine that stands still once proves nothing; a limit that is not kept fails each time.
    """
    for _ in range(tries):
        began_s = time.monotonic()
        await act()
        if time.monotonic() - began_s < limit_s:
            return True
    return False
