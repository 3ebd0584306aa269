"""What is read from journals: status, explain and report. Never writes."""

from dataclasses import dataclass

from bot.app.live import open_journal
from bot.errors import NotFoundError
from bot.model.record import StepRecord
from bot.model.units import parse_utc_s
from bot.settings import Settings
from bot.simulation.report_data import ReportData, from_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a journal says now."""

    last: StepRecord
    last_full: StepRecord
    running: bool


def status(settings: Settings, *, mode: str) -> Status:
    """Return the newest record of a journal. Raises NotFoundError when there is none."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        records = list(journal.steps())
        running = journal.is_written_by_another()
    if not records:
        raise NotFoundError(f"the {mode} journal in {settings.state_dir} has no step yet; start alvh run")
    full = [record for record in records if not record.is_heartbeat]
    return Status(last=records[-1], last_full=full[-1] if full else records[-1], running=running)


def decision_at(settings: Settings, *, mode: str, at: str | None) -> StepRecord:
    """Return the last full record at or before a time. Raises NotFoundError when there is none."""
    until_s = float("inf") if at is None else parse_utc_s(at, field="--at")
    with open_journal(settings, mode=mode, read_only=True) as journal:
        records = [
            record
            for record in journal.steps()
            if not record.is_heartbeat and record.decision.now_s <= until_s
        ]
    if not records:
        raise NotFoundError(f"the {mode} journal in {settings.state_dir} has no decision at or before {at}")
    return records[-1]


def journal_report(settings: Settings, *, mode: str) -> ReportData:
    """Return the report of everything a journal holds. Raises NotFoundError when it has no step."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        records = list(journal.steps())
    return from_steps(records, title=f"{mode} on chain {settings.chain.id}")
