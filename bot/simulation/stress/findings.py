"""What a stress run showed: how early each tier stood, what hedging removed and cost, what was bought.

Pure functions of a run. NaN is unknown; a tier that never stood is None.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.model.base_layers import Proposal
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.perpetual import PerpetualAction
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.simulation.metrics import deepest_fall, max_drawdown
from bot.simulation.results import TierChange, tier_changes
from bot.simulation.stress.description import FaultKind, Kind
from bot.simulation.stress.figures import is_met, measured
from bot.simulation.stress.paths import PRICE
from bot.simulation.stress.run import StressRun, Told, tiers_of

ALARM_FALL, ALARM_H = (
    0.10,
    7 * DAY_S / HOUR_S,
)  # R26: what must follow an ELEVATED entry for it not to be false
_DONE = (LegStatus.FILLED, LegStatus.PARTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """When a tier stood in a fall: at the first step from the peak to the low that had it."""

    before_low_h: float  # since it was entered, which may be before the peak
    share: float  # of the fall that was suffered by then: 0 at the peak, 1 at the low


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallen:
    """The deepest fall of a path."""

    path: str
    share: float  # fraction
    peak_h: float
    low_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """What was bought for one layer."""

    layer: str
    orders: int
    contracts: float
    paid_usd: float  # premium and fees; gas and swaps are in the cost


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolTold:
    """How far a protocol's, bridge's or stable's tier went."""

    name: str
    highest: Tier
    since_h: float  # when it first stood there
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """A proposal of the base layers, when it was first made."""

    at_h: float
    proposal: Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """A calibration figure, as this seed's path has it."""

    name: str
    path: str
    wanted: float
    found: float
    unit: str
    is_met: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finding:
    """One scenario under one policy. Money is USD, ratios are fractions, hours count from the first point."""

    run: StressRun
    fall: Fallen  # of what the scenario measures
    price_fall: Fallen
    guarded: Lead | None  # of the market tier, in the fall of the price
    elevated: Lead | None
    protocol: Lead | None  # of protocol tier ELEVATED or above, in the fall of what is measured
    highest: Tier
    protocols: tuple[ProtocolTold, ...]  # over CALM, the highest first
    unhedged: float  # drawdown of the LP alone
    hedged: float
    cost: float  # paid for hedging by the end, of the LP's value at the start; negative: it earned
    bought: tuple[Bought, ...]
    short_most: float  # largest short of the underlying, units
    refused: int  # orders that the venues refused
    raised: tuple[Raised, ...]  # that did not stand at the first step
    standing: tuple[Proposal, ...]  # that did
    tiers: tuple[TierChange, ...]
    false_alarms: int  # ELEVATED entries that no fall of 10 % followed within 7 days
    alarms: int  # all of them
    held_h: float  # hours with a HOLD
    degraded_h: float  # hours with a degraded family
    unseen_h: float  # hours without a frame
    holds: tuple[str, ...]  # reasons, each once
    figures: tuple[Reproduced, ...]
    orders: tuple[LegOutcome, ...]
    perpetuals: tuple[PerpetualOutcome, ...]

    @property
    def removed(self) -> float:
        """Return 1 - hedged / unhedged drawdown (R26); NaN where the LP did not fall."""
        return 1.0 - self.hedged / self.unhedged if self.unhedged > 0.0 else math.nan

    @property
    def told(self) -> tuple[Told, ...]:
        return self.run.told


def finding_of(run: StressRun) -> Finding:
    """Return what a run showed."""
    records, tiers = run.records, tiers_of(run.records)
    worst = _protocol_tiers(records)
    price_fall, fall = _fallen(run, PRICE), _fallen(run, run.scenario.measured)
    entries = _entries(run, tiers)
    start = records[0].decision.proposals
    return Finding(
        run=run,
        fall=fall,
        price_fall=price_fall,
        guarded=_lead(run, price_fall, tiers >= Tier.GUARDED),
        elevated=_lead(run, price_fall, tiers >= Tier.ELEVATED),
        protocol=_lead(run, fall, worst >= Tier.ELEVATED),
        highest=Tier(int(tiers.max())),
        protocols=_protocols(run),
        unhedged=max_drawdown(run.position_usd),
        hedged=max_drawdown(run.position_usd + run.gain_usd),
        cost=float(-run.gain_usd[-1] / run.position_usd[0]),
        bought=_bought(records),
        short_most=_short_most(records),
        refused=sum(map(_refused, records)),
        raised=tuple(_raised(run, {item.key for item in start})),
        standing=start,
        tiers=tuple(tier_changes(records)),
        false_alarms=sum(entries),
        alarms=len(entries),
        held_h=_hours(run, [bool(item.decision.holds) for item in records]),
        degraded_h=_hours(run, [any(group.degraded for group in item.decision.groups) for item in records]),
        unseen_h=_unseen_h(run),
        holds=tuple(dict.fromkeys(reason for item in records for reason in item.decision.holds)),
        figures=tuple(_figures(run)),
        orders=tuple(order for item in records for order in item.outcomes),
        perpetuals=tuple(order for item in records for order in item.perpetuals),
    )


def _fallen(run: StressRun, path: str) -> Fallen:
    found = deepest_fall(run.paths[path])
    if found is None:
        return Fallen(path=path, share=0.0, peak_h=math.nan, low_h=math.nan)
    peak, low = found
    values, hours = run.paths[path], run.paths.hours
    return Fallen(
        path=path,
        share=float(1.0 - values[low] / values[peak]),
        peak_h=float(hours[peak]),
        low_h=float(hours[low]),
    )


def _lead(run: StressRun, fall: Fallen, standing: NDArray[np.bool_]) -> Lead | None:
    """Return when a condition first stood from the peak to the low; None where it never did.

    Where the bot did not see the low, what it saw before counts.
    """
    if math.isnan(fall.low_h):
        return None
    inside = np.flatnonzero(standing & (run.hours >= fall.peak_h) & (run.hours <= fall.low_h))
    if not inside.size:
        return None
    first = int(inside[0])
    values, parts = run.paths[fall.path], run.scenario.steps_an_hour
    at = [float(values[round(hour * parts)]) for hour in (fall.peak_h, run.hours[first], fall.low_h)]
    below = np.flatnonzero(~standing[:first])
    since = int(below[-1]) + 1 if below.size else 0
    share = (at[0] - at[1]) / (at[0] - at[2])
    return Lead(before_low_h=float(fall.low_h - run.hours[since]), share=max(share, 0.0))


def _entries(run: StressRun, tiers: NDArray[np.int8]) -> list[bool]:
    """Return of each entry to ELEVATED whether it was false: what followed is read from the path."""
    high = tiers >= Tier.ELEVATED
    entries = np.flatnonzero(high & ~np.concatenate([[False], high[:-1]]))
    price, hours = run.paths[PRICE], run.paths.hours
    found = []
    for hour in run.hours[entries].tolist():
        after = price[(hours >= hour) & (hours <= hour + ALARM_H)]
        found.append(bool(after.min() > after[0] * (1.0 - ALARM_FALL)))
    return found


def _protocol_tiers(records: Sequence[StepRecord]) -> NDArray[np.int8]:
    """Return the highest tier among the protocols that a group depends on, after each step."""
    return np.array(
        [int(max(group.protocol_tier for group in item.decision.groups)) for item in records], dtype=np.int8
    )


def _protocols(run: StressRun) -> tuple[ProtocolTold, ...]:
    found: dict[str, ProtocolTold] = {}
    for hour, record in zip(run.hours.tolist(), run.records, strict=True):
        for item in record.decision.protocols:
            before = found.get(item.protocol)
            if item.groups and item.tier > (before.highest if before else Tier.CALM):
                because = "; ".join(
                    each.because for each in item.findings if each.fired and each.tier is item.tier
                )
                found[item.protocol] = ProtocolTold(
                    name=item.protocol, highest=item.tier, since_h=hour, because=because
                )
    return tuple(sorted(found.values(), key=lambda item: (-item.highest, item.since_h)))


def _refused(record: StepRecord) -> int:
    statuses = [item.status for item in record.outcomes] + [item.status for item in record.perpetuals]
    return statuses.count(LegStatus.REJECTED)


def _bought(records: Sequence[StepRecord]) -> tuple[Bought, ...]:
    found: dict[str, list[LegOutcome]] = {}
    for record in records:
        for item in record.outcomes:
            if item.leg.side is Side.BUY and item.status in _DONE:
                found.setdefault(item.leg.layer.value, []).append(item)
    return tuple(
        Bought(
            layer=layer,
            orders=len(items),
            contracts=sum(item.filled_size for item in items),
            paid_usd=sum(item.premium_usd for item in items),
        )
        for layer, items in sorted(found.items())
    )


def _short_most(records: Sequence[StepRecord]) -> float:
    """Return the largest short that perpetuals made together, units, >= 0."""
    size = least = 0.0
    for record in records:
        for item in record.perpetuals:
            if item.status in _DONE and item.order.action in (
                PerpetualAction.OPEN,
                PerpetualAction.REDUCE,
                PerpetualAction.ENDED,
            ):
                size += item.filled_size
                least = min(least, size)
    return -least


def _raised(run: StressRun, standing: set[tuple[str, str, str]]) -> Iterator[Raised]:
    """Yield each proposal that was not there from the first step, once, when it came."""
    known = set(standing)
    for hour, record in zip(run.hours.tolist(), run.records, strict=True):
        for item in record.decision.proposals:
            if item.key not in known:
                known.add(item.key)
                yield Raised(at_h=hour, proposal=item)


def _hours(run: StressRun, standing: Sequence[bool]) -> float:
    return sum(standing) / run.scenario.steps_an_hour


def _unseen_h(run: StressRun) -> float:
    return sum(item.to_h - item.from_h for item in run.scenario.faults if item.kind is FaultKind.UNSEEN)


def _figures(run: StressRun) -> Iterator[Reproduced]:
    for item in run.scenario.figures:
        yield Reproduced(
            name=item.name,
            path=item.path,
            wanted=item.value,
            found=measured(item, run.paths),
            unit=item.unit,
            is_met=is_met(item, run.paths),
        )


def totals(findings: Sequence[Finding]) -> Mapping[str, float]:
    """Return what all scenarios of one policy come to: means over market crises, counts of alarms."""
    crises = [item for item in findings if item.run.scenario.kind is Kind.CRISIS and item.unhedged > 0.0]
    return {
        "crises": len(crises),
        "removed": float(np.mean([item.removed for item in crises])) if crises else math.nan,
        "cost": float(np.mean([item.cost for item in crises])) if crises else math.nan,
        "false_alarms": sum(item.false_alarms for item in findings),
    }
