"""A process that buys one option at the reference Derive exchange, to be killed on its way.

Arguments: folder, base URL, websocket URL, wall clock of the exchange. Its journal is the database.
"""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from derive_world import OWNER, derive_site

from bot.model.hedge import Side
from bot.pipeline.journal import JournalIdentity, SqlJournal

IDENTITY = JournalIdentity(mode="live", chain_id=11155111, account=OWNER)


async def buy(folder: Path, url: str, ws_url: str, now_s: float) -> None:
    exchange: Any = SimpleNamespace(now_s=now_s, index={"ETH": 3_000})
    server: Any = SimpleNamespace(url=url, ws_url=ws_url)
    with SqlJournal(folder / "journal.db", identity=IDENTITY) as journal:
        async with derive_site(folder, exchange, server, journal=journal) as world:
            await world.do(world.leg(Side.BUY, size=2.0, limit_usd=120.0))


if __name__ == "__main__":
    asyncio.run(buy(Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])))
