"""Where the orders of a venue come in that are planned, carried out and booked: one at a time.

Options, perpetuals, covers, pairs, positions and loans share it; what becomes of an order is its own life.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bot.errors import TransientError
from bot.model.signing import Permission
from bot.ports import ChainReader, MarketView, Messenger, Proposer, Transactor
from bot.venues.executor import OrderRun
from bot.venues.order_life import AtHand, Order, Outcome
from bot.venues.settlement import SettlementSwap

Ended = TypeVar("Ended", covariant=True)


class Life(Protocol[Ended]):
    """One order, on its way or looked up again."""

    async def execute(self) -> Ended: ...

    async def reconcile(self) -> Ended: ...


class Tradable(Protocol):
    """What orders are of: an adapter, or several together."""

    @property
    def name(self) -> str: ...

    @property
    def least_gas_ceiling(self) -> int: ...

    def permissions(self) -> tuple[Permission, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Several adapters whose orders come in at one place."""

    name: str
    parts: Sequence[Tradable]

    @property
    def least_gas_ceiling(self) -> int:
        return max((item.least_gas_ceiling for item in self.parts), default=0)

    def permissions(self) -> tuple[Permission, ...]:
        return tuple(rule for item in self.parts for rule in item.permissions())


class PlannedOrders(ABC, Generic[Order, Outcome]):
    """Without ``custody`` every order is refused. One custody per account: two would mix up allowances."""

    def __init__(
        self,
        traded: Tradable,
        *,
        reader: ChainReader,
        custody: Transactor | Proposer | None,
        swap: SettlementSwap | None = None,
        messenger: Messenger | None = None,
    ) -> None:
        self._traded, self.swap = traded, swap
        self._reader, self._custody, self._messenger = reader, custody, messenger
        self._one_order = asyncio.Lock()  # two at once would overwrite each other's allowances

    @property
    def name(self) -> str:
        return self._traded.name

    @property
    def least_gas_ceiling(self) -> int:
        return self._traded.least_gas_ceiling

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that an order may send, for the signer's allow-list."""
        return (*self._traded.permissions(), *(self.swap.permissions() if self.swap else ()))

    @abstractmethod
    def _refused(self, order: Order, *, at_s: float, because: str) -> Outcome: ...

    @abstractmethod
    def _life(self, at: AtHand[Order]) -> Life[Outcome]: ...

    async def execute(self, order: Order, *, view: MarketView) -> Outcome:
        """Do one order to its end: filled, refused (with what was spent on the way), waiting or unknown."""
        because = self._why_never(order)
        if self._custody is None or because:
            because = because or f"{self._place(order)}: no account that can sign"
            return self._refused(order, at_s=view.now_s, because=because)
        async with self._one_order:
            return await self._life(self._taken_up(order, view, self._custody)).execute()

    async def reconcile(self, order: Order, *, view: MarketView) -> Outcome:
        """Say what became of an order that an earlier step or run left open; sends only what cleans up.

        Raises TransientError without ``custody``: only whoever signs may say that an order never was.
        """
        if self._custody is None:
            raise TransientError(
                f"order {order.key} stays open: {self._place(order)} has no account that can sign and "
                "follow it"
            )
        async with self._one_order:
            at = self._taken_up(order, view, self._custody, again=True)
            return await self._life(at).reconcile()

    def _why_never(self, order: Order) -> str:  # noqa: ARG002
        """Say why an order cannot be done here whoever signs, "" where it may be."""
        return ""

    def _place(self, order: Order) -> str:  # noqa: ARG002
        """Name where an order goes, as a refusal names it."""
        return self.name

    def _taken_up(
        self, order: Order, view: MarketView, custody: Transactor | Proposer, *, again: bool = False
    ) -> AtHand[Order]:
        run = self._run(order, custody, valid_until_s=order.valid_until_s, again=again)
        return AtHand(order=order, view=view, run=run, reader=self._reader, custody=custody)

    def _run(
        self, order: Order, custody: Transactor | Proposer, *, valid_until_s: float, again: bool
    ) -> OrderRun:
        return OrderRun(
            reader=self._reader,
            custody=custody,
            key=order.key,
            valid_until_s=valid_until_s,
            permissions=self.permissions(),
            swap=self.swap,
            messenger=self._messenger,
            again=again,
        )
