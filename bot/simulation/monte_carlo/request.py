"""What a person asks of made-up markets. The standard library alone: every command imports it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PathsRequest:
    """Which markets are made up."""

    paths: int
    days: int
    seed: int
    kind: str = "regimes"
    model: Path | None = None
    data: Path | None = None  # history that days are drawn from
    start: str | None = None  # first day of it that is used


@dataclass(frozen=True, slots=True, kw_only=True)
class MonteCarloRequest:
    """Which positions are hedged by which policies on them."""

    made: PathsRequest
    exposures: Sequence[str]
    policies: Sequence[str]
    market: Path | None = None
    exact: int = 0  # paths that the whole engine runs too
    report: Path | None = None
