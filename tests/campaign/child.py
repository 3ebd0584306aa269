"""What the rig changes inside the bot's process before its command runs (``arm`` of tests/commands.py)."""

import time
from functools import partial
from pathlib import Path

import bot.app.trading
from bot.chain.pause import Pause, write_pause
from bot.chain.transactions import SendTerms
from campaign import kill_points


def hurry(resend_after_s: str, bump_after_s: str) -> None:
    """Let the transaction manager wait less than in service before it sends again, or pays more."""
    terms = partial(SendTerms, resend_after_s=float(resend_after_s), bump_after_s=float(bump_after_s))
    bot.app.trading.SendTerms = terms  # type: ignore[misc, assignment]


def pause_at(point: str, purpose: str, folder: str) -> None:
    """Pause bot and signer when an order passes one of the points K1 to K12, once; nobody dies."""

    class Pauser(kill_points.Killer):
        is_done = False

        def die(self) -> None:
            if not self.is_done:
                self.is_done = True
                write_pause(Path(folder), Pause(who="campaign", at_s=time.time(), why=f"at {point}"))

        def give_and_die(self, raw: str) -> None:
            self.die()

    kill_points.arm(Pauser(point, purpose, side="buy", rpc_url=""))
