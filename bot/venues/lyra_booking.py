"""What the receipts of a leg on Lyra say became of it: its events and token movements, never the plan."""

from collections.abc import Mapping

from bot.model.execution import TradeFact
from bot.model.hedge import HedgeLeg, Side
from bot.model.intent import Receipt
from bot.venues.facts import mined, moved_raw, no_event
from bot.venues.lyra_reads import COLLATERAL, MARKET, LyraContracts, wad

TRADE_PURPOSE = {Side.BUY: "open", Side.SELL: "close", Side.SETTLE: "settle"}


def read_fact(
    leg: HedgeLeg,
    receipts: Mapping[str, Receipt],
    *,
    contracts: LyraContracts,
    account: str,
    token: str,
    settlement_usd: float,
) -> TradeFact | None:
    """Return the leg's trade, None when it was not mined with success.

    Its money is what moved; of a batch, in which other steps move the same token, what the event says.
    Raises OutcomeUnknown when the receipt has no event of this account.
    """
    receipt = mined(receipts, TRADE_PURPOSE[leg.side])
    if receipt is None:
        return None
    position_id, amount_raw, said_raw, fee_raw = _event(leg, receipt, contracts, account.lower())
    cost_raw = moved_raw(receipt, receipts, token=token, account=account, said_raw=said_raw)
    return TradeFact(
        position_id=position_id,
        size=wad(amount_raw),
        premium_usd=wad(cost_raw) * settlement_usd,
        fee_usd=wad(fee_raw) * settlement_usd,
        receipt=receipt,
    )


def _event(
    leg: HedgeLeg, receipt: Receipt, contracts: LyraContracts, own: str
) -> tuple[str, int, int | None, int]:
    """Return position id, amount, cost (None: it names none) and fee of the trade's own event."""
    if leg.side is Side.SETTLE:
        settled = COLLATERAL.logs("PositionSettled", receipt.logs, address=contracts.short_collateral)
        for event in settled:
            if event["optionOwner"] == own and str(event["positionId"]) == leg.position_id:
                return leg.position_id, event["amount"], None, 0
    for event in MARKET.logs("Trade", receipt.logs, address=contracts.option_market):
        if event["trader"] == own:
            fee_raw = sum(result[6] for result in event["tradeResults"])
            return str(event["positionId"]), event["trade"][4], event["trade"][9], fee_raw
    raise no_event(leg, receipt, "its trade event")
