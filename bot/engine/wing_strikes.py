"""Where wings stand: the strikes that R5 names, and R15's one listed strike further out.

R5 only narrows what ``choose`` found: a wing keeps its layer's bands of delta and expiry, and the most gain
per premium still decides. R15 goes one listed strike beyond that, out of the delta band if need be: the best
in a band is often its last. Where no such strike is listed, the layer's own best stays, and the finding says
so.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.engine.choose import Candidate, Choice, Slot, refuse_quote, unit_delta, worst_gains
from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.engine.rules.outer_wings import WingDirective
from bot.model.hedge import Instrument, OptionType, Quote
from bot.model.quotes import instruments_of
from bot.model.record import GroupState
from bot.model.tier import RuleFinding
from bot.quant.payoff import break_evens
from bot.signals import SIGNALS

_GRID = np.linspace(0.0, 3.0, 601)[1:]  # x today's spot
_NO_SELLER = "no venue of this release sells options, so that no vertical is built"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The choices of all slots once R5 and R15 have spoken, and what they said."""

    choices: Mapping[Slot, Choice]
    findings: tuple[RuleFinding, ...]


def place_wings(
    policy: Policy,
    group: Group,
    choices: Mapping[Slot, Choice],
    *,
    directive: WingDirective,
    wider: bool,
    allow_indicative: bool = False,
) -> Placement:
    """Return what each slot would buy: among R5's strikes where any is listed, one further out for R15."""
    placed, added = _add_outer(group, directive, choices)
    if not wider:
        return Placement(choices=placed, findings=(added,))

    def usable(quote: Quote) -> bool:
        return not refuse_quote(policy, group, quote, allow_indicative=allow_indicative)

    wide = {slot: _one_wider(group, choice, usable) for slot, choice in placed.items()}
    moved = [
        f"{slot.layer} {_strike(placed[slot])} to {_strike(wide[slot])}" for slot in _moved(placed, wide)
    ]
    because = f"wings one listed strike wider: {', '.join(moved) or 'none is listed further out'}"
    said = RuleFinding(rule="R15", fired=bool(moved), because=because)
    return Placement(choices=wide, findings=(added, said))


def core_break_evens(group: Group) -> tuple[float, float]:
    """Return the spots under and over today's at which the position has lost 30 days' fees; NaN unknown.

    The break-evens of the core condor, its fees the credit. Today's spot where a loss begins at once or no
    fee is known.
    """
    spot = group.spot_usd
    if not 0.0 < spot < math.inf or not group.exposures:
        return math.nan, math.nan
    spots = spot * _GRID
    found = break_evens(spots, group.fee_income_usd - group.loss_at(spots))
    under, over = found[found <= spot], found[found >= spot]
    return float(under.max()) if under.size else spot, float(over.min()) if over.size else spot


def wing_bands(group: Group, directive: WingDirective) -> Mapping[OptionType, tuple[float, float]]:
    """Return the least and the greatest strike that R5 names for puts and calls, USD; none where it names
    none. NaN where the break-even is not known."""
    away = directive.out_of_the_money or directive.beyond_break_even
    if away is None:
        return {}
    at_spot = directive.out_of_the_money is not None
    lower, upper = (group.spot_usd, group.spot_usd) if at_spot else core_break_evens(group)
    return {
        OptionType.PUT: (lower * (1.0 - away[1]), lower * (1.0 - away[0])),
        OptionType.CALL: (upper * (1.0 + away[0]), upper * (1.0 + away[1])),
    }


def wings_wider(policy: Policy, context: TierContext) -> tuple[GroupState, RuleFinding]:
    """R15: return the memory of whether wings stand one listed strike wider, with the reason.

    S16's divergence together with a rising S13 widens them; both calm tightens them back. Anything else, and
    what is not known, leaves them as they are.
    """
    state, breadth = context.state, context.reading("S16")
    rises = _term_rises(policy, context) if breadth else None
    if breadth is None or rises is None:
        said = "S16 is not known" if breadth is None else "whether S13 rises is not known"
        return state, _wider_finding(state, said)
    diverges = round(breadth.score, SCORE_DIGITS) > 0.0
    if diverges and rises:
        state = replace(state, wider_wings=True)
    elif not diverges and not rises:
        state = replace(state, wider_wings=False)
    said = f"S16 {'diverges' if diverges else 'calm'}, S13 {'rises' if rises else 'does not rise'}"
    return state, _wider_finding(state, said)


def _wider_finding(state: GroupState, said: str) -> RuleFinding:
    stands = "one listed strike wider" if state.wider_wings else "at their own strikes"
    return RuleFinding(rule="R15", fired=state.wider_wings, because=f"{said}: wings stand {stands}")


def _term_rises(policy: Policy, context: TierContext) -> bool | None:
    """Return whether S13 is over its own value ``rise_span`` ago; None when either is not known."""
    term = context.reading("S13")
    if term is None:
        return None
    then_s = context.frame.now_s - policy.wings.rise_span
    before = SIGNALS["S13"].read(context.frame.columns, now_s=then_s, policy=policy.signals)
    same = [item for item in before if (item.subject, item.source) == (term.subject, term.source)]
    if not same or not same[0].counts:
        return None
    return round(term.value, SCORE_DIGITS) > round(same[0].value, SCORE_DIGITS)


def _add_outer(
    group: Group, directive: WingDirective, choices: Mapping[Slot, Choice]
) -> tuple[Mapping[Slot, Choice], RuleFinding]:
    """R5: return the choices among the strikes that it names, the layer's own where none of them fits."""
    bands = wing_bands(group, directive) if directive.add else {}
    if not bands:
        return choices, directive.finding
    placed, found = dict(choices), []
    for slot, choice in choices.items():
        low, high = bands[slot.option_type]
        inside = [item for item in choice.candidates if low <= item.quote.instrument.strike_usd <= high]
        if inside:
            placed[slot] = _only(choice, inside, "outer wing (R5)")
            found.append(f"{slot.layer} {_strike(placed[slot])}")
    low, high = bands[OptionType.PUT]
    said = (
        f"strikes {low:,.0f} to {high:,.0f}: {', '.join(found) or 'none that fits an open layer is listed'}"
    )
    because = f"{directive.finding.because}; {said}; {_NO_SELLER}"
    return placed, replace(directive.finding, because=because)


def _one_wider(group: Group, choice: Choice, usable: Callable[[Quote], bool]) -> Choice:
    """R15: return a choice among the strikes one listed further out, itself where none is listed or gains."""
    next_out = _next_strikes(group, choice)
    quotes = [item for item in group.quotes if item.instrument in next_out and usable(item)]
    if not quotes:
        return choice
    gains = worst_gains(group, choice.slot, quotes).tolist()
    found = [
        Candidate(quote=item, gain_usd=gain) for item, gain in zip(quotes, gains, strict=True) if gain > 0.0
    ]
    found.sort(key=lambda item: (-round(item.gain_per_cost, SCORE_DIGITS), item.quote.instrument))
    return _only(choice, found, "one listed strike wider (R15)") if found else choice


def _moved(before: Mapping[Slot, Choice], after: Mapping[Slot, Choice]) -> list[Slot]:
    return [slot for slot in after if after[slot].quote != before[slot].quote]


def _next_strikes(group: Group, choice: Choice) -> frozenset[Instrument]:
    """Return for each venue, expiry and settlement asset the first instrument beyond a slot's best there."""
    best: dict[tuple[str, int, str], Instrument] = {}
    for candidate in choice.candidates:
        item = candidate.quote.instrument
        best.setdefault((item.venue, item.expiry_s, item.settlement), item)
    out = -1.0 if choice.slot.option_type is OptionType.PUT else 1.0
    found: dict[tuple[str, int, str], Instrument] = {}
    for item in instruments_of(group.quotes):
        key = (item.venue, item.expiry_s, item.settlement)
        here = best.get(key)
        if here is None or (item.underlying, item.option_type) != (group.hedged_by, here.option_type):
            continue
        nearest = found.get(key)
        beyond = out * (item.strike_usd - here.strike_usd) > 0.0
        if beyond and (nearest is None or out * (item.strike_usd - nearest.strike_usd) < 0.0):
            found[key] = item
    return frozenset(found.values())


def _only(choice: Choice, candidates: Sequence[Candidate], note: str) -> Choice:
    """Return a choice among some of its candidates alone, which stand by falling gain per cost."""
    best = candidates[0]
    item, ratio = best.quote.instrument, best.gain_per_cost
    because = (
        f"{choice.slot.layer} {item.strike_usd:,.0f} {item.option_type}, delta {unit_delta(best.quote):+.2f}"
        f": {note}, most gain per cost ({ratio:.2f}) of {len(candidates)}"
    )
    return replace(
        choice, quote=best.quote, gain_usd=best.gain_usd, because=because, candidates=tuple(candidates)
    )


def _strike(choice: Choice) -> str:
    return f"{choice.quote.instrument.strike_usd:,.0f}" if choice.quote else "none"
