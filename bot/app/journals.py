"""What is read from journals: status and report; and the journal of a backtest, written at its end."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bot.alerts.state import AlertState, alert_state_path, read_alert_state
from bot.app.policy import keys_decided_by
from bot.app.stores import open_journal
from bot.errors import ConfigError, NotFoundError
from bot.model.record import StepRecord
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.pipeline.recorded_orders import JournalOrders
from bot.settings import Settings
from bot.simulation.report.data import ReportData
from bot.simulation.report.journal import from_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a journal says now."""

    last: StepRecord
    last_full: StepRecord
    running: bool
    alerts: AlertState


def status(settings: Settings, *, mode: str) -> Status:
    """Return the newest record of a journal. Raises NotFoundError when there is none."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        last = journal.last_step()
        running = journal.is_written_by_another()
        if last is None:
            raise NotFoundError(f"the {mode} journal in {settings.state_dir} has no step yet; start alvh run")
        full = journal.step_until(full=True)
    alerts = read_alert_state(alert_state_path(settings.state_dir, mode=mode))
    return Status(last=last, last_full=full or last, running=running, alerts=alerts)


def journal_report(settings: Settings, *, mode: str) -> ReportData:
    """Return the report of everything a journal holds. Raises NotFoundError when it has no step."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        records, orders = list(journal.steps()), JournalOrders.of(journal)
    policy = keys_decided_by(settings.policy, records[-1].decision.policy_hash) if records else {}
    return from_steps(records, title=f"{mode} on chain {settings.chain.id}", orders=orders, policy=policy)


def new_journal(path: Path) -> None:
    """Make the file of a backtest's journal before the work. Raises ConfigError when it is there already."""
    if path.exists():
        raise ConfigError(f"--journal {path} exists already: name a new file")
    write_journal(path, ())


def write_journal(path: Path, records: Iterable[StepRecord]) -> None:
    """Append the steps of a backtest to its journal. Raises ConfigError when it cannot be written."""
    identity = JournalIdentity(mode="backtest", chain_id=0, account="")
    with SqlJournal(path, identity=identity) as journal:
        for record in records:
            journal.append_step(record)
