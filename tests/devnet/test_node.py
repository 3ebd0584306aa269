"""The node: busy ports, ends with its owner, loads in a moment, and time that only blocks move."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bot.chain.rpc import Rpc, quantity
from bot.devnet import anvil, service
from bot.devnet.anvil import Anvil, choose_port, find_anvil, listens
from bot.devnet.deployment import CHAIN_ID, USER, Deployment
from bot.devnet.node import Devnet, prepare, start_devnet
from bot.devnet.packages import Library
from bot.errors import ConfigError, NotFoundError, TransientError

pytestmark = pytest.mark.devnet


async def test_second_start_only_loads(
    devnet: Devnet, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No deployment is sent again: the second chain has the same blocks as the first."""
    start = time.perf_counter()
    async with await start_devnet(cache_dir) as second:
        took_s = time.perf_counter() - start
        assert second.deployment == devnet.deployment
        async with Rpc(devnet.rpc_url) as ours, Rpc(second.rpc_url) as theirs:
            blocks = [await rpc.read("eth_getBlockByNumber", ["latest", False]) for rpc in (ours, theirs)]
            sent = await theirs.read("eth_getTransactionCount", [devnet.deployment.deployer, "latest"])
    assert blocks[0]["hash"] == blocks[1]["hash"]
    assert quantity(blocks[0]["timestamp"]) == devnet.deployment.deployed_at_s
    with capsys.disabled():
        sys.stdout.write(
            f"\n  devnet loaded in {took_s:.2f} s, {quantity(sent)} deployer transactions in its past\n"
        )


async def test_deploying_anew_makes_the_same_chain(devnet: Devnet, cache_dir: Path, tmp_path: Path) -> None:
    """To the last hash, so that a demo or a bug report means the same on every machine."""
    (tmp_path / "packages").symlink_to(cache_dir / "packages")
    both = await asyncio.gather(start_devnet(tmp_path), start_devnet(tmp_path))  # a race, as under xdist
    both[1].stop()
    async with both[0] as fresh:
        assert fresh.deployment == devnet.deployment
        async with Rpc(devnet.rpc_url) as ours, Rpc(fresh.rpc_url) as theirs:
            blocks = [await rpc.read("eth_getBlockByNumber", ["latest", False]) for rpc in (ours, theirs)]
    assert blocks[0]["hash"] == blocks[1]["hash"]
    kept = sorted(path.name for path in (tmp_path / "devnet").iterdir())
    assert len(kept) == 1  # no scratch folder is left


async def test_every_transaction_advances_time_by_one_second(devnet: Devnet, rpc: Rpc) -> None:
    for after in (1, 2, 3):
        payment = {"from": devnet.deployment.user, "to": devnet.deployment.whale, "value": "0x1"}
        sent = await rpc.request("eth_sendTransaction", [payment], send=True)
        receipt = await _mined(rpc, sent)
        block = await rpc.read("eth_getBlockByNumber", [receipt["blockNumber"], False])
        assert quantity(block["timestamp"]) == devnet.deployment.deployed_at_s + after


async def _mined(rpc: Rpc, tx_hash: str) -> dict[str, Any]:
    """Return the receipt of what the node mines beside."""
    async with asyncio.timeout(30):
        while True:
            receipt: dict[str, Any] | None = await rpc.read("eth_getTransactionReceipt", [tx_hash])
            if receipt is not None:
                return receipt
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("jump_s", [3600, 90 * 86_400])
async def test_fixture_gives_every_test_the_same_time(devnet: Devnet, rpc: Rpc, jump_s: int) -> None:
    """Each run moves far ahead; the next one must not see it."""
    block = await rpc.read("eth_getBlockByNumber", ["latest", False])
    assert quantity(block["timestamp"]) == devnet.deployment.deployed_at_s
    await rpc.request("evm_setNextBlockTimestamp", [devnet.deployment.deployed_at_s + jump_s])
    await rpc.request("evm_mine")
    await rpc.request("evm_mine")
    block = await rpc.read("eth_getBlockByNumber", ["latest", False])
    assert quantity(block["timestamp"]) == devnet.deployment.deployed_at_s + jump_s + 1


async def test_accounts_are_the_well_known_ones(devnet: Devnet, rpc: Rpc) -> None:
    assert quantity(await rpc.read("eth_chainId")) == CHAIN_ID
    assert devnet.deployment.user == devnet.deployment.accounts[USER]
    assert devnet.deployment.user == "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


async def test_busy_port_is_one_clear_line(cache_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind((anvil.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            await start_devnet(cache_dir, port=port)
    assert str(refused.value) == (
        f"cannot start the devnet on port {port}: Address already in use; "
        "choose another port or stop what uses it"
    )


def test_port_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 65535"):
        choose_port(70_000)


async def test_given_port_is_used_and_stop_really_stops(cache_dir: Path) -> None:
    port = choose_port(None)
    devnet = await start_devnet(cache_dir, port=port)
    assert devnet.rpc_url == f"http://127.0.0.1:{port}"
    assert listens(port)
    devnet.stop()
    assert not listens(port)
    assert devnet.node.process.returncode is not None
    devnet.stop()  # harmless


async def test_a_node_that_ends_at_once_says_why(cache_dir: Path, tmp_path: Path) -> None:
    binary, _ = await prepare(cache_dir)
    broken = tmp_path / "state.json"
    broken.write_text("no state")
    with Anvil.start(binary, state=broken) as node, pytest.raises(TransientError, match=r"ended with code"):
        node.wait_ready()


_PARENT = """
import asyncio, sys, time
from pathlib import Path
from typing import Any
from bot.devnet.node import start_devnet
devnet = asyncio.run(start_devnet(Path(sys.argv[1])))
print(devnet.node.process.pid, devnet.node.port, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's end"
)
def test_node_ends_when_its_parent_is_killed(cache_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(cache_dir)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, port = (int(word) for word in parent.stdout.readline().split())
        assert anvil.is_node(pid, port)
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while listens(port) and time.monotonic() < until:
        time.sleep(0.02)
    assert not listens(port)


async def test_detached_devnet_is_found_and_stopped(cache_dir: Path, tmp_path: Path) -> None:
    assert service.find(tmp_path) is None
    running = await service.up(cache_dir, tmp_path)
    try:
        assert service.find(tmp_path) == running
        assert os.getpgid(running.pid) != os.getpgid(0)
        assert running.deployment.user_v3_token_id > 0
        async with Rpc(running.rpc_url) as rpc:
            code = await rpc.read("eth_getCode", [running.deployment.lyra_option_market, "latest"])
        assert len(code) > 1000
        with pytest.raises(
            ConfigError, match=rf"already runs at {running.rpc_url} \(process {running.pid}\)"
        ):
            await service.up(cache_dir, tmp_path)
    finally:
        stopped = service.down(tmp_path)
    assert stopped == running
    assert not listens(running.port)
    assert service.find(tmp_path) is None
    with pytest.raises(NotFoundError, match="no devnet"):
        service.down(tmp_path)


def test_record_of_another_process_is_not_taken_for_the_node(tmp_path: Path) -> None:
    """Process ids come again: ours is alive, but it is no anvil, and must not be stopped."""
    (tmp_path / "running.json").write_text(
        f'{{"pid": {os.getpid()}, "port": 1, "deployment_file": "x"}}', encoding="utf-8"
    )
    assert service.find(tmp_path) is None
    with pytest.raises(NotFoundError):
        service.down(tmp_path)


def test_anvil_from_path_must_have_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    nothing_locked = Library(packages=(), cache_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"put anvil 1\.7\.1 on PATH"):
        find_anvil(nothing_locked)
    binary = tmp_path / "anvil"
    for version, accepted in (("1.4.0-stable", False), ("1.7.1-stable", True)):
        binary.write_text(f"#!/bin/sh\necho 'anvil Version: {version}'\n")
        binary.chmod(0o755)
        if accepted:
            assert find_anvil(nothing_locked) == str(binary)
        else:
            with pytest.raises(ConfigError, match=r"Version: 1\.4\.0.*needs anvil 1\.7\.1"):
                find_anvil(nothing_locked)


def test_deployment_file_round_trip_and_refusals(devnet: Devnet, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    devnet.deployment.save(path)
    assert Deployment.load(path) == devnet.deployment
    for text, words in (("{", "not JSON"), ("[]", "do not match"), ('{"weth": "0x"}', "do not match")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            Deployment.load(path)
    with pytest.raises(ConfigError, match="cannot read the deployment"):
        Deployment.load(tmp_path / "absent.json")
