"""The files of a run: its journal, the history of what was observed, the figures of its book."""

import time
from pathlib import Path

from bot.app.follow import wanted_history
from bot.app.parts import all_series
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.pipeline.backfill import keep_s
from bot.pipeline.derived import Figures, keep_figures_s
from bot.pipeline.history import History
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import Settings, load_policy


def open_history(settings: Settings, policy: Policy) -> History:
    """Open the history of the home chain and what is watched beside it, kept as long as a policy needs."""
    _make_state_dir(settings)
    return History(
        all_series(settings),
        path=history_path(settings),
        keep_s=keep_s(wanted_history(policy)),
    )


def history_path(settings: Settings) -> Path:
    """Return where the home chain's history stands once a run has begun."""
    return settings.state_dir / f"history-{settings.chain.id}.sqlite"


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


def open_journal(settings: Settings, *, mode: str, read_only: bool = False) -> SqlJournal:
    """Open the journal of a mode. Raises ConfigError when another process holds or owns it."""
    if not read_only:
        _make_state_dir(settings)
    path = settings.state_dir / f"journal-{mode}.sqlite"
    identity = JournalIdentity(
        mode=mode,
        chain_id=settings.chain.id,
        account=settings.account.address if settings.account and mode in ("live", "demo") else "",
    )
    return SqlJournal(settings.journal_url.get_secret_value() or path, identity=identity, read_only=read_only)


def _make_state_dir(settings: Settings) -> None:
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"state_dir {settings.state_dir} cannot be made: {error.strerror}; name another folder"
        ) from None
