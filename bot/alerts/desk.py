"""Tells what is news to each target: at once, in a digest, or after quiet hours. Nothing twice or lost."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from bot.alerts.condition import Condition, Severity
from bot.alerts.delivery import Deliveries
from bot.alerts.message import Message, Target
from bot.alerts.news import Change, News
from bot.alerts.schedule import Daily, Every, Quiet
from bot.alerts.state import AlertState, read_alert_state, write_alert_state
from bot.alerts.templates import Templates
from bot.alerts.words import channel_condition, digests_of, message_of
from bot.errors import BotError, InvariantError
from bot.model.units import DAY_S, HOUR_S

REPEATS = 3  # messages on one condition within an hour; what comes after is gathered
CHANNEL_AFTER_S = 300.0  # a target that takes nothing for so long is told to the others
_SAVED_AGAIN_AFTER_S = 60.0  # where nothing changed but that everything was looked at
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """When and how much is told. Times in seconds; see bot/alerts/news.py for the first two."""

    settle_s: float = 0.0
    gap_s: float = math.inf
    max_per_hour: int = 30  # messages that are not critical; the rest is gathered
    zone: ZoneInfo = _UTC
    quiet: Quiet | None = None
    digest: Daily | Every | None = None  # when what is INFO is told; None: at once
    alive: Daily | None = None
    templates: Templates = Templates()  # noqa: RUF009 - frozen


@dataclass(slots=True, kw_only=True)
class AlertDesk:
    """Takes conditions, and delivers messages in the background, so that no delivery delays a step.

    Critical messages go out at once. Others wait for the end of quiet hours, or are gathered for a digest:
    those of INFO where a digest is wished for, those on a condition that was told ``REPEATS`` times within
    an hour, and those beyond ``max_per_hour``; the last two go out at the next digest, hourly without one.

    What was told and what waits is kept in ``path``, so that a restart neither repeats nor loses any. A full
    disk stops no alert: ``on_trouble`` hears of it, and of targets that fail.
    """

    targets: Sequence[Target]
    path: Path
    mode: str
    manners: Manners = Manners()
    on_trouble: Callable[[BotError], None] = lambda _: None
    on_told: Callable[[Message], None] = lambda _: None  # hears each message as it is made
    clock: Callable[[], float] = time.time
    news: News = field(init=False)
    deliveries: Deliveries = field(init=False)
    _state: AlertState = field(init=False)
    _saved_at_s: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        self._state = state = read_alert_state(self.path)
        self.news = News(
            settle_s=self.manners.settle_s,
            gap_s=self.manners.gap_s,
            standing=state.standing,
            watched_at_s=state.watched_at_s,
        )
        self.deliveries = Deliveries(
            targets=self.targets,
            state=state,
            zone=self.manners.zone,
            on_trouble=self.on_trouble,
            on_change=self._save,
            clock=self.clock,
        )

    @property
    def state(self) -> AlertState:
        """All that is remembered, as it is in the file."""
        return self._state

    @property
    def active(self) -> frozenset[str]:
        """The keys of the conditions that stand."""
        return frozenset(self.news.standing)

    @property
    def least(self) -> Severity:
        """The least severity that anybody hears of."""
        return min((item.least for item in self.targets), default=Severity.CRITICAL)

    def observe(
        self,
        conditions: Iterable[Condition],
        *,
        about: str = "",
        unsure: Callable[[str], bool] = lambda _: False,
        not_to: str = "",
    ) -> tuple[Message, ...]:
        """Take the conditions that hold now and queue what is news; return it. See ``News.take``.

        ``not_to`` is the id of a target that does not hear of it.
        """
        now_s, least = self.clock(), self.least
        wanted = [item for item in conditions if item.severity >= least]
        changes = self.news.take(wanted, now_s=now_s, about=about, unsure=unsure)
        self._state.watched_at_s = self.news.watched_at_s
        messages = tuple(self._message(change, now_s, not_to) for change in changes)
        for message in messages:
            self.tell(message)
        if messages or self.news.is_unsaved or now_s - self._saved_at_s >= _SAVED_AGAIN_AFTER_S:
            self._save()
        return messages

    def tell(self, message: Message) -> None:
        """Queue one message at each target that wants it, now or for a digest."""
        self.on_told(message)
        due_s = self._due_s(message)
        for target in self.targets:
            if target.wants(message):
                self.deliveries.put(target.sender.id, message, due_s=due_s)

    def tick(self) -> None:
        """Send the digests that are due, and tell of targets that fail. Call it every second or so."""
        now_s = self.clock()
        quiet = self.manners.quiet
        if quiet is None or quiet.until_s(now_s) is None:
            self._send_digests(now_s)
        for key, target in self._state.targets.items():
            failing_s = now_s - target.failing_since_s  # NaN: it does not fail
            lasts = failing_s >= CHANNEL_AFTER_S
            condition = channel_condition(target, key, failing_s, self.manners.zone) if lasts else None
            if condition is not None or f"channel:{key}" in self.news.standing:
                self.observe([condition] if condition else [], about=f"channel:{key}", not_to=key)

    def alive_due(self) -> bool:
        """Say, once a day, that the daily word is due. The first day of all waits for its time."""
        if self.manners.alive is None:
            return False
        last_s = self.manners.alive.last(self.clock())
        said_s = self._state.alive_at_s
        if math.isnan(said_s) or last_s > said_s:
            self._state.alive_at_s = last_s
            self.news.is_unsaved = True
            return not math.isnan(said_s) and self.clock() - last_s < DAY_S / 2.0
        return False

    async def run(self) -> None:
        """Deliver until cancelled, to each target at its own pace."""
        await self.deliveries.run()

    async def flush(self) -> bool:
        """Deliver what waits, oldest first; return whether every target took all of it."""
        return await self.deliveries.flush()

    def _message(self, change: Change, now_s: float, not_to: str) -> Message:
        return message_of(
            change,
            mode=self.mode,
            at_s=now_s,
            zone=self.manners.zone,
            templates=self.manners.templates,
            not_to=not_to,
        )

    def _due_s(self, message: Message) -> float:
        """Return when a message is to be told: now, or with a digest."""
        now_s, manners = self.clock(), self.manners
        if message.severity is Severity.CRITICAL or message.kind == "alive":
            return now_s
        quiet_until_s = manners.quiet.until_s(now_s) if manners.quiet is not None else None
        if quiet_until_s is not None:
            return quiet_until_s
        if message.severity is Severity.INFO and manners.digest is not None:
            return manners.digest.next(now_s)
        sent = self._state.sent
        sent[:] = [item for item in sent if now_s - HOUR_S < item[0] <= now_s]
        same = sum(1 for _, key in sent if key == message.key)
        if same >= REPEATS or len(sent) >= manners.max_per_hour:
            return (manners.digest or Every(seconds=HOUR_S)).next(now_s)
        sent.append((now_s, message.key))
        return now_s

    def _send_digests(self, now_s: float) -> None:
        for key, target in self._state.targets.items():
            due = [item.message for item in target.gathered if item.due_s <= now_s]
            if not due:
                continue
            target.gathered = [item for item in target.gathered if item.due_s > now_s]
            for message in digests_of(due, mode=self.mode, at_s=now_s, zone=self.manners.zone):
                self.deliveries.put(key, message, due_s=now_s)
            self._save()

    def _save(self) -> None:
        """Write the state. A disk that is full is said, and tried again with the next change."""
        self._saved_at_s = self.clock()
        self.news.is_unsaved = False
        try:
            write_alert_state(self.path, self._state)
        except InvariantError as error:
            self.on_trouble(error)
