"""What the receipts of a leg say became of it. The plan is not asked: events and token movements are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.errors import InvariantError
from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Side
from bot.model.intent import Receipt
from bot.model.units import WAD_DECIMALS, from_fixed
from bot.venues.booked import SIZE_TOLERANCE
from bot.venues.lyra_reads import COLLATERAL, MARKET, LyraContracts, wad
from bot.venues.lyra_terms import Prices
from bot.venues.settlement import SettlementSwap
from bot.venues.steps import token_delta

TRADE_PURPOSE = {Side.BUY: "open", Side.SELL: "close", Side.SETTLE: "settle"}
_SWAP_PURPOSES = ("swap-in", "swap-out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One executed trade, by its events."""

    position_id: str
    amount_raw: int
    fee_raw: int


def trade_receipt(leg: HedgeLeg, receipts: Mapping[str, Receipt]) -> Receipt | None:
    """Return the receipt of the leg's trade, None when it was not mined with success."""
    receipt = receipts.get(TRADE_PURPOSE[leg.side])
    return receipt if receipt is not None and receipt.succeeded else None


def trade_fact(leg: HedgeLeg, receipt: Receipt, *, contracts: LyraContracts, account: str) -> Fact:
    """Read the trade's own event. Raises InvariantError when the receipt has none of this account."""
    own = account.lower()
    if leg.side is Side.SETTLE:
        settled = COLLATERAL.logs("PositionSettled", receipt.logs, address=contracts.short_collateral)
        for event in settled:
            if event["optionOwner"] == own and str(event["positionId"]) == leg.position_id:
                return Fact(position_id=leg.position_id, amount_raw=event["amount"], fee_raw=0)
    for event in MARKET.logs("Trade", receipt.logs, address=contracts.option_market):
        if event["trader"] == own:
            fee_raw = sum(result[6] for result in event["tradeResults"])
            return Fact(position_id=str(event["positionId"]), amount_raw=event["trade"][4], fee_raw=fee_raw)
    raise InvariantError(f"leg {leg.key}: transaction {receipt.tx_hash} succeeded without its trade event")


@dataclass(frozen=True, slots=True, kw_only=True)
class LegBooking:
    """Turns receipts into an outcome for one account, at one view's prices."""

    contracts: LyraContracts
    swap: SettlementSwap
    account: str
    prices: Prices

    def outcome(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], *, because: str) -> LegOutcome:
        """Return filled where the leg's trade succeeded, else refused; with all that was spent either way."""
        spent = LegOutcome(
            leg=leg,
            status=LegStatus.REJECTED,
            at_s=self.prices.now_s,
            swap_usd=self._swap_usd(receipts),
            gas_usd=self.gas_usd(receipts),
            because=because,
        )
        receipt = trade_receipt(leg, receipts)
        if receipt is None:
            return spent
        fact = trade_fact(leg, receipt, contracts=self.contracts, account=self.account)
        token = self.swap.pair.settlement_token
        moved = wad(abs(token_delta(receipt, token=token, account=self.account)))
        filled = wad(fact.amount_raw)
        return replace(
            spent,
            status=LegStatus.FILLED if filled >= leg.size - SIZE_TOLERANCE else LegStatus.PARTIAL,
            filled_size=filled,
            premium_usd=moved * self.prices.settlement_usd,
            fee_usd=wad(fact.fee_raw) * self.prices.settlement_usd,
            position_id=fact.position_id,
            tx_hash=receipt.tx_hash,
            block_number=receipt.block_number,
        )

    def gas_usd(self, receipts: Mapping[str, Receipt]) -> float:
        """Return what all transactions of the leg burnt, those without effect included."""
        wei = sum(item.gas_cost_wei for item in receipts.values())
        return from_fixed(wei, decimals=WAD_DECIMALS) * self.prices.eth_usd

    def _swap_usd(self, receipts: Mapping[str, Receipt]) -> float:
        found = (receipts.get(purpose) for purpose in _SWAP_PURPOSES)
        costs = (
            self.swap.cost_usd(
                receipt,
                account=self.account,
                stable_usd=self.prices.stable_usd,
                settlement_usd=self.prices.settlement_usd,
            )
            for receipt in found
            if receipt is not None and receipt.succeeded
        )
        return sum(costs, 0.0)
