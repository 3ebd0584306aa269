"""Reads of one subaccount at Derive: positions, settlements, and what became of an order, by its nonce."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.chain.json_fields import BadReply, field, listing, number
from bot.errors import OutcomeUnknown, StaleDataError
from bot.venues.derive_client import DeriveClient
from bot.venues.derive_orders import DeriveOrder
from bot.venues.derive_replies import (
    MOST_PAGES,
    PositionRow,
    SettlementRow,
    order_of,
    position_of,
    settlement_of,
)

_PAGE_ROWS = 500
_EARLIER_MS = 900_000  # a nonce may be minutes ahead of the order that carries it, where a clock was set back


class DeriveAccount:
    """One subaccount. Every answer must be of that subaccount, or raises BadReply."""

    def __init__(self, client: DeriveClient, subaccount_id: int) -> None:
        self._client = client
        self.subaccount_id = subaccount_id

    async def positions(self) -> tuple[PositionRow, ...]:
        """Return the long option positions. Raises StaleDataError where one is short: it is not ours."""
        rows = await self._rows("private/get_positions", "positions", {})
        found = [item for row in rows if (item := position_of(row)) is not None and item.amount_e18]
        if shorts := [item.name for item in found if item.amount_e18 < 0]:
            raise StaleDataError(
                f"Derive subaccount {self.subaccount_id} is short {', '.join(shorts[:3])}: this bot "
                "only buys; close it by hand or give the bot a subaccount of its own"
            )
        return tuple(found)

    async def settlements(self) -> tuple[SettlementRow, ...]:
        """Return every option that expired in this subaccount; paid out by the exchange itself."""
        params = {"subaccount_id": self.subaccount_id}
        result = await self._client.read("private/get_option_settlement_history", params)
        return tuple(
            settlement_of(row)
            for row in listing(field(result, "settlements", "settlement history"), "settlements")
            if field(row, "subaccount_id", "settlement") == self.subaccount_id
        )

    async def found_order(self, order: DeriveOrder, *, nonce: int, label: str) -> Mapping[str, Any] | None:
        """Return order and trades that carry a nonce, as the exchange answers an order; None for no trace.

        Raises OutcomeUnknown while the order is on the book.
        """
        open_rows = await self._rows("private/get_open_orders", "orders", {})
        if any(order_of(row).nonce == nonce for row in open_rows):
            raise OutcomeUnknown(f"order of {order.name} at Derive, still open", label)
        since = {"from_timestamp": nonce // 10**6 - _EARLIER_MS}
        row = await self._first(
            "private/get_order_history", "orders", since, lambda item: order_of(item).nonce == nonce
        )
        if row is not None:
            order_id = order_of(row).order_id
            return {"order": row, "trades": await self._trades({**since, "order_id": order_id})}
        trades = await self._trades({**since, "instrument_name": order.name})
        mine = [item for item in trades if field(item, "label", "trade") == label]
        return {"order": None, "trades": mine} if mine else None

    async def found_quote(self, order: DeriveOrder, *, nonce: int) -> Mapping[str, Any] | None:
        """Return our execution of a maker's quote, None for no trace."""
        params = {"rfq_id": order.rfq_id, "quote_id": order.quote_id}
        row = await self._first(
            "private/get_quotes",
            "quotes",
            params,
            lambda item: str(field(item, "nonce", "quote")) == str(nonce),
        )
        trades = await self._trades({"quote_id": order.quote_id})
        return {"quote": row, "trades": trades} if row is not None or trades else None

    async def _trades(self, params: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = []
        for page in range(1, MOST_PAGES + 1):
            rows, pages = await self._page("private/get_trade_history", "trades", params, page)
            found += rows
            if page >= pages:
                return found
        raise BadReply(f"more than {MOST_PAGES} pages of trades")

    async def _first(
        self, method: str, name: str, params: Mapping[str, Any], which: Callable[[Any], bool]
    ) -> Any | None:
        for page in range(1, MOST_PAGES + 1):
            rows, pages = await self._page(method, name, params, page)
            for row in rows:
                if which(row):
                    return row
            if page >= pages:
                return None
        raise BadReply(f"{method}: more than {MOST_PAGES} pages")

    async def _page(
        self, method: str, name: str, params: Mapping[str, Any], page: int
    ) -> tuple[list[Any], int]:
        asked = {**params, "subaccount_id": self.subaccount_id, "page": page, "page_size": _PAGE_ROWS}
        result = await self._client.read(method, asked)
        rows = list(listing(field(result, name, method), name))
        if any(field(row, "subaccount_id", name) != self.subaccount_id for row in rows):
            raise BadReply(f"{method} answers with rows of another subaccount than {self.subaccount_id}")
        pages = number(
            field(field(result, "pagination", method), "num_pages", method), "num_pages", least=0.0
        )
        return rows, int(pages)

    async def _rows(self, method: str, name: str, params: Mapping[str, Any]) -> list[Any]:
        result = await self._client.read(method, {**params, "subaccount_id": self.subaccount_id})
        if field(result, "subaccount_id", method) != self.subaccount_id:
            raise BadReply(f"{method} answers for another subaccount than {self.subaccount_id}")
        return list(listing(field(result, name, method), name))
