"""The tables of a configuration for positions that were found, and what is left out of it."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.app.lp_chain import usd_prices
from bot.app.lp_parts import managers_of
from bot.app.lp_view import LpView
from bot.chain.node_url import is_plain_local
from bot.deployments import known
from bot.model.exposure import ExposureKind
from bot.model.lp_position import LpPosition
from bot.settings import Settings
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.v4_pools import ZERO_ADDRESS

Table = dict[str, Any]

_BOOKS = ("ETH", "BTC")  # underlyings of the public option books
_UNFIT = re.compile(r"[^A-Za-z0-9]")
_KIND = {
    ExposureKind.UNISWAP_V2: "uniswap_v2",
    ExposureKind.UNISWAP_V3: "uniswap_v3",
    ExposureKind.UNISWAP_V4: "uniswap_v4",
}
_OWN_PROTOCOL = ("uniswap-v2", "uniswap-v3", "uniswap-v4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A position that can be protected, with the feed of what it is exposed to."""

    position: LpPosition
    feed: ChainlinkWatcher


def sort_out(view: LpView, settings: Settings | None) -> tuple[tuple[Fit, ...], tuple[str, ...]]:
    """Return (positions that can be protected, one line on each that is left out)."""
    fits: list[Fit] = []
    left_out = [f"{chain.name}: {chain.trouble}" for chain in view.chains if chain.trouble]
    left_out += [line for chain in view.chains for line in chain.left_out]
    for chain in view.chains:
        for row in chain.rows:
            found = _fit(row.position, settings)
            if isinstance(found, Fit):
                fits.append(found)
            else:
                left_out.append(f"{row.position.id} on {chain.name}: {found}")
    return tuple(fits), tuple(left_out)


def _fit(position: LpPosition, settings: Settings | None) -> Fit | str:
    """Return the position with its feed, or why it cannot be protected."""
    prices = usd_prices(position.chain_id, settings)
    base, quote = position.base, position.quote
    pair = f"{base.symbol}/{quote.symbol}"
    stables = prices.tokens.stables
    if quote.address.lower() not in stables:
        return f"{pair} has no stable side that is vouched for, so its value in USD is unknown"
    if base.address.lower() in stables:
        return f"{pair} is two stables: there is no fall of a price to hedge"
    feed = prices.feeds.get(base.address.lower())
    if feed is None or feed.heartbeat_s <= 0:
        return f"no price feed of {base.symbol} ({base.address}) is known; add one under [[feeds]] by hand"
    if math.isnan(position.fee):
        return f"{pair} is a pair of {position.protocol}; add it by hand with its fee"
    if math.isnan(position.fees):
        return f"its fees cannot be read: {position.why_no_fees}"
    if position.kind is ExposureKind.UNISWAP_V3:
        lens = managers_of(settings, position.chain_id).v3_tick_lens
        if lens is None:
            return "no TickLens is known on its chain, so its pool's liquidity cannot be read"
    return Fit(position=position, feed=feed)


def feed_tables(fits: Sequence[Fit], home: int, there: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the feeds that are lacking, one for each underlying, on the home chain where it has one."""
    has = {str(item.get("underlying")) for item in there}
    found: dict[str, Table] = {}
    for item in sorted(fits, key=lambda fit: fit.position.chain_id != home):
        feed, chain_id = item.feed, item.position.chain_id
        own = known(home).contracts.get(f"chainlink.{feed.label}")
        if own is not None and own.heartbeat_s:
            address, heartbeat_s, chain_id = f"@{own.name}", float(own.heartbeat_s), home
        else:
            address, heartbeat_s = _feed_address(feed, chain_id), feed.heartbeat_s
        table: Table = {"label": feed.label, "underlying": feed.underlying, "address": address}
        table["heartbeat_s"] = int(heartbeat_s)
        found.setdefault(feed.underlying, table | _chain(chain_id, home))
    return [table for underlying, table in found.items() if underlying not in has]


def _feed_address(feed: ChainlinkWatcher, chain_id: int) -> str:
    names = known(chain_id).contracts.items()
    return next((f"@{name}" for name, item in names if item.address == feed.address), feed.address)


def pool_tables(
    fits: Sequence[Fit], home: int, there: Sequence[Mapping[str, Any]], settings: Settings | None
) -> tuple[list[Table], list[str]]:
    """Return (pools that are lacking, the label of each position's pool)."""
    labels = {_key_of_settings(settings, number): str(item["label"]) for number, item in enumerate(there)}
    tables: list[Table] = []
    names: list[str] = []
    for fit in fits:
        key = _key(fit.position)
        if key not in labels:
            labels[key] = _free_label(fit, labels.values(), home)
            tables.append(_pool(fit, labels[key], home))
        names.append(labels[key])
    return tables, names


def watched_beside(there: Sequence[Mapping[str, Any]], pools: Sequence[Table]) -> list[Mapping[str, Any]]:
    """Return the [[watch]] tables without those of a pool that is watched as one of [[pools]] now."""
    labels = {table["label"] for table in pools}
    return [item for item in there if _watched_label(item) not in labels]


def _watched_label(table: Mapping[str, Any]) -> str:
    pool = table.get("pool") if table.get("kind") == "uniswap_v4" else None
    return str(pool.get("label")) if isinstance(pool, Mapping) else ""


def _key(position: LpPosition) -> tuple[Any, ...]:
    """Return what tells two pools apart."""
    if (v4 := position.v4_key) is None:
        return (position.chain_id, position.pool_address.lower())
    tokens = (position.base.address.lower(), position.quote.address.lower())
    return (position.chain_id, *tokens, v4.fee, v4.tick_spacing, v4.hooks.lower())


def _key_of_settings(settings: Settings | None, number: int) -> tuple[Any, ...]:
    if settings is None:
        return (number,)
    item = settings.pools[number]
    chain_id = settings.chain_of(item)
    if item.address is not None:
        return (chain_id, item.address.lower())
    tokens = (item.base.lower(), item.quote.lower())
    return (chain_id, *tokens, item.fee, item.tick_spacing, (item.hooks or ZERO_ADDRESS).lower())


def _free_label(fit: Fit, taken: Any, home: int) -> str:
    """Return a label such as v3:ETH/USDC, told apart by chain, fee or address where it must be."""
    position = fit.position
    version = _KIND[position.kind][-2:]
    pair = f"{_plain(fit.feed.underlying)}/{_plain(position.quote.symbol)}"
    parts = [] if position.chain_id == home else [str(position.chain_id)]
    more = (f"{round(position.fee * 1e6)}", position.pool_address[2:10].lower())
    for extra in ((), more[:1], more):
        label = ".".join([version, "-".join([*parts, *extra])]).removesuffix(".") + f":{pair}"
        if label not in set(taken):
            return label
    return f"{version}.{position.pool_address[2:].lower()}:{pair}"


def _plain(symbol: str) -> str:
    return _UNFIT.sub("", symbol) or "token"


def _pool(fit: Fit, label: str, home: int) -> Table:
    position, v4 = fit.position, fit.position.v4_key
    table: Table = {"label": label, "kind": _KIND[position.kind]}
    if v4 is None:
        table["address"] = position.pool_address
    table |= {
        "base": position.base.address,
        "quote": position.quote.address,
        "base_decimals": position.base.decimals,
        "quote_decimals": position.quote.decimals,
    }
    if v4 is not None:
        table |= {"fee": v4.fee, "tick_spacing": v4.tick_spacing}
        table |= {"hooks": v4.hooks} if v4.hooks != ZERO_ADDRESS else {}
    elif position.kind is ExposureKind.UNISWAP_V2 and round(position.fee * 1e6) != 3_000:
        table["fee"] = round(position.fee * 1e6)
    if v4 is None and position.protocol not in _OWN_PROTOCOL:
        table["protocol"] = position.protocol
    return table | _chain(position.chain_id, home)


def position_tables(fits: Sequence[Fit], labels: Sequence[str], home: int) -> list[Table]:
    return [_position(fit.position, label, home) for fit, label in zip(fits, labels, strict=True)]


def _position(position: LpPosition, label: str, home: int) -> Table:
    table: Table = {"kind": _KIND[position.kind], "pool": label}
    if position.kind is ExposureKind.UNISWAP_V2:
        table["holder"] = position.owner
    else:
        table["token_id"] = int(position.id.partition(":")[2].partition("@")[0])
    if position.staker:
        table["staker"] = position.staker
        if position.kind is ExposureKind.UNISWAP_V3:
            table["holder"] = position.owner
    if position.staker_pool is not None:
        table["pid"] = position.staker_pool
    return table | _chain(position.chain_id, home)


def without_keys(chain: Table, home: int, secrets: dict[str, str]) -> Table:
    """Return a chain's table with a variable for each URL that may hold a key, its value in ``secrets``."""
    suffix = "" if chain.get("id") == home else f"_{chain.get('id')}"
    found = dict(chain)
    for key in ("rpc_url", "ws_url", "send_url"):
        if key in found:
            found[key] = _hidden(found[key], f"ALVH_{key.upper()}{suffix}", secrets)
    if "rpc_urls" in found:
        found["rpc_urls"] = [
            _hidden(url, f"ALVH_NODE{suffix}_{number}", secrets)
            for number, url in enumerate(found["rpc_urls"], start=1)
        ]
    return found


def without_source_keys(source: Table, secrets: dict[str, str]) -> Table:
    """Return a ``[[watch]]`` table with a variable for each key of a service, its value in ``secrets``."""
    found = dict(source)
    for key, value in source.items():
        if key.endswith("api_key") and isinstance(value, str) and "${" not in value:
            name = f"ALVH_{_UNFIT.sub('_', str(source.get('kind')))}_{key}".upper()
            secrets[name] = value
            found[key] = f"${{{name}}}"
    return found


def _hidden(url: str, name: str, secrets: dict[str, str]) -> str:
    if "${" in url or is_plain_local(url):
        return url
    secrets[name] = url
    return f"${{{name}}}"


def managers_table(fits: Sequence[Fit], home: int, there: Mapping[str, Any]) -> Table:
    """Return [managers] with the v4 PoolManager where v4 is named by hand and it is lacking."""
    keys = [fit.position.v4_key for fit in fits if fit.position.chain_id == home]
    own = next((key.pool_manager for key in keys if key is not None), None)
    named = "v4_position_manager" in there or "uniswap_v4.pool_manager" not in known(home).contracts
    if own is None or not named or "v4_pool_manager" in there:
        return dict(there)
    return {**there, "v4_pool_manager": own}


def book_tables(fits: Sequence[Fit]) -> Table:
    """Return what prices and watches a protected underlying from public sources."""
    names = sorted({fit.feed.underlying for fit in fits if fit.feed.underlying in _BOOKS}, reverse=True)
    if not names:
        return {}
    return {
        "indicative": {"venue": "deribit", "underlyings": names},
        "watch": [
            {"kind": "hyperliquid", "coins": names},
            {"kind": "deribit_dvol", "underlyings": names},
            {"kind": "macro_calendar"},
        ],
    }


def _chain(chain_id: int, home: int) -> Table:
    return {} if chain_id == home else {"chain": chain_id}
