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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of message. Its name begins the key of each of its conditions."""

    about: str  # what it tells, in a few words
    anchor: str  # of its section in docs/runbook.md


KINDS: Mapping[str, Kind] = {
    "tier": Kind(about="the protection tier of a hedge group", anchor="alert-tier"),
    "protocol": Kind(about="the tier of a protocol, stable or bridge", anchor="alert-protocol"),
    "hold": Kind(about="nothing new is opened", anchor="hold"),
    "degraded": Kind(about="signals of a family are missing", anchor="alert-degraded"),
    "shortfall": Kind(about="a layer is not fully protected", anchor="alert-shortfall"),
    "informs": Kind(about="a reading that moves no tier", anchor="alert-informs"),
    "range": Kind(about="a position is out of its range", anchor="alert-range"),
    "health": Kind(about="the health factor of a loan", anchor="alert-health"),
    "cover": Kind(about="a cover ends soon", anchor="alert-cover"),
    "leg": Kind(about="an order for an option", anchor="alert-leg"),
    "perpetual": Kind(about="an order for a perpetual", anchor="alert-perpetual"),
    "account": Kind(about="an order on a position or a loan", anchor="alert-account"),
    "bought-cover": Kind(about="a purchase of cover", anchor="alert-bought-cover"),
    "silence": Kind(about="no decision for too long", anchor="alert-silence"),
    "disagreement": Kind(about="sources that should agree do not", anchor="alert-disagreement"),
    "stall": Kind(about="the program stood still", anchor="alert-stall"),
    "stopped": Kind(about="the bot has ended by an error", anchor="alert-stopped"),
    "channel": Kind(about="a target takes no alerts", anchor="alert-channel"),
    "alive": Kind(about="once a day: the bot is there", anchor="alert-alive"),
    "digest": Kind(about="several changes in one message", anchor="alert-digest"),
    "test": Kind(about="alvh alerts test", anchor="alerts"),
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
    return f"{RUNBOOK}#{KINDS[kind].anchor}"


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
