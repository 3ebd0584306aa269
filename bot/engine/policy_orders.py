"""The numbers of money and orders, R9: sections of ``Policy``, each key with its bounds."""

from dataclasses import dataclass
from typing import Annotated

from bot.engine.policy_fields import duration, flag, interval, number, percent, refuse, whole
from bot.model.units import DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """R9 caps, fractions of exposure (session: of defined-risk capital)."""

    defined_risk_capital: Annotated[float, percent(0, 100)]
    session_share: Annotated[float, percent(0, 25)]  # method.md R9: never more than 25 %
    budget_30d: Annotated[float, percent(0, 100)]
    budget_365d: Annotated[float, percent(0, 100)]
    escalation_reserve: Annotated[bool, flag()]  # docs/adr/0004
    venue_share: Annotated[float, percent(0, 100)]  # of a session's cap, new premium at one venue

    def __post_init__(self) -> None:
        if self.budget_365d < self.budget_30d:
            raise refuse("budget.budget_365d", f"{self.budget_365d:.2%}", "at least budget.budget_30d")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPolicy:
    """Limits of every order."""

    max_slippage: Annotated[float, percent(0, 50)]
    valid_for: Annotated[float, duration(1, DAY_S)]  # seconds
    max_price_ratio: Annotated[float, number(1.5, 1_000)]
    max_iv: Annotated[float, percent(10, 5_000)]  # a year
    min_order: Annotated[float, percent(0, 100)]
    max_orders: Annotated[int, whole(1, 100)]  # purchases in one decision
    quote_share: Annotated[float, percent(1, 100)]  # of what the exposure is worth, in the underlying
    refusal_pause: Annotated[tuple[float, float], interval(duration(1, DAY_S))]  # seconds: first, longest
