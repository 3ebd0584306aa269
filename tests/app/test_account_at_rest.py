"""The look at the account after a step, in a run that asks several providers."""

from collections.abc import AsyncIterator

import pytest
from commands import Home
from send_builders import Proxy

from bot.app.follow import Listener
from bot.app.live import open_bot
from bot.chain.heads import NewHead
from bot.chain.rpc import Rpc
from bot.devnet.config import PASSWORD
from bot.devnet.node import Devnet
from bot.settings import load_settings

pytestmark = pytest.mark.devnet
STEPS = 3


async def test_providers_that_differ_on_the_nonce_are_told_and_steps_go_on(
    home: Home, devnet: Devnet, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dissent holds (ADR 0006): it does not end the run after every step."""
    monkeypatch.setenv("ALVH_KEYSTORE_PASSWORD", PASSWORD)

    def after(call, reply):
        is_count = call["method"] == "eth_getTransactionCount"
        return reply | {"result": hex(int(reply["result"], 16) - 1)} if is_count else None

    async with Proxy(devnet.rpc_url.replace("127.0.0.1", "localhost"), after=after) as liar:
        urls = f'rpc_urls = ["{devnet.rpc_url}", "{liar.url.replace("127.0.0.1", "localhost")}"]'
        home.change(r'rpc_url = "[^"]*"', f"{urls}\nagreement = 2")
        told: list[str] = []
        listener = Listener(on_trouble=lambda error: told.append(str(error)))
        with home.signer():
            async with open_bot(load_settings(home.config), mode="live", listener=listener) as bot:

                async def heads() -> AsyncIterator[NewHead]:
                    for _ in range(STEPS):
                        yield NewHead(block=await bot.reader.head())
                        await rpc.request("evm_mine")

                records = [record async for record in bot.records(heads())]
    assert len(records) == STEPS
    assert any("eth_getTransactionCount: providers disagree" in line for line in told)
