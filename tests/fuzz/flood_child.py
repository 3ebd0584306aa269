"""Asks a server that floods, through one HTTP client of the bot, and prints by how many MiB it grew."""

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable

from bot.chain.rpc import Rpc
from bot.chain.safe_service import SafeService
from bot.errors import BotError
from bot.venues.derive_client import DeriveClient
from bot.watchers.web.client import WebClient

SAFE = "0x" + "5a" * 20


async def by_rpc(url: str) -> None:
    async with Rpc(url) as rpc:
        await rpc.request("eth_blockNumber")


async def by_web(url: str) -> None:
    async with WebClient() as web:
        await web.get(url)


async def by_derive(url: str) -> None:
    async with DeriveClient(base_url=url, ws_url="ws://127.0.0.1:1") as client:
        await client.read("public/get_all_instruments", {})


async def by_safe(url: str) -> None:
    service = SafeService(url, chain_id=1, safe=SAFE)
    try:
        await service.get("0x" + "00" * 32)
    finally:
        await service.close()


CLIENTS: dict[str, Callable[[str], Awaitable[None]]] = {
    "rpc": by_rpc,
    "web": by_web,
    "derive": by_derive,
    "safe": by_safe,
}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def said(client: str, url: str) -> str:
    try:
        await CLIENTS[client](url)
    except BotError as error:
        return str(error)
    return "no error"


async def main(client: str, ready: str, *floods: str) -> None:
    await said(client, ready)  # sets all up: a short reply that is none
    before_mib = peak_mib()
    words = [await said(client, url) for url in floods]
    sys.stdout.write(json.dumps({"grown_mib": peak_mib() - before_mib, "said": words}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
