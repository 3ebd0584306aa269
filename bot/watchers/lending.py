"""What the lending watchers share: a market's token and the limits of what a rate or a health can be."""

import math
from dataclasses import dataclass

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.watchers.rows import BadRead, Unknown

NO_DEBT = 1e6  # how an infinite health factor is written (Metric.HEALTH_FACTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class LendingToken:
    """A token that a market lends; ``decimals`` is checked against the contract."""

    symbol: str
    address: Address
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account whose health is watched; ``label`` is the subject of the observation."""

    label: str
    address: Address


def check_limits(what: str, *, highest_apr: float) -> None:
    """Raise ConfigError for a limit that would let everything or nothing through."""
    if not 0 < highest_apr < math.inf:
        raise ConfigError(f"{what}: highest_apr must be a number > 0, was {highest_apr}")


def check_names(what: str, names: tuple[str, ...]) -> None:
    """Raise ConfigError where two subjects would be one."""
    if len(set(names)) != len(names) or not all(names):
        raise ConfigError(f"{what}: labels must be given once each and not be empty, were {names}")


def plausible_apr(apr: float, highest_apr: float, what: str) -> float:
    """Return the rate. Raises BadRead when it is negative or over the configured limit."""
    if not 0.0 <= apr <= highest_apr:
        raise BadRead(f"{what} is {apr:.4g} a year, allowed is 0..{highest_apr:g}")
    return apr


def utilisation(debt: float, idle: float, what: str) -> float | Unknown:
    """Return debt / (debt + idle), as both protocols' rate models have it."""
    if not debt + idle > 0:
        return Unknown(f"{what} is empty: nothing supplied, nothing borrowed")
    return debt / (debt + idle)
