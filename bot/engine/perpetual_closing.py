"""What closing a perpetual, whole or in part, may cost and gives back (R27): by the plan and by hand."""

import math

from bot.engine.policy import Policy
from bot.model.perpetual import HeldPerpetual, PerpetualQuote


def worst_usd(policy: Policy, item: HeldPerpetual, quote: PerpetualQuote | None, size: float) -> float:
    """Return the worst price of one unit that a trade of signed ``size`` may have, USD."""
    cost = quote.cost if quote else 0.0
    return item.mark_usd * (1.0 + math.copysign(cost + policy.perpetual.max_slippage, size))


def closing_cost_usd(item: HeldPerpetual, quote: PerpetualQuote | None, size: float) -> float:
    """Return what closing ``size`` units is expected to cost beside the mark, gas included; NaN unquoted."""
    return abs(size) * item.mark_usd * quote.cost + quote.gas_usd if quote else math.nan


def released_usd(item: HeldPerpetual, size: float) -> float:
    """Return the margin that goes with ``size`` units: its part of what losses have left."""
    worth_usd = item.margin_usd + min(item.unrealised_usd, 0.0)
    return abs(size / item.size) * max(worth_usd, 0.0) if math.isfinite(worth_usd) else 0.0
