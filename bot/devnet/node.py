"""The devnet: a local anvil with every contract, deployed once and loaded from its dump ever after.

After the start, every transaction advances the chain by one second; a market script sets the time as it
likes. Nothing but the first start of a version deploys or needs the network.
"""

import asyncio
import gzip
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bot.chain.rpc import Rpc, hex_bytes, quantity
from bot.devnet.anvil import STATES_KEPT, Anvil, find_anvil
from bot.devnet.deploy import GENESIS_S, deploy_all
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.packages import Library, devnet_packages, fetch
from bot.errors import InvariantError

_HERE = Path(__file__).parent
_RPC_TIMEOUT_S = 60.0
_DUMP_BYTES = 200_000_000
_STATE, _DEPLOYMENT = "state.json", "deployment.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A dumped deployment in the cache."""

    folder: Path

    @property
    def state(self) -> Path:
        """What anvil loads."""
        return self.folder / _STATE

    @property
    def deployment_file(self) -> Path:
        """A Deployment: where everything lies in that state."""
        return self.folder / _DEPLOYMENT

    @property
    def is_complete(self) -> bool:
        """True when an earlier start put it there; it is put there whole."""
        return self.folder.is_dir()


@dataclass(kw_only=True)
class Devnet:
    """A running devnet of this process. Use as an async context manager, or call ``stop``."""

    node: Anvil
    deployment: Deployment

    @property
    def rpc_url(self) -> str:
        """Where it answers JSON-RPC over HTTP, on the loopback interface only."""
        return self.node.rpc_url

    def stop(self) -> None:
        """End the node and wait until it is gone; harmless when repeated."""
        self.node.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


async def start_devnet(cache_dir: Path, *, port: int | None = None, states_kept: int = STATES_KEPT) -> Devnet:
    """Start a devnet that ends with this process, on a free port unless one is given.

    ``states_kept``: how many blocks back it can be read; more make it slower.

    Raises ConfigError (busy port, no npm, refused package) or TransientError (no network on first use).
    """
    binary, snapshot = await prepare(cache_dir)
    node = Anvil.start(binary, port=port, state=snapshot.state, states_kept=states_kept)
    try:
        await asyncio.to_thread(node.wait_ready)
        deployment = Deployment.load(snapshot.deployment_file)
        await settle(node.rpc_url, deployment)
    except BaseException:
        node.stop()
        raise
    return Devnet(node=node, deployment=deployment)


async def prepare(cache_dir: Path) -> tuple[str, Snapshot]:
    """Return the anvil binary and the dumped deployment, making what the cache lacks."""
    library = await asyncio.to_thread(fetch, cache_dir)
    binary = find_anvil(library)
    snapshot = Snapshot(folder=cache_dir / "devnet" / _version())
    if not snapshot.is_complete:
        await _make(snapshot, binary, library)
    return binary, snapshot


async def settle(rpc_url: str, deployment: Deployment) -> None:
    """Check that a node has loaded its state, and make its time deterministic."""
    async with Rpc(rpc_url, timeout_s=_RPC_TIMEOUT_S) as rpc:
        chain_id = quantity(await rpc.read("eth_chainId"))
        code = await rpc.read("eth_getCode", [deployment.lyra_option_market, "latest"])
        if chain_id != CHAIN_ID or code == "0x":
            raise InvariantError(f"the devnet at {rpc_url} did not load its state (chain {chain_id})")
        await rpc.request("evm_setTime", [deployment.deployed_at_s])  # a loaded node runs on the wall clock
        await rpc.request("anvil_setBlockTimestampInterval", [1])


async def _make(snapshot: Snapshot, binary: str, library: Library) -> None:
    """Deploy on a node of its own, dump it, and keep the dump."""
    with Anvil.start(binary, genesis_s=GENESIS_S) as node:
        await asyncio.to_thread(node.wait_ready)
        async with Rpc(node.rpc_url, timeout_s=_RPC_TIMEOUT_S, max_body_bytes=_DUMP_BYTES) as rpc:
            deployment = await deploy_all(rpc, library)
            dump = hex_bytes(await rpc.request("anvil_dumpState"))
    await asyncio.to_thread(_keep, snapshot, gzip.decompress(dump), deployment)


def _keep(snapshot: Snapshot, state: bytes, deployment: Deployment) -> None:
    """Put the files in place at once; when two starts race, both made the same and the first is kept."""
    snapshot.folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=snapshot.folder.parent, prefix=".deploy-"))
    try:
        (scratch / _STATE).write_bytes(state)
        deployment.save(scratch / _DEPLOYMENT)
        scratch.rename(snapshot.folder)
    except OSError:
        if not snapshot.is_complete:
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _version() -> str:
    """Changes with the packages that are deployed, our contracts and the code that deploys."""
    sources = [*_HERE.glob("deploy*.py"), *_HERE.glob("contracts/*.json")]
    sources += [_HERE / "artifacts.py", _HERE / "boards.py", _HERE / "anvil.py"]
    digest = hashlib.sha256(repr(devnet_packages()).encode())
    for source in sorted(sources):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
