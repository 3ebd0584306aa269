"""``alvh doctor``: every dependency of a good run, each named with what is wrong and what mends it."""

import asyncio
import os
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bot.app.addresses import AddressCheck, check_all, wanted_addresses
from bot.app.alert_parts import targets_of
from bot.app.chain_checks import check_chain
from bot.app.checks import Check, Health, checked, failed, healthy, ok, skipped, warn
from bot.app.parts import one_position_reader, watchers, web_client, web_sources
from bot.app.place_checks import Listener, check_file, check_ports, check_user
from bot.app.policy_check import check_policy, check_signature
from bot.app.stores import journal_place, open_journal
from bot.app.venue_checks import check_venues
from bot.chain.node_url import is_plain_local
from bot.chain.reader import JsonRpcReader
from bot.errors import BotError, ConfigError, NotFoundError, one_line
from bot.model.parsing import json_of
from bot.model.units import DAY_S, iso_utc
from bot.pipeline.cadence import check_series
from bot.settings import IndicativeSettings, Settings, load_settings
from bot.settings.secret_values import secrets_in
from bot.venues.indicative import indicative_book
from bot.watchers.web.client import WebClient

__all__ = ["Check", "Health", "doctor", "healthy"]

LEAST_FREE_BYTES = 1_000_000_000  # a year of journal and history stays under it
_MODES = ("monitor", "dry-run", "live")


async def doctor(config: Path) -> tuple[Check, ...]:
    """Return every check, in the order of what depends on what. Never raises for a bad configuration."""
    try:
        settings = load_settings(config)
    except ConfigError as error:
        return (failed("configuration", one_line(str(error)), f"correct {config}; docs/configuration.md"),)
    rows = [ok("configuration", str(config)), check_file(config, _secrets(settings)), check_user()]
    rows += [check_policy(settings), await check_signature(settings), _sources(settings)]
    rows += [_state_dir(settings), *_journals(settings), _keystore(settings)]
    keys = ("chain", *(f"chains.{number}" for number in range(len(settings.chains))))
    async with AsyncExitStack() as stack:
        results = await asyncio.gather(
            *(
                check_chain(chain, key=key, stack=stack)
                for chain, key in zip(settings.all_chains, keys, strict=True)
            )
        )
        rows += [row for chain_rows, _ in results for row in chain_rows]
        readers = {chain.id: result[1] for chain, result in zip(settings.all_chains, results, strict=True)}
        rows += await _addresses(settings, readers)
        rows += await _positions(settings, readers)
        rows += await _venues(settings, readers[settings.chain.id], rows)
    rows += [*await _web(settings), _alerts(settings)]
    return (*rows, *check_ports(listeners(settings), is_running=_is_running(settings)))


def listeners(settings: Settings) -> tuple[Listener, ...]:
    """Return what of a configuration would listen, and where."""
    found = []
    if settings.dashboard.port:
        found.append(Listener("dashboard", settings.dashboard.host, settings.dashboard.port, stops_run=False))
    if settings.metrics.port is not None:
        found.append(Listener("metrics", settings.metrics.host, settings.metrics.port, stops_run=True))
    return tuple(found)


def _secrets(settings: Settings) -> tuple[str, ...]:
    """Return what must not stand in a file that others read; the URL of a node on this machine may."""
    return tuple(item for item in secrets_in(settings) if not is_plain_local(item))


async def _venues(
    settings: Settings, reader: JsonRpcReader | BotError, so_far: Sequence[Check]
) -> tuple[Check, ...]:
    """Ask the venues once everything that they rest on is well: what failed has its row already."""
    if not healthy(tuple(so_far)):
        return (skipped("venues", "asked once what failed above is mended"),)
    return await check_venues(settings, reader)


def _is_running(settings: Settings) -> bool:
    """Whether a bot of this configuration runs now."""
    for mode in _MODES:
        try:
            with open_journal(settings, mode=mode, read_only=True) as journal:
                if journal.is_written_by_another():
                    return True
        except BotError:
            continue  # no such journal, or one that has its own row
    return False


def _sources(settings: Settings) -> Check:
    """Build every source: two of one name, and what a class refuses, show here."""
    try:
        found = [
            (item.name, item.series) for chain in settings.all_chains for item in watchers(settings, chain.id)
        ]
        found += [(item.name, item.series) for item in web_sources(settings)]
        check_series(found)
    except ConfigError as error:
        return failed("sources", one_line(str(error)), "correct the section or [[watch]] table that it names")
    return ok("sources", f"{len(found)} with {sum(len(series) for _, series in found)} series")


def _state_dir(settings: Settings) -> Check:
    folder = settings.state_dir
    there = next((part for part in (folder, *folder.parents) if part.exists()), Path("/"))
    mend = "name another folder as state_dir, or make it writable"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return failed("state_dir", f"{folder} cannot be written: {there} is no writable folder", mend)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return failed("state_dir", f"{folder}: {error.strerror}", mend)
    if free < LEAST_FREE_BYTES:
        words = f"{folder} has {free / 1e6:,.0f} MB free, {LEAST_FREE_BYTES / 1e6:,.0f} MB are wanted"
        return failed("state_dir", words, "free space: nothing is sent that cannot be written first")
    return ok("state_dir", f"{folder}, {free / 1e9:,.1f} GB free")


def _journals(settings: Settings) -> tuple[Check, ...]:
    """Look into the journal of each mode that has one."""
    rows = [row for mode in _MODES if (row := _journal(settings, mode)) is not None]
    return tuple(rows) or (skipped("journal", "none yet; a run starts one"),)


def _journal(settings: Settings, mode: str) -> Check | None:
    where, _ = journal_place(settings, mode=mode)
    if isinstance(where, Path) and not where.exists():
        return None
    try:
        with open_journal(settings, mode=mode, read_only=True) as journal:
            last = journal.last_step()
    except NotFoundError:
        return None
    except BotError as error:
        return failed(f"journal {mode}", one_line(str(error)), "see docs/runbook.md")
    found = f"last step {iso_utc(last.decision.now_s)}" if last is not None else "no step yet"
    return ok(f"journal {mode}", found)


def _keystore(settings: Settings) -> Check:
    if (account := settings.account) is None:
        return skipped("keystore", "no [account]: monitor and dry run need none")
    if user := settings.signer.user:
        return skipped("keystore", f"{user} holds it; its signer looks at it when it starts")
    path = account.keystore
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        table = json_of(path.read_text("utf-8"))
    except OSError as error:
        return failed("keystore", f"{path} cannot be read: {error.strerror}", "account.keystore")
    except ValueError:
        return failed("keystore", f"{path} is no keystore: not JSON", "account.keystore")
    if mode & 0o077:
        return failed("keystore", f"{path} has mode {mode:04o}: others can read it", f"chmod 600 {path}")
    return _keystore_of(account.address, path, table)


def _keystore_of(address: str, path: Path, table: Any) -> Check:
    if not isinstance(table, Mapping) or table.get("version") != 3 or "crypto" not in table:
        return failed("keystore", f"{path} is no encrypted keystore of version 3", "account.keystore")
    held = str(table.get("address", "")).lower().removeprefix("0x")
    if held and held != address.lower().removeprefix("0x"):
        words = f"{path} is of 0x{one_line(held)[:40]}, account.address is {address}"
        return failed("keystore", words, "account.address or account.keystore")
    return ok("keystore", f"{path}, readable by its owner only")


async def _addresses(
    settings: Settings, readers: Mapping[int, JsonRpcReader | BotError]
) -> tuple[Check, ...]:
    """One row for all that are well, one more for each that is not."""
    found = await check_all(settings, wanted_addresses(settings), readers)
    wrong = [item for item in found if not item.ok and item.is_read]
    unread = [item for item in found if not item.is_read]
    rows = [_address_row(item) for item in wrong]
    if unread:
        rows.append(skipped("addresses", f"{len(unread)} could not be read: no provider is well"))
    well = len(found) - len(wrong) - len(unread)
    return (*((ok("addresses", f"{well} of {len(found)} answer as configured"),) if well else ()), *rows)


def _address_row(item: AddressCheck) -> Check:
    words = f"{item.wanted.address} {item.problem}"
    return failed(item.wanted.where, one_line(words), "correct it; alvh check-addresses shows all")


async def _positions(
    settings: Settings, readers: Mapping[int, JsonRpcReader | BotError]
) -> tuple[Check, ...]:
    if not settings.positions:
        return (warn("positions", "none is configured: nothing is protected", "add [[positions]]"),)
    return tuple(
        await asyncio.gather(
            *(_position(settings, number, readers) for number in range(len(settings.positions)))
        )
    )


async def _position(
    settings: Settings, number: int, readers: Mapping[int, JsonRpcReader | BotError]
) -> Check:
    name = f"positions.{number}"
    item = settings.positions[number]
    reader = readers[settings.chain_of(item)]
    if isinstance(reader, BotError):
        return skipped(name, "its chain could not be read")

    async def read() -> Check:
        source = one_position_reader(settings, item)
        exposures = await source.read(reader, block=await reader.head())
        return ok(name, ", ".join(f"{found.id} worth {found.value_usd:,.2f} USD" for found in exposures))

    return await checked(name, read(), mend=f"correct or remove it: [[positions]] number {number + 1}")


async def _web(settings: Settings) -> tuple[Check, ...]:
    tables = [item for item in settings.watch if item.is_web]
    if not tables and settings.indicative is None:
        return (skipped("web sources", "none is configured"),)
    async with web_client(settings) as client:
        checks = [_web_source(item.source, client) for item in tables]
        if settings.indicative is not None:
            checks += [_book(settings.indicative, name, client) for name in settings.indicative.underlyings]
        return tuple(await asyncio.gather(*checks))


async def _book(shown: IndicativeSettings, underlying: str, client: WebClient) -> Check:
    name, now_s = f"book of {shown.venue}, {underlying}", time.time()

    async def read() -> Check:
        book = indicative_book(shown.venue, base_url=shown.base_url)
        listed = await book.contracts(client, underlying=underlying)
        until_s = now_s + shown.max_dte * DAY_S
        seen = await book.snapshot(client, listed, underlying=underlying, now_s=now_s, until_s=until_s)
        if not seen.options:
            return failed(name, "no option has a price of now", "choose another venue, or another underlying")
        return ok(name, f"{len(seen.options)} options, index {seen.index_usd:,.2f} USD")

    return await checked(name, read(), mend="see whether it is reachable, or remove [indicative]")


def _alerts(settings: Settings) -> Check:
    """Say whether somebody would be told; only ``alvh alerts test`` sends."""
    try:
        targets = [item.sender.name for item in targets_of(settings.alerts)]
    except ConfigError as error:
        return failed("alerts", one_line(str(error)), "correct [alerts]; see docs/alerts.md")
    if not targets:
        return warn("alerts", "nobody is told of anything", "add alerts.urls, then: alvh alerts test")
    return ok("alerts", f"{one_line(', '.join(targets))}; alvh alerts test sends to each")


async def _web_source(source: Any, client: WebClient) -> Check:
    name = f"web {source.name}"

    async def read() -> Check:
        rows = await source.read(client, now_s=time.time())
        unknown = [row for row in rows if row.why_unknown]
        if len(unknown) == len(rows):
            why = unknown[0].why_unknown if unknown else "it returned nothing"
            return failed(name, one_line(why), "see whether the source is reachable, or remove it")
        if unknown:
            return warn(
                name, f"{len(unknown)} of {len(rows)} unknown: {one_line(unknown[0].why_unknown)}", ""
            )
        return ok(name, f"{len(rows)} values")

    return await checked(name, read(), mend="see whether the source is reachable, or remove it")
