"""Made-up runs for the tests of their pages: windows, a sweep, Monte Carlo. Small numbers, real forms."""

import math

import numpy as np

from bot.simulation.intervals import Interval
from bot.simulation.report.inputs import (
    ControlFigures,
    Estimate,
    Fan,
    FanReport,
    Heat,
    Histogram,
    MonteCarloReport,
    RiskFigure,
    StrategyFigures,
    SweepCell,
    SweepReport,
    WindowFigures,
    WindowsReport,
)


def strategy(name, removed, carry, **figures):
    return StrategyFigures(
        name=name, removed=removed, carry=carry, net=carry / 2.0, efficiency=removed / carry, **figures
    )


def windows_run(**changes):
    own = ("alvh_classic", "alvh_steward")
    time_at = {"CALM": 0.9, "GUARDED": 0.06, "ELEVATED": 0.04, "unknown": 0.0}
    figures = {
        "title": "$1,000,000 in v2:ETH/USDC",
        "hours": 40_000,
        "lead_days": math.nan,
        "own": own,
        "strategies": (
            strategy("alvh_classic", 0.08, 0.09, time_at=time_at),
            strategy(
                "alvh_steward", 0.18, 0.045, removed_range=Interval(low=0.14, high=0.22), time_at=time_at
            ),
            strategy("pput", 0.54, 0.28),
        ),
        "windows": (
            window("crash", 0.30, {"alvh_classic": 0.28, "alvh_steward": 0.24, "pput": 0.15}),
            window("slide", 0.10, {"alvh_classic": 0.11, "alvh_steward": 0.09, "pput": 0.06}),
            window("quiet", math.nan, {}, kind="calm"),
        ),
        "control": ControlFigures(policy="alvh_steward", rotations=60, removed_p95=0.1),
        "doubled": (strategy("alvh_classic", 0.06, 0.1), strategy("alvh_steward", 0.17, 0.05)),
        "checks": (("Walk-forward, 2022", "ALVH steward: removed 17.0 %"),),
        "policies": {"alvh_classic": {"tiers.fast_vote": "off"}, "alvh_steward": {"tiers.fast_vote": "0.75"}},
        "assumptions": ("Skew is modelled.",),
    }
    return WindowsReport(**(figures | changes))


def window(name, unhedged, hedged, *, kind="crisis"):
    return WindowFigures(
        id=name,
        kind=kind,
        from_s=1.6e9,
        to_s=1.61e9,
        fall=2.0 * unhedged,
        is_market_crisis=kind == "crisis",
        unhedged=unhedged,
        hedged=hedged,
        guarded={"alvh_steward": 0.1},
        elevated={"alvh_steward": 0.3},
    )


def sweep_run(cells=6, **changes):
    values = [("0.6", "5"), ("0.6", "10"), ("0.75", "5"), ("0.75", "10")]
    found = tuple(
        SweepCell(
            place=at,
            values=values[at % 4],
            removed=0.20 - 0.01 * at,
            carry=0.05 + 0.001 * at,
            net=0.02,
            efficiency=(0.20 - 0.01 * at) / 0.05,
            trades_a_year=90.0,
            keeps=at < 3,
            plateau=3.0 - 0.1 * at,
            is_efficient=at == 0,
        )
        for at in range(cells)
    )
    heat = Heat(
        x_key="tiers.fast_vote",
        y_key="perpetual.margin_days",
        x_values=("0.6", "0.75"),
        y_values=("5", "10"),
        rows=(np.array([4.0, 3.6]), np.array([3.8, math.nan])),
        chosen=(0, 0),
    )
    figures = {
        "title": "steward varied in 2 keys",
        "objective": "efficiency",
        "keys": ("tiers.fast_vote", "perpetual.margin_days"),
        "cells": found,
        "base": SweepCell(place=-1, values=(), removed=0.17, carry=0.05, efficiency=3.4),
        "chosen": 0,
        "best": 1,
        "heats": (heat,),
        "checks": (("Probability of overfitting", "20.0 %"),),
        "constraints": ("carry at most 5.0% a year",),
        "assumptions": ("12 market crises.",),
    }
    return SweepReport(**(figures | changes))


def monte_carlo_run(policies=1):
    return MonteCarloReport(title="v2:ETH/USDC", policies=tuple(map(fans, range(policies))))


def fans(number):
    days = np.arange(0.0, 91.0, 30.0)
    spread = np.array([[-0.3], [-0.1], [0.0], [0.1], [0.3]]) * np.sqrt(days / 90.0)
    unhedged = tuple(1e6 * (1.0 + row) for row in spread)
    hedged = tuple(1e6 * (1.0 + 0.8 * row) - 1e4 for row in spread)
    return FanReport(
        title=f"policy {number}",
        paths=1_000,
        days=90.0,
        seed=7,
        figures=(
            RiskFigure(
                name="Mean deepest fall",
                unit="share",
                unhedged=estimate(0.3),
                hedged=estimate(0.24),
                difference=estimate(-0.06),
            ),
            RiskFigure(
                name="Time to protect, median",
                unit="days",
                unhedged=Estimate(value=math.nan),
                hedged=estimate(2.0),
                difference=Estimate(value=math.nan),
            ),
        ),
        fans=(Fan(name="Value", unit="USD", days=days, unhedged=unhedged, hedged=hedged),),
        differences=(
            Histogram(
                name="Value at the end",
                unit="USD",
                edges=np.array([-2e4, 0.0, 2e4, 4e4]),
                counts=np.array([600.0, 300.0, 100.0]),
            ),
        ),
        policy={"policy": f"policy {number}"},
        assumptions=("Jumps are rare.",),
    )


def estimate(value):
    return Estimate(value=value, range=Interval(low=0.9 * value, high=1.1 * value))
