"""What a person may be told: a condition, how urgent it is, and the kinds there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

RUNBOOK = "docs/runbook.md"


class Severity(IntEnum):
    """How urgent; the order is that of urgency."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


# What each condition's key begins with -> its section of the runbook.
KINDS: Mapping[str, str] = {
    "tier": "alert-tier",  # the protection tier of a hedge group
    "protocol": "alert-protocol",  # the tier of a protocol, stable or bridge
    "hold": "hold",  # nothing new is opened
    "degraded": "alert-degraded",  # signals of a family are missing
    "shortfall": "alert-shortfall",  # a layer is not fully protected
    "informs": "alert-informs",  # a reading that moves no tier
    "range": "alert-range",  # a position is out of its range
    "health": "alert-health",  # the health factor of a loan
    "cover": "alert-cover",  # a cover ends soon
    "leg": "alert-leg",  # an order for an option
    "perpetual": "alert-perpetual",  # an order for a perpetual
    "account": "alert-account",  # an order on a position or a loan
    "bought-cover": "alert-bought-cover",  # a purchase of cover
    "silence": "alert-silence",  # no decision for too long
    "disagreement": "alert-disagreement",  # sources that should agree do not
    "stuck": "alert-stuck",  # a transaction that no block takes
    "stall": "alert-stall",  # the program stood still
    "stopped": "alert-stopped",  # the bot has ended by an error
    "channel": "alert-channel",  # a target takes no alerts
    "alive": "alert-alive",  # once a day: the bot is there
    "digest": "alert-digest",  # several changes in one message
    "test": "alerts",  # alvh alerts test
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that holds now. While its key stands, only another severity or level is news."""

    key: str  # stable name that begins with its kind, "tier:ETH/USDC"
    severity: Severity
    title: str  # one line
    happened: str  # what happened, with the figures
    did: str  # what the bot did about it
    could_not: str  # what it could not do, or does not do
    act: str  # what a person is to do
    level: int = 0  # orders conditions of one severity: SEVERE and CRISIS are both critical
    once: bool = False  # an event: told once, it has no end

    @property
    def kind(self) -> str:
        return kind_of_key(self.key)

    @property
    def text(self) -> str:
        """The four parts and the section of the runbook, each a line."""
        return body_of(self.happened, self.did, self.could_not, self.act, kind=self.kind)


def sentence(text: str) -> str:
    """Return a text that came from elsewhere with a full stop at its end, and one only."""
    return f"{text.strip().rstrip('.')}."


def kind_of_key(key: str) -> str:
    """Return the kind that a key begins with."""
    return key.partition(":")[0]


def section_of(kind: str) -> str:
    """Return where the runbook speaks of a kind."""
    return f"{RUNBOOK}#{KINDS[kind]}"


def body_of(happened: str, did: str, could_not: str, act: str, *, kind: str) -> str:
    """Return the text of a message: what happened, was done, could not be done, is to be done."""
    lines = (
        happened,
        f"The bot: {did}",
        f"It could not: {could_not}",
        f"To do: {act}",
        f"Runbook: {section_of(kind)}",
    )
    return "\n".join(lines)
