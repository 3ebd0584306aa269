"""What is read from journals: status, explain and report. Never writes."""

from dataclasses import dataclass

from bot.app.live import open_journal
from bot.errors import NotFoundError
from bot.model.record import StepRecord
from bot.model.units import HOUR_S, parse_utc_s
from bot.pipeline.journal import SqlJournal
from bot.settings import Settings
from bot.simulation.report_data import ReportData, from_steps

_FULL_EVERY_S = 2 * HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a journal says now."""

    last: StepRecord
    last_full: StepRecord
    running: bool


def status(settings: Settings, *, mode: str) -> Status:
    """Return the newest record of a journal. Raises NotFoundError when there is none."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        last = journal.last_step()
        running = journal.is_written_by_another()
        if last is None:
            raise NotFoundError(f"the {mode} journal in {settings.state_dir} has no step yet; start alvh run")
        full = _last_full(journal, until_s=last.decision.now_s)
    return Status(last=last, last_full=full or last, running=running)


def decision_at(settings: Settings, *, mode: str, at: str | None) -> StepRecord:
    """Return the last full record at or before a time. Raises NotFoundError when there is none."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        last = journal.last_step()
        until_s = parse_utc_s(at, field="--at") if at is not None else last.decision.now_s if last else 0.0
        found = _last_full(journal, until_s=until_s)
    if found is None:
        raise NotFoundError(
            f"the {mode} journal in {settings.state_dir} has no decision at or before {at or 'now'}"
        )
    return found


def _last_full(journal: SqlJournal, *, until_s: float) -> StepRecord | None:
    """Return the last full record at or before a time; one is written every hour at least, while it runs."""
    for since_s in (until_s - _FULL_EVERY_S, 0.0):
        found = None
        for record in journal.steps(since_s=since_s):
            if record.decision.now_s > until_s:
                break
            found = found if record.is_heartbeat else record
        if found is not None:
            return found
    return None


def journal_report(settings: Settings, *, mode: str) -> ReportData:
    """Return the report of everything a journal holds. Raises NotFoundError when it has no step."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        records = list(journal.steps())
    return from_steps(records, title=f"{mode} on chain {settings.chain.id}")
