"""Every error the bot raises, sorted by what the loop must do next.

BotError
├── ConfigError       refuse to start; names the field, the value found, what is allowed
│   └── InUseError    another process of ours is at work there; leave it alone
├── NotFoundError     the thing asked for does not exist; nothing was changed
├── TransientError    retry reads with back-off, then skip this step and keep the tier
│   └── DeadlineError a bounded wait ran out
├── StaleDataError    hold: open nothing, keep the tier, alert
│   └── DisagreementError  sources that should agree do not; told at once
├── VenueRejected     record it, never resubmit the same leg
├── OutcomeUnknown    reconcile by key before anything else is sent
│   └── AwaitingSignatures  it was proposed; others must sign before it is sent
└── InvariantError    stop: a bug or corrupt data
    └── NoSpaceError  decide nothing until there is room; then begin anew, as after a restart
"""

LONGEST_WORDS = 2_000  # of an error; what others wrote may be in it


def one_line(text: str, *, most: int = LONGEST_WORDS) -> str:
    """Return a text as it may be shown: printable, without line breaks, cut to ``most`` characters."""
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    return text.strip()


class BotError(Exception):
    """Base of all errors that the bot raises on purpose; its text is one line for a person."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(BotError):
    """A setting, policy key, address or file is not usable. Refuse to start."""


class InUseError(ConfigError):
    """Another process holds what this one needs, and goes on. Refuse to start, and alarm nobody."""


class NotFoundError(BotError):
    """A record, position or file that was asked for does not exist."""


class TransientError(BotError):
    """A read failed in a way that may pass. Only idempotent reads are retried."""


class DeadlineError(TransientError):
    """A bounded wait ran out of time."""


class StaleDataError(BotError):
    """Data are too old or disagree. Hold: no new leg; closing stays allowed."""


class DisagreementError(StaleDataError):
    """Sources that should say the same do not: one of them lies, lags or is on another chain."""


class VenueRejected(BotError):
    """A venue refused a leg before or while executing it. Record, do not resend."""


class OutcomeUnknown(BotError):
    """A request may or may not have taken effect. Reconcile by ``key``; resending could double it."""

    def __init__(self, what: str, key: str) -> None:
        super().__init__(what, key)  # positional, so the error survives pickling
        self.what = what
        self.key = key

    def __str__(self) -> str:
        return one_line(f"outcome of {self.what} ({self.key}) is unknown")


class AwaitingSignatures(OutcomeUnknown):
    """A Safe's owners have not signed yet: it may still be executed, by any of them."""

    def __str__(self) -> str:
        return one_line(f"{self.what} ({self.key}) awaits signatures")


class InvariantError(BotError):
    """A promise of the program was broken: a bug or corrupt data. Stop."""


class NoSpaceError(InvariantError):
    """A store could not be written, for its disk is full; nothing of what was to be written is there."""
