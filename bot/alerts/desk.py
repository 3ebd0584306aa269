"""Decides what is news: once per change, again only when worse, and a notice when it is over."""

import asyncio
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bot.alerts.conditions import Condition, Severity
from bot.alerts.sender import Message, Sender
from bot.errors import BotError, ConfigError, InvariantError, TransientError

MAX_WAITING = 200  # messages kept while no target takes them; the oldest go first
RETRY_S = 30.0


class _Told(NamedTuple):
    """What a person was last told of a condition that stands."""

    severity: Severity
    level: int
    title: str


@dataclass(slots=True, kw_only=True)
class AlertDesk:
    """Tells news of conditions to a sender, in the background, so that no delivery delays a step.

    What was told and what waits is kept in ``path``, so that a restart neither repeats nor loses any. A
    message that no target took waits and is tried again every ``retry_s``; ``on_trouble`` hears of that.
    """

    sender: Sender
    path: Path
    mode: str
    least: Severity = Severity.WARNING
    on_trouble: Callable[[BotError], None] = lambda _: None
    retry_s: float = RETRY_S
    _standing: dict[str, _Told] = field(init=False)
    _waiting: list[Message] = field(default_factory=list, init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self._standing, self._waiting = _load(self.path)
        if self._waiting:
            self._news.set()

    @property
    def active(self) -> frozenset[str]:
        """The keys of the conditions that stand."""
        return frozenset(self._standing)

    def observe(
        self,
        conditions: Iterable[Condition],
        *,
        about: str = "",
        unsure: Callable[[str], bool] = lambda _: False,
    ) -> tuple[Message, ...]:
        """Take the conditions that hold now and queue what is news; return it.

        ``about`` limits what can end here to keys with this prefix, for callers that see a part only;
        ``unsure`` names keys of which nothing is known now, which therefore go on standing.
        """
        news: list[Message] = []
        now = {item.key: item for item in conditions if item.severity >= self.least}
        for item in now.values():
            told, rank = self._standing.get(item.key), (item.severity, item.level)
            if told is None or rank > (told.severity, told.level):
                news.append(self._message(item.severity, item.title, item.text))
            elif rank < (told.severity, told.level):
                news.append(self._message(Severity.INFO, f"eased: {item.title}", item.text))
            if not item.once:
                self._standing[item.key] = _Told(item.severity, item.level, item.title)
        gone = [key for key in self._standing if key.startswith(about) and key not in now]
        for key in [key for key in gone if not unsure(key)]:
            told = self._standing.pop(key)
            text = f"This {told.severity.name.lower()} has ended."
            news.append(self._message(Severity.INFO, f"over: {told.title}", text))
        if news:
            self._queue(news)
            self._save()
        return tuple(news)

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._news.wait()
            try:
                done = await self.flush()
            except InvariantError as error:  # the state cannot be written: said, and tried again
                self.on_trouble(error)
                done = False
            if not done:
                await asyncio.sleep(self.retry_s)

    async def flush(self) -> bool:
        """Deliver what waits, oldest first; return whether all of it got through to at least one target."""
        while self._waiting:
            message = self._waiting[0]
            results = await self.sender.send(message)
            failed = [f"{item.target}: {item.why}" for item in results if not item.ok]
            if failed:
                self.on_trouble(
                    TransientError(f"alert {message.title!r} was not taken by {'; '.join(failed)}")
                )
            if results and len(failed) == len(results):
                return False
            if self._waiting and self._waiting[0] is message:
                del self._waiting[0]
                self._save()
        self._news.clear()
        return True

    def _queue(self, news: list[Message]) -> None:
        self._waiting.extend(news)
        if (lost := len(self._waiting) - MAX_WAITING) > 0:
            del self._waiting[:lost]
            self.on_trouble(TransientError(f"{lost} alerts were dropped, no target takes any"))
        self._news.set()

    def _save(self) -> None:
        _save(self.path, self._standing, self._waiting)

    def _message(self, severity: Severity, title: str, text: str) -> Message:
        return Message(severity=severity, title=f"[alvh {self.mode}] {title}", text=text)


def _load(path: Path) -> tuple[dict[str, _Told], list[Message]]:
    try:
        table = json.loads(path.read_text("utf-8"))
        standing = {
            str(key): _Told(Severity(severity), int(level), str(title))
            for key, (severity, level, title) in table["standing"].items()
        }
        waiting = [
            Message(severity=Severity(severity), title=str(title), text=str(text))
            for severity, title, text in table["waiting"]
        ]
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise ConfigError(f"alert state {path} cannot be read: {error.strerror}; check its rights") from None
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}, []  # damaged: what stands is told once more, which loses nothing
    return standing, waiting


def _save(path: Path, standing: dict[str, _Told], waiting: list[Message]) -> None:
    told = [[item.severity, item.title, item.text] for item in waiting]
    text = json.dumps({"standing": dict(sorted(standing.items())), "waiting": told})
    draft = path.with_suffix(".new")
    try:
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise InvariantError(
            f"alert state {path} could not be written: {error.strerror}; free space and start again"
        ) from None
