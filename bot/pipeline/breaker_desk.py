"""Keeps count for the circuit breakers, and pauses when one trips (REL-L3, docs/adr/0015).

The pause is the one that ``alvh pause`` writes: one stop, which signer, loop, dashboard and alerts keep to,
and which ``alvh resume`` alone ends. What was known when a person released is forgiven: only what comes
afterwards can trip again.

Orders are counted from the journal, so that a restart knows them. A small file beside it has the rest: what
is forgiven, how the data was, and the pause about to be written, for a crash between the two writes.
"""

import errno
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.chain.pause import Pause, read_pause, read_released, write_pause
from bot.errors import ConfigError, NoSpaceError
from bot.model.hedge import LegOutcome, LegStatus
from bot.model.intent import IntentState
from bot.model.parsing import json_of
from bot.model.reasons import is_disagreement, is_lag
from bot.pipeline.breakers import BreakerTerms, Ended, Outcome, Trip, Trouble, ended, tripped
from bot.ports import Journal

WHO = "breaker "  # begins the name under which a breaker pauses
_SIGNER = "signer: "  # begins every refusal of the signer
_MOST_ORDERS = 1_000  # the newest, which are counted
_LATEST_S = 253_402_300_799.0  # the end of year 9999
_EMPTY: dict[str, Any] = {
    "trip": None,  # who, at_s and why of the pause that a breaker wrote, or is about to write
    "trip_orders": [],  # keys of the orders that were known then
    "forgiven": [],  # keys of the orders that were known when a person released
    "disagrees_since_s": None,
    "lags_at_s": [],
}


@dataclass(slots=True, kw_only=True)
class Breakers:
    """The breakers of one run. ``clock`` is the wall clock, which pauses are dated by."""

    terms: BreakerTerms
    journal: Journal
    state_dir: Path
    mode: str
    clock: Callable[[], float] = time.time
    _orders: list[Ended] = field(init=False)
    _state: dict[str, Any] = field(init=False)
    _now_s: float = field(init=False, default=math.nan)
    _was_paused: bool = field(init=False, default=False)
    _lags: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._orders = self._known()
        self._state = _read(self._path)
        self._was_paused = read_pause(self.state_dir) is not None or self._state["trip"] is not None

    def closed(self, outcome: Outcome) -> None:
        """Take an order in that has just ended: the next one of the same step may be one too many."""
        found = ended(outcome, refused=self._is_refused(outcome))
        self._orders = [*self._orders, found][-_MOST_ORDERS:]
        self._check(outcome.at_s if math.isnan(self._now_s) else self._now_s)

    def begin(self, now_s: float) -> None:
        """Look before a step: what an earlier run left may trip, or its pause may have to be written."""
        self._now_s = now_s
        self._check(now_s)

    def saw(self, holds: Iterable[str], *, now_s: float) -> None:
        """Take in what a step's data was like."""
        said = tuple(holds)
        disagrees, lags = any(map(is_disagreement, said)), any(map(is_lag, said))
        since_s, at_s = self._state["disagrees_since_s"], self._state["lags_at_s"]
        began = lags and not self._lags
        self._lags = lags
        if began:
            at_s = [*(item for item in at_s if item > now_s - self.terms.window_s), now_s]
        if began or disagrees is not (since_s is not None):
            begins_s = now_s if since_s is None else since_s
            self._keep(disagrees_since_s=begins_s if disagrees else None, lags_at_s=at_s)
        self._check(now_s)

    def _check(self, now_s: float) -> None:
        """Pause when a breaker trips. While a pause is in force all that happens is forgiven."""
        keys = [item.key for item in self._orders]
        if read_pause(self.state_dir) is not None:
            self._was_paused = True
            if self._state["trip"] is not None and self._state["trip_orders"] != keys:
                self._keep(trip_orders=keys)
            return
        if self._was_paused and not self._is_released():
            self._pause(self._state["trip"])
            return
        known = set(self._state["forgiven"])
        found = tripped(
            self.terms,
            [item for item in self._orders if item.key not in known],
            Trouble(
                disagrees_since_s=self._state["disagrees_since_s"], lags_at_s=tuple(self._state["lags_at_s"])
            ),
            now_s=now_s,
        )
        if found is not None:
            self._trip(found)

    def _trip(self, found: Trip) -> None:
        """Say on disk what is about to be paused, then pause."""
        why = f"{found.why}; look at alvh history and alvh explain first"
        trip = {"who": WHO + found.name, "at_s": self.clock(), "why": why}
        self._keep(trip=trip, trip_orders=[item.key for item in self._orders])
        self._pause(trip)

    def _pause(self, trip: dict[str, Any]) -> None:
        pause = Pause(who=str(trip["who"]), at_s=float(trip["at_s"]), why=str(trip["why"]))
        write_pause(self.state_dir, pause)
        self._was_paused = True

    def _is_released(self) -> bool:
        """Forgive what a person released; False for a breaker's pause that nobody did.

        That pause was never written (a crash), or its file was deleted: it is written anew.
        """
        trip, known = self._state["trip"], [item.key for item in self._orders]
        if trip is not None:
            released = read_released(self.state_dir)
            if released is None or (released.who, released.at_s) != (trip["who"], trip["at_s"]):
                return False
            known = [*self._state["forgiven"], *self._state["trip_orders"]]
        forgiven = list(dict.fromkeys(known))[-2 * _MOST_ORDERS :]
        self._keep(trip=None, trip_orders=[], forgiven=forgiven, disagrees_since_s=None, lags_at_s=[])
        self._was_paused = False
        return True

    def _known(self) -> list[Ended]:
        """Return the journal's newest closed orders, oldest first."""
        found: list[Outcome] = [
            *self.journal.outcomes(),
            *self.journal.perpetual_outcomes(),
            *self.journal.account_outcomes(),
            *self.journal.cover_outcomes(),
        ]
        found = sorted(found, key=lambda item: item.at_s)[-_MOST_ORDERS:]
        return [ended(item, refused=self._is_refused(item)) for item in found]

    def _is_refused(self, outcome: Outcome) -> bool:
        """Say whether an order ended because the signer's rules did not allow it.

        Such a refusal ends the process (a bug, or somebody at the controls), so that the order is closed by
        the next start. One for a bound that moves with the market (a fee, a cap, the time) closes it at once
        and counts for nothing here.
        """
        if outcome.status is not LegStatus.REJECTED or not outcome.reconciled:
            return False
        key = outcome.leg.key if isinstance(outcome, LegOutcome) else outcome.order.key
        events = self.journal.intents(key)
        return any(item.state is IntentState.RELEASED and _SIGNER in item.because for item in events)

    @property
    def _path(self) -> Path:
        return self.state_dir / f"breakers-{self.mode}.json"

    def _keep(self, **changes: Any) -> None:
        """Change what is on disk. Raises ConfigError when it cannot be written."""
        self._state = {**self._state, **changes}
        _write(self._path, self._state)


def _read(path: Path) -> dict[str, Any]:
    """Return the kept state. One that is damaged forgives nothing: a breaker may then trip once more."""
    try:
        found = json_of(path.read_bytes())
        since_s, trip = found["disagrees_since_s"], found["trip"]
        return {
            "trip": None if trip is None else _trip_of(trip),
            "trip_orders": [str(item) for item in found["trip_orders"]],
            "forgiven": [str(item) for item in found["forgiven"]],
            "disagrees_since_s": None if since_s is None else _time_s(since_s),
            "lags_at_s": [_time_s(item) for item in found["lags_at_s"]],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return dict(_EMPTY)


def _trip_of(found: dict[str, Any]) -> dict[str, Any]:
    return {"who": str(found["who"]), "at_s": _time_s(found["at_s"]), "why": str(found["why"])}


def _time_s(found: Any) -> float:
    """Return a time that was kept. Raises ValueError for what iso_utc could not show."""
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= _LATEST_S:
        raise ValueError("a time of the breakers is no time")
    return float(found)


def _write(path: Path, state: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".breakers.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        kind = NoSpaceError if error.errno == errno.ENOSPC else ConfigError
        raise kind(f"{path} cannot be written: {error.strerror}; make room, then start again") from None
