"""Puts the Derive venue together: for the signer, for a run that trades, for one that only quotes."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager

from bot.app.signer_place import signer_place
from bot.chain.derive_signer import DeriveSignerClient
from bot.chain.signer_client import SignerClient
from bot.chain.signing.derive import DeriveDesk, services_of
from bot.chain.signing.keystore import open_keystore, read_password_file
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.server import Service
from bot.errors import ConfigError
from bot.ports import ChainReader, Journal
from bot.settings import Settings
from bot.settings.derive import DeriveAccountSettings, DeriveSettings
from bot.venues.derive import derive_venue
from bot.venues.derive_account import DeriveAccount
from bot.venues.derive_client import DeriveClient
from bot.venues.derive_messenger import DeriveMessenger
from bot.venues.derive_signing import NonceSource
from bot.venues.planned import PlannedVenue


@contextmanager
def session_key_services(
    settings: Settings, derive: DeriveSettings | None, *, ask: Callable[[], str | None]
) -> Iterator[Mapping[str, Service]]:
    """Open the session key inside the signer's process; its requests, for ``SignerServer(services=)``.

    Empty without a [derive.account]. Raises ConfigError: keystore, password, in use, real money unsaid.
    """
    account = derive.account if derive is not None else None
    if derive is None or account is None:
        yield {}
        return
    rule = derive.rule()
    key = open_keystore(account.keystore, _password(account, ask), address=account.session_key)
    path = signer_place(settings).folder / f"signer-derive-{account.session_key.lower()}.log"
    with closing(SignerMemory(path)) as memory:
        yield services_of(DeriveDesk(key, rule, memory))


@asynccontextmanager
async def trading_derive(
    settings: Settings,
    derive: DeriveSettings,
    *,
    reader: ChainReader,
    signer: SignerClient,
    journal: Journal,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[PlannedVenue]:
    """Open the venue that trades. Raises ConfigError when another process trades the subaccount."""
    account, domain = _account(settings, derive), derive.listed.domain
    keeper = DeriveSignerClient(signer, address=account.session_key, domain=domain, clock=clock)
    client = _client(derive, owner=account.owner, signer=keeper, clock=clock)
    path = settings.state_dir / f"derive-nonce-{account.owner.lower()}-{account.subaccount_id}"
    with NonceSource(path) as nonces:
        async with client:
            held = DeriveAccount(client, account.subaccount_id)
            messenger = DeriveMessenger(
                client=client,
                account=held,
                signer=keeper,
                journal=journal,
                nonces=nonces,
                domain=domain,
                owner=account.owner,
                order_life_s=derive.order_life_s,
                signature_life_s=derive.signature_life_s,
                clock=clock,
            )
            yield derive_venue(
                reader=reader, client=client, account=held, messenger=messenger, terms=derive.terms
            )


@asynccontextmanager
async def quoting_derive(derive: DeriveSettings, *, reader: ChainReader) -> AsyncIterator[PlannedVenue]:
    """Open the venue for public quotes alone: no key, no order."""
    async with _client(derive) as client:
        yield derive_venue(reader=reader, client=client, terms=derive.terms)


def _client(
    derive: DeriveSettings,
    *,
    owner: str = "",
    signer: DeriveSignerClient | None = None,
    clock: Callable[[], float] = time.time,
) -> DeriveClient:
    base_url, ws_url = derive.urls
    return DeriveClient(
        base_url=base_url, ws_url=ws_url, owner=owner, signer=signer, timeout_s=derive.timeout_s, clock=clock
    )


def _account(settings: Settings, derive: DeriveSettings) -> DeriveAccountSettings:
    """Return the account, checked. Its nonces share a journal with transactions: the keys must differ."""
    account = derive.account
    if account is None:
        raise ConfigError("derive: trading needs a [derive.account]")
    if settings.account is not None and settings.account.address == account.session_key:
        raise ConfigError(
            f"derive: session_key {account.session_key} is the account's own key; nanosecond nonces would be "
            "taken for those of its transactions: register another"
        )
    derive.rule()  # real money is refused here too, without its sentence
    return account


def _password(account: DeriveAccountSettings, ask: Callable[[], str | None]) -> str:
    if account.password_file is not None:
        return read_password_file(account.password_file)
    if (typed := ask()) is not None:
        return typed
    raise ConfigError("the signer needs the session key's password: set derive.account.password_file")
