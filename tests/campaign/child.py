"""What the rig changes inside the bot's process before its command runs (``arm`` of tests/commands.py)."""

from functools import partial

import bot.app.trading
from bot.chain.transactions import SendTerms


def hurry(resend_after_s: str, bump_after_s: str) -> None:
    """Let the transaction manager wait less than in service before it sends again, or pays more."""
    terms = partial(SendTerms, resend_after_s=float(resend_after_s), bump_after_s=float(bump_after_s))
    bot.app.trading.SendTerms = terms  # type: ignore[misc, assignment]
