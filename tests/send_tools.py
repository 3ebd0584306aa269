"""What tests of sending wait for, and what somebody else may send with the same key."""

import asyncio
from collections.abc import Callable

from eth_account import Account
from send_builders import CHAIN_ID, KEY

from bot.chain.fees import GWEI


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait for what a node and a file will show."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the other side is a node and a file
            await asyncio.sleep(0.005)


def foreign_transfer(nonce: int = 0, *, max_fee_gwei: int = 50) -> str:
    """Return a transfer that the same key signed somewhere else."""
    signed = Account.from_key(KEY).sign_transaction(
        {
            "type": 2,
            "chainId": CHAIN_ID,
            "nonce": nonce,
            "to": "0x" + "11" * 20,
            "value": 1,
            "gas": 21_000,
            "maxFeePerGas": max_fee_gwei * GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
    )
    return "0x" + bytes(signed.raw_transaction).hex()
