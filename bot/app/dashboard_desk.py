"""What the dashboard reads, without a right to write: journal, history, alert state, reports, the pause.

A thread looks every half second and reads only what is new; pages get the newest look from memory, so that
no number of readers reaches the database. The one thing that is written is the pause, the file of
``alvh pause``.
"""

import asyncio
import math
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path

from bot.alerts.state import alert_state_path, read_alert_state
from bot.app.stores import history_place, open_journal
from bot.chain.pause import Pause, read_pause, write_pause
from bot.dashboard.past import Past
from bot.dashboard.snapshot import ChannelState, Place, ReportFile, Snapshot
from bot.errors import BotError, ConfigError, NotFoundError
from bot.model.intent import IntentEvent
from bot.model.record import StepRecord
from bot.model.units import DAY_S
from bot.pipeline.desk import Desk as OrdersDesk
from bot.pipeline.history_look import HistoryLook, HistoryLooker
from bot.pipeline.journal import SqlJournal
from bot.pipeline.recorded_orders import JournalOrders
from bot.settings import DEFAULT_CONFIG, Settings

LOOK_EVERY_S = 0.5
_PAST_S = 30.0 * DAY_S  # that the charts show
_RARELY_S = 5.0  # between looks at what changes seldom: reports, disk
_TITLE = re.compile(rb"<title>([^<]{1,300})</title>", re.IGNORECASE)
_TITLE_WITHIN = 4_096
_FORMS = ("*.html", "*.json", "*/*.html", "*/*.json")
_MOST_REPORTS = 200
_MOST_REPORT_BYTES = 64 * 1_024 * 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What one look found that the one before had not; None: as it was."""

    problem: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    fresh: tuple[StepRecord, ...] = ()  # oldest first
    last: StepRecord | None = None
    full: StepRecord | None = None
    orders: JournalOrders | None = None
    intents: tuple[IntentEvent, ...] | None = None
    running: bool = False
    is_another: bool = False  # a journal that was not looked at before: nothing of the old one counts
    pause: Pause | None = None
    asked: tuple[str, ...] = ()
    history: HistoryLook | None = None
    history_problem: str = ""
    alerts: ChannelState
    free_bytes: int = -1
    reports: tuple[ReportFile, ...] = ()


class JournalDesk:
    """Implements ``bot.dashboard.snapshot.Desk`` over the state folder of one mode."""

    def __init__(self, settings: Settings, *, mode: str, place: Place) -> None:
        self._settings = settings
        self._mode = mode
        self._place = place
        self._journal: SqlJournal | None = None
        self._history = HistoryLooker(history_place(settings), who="alvh dashboard")
        self._rows: Mapping[str, int] = {}
        self._after: StepRecord | None = None  # the newest that is in the past
        self._past = Past()
        self._now = Snapshot(version="0", looked_at_s=time.time())
        self._shown: tuple[object, ...] = ()
        self._number = 0
        self._rare: tuple[float, int, tuple[ReportFile, ...]] = (-math.inf, -1, ())
        self._written_at_s = math.nan
        self._file: tuple[int, int] | None = None  # which file the journal is, by device and inode

    @property
    def place(self) -> Place:
        return self._place

    def look(self) -> Snapshot:
        return self._now

    def pause(self, *, by: str, why: str) -> Pause:
        there = write_pause(self._settings.state_dir, Pause(who=by, at_s=time.time(), why=why))
        self._number += 1
        self._now = replace(self._now, pause=there, version=f"{self._number}p")
        return there

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Look once."""
        self._take(await asyncio.to_thread(self._read))

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._history.close()

    # in a thread: reads, and changes nothing that a page looks at

    def _read(self) -> _Read:
        state_dir = self._settings.state_dir
        _, free_bytes, reports = self._read_rarely()
        around = _Read(
            pause=read_pause(state_dir),
            asked=_asked(state_dir, self._mode),
            alerts=_alerts(self._settings, self._mode),
            free_bytes=free_bytes,
            reports=reports,
        )
        try:
            found = self._read_journal(around)
        except NotFoundError:
            found = around
        except BotError as error:
            self.close()
            return replace(around, problem=str(error))
        try:
            return replace(found, history=self._history.look())
        except BotError as error:  # what the journal says is shown all the same
            return replace(found, history_problem=str(error))

    def _read_journal(self, around: _Read) -> _Read:
        file = _file_of(self._settings, self._mode)
        is_another = file != self._file
        if is_another:
            self.close()
        if self._journal is None:
            self._journal = open_journal(self._settings, mode=self._mode, read_only=True)
        journal = self._journal
        running, rows = journal.is_written_by_another(), journal.newest_rows()
        found = replace(around, rows=rows, running=running, is_another=is_another)
        if rows == self._rows and not is_another:
            return found
        if is_another or rows.get("steps") != self._rows.get("steps"):
            found = _with_steps(found, journal, None if is_another else self._after)
        found = replace(found, orders=JournalOrders.of(journal), intents=journal.intents())
        self._file = file
        return found

    def _read_rarely(self) -> tuple[float, int, tuple[ReportFile, ...]]:
        now_s = time.monotonic()
        if now_s - self._rare[0] >= _RARELY_S:
            free_bytes = _free_bytes(self._settings.state_dir)
            self._rare = (now_s, free_bytes, _reports(Path(self._place.reports_dir)))
        return self._rare

    # in the loop

    def _take(self, read: _Read) -> None:
        """Make the newest look of what was read."""
        now_s = time.time()
        before = self._now
        if read.is_another:
            self._past, self._after, self._rows = Past(), None, {}
            before = Snapshot(version=before.version, looked_at_s=now_s)
        for record in read.fresh:
            self._past.add(record)
            self._after = record
        if read.rows and read.rows != self._rows:
            is_first = not self._rows
            self._rows = read.rows
            self._written_at_s = _changed_at_s(self._settings, self._mode) if is_first else now_s
        history = read.history or HistoryLook(heads=before.heads, gaps=before.gaps, halts=before.halts)
        now = replace(
            before,
            looked_at_s=now_s,
            problem=read.problem,
            history_problem=read.history_problem,
            last=read.last or before.last,
            full=read.full or before.full,
            written_at_s=self._written_at_s,
            running=read.running,
            orders=read.orders or before.orders,
            intents=before.intents if read.intents is None else read.intents,
            past=self._past,
            pause=read.pause,
            asked=read.asked,
            heads=history.heads,
            gaps=history.gaps,
            halts=history.halts,
            alerts=read.alerts,
            free_bytes=read.free_bytes,
            reports=read.reports,
        )
        self._now = replace(now, version=self._version(now))

    def _version(self, now: Snapshot) -> str:
        """Return the version before where nothing that a page shows has changed, else a new one."""
        shown: tuple[object, ...] = (
            tuple(self._rows.items()), now.problem, now.history_problem, now.running, now.pause, now.asked,
            now.halts, now.alerts,
            tuple(now.gaps), tuple((item.name, item.changed_at_s) for item in now.reports),
        )  # fmt: skip
        if shown != self._shown:
            self._shown = shown
            self._number += 1
        return str(self._number)


def open_desk(settings: Settings, *, mode: str) -> JournalDesk:
    """Return what reads the state of one mode; nothing is opened yet."""
    own = settings.dashboard
    reports = own.reports or settings.state_dir / "reports"
    place = Place(
        mode=mode,
        chain_ids=tuple(item.id for item in settings.all_chains),
        explorers=dict(own.explorers),
        state_dir=str(settings.state_dir),
        reports_dir=str(reports),
        config="" if settings.path == DEFAULT_CONFIG.absolute() else str(settings.path),
        is_chain_time=settings.chain.clock == "chain",
        poll_s=settings.chain.poll_s,
    )
    return JournalDesk(settings, mode=mode, place=place)


def _with_steps(read: _Read, journal: SqlJournal, after: StepRecord | None) -> _Read:
    """Return it with the records that are new, the newest, and the newest that is no heartbeat."""
    last = journal.last_step()
    if last is None:
        return read
    if after is None:
        fresh = list(journal.steps(since_s=last.decision.now_s - _PAST_S, full=True))
    else:
        found = journal.steps(since_s=after.decision.now_s)
        fresh = [item for item in found if item.sequence > after.sequence]
    if fresh and fresh[-1].sequence < last.sequence:
        fresh.append(last)
    full = journal.step_until(full=True)
    return replace(read, fresh=tuple(fresh), last=last, full=full or last)


def _asked(state_dir: Path, mode: str) -> tuple[str, ...]:
    """Return the orders that wait for the bot, in words."""
    try:
        waiting = OrdersDesk(state_dir, mode=mode).requests()
    except OSError as error:
        return (f"the orders of {state_dir} cannot be read: {error.strerror}",)
    return tuple(
        item if isinstance(item, str) else f"order {path.stem}, asked by {item.by}" for path, item in waiting
    )


def _alerts(settings: Settings, mode: str) -> ChannelState:
    """Return what the alert desk keeps in its file."""
    is_configured = bool(settings.alerts.urls or settings.alerts.targets)
    try:
        state = read_alert_state(alert_state_path(settings.state_dir, mode=mode))
    except ConfigError as error:
        return ChannelState(configured=is_configured, problem=str(error))
    return ChannelState(configured=is_configured, state=state)


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return -1


def _reports(folder: Path) -> tuple[ReportFile, ...]:
    """Return the reports and results below a folder, the newest first; links are left out."""
    try:
        paths = [path for form in _FORMS for path in folder.glob(form)]
        found = [_report(folder, path) for path in paths if path.is_file() and not path.is_symlink()]
    except OSError:
        return ()
    known = [item for item in found if item is not None]
    return tuple(sorted(known, key=lambda item: -item.changed_at_s)[:_MOST_REPORTS])


def _report(folder: Path, path: Path) -> ReportFile | None:
    try:
        facts = path.stat()
        if facts.st_size > _MOST_REPORT_BYTES:
            return None
        name = path.relative_to(folder).as_posix()
        is_page = path.suffix == ".html"
        return ReportFile(
            name=name,
            title=_title(path) if is_page else name,
            kind="report" if is_page else "result",
            changed_at_s=facts.st_mtime,
            size_bytes=facts.st_size,
            path=path,
        )
    except OSError:
        return None


def _title(path: Path) -> str:
    with path.open("rb") as file:
        match = _TITLE.search(file.read(_TITLE_WITHIN))
    return unescape(match[1].decode("utf-8", "replace")) if match else path.name


def _file_of(settings: Settings, mode: str) -> tuple[int, int] | None:
    """Return which file a journal is: one that was put in its place is another. None: none, or no file."""
    if settings.journal_url.get_secret_value():
        return None
    try:
        facts = (settings.state_dir / f"journal-{mode}.sqlite").stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _changed_at_s(settings: Settings, mode: str) -> float:
    """Return when the newest row of a journal that was there before was written, as its files tell."""
    if settings.journal_url.get_secret_value():
        return math.nan
    path = settings.state_dir / f"journal-{mode}.sqlite"
    times = []
    for name in (path, path.with_name(f"{path.name}-wal")):
        try:
            times.append(name.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=math.nan)
