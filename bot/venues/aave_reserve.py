"""Keeps a loan of Aave v3 from liquidation out of RESERVE (R21): more collateral, or less debt.

Paid is exactly what was decided, from tokens that the account holds, on its own behalf only. A repayment that
is larger than the debt is cut down to it by the pool.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bot.chain.abi import Abi
from bot.errors import VenueRejected
from bot.model.account_order import AccountFact, AccountOrder, Moved
from bot.model.base_layers import Action
from bot.model.execution import ExecutionPlan, OnchainTx, Payment
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.model.units import to_fixed_down
from bot.ports import ChainReader, MarketView
from bot.venues.overrides import FundedSender
from bot.venues.priced_token import PricedToken
from bot.venues.steps import executed, without_event

POOL = Abi.load("Pool")
RESERVE_GAS_CEILING = 700_000
_VARIABLE_RATE = 2  # interestRateMode; stable-rate borrowing is switched off on every market
_CALLS = {Action.TOP_UP: "supply", Action.REPAY: "repay"}
_EVENTS = {Action.TOP_UP: "Supply", Action.REPAY: "Repay"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AaveReserve:
    """AccountAdapter over one loan of the account."""

    reader: ChainReader
    account: str
    label: str  # of the loan
    pool: str
    collateral: PricedToken | None  # what it is topped up with
    debt: PricedToken | None  # what is repaid

    @property
    def name(self) -> str:
        return self.label

    @property
    def least_gas_ceiling(self) -> int:
        return RESERVE_GAS_CEILING

    def permissions(self) -> tuple[Permission, ...]:
        """Both reduce risk, on our own behalf, for an exact sum: possible while paused."""
        pool = self.pool.lower()
        tokens = {item.address.lower() for item in (self.collateral, self.debt) if item is not None}
        return (
            *(ApprovalRule(token=token, spender=pool, opens=False) for token in sorted(tokens)),
            self._rule(pool, "supply", on_behalf_of=2),
            self._rule(pool, "repay", on_behalf_of=3),
        )

    async def plan(self, order: AccountOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """See ports.AccountAdapter."""
        token = self._token(order.action)
        price = token.price_usd(view)
        if not 0.0 < price < math.inf:
            raise VenueRejected(f"{self.label}: the price of {token.symbol} is not known; nothing was sent")
        amount_raw = to_fixed_down(order.amount_usd / price, decimals=token.decimals)
        if not amount_raw:
            raise VenueRejected(
                f"{self.label}: {order.amount_usd:.4f} USD is no amount of {token.symbol}; nothing was sent"
            )
        data = self._data(order.action, token, amount_raw)
        funded = FundedSender(self.reader)
        await funded.check(self.pool, data, token=token.address, owner=self.account, block=head)
        step = OnchainTx(
            purpose=_purpose(order),
            to=self.pool,
            data=data,
            gas_ceiling=RESERVE_GAS_CEILING,
        )
        payment = Payment(
            token=token.address,
            symbol=token.symbol,
            decimals=token.decimals,
            spender=self.pool,
            amount_raw=amount_raw,
        )
        return ExecutionPlan(
            steps=(step,),
            trade=step.purpose,
            valid_until_s=order.valid_until_s,
            pays=(payment,),
            most_usd=order.amount_usd,
            because=f"{payment.amount:,.6g} {token.symbol}",
        )

    def fact(self, order: AccountOrder, receipts: Mapping[str, Receipt]) -> AccountFact | None:
        receipt = executed(receipts, _purpose(order))
        if receipt is None:
            return None
        token = self._token(order.action)
        for event in POOL.logs(_EVENTS[order.action], receipt.logs, address=self.pool):
            if str(event["reserve"]).lower() == token.address.lower():
                moved = Moved(asset=token.symbol, units=-token.units(event["amount"]))
                return AccountFact(moved=(moved,), receipt=receipt)
        raise without_event(order.key, receipt)

    def _data(self, action: Action, token: PricedToken, amount_raw: int) -> bytes:
        rest = (self.account, 0) if action is Action.TOP_UP else (_VARIABLE_RATE, self.account)
        return POOL.encode(_CALLS[action], token.address, amount_raw, *rest)

    def _token(self, action: Action) -> PricedToken:
        found = {Action.TOP_UP: self.collateral, Action.REPAY: self.debt}.get(action)
        if found is None:
            raise VenueRejected(
                f"{self.label}: no token is configured for {action.value}; name it under [[loans]]"
            )
        return found

    @staticmethod
    def _rule(pool: str, name: str, *, on_behalf_of: int) -> CallRule:
        return CallRule(
            target=pool,
            function=POOL.function(name).signature,
            guard=Guard.BOUND,
            opens=False,
            recipients=((on_behalf_of,),),
            most=(1,),
        )


def _purpose(order: AccountOrder) -> str:
    return order.action.value.replace(" ", "-")
