"""The files of a run: its journal, the history of what was observed, the figures of its book."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bot.app.follow import wanted_history
from bot.app.parts import all_series, fed_series, series_elsewhere
from bot.engine.policy import Policy
from bot.errors import ConfigError, NoSpaceError
from bot.model.market import SeriesKey
from bot.model.units import DAY_S
from bot.pipeline import databases
from bot.pipeline.backfill import keep_s
from bot.pipeline.derived import Figures, keep_figures_s
from bot.pipeline.history import History
from bot.pipeline.history_place import HistoryPlace
from bot.pipeline.history_store import HistoryStore
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.pipeline.store_feed import StoreFeed
from bot.settings import Settings, load_policy


def open_history(settings: Settings, policy: Policy) -> History:
    """Open the history of the home chain and what is watched beside it, kept as long as a policy needs."""
    _make_state_dir(settings)
    series = all_series(settings)
    store = HistoryStore(history_place(settings), own=series, elsewhere=series_elsewhere(settings))
    return History(series, store=store, keep_s=look_back_s(policy), stored_s=stored_s(settings))


def open_watched(settings: Settings, policy: Policy, *, writer: str, own: Sequence[SeriesKey]) -> History:
    """Open the history for a process of `alvh watch`, which writes its own series alone.

    Raises ConfigError where another process writes one of them.
    """
    store = HistoryStore(history_place(settings), writer=writer, own=own)
    return History(own, store=store, keep_s=look_back_s(policy), stored_s=stored_s(settings))


@contextmanager
def store_feed(settings: Settings, policy: Policy, history: History) -> Iterator[StoreFeed | None]:
    """Begin to take the series that others watch; None where this process reads all of its own."""
    chains = fed_series(settings)
    if not chains:
        yield None
        return
    feed = StoreFeed(
        place=history_place(settings),
        history=history,
        chains=chains,
        home=settings.chain.id,
        lag_limit_s=policy.holds.clock_skew,
        wait_s=settings.storage.wait_s,
    )
    with closing(feed):
        feed.begin()
        yield feed


def look_back_s(policy: Policy) -> float:
    """Return how long rows are worth keeping for the decisions of a policy."""
    return keep_s(wanted_history(policy))


def stored_s(settings: Settings) -> float:
    """Return how long rows are kept for a person; a shorter time than the look-back has no effect."""
    return (settings.storage.keep_observations_days or 0.0) * DAY_S


def history_place(settings: Settings) -> HistoryPlace:
    """Return where the home chain's history stands once a run has begun."""
    if url := settings.storage.shared_history:
        return HistoryPlace(url=url, schema=f"alvh_history_{settings.chain.id}")
    return HistoryPlace(path=settings.state_dir / f"history-{settings.chain.id}.sqlite")


def journal_place(settings: Settings, *, mode: str) -> tuple[str | Path, str]:
    """Return the URL or file of a mode's journal, and the schema of the database that it is in."""
    if url := settings.journal_url.get_secret_value():
        named = databases.parsed_url(url, what="journal")
        is_file = named.get_backend_name() == "sqlite" and named.database not in (None, "", ":memory:")
        return (Path(str(named.database)) if is_file else url), ""
    if url := settings.storage.url.get_secret_value():
        return url, f"alvh_{mode.replace('-', '_')}_{settings.chain.id}"
    return settings.state_dir / f"journal-{mode}.sqlite", ""


def open_figures(settings: Settings, policy: Policy, journal: SqlJournal, *, mode: str) -> Figures:
    """Open what was derived of the book of a journal (bot/pipeline/derived.py), beside it.

    Figures of a journal that is gone say nothing of one that begins: they are deleted.
    """
    _make_state_dir(settings)
    path = settings.state_dir / f"figures-{mode}.sqlite"
    if journal.last_step() is None:
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    history = History(path=path, keep_s=keep_figures_s(policy), load_all=True)
    return Figures(history, bar_s=policy.signals.bar_s)


def release_halts(settings: Settings) -> tuple[str, ...]:
    """Forget the halts that wait for a person, and return them."""
    history = open_history(settings, load_policy(settings.policy))
    try:
        return tuple(item.why for item in history.release_halts(at_s=time.time()))
    finally:
        history.close()


def open_journal(
    settings: Settings, *, mode: str, read_only: bool = False, upgrade: bool = False
) -> SqlJournal:
    """Open the journal of a mode. Raises ConfigError when another process holds or owns it."""
    if not read_only:
        _make_state_dir(settings)
    place, schema = journal_place(settings, mode=mode)
    identity = journal_identity(settings, mode=mode)
    return SqlJournal(place, identity=identity, read_only=read_only, schema=schema, upgrade=upgrade)


def journal_identity(settings: Settings, *, mode: str) -> JournalIdentity:
    """Return whose journal a mode writes."""
    return JournalIdentity(
        mode=mode,
        chain_id=settings.chain.id,
        account=settings.account.address if settings.account and mode in ("live", "demo") else "",
    )


def _make_state_dir(settings: Settings) -> None:
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        kind = NoSpaceError if databases.is_full(error) else ConfigError
        raise kind(
            f"state_dir {settings.state_dir} cannot be made: {error.strerror}; name another folder"
        ) from None
