"""What a backtest found, and its JSON: times are ISO 8601 UTC strings, ratios fractions, money USD."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bot.model.exposure import LpShape
from bot.model.hedge import LegOutcome, Side
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import StepRecord
from bot.model.tier import Tier
from bot.model.units import iso_utc
from bot.ports import VenuePosition
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.tables import FileReport, Gap

ALVH, UNHEDGED = "alvh", "unhedged"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrategyResult:
    """One strategy's path. Money is USD; arrays have one value per hour of the backtest."""

    name: str
    about: str
    value_usd: FloatArray  # position, cash spent or received, and hedges marked to a sale; NaN unknown
    hedge_usd: FloatArray  # mark of the hedges alone
    perpetual_usd: FloatArray  # part of it: what closing the perpetuals at the mark would gain
    cash_usd: FloatArray  # received less paid for hedges so far
    outcomes: tuple[LegOutcome, ...]
    final_value_usd: float  # at the last hour with a known value
    final_s: float
    max_drawdown: float  # fraction, of hours with a value of every strategy; none crosses a hole over 36 h
    cost_usd: float  # paid for hedges, less received, less what the remaining ones are worth
    perpetuals: tuple[
        PerpetualOutcome, ...
    ] = ()  # of a benchmark that trades them; alvh's are in the records


@dataclass(frozen=True, slots=True, kw_only=True)
class TierChange:
    at_s: float
    group: str
    tier: Tier
    previous: Tier
    because: str
    block: int | None = None  # None in a backtest, whose blocks are made up
    votes: tuple[str, ...] = ()  # what each family's signals said


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The LP as it was opened, or opened anew around the price, from one hour on."""

    place: int  # of that hour
    shape: LpShape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BacktestResult:
    """Everything a report needs."""

    spec: ExposureSpec
    policy_hash: str
    times_s: FloatArray
    spot_usd: FloatArray
    position_usd: FloatArray  # the LP alone, fees included
    strategies: Mapping[str, StrategyResult]  # alvh first, unhedged last
    records: tuple[StepRecord, ...]  # of alvh
    tiers: tuple[TierChange, ...]  # alvh's first tier and every change
    final_positions: tuple[VenuePosition, ...]  # alvh's hedges at the last hour
    assumptions: tuple[str, ...]
    found: tuple[FileReport, ...]
    missing: tuple[str, ...]
    gaps: tuple[Gap, ...]  # inside the range
    shapes: tuple[Shape, ...] = ()  # of the LP, one for each time it was opened; empty: opened once

    @property
    def first_elevated_s(self) -> float:
        """When alvh first stood at ELEVATED or above; NaN if it never did."""
        return next((item.at_s for item in self.tiers if item.tier >= Tier.ELEVATED), math.nan)

    def to_json(self) -> dict[str, object]:
        """Return the facts as plain values for a JSON file; NaN is null."""
        return {
            "exposure": {"pool": self.spec.pool, "value_usd": self.spec.value_usd},
            "from_ts": iso_utc(self.times_s[0]),
            "to_ts": iso_utc(self.times_s[-1]),
            "hours": int(self.times_s.size),
            "policy_hash": self.policy_hash,
            "strategies": {name: _strategy_json(item) for name, item in self.strategies.items()},
            "tiers": [tier_json(item) for item in self.tiers],
            "first_elevated_ts": _iso_or_none(self.first_elevated_s),
            "orders": [order_json(item) for item in self.strategies[ALVH].outcomes],
            "perpetual_orders": [perpetual_json(item) for step in self.records for item in step.perpetuals],
            "assumptions": list(self.assumptions),
            "missing": list(self.missing),
            "gaps": [gap_json(item) for item in self.gaps],
            "files": [_file_json(item) for item in self.found],
        }


def shapes_of(shapes: Iterable[LpShape]) -> tuple[Shape, ...]:
    """Return the first of the shapes that the LP had hour by hour, and every other one as it began."""
    found: list[Shape] = []
    for place, shape in enumerate(shapes):
        if not found or found[-1].shape != shape:
            found.append(Shape(place=place, shape=shape))
    return tuple(found)


def tier_changes(records: Iterable[StepRecord]) -> Iterator[TierChange]:
    """Yield the first tier of each group, and every change after it."""
    last: dict[str, Tier] = {}
    for record in records:
        for group in record.decision.groups:
            if last.get(group.group) is not group.tier:
                yield TierChange(
                    at_s=record.decision.now_s,
                    group=group.group,
                    tier=group.tier,
                    previous=last.get(group.group, group.previous_tier),
                    because=group.because,
                    block=_block(record),
                    votes=tuple(vote.because for vote in group.votes),
                )
            last[group.group] = group.tier


def cash_usd(outcome: LegOutcome) -> float:
    """Return what an order brought (+) or took (-), swap and gas included."""
    sign = -1.0 if outcome.leg.side is Side.BUY else 1.0
    return sign * outcome.premium_usd - outcome.swap_usd - outcome.gas_usd


def order_json(outcome: LegOutcome) -> dict[str, object]:
    """Return one order, as it ended, as plain values. ``premium_usd`` has the fee in it."""
    leg = outcome.leg
    return {
        "ts": iso_utc(outcome.at_s),
        "block": outcome.block_number or None,
        "group": leg.group,
        "layer": leg.layer.value,
        "venue": leg.instrument.venue,
        "side": leg.side.value,
        "option_type": leg.instrument.option_type.value,
        "strike_usd": leg.instrument.strike_usd,
        "expiry_ts": iso_utc(leg.instrument.expiry_s),
        "dte": round(leg.instrument.dte(outcome.at_s), 4),
        "size": outcome.filled_size or leg.size,
        "limit_usd": leg.limit_usd,
        "premium_usd": outcome.premium_usd,
        "indicative": outcome.indicative,
        "fee_usd": outcome.fee_usd,
        "swap_usd": outcome.swap_usd,
        "gas_usd": outcome.gas_usd,
        "tx_hash": outcome.tx_hash or None,
        "position_id": outcome.position_id or None,
        "status": outcome.status.value,
        "because": outcome.because or leg.because,
    }


def perpetual_json(outcome: PerpetualOutcome) -> dict[str, object]:
    """Return one order for a perpetual (R27), as it ended; margin is moved and stays the account's own."""
    order = outcome.order
    return {
        "ts": iso_utc(outcome.at_s),
        "group": order.group,
        "venue": order.perpetual.venue,
        "perpetual": order.perpetual.id,
        "action": order.action.value,
        "size": outcome.filled_size,
        "price_usd": outcome.price_usd or None,
        "margin_moved_usd": outcome.margin_usd,
        "fee_usd": outcome.fee_usd,
        "funding_usd": outcome.funding_usd,
        "gas_usd": outcome.gas_usd,
        "status": outcome.status.value,
        "because": order.because or outcome.because,
    }


def tier_json(item: TierChange) -> dict[str, object]:
    """Return the first tier of a group, or a change of it, as plain values."""
    return {
        "ts": iso_utc(item.at_s),
        "block": item.block,
        "group": item.group,
        "tier": item.tier.name,
        "previous": item.previous.name,
        "because": item.because,
        "votes": list(item.votes),
    }


def _block(record: StepRecord) -> int | None:
    return None if record.mode == "backtest" else next(iter(record.decision.blocks.values()), None)


def _strategy_json(item: StrategyResult) -> dict[str, object]:
    return {
        "final_value_usd": _or_none(item.final_value_usd),
        "final_ts": iso_utc(item.final_s),
        "max_drawdown": _or_none(item.max_drawdown),
        "cost_usd": _or_none(item.cost_usd),
        "about": item.about,
    }


def gap_json(item: Gap) -> dict[str, object]:
    """Return a gap as plain values."""
    return {
        "file": item.file,
        "from_ts": iso_utc(item.from_s),
        "to_ts": iso_utc(item.to_s),
        "missing_rows": item.missing_rows,
    }


def _file_json(item: FileReport) -> dict[str, object]:
    return {
        "file": item.file,
        "what": item.what,
        "rows": item.rows,
        "first_ts": _iso_or_none(item.first_s),
        "last_ts": _iso_or_none(item.last_s),
        "bad_rows": list(item.bad_rows),
        "note": item.note,
    }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _iso_or_none(at_s: float) -> str | None:
    return iso_utc(at_s) if math.isfinite(at_s) else None
