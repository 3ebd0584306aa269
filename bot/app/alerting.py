"""Feeds the alert desk: what each step shows, what goes wrong between steps, and silence."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from bot.alerts.conditions import Condition, Limits, Severity, of_positions, of_step, of_trouble
from bot.alerts.desk import AlertDesk
from bot.alerts.sender import AppriseSender, Delivery, Message
from bot.errors import BotError, ConfigError, DisagreementError
from bot.model.record import StepRecord
from bot.pipeline.loop import Moment
from bot.settings import Settings
from bot.settings.sections import AlertSettings

_CHECK_S = 1.0


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
    _tasks: tuple[asyncio.Task[None], ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._last_step_s = self.clock()

    async def __aenter__(self) -> Self:
        self._last_step_s = self.clock()
        self._tasks = (asyncio.create_task(self.desk.run()), asyncio.create_task(self._watch()))
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        if isinstance(error, BotError):
            self.desk.observe([_stopped(error)], about="stopped")
        await self.desk.flush()

    def step(self, record: StepRecord, moment: Moment) -> None:
        """Take what a step shows. Conditions that it does not show have ended; silence and trouble too."""
        self._last_step_s = self.clock()
        self._last_trouble = ""
        active = self.desk.active
        positions = of_positions(moment.exposures, moment.columns, limits=self.limits, active=active)
        self.desk.observe((*of_step(record), *positions))

    def trouble(self, error: BotError) -> None:
        """Take a failure between steps. Sources that disagree are told at once, the rest if it lasts."""
        self._last_trouble = str(error)
        if isinstance(error, DisagreementError):
            self.desk.observe([of_trouble("sources disagree", str(error))], about="trouble:sources disagree")

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
            self.check_silence()


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
