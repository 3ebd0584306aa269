"""Whether a run is well, as a container's health check and a load balancer ask it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a run stands now. HOLD and a failing alert target are shown, and are no reason to restart it."""

    mode: str
    state: str  # "starting", "deciding", "silent", "unwritable"
    last_decision_age_s: float  # NaN: none yet
    fresh_within_s: float
    sequence: int  # of the last decision, 0: none yet
    holds: Sequence[str]
    journal_writable: bool
    alerts: Sequence[dict[str, Any]]  # a table for each target
    sentence: str  # one line for a person

    @property
    def is_well(self) -> bool:
        return self.state == "deciding"

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        age_s = self.last_decision_age_s
        return {
            "healthy": self.is_well,
            "state": self.state,
            "mode": self.mode,
            "last_decision_age_s": None if math.isnan(age_s) else round(age_s, 3),
            "fresh_within_s": self.fresh_within_s,
            "sequence": self.sequence,
            "holds": list(self.holds),
            "journal_writable": self.journal_writable,
            "alerts": list(self.alerts),
            "sentence": self.sentence,
        }


def state_of(*, age_s: float, fresh_within_s: float, journal_writable: bool) -> str:
    """Return the word for how a run stands; an age of NaN: it has not decided yet."""
    if math.isnan(age_s):
        return "starting"
    if age_s >= fresh_within_s:
        return "silent"
    return "deciding" if journal_writable else "unwritable"
