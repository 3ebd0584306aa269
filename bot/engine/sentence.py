"""The sentence a person reads first: what voted, with its numbers, and how much protection is held of wanted.

The tier's own name is left out: whoever prints it sets the word beside the sentence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.model.market import Metric
from bot.model.tier import FamilyVote, Reading, RuleFinding, Tier

_NOTABLE = 0.05  # a score below it is not worth a word while no family votes
_TOP = 2  # a family's score is the mean of its two highest signals (R1)
# What a signal says of its value, in words short enough for two of them in one sentence.
_SAID = {
    "S2": "quick ratio {0:.2f}",
    "S3": "pool {0:.1%} off",
    "S4": "depth x{0:.2f}",
    "S5": "stable {0:.2%} off par",
    "S6": "stables' vol x{0:.1f}",
    "S7": "bridge coverage {0:.1%}",
    "S8": "priority fees x{0:.1f}",
    "S10": "funding {0:+.1f} sigma",
    "S11": "vol x{0:.1f}",
    "S12": "vol rank {0:.2f}",
    "S13": "short vol {0:+.0%} on long",
    "S14": "RSI {0:.0f}",
    "S15": "MACD {0:.2f}",
    "S17": "loan spread x{0:.1f}",
    "S18": "price to fees x{0:.2f}",
    "S20": "beta {0:.1f}",
    "S21": "carry {0:+.1%} a year",
    "S22": "parity gap {0:+.1f} x cost",
    "S23": "risk flow {0:+.1f} sigma",
    "S24": "24 h move {0:+.1f} sigma",
    "S25": "vol jump {0:+.0%}",
    "S26": "downside vol x{0:.1f}",
}
_SHARES = (Metric.VIRTUAL_PRICE, Metric.EXCHANGE_RATE)  # S1 of what one share is worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Fractions of VaR (R8), and orders as (layer, contracts)."""

    held: float  # before this decision's orders; NaN unknown
    planned: float  # after them
    wanted: float
    buys: tuple[tuple[str, float], ...] = ()
    sells: tuple[tuple[str, float], ...] = ()
    short: tuple[float, float, str] = (0.0, 0.0, "")  # units by perpetual before and after, of what (R27)


def state_sentence(
    *,
    tier: Tier,
    votes: Sequence[FamilyVote],
    readings: Sequence[Reading],
    findings: Sequence[RuleFinding],
    moved: str,
    coverage: Coverage,
    holds: Sequence[str],
    degraded: Sequence[str],
) -> str:
    """Return the state in one sentence: trouble with the view first, then cause, cover and orders.

    ``moved`` is R3's word where the tier waits, stays up or falls; a rise is told by what asked for it.
    """
    parts = [f"GUARDED (data): {', '.join(degraded)} degraded"] if degraded else []
    parts += [f"HOLD: {holds[0]}"] if holds else []
    parts += _forced(findings)
    parts.append(_voted(tier, votes, readings))
    parts += [moved] if moved else []
    parts.append(_covered(tier, coverage))
    for verb, orders in (("sells", coverage.sells), ("buys", coverage.buys)):
        said = ", ".join(f"{layer} {size:,.2f}" for layer, size in orders)
        parts += [f"{verb} {said} contracts"] if orders else []
    parts += _shorted(*coverage.short)
    return "; ".join(parts)


def leading_numbers(vote: FamilyVote, readings: Sequence[Reading]) -> str:
    """Return the family's strongest signals with their values: ``funding +3.1 sigma, vol x2.3``."""
    best: dict[str, Reading] = {}
    for item in readings:
        mine = item.family is vote.family and item.counts and item.score > 0.0
        if mine and (item.signal not in best or item.score > best[item.signal].score):
            best[item.signal] = item
    ranked = sorted(best.values(), key=lambda item: (-item.score, item.signal))[:_TOP]
    return ", ".join(spoken_value(item) for item in ranked)


def spoken_value(reading: Reading) -> str:
    """Return what a signal says of its value in a few words: ``funding +3.1 sigma``."""
    said = _liquidity(reading) if reading.signal == "S1" else _SAID.get(reading.signal, _plain(reading))
    return said.format(reading.value).replace("%", " %") if math.isfinite(reading.value) else "unknown"


def _plain(reading: Reading) -> str:
    return f"{reading.name.replace('_', ' ')} {{0:.2f}}"


def _liquidity(reading: Reading) -> str:
    """Say what S1 is of: a share's worth, a pool ("venue:A/B"), or what a vault, bridge or market holds."""
    if reading.source.endswith(tuple(f":{metric}" for metric in _SHARES)):
        return "share value {0:+.2%}"
    return "pool liquidity {0:+.1%}" if "/" in reading.subject.partition(":")[2] else "funds held {0:+.1%}"


def _voted(tier: Tier, votes: Sequence[FamilyVote], readings: Sequence[Reading]) -> str:
    voting = sorted((vote for vote in votes if vote.voting), key=lambda vote: -vote.score)
    if voting:
        alone = " votes alone, which is not enough" if tier is Tier.CALM and len(voting) == 1 else ""
        return ", ".join(_vote(vote, readings) for vote in voting) + alone
    top = max(votes, key=lambda vote: vote.score, default=None)
    if top is None or top.score < _NOTABLE:
        return "no family votes"
    return f"no family votes, highest is {_vote(top, readings)}"


def _vote(vote: FamilyVote, readings: Sequence[Reading]) -> str:
    numbers = leading_numbers(vote, readings)
    return f"{vote.family} {vote.score:.2f}{f' ({numbers})' if numbers else ''}"


def _forced(findings: Sequence[RuleFinding]) -> list[str]:
    """Return what hard triggers and denials said; the votes and R3 are told elsewhere."""
    forced = [item for item in findings if item.fired and item.rule not in ("R1", "R3")]
    return [item.because for item in forced if item.tier is not None or item.caps_tier is not None]


def _covered(tier: Tier, coverage: Coverage) -> str:
    what = "tail protection " if tier is Tier.CALM else ""
    if not (math.isfinite(coverage.held) and math.isfinite(coverage.wanted)):
        return f"{what}unknown: VaR or a mark is not known"
    changed = bool(coverage.buys or coverage.sells)
    after = f", {_points(coverage.planned)} % after this step" if changed else ""
    return f"{what}{_points(coverage.held)} of {_points(coverage.wanted)} % of VaR held{after}"


def _shorted(held: float, after: float, underlying: str) -> list[str]:
    if held == after:
        return [f"{held:,.2f} {underlying} short by perpetual"] if held else []
    return [f"perpetual short {held:,.2f} to {after:,.2f} {underlying}"]


def _points(share: float) -> str:
    """Return a fraction in percent without a sign; digits only where they matter."""
    if not math.isfinite(share):
        return "unknown"
    points = 100.0 * share
    return f"{points:.0f}" if points == 0.0 or abs(points) >= 4.95 else f"{points:.1f}"
