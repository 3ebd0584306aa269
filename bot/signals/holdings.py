"""Who holds tokens: pools, vaults, lending markets and bridges, by the label before the last slash."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bot.model.market import Column, Columns, Metric, SeriesKey
from bot.quant.bridges import MINTED
from bot.signals.onchain_policy import priced_as
from bot.signals.policy import SignalsPolicy
from bot.signals.reading import trailing, value_at
from bot.signals.samples import joined
from bot.signals.subjects import primary


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The series of one metric that one source has of one holder, a key for each token."""

    label: str  # "curve:3pool", "sdai", "aave-eth", "arbitrum"
    source: str
    keys: tuple[SeriesKey, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(token_of(key) for key in self.keys)

    @property
    def reading_source(self) -> str:
        """The source of its reading: a holder of one token names it, so that markets are told apart."""
        return f"{self.source}:{self.tokens[0]}" if len(self.keys) == 1 else self.source


def kind_of(source: str) -> str:
    """Return the part before the colon: sources of different kinds are independent of each other (R2)."""
    return source.partition(":")[0]


def label_of(key: SeriesKey) -> str:
    return key.subject.rpartition("/")[0]


def token_of(key: SeriesKey) -> str:
    return key.subject.rpartition("/")[2]


def holdings(keys: Iterable[SeriesKey]) -> tuple[Holding, ...]:
    """Return keys of subjects ``<label>/<token>`` by label and source, in the order of their first."""
    found: dict[tuple[str, str], list[SeriesKey]] = {}
    for key in keys:
        if label_of(key):
            found.setdefault((label_of(key), key.source), []).append(key)
    return tuple(
        Holding(label=label, source=source, keys=tuple(each)) for (label, source), each in found.items()
    )


def held_tokens(columns: Columns, policy: SignalsPolicy) -> tuple[SeriesKey, ...]:
    """Return what lies somewhere on a chain: not what a bridge minted, nor what an aggregator says."""
    others = (MINTED, *policy.onchain.aggregators)
    return tuple(key for key in columns.find(Metric.TOKEN_UNITS) if kind_of(key.source) not in others)


def supplied(idle: Column, utilisation: Column, *, max_lag_s: float) -> Column:
    """Return what lenders have supplied, units: idle / (1 - utilisation); NaN when all is lent out.

    Utilisation is debt / (debt + idle), as the lending watchers read it, so borrowing moves nothing here.
    """
    times_s, (units, share) = joined((idle, utilisation), max_lag_s=max_lag_s)
    lent = (share >= 0.0) & (share < 1.0) & (units >= 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Column(times_s=times_s, values=np.where(lent, units / (1.0 - share), np.nan))


def price_key(columns: Columns, token: str, policy: SignalsPolicy) -> SeriesKey | None:
    """Return the primary price of a token, a wrapped coin's being its coin's."""
    return primary(columns, Metric.PRICE_USD, priced_as(policy.onchain).get(token, token))


def usd_at(
    columns: Columns,
    token: str,
    at_s: float,
    *,
    now_s: float,
    lookback_s: float,
    policy: SignalsPolicy,
) -> float:
    """Return the last known price at a time, USD; par for a stable without a price, NaN when unknown."""
    key = price_key(columns, token, policy)
    if key is None:
        return 1.0 if token in policy.stables else float("nan")
    return value_at(trailing(columns, key, now_s=now_s, lookback_s=lookback_s), at_s)
