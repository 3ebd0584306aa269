"""What the receipts of a leg at Panoptic say became of it: the pool's and the trackers' events.

A purchase costs what was deposited beyond its margin; a sale brings what was withdrawn beyond it. Cash that
an order's own deposits brought in is taken off what it withdrew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.model.execution import TradeFact
from bot.model.hedge import HedgeLeg, Side
from bot.model.intent import Log, Receipt
from bot.model.units import from_fixed
from bot.venues.facts import mined, no_event
from bot.venues.panoptic_reads import POOL, TRACKER, margin_raw, notional_raw, position_name
from bot.venues.panoptic_steps import BUY_UNIT, CLOSE, OPEN, WITHDRAW_CASH
from bot.venues.panoptic_terms import Chunk, PanopticContracts, PanopticTerms
from bot.venues.panoptic_token_id import TokenId
from bot.venues.prices import Prices
from bot.venues.steps import is_alone, token_delta

_SIZE = 2**128 - 1
_MINT_TIME = 184


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticBooking:
    """Reads the receipts of one account."""

    contracts: PanopticContracts
    terms: PanopticTerms
    account: str

    def fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], prices: Prices) -> TradeFact | None:
        """Return the leg's trade; None until it succeeded, of a sale until its money was withdrawn too.

        Raises OutcomeUnknown when the receipt has no event of this account.
        """
        trade = mined(receipts, OPEN if leg.side is Side.BUY else CLOSE)
        is_out = leg.side is Side.BUY or mined(receipts, WITHDRAW_CASH) is not None
        if trade is None or not is_out:
            return None
        name = "OptionMinted" if leg.side is Side.BUY else "OptionBurnt"
        for event in POOL.logs(name, trade.logs, address=self.contracts.pool):
            if event["recipient"] == self.account.lower():
                return self._booked(leg, event, trade, receipts, prices)
        raise no_event(leg, trade, f"its {name} event")

    def _booked(
        self,
        leg: HedgeLeg,
        event: dict[str, Any],
        trade: Receipt,
        receipts: Mapping[str, Receipt],
        prices: Prices,
    ) -> TradeFact:
        token_id = TokenId.of(event["tokenId"])
        buys = leg.side is Side.BUY
        size_raw = event["balanceData"] & _SIZE if buys else event["positionSize"]
        contracts_raw = size_raw * token_id.legs[0].ratio
        margin_usd = self._margin_usd(token_id, contracts_raw, prices)
        deposited_usd = self._moved_usd("Deposit", receipts, prices) + self._swap_usd(receipts, prices)
        withdrawn_usd = self._moved_usd("Withdraw", receipts, prices)
        premium_usd = deposited_usd - margin_usd if buys else withdrawn_usd - margin_usd - deposited_usd
        minted_s = event["balanceData"] >> _MINT_TIME & 0xFFFFFFFF if buys else 0
        return TradeFact(
            position_id=position_name(token_id.value, minted_s) if buys else leg.position_id,
            size=from_fixed(contracts_raw, decimals=self.contracts.unit_decimals),
            premium_usd=max(premium_usd, 0.0),
            fee_usd=self._commission_usd(receipts, prices),
            receipt=trade,
        )

    def _margin_usd(self, token_id: TokenId, contracts_raw: int, prices: Prices) -> float:
        leg = token_id.legs[0]
        notional = notional_raw(
            Chunk(strike=leg.strike, width=leg.width),
            contracts_raw,
            unit_index=self.contracts.unit_index,
            tick_spacing=token_id.tick_spacing,
        )
        margin = margin_raw(notional, buyer_ratio=self.terms.buyer_ratio, buffer=self.terms.buffer)
        return self.contracts.worth_usd((0, margin), prices)

    def _moved_usd(self, name: str, receipts: Mapping[str, Receipt], prices: Prices) -> float:
        """Return what the account deposited or withdrew in the order."""
        unit_raw = self._sum(name, receipts, self.contracts.unit_tracker)
        cash_raw = self._sum(name, receipts, self.contracts.cash_tracker)
        return self.contracts.worth_usd((unit_raw, cash_raw), prices)

    def _sum(self, name: str, receipts: Mapping[str, Receipt], tracker: str) -> int:
        events = TRACKER.logs(name, _logs(receipts), address=tracker)
        return sum(event["assets"] for event in events if event["owner"] == self.account.lower())

    def _swap_usd(self, receipts: Mapping[str, Receipt], prices: Prices) -> float:
        """Return what getting some of the underlying cost over its worth; 0 where a batch hides it."""
        receipt = mined(receipts, BUY_UNIT)
        if receipt is None or not is_alone(receipt, receipts):
            return 0.0
        c = self.contracts
        moved = tuple(
            token_delta(receipt, token=token, account=self.account) for token in (c.unit_token, c.cash_token)
        )
        return -c.worth_usd((moved[0], moved[1]), prices)

    def _commission_usd(self, receipts: Mapping[str, Receipt], prices: Prices) -> float:
        c, fees = self.contracts, []
        for tracker in (c.unit_tracker, c.cash_tracker):
            events = TRACKER.logs("CommissionPaid", _logs(receipts), address=tracker)
            own = (event for event in events if event["owner"] == self.account.lower())
            fees.append(
                sum(event["commissionPaidProtocol"] + event["commissionPaidBuilder"] for event in own)
            )
        return c.worth_usd((fees[0], fees[1]), prices)


def _logs(receipts: Mapping[str, Receipt]) -> tuple[Log, ...]:
    """Return the logs of an order, each transaction's once."""
    found = {receipt.tx_hash: receipt.logs for receipt in receipts.values() if receipt.succeeded}
    return tuple(log for logs in found.values() for log in logs)
