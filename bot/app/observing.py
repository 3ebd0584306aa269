"""What looks on while a run decides: alerts, metrics, health, log, traces, the supervisor, stalls.

None of it may stop or delay a decision: what fails here is told as a trouble.
"""

import asyncio
import math
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bot.alerts.message import Message
from bot.alerts.words import stall_condition
from bot.app.alerting import Alerting, open_alerting, silent_after_s
from bot.app.follow import Listener
from bot.chain.providers import Providers
from bot.errors import BotError, InUseError, TransientError
from bot.model.record import StepRecord
from bot.model.units import iso_utc
from bot.observe.health import Health, state_of
from bot.observe.logs import EventLog, event_log
from bot.observe.metrics import Metrics, ProviderFigures, TargetFigures
from bot.observe.redaction import Redactor
from bot.observe.server import serving
from bot.observe.stalls import StallWatch
from bot.observe.supervisor import Supervisor
from bot.observe.tracing import tracing
from bot.pipeline.loop import Moment
from bot.ports.spans import Span
from bot.settings import (
    Settings,
    password_of_environment,
    supervisor_of_environment,
)
from bot.settings.secret_values import secrets_in

if TYPE_CHECKING:
    from bot.app.live import Bot

_LEAST_FREE_BYTES = 10_000_000
_STUCK_AFTER_S = 300.0  # a stage that takes longer hangs; beyond what an order may take by the settings
_SILENT_AT_MOST_S = 3_600.0  # without any sign of what follows the chain, it hangs too


@dataclass(slots=True, kw_only=True)
class Observing:
    """Everything that looks on. ``around`` a bot it serves, writes and tells."""

    settings: Settings
    mode: str
    listener: Listener
    alerting: Alerting | None = None
    metrics: Metrics = field(default_factory=Metrics)
    log: EventLog | None = None
    _trace: Span | None = None
    _bot: "Bot | None" = field(default=None, init=False)
    _last: StepRecord | None = field(default=None, init=False)
    _last_step_s: float = field(default=math.nan, init=False)  # monotonic
    _sign_s: float = field(default_factory=time.monotonic, init=False)  # of life, the newest
    _stages: list[float] = field(default_factory=list, init=False)  # when each that is under way began
    _stalls: StallWatch | None = field(default=None, init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)
    _beats: list["asyncio.Task[None]"] = field(default_factory=list, init=False)

    @asynccontextmanager
    async def around(self, bot: "Bot") -> AsyncIterator[None]:
        """Look on while the body runs. Raises ConfigError where the metrics' port cannot be had."""
        self._bot = bot
        bot.on_step = self.step
        bot.pipeline.span = bot.source.span = self.span
        self.metrics.begin(mode=self.mode)
        async with AsyncExitStack() as stack:
            self._stack = stack
            await stack.enter_async_context(self._served())
            if self.alerting is not None:
                await stack.enter_async_context(self.alerting)
            supervisor = _supervisor()
            stack.callback(self._end_beats)
            if supervisor is not None:
                stack.callback(supervisor.tell, "STOPPING=1")
                supervisor.tell("READY=1", f"STATUS=following chain {self.settings.chain.id}")
                self._beats.append(asyncio.create_task(supervisor.watch(self.is_alive)))
            yield

    @asynccontextmanager
    async def starting(self) -> AsyncIterator[None]:
        """Tell when the body, which opens what is to be looked on at, fails: nobody else would hear of it.

        Not so where another process is at work there: it is well, and the alerts are its own.
        """
        try:
            yield
        except InUseError:
            raise
        except Exception as error:
            if self.alerting is not None:
                await self.alerting.tell_failed_start(error)
            raise

    def _end_beats(self) -> None:
        for task in self._beats:
            task.cancel()

    def _served(self) -> AbstractAsyncContextManager[int | None]:
        served = self.settings.metrics
        if served.port is None:
            return nullcontext()
        return serving(
            host=served.host, port=served.port, hosts=served.hosts, metrics=self.text, health=self.health
        )

    def beside(self) -> Listener:
        """Return a listener that tells this one, the alerts, the log and the metrics."""
        listener = self.listener
        if self.alerting is not None:
            listener = self.alerting.beside(listener)

        def trouble(error: BotError) -> None:
            self._sign_s = time.monotonic()
            self.note_trouble(error)
            listener.on_trouble(error)

        def notice(text: str) -> None:
            if self.log is not None:
                self.log.notice(text)
            listener.on_notice(text)

        def progress(done: int, total: int, what: str) -> None:
            self._sign_s = time.monotonic()
            listener.on_progress(done, total, what)

        return replace(listener, on_trouble=trouble, on_notice=notice, on_progress=progress)

    def note_trouble(self, error: BotError) -> None:
        """Count and write a trouble."""
        self.metrics.trouble(error)
        if self.log is not None:
            self.log.trouble(error)

    def step(self, record: StepRecord, moment: Moment) -> None:
        """Take what a step shows."""
        self._last, self._last_step_s = record, time.monotonic()
        self._sign_s = self._last_step_s
        self.metrics.step(record, moment)
        if self.log is not None:
            self.log.step(record)
            self._write_transactions(record, self.log)
        if self.alerting is not None:
            self.alerting.step(record, moment)
        if self._stalls is None:  # from now on: the first step compiles for seconds
            self._stalls = StallWatch(on_stall=self._stalled, on_end=self._went_on)
            self._stack.enter_context(self._stalls.watching())
            self._beats.append(asyncio.create_task(self._stalls.beat()))

    def _write_transactions(self, record: StepRecord, log: EventLog) -> None:
        keys = [item.leg.key for item in record.outcomes if item.tx_hash]
        keys += [item.order.key for item in record.perpetuals if item.tx_hash]
        keys += [item.order.key for item in record.account_orders if item.tx_hash]
        keys += [item.order.key for item in record.covers if item.tx_hash]
        for key in keys:
            for event in self._bot.pipeline.journal.intents(key) if self._bot is not None else ():
                log.transaction(event)

    @contextmanager
    def span(self, stage: str) -> Iterator[None]:
        """Time a stage, and trace it where traces are on."""
        self._stages.append(time.monotonic())
        trace = self._trace(stage) if self._trace is not None else nullcontext()
        try:
            with self.metrics.span(stage), trace:
                yield
        finally:
            self._stages.pop()

    def is_alive(self) -> bool:
        """Say whether steps and heads are handled: no stage hangs, and something was heard lately."""
        now_s = time.monotonic()
        patience_s = max(_STUCK_AFTER_S, 3.0 * self.settings.execution.wait_s)
        stuck = any(now_s - began_s > patience_s for began_s in self._stages)
        return not stuck and now_s - self._sign_s < _SILENT_AT_MOST_S

    def _stalled(self, stalled_s: float, where: str) -> None:
        """Say from the watching thread that the loop stands: on standard error, in the log, to targets."""
        if self.log is not None:
            self.log.stalled(stalled_s, where)
        sys.stderr.write(f"trouble: the program stands still for {stalled_s:.0f} s: {where}\n")
        if self.alerting is not None:
            condition = stall_condition(stalled_s, where, is_over=False)
            message = Message(
                severity=condition.severity,
                about=condition.severity,
                title=f"[alvh {self.mode}] {condition.title}",
                text=condition.text,
                kind=condition.kind,
                key=condition.key,
                at_s=time.time(),
            )
            asyncio.run(_send_now(self.alerting, message))

    def _went_on(self, stalled_s: float, where: str) -> None:
        self.metrics.stalled(stalled_s)
        if self.alerting is not None:
            self.alerting.stalled(stalled_s, where)
        self.listener.on_trouble(TransientError(f"the program stood still for {stalled_s:.1f} s: {where}"))

    def health(self) -> Health:
        """Return how the run stands now."""
        age_s = time.monotonic() - self._last_step_s
        within_s = silent_after_s(self.settings)
        writable = self._journal_writable()
        state = state_of(age_s=age_s, fresh_within_s=within_s, journal_writable=writable)
        last = self._last
        return Health(
            mode=self.mode,
            state=state,
            last_decision_age_s=age_s,
            fresh_within_s=within_s,
            sequence=last.sequence if last is not None else 0,
            holds=last.decision.holds if last is not None else (),
            journal_writable=writable,
            alerts=[_target_table(item) for item in self._targets()],
            sentence=_sentence(state, age_s, last),
        )

    def text(self) -> bytes:
        """Return the metrics, with what is only looked up when somebody asks."""
        alerting = self.alerting
        standing = {"info": 0, "warning": 0, "critical": 0}
        if alerting is not None:
            for told in alerting.desk.state.standing.values():
                standing[told.severity.name.lower()] += 1
            if alerting.heartbeat is not None:
                self.metrics.heartbeat(alerting.heartbeat.state.last_success_s)
        self.metrics.alerts(self._targets(), standing=standing)
        self.metrics.providers(self._providers())
        self.metrics.journal_writable(self._journal_writable())
        self.metrics.log_failures(self.log.failures if self.log is not None else 0)
        with suppress(BotError):  # a journal that cannot be read now is told by the loop
            self.metrics.open_orders(self._open_orders())
        return self.metrics.text()

    def _open_orders(self) -> Mapping[str, int]:
        if self._bot is None:
            return {}
        journal = self._bot.pipeline.journal
        return {
            "option": len(journal.open_legs()),
            "perpetual": len(journal.open_perpetuals()),
            "account": len(journal.open_account_orders()),
            "cover": len(journal.open_covers()),
        }

    def _targets(self) -> Sequence[TargetFigures]:
        if self.alerting is None:
            return ()
        return [
            TargetFigures(
                name=item.name,
                waiting=len(item.waiting) + len(item.gathered),
                delivered=item.delivered,
                failures=item.failures,
                failing_since_s=item.failing_since_s,
            )
            for item in self.alerting.desk.state.targets.values()
        ]

    def _providers(self) -> Iterator[ProviderFigures]:
        node = self._bot.node if self._bot is not None else None
        if isinstance(node, Providers):
            for place, item in enumerate(node.status()):
                yield ProviderFigures(
                    chain=self.settings.chain.id,
                    place=place,
                    usable=item.usable,
                    benched=item.benched,
                    head=item.head,
                    latency_s=item.latency_s,
                    failures=item.failures,
                )

    def _journal_writable(self) -> bool:
        folder = self.settings.state_dir
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            return False
        return free >= _LEAST_FREE_BYTES and os.access(folder, os.W_OK | os.X_OK)


@contextmanager
def open_observing(settings: Settings, *, mode: str, listener: Listener) -> Iterator[Observing]:
    """Open what is to look on at a run. Raises ConfigError for what cannot be opened."""
    made = Observing(settings=settings, mode=mode, listener=listener)
    with ExitStack() as stack:
        if settings.logs.file is not None:
            made.log = stack.enter_context(
                event_log(
                    settings.logs.file,
                    level=settings.logs.level,
                    max_bytes=int(settings.logs.max_mb * 1e6),
                    keep=settings.logs.keep,
                    redactor=Redactor(_secrets(settings)),
                    on_trouble=listener.on_trouble,
                )
            )
        if settings.tracing.endpoint is not None:
            endpoint = settings.tracing.endpoint.get_secret_value()
            made._trace = stack.enter_context(tracing(endpoint, mode=mode))
        made.alerting = open_alerting(
            settings, mode=mode, on_trouble=_heard(made), on_told=lambda message: _told(made, message)
        )
        yield made


def _secrets(settings: Settings) -> tuple[str, ...]:
    password = password_of_environment()
    return (*secrets_in(settings), *((password.get_secret_value(),) if password is not None else ()))


def _heard(observing: Observing) -> Callable[[BotError], None]:
    """Return what hears of the alerts' own troubles: not the alerts, which would tell of themselves."""

    def hear(error: BotError) -> None:
        observing.note_trouble(error)
        observing.listener.on_trouble(error)

    return hear


def _told(observing: Observing, message: Message) -> None:
    if observing.log is not None:
        severity = message.severity.name.lower()
        observing.log.alert(severity=severity, kind=message.kind, key=message.key, title=message.title)


async def _send_now(alerting: Alerting, message: Message) -> None:
    """Send from a loop of its own, past the queues: the loop that they are in stands still."""
    wanted = [item.sender for item in alerting.desk.targets if item.wants(message)]
    await asyncio.gather(*(item.send(message) for item in wanted))


def _supervisor() -> Supervisor | None:
    address, watchdog_s = supervisor_of_environment()
    return Supervisor(address=address, watchdog_s=watchdog_s) if address else None


def _target_table(item: TargetFigures) -> dict[str, object]:
    failing = not math.isnan(item.failing_since_s)
    return {
        "target": item.name,
        "failing_since": iso_utc(item.failing_since_s) if failing else None,
        "waiting": item.waiting,
    }


def _sentence(state: str, age_s: float, last: StepRecord | None) -> str:
    if last is None:
        return "starting: no decision yet"
    tiers = ", ".join(f"{item.shown_tier.name} {item.group}" for item in last.decision.groups)
    held = "; HOLD" if last.decision.holds else ""
    return f"{state}: step {last.sequence} is {age_s:.0f} s old, {tiers or 'no position'}{held}"
