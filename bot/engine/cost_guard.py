"""R11: what a hedge may cost to carry, against what the position earns.

For the planner: ``carry_caps`` gives one cap for each hedge group and tier, in USD of net carry, with the
names of ``limits.Cap`` (``name``, ``limit_usd``, ``used_usd``, ``room_usd``, ``frees_at_s``); ``carry_usd``
says what a purchase counts there, gas apart as everywhere. TAIL's standing share is exempt:
``Target.standing_units``. Where the room is too small, what gains most per premium is bought first and in
part; nothing is dropped that fits.
"""

import math
from dataclasses import dataclass

from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.model.hedge import Layer, OptionType, Quote, Spend, SpendKind
from bot.model.market import Frame
from bot.model.tier import RuleFinding, Tier
from bot.model.units import DAY_S, YEAR_DAYS
from bot.quant.options import price

RULE = "R11"
CARRY_CAP = "cost guard (R11)"
WINDOW_DAYS = 30  # R11: the last 30 days and the next 30
_TIMES = {Tier.CALM: 1.0, Tier.GUARDED: 1.0, Tier.ELEVATED: 2.0}  # of the limit; above, there is none
_NET = (SpendKind.PREMIUM, SpendKind.RESERVED, SpendKind.PROCEEDS, SpendKind.SET_ASIDE)  # as R9's budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryCap:
    """R11's cap for one group, in USD of net carry: what was spent in 30 days and what is planned for 30."""

    limit_usd: float  # inf: there is none at this tier
    used_usd: float  # spent in the last 30 days, net of proceeds, TAIL left out; >= 0, NaN unknown
    frees_at_s: float  # when the oldest purchase that counts leaves the 30 days; NaN when there is none
    because: str  # how the limit came about
    wacc: float  # a year: what the capital of a purchase costs
    now_s: float
    spot_usd: float
    name: str = CARRY_CAP

    @property
    def room_usd(self) -> float:
        return max(0.0, self.limit_usd - self.used_usd)

    def carry_usd(self, quote: Quote, contracts: float) -> float:
        """Return the net carry of buying ``contracts`` over the next 30 days, gas left out; >= 0.

        All-in cost, less the model value that is left then at today's spot and implied vol, plus the cost of
        the capital (WACC) for as long as the option lives. Linear in ``contracts``.
        """
        dte = quote.instrument.dte(self.now_s)
        years = max(dte - WINDOW_DAYS, 0.0) / YEAR_DAYS
        is_put = quote.instrument.option_type is OptionType.PUT
        left = price(self.spot_usd, quote.instrument.strike_usd, years, quote.iv, is_put=is_put)
        tied = min(max(dte, 0.0), WINDOW_DAYS) / YEAR_DAYS
        paid_usd = quote.unit_cost_usd
        unit_usd = paid_usd * (1.0 + self.wacc * tied) - quote.instrument.multiplier * float(left)
        return contracts * max(unit_usd, 0.0)  # NaN stays NaN: Python's max keeps its first argument

    def affordable(self, quote: Quote, room_usd: float) -> float:
        """Return the most contracts whose net carry and gas fit into ``room_usd``; 0 when it is unknown."""
        if math.isinf(room_usd):
            return math.inf
        unit_usd, left_usd = self.carry_usd(quote, 1.0), room_usd - quote.gas_usd
        if not left_usd > 0.0 or math.isnan(unit_usd):
            return 0.0
        return left_usd / unit_usd if unit_usd > 0.0 else math.inf


def carry_caps(policy: Policy, group: Group, tier: Tier, frame: Frame) -> CarryCap:
    """Return R11's cap on the group's purchases at a tier; without one at SEVERE and above."""
    rule, share = policy.cost_guard, _TIMES.get(tier, math.inf)
    spends = [item for item in frame.spends if _counts(item, group, now_s=frame.now_s)]
    fees_usd, floor_usd = rule.max_carry_share * group.fee_income_usd, rule.carry_floor * group.value_usd
    bought = [item.at_s for item in spends if item.kind is SpendKind.PREMIUM]
    limit_usd = math.inf if math.isinf(share) else share * max(fees_usd, floor_usd)
    return CarryCap(
        limit_usd=limit_usd,
        used_usd=max(math.fsum(item.usd for item in spends), 0.0),  # NaN stays NaN, and leaves no room
        frees_at_s=min(bought, default=math.nan) + WINDOW_DAYS * DAY_S,
        because=_because(policy, group, tier, fees_usd=fees_usd, floor_usd=floor_usd),
        wacc=policy.signals.fundamental.carry_wacc,
        now_s=frame.now_s,
        spot_usd=group.spot_usd,
    )


def cost_finding(cap: CarryCap, *, planned_usd: float, bound: bool) -> RuleFinding:
    """Return what R11 says of a group's plan; ``bound``: the cap made it smaller."""
    if math.isinf(cap.limit_usd):
        return RuleFinding(rule=RULE, fired=False, because=f"no limit: {cap.because}")
    because = (
        f"net carry of the plan {planned_usd:,.0f} USD and {cap.used_usd:,.0f} spent in {WINDOW_DAYS} days, "
        f"allowed {cap.limit_usd:,.0f}: {cap.because}; TAIL's standing share is not counted"
    )
    missed = math.nan if bound else max(cap.room_usd - planned_usd, 0.0)
    return RuleFinding(rule=RULE, fired=bound, because=because, missed=missed, unit="USD of net carry")


def _counts(item: Spend, group: Group, *, now_s: float) -> bool:
    """Return whether a ledger entry is the group's and in the window; one of an unknown group is anyone's.

    TAIL's are left out: the ledger does not tell what was over its standing share.
    """
    if item.kind not in _NET or item.layer is Layer.TAIL:
        return False
    name = _group_of(item.leg_key)
    recent = item.kind is SpendKind.RESERVED or item.at_s > now_s - WINDOW_DAYS * DAY_S
    return recent and name in ("", group.name)


def _group_of(leg_key: str) -> str:
    """Return the group of a leg key (planner: "<plan>-<group>-<layer>-<n>"), "" when it names none."""
    parts = leg_key.rsplit("-", 3)
    return parts[1].replace(".", "/") if len(parts) == 4 else ""


def _because(policy: Policy, group: Group, tier: Tier, *, fees_usd: float, floor_usd: float) -> str:
    rule = policy.cost_guard
    if tier not in _TIMES:
        return f"the guard does not hold at {tier.name}"
    unknown = [item.id for item in group.exposures if not math.isfinite(item.fee_income_30d_usd)]
    fees = f"{rule.max_carry_share:.0%} of 30 days' fees is {fees_usd:,.0f}"
    if unknown:
        fees += f" (fees of {', '.join(unknown)} unknown, not counted)"
    double = f", doubled at {tier.name}" if _TIMES[tier] > 1.0 else ""
    return f"{fees}, {rule.carry_floor:.2%} of exposure is {floor_usd:,.0f}, the larger counts{double}"
