"""JSON lines for machines: decisions, orders, transactions, troubles, alerts, and what libraries say.

The journal is the record; the log is for looking through it with other tools. Every line passes the
redaction. A log that cannot be written stops nothing: that is said once, and counted.
"""

import logging
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

from bot.errors import BotError, ConfigError, TransientError
from bot.model.hedge import LegOutcome
from bot.model.intent import IntentEvent
from bot.model.record import StepRecord
from bot.model.units import iso_utc
from bot.observe.redaction import Redactor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_OURS = "alvh"
_LIBRARIES_AT_LEAST = logging.WARNING  # what they say below it is noise
_Table = MutableMapping[str, Any]


class LogFile(RotatingFileHandler):
    """A file that only its owner reads, also after it was rotated; a failure to write is told once."""

    def __init__(
        self, path: Path, *, max_bytes: int, keep: int, on_trouble: Callable[[BotError], None]
    ) -> None:
        self.failures = 0
        self._on_trouble = on_trouble
        super().__init__(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        opened = os.open(self.baseFilename, flags, 0o600)
        if stat.S_ISREG(os.fstat(opened).st_mode):
            os.fchmod(opened, 0o600)
        return open(opened, "a", encoding="utf-8")

    def close(self) -> None:
        """Close it; what a full disk did not take of the last line is lost, and counted."""
        try:
            super().close()
        except OSError:
            self._lost()

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a line that was not written, and say so when it begins."""
        del record
        self._lost()

    def _lost(self) -> None:
        self.failures += 1
        if self.failures > 1:
            return
        error = sys.exc_info()[1]
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        self._on_trouble(
            TransientError(f"log {self.baseFilename} cannot be written: {why}; decisions go on without it")
        )


class EventLog:
    """What is written of a run, one line for each."""

    def __init__(self, file: LogFile, logger: Any) -> None:
        self._file = file
        self._log = logger

    @property
    def failures(self) -> int:
        """How many lines were lost."""
        return self._file.failures

    def step(self, record: StepRecord) -> None:
        """Write a decision and what became of each order in it."""
        decision = record.decision
        self._log.info(
            "decision",
            mode=record.mode,
            sequence=record.sequence,
            decided_at=iso_utc(decision.now_s),
            blocks={str(chain): number for chain, number in decision.blocks.items()},
            policy_hash=decision.policy_hash,
            frame_hash=record.frame_hash,
            tiers={item.group: item.shown_tier.name for item in decision.groups},
            because={item.group: item.because for item in decision.groups},
            holds=list(decision.holds),
            legs=len(decision.plan.legs),
            hedge_value_usd=_known(record.hedge_value_usd),
            cash_flow_usd=_known(record.cash_flow_usd),
            heartbeat=record.is_heartbeat,
        )
        for leg in record.outcomes:
            self._leg(leg)
        for kind, others in (
            ("perpetual", record.perpetuals),
            ("account", record.account_orders),
            ("cover", record.covers),
        ):
            for item in others:
                self._log.info(
                    "order",
                    kind=kind,
                    key=item.order.key,
                    group=item.order.group,
                    status=item.status.value,
                    gas_usd=_known(item.gas_usd),
                    tx_hash=item.tx_hash,
                    because=item.because,
                )

    def _leg(self, outcome: LegOutcome) -> None:
        leg = outcome.leg
        self._log.info(
            "order",
            kind="option",
            key=leg.key,
            group=leg.group,
            layer=leg.layer.value,
            side=leg.side.value,
            instrument=leg.instrument.label,
            venue=leg.instrument.venue,
            status=outcome.status.value,
            size=outcome.filled_size,
            premium_usd=_known(outcome.premium_usd),
            gas_usd=_known(outcome.gas_usd),
            tx_hash=outcome.tx_hash,
            because=outcome.because,
        )

    def transaction(self, event: IntentEvent) -> None:
        """Write a step in the life of a transaction; never its bytes."""
        self._log.info(
            "transaction",
            key=event.key,
            purpose=event.purpose,
            at=iso_utc(event.at_s),
            state=event.state.value,
            chain=event.chain_id,
            nonce=event.nonce,
            to=event.to,
            tx_hash=event.tx_hash,
            because=event.because,
        )

    def trouble(self, error: BotError) -> None:
        self._log.warning("trouble", kind=type(error).__name__, text=str(error))

    def notice(self, text: str) -> None:
        self._log.info("notice", text=text)

    def alert(self, *, severity: str, kind: str, key: str, title: str) -> None:
        self._log.info("alert", severity=severity, kind=kind, key=key, title=title)

    def stalled(self, seconds: float, where: str) -> None:
        self._log.error("stall", seconds=round(seconds, 1), where=where)


@contextmanager
def event_log(
    path: Path,
    *,
    level: str,
    max_bytes: int,
    keep: int,
    redactor: Redactor,
    on_trouble: Callable[[BotError], None],
) -> Iterator[EventLog]:
    """Write to a file while the body runs. Raises ConfigError where it cannot be opened at the start."""
    try:
        file = LogFile(path, max_bytes=max_bytes, keep=keep, on_trouble=on_trouble)
    except OSError as error:
        raise ConfigError(
            f"log {path} cannot be opened: {error.strerror}; name another file as logs.file or --log-file"
        ) from None
    file.setFormatter(_formatter(redactor))
    file.setLevel(LEVELS[level])
    own, root = logging.getLogger(_OURS), logging.getLogger()
    before = own.level, own.propagate, root.level
    own.setLevel(LEVELS[level])
    own.propagate = False
    library = _Libraries(file)
    own.addHandler(file)
    root.addHandler(library)
    try:
        yield EventLog(file, _logger(own))
    finally:
        own.removeHandler(file)
        root.removeHandler(library)
        own.level, own.propagate, root.level = before
        file.close()


class _Libraries(logging.Handler):
    """Hands what libraries say to the file, from warnings on."""

    def __init__(self, file: LogFile) -> None:
        super().__init__(max(_LIBRARIES_AT_LEAST, file.level))
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        self._file.handle(record)


def _logger(own: logging.Logger) -> Any:
    return structlog.wrap_logger(
        own,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _formatter(redactor: Redactor) -> structlog.stdlib.ProcessorFormatter:
    def redacted(_: Any, __: str, table: _Table) -> _Table:
        return {name: redactor.value(name, value) for name, value in table.items()}

    def finite(_: Any, __: str, table: _Table) -> _Table:
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in table.items()
        }

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redacted,
            finite,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
