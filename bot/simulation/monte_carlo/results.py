"""What a Monte Carlo run found: typed figures with intervals, fans and distributions, and their JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.model.market import FloatArray
from bot.simulation.monte_carlo import estimates
from bot.simulation.monte_carlo import measure_tiles as measure
from bot.simulation.monte_carlo.estimates import Statistic
from bot.simulation.monte_carlo.run import PathEnds, Setup
from bot.simulation.report.inputs import LEVELS, Estimate, Fan, FanReport, Histogram, RiskFigure

_BINS = 60
TIERS_AGREE = 0.10  # shares of time at GUARDED and at ELEVATED so far apart are one model's
CRISIS_FALL = 0.05  # R26: a market crisis is a fall of the LP over 5 %


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyRisk:
    """One policy on all paths."""

    name: str
    figures: tuple[RiskFigure, ...]
    fan: Fan
    differences: tuple[Histogram, ...]

    def figure(self, name: str) -> RiskFigure:
        return next(item for item in self.figures if item.name == name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExactCheck:
    """The same paths through the whole engine, hour by hour, and by the kernel's rules; each by path."""

    policy: str
    paths: int
    end: tuple[FloatArray, FloatArray]  # (engine, kernel), share of the start
    drawdown: tuple[FloatArray, FloatArray]
    guarded_share: tuple[FloatArray, FloatArray]  # of the days' ends at GUARDED
    high_share: tuple[FloatArray, FloatArray]  # at ELEVATED or above
    same_side: FloatArray  # of the days' ends, on which both stand at ELEVATED or above, or both under it

    @property
    def tiers_apart(self) -> float:
        """How far the mean shares of time are apart, the worse of GUARDED and of ELEVATED or above."""
        pairs = (self.guarded_share, self.high_share)
        return max(abs(float(engine.mean()) - float(kernel.mean())) for engine, kernel in pairs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonteCarloResult:
    """A run: what was run, and what each policy made of it."""

    exposures: tuple[str, ...]
    value_usd: float
    kind: str
    paths: int
    days: float
    seed: int
    policies: tuple[PolicyRisk, ...]
    assumptions: tuple[str, ...]
    simplified: tuple[str, ...]
    exact: tuple[ExactCheck, ...] = ()

    def reports(self) -> tuple[FanReport, ...]:
        """Return the page of each policy."""
        return tuple(
            FanReport(
                title=f"{' and '.join(self.exposures)}, {item.name}, {self.kind}",
                paths=self.paths,
                days=self.days,
                seed=self.seed,
                figures=item.figures,
                fans=(item.fan,),
                differences=item.differences,
                policy={"policy": item.name},
                assumptions=(*self.assumptions, *self.simplified),
            )
            for item in self.policies
        )

    def to_json(self) -> dict[str, object]:
        """Return plain values; fractions are of the start's value, NaN is null."""
        return {
            "exposures": list(self.exposures),
            "value_usd": self.value_usd,
            "kind": self.kind,
            "paths": self.paths,
            "days": self.days,
            "seed": self.seed,
            "interval": 0.90,
            "policies": {item.name: _policy_json(item) for item in self.policies},
            "exact": [_exact_json(item) for item in self.exact],
            "assumptions": list(self.assumptions),
            "simplified": list(self.simplified),
        }


def risk_of(setup: Setup, ends: PathEnds) -> tuple[PolicyRisk, ...]:
    """Return every policy's figures."""
    bare = ends.kept[0].astype(np.float64)
    return tuple(
        PolicyRisk(
            name=policy.name,
            figures=_figures(bare, ends.kept[1 + at].astype(np.float64), setup),
            fan=_fan(setup, ends.counts, 1 + at),
            differences=_differences(bare, ends.kept[1 + at], setup),
        )
        for at, policy in enumerate(setup.policies)
    )


def _figures(bare: FloatArray, hedged: FloatArray, setup: Setup) -> tuple[RiskFigure, ...]:
    years = setup.steps * setup.step_days / 365.0
    total_usd = sum(spec.value_usd for spec in setup.specs)
    falls, ends = (bare[1], hedged[1]), (bare[0], hedged[0])
    worst = (bare[measure.WORST_LOSS], hedged[measure.WORST_LOSS])
    losses = (total_usd * (1.0 - ends[0]), total_usd * (1.0 - ends[1]))
    lost = (ends[0] - ends[1]) / years
    return (
        _both("Worst 10 days, mean loss", "share", estimates.mean, worst),
        _both("Worst 10 days, 95 % quantile", "share", estimates.quantile(0.95), worst),
        _both("Mean deepest fall", "share", estimates.mean, falls),
        _both("Deepest fall, 95 % quantile", "share", estimates.quantile(0.95), falls),
        _both("Loss at the end, VaR 95 %", "USD", estimates.quantile(0.95), losses),
        _both("Loss at the end, VaR 99 %", "USD", estimates.quantile(0.99), losses),
        _both("Loss at the end, expected shortfall 95 %", "USD", estimates.shortfall(0.95), losses),
        _both("Loss at the end, expected shortfall 99 %", "USD", estimates.shortfall(0.99), losses),
        _both("Mean value at the end", "USD", estimates.mean, (total_usd * ends[0], total_usd * ends[1])),
        _hedged("Share of the worst 10 days removed", "share", estimates.mean(_removed(*worst))[0]),
        _hedged("Share of the deepest fall removed", "share", estimates.mean(_removed(*falls))[0]),
        _hedged("Cost a year", "share", estimates.mean(lost)[0]),
        _hedged("Cost a year, 95 % quantile", "share", estimates.quantile(0.95)(lost)[0]),
        _hedged("Option premium a year", "share", estimates.mean(hedged[measure.PAID] / years)[0]),
        _hedged("Perpetual's gain a year", "share", estimates.mean(hedged[measure.PERPETUAL_SUM] / years)[0]),
        _hedged("Orders a year", "number", estimates.mean(hedged[measure.ORDER_COUNT] / years)[0]),
        _hedged(
            "Time at ELEVATED or above",
            "share",
            estimates.mean(hedged[measure.HIGH_COUNT] / (setup.steps + 1))[0],
        ),
        *_protection(falls[0], hedged, setup),
    )


def _removed(bare: FloatArray, hedged: FloatArray) -> FloatArray:
    """Return 1 - hedged / unhedged (R26) of the paths that lost over 5 %, NaN of the others."""
    fell = bare > CRISIS_FALL
    return np.where(fell, 1.0 - hedged / np.where(fell, bare, 1.0), np.nan)


def _protection(fall: FloatArray, hedged: FloatArray, setup: Setup) -> tuple[RiskFigure, ...]:
    """Return how soon ELEVATED stood in each path's deepest fall, where that was over 5 %."""
    fell = fall > CRISIS_FALL
    waited = hedged[measure.WAITED][fell]
    stood = waited >= 0.0
    days = np.where(stood, waited * setup.step_days, np.nan)
    suffered = np.where(stood, hedged[measure.FALL_WAITED][fell] / fall[fell], np.nan)
    return (
        _hedged("ELEVATED before the low of the deepest fall", "share", estimates.share(stood)),
        _hedged("Time to protect: peak to ELEVATED, mean", "days", estimates.mean(days)[0]),
        _hedged("Time to protect, median", "days", _median(days)),
        _hedged("Share of the fall suffered by then", "share", estimates.mean(suffered)[0]),
    )


def _median(values: FloatArray) -> Estimate:
    known = values[np.isfinite(values)]
    return estimates.quantile(0.5)(known)[0] if known.size else estimates.NOTHING


def _both(name: str, unit: str, statistic: Statistic, sides: tuple[FloatArray, FloatArray]) -> RiskFigure:
    bare, hedged = sides
    return RiskFigure(
        name=name,
        unit=unit,
        unhedged=estimates.estimate(statistic, bare),
        hedged=estimates.estimate(statistic, hedged),
        difference=estimates.difference(statistic, hedged, bare),
    )


def _hedged(name: str, unit: str, found: Estimate) -> RiskFigure:
    nothing = estimates.NOTHING
    return RiskFigure(name=name, unit=unit, unhedged=nothing, hedged=found, difference=nothing)


def bin_edges() -> FloatArray:
    """Return the edges of the fans' bins, shares of the start's value."""
    steps = np.arange(measure.BINS + 1, dtype=np.int64) << int(measure.BIN_SHIFT)
    return (steps + int(measure.LEAST_BITS)).astype(np.int32).view(np.float32).astype(np.float64)


def quantiles_of(counts: NDArray[np.int64], levels: Sequence[float]) -> FloatArray:
    """Return quantiles of counted values, [level, point]; within a bin values are taken as evenly spread."""
    edges, below = bin_edges(), np.cumsum(counts, axis=1)
    found = np.empty((len(levels), counts.shape[0]))
    for point, row in enumerate(below):
        padded = np.concatenate([[0], row]).astype(np.float64)
        for at, level in enumerate(levels):
            wanted = level * padded[-1]
            place = min(int(np.searchsorted(row, wanted, side="left")), row.size - 1)
            inside = (wanted - padded[place]) / max(padded[place + 1] - padded[place], 1.0)
            found[at, point] = edges[place] + inside * (edges[place + 1] - edges[place])
    return found


def _fan(setup: Setup, counts: NDArray[np.int64], book: int) -> Fan:
    total_usd = sum(spec.value_usd for spec in setup.specs)
    bare, hedged = (total_usd * quantiles_of(counts[item], LEVELS) for item in (0, book))
    return Fan(
        name="Value of the position",
        unit="USD",
        days=np.asarray(setup.points * setup.step_days, dtype=np.float64),
        unhedged=tuple(bare),
        hedged=tuple(hedged),
    )


def _differences(bare: FloatArray, hedged: FloatArray, setup: Setup) -> tuple[Histogram, ...]:
    total_usd = sum(spec.value_usd for spec in setup.specs)
    return (
        _histogram("Value at the end", "USD", total_usd * (hedged[0] - bare[0])),
        _histogram("Worst 10 days", "share", bare[measure.WORST_LOSS] - hedged[measure.WORST_LOSS]),
        _histogram("Deepest fall", "share", bare[1] - hedged[1]),
    )


def _histogram(name: str, unit: str, values: FloatArray) -> Histogram:
    """Count values in even bins from the 0.1 to the 99.9 % quantile, what is beyond in the outermost."""
    low, high = (float(item) for item in np.quantile(values, (0.001, 0.999)))
    if not high > low:
        low, high = low - 1e-9, high + 1e-9
    counts, edges = np.histogram(np.clip(values, low, high), bins=_BINS, range=(low, high))
    return Histogram(name=name, unit=unit, edges=edges, counts=counts.astype(np.float64))


def _policy_json(item: PolicyRisk) -> dict[str, object]:
    return {
        "figures": {
            each.name: {"unit": each.unit}
            | {
                side: _estimate_json(found)
                for side, found in (
                    ("unhedged", each.unhedged),
                    ("hedged", each.hedged),
                    ("difference", each.difference),
                )
            }
            for each in item.figures
        },
        "fan": {
            "unit": item.fan.unit,
            "days": item.fan.days.tolist(),
            "levels": list(LEVELS),
            "unhedged": [row.tolist() for row in item.fan.unhedged],
            "hedged": [row.tolist() for row in item.fan.hedged],
        },
        "differences": [
            {
                "name": each.name,
                "unit": each.unit,
                "edges": each.edges.tolist(),
                "counts": each.counts.astype(int).tolist(),
            }
            for each in item.differences
        ],
    }


def _estimate_json(found: Estimate) -> Mapping[str, float | None]:
    return {
        name: _plain(value)
        for name, value in (("value", found.value), ("low", found.range.low), ("high", found.range.high))
    }


def _exact_json(item: ExactCheck) -> dict[str, object]:
    sides = (
        ("end", item.end),
        ("drawdown", item.drawdown),
        ("guarded_share", item.guarded_share),
        ("elevated_share", item.high_share),
    )
    return {
        "policy": item.policy,
        "paths": item.paths,
        "tiers_apart": item.tiers_apart,
        "same_side_of_elevated": [_plain(x) for x in item.same_side],
        **{
            name: {"engine": [_plain(x) for x in pair[0]], "kernel": [_plain(x) for x in pair[1]]}
            for name, pair in sides
        },
    }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
