"""What the watchers of Balancer v2 and v3 share: the series of a pool, its shares, rate and pauses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Metric, SeriesKey
from bot.watchers.pools import from_raw
from bot.watchers.rows import BadRead, Unknown

SOURCE_V2, SOURCE_V3 = "balancer_v2", "balancer_v3"
_HIGHEST_RATE = 1e3  # a BPT of a stable pool starts at about 1 and grows with fees


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolToken:
    """A token of a pool."""

    symbol: str
    address: Address
    decimals: int


def check_symbols(label: str, tokens: Sequence[PoolToken]) -> None:
    """Raise ConfigError unless there are two or more tokens, each named once."""
    symbols = [token.symbol for token in tokens]
    if len(symbols) < 2 or len(set(symbols)) != len(symbols):
        raise ConfigError(f"pool {label}: two or more tokens, each once, are needed, were {symbols}")


def pool_series(
    label: str, tokens: Sequence[PoolToken], source: str, *, stable: bool
) -> tuple[SeriesKey, ...]:
    """Return a pool's series in the order in which both watchers fill them."""
    names = [f"{label}/{token.symbol}" for token in tokens]
    units = [SeriesKey(Metric.TOKEN_UNITS, name, source) for name in names]
    shares = [SeriesKey(Metric.POOL_SHARE, name, source) for name in names]
    rest = [SeriesKey(Metric.POOL_LIQUIDITY, label, source), SeriesKey(Metric.PAUSED, label, source)]
    if stable:
        return (*units, *shares, SeriesKey(Metric.VIRTUAL_PRICE, label, source), *rest)
    return (*units, *rest)


def shares_of(values: Sequence[float], what: str) -> list[float]:
    """Return each value's share of their sum. Raises BadRead for an empty pool."""
    total = sum(values)
    if total <= 0:
        raise BadRead(f"{what}: the pool is empty")
    return [value / total for value in values]


def pool_rate(found: tuple[Any, ...] | None, what: str) -> float | Unknown:
    """Return what a BPT is worth in the pool's own unit, from 18 decimals."""
    if found is None:
        return Unknown(f"{what} failed or returned nothing; check the address")
    rate = from_raw(found[0], 18)
    return (
        rate if 0 < rate < _HIGHEST_RATE else Unknown(f"{what} is {rate}, allowed is 0..{_HIGHEST_RATE:.0f}")
    )


def any_true(flags: Sequence[tuple[Any, ...] | None], what: str) -> float | Unknown:
    """Return 1 where any flag is set, 0 where none is; a set flag counts also where another is unknown."""
    if any(flag is not None and flag[0] for flag in flags):
        return 1.0
    if any(flag is None for flag in flags):
        return Unknown(f"{what} failed or returned nothing; check the address")
    return 0.0
