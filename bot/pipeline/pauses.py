"""How long a layer waits after refusals, so that a lasting one does not burn gas at every block."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.model.hedge import Layer, LegOutcome, LegStatus, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusals:
    count: int
    last_s: float
    key: str

    def until_s(self, first_s: float, longest_s: float) -> float:
        if self.count < 2:  # one may be chance: a price that moved
            return self.last_s
        return self.last_s + min(longest_s, first_s * 2.0 ** min(self.count - 2, 16))


@dataclass(slots=True, kw_only=True)
class Pauses:
    """Counts refusals in a row per hedge group, layer and side: from the second on the wait doubles."""

    first_s: float
    longest_s: float
    _refused: dict[tuple[str, Layer, Side], _Refusals] = field(default_factory=dict, init=False)

    def note(self, outcomes: Iterable[LegOutcome]) -> None:
        """Take closed legs in, oldest first. A fill ends the count; a leg cut off by a restart is none."""
        for outcome in outcomes:
            if outcome.reconciled and outcome.status is LegStatus.REJECTED:
                continue
            leg = outcome.leg
            place = (leg.group, leg.layer, leg.side)
            if outcome.status is LegStatus.REJECTED:
                before = self._refused.get(place)
                count = before.count + 1 if before else 1
                self._refused[place] = _Refusals(count=count, last_s=outcome.at_s, key=leg.key)
            else:
                self._refused.pop(place, None)

    def keys(self, now_s: float) -> tuple[str, ...]:
        """Return the key of the last refused leg of every layer that waits."""
        return tuple(
            item.key for item in self._refused.values() if now_s < item.until_s(self.first_s, self.longest_s)
        )
