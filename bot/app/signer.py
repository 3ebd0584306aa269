"""The signer's process: its rules come from the configuration and the policy, which it reads itself.

What comes over its socket is requests alone. How the bot gets to it: `bot.app.signer_link`.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bot.app.derive import session_key_services
from bot.app.nodes import connect
from bot.app.policy_signing import (
    read_signatures,
    record_sequence,
    recorded_sequence,
    signatures_path,
    verify,
)
from bot.app.signer_place import SignerPlace, pause_folders, signer_place
from bot.app.trading import Trading, trading_venues
from bot.chain.fees import GWEI
from bot.chain.pause import first_pause
from bot.chain.reader import JsonRpcReader
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.hardening import harden
from bot.chain.signing.keys import Key, RemoteKey
from bot.chain.signing.keystore import open_keystore, read_password_file
from bot.chain.signing.memory import SignerMemory, lock_file
from bot.chain.signing.rules import Cap, ChainRules, SigningRules
from bot.chain.signing.server import SignerServer
from bot.engine.policy import Policy
from bot.errors import ConfigError, InvariantError, NotFoundError
from bot.model.units import DAY_S
from bot.settings import AccountSettings, Settings, load_policy, password_of_environment, read_source

_MOST_SKEW_S = 900.0  # between blocks and this machine; a chain that stands still is no place to buy
_MOST_AHEAD_S = 7 * DAY_S  # a proposal waits for its owners

AskPassword = Callable[[], str | None]  # None: there is nobody to ask


def serve(
    settings: Settings,
    *,
    ask: AskPassword,
    ready: Callable[[str], None],
    until: Callable[[], None],
    password_file: Path | None = None,
) -> None:
    """Be the signer until ``until`` returns. ``ready`` is told the address once it serves.

    Raises ConfigError naming what is wrong: in use, keystore, password, owners' signatures, rules; and
    InvariantError once the memory cannot be written: only a new start may sign again.
    """
    harden()
    account = _account(settings)
    policy = load_policy(settings.policy)
    place = _own_place(settings)
    folders = pause_folders(settings)
    granted_s = asyncio.run(_granted_until_s(settings, policy, place.folder))
    rules = signing_rules(settings, policy, expires_s=granted_s)
    with (
        closing(SignerMemory(place.memory(account.address))) as memory,
        _key(settings, account, ask=ask, password_file=password_file) as key,
        session_key_services(settings, settings.derive, ask=ask) as services,
    ):
        desk = SigningDesk(key, rules, memory, paused=lambda: str(first_pause(folders) or ""))
        server = SignerServer(
            desk,
            memory,
            place.socket,
            policy_hash=policy.hash,
            services=services,
            group_id=place.group_id,
            on_failure=lambda: os.kill(os.getpid(), signal.SIGTERM),
        )
        threading.Thread(target=server.serve, daemon=True).start()
        ready(desk.address)
        try:
            until()
        finally:
            server.close()
        if memory.failure:
            raise InvariantError(memory.failure)


def signing_rules(settings: Settings, policy: Policy, *, expires_s: float) -> SigningRules:
    """Return what may be signed, from configuration and policy alone. Raises ConfigError."""
    trading = _trading(settings, policy)
    by_message = settings.derive is not None and settings.derive.account is not None
    if not (trading.options or trading.perpetual or trading.covers or by_message):
        raise ConfigError(
            "signing needs a venue to trade on; add the section of one to the configuration, such as [lyra]"
        )
    venues = trading.all
    execution = settings.execution
    for venue in venues:
        if execution.gas_ceiling < venue.least_gas_ceiling:
            raise ConfigError(
                f"execution.gas_ceiling is {execution.gas_ceiling:,}, a trade on {venue.name} can need "
                f"{venue.least_gas_ceiling:,}; raise it, or every purchase would fail after its swap"
            )
    warps = settings.chain.clock == "chain"
    home = ChainRules(
        chain_id=settings.chain.id,
        permissions=tuple(rule for venue in venues for rule in venue.permissions()),
        gas_ceiling=execution.gas_ceiling,
        max_fee_wei=2 * int(execution.max_fee_gwei * GWEI),
        caps={
            cap.token.lower(): Cap(transaction_raw=cap.transaction_raw, day_raw=cap.day_raw)
            for cap in settings.signer.caps
        },
        safe=settings.safe.address.lower() if settings.safe else "",
        multi_send=settings.safe.multi_send.lower() if settings.safe else "",
        accept_nonce=execution.accept_nonce,
        most_skew_s=float("inf") if warps else _MOST_SKEW_S,
        most_ahead_s=_MOST_AHEAD_S,
    )
    return SigningRules(chains=(home,), policy_hash=policy.hash, expires_s=expires_s)


def _trading(settings: Settings, policy: Policy) -> Trading:
    """Return the venues of the chain that orders can go to, for what their plans may hold. Reads nothing."""
    reader = JsonRpcReader(
        connect(settings.chain),
        chain_id=settings.chain.id,
        multicall3=settings.chain.multicall3,
        pins_by_hash=True,
    )
    return trading_venues(settings, reader, policy, custody=None)


def _own_place(settings: Settings) -> SignerPlace:
    """Return this process's place. Raises ConfigError when it runs under another user than is configured."""
    place = signer_place(settings)
    if place.user_id not in (None, os.getuid()):
        raise ConfigError(
            f"signer.user is {settings.signer.user!r}, this process runs as user {os.getuid()}: start it as "
            "that user (its service does), or remove signer.folder, user and group"
        )
    return place


async def _granted_until_s(settings: Settings, policy: Policy, folder: Path) -> float:
    """Return when the owners' grant ends, inf where no owners are named (R22). Raises ConfigError.

    Which sequence number is in force is kept in the signer's own ``folder``.
    """
    named = settings.policy
    if not named.owners:
        return float("inf")
    source = read_source(named.preset if named.file is None else named.file)
    try:
        found = read_signatures(signatures_path(source))
    except NotFoundError as error:
        raise ConfigError(f"policy {source.name} needs its owners' signatures: {error}") from None
    done = await verify(
        found,
        policy_hash=policy.hash,
        owners=named.owners,
        threshold=named.threshold,
        now_s=time.time(),
        least_sequence=recorded_sequence(folder, found.grant.account),
        settings=settings,
    )
    if not done.is_valid:
        count = f"{done.quorum.signed} of the {done.quorum.threshold} owners needed have signed"
        raise ConfigError(
            f"policy {source.name} is not in force, nothing is signed under it: "
            f"{'; '.join(done.refusals) or count}; see alvh policy verify"
        )
    record_sequence(folder, found.grant)
    return float(found.grant.valid_until_s)


@contextmanager
def _key(
    settings: Settings, account: AccountSettings, *, ask: AskPassword, password_file: Path | None
) -> Iterator[Key]:
    """Open the key; its keystore stays locked, also against a signer with its state elsewhere (REL-P8)."""
    if (url := settings.signer.url) is not None:
        yield RemoteKey(url.get_secret_value(), address=account.address, timeout_s=settings.signer.timeout_s)
        return
    lock = lock_file(account.keystore, f"keystore {account.keystore}")
    try:
        password = _password(account, ask, password_file)
        yield open_keystore(account.keystore, password, address=account.address)
    finally:
        os.close(lock)


def _password(account: AccountSettings, ask: AskPassword, password_file: Path | None) -> str:
    if password_file is not None:
        return read_password_file(password_file)
    if (found := password_of_environment()) is not None:
        return found.get_secret_value()
    if account.password_file is not None:
        return read_password_file(account.password_file)
    if (typed := ask()) is not None:
        return typed
    raise ConfigError(
        "the signer needs the keystore password: set account.password_file, export ALVH_KEYSTORE_PASSWORD, "
        "or run where it can ask"
    )


def _account(settings: Settings) -> AccountSettings:
    if settings.account is None:
        raise ConfigError("signing needs an [account] with address and keystore")
    return settings.account
