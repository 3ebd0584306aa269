"""R24: what else each open layer could have bought, what it costs, and why it was not taken."""

import math
from collections.abc import Collection, Iterable

from bot.engine.choose import Candidate, Choice
from bot.model.hedge import HedgeLeg, Side
from bot.model.record import Alternative

_KEPT = 4  # of each layer, beside what was bought: a record is not a board


def alternatives(choices: Iterable[Choice], legs: Collection[HedgeLeg]) -> tuple[Alternative, ...]:
    """Return the first candidates of every layer and all that was bought, most gain per cost first."""
    bought = {(leg.layer, leg.instrument) for leg in legs if leg.side is Side.BUY}
    return tuple(
        _alternative(choice, rank, candidate, is_bought=is_bought)
        for choice in choices
        for rank, candidate in enumerate(choice.candidates)
        if (is_bought := (choice.slot.layer, candidate.quote.instrument) in bought) or rank < _KEPT
    )


def _alternative(choice: Choice, rank: int, candidate: Candidate, *, is_bought: bool) -> Alternative:
    return Alternative(
        layer=choice.slot.layer,
        instrument=candidate.quote.instrument,
        cost_usd=candidate.quote.unit_cost_usd,
        gain_usd=candidate.gain_usd,
        chosen=is_bought or rank == 0,
        because=_why(choice, rank, candidate, is_bought=is_bought),
    )


def _why(choice: Choice, rank: int, candidate: Candidate, *, is_bought: bool) -> str:
    if rank == 0:
        words = f"most gain per cost of {len(choice.candidates)} in band: the layer is sized on it"
        return f"{words}; bought" if is_bought else words
    least, mine = choice.candidates[0].gain_per_cost, candidate.gain_per_cost
    dearer = least / mine - 1.0 if mine > 0.0 else math.inf
    words = f"{dearer:.1%} dearer for the same gain" if math.isfinite(dearer) else "cost per gain is unknown"
    return f"{words}; bought by the plan's least cost" if is_bought else words


def refused_quotes(choices: Iterable[Choice]) -> tuple[str, ...]:
    """Return the first quotes that may not be traded on, each with its reason, and a count of the rest."""
    found = tuple(dict.fromkeys(text for choice in choices for text in choice.dropped))
    more = len(found) - _KEPT
    return (*found[:_KEPT], f"{more} more") if more > 0 else found
