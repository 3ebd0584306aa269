"""How the bot gets to its signer: the one that answers, or one of its own that ends with it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from bot.app.signer_place import signer_place
from bot.chain.signer_client import SignerClient
from bot.errors import ConfigError, TransientError
from bot.model.parsing import json_of
from bot.settings import Settings

_STOP_S = 5.0
_COMMAND = "from bot.cli import main; main()"


@asynccontextmanager
async def open_signer(settings: Settings, *, policy_hash: str, who: str) -> AsyncIterator[SignerClient]:
    """Lead the signer that answers on the socket, or start one and end it afterwards.

    Raises ConfigError when it serves another process, has another policy or account, or cannot start;
    TransientError when nobody answers and it runs under a user of its own, who has to start it.
    """
    if settings.account is None:
        raise ConfigError("signing needs an [account] with address and keystore in the configuration")
    place = signer_place(settings)
    client = SignerClient(
        place.socket,
        address=settings.account.address,
        who=who,
        policy_hash=policy_hash,
        timeout_s=settings.signer.timeout_s + 1.0,
        user_id=place.user_id,
    )
    try:
        await client.connect()
        own = None
    except TransientError:  # nobody answers
        if place.user_id is not None:  # this process has no right to be that user
            raise
        own = await _started(settings)
    try:
        if own is not None:
            await client.connect()
        yield client
    finally:
        await client.close()
        if own is not None:
            await _ended(own)


async def _started(settings: Settings) -> asyncio.subprocess.Process:
    """Start a signer and wait until it serves; it asks for the password itself, at the terminal.

    A pipe to it, which nobody ever writes to, is its life: the kernel closes it however this process ends.
    """
    arguments = ("-P", "-c", _COMMAND, "signer", "--lifeline", "--config", str(settings.path))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        said = await _first_words(process)
        if "address" not in said:
            raise ConfigError(str(said.get("error", "the signer was ended before it served")))
    except BaseException:
        await _ended(process)
        raise
    return process


async def _first_words(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return the first JSON object that the process writes, an empty one when it ends without."""
    if process.stdout is None:
        return {}
    async for line in process.stdout:
        with suppress(ValueError):
            found = json_of(line)
            if isinstance(found, dict):
                return found
    return {}


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError, ProcessLookupError):
        async with asyncio.timeout(_STOP_S):
            await process.wait()
            return
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
