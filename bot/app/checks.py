"""One row of ``alvh doctor``: what was looked at, what was found, and what mends it."""

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import BotError, one_line


class Health(StrEnum):
    """How a check ended. Only FAILED makes the whole unhealthy."""

    OK = "ok"
    WARN = "warn"  # works, with less than could be
    FAILED = "failed"
    SKIPPED = "skipped"  # not configured, or what it needs failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One checked dependency of a good run."""

    name: str  # "chain 1 provider https://host/…"
    health: Health
    found: str  # one line
    mend: str = ""  # the command or key that mends it


def ok(name: str, found: str) -> Check:
    return Check(name=name, health=Health.OK, found=found)


def warn(name: str, found: str, mend: str) -> Check:
    return Check(name=name, health=Health.WARN, found=found, mend=mend)


def failed(name: str, found: str, mend: str) -> Check:
    return Check(name=name, health=Health.FAILED, found=found, mend=mend)


def skipped(name: str, why: str) -> Check:
    return Check(name=name, health=Health.SKIPPED, found=why)


async def checked(name: str, work: Awaitable[Check], *, mend: str) -> Check:
    """Return what a check found; an error of ours becomes its finding."""
    try:
        return await work
    except BotError as error:
        return failed(name, one_line(str(error)), mend)


def healthy(checks: tuple[Check, ...]) -> bool:
    return not any(check.health is Health.FAILED for check in checks)
