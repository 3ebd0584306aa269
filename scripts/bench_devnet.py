"""``scripts/bench devnet``: real contracts on a local anvil, one frame of them, and the same by web3.py."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_functions import abi_functions, entry_of
from bench_timers import Figures, timed_s

from bot.app.live import Bot, open_bot
from bot.app.option_venues import Where, option_venues
from bot.devnet.config import write_config
from bot.devnet.node import Devnet, start_devnet
from bot.devnet.packages import fetch
from bot.errors import InvariantError
from bot.model.market import Block
from bot.pipeline.history import History
from bot.pipeline.loop import quote_sizes, view_of
from bot.ports import Call, ChainReader
from bot.settings import cache_dir, load_policy, load_settings

_ROUNDS = 11


@dataclass(slots=True)
class Recording:
    """A chain reader that keeps the view calls it is asked for."""

    inner: ChainReader
    calls: list[Call] = field(default_factory=list)

    async def run_lens(self, _lens: object, _data: bytes, *, block: Block) -> None:
        """No lens here: what it would answer is asked call by call, and so recorded."""

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        self.calls.extend(calls)
        return await self.inner.read(calls, block=block)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def bench_devnet() -> Figures:
    """First and second start, one frame (all watchers and positions at one block), quotes, and web3.py."""
    with tempfile.TemporaryDirectory(prefix="alvh-bench-") as name:
        scratch = Path(name)
        fetch(cache_dir())  # downloads are not what is measured
        (scratch / "cache").mkdir()
        (scratch / "cache" / "packages").symlink_to(cache_dir() / "packages", target_is_directory=True)
        starts = [await _start_s(scratch / "cache") for _ in range(1 + 5)]
        async with await start_devnet(scratch / "cache") as devnet:
            config = write_config(devnet.deployment, rpc_url=devnet.rpc_url, directory=scratch / "home")
            settings = load_settings(config)
            async with open_bot(settings, mode="monitor") as bot:
                reads = await _frame_figures(bot, devnet)
                quotes = await _quotes_ms(bot, settings)
    return {
        "devnet_first_start_s": starts[0],
        "devnet_second_start_s": float(np.median(starts[1:])),
        **reads,
        "quotes_ms_p50": quotes,
    }


async def _start_s(cache: Path) -> float:
    started = time.perf_counter()
    devnet = await start_devnet(cache)
    taken = time.perf_counter() - started
    devnet.stop()
    return taken


async def _frame_figures(bot: Bot, devnet: Devnet) -> Figures:
    """Compare a frame with the same view calls made one by one through web3.py contracts."""
    head = await bot.reader.head()
    now_s = float(head.timestamp_s)

    async def frame() -> object:
        source = replace(bot.source, history=History())
        return await source.cut(head, now_s=now_s)

    await frame()  # what watchers ask for once is not part of a frame
    recording = Recording(bot.reader)
    await replace(bot.source, chain=recording, history=History()).cut(head, now_s=now_s)
    peers = web3_calls(devnet.rpc_url, recording.calls, block_hash=head.hash)
    check_same(await bot.reader.read(recording.calls, block=head), [call() for call in peers])
    ours, ratios = [], []
    for _ in range(_ROUNDS + 1):
        taken = await timed_s(frame)
        started = time.perf_counter()
        for call in peers:
            call()
        ours.append(taken)
        ratios.append((time.perf_counter() - started) / taken)
    return {
        "frame_ms_p50": float(np.median(ours[1:])) * 1e3,
        "frame_calls": float(len(peers)),
        "web3_over_ours_frame": float(np.median(ratios[1:])),
    }


def web3_calls(url: str, calls: Sequence[Call], *, block_hash: str) -> list[Callable[[], Any]]:
    """Return each view call as web3.py's ``contract.functions.name(*args).call()``; None where it reverts."""
    from web3 import HTTPProvider, Web3
    from web3.exceptions import BadFunctionCallOutput, ContractLogicError

    node = Web3(HTTPProvider(url))
    functions = abi_functions()

    def bound(call: Call) -> Callable[[], Any]:
        entry, arguments = entry_of(functions, call), call.data[4:]
        types = [item["type"] for item in entry["inputs"]]
        given = [
            Web3.to_checksum_address(value) if kind == "address" else value
            for kind, value in zip(types, node.codec.decode(types, arguments), strict=True)
        ]
        contract = node.eth.contract(address=Web3.to_checksum_address(call.target), abi=[entry])
        function = contract.get_function_by_name(entry["name"])(*given)

        def ask() -> Any:
            try:
                return function.call(block_identifier=block_hash)
            except (ContractLogicError, BadFunctionCallOutput):
                return None

        return ask

    return [bound(call) for call in calls]


def check_same(ours: Sequence[Any], peers: Sequence[Any]) -> None:
    """A comparison of speed counts only where both read the same."""
    for mine, other in zip(ours, peers, strict=True):
        if mine is None or other is None:
            if mine is not other:
                raise InvariantError(f"we read {mine}, web3.py {other}")
        elif _flat(mine) != _flat(other if isinstance(other, list | tuple) else (other,)):
            raise InvariantError(f"we read {mine}, web3.py {other}")


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [item for part in value for item in _flat(part)]
    if isinstance(value, Mapping):
        return [item for part in value.values() for item in _flat(part)]
    return [value.lower() if isinstance(value, str) else value]


async def _quotes_ms(bot: Bot, settings: Any) -> float:
    """Time all listed options that the policy's layers could want, quoted at one block."""
    head = await bot.reader.head()
    moment = await bot.source.cut(head, now_s=float(head.timestamp_s))
    view = view_of(moment)
    policy = load_policy(settings.policy)
    venues = option_venues(settings, policy, Where(reader=bot.reader, custody=None, account=None))
    if not venues:
        raise InvariantError("the devnet's configuration has no venue")
    (venue,) = venues
    (underlying, size), *_ = quote_sizes(policy, moment.exposures, view).items()
    taken = [
        await timed_s(lambda: venue.quotes(view, underlying=underlying, size=size))
        for _ in range(_ROUNDS + 1)
    ]
    return float(np.median(taken[1:])) * 1e3
