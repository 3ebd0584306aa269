"""Which series a signal is read for."""

from bot.model.market import Columns, Metric, SeriesKey
from bot.signals.policy import SignalsPolicy


def pool_underlying(label: str) -> str:
    """Return the underlying in a pool's label, ``ETH`` of ``v3:ETH/USDC``; empty when it names none."""
    _, separator, pair = label.partition(":")
    underlying, slash, _ = pair.partition("/")
    return underlying if separator and slash else ""


def primary(columns: Columns, metric: Metric, subject: str) -> SeriesKey | None:
    """Return the first configured series of a subject, None when there is none."""
    return next(iter(columns.find(metric, subject)), None)


def primary_prices(columns: Columns, policy: SignalsPolicy) -> tuple[SeriesKey, ...]:
    """Return one price series per asset that can move: stables are left out."""
    chosen: dict[str, SeriesKey] = {}
    for key in columns.find(Metric.PRICE_USD):
        if key.subject not in policy.stables:
            chosen.setdefault(key.subject, key)
    return tuple(chosen.values())
