"""What a restart needs of the alerts, in ``alerts-<mode>.json``; others read it too: status, dashboard."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.alerts.condition import KINDS, Severity, kind_of_key
from bot.alerts.message import Message
from bot.alerts.news import Standing
from bot.errors import ConfigError, InvariantError
from bot.model.parsing import json_of

VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A message that waits for its digest."""

    message: Message
    due_s: float


@dataclass(slots=True, kw_only=True)
class TargetState:
    """How one target stands. What it has not taken yet is its own: no other one can lose it."""

    name: str  # "2 Telegram"
    waiting: list[Message] = field(default_factory=list)  # to be delivered in this order
    gathered: list[Gathered] = field(default_factory=list)  # for its next digest
    failing_since_s: float = math.nan  # NaN: the last delivery went through
    why: str = ""  # of the last failure
    last_success_s: float = math.nan
    dropped: int = 0  # messages that were too many, told with the next that goes through
    delivered: int = 0  # since it is known
    failures: int = 0

    @property
    def is_failing(self) -> bool:
        return not math.isnan(self.failing_since_s)


@dataclass(slots=True, kw_only=True)
class HeartbeatState:
    """How the pings of the dead-man's switch go."""

    last_success_s: float = math.nan
    failing_since_s: float = math.nan
    why: str = ""


@dataclass(slots=True, kw_only=True)
class AlertState:
    """All of the file. ``targets`` are keyed by their senders' ids."""

    standing: dict[str, Standing] = field(default_factory=dict)
    targets: dict[str, TargetState] = field(default_factory=dict)
    watched_at_s: float = math.nan  # when everything was last looked at
    alive_at_s: float = math.nan  # when the daily word was last sent
    sent: list[tuple[float, str]] = field(default_factory=list)  # time and key of messages of the last hour
    heartbeat: HeartbeatState | None = None
    orphans: list[Message] = field(default_factory=list)  # of a version that had one queue for all targets

    @property
    def waiting(self) -> int:
        """How many messages wait, at all targets together."""
        return sum(len(item.waiting) + len(item.gathered) for item in self.targets.values())


def alert_state_path(state_dir: Path, *, mode: str) -> Path:
    return state_dir / f"alerts-{mode}.json"


def read_alert_state(path: Path) -> AlertState:
    """Return what a file says; nothing where there is none, or where it is damaged.

    Raises ConfigError where it cannot be read, or was written by a newer version.
    """
    try:
        table = json_of(path.read_text("utf-8"))
    except FileNotFoundError:
        return AlertState()
    except OSError as error:
        raise ConfigError(f"alert state {path} cannot be read: {error.strerror}; check its rights") from None
    except ValueError:
        return AlertState()  # damaged: what stands is told once more, which loses nothing
    try:
        version = int(table.get("version", 1))
        if version > VERSION:
            raise ConfigError(
                f"alert state {path} is of version {version}, this program knows {VERSION}; "
                "install the newer program again, or move the file away"
            )
        state = _state_of(table) if version == VERSION else _first_version(table)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError):
        return AlertState()
    state.standing = {key: item for key, item in state.standing.items() if kind_of_key(key) in KINDS}
    return state


def write_alert_state(path: Path, state: AlertState) -> None:
    """Replace the file in one go, readable by its owner only. Raises InvariantError."""
    text = json.dumps(_table_of(state), allow_nan=False)
    draft = path.with_suffix(".new")
    try:
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise InvariantError(
            f"alert state {path} could not be written: {error.strerror}; free space: alerts go on in memory, "
            "but a restart would repeat or lose them"
        ) from None


def _table_of(state: AlertState) -> dict[str, Any]:
    return {
        "version": VERSION,
        "watched_at_s": _number(state.watched_at_s),
        "alive_at_s": _number(state.alive_at_s),
        "sent": state.sent,
        "standing": {key: _standing_table(item) for key, item in sorted(state.standing.items())},
        "targets": {key: _target_table(item) for key, item in state.targets.items()},
        "heartbeat": None if state.heartbeat is None else _heartbeat_table(state.heartbeat),
    }


def _state_of(table: Mapping[str, Any]) -> AlertState:
    heartbeat = table["heartbeat"]
    return AlertState(
        standing={str(key): _standing_of(item) for key, item in table["standing"].items()},
        targets={str(key): _target_of(item) for key, item in table["targets"].items()},
        watched_at_s=_float(table["watched_at_s"]),
        alive_at_s=_float(table["alive_at_s"]),
        sent=[(float(at_s), str(key)) for at_s, key in table["sent"]],
        heartbeat=None if heartbeat is None else _heartbeat_of(heartbeat),
    )


def _first_version(table: Mapping[str, Any]) -> AlertState:
    """Read what a file of version 1 had: what was told, and one queue for all targets."""
    standing = {
        str(key): Standing(
            severity=Severity(severity), level=int(level), title=str(title), since_s=0.0, told_at_s=0.0
        )
        for key, (severity, level, title) in table["standing"].items()
    }
    waiting = [
        Message(severity=Severity(severity), title=str(title), text=str(text), about=Severity.CRITICAL)
        for severity, title, text in table["waiting"]
    ]
    return AlertState(standing=standing, orphans=waiting)


def _standing_table(item: Standing) -> dict[str, Any]:
    return {
        "severity": item.severity.value,
        "level": item.level,
        "title": item.title,
        "since_s": item.since_s,
        "told_at_s": item.told_at_s,
        "better_since_s": _number(item.better_since_s),
        "worst": list(item.worst),
        "worst_title": item.worst_title,
        "recheck": item.recheck,
    }


def _standing_of(table: Mapping[str, Any]) -> Standing:
    severity, level = table["worst"]
    return Standing(
        severity=Severity(table["severity"]),
        level=int(table["level"]),
        title=str(table["title"]),
        since_s=float(table["since_s"]),
        told_at_s=float(table["told_at_s"]),
        better_since_s=_float(table["better_since_s"]),
        worst=(int(severity), int(level)),
        worst_title=str(table["worst_title"]),
        recheck=bool(table["recheck"]),
    )


def _target_table(item: TargetState) -> dict[str, Any]:
    return {
        "name": item.name,
        "waiting": [_message_table(message) for message in item.waiting],
        "gathered": [[each.due_s, _message_table(each.message)] for each in item.gathered],
        "failing_since_s": _number(item.failing_since_s),
        "why": item.why,
        "last_success_s": _number(item.last_success_s),
        "dropped": item.dropped,
        "delivered": item.delivered,
        "failures": item.failures,
    }


def _target_of(table: Mapping[str, Any]) -> TargetState:
    return TargetState(
        name=str(table["name"]),
        waiting=[_message_of(item) for item in table["waiting"]],
        gathered=[
            Gathered(due_s=float(due_s), message=_message_of(item)) for due_s, item in table["gathered"]
        ],
        failing_since_s=_float(table["failing_since_s"]),
        why=str(table["why"]),
        last_success_s=_float(table["last_success_s"]),
        dropped=int(table["dropped"]),
        delivered=int(table["delivered"]),
        failures=int(table["failures"]),
    )


def _message_table(message: Message) -> dict[str, Any]:
    return {
        "severity": message.severity.value,
        "about": message.about.value,
        "title": message.title,
        "text": message.text,
        "kind": message.kind,
        "key": message.key,
        "at_s": _number(message.at_s),
        "id": message.id,
    }


def _message_of(table: Mapping[str, Any]) -> Message:
    return Message(
        severity=Severity(table["severity"]),
        about=Severity(table["about"]),
        title=str(table["title"]),
        text=str(table["text"]),
        kind=str(table["kind"]),
        key=str(table["key"]),
        at_s=_float(table["at_s"]),
        id=str(table["id"]),
    )


def _heartbeat_table(item: HeartbeatState) -> dict[str, Any]:
    return {
        "last_success_s": _number(item.last_success_s),
        "failing_since_s": _number(item.failing_since_s),
        "why": item.why,
    }


def _heartbeat_of(table: Mapping[str, Any]) -> HeartbeatState:
    return HeartbeatState(
        last_success_s=_float(table["last_success_s"]),
        failing_since_s=_float(table["failing_since_s"]),
        why=str(table["why"]),
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
