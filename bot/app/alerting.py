"""Feeds the alert desk: what each step shows, what goes wrong between steps, and silence."""

import asyncio
import math
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from bot.alerts.condition import Condition
from bot.alerts.conditions import Limits, of_positions, of_step, unsure_of
from bot.alerts.desk import AlertDesk
from bot.alerts.heartbeat import Heartbeat
from bot.alerts.message import Message
from bot.alerts.state import alert_state_path
from bot.alerts.words import (
    alive_message,
    disagreement_condition,
    failed_start_condition,
    no_room_condition,
    silence_condition,
    stall_condition,
    stopped_condition,
    stuck_condition,
)
from bot.app.alert_parts import manners_of, targets_of
from bot.app.follow import Listener
from bot.errors import (
    BotError,
    ConfigError,
    DeadlineError,
    DisagreementError,
    NoSpaceError,
    OutcomeUnknown,
    TransientError,
)
from bot.model.record import StepRecord
from bot.pipeline.loop import Moment
from bot.settings import Settings

_CHECK_S = 1.0
_LAST_WORDS_S = 60.0  # at the end, for what still waits
# The providers tell of a lasting disagreement once a minute: it has ended when that did not come for longer.
_DISAGREEMENT_STANDS_S = 150.0


@dataclass(slots=True, kw_only=True)
class Alerting:
    """Use as an async context manager around a run.

    Without a step for ``silent_after_s`` seconds of our clock, silence itself is told, with the last trouble:
    a bot that cannot see must not look like one that sees nothing (REL-I13).
    """

    desk: AlertDesk
    limits: Limits
    silent_after_s: float
    heartbeat: Heartbeat | None = None
    clock: Callable[[], float] = time.monotonic
    _last_step_s: float = field(init=False)
    _has_stepped: bool = field(default=False, init=False)
    _last: StepRecord | None = field(default=None, init=False)
    _last_trouble: str = field(default="", init=False)
    _disagreement: Condition | None = field(default=None, init=False)
    _disagreed_at_s: float = field(default=-math.inf, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._last_step_s = self.clock()

    async def __aenter__(self) -> Self:
        self._last_step_s = self.clock()
        self._tasks = [asyncio.create_task(work()) for work in self._works]
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if isinstance(error, Exception):
            self._ended(error)
        await self._last_words()

    async def tell_failed_start(self, error: Exception) -> None:
        """Tell why there is nothing to look on at."""
        self._ended(error)
        await self._last_words()

    def _ended(self, error: Exception) -> None:
        why = words_of(error)
        if isinstance(error, NoSpaceError):
            ended = no_room_condition(error)
        elif self._has_stepped:
            ended = stopped_condition(why)
        else:
            ended = failed_start_condition(why, is_final=isinstance(error, ConfigError))
        self.desk.observe([ended], about=ended.key)

    async def _last_words(self) -> None:
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self.desk.flush()
        except TimeoutError:
            self.desk.on_trouble(DeadlineError("alerts were left over at the end; the next start sends them"))

    def beside(self, listener: Listener) -> Listener:
        """Return a listener that also tells this one. While the history is filled, the bot is not silent."""

        def progress(done: int, total: int, what: str) -> None:
            self._last_step_s = self.clock()
            listener.on_progress(done, total, what)

        return replace(listener, on_trouble=both(listener.on_trouble, self.trouble), on_progress=progress)

    def step(self, record: StepRecord, moment: Moment) -> None:
        """Take what a step shows. Conditions that it does not show have ended; silence and trouble too."""
        self._last_step_s, self._has_stepped, self._last = self.clock(), True, record
        self._last_trouble = ""
        self._revive()
        active, exposures = self.desk.active, moment.exposures
        positions = of_positions(exposures, moment.columns, limits=self.limits, active=active)
        holds = (*record.decision.holds, *moment.holds)
        self.desk.observe(
            (*of_step(record), *positions, *self._lasting()),
            unsure=lambda key: (
                key.startswith("channel:") or unsure_of(key, record, exposures, active_holds=holds)
            ),
        )

    @property
    def is_fresh(self) -> bool:
        """Whether a decision was made lately; false before the first one."""
        return self._has_stepped and self.clock() - self._last_step_s < self.silent_after_s

    @property
    def _works(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        works = [self.desk.run, self._watch]
        if (heartbeat := self.heartbeat) is not None:
            works.append(lambda: heartbeat.run(lambda: self.is_fresh))
        return tuple(works)

    def _revive(self) -> None:
        """Start anew what died in the background, and say so: without alerts a run looks quiet."""
        for place, task in enumerate(self._tasks):
            if task.done() and not task.cancelled():
                why = f"{task.exception()!r:.200}"
                self.desk.on_trouble(TransientError(f"the alerts had stopped and are started anew: {why}"))
                self._tasks[place] = asyncio.create_task(self._works[place]())

    def trouble(self, error: BotError) -> None:
        """Take a failure between steps, or in one. Told at once: a full disk, sources that disagree, a
        transaction that is held up; the rest if it lasts."""
        self._last_trouble = str(error)
        if isinstance(error, OutcomeUnknown):
            self.desk.observe([stuck_condition(error.key, str(error))], about=f"stuck:{error.key}")
        if isinstance(error, NoSpaceError):
            self.desk.observe([no_room_condition(error)], about="silence")
        if isinstance(error, DisagreementError):
            self._disagreed_at_s = self.clock()
            self._disagreement = disagreement_condition(str(error))
            self.desk.observe([self._disagreement], about=self._disagreement.key)

    def stalled(self, stalled_s: float, where: str) -> None:
        """Tell that the loop stood still, once it comes round again."""
        self.desk.observe([stall_condition(stalled_s, where, is_over=True)], about="stall")

    def _lasting(self) -> tuple[Condition, ...]:
        """Return the disagreement for as long as it was heard of lately."""
        lasts = self.clock() - self._disagreed_at_s < _DISAGREEMENT_STANDS_S
        return (self._disagreement,) if lasts and self._disagreement is not None else ()

    def check_silence(self) -> None:
        """Tell silence once it has lasted."""
        silent_s = self.clock() - self._last_step_s
        if silent_s >= self.silent_after_s:
            why = self._last_trouble or "no new block came"
            self.desk.observe([silence_condition(silent_s, why)], about="silence")

    def check_alive(self) -> None:
        """Say once a day that the bot is there, while it decides."""
        if self.desk.alive_due() and self.is_fresh and self._last is not None:
            self.desk.tell(self._alive(self._last))

    def _alive(self, record: StepRecord) -> Message:
        words = [
            f"{item.shown_tier.name} {item.group}: {item.covered_share:.1%} of the value at risk protected, "
            f"{item.wanted_share:.1%} wanted"
            for item in record.decision.groups
        ]
        words += [f"HOLD: {reason}" for reason in record.decision.holds]
        words.append(f"hedges worth {record.hedge_value_usd:,.0f} USD, step {record.sequence}")
        desk = self.desk
        return alive_message(words, desk.state, mode=desk.mode, at_s=desk.clock(), zone=desk.manners.zone)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            self.check_silence()
            self.check_alive()
            self.desk.tick()


def words_of(error: Exception) -> str:
    """Return what a person may read of any error. The text of one that is a bug may hold a secret."""
    if isinstance(error, BotError):
        return str(error)
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    where = f" at {Path(last.filename).name}:{last.lineno}" if last is not None else ""
    return f"{type(error).__name__}{where}, which is a bug; standard error has all of it"


def both(first: Callable[[BotError], None], second: Callable[[BotError], None]) -> Callable[[BotError], None]:
    """Return what tells two listeners."""

    def tell(error: BotError) -> None:
        first(error)
        second(error)

    return tell


def silent_after_s(settings: Settings) -> float:
    """Return after how long without a decision the bot counts as silent: at least three polls."""
    return max(settings.alerts.silent_after_s, 3.0 * settings.chain.poll_s)


def open_alerting(
    settings: Settings,
    *,
    mode: str,
    on_trouble: Callable[[BotError], None],
    on_told: Callable[[Message], None] = lambda _: None,
) -> Alerting | None:
    """Return what tells of a run; None where nobody is to be told. Raises ConfigError."""
    alerts = settings.alerts
    targets = targets_of(alerts)
    if not targets and alerts.heartbeat_url is None:
        return None
    desk = AlertDesk(
        targets=targets,
        path=alert_state_path(settings.state_dir, mode=mode),
        mode=mode,
        manners=manners_of(alerts),
        on_trouble=on_trouble,
        on_told=on_told,
    )
    limits = Limits(health_factor=alerts.health_factor, range_margin=alerts.range_margin, rearm=alerts.rearm)
    return Alerting(
        desk=desk,
        limits=limits,
        silent_after_s=silent_after_s(settings),
        heartbeat=_heartbeat(settings, desk, on_trouble),
    )


def _heartbeat(
    settings: Settings, desk: AlertDesk, on_trouble: Callable[[BotError], None]
) -> Heartbeat | None:
    url = settings.alerts.heartbeat_url
    if url is None:
        desk.state.heartbeat = None
        return None
    beat = Heartbeat(
        url=url.get_secret_value(),
        every_s=settings.alerts.heartbeat_every_s,
        clock=desk.clock,
        on_trouble=on_trouble,
    )
    desk.state.heartbeat = beat.state
    return beat
