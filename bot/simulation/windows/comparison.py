"""Policies and benchmarks of a backtest side by side, by one name each, as R26 asks for them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.errors import ConfigError
from bot.model.tier import Tier
from bot.model.units import iso_utc
from bot.simulation.results import ALVH, UNHEDGED
from bot.simulation.windows.control import ControlFinding
from bot.simulation.windows.measures import MoneyFinding, Reached, TierFinding, WindowFinding

PUT, TAIL, STATIC = "pput", "vxth", "static_442"
_RATIOS = (("over_pput", PUT), ("over_vxth", TAIL), ("over_static_442", STATIC))


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyFinding:
    """All R26 figures of one policy or benchmark. A benchmark has no tiers."""

    name: str  # "alvh_steward", "pput"
    windows: tuple[WindowFinding, ...]
    account: str  # whose figures in them
    money: MoneyFinding
    tiers: TierFinding | None


def policy_name(policy: str) -> str:
    """Return the name under which a policy stands beside the benchmarks."""
    return f"{ALVH}_{Path(policy).stem if policy.endswith('.toml') else policy}"


def refuse_one_name(policies: Sequence[str]) -> None:
    """Raise ConfigError where two policies would stand under one name: one would hide the other."""
    if len({policy_name(item) for item in policies}) < len(policies):
        raise ConfigError(
            f"--policy must name each policy once, a file by a name of its own, was {', '.join(policies)}"
        )


def windows_json(strategies: Sequence[StrategyFinding]) -> dict[str, object]:
    """Return each window's figures of each strategy; null is unknown or does not apply."""
    ids = [item.window.id for item in strategies[0].windows]
    return {
        name: {item.name: _window_json(item, item.windows[at]) for item in strategies}
        for at, name in enumerate(ids)
    }


def summary_json(strategies: Sequence[StrategyFinding]) -> dict[str, object]:
    """Return the figures of each strategy over all hours; null is unknown or does not apply."""
    return {item.name: _summary_json(item) for item in strategies}


def ratios_json(
    strategies: Sequence[StrategyFinding],
    doubled: Sequence[StrategyFinding],
    control: ControlFinding | None,
) -> dict[str, object]:
    """Return how each policy stands against the benchmarks, its costs doubled and its rotated tiers."""
    costly = {item.name: item for item in doubled}
    return {
        item.name: {
            **dict(_against(item, strategies)),
            "efficiency_left_doubled": _ratio(
                costly[item.name].money.efficiency if item.name in costly else math.nan,
                item.money.efficiency,
            ),
            "removed_over_control_p95": _ratio(item.money.removed, control.removed_p95)
            if control is not None and control.strategy == item.name
            else None,
        }
        for item in strategies
        if item.tiers is not None
    }


def unhedged_finding(beside: StrategyFinding) -> StrategyFinding:
    """Return the position alone: what the hedged strategies are measured against."""
    return StrategyFinding(
        name=UNHEDGED,
        windows=beside.windows,
        account=UNHEDGED,
        money=MoneyFinding(
            removed=0.0 if beside.money.removed_of else math.nan,
            removed_of=beside.money.removed_of,
            carry=0.0,
            net=0.0,
            trades_a_year=0.0,
        ),
        tiers=None,
    )


def made_worse(item: StrategyFinding) -> tuple[str, ...]:
    """Return the market crises in which a strategy's drawdown was deeper than the position's own."""
    found = [each for each in item.windows if each.is_market_crisis]
    return tuple(each.window.id for each in found if _removed(item, each) < 0.0)


def _against(
    item: StrategyFinding, strategies: Sequence[StrategyFinding]
) -> Iterator[tuple[str, float | None]]:
    named = {each.name: each for each in strategies}
    for key, name in _RATIOS:
        other = named.get(name)
        yield (
            f"efficiency_{key}",
            _ratio(item.money.efficiency, other.money.efficiency if other else math.nan),
        )


def _window_json(strategy: StrategyFinding, item: WindowFinding) -> dict[str, object]:
    has_tiers = strategy.tiers is not None and item.is_known
    guarded, elevated = (item.guarded, item.elevated) if has_tiers else (None, None)
    return {
        "max_drawdown": or_none(_drawdown(strategy, item)),
        "removed": or_none(_removed(strategy, item)),
        "first_guarded_ts": _ts(guarded),
        "first_elevated_ts": _ts(elevated),
        "share_at_guarded": guarded.share if guarded else None,
        "share_at_elevated": elevated.share if elevated else None,
        "guarded_since_ts": iso_utc(guarded.since_s) if guarded else None,
        "elevated_since_ts": iso_utc(elevated.since_s) if elevated else None,
        "cost_share": or_none(_cost(strategy, item)),
    }


def _drawdown(strategy: StrategyFinding, item: WindowFinding) -> float:
    if strategy.account != UNHEDGED:
        return item.hedged.get(strategy.account, math.nan)
    return item.unhedged if math.isfinite(item.unhedged) else item.lp_fall


def _removed(strategy: StrategyFinding, item: WindowFinding) -> float:
    if strategy.account != UNHEDGED:
        return item.removed(strategy.account)
    return 0.0 if _drawdown(strategy, item) > 0.0 else math.nan


def _cost(strategy: StrategyFinding, item: WindowFinding) -> float:
    if strategy.account != UNHEDGED:
        return item.cost.get(strategy.account, math.nan)
    return 0.0 if item.hours_priced else math.nan


def _summary_json(item: StrategyFinding) -> dict[str, object]:
    tiers, money = item.tiers, item.money
    return {
        "removed": or_none(money.removed),
        "carry": or_none(money.carry),
        "net": or_none(money.net),
        "efficiency": or_none(money.efficiency),
        "false_alarms_per_year": or_none(tiers.false_alarms_a_year) if tiers else None,
        "time_elevated_share": or_none(time_elevated(tiers)) if tiers else None,
        "trades_per_year": or_none(money.trades_a_year),
        "market_crises": money.removed_of,
        "crises_made_worse": list(made_worse(item)),
    }


def time_elevated(tiers: TierFinding) -> float:
    """Return the share of the hours outside crises at ELEVATED or above."""
    return math.fsum(tiers.time_at[tier.name] for tier in Tier if tier >= Tier.ELEVATED)


def _ratio(one: float, other: float) -> float | None:
    known = math.isfinite(one) and math.isfinite(other) and other > 0.0
    return one / other if known else None


def _ts(reached: Reached | None) -> str | None:
    return iso_utc(reached.first_s) if reached else None


def or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
