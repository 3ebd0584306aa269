"""What tests of sending wait for, and what somebody else may send with the same key."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from eth_account import Account
from send_builders import CHAIN_ID, KEY

from bot.chain.fees import GWEI
from bot.chain.transactions import TransactionManager
from bot.errors import OutcomeUnknown
from bot.model.intent import Receipt


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait for what a node and a file will show."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the other side is a node and a file
            await asyncio.sleep(0.005)


async def resumed(
    sender: TransactionManager, leg_key: str = "leg", *, tries: int = 60
) -> Mapping[str, Receipt]:
    """Come again until the outcome is known, as who resumes does: one visit may be too short."""
    for _ in range(tries - 1):
        try:
            return await sender.resume(leg_key)
        except OutcomeUnknown:
            continue
    return await sender.resume(leg_key)


async def until_too_dear(sender: TransactionManager, leg_key: str = "leg", *, tries: int = 60) -> None:
    """Come again until no dearer replacement is allowed; how many fit into one visit is the machine's."""
    said: list[str] = []
    while not said or "gas is too dear" not in said[-1]:
        assert len(said) < tries, said
        with pytest.raises(OutcomeUnknown) as caught:
            await sender.resume(leg_key)
        said.append(str(caught.value))


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
