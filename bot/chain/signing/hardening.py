"""Keeps a process that holds a key out of core dumps, and away from a debugger of the same user (REL-Y5)."""

import ctypes
import resource

from bot.errors import ConfigError

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """No core dump, no ptrace and no /proc/PID/mem or environ for others of this user. Raises ConfigError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ConfigError(f"the signer cannot make itself undumpable: errno {ctypes.get_errno()}")
