"""S9: the powers of those who run a contract, in use."""

import math
from dataclasses import dataclass, replace

from bot.model.market import Columns, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import Inputs, Measured, absent_metric, read_subject, value_at

_WORDS = {
    Metric.PAUSED: "paused",
    Metric.UPGRADED: "upgrades",
    Metric.OWNERSHIP_CHANGED: "changes of owner",
    Metric.ROLE_CHANGED: "changes of roles",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminChange:
    """One kind of admin power that is in use on one contract."""

    contract: str  # its label, or "<market>/<token>" of a lending reserve
    kind: Metric  # PAUSED, UPGRADED, OWNERSHIP_CHANGED or ROLE_CHANGED
    value: float  # 1 for PAUSED, else how many events are in the watcher's window of blocks; > 0
    source: str
    observed_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEvents:
    """State or count of each kind, per contract: 1 while in use, 0 else; there is nothing between.

    What it does to a protocol's tier is R2's, and which changes were announced is the engine's policy: it
    reads ``admin_events`` for the changes themselves. The kind is the end of a reading's source.
    """

    id: str = "S9"
    name: str = "admin_events"
    family: Family = Family.ONCHAIN
    unit: str = "count"
    metrics: tuple[Metric, ...] = tuple(_WORDS)

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        found = tuple(self._read_key(columns, key, now_s=now_s, policy=policy) for key in _keys(columns))
        return found or absent_metric(self, Metric.PAUSED)

    def _read_key(self, columns: Columns, key: SeriesKey, *, now_s: float, policy: SignalsPolicy) -> Reading:
        reading = read_subject(
            self, (key,), columns, lambda inputs: _measure(inputs, key), now_s=now_s, policy=policy
        )
        return replace(reading, source=f"{key.source}:{key.metric}")


def admin_events(columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[AdminChange, ...]:
    """Return the admin powers in use now, by kind and contract: those whose reading is live or held.

    A pause is a state; the other kinds leave when the watcher's window of blocks has passed them. What is
    missing is not here: it is never calm, and the reading of S9 says so.
    """
    found = []
    for key in _keys(columns):
        reading = ADMIN_EVENTS._read_key(columns, key, now_s=now_s, policy=policy)
        if reading.counts and reading.score > 0.0:
            found.append(
                AdminChange(
                    contract=key.subject,
                    kind=key.metric,
                    value=reading.value,
                    source=key.source,
                    observed_at_s=reading.observed_at_s,
                )
            )
    return tuple(found)


def _keys(columns: Columns) -> list[SeriesKey]:
    return [key for metric in _WORDS for key in columns.find(metric)]


def _measure(inputs: Inputs, key: SeriesKey) -> Measured:
    value, words = value_at(inputs.columns[0], inputs.good_s), _WORDS[key.metric]
    if value < 0.0:
        because = f"{key.subject}: {words} {value:g} is no state or count"
        return Measured(value=math.nan, score=math.nan, because=because)
    if key.metric is Metric.PAUSED:
        because = f"{key.subject} is {'' if value > 0.0 else 'not '}paused ({value:g})"
    else:
        because = f"{key.subject}: {value:g} {words} in the watched blocks"
    return Measured(value=value, score=1.0 if value > 0.0 else 0.0, because=because)


ADMIN_EVENTS = AdminEvents()
