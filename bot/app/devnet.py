"""The devnet as a user runs it: up, status, down, and the fetch that makes later starts offline."""

import asyncio
import time
from pathlib import Path
from typing import Any

from bot.chain.rpc import Rpc, quantity
from bot.devnet import service
from bot.devnet.config import write_config
from bot.devnet.node import prepare as prepare_devnet
from bot.errors import TransientError
from bot.model.units import iso_utc
from bot.settings import cache_dir


async def up(directory: Path, *, port: int | None) -> dict[str, Any]:
    """Start a devnet in the background, write a configuration for it, and say where both are."""
    directory = await asyncio.to_thread(directory.resolve)  # its configuration must work from any folder
    running = await service.up(cache_dir(), directory, port=port)
    config = write_config(running.deployment, rpc_url=running.rpc_url, directory=directory, whole=True)
    return {
        "running": True,
        "rpc_url": running.rpc_url,
        "pid": running.pid,
        "config": str(config),
        "user": running.deployment.user,
    }


async def status(directory: Path) -> dict[str, Any]:
    """Say whether the devnet of this folder answers, and at which block."""
    running = service.find(directory)
    if running is None:
        return {"running": False, "rpc_url": None, "block": None, "ts": None}
    try:
        async with Rpc(running.rpc_url, timeout_s=5.0) as rpc:
            head = await rpc.read("eth_getBlockByNumber", ["latest", False])
    except TransientError:
        return {"running": False, "rpc_url": running.rpc_url, "block": None, "ts": None}
    return {
        "running": True,
        "rpc_url": running.rpc_url,
        "pid": running.pid,
        "block": quantity(head["number"]),
        "ts": iso_utc(quantity(head["timestamp"])),
    }


def down(directory: Path) -> None:
    """Stop it. Raises NotFoundError when none runs."""
    service.down(directory)


async def prepare() -> float:
    """Fetch packages and deploy once. Returns the seconds it took."""
    started_s = time.monotonic()
    await prepare_devnet(cache_dir())
    return time.monotonic() - started_s
