"""The kill switch by file, signal, command and page: one pause, at once, over restarts (REL-L2, REL-O3)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from commands import Home
from dashboard_builders import settings_in
from send_builders import ADDRESS, CHAIN_ID, COUNTER, FAR_S, SELECTOR
from signer_process import Running, signer_process

from bot.app.dashboard_desk import open_desk
from bot.app.orders import pause as pause_by_command
from bot.app.orders import pause_in_force, resume
from bot.chain.fees import GWEI, Fees
from bot.chain.pause import Pause, end_pause, pause_path, read_pause, write_pause
from bot.chain.rpc import Rpc, quantity
from bot.chain.signer import Unsigned
from bot.chain.signer_client import SignerClient
from bot.devnet.node import Devnet
from bot.errors import ConfigError, VenueRejected

NOW_S = 1_000.0
WITHIN_S = 1.0  # REL-L2
PATIENCE_S = 30.0
BOT = """
import asyncio, sys, time
from pathlib import Path
from bot.app.kill_switch import pause_at_signal
pause_at_signal((Path(sys.argv[1]),), what="bot")
print("ready", flush=True)
async def wait(): await asyncio.Event().wait()
asyncio.run(wait()) if sys.argv[2] == "waits for a block" else sum(1 for _ in iter(int, 1))
"""


def unsigned(nonce: int) -> Unsigned:
    return Unsigned(
        chain_id=CHAIN_ID, nonce=nonce, to=COUNTER, data=SELECTOR + nonce.to_bytes(32, "big"), value_wei=0,
        gas=100_000, fees=Fees(max_fee_wei=20 * GWEI, tip_wei=GWEI), valid_until_s=FAR_S,
    )  # fmt: skip


# ways to pause: each gets the folder and the signer


def by_file(folder: Path, _: Running) -> None:
    pause_path(folder).touch()


def by_signal_to_the_signer(_: Path, signer: Running) -> None:
    signer.process.send_signal(signal.SIGUSR1)


def by_signal_to_a_bot(doing: str) -> Callable[[Path, Running], None]:
    def pause(folder: Path, _: Running) -> None:
        command = [sys.executable, "-c", BOT, str(folder), doing]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bot:
            try:
                assert bot.stdout is not None
                assert bot.stdout.readline() == b"ready\n"
                assert any(paused_in_time(bot, folder) for _ in range(3))
                assert bot.poll() is None  # it goes on: closing and following need it
            finally:
                bot.kill()  # leaving waits for its end

    return pause


def paused_in_time(bot: subprocess.Popen[bytes], folder: Path) -> bool:
    """Signal a bot, and say whether it paused in time; a pause that came late is ended for another try."""
    assert bot.stderr is not None
    began_s = time.monotonic()
    bot.send_signal(signal.SIGUSR1)
    while read_pause(folder) is None:
        assert time.monotonic() - began_s < PATIENCE_S
        time.sleep(0.01)
    in_time = time.monotonic() - began_s < WITHIN_S
    assert b"paused by signal SIGUSR1 at" in bot.stderr.readline()  # said after it is written
    if not in_time:
        end_pause(folder)
    return in_time


def by_command(folder: Path, _: Running) -> None:
    pause_by_command(settings_in(folder), why="a test")


def by_page(folder: Path, _: Running) -> None:
    open_desk(settings_in(folder), mode="live").pause(by="a person at the dashboard", why="a test")


WAYS = {
    "file": by_file,
    "signal to the signer": by_signal_to_the_signer,
    "signal to a bot that waits for a block": by_signal_to_a_bot("waits for a block"),
    "signal to a bot in the middle of a step": by_signal_to_a_bot("is busy"),
    "command": by_command,
    "page": by_page,
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_stops_the_next_signature_within_a_second_and_over_restarts(tmp_path: Path, way: str):
    with signer_process(tmp_path) as running:
        async with leading(running) as one:
            assert (await one.sign(unsigned(0), now_s=NOW_S)).raw
            WAYS[way](tmp_path, running)
            nonce, until_s = 1, time.monotonic() + WITHIN_S
            with suppress(VenueRejected):  # the pause may come between the look and the signature
                while time.monotonic() < until_s and read_pause(tmp_path) is None:
                    nonce += bool((await one.sign(unsigned(nonce), now_s=NOW_S)).raw)
            with pytest.raises(VenueRejected, match="nothing that opens is signed: paused by"):
                await one.sign(unsigned(nonce), now_s=NOW_S)
    with signer_process(tmp_path) as again:
        async with leading(again) as two:
            with pytest.raises(VenueRejected, match="paused by"):
                await two.sign(unsigned(nonce), now_s=NOW_S)
            end_pause(tmp_path)
            assert (await two.sign(unsigned(nonce), now_s=NOW_S)).raw


@asynccontextmanager
async def leading(running: Running) -> AsyncIterator[SignerClient]:
    client = SignerClient(running.path, address=ADDRESS, who="a test", timeout_s=5.0)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


def test_a_second_signal_keeps_the_first_ones_word(tmp_path: Path):
    with signer_process(tmp_path) as running:
        assert running.process.stderr is not None
        for _ in range(3):
            running.process.send_signal(signal.SIGUSR1)
            assert running.process.stderr.readline().startswith("paused by signal SIGUSR1 at")
        assert running.process.poll() is None
    found = json.loads(pause_path(tmp_path).read_text())
    assert found["who"] == "signal SIGUSR1"
    assert found["why"] == f"sent to the signer, process {running.process.pid}"


# a signer under a user of its own


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user here")
def test_a_signer_that_may_not_write_the_bots_folder_pauses_in_its_own(tmp_path: Path):
    own, bots = tmp_path / "signer", tmp_path / "bot"
    for folder in (own, bots):
        folder.mkdir()
        folder.chmod(0o711)  # of a file in it one may learn whether it is there
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.chown(own, 65534, 65534)
    code = (
        "import os, signal, sys; from pathlib import Path; from bot.app.kill_switch import pause_at_signal; "
        "pause_at_signal([Path(item) for item in sys.argv[1:]], what='signer'); "
        "os.setuid(65534); os.kill(os.getpid(), signal.SIGUSR1)"
    )
    command = [sys.executable, "-c", code, str(bots), str(own)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("paused by signal SIGUSR1 at")
    assert read_pause(bots) is None
    assert read_pause(own) is not None


def test_resume_ends_the_pause_of_both_folders_or_says_who_can(tmp_path: Path):
    settings = settings_in(tmp_path)
    signer = settings.signer.model_copy(update={"folder": tmp_path / "signer", "user": "x", "group": "y"})
    settings = settings.model_copy(update={"signer": signer})
    assert pause_in_force(settings) is None
    write_pause(tmp_path / "signer", Pause(who="signal SIGUSR1", at_s=1.0, why="a test"))
    found = pause_in_force(settings)
    assert found is not None
    assert found.who == "signal SIGUSR1"
    assert resume(settings) == found
    assert pause_in_force(settings) is None
    pause_path(tmp_path / "signer").mkdir()
    with pytest.raises(ConfigError, match="the pause stays"):
        resume(settings)


# the whole program


@pytest.mark.devnet
async def test_a_live_run_that_was_signalled_buys_nothing_also_after_both_were_restarted(
    home: Home, rpc: Rpc, devnet: Devnet
):
    home.change(r"poll_s = 0\.05", "poll_s = 0.2")
    account = devnet.deployment.user

    async def nonce() -> int:
        return quantity(await rpc.request("eth_getTransactionCount", [account, "latest"]))

    before = await nonce()
    with home.signer():
        running = home.start("run", "--live", "--json")
        # It is started and has its handler long before it has its first block's data.
        running.until(lambda: "pause_at_signal" in _handlers(running.pid), within_s=60.0)
        os.kill(running.pid, signal.SIGUSR1)
        running.until(lambda: read_pause(home.folder) is not None)
        for _ in range(2):
            await rpc.request("evm_mine")
            await asyncio.sleep(0.4)
        os.kill(running.pid, signal.SIGTERM)
        ended = running.wait()
    assert ended.code == 0, ended
    await rpc.request("evm_mine")
    with home.signer():
        step = home.alvh("run", "--live", "--once", "--json").document
    assert "paused by signal SIGUSR1" in " ".join(step["holds"])
    assert await nonce() == before
    assert home.alvh("resume", "--yes").code == 0
    await rpc.request("evm_mine")
    (order,) = home.alvh("run", "--live", "--once", "--json").document["orders"]
    assert order["status"] == "filled"


def _handlers(pid: int) -> str:
    """Say whether a process catches SIGUSR1, as the kernel has it."""
    line = next(
        item for item in Path(f"/proc/{pid}/status").read_text().splitlines() if item.startswith("SigCgt")
    )
    caught = int(line.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1
    return "pause_at_signal" if caught else ""
