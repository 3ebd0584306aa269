"""Small values of perpetuals that several tests share."""

from dataclasses import dataclass, field, replace
from typing import Any

from pipeline_builders import START_S

from bot.errors import OutcomeUnknown
from bot.model.hedge import LegStatus
from bot.model.perpetual import (
    Perpetual,
    PerpetualAction,
    PerpetualEnd,
    PerpetualOrder,
    PerpetualPosition,
    PerpetualQuote,
)
from bot.model.perpetual_outcome import PerpetualOutcome, refused

GROUP = "ETH/USDC"
PERP = Perpetual(venue="perp-v2", id="vETH", underlying="ETH", settlement="USDC")


def perpetual_order(
    number: int = 0, *, size: float = -10.0, action: PerpetualAction = PerpetualAction.OPEN, **changes: Any
) -> PerpetualOrder:
    fields: dict[str, Any] = {
        "key": f"plan.{number}-ETH.USDC-PERPETUAL-{number}",
        "group": GROUP,
        "action": action,
        "perpetual": PERP,
        "size": size,
        "margin_usd": 5_000.0 if action is PerpetualAction.OPEN else 0.0,
        "limit_usd": 1.0 if size < 0.0 else 1e6,
        "expected_usd": 12.0,
        "valid_until_s": START_S + 1e7,
    }
    return PerpetualOrder(**{**fields, **changes})


def reduction(number: int, size: float, **changes: Any) -> PerpetualOrder:
    fields: dict[str, Any] = {"action": PerpetualAction.REDUCE, "position_id": "vETH", **changes}
    return perpetual_order(number, size=size, **fields)


def traded(order: PerpetualOrder, *, price_usd: float = 2_500.0, **changes: Any) -> PerpetualOutcome:
    fields: dict[str, Any] = {
        "order": order,
        "status": LegStatus.FILLED,
        "at_s": START_S,
        "filled_size": order.size,
        "price_usd": price_usd,
        "margin_usd": order.margin_usd,
        "fee_usd": 10.0,
        "gas_usd": 2.0,
        "position_id": "vETH",
    }
    return PerpetualOutcome(**{**fields, **changes})


def perpetual_position(size: float = -10.0, **changes: Any) -> PerpetualPosition:
    fields: dict[str, Any] = {
        "id": "vETH",
        "perpetual": PERP,
        "size": size,
        "entry_usd": 2_500.0,
        "mark_usd": 2_400.0,
        "margin_usd": 5_000.0,
        "liquidation_usd": 2_800.0,
        "funding_usd": 3.0,
    }
    return PerpetualPosition(**{**fields, **changes})


def perpetual_quote(**changes: Any) -> PerpetualQuote:
    fields: dict[str, Any] = {
        "perpetual": PERP,
        "size": 10.0,
        "mark_usd": 2_500.0,
        "funding_apr": 0.1,
        "cost": 0.002,
        "initial_margin": 0.1,
        "maintenance_margin": 0.0625,
        "gas_usd": 1.0,
        "min_size": 0.01,
        "lot": 0.01,
        "liquidity": 1_000.0,
        "valid_until_s": START_S + 1e7,
        "block_number": 1,
    }
    return PerpetualQuote(**{**fields, **changes})


@dataclass
class FakePerpetuals:
    """ports.PerpetualVenue: fills what it is told to, and remembers what it was asked."""

    positions: tuple = ()
    fail: Exception | None = None
    fail_held: Exception | None = None
    refuses: str = ""
    truth: dict = field(default_factory=dict)
    end: PerpetualEnd | None = None
    asked: list[str] = field(default_factory=list)
    name: str = "perp-v2"

    async def perpetual_quotes(self, view, *, underlying, size):
        return (perpetual_quote(size=size),) if underlying == "ETH" else ()

    async def held_perpetuals(self, view):
        if self.fail_held:
            raise self.fail_held
        return self.positions

    async def execute(self, order, *, view):
        self.asked.append(f"execute {order.key}")
        if self.fail:
            raise self.fail
        if self.refuses:
            return refused(order, at_s=view.now_s, because=self.refuses)
        return replace(traded(order), at_s=view.now_s)

    async def reconcile(self, order, *, view):
        self.asked.append(f"reconcile {order.key}")
        if order.key not in self.truth:
            raise OutcomeUnknown("order", order.key)
        return self.truth[order.key]

    async def ended(self, perpetual, size, *, view, since_block):
        self.asked.append(f"ended {size:+g}")
        return self.end
