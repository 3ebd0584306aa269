"""Checks of a chain: each provider by itself, then what they make together."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp

from bot.app.checks import Check, checked, failed, ok, skipped, warn
from bot.chain.node_url import endpoint, is_private_host, redact_url
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc, RpcError, quantity
from bot.errors import BotError, TransientError, one_line
from bot.model.units import DAY_S
from bot.pipeline.sources import MAX_CLOCK_SKEW_S
from bot.settings import ChainSettings

LOOK_BACK_S = 30 * DAY_S  # what the longest look-back needs
_SAMPLE_BLOCKS = 1_000  # over which the time of a block is measured
_ZERO = "0x" + "0" * 40
_RETURN_ONE = "0x600160005260206000f3"  # PUSH1 1, MSTORE at 0, RETURN 32 bytes
_ONE = "0x" + "1".rjust(64, "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider as it answered."""

    name: str  # "chain 1 provider https://host/…"
    rpc: Rpc
    number: int | None = None  # of its newest block, None when it did not answer well
    timestamp_s: int = 0
    check: Check


async def check_chain(
    chain: ChainSettings, *, key: str, stack: AsyncExitStack
) -> tuple[tuple[Check, ...], JsonRpcReader | BotError]:
    """Check a chain and return a reader over its first provider that is well, or why there is none.

    ``key`` names its section, "chain" or "chains.0". Connections are closed with the ``stack``.
    """
    providers = await asyncio.gather(*(_provider(chain, url, key) for url in chain.urls))
    for item in providers:
        stack.push_async_callback(item.rpc.close)
    rows = [item.check for item in providers] + [_independence(chain, key)]
    well = [item for item in providers if item.number is not None]
    if not well:
        rest = ("head lag", "clock", "archive", "multicall", "lens")
        rows += [skipped(f"chain {chain.id} {name}", "no provider is well") for name in rest]
        return (*rows, await _websocket(chain, key)), TransientError(f"{rows[0].name}: {rows[0].found}")
    rows += [_head_lag(chain, well, key), _clock(chain, well, key)]
    rows += await asyncio.gather(*(_archive(chain, item, key) for item in well))
    reader, row = await _multicall(chain, well[0], key)
    return (*rows, row, await _lens(chain, well[0]), await _websocket(chain, key)), reader


async def _provider(chain: ChainSettings, url: str, key: str) -> Provider:
    name = f"chain {chain.id} provider {redact_url(url)}"
    rpc = Rpc(url, timeout_s=chain.timeout_s, allow_plain_http=chain.allow_plain_http)
    mend = f"correct {key}.rpc_url, or see whether the node runs"
    began_s = time.monotonic()
    try:
        found = quantity(await rpc.request("eth_chainId"))
        took_ms = 1_000 * (time.monotonic() - began_s)
        if found != chain.id:
            words = f"is on chain {found}, configured is {chain.id}"
            return Provider(name=name, rpc=rpc, check=failed(name, words, f"{key}.id or {key}.rpc_url"))
        number, timestamp_s = await _newest(rpc)
    except BotError as error:
        return Provider(name=name, rpc=rpc, check=failed(name, one_line(str(error)), mend))
    row = ok(name, f"block {number:,}, answers in {took_ms:.0f} ms")
    return Provider(name=name, rpc=rpc, number=number, timestamp_s=timestamp_s, check=row)


async def _newest(rpc: Rpc) -> tuple[int, int]:
    return await _block(rpc, "latest")


async def _block(rpc: Rpc, number: str) -> tuple[int, int]:
    """Return (number, timestamp) of a block. Raises TransientError."""
    raw: Any = await rpc.request("eth_getBlockByNumber", [number, False])
    if raw is None:
        raise TransientError(f"{rpc.where} does not know block {number}")
    return quantity(raw.get("number")), quantity(raw.get("timestamp"))


def _independence(chain: ChainSettings, key: str) -> Check:
    """Say whether the providers can fail, and lie, apart from each other."""
    name = f"chain {chain.id} providers"
    hosts = [endpoint(url).host for url in chain.urls]
    host, times = Counter(hosts).most_common(1)[0]
    if times > 1 and not is_private_host(chain.urls[hosts.index(host)]):
        words = f"{times} of {len(hosts)} are at {host}: they fail and lie together"
        return warn(name, words, f"name different operators in {key}.rpc_urls")
    if len(hosts) == 1:
        return ok(name, "one; nothing checks or replaces it")
    return ok(name, f"{len(hosts)}, of which {chain.agreement} must agree")


def _head_lag(chain: ChainSettings, well: Sequence[Provider], key: str) -> Check:
    name = f"chain {chain.id} head lag"
    numbers = [item.number or 0 for item in well]
    lag = max(numbers) - min(numbers)
    if len(well) == 1:
        return skipped(name, "one provider has nothing to lag behind")
    if lag <= chain.max_head_lag:
        return ok(name, f"{lag} blocks between {len(well)} providers")
    last = well[numbers.index(min(numbers))]
    return failed(
        name,
        f"{last.rpc.where} is {lag:,} blocks behind, allowed are {chain.max_head_lag}",
        f"replace it in {key}.rpc_urls, or raise {key}.max_head_lag",
    )


def _clock(chain: ChainSettings, well: Sequence[Provider], key: str) -> Check:
    name = f"chain {chain.id} clock"
    if chain.clock == "chain":
        return skipped(name, "time moves with blocks here (clock = chain)")
    age_s = time.time() - max(item.timestamp_s for item in well)
    if abs(age_s) <= MAX_CLOCK_SKEW_S:
        return ok(name, f"the newest block is {age_s:.0f} s old")
    if age_s < 0:
        return failed(name, f"the newest block is {-age_s:.0f} s ahead of this machine's clock", "start NTP")
    return failed(
        name,
        f"the newest block is {age_s:.0f} s old, over {MAX_CLOCK_SKEW_S:g} s is HOLD",
        f"set this machine's clock by NTP, or replace {key}.rpc_url: the node is stuck",
    )


async def _archive(chain: ChainSettings, provider: Provider, key: str) -> Check:
    name = provider.name.replace("provider", "archive")
    if chain.clock == "chain":
        return skipped(name, "time moves with blocks here (clock = chain)")
    mend = f"add a provider that keeps old state to {key}.rpc_urls"
    try:
        number, days = await _look_back(provider)
        await provider.rpc.request("eth_getBalance", [_ZERO, hex(number)])
    except BotError as error:
        words = f"cannot read {LOOK_BACK_S / DAY_S:.0f} days back, so look-backs warm up live"
        return warn(name, f"{words}: {one_line(str(error))}", mend)
    return ok(name, f"reads state at block {number:,}, {days:.1f} days back")


async def _look_back(provider: Provider) -> tuple[int, float]:
    """Return the block at the start of the longest look-back and how many days ago it is."""
    head = provider.number or 0
    sample = max(1, head - _SAMPLE_BLOCKS)
    if sample >= head:
        return head, 0.0
    _, sample_s = await _block(provider.rpc, hex(sample))
    per_block_s = (provider.timestamp_s - sample_s) / (head - sample)
    back = int(LOOK_BACK_S / per_block_s) if per_block_s > 0 else head
    number, at_s = await _block(provider.rpc, hex(max(1, head - back)))
    return number, (provider.timestamp_s - at_s) / DAY_S


async def _multicall(
    chain: ChainSettings, provider: Provider, key: str
) -> tuple[JsonRpcReader | BotError, Check]:
    name = f"chain {chain.id} multicall"
    try:
        reader = await JsonRpcReader.connect(provider.rpc, chain_id=chain.id, multicall3=chain.multicall3)
    except BotError as error:
        return error, failed(name, one_line(str(error)), f"correct {key}.multicall3")
    return reader, ok(name, f"{chain.multicall3} has code")


async def _lens(chain: ChainSettings, provider: Provider) -> Check:
    """Say which of the two ways of packed reads the node allows; without them aggregate3 does the same."""
    name = f"chain {chain.id} lens"
    ways = {
        "deployless call": [{"data": _RETURN_ONE}, "latest"],
        "state override": [{"to": _ZERO, "data": "0x"}, "latest", {_ZERO: {"code": _RETURN_ONE}}],
    }
    allowed = []
    for way, params in ways.items():
        try:
            if await provider.rpc.request("eth_call", params) == _ONE:
                allowed.append(way)
        except RpcError:
            continue
        except BotError as error:
            return warn(name, one_line(str(error)), "nothing to do, reads are slower")
    if not allowed:
        return warn(name, "the node allows neither packed way of reading", "nothing to do, reads are slower")
    return ok(name, f"the node allows {' and '.join(allowed)}")


async def _websocket(chain: ChainSettings, key: str) -> Check:
    name = f"chain {chain.id} websocket"
    if chain.ws_url is None:
        return skipped(name, f"not configured; a new block is looked for every {chain.poll_s:g} s")
    url = chain.ws_url.get_secret_value()
    work = _ask_websocket(name, url, chain)
    return await checked(name, work, mend=f"correct {key}.ws_url, or remove it: polling works without it")


async def _ask_websocket(name: str, url: str, chain: ChainSettings) -> Check:
    where = redact_url(url)
    ask = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        async with (
            asyncio.timeout(chain.timeout_s),
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=1_000_000) as socket,
        ):
            await socket.send_json(ask)
            reply = await socket.receive_json()
        found = quantity(reply.get("result") if isinstance(reply, dict) else None)
    except TimeoutError:
        raise TransientError(f"{where}: no answer within {chain.timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError, TypeError) as error:
        raise TransientError(f"{where}: {type(error).__name__}") from None
    if found != chain.id:
        return failed(name, f"{where} is on chain {found}, configured is {chain.id}", "correct ws_url")
    return ok(name, f"{where} answers")
