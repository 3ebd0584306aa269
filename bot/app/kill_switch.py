"""The kill switch by signal: SIGUSR1 puts the pause in force at once, whatever the process is at (REL-L2).

``systemctl kill -s USR1 alvh`` reaches the bot and all that it started. It is the pause of ``alvh pause``:
on disk before anything else happens, for bot and signer alike, and ended by ``alvh resume`` alone.
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bot.chain.pause import Pause, write_pause
from bot.errors import ConfigError

WHO = "signal SIGUSR1"


def pause_at_signal(folders: Sequence[Path], *, what: str) -> None:
    """Pause from now on when SIGUSR1 comes. Main thread only.

    ``what`` names the process. The first folder that can be written holds the pause: a signer under a user of
    its own may not write the bot's.
    """

    def heard(_number: int, _frame: object) -> None:
        why = f"sent to the {what}, process {os.getpid()}"
        _say(_paused(folders, Pause(who=WHO, at_s=time.time(), why=why)))

    # Not the event loop's own handler: that waits until whatever blocks the loop is over.
    signal.signal(signal.SIGUSR1, heard)


def _paused(folders: Sequence[Path], pause: Pause) -> str:
    troubles = []
    for folder in folders:
        try:
            return str(write_pause(folder, pause))
        except ConfigError as error:
            troubles.append(str(error))
    return f"{WHO}: {'; '.join(troubles)}"


def _say(text: str) -> None:
    """Write a line to standard error itself: what it interrupted may be in the middle of printing one."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())
