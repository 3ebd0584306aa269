"""R10's settlement part: a payoff in a stable that may break counts for less, or is settled elsewhere.

What one unit of a settlement asset counts for, min(1, its TWAP), is ``Group.stable_usd``. Here: while S5 or
S6 of that asset is over ``sizing.stable_stress``, new legs settle in another if any fitting quote does; else
new coverage shrinks by the higher of the two scores, as a shortfall.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.engine.choose import Choice, Slot, unit_delta
from bot.engine.policy import Policy
from bot.engine.rules.context import SCORE_DIGITS
from bot.engine.sizing import Sizing, Target
from bot.model.tier import Quality, Reading, RuleFinding

SIGNALS_OF = ("S5", "S6")


def settlement_stress(
    policy: Policy, readings: Sequence[Reading], choices: Mapping[Slot, Choice]
) -> tuple[Mapping[str, float], RuleFinding]:
    """Return the score of each settlement asset that is over the limit, and what R10 says of all that fit.

    A score that is not known stresses nothing here: without a price of its own the asset counts for NaN, and
    none of its quotes is traded on.
    """
    assets = sorted(
        {item.quote.instrument.settlement for choice in choices.values() for item in choice.candidates}
    )
    limit, highest = policy.sizing.stable_stress, 0.0
    stressed, said = {}, []
    for asset in assets:
        scores = {signal: _score(readings, signal, asset) for signal in SIGNALS_OF}
        known = [score for score in scores.values() if score is not None and math.isfinite(score)]
        worst = max(known, default=0.0)
        if worst > limit:
            stressed[asset] = worst
        highest = max(highest, worst)
        said.append(f"{asset} {', '.join(f'{name} {_spoken(score)}' for name, score in scores.items())}")
    because = (
        f"settlement assets: {'; '.join(said) or 'none that fits is quoted'} "
        f"(over {limit:g} new legs settle elsewhere, else cover less)"
    )
    missed = math.nan if stressed else limit - highest
    finding = RuleFinding(rule="R10", fired=bool(stressed), because=because, missed=missed, unit="score")
    return stressed, finding


def settle_elsewhere(choices: Mapping[Slot, Choice], stress: Mapping[str, float]) -> Mapping[Slot, Choice]:
    """Return the choices among what settles in an asset that is not stressed, where any such quote fits."""
    placed = dict(choices)
    for slot, choice in choices.items() if stress else ():
        sound = tuple(item for item in choice.candidates if item.quote.instrument.settlement not in stress)
        if sound and len(sound) < len(choice.candidates):
            best, item = sound[0], sound[0].quote.instrument
            because = (
                f"{slot.layer} {item.strike_usd:,.0f} {item.option_type}, delta {unit_delta(best.quote):+.2f}"
                f": most gain per cost ({best.gain_per_cost:.2f}) of {len(sound)} that do not settle in "
                f"{', '.join(sorted(stress))} (R10)"
            )
            placed[slot] = replace(
                choice, quote=best.quote, gain_usd=best.gain_usd, because=because, candidates=sound
            )
    return placed


def shrink_new(sizing: Sizing, counted: Mapping[Slot, float], stress: Mapping[str, float]) -> Sizing:
    """Return the sizing with new coverage shrunk by the score where all that fits settles under stress.

    ``counted`` are the units that already serve each slot: they stay. What is cut is the layer's shortfall.
    """
    if not stress:
        return sizing
    targets = {
        slot: _shrunk(target, counted.get(slot, 0.0), stress) for slot, target in sizing.targets.items()
    }
    return replace(sizing, targets=targets)


def _shrunk(target: Target, held: float, stress: Mapping[str, float]) -> Target:
    hit = {
        asset: stress[asset]
        for item in target.choice.candidates
        if (asset := item.quote.instrument.settlement) in stress
    }
    gap = target.released_units - held
    if not hit or not gap > 0.0 or not target.units > 0.0:
        return target
    asset, score = max(hit.items(), key=lambda pair: (pair[1], pair[0]))
    released = (held + (1.0 - score) * gap) / target.units
    cut = f"new coverage shrunk by {score:.2f}: all that fits settles in {asset}, which is under stress (R10)"
    because = f"{target.plan.because}; {cut}" if target.plan.released < 1.0 else cut
    return replace(target, plan=replace(target.plan, released=released, because=because))


def _score(readings: Sequence[Reading], signal: str, asset: str) -> float | None:
    """Return the highest counting score of a signal for an asset; NaN where none counts, None if absent."""
    mine = [item for item in readings if item.signal == signal and item.subject == asset]
    if all(item.quality is Quality.ABSENT for item in mine):
        return None
    return max((round(item.score, SCORE_DIGITS) for item in mine if item.counts), default=math.nan)


def _spoken(score: float | None) -> str:
    if score is None:
        return "absent"
    return f"{score:.2f}" if math.isfinite(score) else "not live"
