"""Reference of the Derive v3 exchange: not the exchange, but its documented rules, for tests.

Actions are verified as the protocol does it (derive_verify), and nonces are used once. Fees over ``max_fee``
refuse an order; steps, ticks and minimums hold. Books have depth, options settle in cash at 08:00 UTC. Field
names and error codes: docs.derive.xyz, openapi 0.2.0 (2026-11).
"""

import itertools
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from derive_rows import executed_row, order_row, text, trade_row
from derive_verify import E18, OPTION_ASSET, RFQ_MODULE, TRADE_MODULE, Refusal, verified_nonce
from eth_abi.abi import encode
from eth_utils.crypto import keccak


@dataclass
class Option:
    """A listed option and its book; prices are USDC a contract."""

    name: str
    currency: str
    strike: Decimal
    expiry_s: int
    is_put: bool
    sub_id: int
    asks: list[list[Decimal]] = field(default_factory=list)  # [price, amount], cheapest first
    bids: list[list[Decimal]] = field(default_factory=list)  # dearest first
    mark: Decimal = Decimal(0)
    iv: Decimal = Decimal("0.6")
    tick: Decimal = Decimal("0.1")
    step: Decimal = Decimal("0.01")
    minimum: Decimal = Decimal("0.1")
    base_fee: Decimal = Decimal("0.5")
    taker_rate: Decimal = Decimal("0.0003")
    fee_cap: Decimal = Decimal("0.125")
    active: bool = True
    stamp_ms: int | None = None  # of its ticker, when it is not now
    maxp: Decimal = Decimal(100_000)
    minp: Decimal = Decimal(0)


class DeriveExchange:
    """One owner with one subaccount, session keys, makers that only show in the books."""

    def __init__(self, *, owner: str, subaccount_id: int, session_key: str, now_s: float) -> None:
        self.owner, self.subaccount_id = owner, subaccount_id
        self.session_keys = {session_key.lower()}
        self.now_s = now_s
        self.index = {"ETH": Decimal(3000)}
        self.options: dict[str, Option] = {}
        self.cash = Decimal(100_000)
        self.positions: dict[str, list[Decimal]] = {}  # name -> [amount, average price]
        self.orders: dict[str, dict[str, Any]] = {}
        self.trades: list[dict[str, Any]] = []
        self.settlements: list[dict[str, Any]] = []
        self.settled: dict[tuple[str, int], Decimal] = {}
        self.rfqs: dict[str, dict[str, Any]] = {}
        self.quotes: dict[str, dict[str, Any]] = {}
        self.executed: list[dict[str, Any]] = []  # our own executions of quotes
        self.maker_prices: dict[
            str, Decimal
        ] = {}  # what a maker asks (sells) or bids, per instrument, by RFQ
        self.nonces: set[int] = set()
        self._sub_ids = itertools.count(2_576_980_377_601_813_910_400)

    # --- the market -------------------------------------------------------------------------------------

    def list_option(
        self,
        name: str,
        *,
        strike: str,
        expiry_s: int,
        is_put: bool,
        asks: Any = (),
        bids: Any = (),
        **terms: Any,
    ) -> Option:
        option = Option(
            name=name,
            currency=name.split("-")[0],
            strike=Decimal(strike),
            expiry_s=expiry_s,
            is_put=is_put,
            sub_id=next(self._sub_ids),
            asks=[[Decimal(str(p)), Decimal(str(a))] for p, a in asks],
            bids=[[Decimal(str(p)), Decimal(str(a))] for p, a in bids],
            **terms,
        )
        if not option.mark and option.asks and option.bids:
            option.mark = (option.asks[0][0] + option.bids[0][0]) / 2
        self.options[name] = option
        return option

    def warp(self, now_s: float, **index: str) -> None:
        """Go on in time; what expires on the way settles in cash at the index."""
        self.now_s = now_s
        self.index.update({name: Decimal(price) for name, price in index.items()})
        for option in self.options.values():
            if option.expiry_s <= now_s and option.active:
                option.active = False
                self._settle(option)

    def _settle(self, option: Option) -> None:
        price = self.settled.setdefault((option.currency, option.expiry_s), self.index[option.currency])
        held = self.positions.pop(option.name, None)
        if held is None:
            return
        gap = option.strike - price if option.is_put else price - option.strike
        value = max(gap, Decimal(0)) * held[0]
        self.cash += value
        self.settlements.append(
            {
                "amount": text(held[0]),
                "expiry": option.expiry_s,
                "instrument_name": option.name,
                "settlement_price": text(price),
                "settlement_value": text(value),
                "subaccount_id": self.subaccount_id,
            }
        )

    # --- signed actions ---------------------------------------------------------------------------------

    def verify(self, request: dict[str, Any], module: str, data: bytes) -> int:
        """Check an action's signature, signer, expiry and nonce; return the nonce, which is not used yet."""
        if request.get("subaccount_id") != self.subaccount_id:
            raise Refusal(14001, "Subaccount not found")
        if str(request["signer"]).lower() not in self.session_keys | {self.owner.lower()}:
            raise Refusal(14026, "Session key not found")
        nonce = verified_nonce(request, module, data, owner=self.owner, now_s=self.now_s)
        if nonce in self.nonces:
            raise Refusal(11017, "Non unique nonce")
        return nonce

    def order_quote(self, request: dict[str, Any]) -> dict[str, Any]:
        """What an order would do; nothing changes."""
        option, levels = self._checked_order(request)
        fills, reason = self._fills(request, option, levels), None
        filled = sum((amount for _, amount in fills), Decimal(0))
        fee = self._fee(option, fills)
        if not fills:
            reason = "Zero liquidity for market or IOC/FOK order"
        elif fee > Decimal(request["max_fee"]) * filled:
            reason = "Max fee order param is too low"
        elif request["direction"] == "buy" and self._cost(fills) + fee > self.cash:
            reason = "Insufficient funds"
        return {
            "estimated_fee": text(fee),
            "estimated_fill_amount": text(filled),
            "estimated_fill_price": text(self._cost(fills) / filled if filled else Decimal(0)),
            "estimated_order_status": "filled" if filled == Decimal(request["amount"]) else "cancelled",
            "estimated_realized_pnl": "0",
            "estimated_realized_pnl_excl_fees": "0",
            "invalid_reason": reason,
            "is_valid": reason is None,
            "max_amount": None,
            "post_initial_margin": text(self.cash),
            "post_liquidation_price": None,
            "pre_initial_margin": text(self.cash),
            "suggested_max_fee": text((fee / filled if filled else option.base_fee) * Decimal("1.5")),
        }

    def order(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take an order: checked, matched, booked."""
        option, levels = self._checked_order(request)
        nonce = int(request["nonce"])
        if (limit_ms := request.get("reject_timestamp")) is not None and self.now_s * 1e3 > limit_ms:
            raise Refusal(11022, "Reject timestamp exceeded")
        is_buy = request["direction"] == "buy"
        if request.get("reduce_only"):
            held = self.positions.get(option.name, [Decimal(0)])[0]
            if is_buy or held <= 0:
                raise Refusal(11025, "Reduce only reject")
            request = {**request, "amount": text(min(held, Decimal(request["amount"])))}
        fills = self._fills(request, option, levels)
        if not fills:
            raise Refusal(11009, "Zero liquidity for market or IOC/FOK order")
        fee, filled = self._fee(option, fills), sum((amount for _, amount in fills), Decimal(0))
        if fee > Decimal(request["max_fee"]) * filled:
            raise Refusal(11023, "Max fee order param is too low")
        if is_buy and self._cost(fills) + fee > self.cash:
            raise Refusal(11000, "Insufficient funds")
        self.nonces.add(nonce)
        self._take(levels, fills)
        return self._book(request, option, fills, fee)

    def _checked_order(self, request: dict[str, Any]) -> tuple[Option, list[list[Decimal]]]:
        option = self.options.get(request["instrument_name"])
        if option is None:
            raise Refusal(12001, "Instrument not found")
        price, amount = Decimal(request["limit_price"]), Decimal(request["amount"])
        is_bid = request["direction"] == "buy"
        data = encode(
            ["address", "uint256", "int256", "int256", "uint256", "uint256", "bool"],
            [
                OPTION_ASSET,
                option.sub_id,
                int(price * E18),
                int(amount * E18),
                int(Decimal(request["max_fee"]) * E18),
                self.subaccount_id,
                is_bid,
            ],
        )
        self.verify(request, TRADE_MODULE, data)
        if not option.active or self.now_s >= option.expiry_s:
            raise Refusal(11021, "Instrument not live")
        if amount < option.minimum or amount % option.step:
            raise Refusal(11012, "Invalid amount")
        if price <= 0 or price % option.tick:
            raise Refusal(11013, "Invalid limit price")
        return option, option.asks if is_bid else option.bids

    def _fills(
        self, request: dict[str, Any], option: Option, levels: list[list[Decimal]]
    ) -> list[tuple[Decimal, Decimal]]:
        limit, left = Decimal(request["limit_price"]), Decimal(request["amount"])
        is_buy = request["direction"] == "buy"
        if (limit > option.maxp) if is_buy else (limit < option.minp):
            raise Refusal(11008, "Post only reject", "limit price is outside of the price band")
        found = []
        for price, amount in levels:
            if left <= 0 or ((price > limit) if is_buy else (price < limit)):
                break
            found.append((price, min(left, amount)))
            left -= min(left, amount)
        if request.get("time_in_force") == "fok" and left > 0:
            raise Refusal(11014, "FOK not filled")
        return found

    def _fee(self, option: Option, fills: list[tuple[Decimal, Decimal]]) -> Decimal:
        index = self.index[option.currency]
        rates = (amount * min(option.taker_rate * index, option.fee_cap * option.mark) for _, amount in fills)
        return (option.base_fee + sum(rates, Decimal(0))) if fills else Decimal(0)

    @staticmethod
    def _cost(fills: list[tuple[Decimal, Decimal]]) -> Decimal:
        return sum((price * amount for price, amount in fills), Decimal(0))

    @staticmethod
    def _take(levels: list[list[Decimal]], fills: list[tuple[Decimal, Decimal]]) -> None:
        for level, (_, amount) in zip(list(levels), fills, strict=False):
            level[1] -= amount
            if level[1] <= 0:
                levels.remove(level)

    def _book(
        self, request: dict[str, Any], option: Option, fills: list[tuple[Decimal, Decimal]], fee: Decimal
    ) -> dict[str, Any]:
        filled, cost = sum((amount for _, amount in fills), Decimal(0)), self._cost(fills)
        whole = filled == Decimal(request["amount"])
        order = order_row(
            request,
            filled,
            cost / filled,
            fee,
            whole=whole,
            subaccount_id=self.subaccount_id,
            now_s=self.now_s,
        )
        trades = [
            self._trade(request, order["order_id"], option, price, amount, fee * amount / filled)
            for price, amount in fills
        ]
        self.orders[order["order_id"]] = order
        self.trades += trades
        self.move(option.name, filled if request["direction"] == "buy" else -filled, cost / filled)
        self.cash -= fee + (cost if request["direction"] == "buy" else -cost)
        return {"order": order, "trades": trades}

    def _trade(
        self,
        request: dict[str, Any],
        order_id: str,
        option: Option,
        price: Decimal,
        amount: Decimal,
        fee: Decimal,
    ) -> dict[str, Any]:
        return trade_row(
            request,
            order_id,
            price=price,
            amount=amount,
            fee=fee,
            name=option.name,
            mark=option.mark,
            index=self.index[option.currency],
            subaccount_id=self.subaccount_id,
            now_s=self.now_s,
        )

    def move(self, name: str, amount: Decimal, price: Decimal) -> None:
        """Change a position."""
        held, average = self.positions.get(name, [Decimal(0), Decimal(0)])
        if amount > 0:
            average = (held * average + amount * price) / (held + amount)
        self.positions[name] = [held + amount, average]
        if not held + amount:
            del self.positions[name]

    # --- requests for quotes ----------------------------------------------------------------------------

    def send_rfq(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open an RFQ; a maker with a price for its one leg answers at once, for both directions it likes."""
        leg = request["legs"][0]
        option, stamp = self.options[leg["instrument_name"]], int(self.now_s * 1e3)
        rfq = {
            "rfq_id": str(uuid.uuid4()),
            "legs": request["legs"],
            "status": "open",
            "label": request.get("label") or "",
            "subaccount_id": self.subaccount_id,
            "wallet": self.owner.lower(),
            "creation_timestamp": stamp,
            "last_update_timestamp": stamp,
            "valid_until": stamp + 600_000,
            "cancel_reason": "",
            "filled_pct": "0",
        }
        self.rfqs[rfq["rfq_id"]] = rfq
        for direction in ("sell", "buy"):
            if (price := self.maker_prices.get(f"{option.name}:{direction}")) is not None:
                quote = {
                    "quote_id": str(uuid.uuid4()),
                    "rfq_id": rfq["rfq_id"],
                    "direction": direction,
                    "legs": [{**leg, "price": text(price)}],
                    "legs_hash": "0x" + "00" * 32,
                    "status": "open",
                    "fill_pct": "0",
                    "liquidity_role": "maker",
                    "cancel_reason": "",
                    "creation_timestamp": stamp,
                    "last_update_timestamp": stamp,
                    "subaccount_id": 1,
                    "wallet": "0x" + "99" * 20,
                }
                self.quotes[quote["quote_id"]] = quote
        return rfq

    def execute_quote(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a maker's quote, whole."""
        quote = self.quotes.get(request["quote_id"])
        if quote is None or quote["rfq_id"] != request["rfq_id"]:
            raise Refusal(11102, "Quote not found")
        if quote["status"] != "open":
            raise Refusal(11104, "RFQ not open")
        if request["legs"] != quote["legs"] or request["direction"] == quote["direction"]:
            raise Refusal(11103, "RFQ leg mismatch")
        leg = quote["legs"][0]
        option, price, amount = (
            self.options[leg["instrument_name"]],
            Decimal(leg["price"]),
            Decimal(leg["amount"]),
        )
        sign = (1 if leg["direction"] == "buy" else -1) * (1 if quote["direction"] == "buy" else -1)
        legs = encode(
            ["(address,uint256,uint256,int256)[]"],
            [[(OPTION_ASSET, option.sub_id, int(price * E18), sign * int(amount * E18))]],
        )
        data = encode(["bytes32", "uint256"], [keccak(legs), int(Decimal(request["max_fee"]) * E18)])
        nonce = self.verify(request, RFQ_MODULE, data)
        fee = self._fee(option, [(price, amount)])
        if fee > Decimal(request["max_fee"]):
            raise Refusal(11023, "Max fee order param is too low")
        if request["direction"] == "buy" and price * amount + fee > self.cash:
            raise Refusal(11000, "Insufficient funds")
        self.nonces.add(nonce)
        quote["status"] = self.rfqs[quote["rfq_id"]]["status"] = "filled"
        self.trades.append(self._trade(request, "", option, price, amount, fee))
        is_buy = request["direction"] == "buy"
        self.move(option.name, amount if is_buy else -amount, price)
        self.cash -= fee + (price * amount if is_buy else -price * amount)
        executed = executed_row(request, quote, fee=fee, subaccount_id=self.subaccount_id)
        self.executed.append(executed)
        return executed
