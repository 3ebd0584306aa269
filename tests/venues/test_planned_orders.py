"""Where orders come in: one at a time, refused where nobody signs, kept open where nobody can follow them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.errors import TransientError
from bot.model.market import Columns
from bot.model.signing import ApprovalRule
from bot.ports import MarketView
from bot.venues.planned_orders import PlannedOrders, Together

VIEW = MarketView(now_s=5.0, block=None, columns=Columns(series={}), spot_usd={})


@dataclass(frozen=True)
class Order:
    key: str
    valid_until_s: float = 99.0


@dataclass(frozen=True)
class Traded:
    name: str
    least_gas_ceiling: int = 21_000

    def permissions(self):
        return (ApprovalRule(token=f"{self.name}-token", spender=self.name, opens=True),)


@dataclass
class Shop(PlannedOrders[Order, str]):
    """Its orders do nothing but wait for a moment."""

    custody: Any = field(default_factory=lambda: Traded("account"))
    barred: str = ""

    def __post_init__(self) -> None:
        super().__init__(Traded("shop"), reader=None, custody=self.custody)  # type: ignore[arg-type]
        self.said: list[str] = []

    def _why_never(self, order: Order) -> str:
        return self.barred

    def _refused(self, order: Order, *, at_s: float, because: str) -> str:
        return f"{order.key} refused at {at_s:g}: {because}"

    def _life(self, at):
        return Slow(at.order, self.said)


@dataclass
class Slow:
    order: Order
    said: list[str]

    async def execute(self) -> str:
        return await self._done("execute")

    async def reconcile(self) -> str:
        return await self._done("reconcile")

    async def _done(self, word: str) -> str:
        self.said.append(f"{word} {self.order.key}")
        await asyncio.sleep(0)
        self.said.append(f"done {self.order.key}")
        return word


async def test_one_order_at_a_time_also_when_one_is_looked_up():
    shop = Shop()
    found = await asyncio.gather(
        shop.execute(Order("a"), view=VIEW),
        shop.reconcile(Order("b"), view=VIEW),
        shop.execute(Order("c"), view=VIEW),
    )
    assert found == ["execute", "reconcile", "execute"]
    assert shop.said == ["execute a", "done a", "reconcile b", "done b", "execute c", "done c"]


async def test_without_an_account_nothing_is_begun_and_nothing_is_closed():
    shop = Shop(custody=None)
    refused = await shop.execute(Order("a"), view=VIEW)
    assert refused == "a refused at 5: shop: no account that can sign"
    with pytest.raises(TransientError, match="order a stays open: shop has no account that can sign"):
        await shop.reconcile(Order("a"), view=VIEW)
    assert shop.said == []


async def test_what_can_never_be_done_is_refused_with_its_own_reason():
    for custody in (None, Traded("account")):
        shop = Shop(custody=custody, barred="it is staked")
        assert await shop.execute(Order("a"), view=VIEW) == "a refused at 5: it is staked"
        assert shop.said == []


def test_several_adapters_together_allow_what_each_does():
    both = Together(name="a+b", parts=(Traded("a"), Traded("b", 90_000)))
    assert (both.name, both.least_gas_ceiling) == ("a+b", 90_000)
    assert [rule.spender for rule in both.permissions()] == ["a", "b"]
    assert Together(name="none", parts=()).least_gas_ceiling == 0
