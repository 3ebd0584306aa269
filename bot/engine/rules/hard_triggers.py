"""R2, market kind: a crash that two independent sources show, and the HOLD of prices that cannot be used
and of a sequencer that is not known to be up.

Sources are independent when their kind differs: the part of the source's name before the colon (a feed, a
pool's TWAP, a second venue). The spot price of one pool moves no tier here: it only tells an average that
lags from one that contradicts. R6 (defi_liquidity.py) and the protocol kind (protocol_triggers.py) are files
of their own.
"""

import math
from dataclasses import dataclass

import numpy as np

from bot.engine.group import primary_price
from bot.engine.policy import Policy
from bot.engine.rules.context import TierContext
from bot.model.market import Column, Frame, Metric, SeriesKey
from bot.model.tier import RuleFinding, Tier
from bot.model.units import HOUR_S
from bot.quant.bars import closed_bars
from bot.quant.volatility import after_last_long_hole, covered, ewma_vol, log_returns
from bot.signals.reading import late_after_s

_BARS = 24 * 30  # hourly bars that the EWMA looks back on; at decay 0.94 the weight beyond is nil


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """How far one source fell from its highest price in the window."""

    source: str
    fall: float  # fraction, >= 0; NaN unknown
    sigmas: float  # of its EWMA standard deviation per window; NaN unknown
    sd: float = math.nan  # that standard deviation, of log returns


def crash(policy: Policy, context: TierContext) -> tuple[RuleFinding, ...]:
    """Return the tier that a fall of two independent sources asks for."""
    rule, underlying = policy.hard_triggers, context.underlying
    falls = [
        _fall(policy, context.frame, key) for key in context.frame.columns.find(Metric.PRICE_USD, underlying)
    ]
    second = _second_independent(falls, sigmas=rule.sigmas)
    seen = ", ".join(_said(item) for item in falls) or "none"
    text = f"price falls within {rule.window / HOUR_S:g} h: {seen}"
    for tier, limit in ((Tier.SEVERE, rule.severe_fall), (Tier.ELEVATED, rule.elevated_fall)):
        if second > limit:
            return (RuleFinding(rule="R2", fired=True, because=f"{text}; two over {limit:.0%}", tier=tier),)
    kinds = {_kind(item.source) for item in falls}
    if len(kinds) < 2:
        missed = f"needs two independent sources, has {len(kinds)}"
    elif math.isnan(second):
        missed = f"no two independent sources fell more than {rule.sigmas:g} sd"
    else:
        missed = f"{tier.name} missed by {limit - second:.2%} of the second source's fall"
    wanted, limit = (
        (Tier.ELEVATED, rule.elevated_fall)
        if context.state.tier < Tier.ELEVATED
        else (Tier.SEVERE, rule.severe_fall)
    )
    distance, unit = _distance(falls, limit=limit, sigmas=rule.sigmas), f"fraction of price for {wanted.name}"
    because = f"{text}; {missed}"
    return (RuleFinding(rule="R2", fired=False, because=because, missed=distance, unit=unit),)


def find_holds(policy: Policy, frame: Frame) -> tuple[str, ...]:
    """Return why nothing new may be opened.

    What the source said, stale or disagreeing prices, a sequencer that is down, within its grace or unknown,
    and clock skew.
    """
    reasons = list(frame.holds)
    for underlying in sorted({item.underlying for item in frame.exposures}):
        reasons.extend(_stale(policy, frame, underlying))
        reasons.extend(_disagreement(policy, frame, underlying))
    reasons.extend(_sequencers(policy, frame))
    for chain_id, block in sorted(frame.blocks.items()):
        skew_s = abs(frame.now_s - block.timestamp_s)
        if skew_s > policy.holds.clock_skew:
            limit_s = policy.holds.clock_skew
            reasons.append(
                f"chain {chain_id} time is {skew_s:.0f} s from now, at most {limit_s:.0f} s allowed"
            )
    return tuple(reasons)


def _fall(policy: Policy, frame: Frame, key: SeriesKey) -> Fall:
    """Return a source's fall; unknown without a price now, or one from when the window opened."""
    column = frame.columns[key].until(frame.now_s)
    start_s = frame.now_s - policy.hard_triggers.window
    before = column.until(start_s)
    inside = column.values[before.values.size :]
    oldest_s = start_s - late_after_s(key, before, policy=policy.signals)
    last = before.last_known()
    is_opened = last >= 0 and before.times_s[last] >= oldest_s
    if not is_opened or not inside.size or not math.isfinite(inside[-1]):
        return Fall(source=key.source, fall=math.nan, sigmas=math.nan)
    opening_usd, seen = float(before.values[last]), inside[np.isfinite(inside)]
    if not min(opening_usd, float(seen.min())) > 0.0:
        return Fall(source=key.source, fall=math.nan, sigmas=math.nan)
    now_usd, high = float(seen[-1]), max(opening_usd, float(seen.max()))
    sd = _window_sd(policy, column, now_s=frame.now_s)
    sigmas = math.log(high / now_usd) / sd if sd > 0.0 else math.nan
    return Fall(source=key.source, fall=1.0 - now_usd / high, sigmas=sigmas, sd=sd)


def _window_sd(policy: Policy, column: Column, *, now_s: float) -> float:
    """Return the EWMA standard deviation of a log return over the window, before the window began.

    The recursion starts after the last long hole; NaN with less than ``coverage`` of its returns from there.
    """
    window_s, signals = policy.hard_triggers.window, policy.signals
    bars = closed_bars(column, bar_s=HOUR_S, now_s=now_s - window_s, count=_BARS)

    def measured() -> float:
        close = after_last_long_hole(bars.close, max_hole_bars=int(signals.max_hole_s // HOUR_S))
        returns = covered(log_returns(close)[1:], coverage=signals.coverage)
        return ewma_vol(returns, periods_per_year=window_s / HOUR_S)

    return bars.once(("window sd", window_s, signals.max_hole_s, signals.coverage), measured)


def _second_independent(falls: list[Fall], *, sigmas: float) -> float:
    """Return the second largest fall over sources of different kinds; NaN when fewer than two qualify."""
    largest: dict[str, float] = {}
    for item in falls:
        if item.sigmas > sigmas:  # False for NaN: an unknown deviation proves nothing
            kind = _kind(item.source)
            largest[kind] = max(largest.get(kind, 0.0), item.fall)
    return sorted(largest.values(), reverse=True)[1] if len(largest) > 1 else math.nan


def _distance(falls: list[Fall], *, limit: float, sigmas: float) -> float:
    """Return how much further two independent sources must fall, fraction of the high; NaN unknown.

    Each must pass both limits, so what it needs is the larger of them; of a kind its nearest source counts.
    """
    needs: dict[str, float] = {}
    for item in falls:
        need = max(limit, -math.expm1(0.0 - sigmas * item.sd)) - item.fall
        if math.isfinite(need):
            needs[_kind(item.source)] = min(needs.get(_kind(item.source), math.inf), need)
    return max(sorted(needs.values())[1], 0.0) if len(needs) > 1 else math.nan


def _kind(source: str) -> str:
    return source.partition(":")[0]


def _said(item: Fall) -> str:
    fall = "unknown" if math.isnan(item.fall) else f"{0.0 - item.fall:+.1%}"
    sigmas = "sd unknown" if math.isnan(item.sigmas) else f"{item.sigmas:.1f} sd"
    return f"{item.source} {fall} {sigmas}"


def _stale(policy: Policy, frame: Frame, underlying: str) -> list[str]:
    price_usd, observed_at_s = primary_price(frame, underlying)
    limit_s = policy.holds.price_max_age
    if not 0.0 < price_usd < math.inf:
        return [f"no price of {underlying} is known"]
    age_s = frame.now_s - observed_at_s
    if age_s > limit_s:
        return [f"price of {underlying} is {age_s:.0f} s old, at most {limit_s:.0f} s allowed"]
    return []


def _disagreement(policy: Policy, frame: Frame, underlying: str) -> list[str]:
    """Compare every fresh price source with the primary one.

    An average lags a fast move. One whose own pool is at the primary price by now contradicts nothing: else a
    true crash would be a HOLD for as long as the average takes.
    """
    keys = frame.columns.find(Metric.PRICE_USD, underlying)
    limit, reasons = policy.holds.price_disagreement, []
    primary_usd, _ = primary_price(frame, underlying)
    for key in keys[1:]:
        apart = _apart(policy, frame, key, primary_usd)
        if not apart > limit:
            continue
        if _pool_has_moved(frame, key, primary_usd, limit=limit):
            continue
        reasons.append(
            f"{key.source} and {keys[0].source} disagree on {underlying} by {apart:.1%}, "
            f"at most {limit:.1%} allowed"
        )
    return reasons


def _pool_has_moved(frame: Frame, average: SeriesKey, primary_usd: float, *, limit: float) -> bool:
    """Say whether the pool of an average was at the primary price when the average was read."""
    kind, _, label = average.source.partition(":")
    read_at_s = frame.columns[average].until(frame.now_s).times_s[-1]
    for key in frame.columns.find(Metric.POOL_PRICE_USD, label) if kind == "twap" else ():
        spot = frame.columns[key].until(frame.now_s)
        is_fresh = spot.times_s.size and spot.times_s[-1] >= read_at_s
        if is_fresh and abs(float(spot.values[-1]) / primary_usd - 1.0) <= limit:
            return True
    return False


def _apart(policy: Policy, frame: Frame, key: SeriesKey, primary_usd: float) -> float:
    """Return how far a fresh price is from the primary one, fraction; NaN where either is unknown."""
    fresh = frame.columns[key].until(frame.now_s).since(frame.now_s - policy.holds.price_max_age)
    known = fresh.values[np.isfinite(fresh.values)]
    return abs(float(known[-1]) / primary_usd - 1.0) if known.size and primary_usd > 0.0 else math.nan


def _sequencers(policy: Policy, frame: Frame) -> list[str]:
    """Every configured sequencer must be known to be up; its newest reading counts, a failed one too."""
    reasons = []
    for key in frame.columns.find(Metric.SEQUENCER_UP):
        column = frame.columns[key].until(frame.now_s)
        limit_s = late_after_s(key, column, policy=policy.signals)
        last = column.since(frame.now_s - limit_s).values[-1:]
        if not last.size:
            reasons.append(f"sequencer of chain {key.subject} is unknown: no reading within {limit_s:.0f} s")
        elif math.isnan(last[0]):
            reasons.append(f"sequencer of chain {key.subject} is unknown: its feed could not be read")
        elif last[0] < 1.0:
            reasons.append(f"sequencer of chain {key.subject} is down, or up for less than its grace")
    return reasons
