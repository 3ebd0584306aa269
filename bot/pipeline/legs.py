"""What the outcome of a leg says: whether it was had whole, whether all its money is known, who must act."""

import math
from collections.abc import Mapping, Sequence

from bot.model.hedge import LegOutcome, LegStatus


def pending_of(outcomes: Sequence[LegOutcome]) -> Mapping[str, tuple[LegStatus, str]]:
    """Return what is known of legs that others must act on: it is news only when it changes."""
    waits = (LegStatus.PROPOSED, LegStatus.WAITING)
    return {item.leg.key: (item.status, item.because) for item in outcomes if item.status in waits}


def is_filled(outcome: LegOutcome | None) -> bool:
    """Say whether a leg was had whole: after a part the next decision says what may be sold for it."""
    return outcome is not None and outcome.status is LegStatus.FILLED


def is_booked(outcome: LegOutcome) -> bool:
    """Say whether all money of an outcome is known: one NaN in the ledger would be there for a year."""
    money = (outcome.premium_usd, outcome.fee_usd, outcome.swap_usd, outcome.gas_usd, outcome.filled_size)
    return all(math.isfinite(value) for value in money)
