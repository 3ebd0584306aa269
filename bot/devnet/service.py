"""The devnet that stays: started by one command, found, used and stopped by later ones.

A record file in a folder of the user says which process it is. One at a time per folder.
"""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bot.chain.rpc import Rpc
from bot.devnet.anvil import HOST, is_node, start_detached, stop_detached
from bot.devnet.deployment import Deployment
from bot.devnet.node import prepare, settle
from bot.errors import ConfigError, NotFoundError
from bot.model.parsing import json_of

BLOCK_TIME_S = 2
_RECORD = "running.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDevnet:
    """A detached devnet."""

    pid: int
    port: int
    deployment_file: str

    @property
    def rpc_url(self) -> str:
        """Where it answers JSON-RPC."""
        return f"http://{HOST}:{self.port}"

    @property
    def deployment(self) -> Deployment:
        """Where everything lies on it."""
        return Deployment.load(Path(self.deployment_file))


async def up(
    cache_dir: Path, directory: Path, *, port: int | None = None, lives_on: bool = True
) -> RunningDevnet:
    """Start a detached devnet recorded in ``directory``. ConfigError when one recorded there runs already.

    ``lives_on``: blocks come by themselves; else only with transactions, for who drives the time.
    """
    if (running := find(directory)) is not None:
        raise ConfigError(
            f"a devnet already runs at {running.rpc_url} (process {running.pid}); stop it first"
        )
    binary, snapshot = await prepare(cache_dir)
    pid, its_port = await asyncio.to_thread(start_detached, binary, port=port, state=snapshot.state)
    running = RunningDevnet(pid=pid, port=its_port, deployment_file=str(snapshot.deployment_file))
    try:
        await settle(running.rpc_url, running.deployment)
        if lives_on:
            await _mine_by_itself(running.rpc_url)
    except BaseException:
        stop_detached(pid, its_port)
        raise
    await asyncio.to_thread(_remember, directory, running)
    return running


async def _mine_by_itself(rpc_url: str) -> None:
    """Let the chain live on: a block every other second, in step with real time."""
    async with Rpc(rpc_url) as rpc:
        await rpc.request("anvil_setBlockTimestampInterval", [BLOCK_TIME_S])
        await rpc.request("evm_setIntervalMining", [BLOCK_TIME_S])


def find(directory: Path) -> RunningDevnet | None:
    """Return the detached devnet recorded in ``directory`` while it runs, else None."""
    try:
        running = RunningDevnet(**json_of(_record(directory).read_text(encoding="utf-8")))
        return running if is_node(running.pid, running.port) else None
    except (OSError, ValueError, TypeError, OverflowError):  # none yet, or a record that was cut short
        return None


def down(directory: Path) -> RunningDevnet:
    """Stop the detached devnet and return what it was; NotFoundError when none runs."""
    running = find(directory)
    _record(directory).unlink(missing_ok=True)
    if running is None or not stop_detached(running.pid, running.port):
        raise NotFoundError(f"no devnet started from {directory} is running; there is nothing to stop")
    return running


def _remember(directory: Path, running: RunningDevnet) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    _record(directory).write_text(json.dumps(asdict(running)) + "\n", encoding="utf-8")


def _record(directory: Path) -> Path:
    return directory / _RECORD
