"""R1's fast path: five signals that lead a fall, and the mean that R3 wants low again on the way down."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.engine.policy_tiers import TierPolicy
from bot.engine.rules.context import SCORE_DIGITS, TierContext
from bot.model.market import Metric
from bot.model.tier import Quality, Reading

BITCOIN = "BTC"  # whose speed counts for every group (S24)
DRAWDOWN_SPEED = "S24"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastMean:
    """The mean of the five fast scores of a group."""

    mean: float  # an absent, warming or missing score counts 0: what is not known asks for nothing
    ceiling: float  # a missing one counts 1: what is not known is not calm either
    spoken: str


def fast_mean(context: TierContext) -> FastMean:
    """Return the mean of S24 of the underlying, S24 of BTC, S25, S26 and S14 of price."""
    least = most = 0.0
    words = []
    for name, readings in fast_signals(context):
        known = [item.score for item in readings if item.counts]
        failing = not known and any(item.quality is Quality.MISSING for item in readings)
        score = max(known, default=0.0)
        least, most = least + score, most + (1.0 if failing else score)
        words.append(f"{name} {f'{score:.2f}' if known else 'missing' if failing else 'none'}")
    mean, ceiling = round(least / 5.0, SCORE_DIGITS), round(most / 5.0, SCORE_DIGITS)
    return FastMean(mean=mean, ceiling=ceiling, spoken=f"fast mean {mean:.3f} ({', '.join(words)})")


def fast_places(context: TierContext, places: Sequence[int]) -> tuple[int, ...]:
    """Return which of ``places``, one for each reading of the group, are of its fast mean."""
    fast = {id(item) for _, readings in fast_signals(context) for item in readings}
    return tuple([place for place, item in zip(places, context.readings, strict=True) if id(item) in fast])


def is_fast(tiers: TierPolicy, fast: FastMean) -> bool:
    """Return whether the fast path asks for ELEVATED; never where it is off."""
    return tiers.fast_vote is not None and fast.mean > round(tiers.fast_vote, SCORE_DIGITS)


def is_calming(tiers: TierPolicy, fast: FastMean) -> bool:
    """Return whether the fast scores allow a step down (R3): their mean is under half of ``fast_vote``."""
    return tiers.fast_vote is None or fast.ceiling < round(tiers.fast_vote / 2.0, SCORE_DIGITS)


def fast_signals(context: TierContext) -> Iterator[tuple[str, list[Reading]]]:
    """Yield the five scores of the fast mean by name, each with its readings; the highest counts."""
    underlying = context.underlying
    yield f"S24 {underlying}", _of(context, DRAWDOWN_SPEED, underlying)
    yield f"S24 {BITCOIN}", _of(context, DRAWDOWN_SPEED, BITCOIN)
    yield "S25", _of(context, "S25", underlying)
    yield "S26", _of(context, "S26", underlying)
    price = [item for item in _of(context, "S14", underlying) if context.reads(item, Metric.PRICE_USD)]
    yield "S14 of price", price


def _of(context: TierContext, signal: str, subject: str) -> list[Reading]:
    return [item for item in context.of_signal(signal) if item.subject == subject]
