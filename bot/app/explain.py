"""Finds the decision that ``alvh explain`` is asked for, and the policy it was made under. Never writes."""

import math
from dataclasses import dataclass
from pathlib import Path

from bot.app.stores import open_journal
from bot.engine.explain import Explanation, explain
from bot.engine.policy import Policy
from bot.engine.policy_vote import under_vote
from bot.errors import BotError, ConfigError, NotFoundError
from bot.model.record import StepRecord
from bot.model.units import iso_utc, parse_utc_s
from bot.pipeline.journal import SqlJournal
from bot.pipeline.playback import read_part
from bot.pipeline.recording import parts
from bot.settings import PRESETS, Settings, load_policy, named_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which decision: the last one at or before a time or a sequence number; the newest without either."""

    at: str | None = None  # ISO 8601, UTC
    sequence: int | None = None

    def __post_init__(self) -> None:
        if self.at is not None and self.sequence is not None:
            raise ConfigError("explain takes either --at or --sequence, not both")
        if self.sequence is not None and self.sequence < 0:
            raise ConfigError(f"--sequence must be 0 or more, was {self.sequence}")

    @property
    def until_s(self) -> float:
        return parse_utc_s(self.at, field="--at") if self.at is not None else math.inf

    def __str__(self) -> str:
        return f"step {self.sequence}" if self.sequence is not None else self.at or "now"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    asked: StepRecord  # may be a heartbeat
    full: StepRecord


def explain_journal(settings: Settings, which: Which, *, mode: str, policy: str | None = None) -> Explanation:
    """Explain a decision of the journal of a mode. Raises NotFoundError when there is none then."""
    with open_journal(settings, mode=mode, read_only=True) as journal:
        found = _of_journal(journal, which, f"the {mode} journal in {settings.state_dir}")
    return _explained(found, policy, settings)


def explain_file(
    path: Path, which: Which, *, settings: Settings | None = None, policy: str | None = None
) -> Explanation:
    """Explain a decision of any journal file, whatever mode, chain and account it is of."""
    with SqlJournal(path, read_only=True) as journal:
        found = _of_journal(journal, which, f"journal {path}")
    return _explained(found, policy, settings)


def explain_recording(
    folder: Path, which: Which, *, settings: Settings | None = None, policy: str | None = None
) -> Explanation:
    """Explain a decision of a recording. Raises NotFoundError when it holds none at or before then."""
    until_s = which.until_s
    asked: StepRecord | None = None
    full: StepRecord | None = None
    last = math.inf if which.sequence is None else which.sequence
    for record in (record for part in parts(folder) for record in read_part(part).records()):
        if record.decision.now_s > until_s or record.sequence > last:
            break
        asked, full = record, full if record.is_heartbeat else record
    return _explained(_checked(asked, full, which, f"recording {folder}"), policy, settings)


def _of_journal(journal: SqlJournal, which: Which, name: str) -> _Found:
    until_s = which.until_s
    asked = journal.step_until(at_s=until_s, sequence=which.sequence)
    full = journal.step_until(at_s=until_s, sequence=which.sequence, full=True)
    return _checked(asked, full, which, name)


def _checked(asked: StepRecord | None, full: StepRecord | None, which: Which, name: str) -> _Found:
    """Refuse what is not there; a sequence number must be met, since the next lower step is another one."""
    if asked is None or full is None:
        raise NotFoundError(f"{name} has no decision at or before {which}")
    if which.sequence is not None and asked.sequence != which.sequence:
        last = f"step {asked.sequence} of {iso_utc(asked.decision.now_s)}"
        raise NotFoundError(f"{name} has no {which}; the one before it is {last}")
    return _Found(asked=asked, full=full)


def _explained(found: _Found, policy: str | None, settings: Settings | None) -> Explanation:
    chosen = _policy_of(found.full, policy, settings)
    return explain(chosen, found.full, shown_for=found.asked)


def _policy_of(record: StepRecord, named: str | None, settings: Settings | None) -> Policy:
    """Return the policy that decided a step: the one that is named, else the configured one, else a preset.

    The first of them stands in where none has that hash; the explanation then says so.
    """
    if named is not None:
        return under_vote(named_policy(named), record.vote)
    wanted = record.decision.policy_hash
    offered = [under_vote(load_policy(settings.policy), record.vote)] if settings is not None else []
    if not offered or offered[0].hash != wanted:
        offered += (under_vote(item, record.vote) for item in _presets())
    return next((item for item in offered if item.hash == wanted), offered[0])


def _presets() -> list[Policy]:
    found = []
    for name in PRESETS:
        try:
            found.append(named_policy(name))
        except BotError:  # a preset that this release cannot run explains nothing
            continue
    return found
