"""The LP monitor over several chains: live nodes, one that does not answer, several providers of one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bot.app.lp import ChainLp, LpView, configured_chains, lp_now, node_chains, parse_request, watch_lp
from bot.chain.rpc import Rpc
from bot.devnet.anvil import Anvil
from bot.devnet.config import write_config
from bot.devnet.deployment import Deployment
from bot.devnet.node import Devnet, prepare
from bot.errors import BotError, ConfigError, TransientError
from bot.settings import load_settings

pytestmark = pytest.mark.devnet

OTHER = 31_338


@pytest.fixture
def at(devnet: Devnet) -> Deployment:
    return devnet.deployment


@pytest.fixture
def spare_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def other_node(cache_dir: Path) -> Iterator[Anvil]:
    """A second devnet that says it is another chain."""
    binary, snapshot = asyncio.run(prepare(cache_dir))
    with Anvil.start(binary, state=snapshot.state) as node:
        node.wait_ready()
        asyncio.run(_rename(node.rpc_url))
        yield node


async def _rename(url: str) -> None:
    async with Rpc(url, timeout_s=30) as rpc:
        await rpc.request("anvil_setChainId", [OTHER])


def nodes(*urls: str, timeout_s: float = 5.0):
    return tuple(replace(item, timeout_s=timeout_s) for item in node_chains(urls, poll_s=0.1))


def request(*positions: str):
    return parse_request(wallet=None, positions=positions)


def part(view: LpView, chain_id: int | None) -> ChainLp:
    (found,) = (item for item in view.chains if item.chain_id == chain_id)
    return found


def pair(at: Deployment, chain_id: int) -> str:
    return f"{chain_id}/v2:{at.v2_pair}:{at.user}"


async def test_positions_of_two_live_chains(devnet: Devnet, at: Deployment, other_node: Anvil) -> None:
    chains = nodes(devnet.rpc_url, other_node.rpc_url)
    view = await lp_now(chains, request(pair(at, 31_337), pair(at, OTHER)))
    for chain_id in (31_337, OTHER):
        (row,) = part(view, chain_id).rows
        assert row.position.chain_id == chain_id
        assert row.position.value == pytest.approx(400_000, rel=1e-6)
    with pytest.raises(ConfigError, match=r"on which chain\? Write 31337/v3:1; there are 31337, 31338"):
        await lp_now(chains, request("v3:1"))


async def test_a_chain_that_does_not_answer_leaves_the_others(
    devnet: Devnet, at: Deployment, spare_port: int
) -> None:
    dead = f"http://127.0.0.1:{spare_port}/secret-key-123456"
    view = await lp_now(nodes(dead, devnet.rpc_url), request(pair(at, 31_337)))
    assert len(part(view, 31_337).rows) == 1
    silent = part(view, None)
    assert silent.name == f"the node at 127.0.0.1:{spare_port}"
    assert silent.block is None
    assert str(spare_port) in silent.trouble
    assert "secret" not in " ".join(view.unknown)
    assert any(line.startswith(f"{silent.name}: ") for line in view.unknown)
    for chains in ([dead], [dead, dead + "2"]):
        with pytest.raises(TransientError, match=str(spare_port)):
            await lp_now(nodes(*chains, timeout_s=1.0), request("31337/v3:1"))


async def test_the_first_view_does_not_wait_for_a_node_that_hangs(
    devnet: Devnet, at: Deployment, spare_port: int
) -> None:
    gone = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    chains = node_chains([f"http://127.0.0.1:{spare_port}", devnet.rpc_url], poll_s=0.1)
    assert chains[0].timeout_s == 10
    server = await asyncio.start_server(hang, "127.0.0.1", spare_port)
    try:
        async with asyncio.timeout(9):
            stream = watch_lp(chains, request(pair(at, 31_337)), stop=asyncio.Event())
            view = await anext(stream)
            await stream.aclose()
            await gone.wait()
    finally:
        server.close()
    assert part(view, None).trouble == "it has not answered yet"
    assert len(part(view, 31_337).rows) == 1


async def test_a_chain_that_answers_later_joins(
    devnet: Devnet, at: Deployment, other_node: Anvil, spare_port: int
) -> None:
    urls = [devnet.rpc_url, f"http://127.0.0.1:{spare_port}"]
    wanted = request(pair(at, 31_337), pair(at, OTHER))
    stop, troubles, views = asyncio.Event(), list[BotError](), list[LpView]()
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        stream = watch_lp(nodes(*urls), wanted, stop=stop, on_trouble=troubles.append)
        async for view in stream:
            if not views:
                await stack.enter_async_context(forwarded(spare_port, other_node.rpc_url))
            views.append(view)
            if any(item.chain_id == OTHER and item.rows for item in view.chains):
                stop.set()
    first, last = views[0], views[-1]
    assert len(part(first, 31_337).rows) == 1
    assert part(first, None).trouble
    assert part(last, OTHER).trouble == ""
    assert len(part(last, 31_337).rows) == len(part(last, OTHER).rows) == 1
    assert troubles


async def test_the_same_chain_that_answers_later_is_refused(
    devnet: Devnet, at: Deployment, spare_port: int
) -> None:
    """A node of which nothing was known turns out to be on a chain that is watched already."""
    chains = nodes(devnet.rpc_url, f"http://127.0.0.1:{spare_port}")
    stream = watch_lp(chains, request(pair(at, 31_337)), stop=asyncio.Event())
    with pytest.raises(ConfigError, match=r"--position .*: on which chain"):
        await anext(watch_lp(chains, request("v3:1"), stop=asyncio.Event()))
    assert (await anext(stream)).rows

    async def to_the_end() -> None:
        async for _ in stream:
            pass

    async with asyncio.timeout(30), forwarded(spare_port, devnet.rpc_url):
        with pytest.raises(ConfigError, match="two nodes are on chain 31337"):
            await to_the_end()


@asynccontextmanager
async def forwarded(port: int, url: str) -> AsyncIterator[None]:
    """Pass connections to a port on to a node."""
    host, _, target = url.removeprefix("http://").partition(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(target))
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


async def test_a_configured_chain_is_read_over_all_its_providers(
    devnet: Devnet, at: Deployment, tmp_path: Path, spare_port: int
) -> None:
    path = write_config(at, rpc_url=devnet.rpc_url, directory=tmp_path)
    dead = f"http://127.0.0.1:{spare_port}"
    same = devnet.rpc_url.replace("127.0.0.1", "localhost")
    one = f'rpc_url = "{devnet.rpc_url}"'
    assert one in path.read_text()

    def with_providers(urls: list[str], agreement: int):
        text = path.read_text().replace(one, f"rpc_urls = {urls!r}\nagreement = {agreement}\ntimeout_s = 2.0")
        other = tmp_path / "several.toml"
        other.write_text(text)
        return configured_chains(load_settings(other))

    view = await lp_now(with_providers([dead, devnet.rpc_url], 1), request(pair(at, 31_337)))
    assert len(view.rows) == 1
    view = await lp_now(with_providers([dead, devnet.rpc_url, same], 2), request(pair(at, 31_337)))
    assert len(view.rows) == 1
    with pytest.raises(BotError):
        await lp_now(with_providers([dead, devnet.rpc_url], 2), request(pair(at, 31_337)))
