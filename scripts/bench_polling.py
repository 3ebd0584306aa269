"""``scripts/bench polling``: reserves of N Uniswap v2 pairs, read and decoded, against the floor and others.

The floor is the very same requests sent by a bare aiohttp client, chunked as suits it best, with the reply
read and thrown away. All rows take turns in one loop, and before that all must have read the same numbers.
"""

import asyncio
import json
import subprocess
import time
from binascii import unhexlify
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from bench_peers import peer_python

from bot.chain.bulk import GET_RESERVES, RESERVES_TYPES, WordTable, read_words, unpack_aggregate3
from bot.chain.multicall import encode_aggregate3
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import start_devnet
from bot.errors import InvariantError, TransientError
from bot.model.market import Block
from bot.ports import Call
from bot.settings import cache_dir

SIZES = (100, 1_000, 5_000)
_PEER = Path(__file__).with_name("bench_multicall_peer.py")
_PEER_SPEC = "multicall==0.15.2"
_ROUNDS, _WARM = 11, 2
_BATCH_ROUNDS = {5_000: 3}  # web3.py takes seconds there
_CHUNKINGS = (100, 250, 500, 1_000, 5_000)
_BATCH = 1_000
_DECODED_AT_ONCE = 500
_JSON = {"Content-Type": "application/json"}

Reserves = list[tuple[int, int, int]]
Work = Callable[[], Awaitable[Any]]


async def bench_polling() -> dict[str, float]:
    """Read the same reserves in every way and return how long each takes beside the others."""
    figures: dict[str, float] = {}
    ours_ms: dict[int, float] = {}
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(await start_devnet(cache_dir()))
        rpc = await stack.enter_async_context(Rpc(devnet.rpc_url, timeout_s=60, max_body_bytes=50_000_000))
        expected = await _put_pairs(rpc, devnet.deployment.v2_pair, max(SIZES))
        at = devnet.deployment
        reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=_JSON))
        peer = await stack.enter_async_context(_peer(devnet.rpc_url, at.multicall3))
        node = await stack.enter_async_context(_web3(devnet.rpc_url))
        bench = Bench(reader, await reader.head(), session, devnet.rpc_url, peer, node)
        for count in SIZES:
            taken = await bench.take_turns(count, expected[:count])
            figures |= _ratios(taken, count)
            ours_ms[count] = figures[f"ours_ms_n{count}"]
        figures["decode_us_per_pool"] = await bench.decode_us(1_000)
    figures["ours_growth_n100_to_n1000"] = ours_ms[1_000] / ours_ms[100]
    figures["ours_growth_n1000_to_n5000"] = ours_ms[5_000] / ours_ms[1_000]
    return figures


def pair_address(index: int) -> str:
    """Return the address of a made-up pair; spread out, as real ones are."""
    return f"0x{(0x10 << 152) + index * 0x9E3779B97F4A7C15 + index:040x}"


async def _put_pairs(rpc: Rpc, pair: str, count: int) -> Reserves:
    """Put the code of a real pair and some reserves (storage slot 8) at made-up addresses."""
    code = await rpc.read("eth_getCode", [pair, "latest"])
    reserves = [(3 * 10**21 + 7 * index, 10**24 + index, 1_700_000_000) for index in range(count)]
    calls: list[tuple[str, list[Any]]] = []
    for index, (reserve0, reserve1, stamp) in enumerate(reserves):
        word = stamp << 224 | reserve1 << 112 | reserve0
        calls.append(("anvil_setCode", [pair_address(index), code]))
        calls.append(("anvil_setStorageAt", [pair_address(index), "0x8", f"0x{word:064x}"]))
    for start in range(0, len(calls), 200):
        for answer in await rpc.batch(calls[start : start + 200]):
            if isinstance(answer, TransientError):
                raise answer
    await rpc.request("evm_mine")
    return reserves


@dataclass(slots=True)
class Bench:
    """Every way to read, over one node."""

    reader: JsonRpcReader
    head: Block
    session: aiohttp.ClientSession
    url: str
    peer: "Peer"
    node: Any  # web3.AsyncWeb3
    taken: dict[str, list[float]] = field(default_factory=dict)

    async def take_turns(self, count: int, expected: Reserves) -> Mapping[str, list[float]]:
        """Return seconds of each round, by row."""
        targets = tuple(pair_address(index) for index in range(count))
        bodies = await self._best_bodies(targets)
        batched = self._batched(targets)
        rows: dict[str, Work] = {
            "floor": lambda: self._post(bodies),
            "ours": lambda: self._table(targets, lens=False),
            "lens": lambda: self._table(targets, lens=True),
            "multicall": lambda: self.peer.read(count),
            "batch": batched,
        }
        for name in ("ours", "lens", "multicall", "batch"):
            found = await rows[name]()
            if (found.rows() if isinstance(found, WordTable) else found) != expected:
                raise InvariantError(f"{name} did not read the reserves that were put there")
        taken: dict[str, list[float]] = {name: [] for name in rows}
        for number in range(_WARM + _ROUNDS):
            for name, work in rows.items():
                if name == "batch" and number >= _WARM + _BATCH_ROUNDS.get(count, _ROUNDS):
                    continue
                seconds = await self._timed(name, work)
                if number >= _WARM:
                    taken[name].append(seconds)
        return taken

    async def _timed(self, name: str, work: Work) -> float:
        if name == "multicall":  # it runs in a process of its own, which takes the time of the call itself
            return await self.peer.seconds()
        started = time.perf_counter()
        await work()
        return time.perf_counter() - started

    async def _table(self, targets: Sequence[str], *, lens: bool) -> WordTable:
        """The program's own bulk read: exact values in arrays, checked, with what is unknown marked."""
        return await read_words(
            self.reader, GET_RESERVES, targets, types=RESERVES_TYPES, block=self.head, lens=lens
        )

    async def _post(self, bodies: Sequence[bytes]) -> list[bytes]:
        return await asyncio.gather(*map(self._post_one, bodies))

    async def _post_one(self, body: bytes) -> bytes:
        async with self.session.post(self.url, data=body) as response:
            return await response.read()

    def _bodies(self, targets: Sequence[str], size: int) -> list[bytes]:
        pin = {"blockHash": self.head.hash, "requireCanonical": True}
        bodies = []
        for start in range(0, len(targets), size):
            calls = [Call(target, GET_RESERVES, ()) for target in targets[start : start + size]]
            request = {"to": self.reader.multicall3, "data": "0x" + encode_aggregate3(calls).hex()}
            call = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [request, pin]}
            bodies.append(json.dumps(call).encode())
        return bodies

    async def _best_bodies(self, targets: Sequence[str]) -> list[bytes]:
        """Return the requests of the floor, cut as is fastest here and now."""
        choices = [self._bodies(targets, size) for size in _CHUNKINGS if size < 2 * len(targets)]
        taken: list[list[float]] = [[] for _ in choices]
        for number in range(6):
            for bodies, times in zip(choices, taken, strict=True):
                started = time.perf_counter()
                await self._post(bodies)
                if number:
                    times.append(time.perf_counter() - started)
        return min(zip(choices, taken, strict=True), key=lambda item: float(np.median(item[1])))[0]

    def _batched(self, targets: Sequence[str]) -> Work:
        """Return the read through AsyncWeb3 and ``batch_requests``; its contracts are made before."""
        outputs = [{"name": f"value{index}", "type": kind} for index, kind in enumerate(RESERVES_TYPES)]
        entry = {"type": "function", "name": "getReserves", "inputs": [], "outputs": outputs}
        abi = [entry | {"stateMutability": "view"}]
        contracts = [
            self.node.eth.contract(address=self.node.to_checksum_address(target), abi=abi)
            for target in targets
        ]

        async def work() -> Reserves:
            found: Reserves = []
            for start in range(0, len(contracts), _BATCH):
                async with self.node.batch_requests() as batch:
                    for contract in contracts[start : start + _BATCH]:
                        batch.add(contract.functions.getReserves())
                    found += [tuple(item) for item in await batch.async_execute()]
            return found

        return work

    async def decode_us(self, count: int) -> float:
        """Time from the hex text of the reply to exact integers, per pool."""
        bodies = self._bodies([pair_address(index) for index in range(count)], _DECODED_AT_ONCE)
        texts = [json.loads(reply)["result"] for reply in await self._post(bodies)]
        taken = []
        for _ in range(50):
            started = time.perf_counter()
            for text in texts:
                limbs, known = unpack_aggregate3(unhexlify(text[2:]), _DECODED_AT_ONCE, RESERVES_TYPES)
                WordTable(types=RESERVES_TYPES, limbs=limbs, known=known).rows()
            taken.append(time.perf_counter() - started)
        return float(np.median(taken)) / count * 1e6


def _ratios(taken: Mapping[str, list[float]], count: int) -> dict[str, float]:
    def ratio(one: str, other: str) -> float:
        return float(np.median([a / b for a, b in zip(taken[one], taken[other], strict=False)]))

    return {
        **{f"{name}_ms_n{count}": float(np.median(times)) * 1e3 for name, times in taken.items()},
        f"polling_over_floor_n{count}": ratio("ours", "floor"),
        f"lens_over_floor_n{count}": ratio("lens", "floor"),
        f"multicall_over_ours_n{count}": ratio("multicall", "ours"),
        f"multicall_over_lens_n{count}": ratio("multicall", "lens"),
        f"batch_over_ours_n{count}": ratio("batch", "ours"),
    }


@asynccontextmanager
async def _web3(url: str) -> AsyncIterator[Any]:
    import web3

    print(f"  web3 {web3.__version__} (batch_requests)", flush=True)
    provider = web3.AsyncHTTPProvider(url, request_kwargs={"timeout": aiohttp.ClientTimeout(total=120)})
    node = web3.AsyncWeb3(provider)
    try:
        yield node
    finally:
        await provider.disconnect()


@dataclass(slots=True)
class Peer:
    """PyPI ``multicall`` in a process and an environment of its own: it needs an older web3 than ours."""

    process: asyncio.subprocess.Process
    count: int = 0

    async def read(self, count: int) -> Reserves:
        """Make its calls for that many pairs, read once, and return what it read."""
        self.count = count
        answer = await self._ask({"addresses": [pair_address(index) for index in range(count)]})
        return [tuple(item) for item in answer["reserves"]]

    async def seconds(self) -> float:
        """Read again and return how long it took there."""
        return float((await self._ask({}))["seconds"])

    async def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if self.process.stdin is None or self.process.stdout is None:
            raise InvariantError("the peer process has no pipes")
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        await self.process.stdin.drain()
        line = await self.process.stdout.readline()
        if not line:
            raise TransientError(f"{_PEER_SPEC} ended with an error; its words are above")
        return dict(json.loads(line))


@asynccontextmanager
async def _peer(url: str, multicall3: str) -> AsyncIterator[Peer]:
    python = await asyncio.to_thread(_peer_python)
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(_PEER),
        url,
        multicall3,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=50_000_000,
    )
    try:
        yield Peer(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _peer_python() -> Path:
    """Return the python of the peer's environment; say which versions are in it. Raises TransientError."""
    python = peer_python(_PEER_SPEC)
    listed = subprocess.run([str(python), "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    shown = [line for line in listed.stdout.splitlines() if line.startswith(("multicall", "web3=", "faster"))]
    print(f"  {', '.join(line.replace('==', ' ') for line in shown)}", flush=True)
    return python
