"""What became of a Safe transaction, from the chain alone: whoever executed it, its event says so."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from bot.chain.account_view import AccountView
from bot.chain.safe import SAFE, SafeOutcome, logged
from bot.chain.send_state import Attempt, Intent
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.ports import BlockLog, ChainReader


class Executed(NamedTuple):
    """One Safe transaction that was executed."""

    tx_hash: str  # of the Safe transaction, 0x hex
    outcome: SafeOutcome
    log: BlockLog


async def find_executed(
    reader: ChainReader, *, safe: str, hashes: Iterable[str], from_block: int, head: Block
) -> Executed | None:
    """Return which of some Safe transactions was executed, None for none of them. Raises as ``logs``."""
    topics = [[SAFE.topic("ExecutionSuccess"), SAFE.topic("ExecutionFailure")]]
    rows = await reader.logs(addresses=[safe], topics=topics, from_block=from_block, to=head)
    for row in reversed(rows):
        for tx_hash in hashes:
            outcome = logged(row.log, bytes.fromhex(tx_hash[2:]))
            if outcome is not SafeOutcome.ABSENT:
                return Executed(tx_hash, outcome, row)
    return None


async def receipt_of(view: AccountView, intent: Intent, executing: str) -> Receipt | None:
    """Return the canonical receipt of the transaction that executed an intent of a Safe, None without one."""
    looked_for = replace(intent, attempts=(Attempt(tx_hash=executing, raw="", is_cancel=False),))
    return (await view.sighting(looked_for)).receipts.get(executing)
