"""How the fill of an order is read from its receipts, alike at every venue."""

from collections.abc import Mapping

from bot.errors import OutcomeUnknown
from bot.model.hedge import HedgeLeg
from bot.model.intent import Receipt
from bot.venues.steps import is_alone, token_delta, without_event


def mined(receipts: Mapping[str, Receipt], purpose: str) -> Receipt | None:
    """Return the receipt of a step that was mined with success, else None.

    The first try goes by the purpose, one that followed a try without effect by its block too: "redeem@17".
    """
    for name, receipt in receipts.items():
        step, _, block = name.partition("@")
        # The cancel of such a try, "redeem@17-cancelled", is mined with success too, and is no trade.
        if receipt.succeeded and step == purpose and (block.isdecimal() or name == purpose):
            return receipt
    return None


def no_event(leg: HedgeLeg, receipt: Receipt, what: str) -> OutcomeUnknown:
    """See :func:`bot.venues.steps.without_event`."""
    return without_event(leg.key, receipt, what)


def moved_raw(
    receipt: Receipt, receipts: Mapping[str, Receipt], *, token: str, account: str, said_raw: int | None
) -> int:
    """Return how much of a token a trade moved to or from the account, raw, >= 0.

    In a batch other steps move the same token: of one, what the trade's own event says, if it says it.
    """
    if said_raw is not None and not is_alone(receipt, receipts):
        return said_raw
    return abs(token_delta(receipt, token=token, account=account))
