"""What the receipts of a leg on Opyn say became of it: the pool's swap, or the Controller's redemption."""

from collections.abc import Callable, Mapping

from bot.model.execution import TradeFact
from bot.model.hedge import HedgeLeg, Side
from bot.model.intent import Receipt
from bot.model.units import from_fixed
from bot.venues.facts import mined, no_event
from bot.venues.opyn_plan import BUY, REDEEM, SELL
from bot.venues.opyn_pools import V3_POOL
from bot.venues.opyn_reads import CONTROLLER
from bot.venues.opyn_terms import OTOKEN_DECIMALS, OpynContracts, otoken_of
from bot.venues.prices import Prices
from bot.venues.steps import ERC20

TRADE_PURPOSE = {Side.BUY: BUY, Side.SELL: SELL, Side.SETTLE: REDEEM}


def read_fact(
    leg: HedgeLeg,
    receipts: Mapping[str, Receipt],
    *,
    contracts: OpynContracts,
    account: str,
    fee_share: Callable[[str], float],
    prices: Prices,
) -> TradeFact | None:
    """Return the leg's trade, None when it was not mined with success.

    ``fee_share`` is a pool's fee as a fraction. Raises OutcomeUnknown when the receipt lacks its event.
    """
    receipt, otoken = mined(receipts, TRADE_PURPOSE[leg.side]), otoken_of(leg.instrument)
    if receipt is None or otoken is None:
        return None
    if leg.side is Side.SETTLE:
        return _redeemed(leg, receipt, otoken, contracts, account.lower(), prices)
    pool = _pool(leg, receipt, otoken, account.lower())
    amount_raw, token_raw = _swapped(leg, receipt, pool, otoken, contracts)
    money_usd = from_fixed(token_raw, decimals=contracts.decimals) * prices.settlement_usd
    return TradeFact(
        position_id=otoken,
        size=from_fixed(amount_raw, decimals=OTOKEN_DECIMALS),
        premium_usd=money_usd,
        fee_usd=money_usd * fee_share(pool),
        receipt=receipt,
    )


def _redeemed(
    leg: HedgeLeg, receipt: Receipt, otoken: str, contracts: OpynContracts, own: str, prices: Prices
) -> TradeFact:
    for event in CONTROLLER.logs("Redeem", receipt.logs, address=contracts.controller):
        if event["redeemer"] == own and event["otoken"] == otoken:
            is_token = event["collateralAsset"] == contracts.token.lower()
            decimals = contracts.decimals if is_token else contracts.underlying_decimals
            unit_usd = prices.settlement_usd if is_token else prices.spot_usd
            return TradeFact(
                position_id=otoken,
                size=from_fixed(event["otokenBurned"], decimals=OTOKEN_DECIMALS),
                premium_usd=from_fixed(event["payout"], decimals=decimals) * unit_usd,
                fee_usd=0.0,
                receipt=receipt,
            )
    raise no_event(leg, receipt, "Redeem")


def _pool(leg: HedgeLeg, receipt: Receipt, otoken: str, own: str) -> str:
    """Return the other side of the account's oToken transfer: the pool it traded with."""
    mine, other = ("to", "from") if leg.side is Side.BUY else ("from", "to")
    for event in ERC20.logs("Transfer", receipt.logs, address=otoken):
        if event[mine] == own:
            return str(event[other])
    raise no_event(leg, receipt, f"a transfer of {otoken} of the account")


def _swapped(
    leg: HedgeLeg, receipt: Receipt, pool: str, otoken: str, contracts: OpynContracts
) -> tuple[int, int]:
    """Return (oTokens, tokens) of the pool's swap, both positive."""
    for event in V3_POOL.logs("Swap", receipt.logs, address=pool):
        amounts = (abs(event["amount0"]), abs(event["amount1"]))
        is_first = int(otoken, 16) < int(contracts.token, 16)
        return amounts if is_first else amounts[::-1]
    raise no_event(leg, receipt, f"Swap of {pool}")
