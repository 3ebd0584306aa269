"""A bare node per test: it starts in a tenth of a second, so no test inherits another's chain."""

from collections.abc import AsyncIterator, Iterator

import pytest
from send_builders import ADDRESS, CHAIN_ID, prepare

from bot.chain.rpc import Rpc
from bot.devnet.anvil import Anvil, find_anvil
from bot.devnet.packages import fetch
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import cache_dir


@pytest.fixture(scope="session")
def anvil_binary() -> str:
    return find_anvil(fetch(cache_dir()))


@pytest.fixture
def node_url(anvil_binary: str) -> Iterator[str]:
    with Anvil.start(anvil_binary) as node:
        node.wait_ready()
        yield node.rpc_url


@pytest.fixture
async def node(node_url: str) -> AsyncIterator[Rpc]:
    """A bare anvil with a funded account and the counting contract."""
    async with Rpc(node_url, timeout_s=10) as rpc:
        await prepare(rpc)
        yield rpc


@pytest.fixture
def journal(tmp_path) -> Iterator[SqlJournal]:
    identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=ADDRESS)
    with SqlJournal(tmp_path / "journal.db", identity=identity) as opened:
        yield opened
