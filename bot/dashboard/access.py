"""Who may look: one token, sessions that end with the process, a growing wait after failures, nonces.

Everything is kept in memory, so that a restart ends every session. Times are seconds of a monotonic clock.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

FREE_FAILURES = 10  # so many wrong tokens in a row cost no wait
FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 3_600.0
SESSION_S = 12 * 3_600.0  # without a request
NONCE_S = 120.0  # a confirmation is meant now, or not at all
_MOST_SESSIONS = 32
_MOST_NONCES = 8  # of one session; the oldest goes first


@dataclass(slots=True, kw_only=True)
class Session:
    """One browser that showed the token."""

    used_at_s: float
    nonces: dict[str, float] = field(default_factory=dict)  # "purpose nonce" -> when it was made


class Access:
    """Checks tokens, keeps sessions and the nonces that confirm a change."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = _digest(token)
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._failures = 0
        self._closed_until_s = 0.0

    @property
    def wait_s(self) -> float:
        """How long no token is looked at, the right one included; 0 when one may be tried."""
        return max(0.0, self._closed_until_s - self._clock())

    def login(self, token: str, *, old: str = "") -> str | None:
        """Return a new session's name and end the ``old`` one; None for a wrong token, or while one waits."""
        if self.wait_s > 0.0:
            return None
        if not hmac.compare_digest(_digest(token), self._digest):
            self._failed()
            return None
        self._failures = 0
        self._sessions.pop(old, None)
        while len(self._sessions) >= _MOST_SESSIONS:
            self.logout(min(self._sessions, key=lambda name: self._sessions[name].used_at_s))
        name = secrets.token_urlsafe(32)
        self._sessions[name] = Session(used_at_s=self._clock())
        return name

    def logout(self, name: str) -> None:
        self._sessions.pop(name, None)

    def session(self, name: str) -> Session | None:
        """Return the session of this name, None where there is none or it slept too long."""
        found = self._sessions.get(name)
        if found is None:
            return None
        if self._clock() - found.used_at_s > SESSION_S:
            self.logout(name)
            return None
        found.used_at_s = self._clock()
        return found

    def nonce(self, session: Session, purpose: str) -> str:
        """Return what confirms one change of this kind, once."""
        made = secrets.token_urlsafe(24)
        while len(session.nonces) >= _MOST_NONCES:
            del session.nonces[next(iter(session.nonces))]
        session.nonces[f"{purpose} {made}"] = self._clock()
        return made

    def redeem(self, session: Session, purpose: str, nonce: str) -> bool:
        """Take a nonce away and say whether it confirms this change now."""
        made_at_s = session.nonces.pop(f"{purpose} {nonce}", None)
        return made_at_s is not None and self._clock() - made_at_s <= NONCE_S

    def _failed(self) -> None:
        self._failures += 1
        if (over := self._failures - FREE_FAILURES) >= 0:
            self._closed_until_s = self._clock() + min(FIRST_WAIT_S * 2.0 ** min(over, 16), LONGEST_WAIT_S)


def _digest(token: str) -> bytes:
    """Return what two tokens are compared by: of one length, whatever was sent."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
