"""`alvh testnet price`, `boards` and `status`: what a deployed system needs from its owner as time passes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bot.app.testnet_site import (
    DEPLOYMENT,
    OnEnded,
    Site,
    address_in,
    feed_price_usd,
    open_key,
    upkeep_bench,
)
from bot.devnet.testnet import TestnetDeployment
from bot.devnet.testnet_upkeep import Upkeep, publish, renew_boards
from bot.errors import ConfigError, OutcomeUnknown, StaleDataError, TransientError, VenueRejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of `alvh testnet price`."""

    price_usd: float
    pool_moved: bool
    upkeep: Upkeep | None = None  # of the boards, where they were asked for
    trouble: str = ""  # one line; the round is done again at its time


async def boards(site: Site, *, iv: float, on_step: OnEnded) -> Upkeep:
    """Settle expired boards and list one for every tenor that has none. Raises as ``testnet.deploy``."""
    system = load_system(site)
    key = await asyncio.to_thread(open_key, site)
    async with upkeep_bench(site, key, system, on_step=on_step) as bench:
        return await renew_boards(bench, system, iv=iv)


async def prices(
    site: Site, *, price_usd: float | None, every_s: float | None, iv: float | None, on_step: OnEnded
) -> AsyncIterator[Round]:
    """Publish a price, once or again and again; without one that of the chain's own Chainlink feed.

    ``iv``: list boards that are due too, with this vol. A round that fails because of the node or the market
    is told and the next one tries again; the first one raises.
    """
    system = load_system(site)
    key = await asyncio.to_thread(open_key, site)
    first = True
    while True:
        price, moved, kept, trouble = price_usd or 0.0, False, None, ""
        try:
            async with upkeep_bench(site, key, system, on_step=on_step) as bench:
                price = price_usd if price_usd is not None else await feed_price_usd(bench.rpc, site.chain_id)
                moved = await publish(bench, system, price_usd=price)
                kept = await renew_boards(bench, system, iv=iv) if iv is not None else None
        except (TransientError, StaleDataError, VenueRejected, OutcomeUnknown) as error:
            if first:
                raise
            trouble = str(error)
        yield Round(price_usd=price, pool_moved=moved, upkeep=kept, trouble=trouble)
        if every_s is None:
            return
        first = False
        await asyncio.sleep(every_s)


def load_system(site: Site) -> TestnetDeployment:
    """Return what was deployed into the folder, for the site's chain and key. Raises ConfigError."""
    system = read_system(site.folder)
    if system.chain_id != site.chain_id:
        raise ConfigError(
            f"{site.folder / DEPLOYMENT} is of chain {system.chain_id}, asked for is {site.chain_id}"
        )
    owner = address_in(site.keystore)
    if owner != system.deployer:
        raise ConfigError(
            f"the system in {site.folder} belongs to {system.deployer}, the keystore is of {owner}; name the "
            "keystore that deployed it"
        )
    return system


def read_system(folder: Path) -> TestnetDeployment:
    return TestnetDeployment.load(folder / DEPLOYMENT)
