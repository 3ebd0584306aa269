"""Feeds the alert desk: what each step shows, what goes wrong between steps, and silence."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Self

from bot.alerts.conditions import (
    Condition,
    Limits,
    Severity,
    of_positions,
    of_step,
    of_trouble,
    unsure_of,
)
from bot.alerts.desk import AlertDesk
from bot.alerts.sender import AppriseSender, Delivery, Message
from bot.app.follow import Listener
from bot.errors import BotError, ConfigError, DeadlineError, DisagreementError, InvariantError, TransientError
from bot.model.record import StepRecord
from bot.pipeline.loop import Moment
from bot.settings import Settings
from bot.settings.sections import AlertSettings

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
    clock: Callable[[], float] = time.monotonic
    _last_step_s: float = field(init=False)
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
        if isinstance(error, BotError):
            self.desk.observe([_stopped(error)], about="stopped")
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
        self._last_step_s = self.clock()
        self._last_trouble = ""
        self._revive()
        active, exposures = self.desk.active, moment.exposures
        positions = of_positions(exposures, moment.columns, limits=self.limits, active=active)
        holds = (*record.decision.holds, *moment.holds)
        self.desk.observe(
            (*of_step(record), *positions, *self._lasting()),
            unsure=lambda key: unsure_of(key, record, exposures, active_holds=holds),
        )

    @property
    def _works(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        return self.desk.run, self._watch

    def _revive(self) -> None:
        """Start anew what died in the background, and say so: without alerts a run looks quiet."""
        for place, task in enumerate(self._tasks):
            if task.done() and not task.cancelled():
                why = f"{task.exception()!r:.200}"
                self.desk.on_trouble(TransientError(f"the alerts had stopped and are started anew: {why}"))
                self._tasks[place] = asyncio.create_task(self._works[place]())

    def trouble(self, error: BotError) -> None:
        """Take a failure between steps. Sources that disagree are told at once, the rest if it lasts."""
        self._last_trouble = str(error)
        if isinstance(error, DisagreementError):
            self._disagreed_at_s = self.clock()
            self._disagreement = of_trouble("sources disagree", str(error))
            self.desk.observe([self._disagreement], about=self._disagreement.key)

    def _lasting(self) -> tuple[Condition, ...]:
        """Return the disagreement for as long as it was heard of lately."""
        lasts = self.clock() - self._disagreed_at_s < _DISAGREEMENT_STANDS_S
        return (self._disagreement,) if lasts and self._disagreement is not None else ()

    def check_silence(self) -> None:
        """Tell silence once it has lasted."""
        silent_s = self.clock() - self._last_step_s
        if silent_s < self.silent_after_s:
            return
        why = self._last_trouble or "no new block came"
        text = (
            f"The last decision is {silent_s:.0f} s old: {why}. Held hedges stay as they are and nothing is "
            "opened or rolled meanwhile. Check the node with alvh doctor."
        )
        self.desk.observe([of_trouble("silence", text, severity=Severity.CRITICAL)], about="trouble:silence")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            try:
                self.check_silence()
            except InvariantError as error:  # its state cannot be written: said, and tried again
                self.desk.on_trouble(error)


def both(first: Callable[[BotError], None], second: Callable[[BotError], None]) -> Callable[[BotError], None]:
    """Return what tells two listeners."""

    def tell(error: BotError) -> None:
        first(error)
        second(error)

    return tell


def open_alerting(
    settings: Settings, *, mode: str, on_trouble: Callable[[BotError], None]
) -> Alerting | None:
    """Return what tells of a run; None where no target is configured. Raises ConfigError."""
    alerts = settings.alerts
    if not alerts.urls:
        return None
    desk = AlertDesk(
        sender=_sender(alerts),
        path=settings.state_dir / f"alerts-{mode}.json",
        mode=mode,
        least=Severity[alerts.least.upper()],
        on_trouble=on_trouble,
    )
    limits = Limits(health_factor=alerts.health_factor, range_margin=alerts.range_margin, rearm=alerts.rearm)
    silent_after_s = max(alerts.silent_after_s, 3.0 * settings.chain.poll_s)
    return Alerting(desk=desk, limits=limits, silent_after_s=silent_after_s)


async def send_test(alerts: AlertSettings) -> tuple[Delivery, ...]:
    """Send one message to every target. Raises ConfigError when there is none."""
    if not alerts.urls:
        raise ConfigError(
            "alerts.urls names no target; add an address that apprise knows, for example "
            'urls = ["${ALERT_URL}"] under [alerts]'
        )
    text = "This is a test. Alerts of the bot will come here."
    return await _sender(alerts).send(Message(severity=Severity.INFO, title="[alvh] test", text=text))


def _sender(alerts: AlertSettings) -> AppriseSender:
    return AppriseSender([url.get_secret_value() for url in alerts.urls])


def _stopped(error: BotError) -> Condition:
    return Condition(
        key="stopped",
        severity=Severity.CRITICAL,
        title="the bot has stopped",
        text=f"{error}. Held hedges stay on chain and are not managed until it is started again.",
        once=True,
    )
