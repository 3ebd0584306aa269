"""Two processes watch, a third decides: as one process would that reads everything itself."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from commands import Home, Running
from postgres_server import PostgresServer, empty_postgres

from bot.app.watch import Shard
from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet
from bot.errors import ConfigError

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("cli")]


def steps_of(running: Running) -> list[dict]:
    return [json.loads(line) for line in running.out.splitlines()]


def step_on(devnet: Devnet, *runs: Running, seconds: int = 12, depth: int = 0, blocks: int = 1) -> None:
    """Let the chain go on, after a reorg where ``depth`` says so, until every run has done a step."""
    counts = [len(steps_of(item)) for item in runs]
    if depth:
        asyncio.run(reorganise(devnet, depth))
    if blocks:
        asyncio.run(mine(devnet, seconds + 30 * depth))  # blocks of a reorg have times of their own
    for item, count in zip(runs, counts, strict=True):
        item.until(lambda item=item, count=count: len(steps_of(item)) > (count if blocks else 0), within_s=60)


def end(*runs: Running) -> None:
    for item in runs:
        os.kill(item.pid, signal.SIGINT)
        assert item.wait().code == 0, item.err


async def mine(devnet: Devnet, seconds: int = 12) -> None:
    async with Rpc(devnet.rpc_url, timeout_s=30) as rpc:
        head = await rpc.read("eth_getBlockByNumber", ["latest", False])
        await rpc.request("evm_setNextBlockTimestamp", [int(head["timestamp"], 16) + seconds])
        await rpc.request("evm_mine")


async def reorganise(devnet: Devnet, depth: int) -> None:
    async with Rpc(devnet.rpc_url, timeout_s=30) as rpc:
        await rpc.request("anvil_reorg", [depth, []])


def fed_home(home: Home, url: str, *, name: str) -> Home:
    """Return a copy whose home chain is watched elsewhere."""
    fed = home.copy(home.folder.parent / name)
    fed.env["ALVH_STORAGE__HISTORY_URL"] = url
    fed.env["ALVH_STORAGE__WAIT_S"] = "8"  # on a slow machine a watcher is late
    fed.change(r"\[chain\]\n", "[chain]\nwatched_elsewhere = true\n")
    return fed


def decisions(folder: Path) -> dict[int, str]:
    """Return the digest of the whole decision at every block, its readings included."""
    steps = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*/steps-*.parquet"))])
    blocks = [json.loads(json.loads(item)[0])["number"] for item in steps["blocks"]]
    return dict(zip(blocks, steps["decision_hash"], strict=True))


def test_two_watchers_and_an_engine_decide_as_one_process(
    home: Home, devnet: Devnet, postgres_server: PostgresServer
):
    """Also through a reorg; and when one of them is killed, its silence is a HOLD that names it."""
    empty_postgres(postgres_server.url)
    fed = fed_home(home, postgres_server.url, name="fed")
    watchers = [fed.start("watch", "--shard", f"{number}/2", "--json") for number in (1, 2)]
    for item in watchers:
        item.until(lambda item=item: steps_of(item), within_s=60)
    second = fed.alvh("watch", "--shard", "2/2", "--once")
    second.refused(4, "is written by alvh watch chain 31337 2/2, process")
    home.env["ALVH_STORAGE__HISTORY_URL"] = postgres_server.url
    home.alvh("monitor", "--once").refused(4, "is written by alvh watch chain 31337", "watched_elsewhere")
    del home.env["ALVH_STORAGE__HISTORY_URL"]
    engine = fed.start("monitor", "--json", "--record", str(fed.folder / "recording"))
    alone = home.start("monitor", "--json", "--record", str(home.folder / "recording"))
    step_on(devnet, engine, alone, blocks=0)
    step_on(devnet, engine, alone)
    step_on(devnet, engine, alone)
    step_on(devnet, engine, alone, depth=2)
    step_on(devnet, engine, alone)
    end(alone)

    os.kill(watchers[0].pid, signal.SIGKILL)
    assert watchers[0].wait().code == -signal.SIGKILL
    step_on(devnet, engine, seconds=120)
    holds = steps_of(engine)[-1]["holds"]
    assert [why for why in holds if "alvh watch chain 31337 1/2 last read its block of" in why], holds
    again = fed.start("watch", "--shard", "1/2", "--json")
    again.until(lambda: steps_of(again), within_s=60)
    step_on(devnet, engine)
    assert not [why for why in steps_of(engine)[-1]["holds"] if "alvh watch" in why]
    end(engine, again, watchers[1])

    one, three = decisions(home.folder / "recording"), decisions(fed.folder / "recording")
    assert len(one) == 5
    assert one.items() <= three.items()
    replayed = fed.alvh("replay", "--recording", str(fed.folder / "recording"), "--json").document
    assert (replayed["steps"], replayed["differences"]) == (len(three), [])


def test_a_watcher_without_a_shared_history_says_what_is_lacking(home: Home):
    home.alvh("watch", "--chain", "31337", "--once").refused(4, "storage.history_url")
    home.env["ALVH_STORAGE__HISTORY_URL"] = "postgresql://alvh:hunter2@127.0.0.1:1/none"
    refused = home.alvh("watch", "--once")
    refused.refused(4, "no chain is watched_elsewhere")
    refused = home.alvh("watch", "--chain", "31337", "--once")
    refused.refused(4, "history postgresql://alvh:***@127.0.0.1:1/none", "cannot be used")
    assert "hunter2" not in refused.err


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", "１/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--shard"):
        Shard.parse(text)


def test_shards_share_all_watchers_and_none_twice():
    class Named:
        def __init__(self, name):
            self.watcher, self.name = self, name

    watchers = [Named(f"w{number}") for number in range(7)]
    parts = [Shard(number=number, count=3).of(watchers) for number in (1, 2, 3)]
    assert sorted(item.name for part in parts for item in part) == [item.name for item in watchers]
