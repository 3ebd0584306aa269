"""Connections to the chains that settings name, checked before anything is read from them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bot.app.addresses import contracts_of
from bot.chain.providers import Providers
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node, Rpc
from bot.errors import BotError, ConfigError
from bot.settings import ChainSettings, Settings


def connect(chain: ChainSettings, *, on_trouble: Callable[[BotError], None] = lambda _: None) -> Node:
    """Return the connection of a chain: its provider, or all of them behind one surface."""
    rpcs = [
        Rpc(url, timeout_s=chain.timeout_s, allow_plain_http=chain.allow_plain_http) for url in chain.urls
    ]
    if len(rpcs) == 1:
        return rpcs[0]
    return Providers(
        rpcs,
        chain_id=chain.id,
        agreement=chain.agreement,
        max_head_lag=chain.max_head_lag,
        on_trouble=on_trouble,
    )


@asynccontextmanager
async def open_chain(
    settings: Settings,
    chain_id: int | None = None,
    *,
    on_trouble: Callable[[BotError], None] = lambda _: None,
) -> AsyncIterator[tuple[Node, JsonRpcReader]]:
    """Connect to a configured chain, the home chain by default.

    Checks the chain id and that every address configured on it has code. Raises ConfigError naming the
    field, TransientError when the node does not answer.
    """
    chain = settings.chain_named(settings.chain.id if chain_id is None else chain_id)
    node = connect(chain, on_trouble=on_trouble)
    try:
        reader = await JsonRpcReader.connect(node, chain_id=chain.id, multicall3=chain.multicall3)
        await _check_code(settings, reader)
        yield node, reader
    finally:
        await node.close()


async def _check_code(settings: Settings, reader: JsonRpcReader) -> None:
    head = await reader.head()
    wanted = contracts_of(settings, reader.chain_id)
    found = await asyncio.gather(*(reader.has_code(item.address, block=head) for item in wanted))
    for item, has_code in zip(wanted, found, strict=True):
        if not has_code:
            raise ConfigError(
                f"{item.where} {item.address} has no code on chain {reader.chain_id}; correct the address or "
                "the chain"
            )
