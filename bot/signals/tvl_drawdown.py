"""S1: liquidity that left, whatever the price did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.model.market import Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.tier import Family, Reading
from bot.signals.anchors import Anchors
from bot.signals.holdings import (
    Holding,
    held_tokens,
    holdings,
    kind_of,
    label_of,
    price_key,
    supplied,
    token_of,
    usd_at,
)
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import (
    Inputs,
    Measure,
    Measured,
    NotYet,
    absent,
    absent_metric,
    read_subject,
    too_few,
    trailing,
    value_at,
)
from bot.signals.samples import joined
from bot.signals.subjects import pool_underlying


@dataclass(frozen=True, slots=True, kw_only=True)
class TvlDrawdown:
    """Amount now / its maximum of 48 h - 1; 0 or negative. Flow only: no price is in it.

    A pool's amount is its POOL_LIQUIDITY. Another holder's (a Curve pool, vault, bridge) is its TOKEN_UNITS,
    several tokens added up at one worth for the whole window: that of the pool's shares now, else oracle
    prices now; where neither is known the worst token counts. A lending market's is what was supplied. The
    price part is said and not scored. A share's own value (VIRTUAL_PRICE, a vault's EXCHANGE_RATE) may only
    rise: its fall is a loss that no price explains, with anchors of its own. An aggregator's TVL falls with
    prices: it is said where its protocol is the label of a holder, and never scores.
    """

    id: str = "S1"
    name: str = "tvl_drawdown"
    family: Family = Family.ONCHAIN
    unit: str = "fraction"
    metrics: tuple[Metric, ...] = (
        Metric.POOL_LIQUIDITY,
        Metric.TOKEN_UNITS,
        Metric.IDLE_UNITS,
        Metric.UTILISATION,
        Metric.POOL_SHARE,
        Metric.VIRTUAL_PRICE,
        Metric.EXCHANGE_RATE,
        Metric.PRICE_USD,
        Metric.TVL_USD,
    )

    def lookback_s(self, policy: SignalsPolicy) -> float:
        return policy.onchain.tvl_window_s + policy.bar_s + policy.slack_s

    def read(self, columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
        frame = _Frame(signal=self, columns=columns, now_s=now_s, policy=policy)
        found = (*frame.pools(), *frame.holders(), *frame.markets(), *frame.shares())
        only = frame.aggregators({reading.subject for reading in found})
        return (*found, *only) or absent_metric(self, Metric.POOL_LIQUIDITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fall:
    drawdown: float  # <= 0
    high_s: float  # when the maximum was first seen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frame:
    """What one reading of S1 looks at."""

    signal: TvlDrawdown
    columns: Columns
    now_s: float
    policy: SignalsPolicy

    def pools(self) -> list[Reading]:
        return [self._pool(key) for key in self.columns.find(Metric.POOL_LIQUIDITY)]

    def _pool(self, key: SeriesKey) -> Reading:
        underlying = pool_underlying(key.subject)
        return self._read(
            (key,), lambda inputs: self._scored(inputs, inputs.columns[0], "liquidity", {underlying: 1.0})
        )

    def holders(self) -> list[Reading]:
        """Return a reading of each holder of tokens; a treasury spends and is no vault (S2 reads it)."""
        known = {key.subject for key in self.columns.find(Metric.POOL_LIQUIDITY)}
        known |= {entry.rpartition("=")[0].strip() for entry in self.policy.onchain.treasury_obligations}
        found = holdings(held_tokens(self.columns, self.policy))
        return [self._holder(each) for each in found if each.label not in known]

    def _holder(self, holder: Holding) -> Reading:
        shares = tuple(SeriesKey(Metric.POOL_SHARE, key.subject, key.source) for key in holder.keys)
        shares = shares if all(key in self.columns.series for key in shares) else ()
        reading = self._read(holder.keys + shares, lambda inputs: self._held(inputs, holder))
        return replace(reading, subject=holder.label, source=holder.reading_source)

    def _held(self, inputs: Inputs, holder: Holding) -> Measured | NotYet:
        """Score the sum of a holder's tokens, or the worst of them where they cannot be added up."""
        count = len(holder.keys)
        units, shares = inputs.columns[:count], inputs.columns[count:]
        now = {
            token: value_at(column, inputs.good_s) for token, column in zip(holder.tokens, units, strict=True)
        }
        if count == 1:
            return self._scored(inputs, units[0], holder.tokens[0], now, label=holder.label)
        worth = _worth_by_share(units, shares, inputs.good_s) if shares else self._worth_by_price(inputs, now)
        if worth:
            times_s, parts = joined(units, max_lag_s=inputs.patience_s)
            total = _total(parts, worth)
            amount, what = Column(times_s=times_s, values=total), "amounts of " + ", ".join(holder.tokens)
            return self._scored(inputs, amount, what, now, label=holder.label)
        if shares:
            return _unknown("a token of the pool has no amount or no share: its worth is unknown")
        each = [
            self._scored(inputs, column, f"{token}, worst of {count}", {token: 1.0}, label=holder.label)
            for token, column in zip(holder.tokens, units, strict=True)
        ]
        return max(each, key=_stress)

    def _worth_by_price(self, inputs: Inputs, units: Mapping[str, float]) -> tuple[float, ...]:
        found = tuple(self._usd(token, inputs.good_s) for token in units)
        return found if all(0.0 < each < math.inf for each in found) else ()

    def markets(self) -> list[Reading]:
        """Return a reading of each lending reserve whose amounts are told by idle units and utilisation."""
        told = {key.subject for key in held_tokens(self.columns, self.policy)}
        return [
            self._market(key, SeriesKey(Metric.UTILISATION, key.subject, key.source))
            for key in self.columns.find(Metric.IDLE_UNITS)
            if SeriesKey(Metric.UTILISATION, key.subject, key.source) in self.columns.series
            and label_of(key)
            and key.subject not in told
        ]

    def _market(self, idle: SeriesKey, utilisation: SeriesKey) -> Reading:
        (market,), token = holdings([idle]), token_of(idle)

        def measure(inputs: Inputs) -> Measured | NotYet:
            amount = supplied(*inputs.columns, max_lag_s=inputs.patience_s)
            return self._scored(inputs, amount, f"supplied {token}", {token: 1.0}, label=market.label)

        reading = self._read((idle, utilisation), measure)
        return replace(reading, subject=market.label, source=market.reading_source)

    def shares(self) -> list[Reading]:
        rates = [
            key
            for key in self.columns.find(Metric.EXCHANGE_RATE)
            if key.source in self.policy.onchain.vault_rate_sources
        ]
        return [self._share(key) for key in (*self.columns.find(Metric.VIRTUAL_PRICE), *rates)]

    def _share(self, key: SeriesKey) -> Reading:
        what = "virtual price" if key.metric is Metric.VIRTUAL_PRICE else f"share value {key.subject}"
        anchors = self.policy.onchain.share_value
        reading = self._read(
            (key,), lambda inputs: self._scored(inputs, inputs.columns[0], what, {}, anchors=anchors)
        )
        return replace(reading, source=f"{key.source}:{key.metric}")

    def aggregators(self, confirmed: set[str]) -> list[Reading]:
        """Return, as absent, the protocols that only an aggregator tells of."""
        return [
            absent(
                self.signal,
                subject=key.subject,
                source=key.source,
                because=f"no on-chain amounts of {key.subject} are configured; {key.source} falls with prices"
                ", it confirms and never scores alone",
            )
            for key in self.columns.find(Metric.TVL_USD)
            if not confirmed & {key.subject, key.subject.partition(":")[0]}
        ]

    def _read(self, keys: tuple[SeriesKey, ...], measure: Measure) -> Reading:
        return read_subject(self.signal, keys, self.columns, measure, now_s=self.now_s, policy=self.policy)

    def _scored(
        self,
        inputs: Inputs,
        amount: Column,
        what: str,
        units: Mapping[str, float],
        *,
        label: str = "",
        anchors: Anchors | None = None,
    ) -> Measured | NotYet:
        """Score the fall of an amount; ``units`` are what its price part is told of."""
        fall = _fall(amount, inputs, self.policy, what)
        if not isinstance(fall, _Fall):
            return fall
        anchors = anchors or self.policy.onchain.tvl_drawdown
        digits = 0 if abs(anchors.stress) >= 0.05 else 1
        hours = self.policy.onchain.tvl_window_s / 3_600
        return Measured(
            value=fall.drawdown,
            score=anchors.score(fall.drawdown),
            because=f"{what} {fall.drawdown:+.1%} from its {hours:.0f} h high, "
            f"stress from {anchors.calm:.{digits}%} to {anchors.stress:.{digits}%}"
            f"{self._price_part(units, fall.high_s, inputs.good_s)}{self._confirmed(label, fall, inputs)}",
        )

    def _price_part(self, units: Mapping[str, float], high_s: float, good_s: float) -> str:
        """Say what prices did to the amounts of now since the high; nothing where no price is known."""
        was = sum(count * self._usd(token, high_s) for token, count in units.items() if count)
        now = sum(count * self._usd(token, good_s) for token, count in units.items() if count)
        has_price = any(price_key(self.columns, token, self.policy) for token in units)
        if not (has_price and was > 0.0 and math.isfinite(now)):
            return ""
        return f"; price part {now / was - 1.0:+.1%}, not scored"

    def _usd(self, token: str, at_s: float) -> float:
        return usd_at(
            self.columns,
            token,
            at_s,
            now_s=self.now_s,
            lookback_s=self.signal.lookback_s(self.policy),
            policy=self.policy,
        )

    def _confirmed(self, label: str, fall: _Fall, inputs: Inputs) -> str:
        """Say what aggregators' TVL of the same protocol did since the high."""
        said = ""
        for key in self.columns.find(Metric.TVL_USD) if label else ():
            if label in (key.subject, key.subject.partition(":")[0]):
                lookback_s = self.signal.lookback_s(self.policy)
                tvl = trailing(self.columns, key, now_s=self.now_s, lookback_s=lookback_s)
                was, now = value_at(tvl, fall.high_s), value_at(tvl, inputs.good_s)
                if was > 0.0 and math.isfinite(now):
                    said += f"; {kind_of(key.source)} TVL {now / was - 1.0:+.1%}, prices in it, not scored"
        return said


def _total(parts: Sequence[FloatArray], worth: Sequence[float]) -> FloatArray:
    """Return the amounts added up; an amount that is not finite has no known worth."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(sum(part * each for part, each in zip(parts, worth, strict=True)))


def _worth_by_share(
    units: tuple[Column, ...], shares: tuple[Column, ...], good_s: float
) -> tuple[float, ...]:
    """Return what one of each token counts in the pool now, up to one factor; empty when it is unknown."""
    found = []
    for amount, share in zip(units, shares, strict=True):
        count, part = value_at(amount, good_s), value_at(share, good_s)
        if not (count > 0.0 and part > 0.0):
            return ()
        found.append(part / count)
    return tuple(found)


def _fall(amount: Column, inputs: Inputs, policy: SignalsPolicy, what: str) -> _Fall | Measured | NotYet:
    """Return how far an amount is under its maximum of the window; NaN for one that had nothing to lose."""
    window_s = policy.onchain.tvl_window_s
    needed = policy.coverage * inputs.expected(window_s, policy)
    bars = inputs.bars(amount, count=policy.bars(window_s), policy=policy)
    known = bars.once("known", lambda: int(np.isfinite(bars.close).sum()))
    if known < needed:
        return too_few(
            known, needed=needed, window_s=window_s, inputs=inputs, policy=policy, what=f"{what} high"
        )
    window = amount.until(inputs.good_s).since(inputs.good_s - window_s)
    finite = np.isfinite(window.values)
    values, times_s = window.values[finite], window.times_s[finite]
    high = float(values.max()) if values.size else math.nan
    if not high > 0.0:
        return _unknown(f"{what}: there was nothing to lose")
    if not math.isfinite(window.values[-1]):
        return _unknown(f"{what} is unknown now")
    high_s = float(times_s[int(values.argmax())])
    return _Fall(drawdown=float(values[-1]) / high - 1.0, high_s=high_s)


def _unknown(because: str) -> Measured:
    return Measured(value=math.nan, score=math.nan, because=because)


def _stress(result: Measured | NotYet) -> float:
    """Order tokens: the most stressed first, then what is not known yet, then what is unknown."""
    if isinstance(result, NotYet):
        return -1.0
    return -2.0 if math.isnan(result.score) else result.score
