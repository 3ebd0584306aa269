"""Custody by the configured Safe: where its proposals lie, and who proposes to it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.chain.pause import Pause, write_pause
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node
from bot.chain.safe_control import SafeControl
from bot.chain.safe_proposal import ProposalStore
from bot.chain.safe_queue import SafeQueue
from bot.chain.safe_service import SafeService
from bot.chain.signer import Signer
from bot.errors import ConfigError
from bot.ports import Journal, Transactor
from bot.settings import Settings
from bot.settings.safe import SafeSettings
from bot.venues.custody import SafeProposer, SafeTerms


def safe_of(settings: Settings) -> SafeSettings:
    """Return the Safe's section. Raises ConfigError where there is none."""
    if settings.safe is None:
        raise ConfigError("no Safe is configured: add [safe] with address and multi_send")
    return settings.safe


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[ProposalStore]:
    """Give the place where the owners leave proposals: the service, or the folder."""
    safe, chain_id = safe_of(settings), settings.chain.id
    if safe.service is None:
        yield SafeQueue(safe.queue or settings.state_dir / "safe-queue", chain_id=chain_id, safe=safe.address)
        return
    async with SafeService(
        safe.service.get_secret_value(),
        chain_id=chain_id,
        safe=safe.address,
        api_key=safe.api_key.get_secret_value(),
        timeout_s=safe.timeout_s,
    ) as service:
        yield service


@asynccontextmanager
async def open_custody(
    settings: Settings,
    *,
    node: Node,
    reader: JsonRpcReader,
    journal: Journal,
    signer: Signer,
    transactor: Transactor,
) -> AsyncIterator[SafeProposer]:
    """Give the custody of the configured Safe, checked. A change of its control pauses the bot.

    Raises ConfigError: no Safe, unknown code, or one that the signer's account is no owner of.
    """
    async with open_store(settings) as store:
        custody = SafeProposer(
            _terms(settings),
            reader=reader,
            rpc=node,
            journal=journal,
            signer=signer,
            transactor=transactor,
            store=store,
            control=control_of(settings),
        )
        state = await custody.check()
        if signer.address not in state.owners:
            raise ConfigError(
                f"account {signer.address} is no owner of Safe {custody.address}; its owners are "
                f"{', '.join(state.owners)}"
            )
        yield custody


def _terms(settings: Settings) -> SafeTerms:
    safe = safe_of(settings)
    return SafeTerms(
        chain_id=settings.chain.id,
        safe=safe.address,
        multi_send=safe.multi_send,
        gas_ceiling=settings.execution.gas_ceiling,
        confirmations=settings.chain.depth,
    )


def control_of(settings: Settings) -> SafeControl:
    """Return the watch on who controls the Safe. A change puts the pause in force, which a person ends."""
    safe = safe_of(settings)
    path = settings.state_dir / f"safe-control-{settings.chain.id}-{safe.address.lower()}.json"

    def pause(why: str) -> None:
        write_pause(settings.state_dir, Pause(who="the bot", at_s=time.time(), why=why))

    return SafeControl(path, on_change=pause)
