"""Shared fixtures: one devnet per test process, given back to each test as it was."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as laws

import bot.chain.accounts  # noqa: F401 - before any test takes eth-account: it keeps the recursion limit
from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet, start_devnet

if TYPE_CHECKING:
    from commands import CommandServer, Home
    from postgres_server import PostgresServer

# Laws are checked by content, not by speed: a busy machine must not fail one. Here, before any test is made,
# for a test takes the deadline that holds where it is decorated.
laws.register_profile("laws", deadline=None)
laws.load_profile("laws")


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where downloaded packages and the dumped devnet lie, as the program has it."""
    from bot import settings  # here, so that only tests of the devnet need the whole program to import

    return settings.cache_dir()


@pytest.fixture(scope="session")
def devnet_process(cache_dir: Path) -> Iterator[Devnet]:
    """A devnet for this process (under xdist: for this worker). Tests take ``devnet`` instead."""
    # Blocks that tests revert count too: the deployed head must stay readable through all of them.
    devnet = asyncio.run(start_devnet(cache_dir, states_kept=1_000_000))
    yield devnet
    devnet.stop()


@pytest.fixture
def devnet(devnet_process: Devnet) -> Iterator[Devnet]:
    """The devnet as deployed; whatever a test does to it is undone, its time included."""
    snapshot = asyncio.run(_ask(devnet_process, "evm_snapshot"))
    yield devnet_process
    assert asyncio.run(_ask(devnet_process, "evm_revert", snapshot))


@pytest.fixture
async def rpc(devnet: Devnet) -> AsyncIterator[Rpc]:
    """A connection to the devnet."""
    async with Rpc(devnet.rpc_url, timeout_s=30) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgres_server() -> Iterator["PostgresServer"]:
    """A PostgreSQL server for this process; whoever stops it starts it again."""
    from postgres_server import running_server

    with running_server() as found:
        yield found


@pytest.fixture(scope="session")
def postgres_url(postgres_server: "PostgresServer") -> str:
    return postgres_server.url


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["CommandServer"]:
    """Starts ``alvh`` commands as processes of their own."""
    from commands import CommandServer

    with CommandServer(tmp_path_factory.mktemp("commands")) as running:
        yield running


@pytest.fixture(scope="session")
def home_template(
    devnet_process: Devnet, server: "CommandServer", tmp_path_factory: pytest.TempPathFactory
) -> "Home":
    """The configuration that `alvh devnet up` writes. Tests take ``home`` instead."""
    from commands import write_home

    folder = tmp_path_factory.mktemp("home")
    return write_home(devnet_process.deployment, devnet_process.rpc_url, folder, server)


@pytest.fixture
def home(devnet: Devnet, home_template: "Home", tmp_path: Path) -> "Iterator[Home]":
    """A folder with configuration and keystore and no state yet; the devnet is given back as it was."""
    made = home_template.copy(tmp_path / "home")
    yield made
    made.server.end_all()


@pytest.fixture
def start_signer(home: "Home") -> "Iterator[Callable[[], None]]":
    """Start the signer beside, once the configuration is as the test wants it.

    A bot without one starts its own, which imports the program for two seconds, command after command.
    """
    with ExitStack() as stack:
        yield lambda: stack.enter_context(home.signer())


@pytest.fixture
def signer(start_signer: "Callable[[], None]") -> None:
    """Start the signer beside, by the configuration as it is."""
    start_signer()


async def _ask(devnet: Devnet, method: str, *params: Any) -> Any:
    async with Rpc(devnet.rpc_url, timeout_s=30) as connection:
        return await connection.request(method, params)


def pytest_configure(config: pytest.Config) -> None:
    """Let ``-n 2`` alone keep tests together that share a chain: else each worker builds its own."""
    if config.getoption("dist", "no") == "load":
        config.option.dist = "loadgroup"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long text or a file by its length: some are megabytes."""
    is_long = isinstance(val, str | bytes) and len(val) > LONGEST_ID
    return f"{argname} of {len(val)}" if is_long else None


LONGEST_ID = 100
LONGEST = ("test_demo.py", "test_money_rules_live.py::test_killed", "app/test_testnet.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest first, or the last worker runs them alone at the end."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONGEST))
