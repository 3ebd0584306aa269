"""Which allowances an order takes back when only the chain names the token (REL-T10)."""

from dataclasses import replace

import pytest

from bot.errors import TransientError
from bot.model.intent import Log, Receipt
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule
from bot.venues.executor import OrderRun
from bot.venues.steps import ERC20

from .conftest import NEVER_S, World

pytestmark = pytest.mark.devnet
KEY = "close/0"
LOUD = "0x" + "0bad" * 10
TELLS_ONE = "0x60015f5260205ff3"  # whatever it is asked
REVERTS = "0x5f5ffd"


def run_of(world: World, *rules: ApprovalRule) -> OrderRun:
    seller = ApprovalRule(token=BOUGHT_TOKEN, spender=world.at.v3_router.lower(), opens=False)
    return OrderRun(
        reader=world.reader,
        custody=world.transactor,
        key=KEY,
        valid_until_s=NEVER_S,
        permissions=(seller, *rules),
    )


async def approved(world: World) -> Receipt:
    """The order gave the router an allowance of WETH, which stands for what was bought."""
    own, at = world.transactor.address, world.at
    receipt = await world.send(own, at.weth, ERC20.encode("approve", at.v3_router, 1_000))
    world.transactor.receipts[KEY] = {"approve-trade": receipt}
    return receipt


def told(world: World, spender: str) -> Log:
    """A stranger tells of an allowance of ours."""
    sides = ("0x" + side[2:].lower().rjust(64, "0") for side in (world.transactor.address, spender))
    return Log(address=LOUD, topics=(ERC20.topic("Approval"), *sides), data=bytes(31) + b"\1")


async def test_an_allowance_of_a_bought_token_is_taken_back(world: World):
    await approved(world)
    await run_of(world).finish()
    assert [item.to for item in world.transactor.requests] == [world.at.weth.lower()]
    assert (
        await world.read("ERC20", "allowance", world.at.weth, world.transactor.address, world.at.v3_router)
        == 0
    )


@pytest.mark.parametrize("step", ["approve-trade", "close"])
@pytest.mark.parametrize("code", [TELLS_ONE, REVERTS])
async def test_what_a_stranger_tells_of_is_not_taken_back(world: World, step: str, code: str):
    """To the router that sells, in a trade; to anybody, in the approval itself."""
    receipt = await approved(world)
    await world.rpc.request("anvil_setCode", [LOUD, code])
    spender = world.at.v3_router if step == "close" else world.at.trader
    noisy = replace(receipt, logs=(told(world, spender), *receipt.logs * (step != "close")))
    world.transactor.receipts[KEY][step] = noisy
    await run_of(world).finish()
    assert [item.to for item in world.transactor.requests] == [world.at.weth.lower()]


async def test_a_bought_token_that_says_nothing_any_more_keeps_no_order_open(world: World):
    await approved(world)
    await world.rpc.request("anvil_setCode", [world.at.weth, REVERTS])
    await run_of(world).finish()
    assert world.transactor.requests == []


async def test_a_token_of_the_rules_that_cannot_be_read_is_read_again(world: World):
    rule = ApprovalRule(token=world.at.usdc.lower(), spender=world.at.v3_router.lower(), opens=True)
    await world.rpc.request("anvil_setCode", [world.at.usdc, REVERTS])
    with pytest.raises(TransientError, match="could not be read"):
        await run_of(world, rule).finish()
