"""Long checks. ``kill``: does an order survive kill -9 wherever it strikes (campaign_kill.py)? ``sweep``:
does a sweep survive the death of a Ray node (campaign_sweep.py)? ``stopwatch``: does the README keep
what it says, in an empty home (campaign_stopwatch.py)? ``tests``: those that are marked campaign.
``soak``: does the bot stay small while it polls for days?

For that one dry run on a devnet polls as fast as the machine allows, one mined block each. Memory of this
process and its open files and sockets are printed at intervals; the growth over the last three quarters
decides.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from campaign_kill import kill
from campaign_stopwatch import stopwatch
from campaign_sweep import sweep_on_ray

from bot.app.live import Bot, open_bot
from bot.chain.heads import HeadFollower, NewHead
from bot.chain.rpc import Rpc
from bot.devnet.config import write_config
from bot.devnet.node import start_devnet
from bot.settings import cache_dir, load_settings

BLOCK_S = 12
GROWTH_AT_MOST = 0.05  # of memory, history rows taken off
BYTES_PER_ROW = 24 * 2  # time, value and block number, in arrays that double


class Sample(tuple[int, float, int, int]):
    """polls, resident MiB, open files, open sockets"""


def measure(polls: int) -> Sample:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    links = [_link(name) for name in os.listdir("/proc/self/fd")]
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample((polls, mib, len(links), sum(link.startswith("socket:") for link in links)))


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


async def soak(*, polls: int, every: int, record: bool) -> int:
    """Return 0 when memory, files and sockets stayed flat."""
    devnet = await start_devnet(cache_dir())
    samples: list[Sample] = []
    try:
        with tempfile.TemporaryDirectory(prefix="alvh-soak-") as scratch:
            folder = Path(scratch)
            settings = load_settings(
                write_config(devnet.deployment, rpc_url=devnet.rpc_url, directory=folder)
            )
            async with (
                Rpc(devnet.rpc_url) as rpc,
                open_bot(settings, mode="dry-run", record=folder / "recording" if record else None) as bot,
            ):
                started = time.perf_counter()
                done = 0
                async for _ in bot.records(_heads(bot, rpc, polls)):
                    done += 1
                    if done == 1 or done % every == 0:
                        samples.append(measure(done))
                        _print(samples[-1], time.perf_counter() - started)
                rows = sum(column.times_s.size for column in bot.source.history.columns().series.values())
    finally:
        devnet.stop()
    return _judge(samples, rows=rows)


async def _heads(bot: Bot, rpc: Rpc, polls: int) -> AsyncIterator[NewHead]:
    follower = HeadFollower(bot.reader, poll_s=1.0)
    for _ in range(polls):
        await rpc.request("evm_increaseTime", [BLOCK_S])
        await rpc.request("evm_mine")
        event = await follower.poll()
        if event is not None:
            yield event


def _print(sample: Sample, taken_s: float) -> None:
    polls, mib, files, sockets = sample
    print(
        f"{polls:>7} polls  {taken_s:7.1f} s  {mib:7.1f} MiB  {files:3} files  {sockets:3} sockets",
        flush=True,
    )


def _judge(samples: list[Sample], *, rows: int) -> int:
    settled, last = samples[len(samples) // 4], samples[-1]
    kept_mib = rows * (1 - settled[0] / last[0]) * BYTES_PER_ROW / 2**20
    grown_mib = last[1] - settled[1] - kept_mib
    flat = grown_mib <= GROWTH_AT_MOST * settled[1] and last[2] <= settled[2] and last[3] <= settled[3]
    print(
        f"memory grew {last[1] - settled[1]:+.1f} MiB from poll {settled[0]} to {last[0]}, of which "
        f"{kept_mib:.1f} MiB are history that is kept; files {settled[2]} -> {last[2]}, "
        f"sockets {settled[3]} -> {last[3]}: {'flat' if flat else 'NOT flat'}"
    )
    return 0 if flat else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/campaign", description="Long checks.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("soak", help="memory and sockets over many polls")
    one.add_argument("--polls", type=int, default=20_000)
    one.add_argument("--every", type=int, default=0, help="polls between two samples")
    one.add_argument("--record", action="store_true", help="record every step too")
    two = commands.add_parser("kill", help="kill -9 at twelve points of four actions")
    two.add_argument("--repeats", type=int, default=25, help="of each of the 48 cases")
    two.add_argument("--points", default="", help="such as K5,K9; all by default")
    two.add_argument("--actions", default="", help="of open,close,roll,approve; all by default")
    two.add_argument("--short", action="store_true", help="each point once, the actions by turns")
    three = commands.add_parser("sweep", help="a sweep on two Ray nodes, one killed half way")
    three.add_argument("--cells", type=int, default=12, help="policies beside the one as it is")
    three.add_argument("--windows", type=int, default=6, help="crises, each of three days of hours")
    four = commands.add_parser("stopwatch", help="the README's own commands from a clone in an empty home")
    four.add_argument("--skip-tests", action="store_true", help="all but scripts/test")
    commands.add_parser("tests", help="the tests that are too long for scripts/test")
    given = parser.parse_args()
    if given.command == "tests":
        return pytest.main(["-m", "campaign", "--numprocesses", "3", "--dist", "loadgroup"])
    if given.command == "stopwatch":
        return stopwatch(skip_tests=given.skip_tests)
    if given.command == "sweep":
        return sweep_on_ray(cells=given.cells, windows=given.windows)
    if given.command == "kill":
        repeats = 1 if given.short else given.repeats
        return kill(repeats=repeats, points=given.points, actions=given.actions, short=given.short)
    every = given.every or max(given.polls // 20, 1)
    return asyncio.run(soak(polls=given.polls, every=every, record=given.record))


if __name__ == "__main__":
    sys.exit(main())
