"""What a hedged position earns a year: the figures behind S21.

All are fractions of the protected value a year of 365 days; NaN where an input is unknown or nothing is
protected. Money is USD, and a cost is positive.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bot.model.exposure import Exposure
from bot.model.hedge import Spend, SpendKind
from bot.model.units import DAY_S, YEAR_DAYS, YEAR_S
from bot.quant.cash_flows import CashFlows, Figure, irr

FEE_INCOME_DAYS = 30  # of Exposure.fee_income_30d_usd


class Payment(NamedTuple):
    """Money that came in (positive) or went out (negative) at a time."""

    at_s: float
    usd: float


class GroupCarry(NamedTuple):
    """What S21 reads of a hedge group: the values of LP_FEE_APR, HEDGE_COST_APR and HEDGED_IRR."""

    lp_fee_apr: float
    hedge_cost_apr: float
    hedged_irr: Figure


def group_carry(
    exposures: Iterable[Exposure],
    spends: Iterable[Spend],
    *,
    since_s: float,
    now_s: float,
    mark_then_usd: float,
    mark_now_usd: float,
) -> GroupCarry:
    """Return the carry of a group since a time, at today's value of its exposures.

    ``spends`` are the group's; the marks are those of its hedges at ``since_s`` and now. A mark is taken
    before the orders of its time, so spends of ``since_s`` itself count. The fee income is that of 30 days,
    in proportion, as received at the end, the cautious side. One exposure with an unknown income makes the
    figures unknown.
    """
    held, paid = tuple(exposures), tuple(spends)
    value_usd = math.fsum(item.value_usd for item in held)
    fees = fee_apr(
        fee_income_30d_usd=math.fsum(item.fee_income_30d_usd for item in held), value_usd=value_usd
    )
    start_s = math.nextafter(since_s, -math.inf)
    if not value_usd > 0.0:
        return GroupCarry(math.nan, math.nan, Figure(value=math.nan, because="the group holds nothing"))
    flows = carry_flows(
        start_s=start_s,
        end_s=now_s,
        committed_usd=value_usd,
        returned_usd=value_usd,
        income=(Payment(now_s, fees * value_usd * (now_s - since_s) / YEAR_S),),
        spends=paid,
        mark_then_usd=mark_then_usd,
        mark_now_usd=mark_now_usd,
    )
    marks = {"mark_then_usd": mark_then_usd, "mark_now_usd": mark_now_usd}
    cost = hedge_cost_apr(paid, since_s=start_s, until_s=now_s, value_usd=value_usd, **marks)
    return GroupCarry(fees, cost, hedged_irr(flows))


def fee_apr(*, fee_income_30d_usd: float, value_usd: float) -> float:
    """Return the fee income of 30 days as a simple rate a year."""
    if not (value_usd > 0.0 and math.isfinite(fee_income_30d_usd)):
        return math.nan
    return fee_income_30d_usd / value_usd * YEAR_DAYS / FEE_INCOME_DAYS


def net_spent_usd(spends: Iterable[Spend], *, since_s: float, until_s: float) -> float:
    """Return premium less proceeds in (since, until]; what is only reserved was not paid."""
    return math.fsum(item.usd for item in _paid(spends, since_s=since_s, until_s=until_s))


def hedge_cost_apr(
    spends: Iterable[Spend],
    *,
    since_s: float,
    until_s: float,
    mark_then_usd: float,
    mark_now_usd: float,
    value_usd: float,
) -> float:
    """Return what hedging cost over a span as a simple rate a year; negative where it earned.

    Cost is premium less proceeds, plus what the hedge was worth then, less what it is worth now: a tail
    bought today has cost nothing yet but its spread and fees.
    """
    years = (until_s - since_s) / YEAR_S
    if not (value_usd > 0.0 and years > 0.0):
        return math.nan
    paid_usd = net_spent_usd(spends, since_s=since_s, until_s=until_s)
    return (paid_usd + mark_then_usd - mark_now_usd) / value_usd / years


def carry_flows(
    *,
    start_s: float,
    end_s: float,
    committed_usd: float,
    returned_usd: float,
    income: Sequence[Payment] = (),
    spends: Iterable[Spend] = (),
    mark_then_usd: float = 0.0,
    mark_now_usd: float = 0.0,
) -> CashFlows:
    """Return the flows of a hedged LP position, or of locked liquidity, over a span.

    ``committed_usd`` goes in at the start and ``returned_usd`` comes back at the end. For a carry, value both
    at one price: else a fall of the price reads as a bad rate. Income and spends outside the span stay out.
    """
    kept = [item for item in income if start_s < item.at_s <= end_s]
    paid = _paid(spends, since_s=start_s, until_s=end_s)
    rows = [
        (start_s, -(committed_usd + mark_then_usd)),
        *kept,
        *((item.at_s, -item.usd) for item in paid),
        (end_s, returned_usd + mark_now_usd),
    ]
    table = np.array(rows, dtype=np.float64)
    return CashFlows(times_s=table[:, 0], amounts_usd=table[:, 1])


def hedged_irr(flows: CashFlows) -> Figure:
    """Return the effective rate a year of such flows, NaN with the reason where there is not one.

    A span under a day has no rate: a year of it is an extrapolation without meaning.
    """
    if flows.times_s.size and float(np.ptp(flows.times_s)) < DAY_S:
        return Figure(value=math.nan, because="the flows span less than a day: no rate a year")
    return irr(flows)


def _paid(spends: Iterable[Spend], *, since_s: float, until_s: float) -> list[Spend]:
    moved = (SpendKind.PREMIUM, SpendKind.PROCEEDS)  # not what is only reserved, or set aside
    return [item for item in spends if item.kind in moved and since_s < item.at_s <= until_s]
