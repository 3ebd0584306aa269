"""Notices that the event loop does not come round (REL-H6): from a thread, for the loop itself cannot.

A call that blocks stops watching, sending and every other alarm at once.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BEAT_S = 0.5
STALL_S = 3.0  # the alarm comes within 5 s
_FRAMES = 3


@dataclass(slots=True, kw_only=True)
class StallWatch:
    """``on_stall`` hears from the thread, while the loop stands; ``on_end`` in the loop, when it goes on."""

    on_stall: Callable[[float, str], None]
    on_end: Callable[[float, str], None]
    stall_s: float = STALL_S
    beat_s: float = BEAT_S
    _last_s: float = field(default_factory=time.monotonic, init=False)
    _where: str = field(default="", init=False)
    _done: threading.Event = field(default_factory=threading.Event, init=False)

    async def beat(self) -> None:
        """Show until cancelled that the loop comes round."""
        while True:
            now_s = time.monotonic()
            stood_s, self._last_s = now_s - self._last_s - self.beat_s, now_s
            where, self._where = self._where, ""
            if where:
                self.on_end(max(stood_s, self.stall_s), where)
            await asyncio.sleep(self.beat_s)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the loop of this thread while the body runs. ``beat`` must run in it."""
        self._last_s = time.monotonic()
        thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="stall-watch", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join(timeout=1.0)

    def _watch(self, loop_thread: int) -> None:
        while not self._done.wait(self.beat_s):
            late_s = time.monotonic() - self._last_s
            if late_s >= self.stall_s and not self._where:
                self._where = _where(loop_thread)
                self.on_stall(late_s, self._where)


def _where(thread: int) -> str:
    """Return the innermost calls of a thread: file, line and function, no values."""
    frame = sys._current_frames().get(thread)
    calls = traceback.extract_stack(frame)[-_FRAMES:] if frame is not None else []
    return " < ".join(
        f"{call.filename.rpartition('/')[2]}:{call.lineno} {call.name}" for call in reversed(calls)
    )
