"""The signer as ``alvh`` runs it: of its own, or started by the bot; what it is asked and what it refuses."""

import asyncio
import contextlib
import grp
import json
import os
import pty
import pwd
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chain_facts import facts
from commands import ALVH, Home
from eth_account import Account
from signer_process import occurs, stand_still

from bot.app.policy_signing import key_signature, signatures_path, with_signature
from bot.app.signer import signing_rules
from bot.app.signer_link import open_signer
from bot.app.signer_place import signer_place
from bot.chain.pause import Pause, end_pause, write_pause
from bot.chain.policy_signature import Grant
from bot.chain.rpc import Rpc
from bot.chain.signer_wire import peer
from bot.chain.signing.rules import COIN, Cap
from bot.devnet.config import PASSWORD
from bot.devnet.node import Devnet
from bot.errors import ConfigError
from bot.model.signing import ApprovalRule, CallRule
from bot.settings import load_policy, load_settings, read_source

pytestmark = pytest.mark.devnet

STEP = ("run", "--live", "--once", "--json")
FAR_S = 4_102_444_800  # 2100
USDC_CAP = """
[[signer.caps]]
token = "{token}"
decimals = {decimals}
per_transaction = {most}
per_day = {most}
"""


@contextlib.contextmanager
def served(home: Home, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``alvh signer`` while it is open."""
    command = [str(ALVH), "signer", "--config", str(home.config), *options]
    process = subprocess.Popen(
        command, cwd=home.folder, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    try:
        assert "signing for 0x" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


async def sent(home: Home, rpc: Rpc, devnet: Devnet) -> int:
    return (await facts(rpc, devnet.deployment)).nonce


def test_rules_come_from_the_configuration(home: Home):
    home.config.write_text(
        home.config.read_text() + USDC_CAP.format(token="0x" + "70" * 20, decimals=6, most="1500.25")
    )
    settings = load_settings(home.config)
    (chain,) = signing_rules(settings, load_policy(settings.policy), expires_s=5.0).chains
    assert chain.caps == {"0x" + "70" * 20: Cap(transaction_raw=1_500_250_000, day_raw=1_500_250_000)}
    functions = {rule.name for rule in chain.permissions if isinstance(rule, CallRule)}
    assert {"openPosition", "closePosition", "settleOptions", "exactInputSingle"} <= functions
    spends = [rule for rule in chain.permissions if isinstance(rule, ApprovalRule) and rule.opens]
    assert len(spends) == 2  # the stable for the swap, the settlement token for the market
    assert settings.lyra is not None
    assert chain.gas_ceiling == settings.execution.gas_ceiling


def test_the_coins_cap_and_the_nonces_that_a_person_knows_come_from_the_configuration(home: Home):
    home.config.write_text(
        home.config.read_text()
        + USDC_CAP.format(token=COIN, decimals=18, most="0.05")
        + "\n[execution]\naccept_nonce = 7\n"
    )
    settings = load_settings(home.config)
    (chain,) = signing_rules(settings, load_policy(settings.policy), expires_s=5.0).chains
    assert chain.caps == {COIN: Cap(transaction_raw=5 * 10**16, day_raw=5 * 10**16)}
    assert chain.accept_nonce == 7


async def test_a_signer_of_its_own_serves_one_run_after_another(home: Home, rpc: Rpc, devnet: Devnet):
    with served(home) as process:
        first = home.alvh(*STEP)
        assert first.code == 0, first
        assert [item["status"] for item in first.document["orders"]] == ["filled"]
        await rpc.request("evm_mine")
        assert home.alvh(*STEP).code == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not signer_place(load_settings(home.config)).socket.exists()


async def test_two_bots_with_one_key_are_refused_by_name(home: Home, rpc: Rpc, devnet: Devnet):
    """REL-P8: the second sends nothing."""
    settings, before = load_settings(home.config), await sent(home, rpc, devnet)
    policy_hash = load_policy(settings.policy).hash
    async with open_signer(settings, policy_hash=policy_hash, who="alvh live"):
        home.alvh(*STEP).refused(4, f"serves alvh live, process {os.getpid()}", "two processes with one key")
    assert await sent(home, rpc, devnet) == before


def test_two_signers_with_one_keystore_are_refused_by_name(home: Home, tmp_path: Path):
    """REL-P8: also when the second keeps its state elsewhere."""
    other = home.copy(tmp_path / "elsewhere")
    keystore = home.folder / "keystore.json"
    other.change(r"\nkeystore = [^\n]*", f'\nkeystore = "{keystore}"')
    with served(home):
        ended = subprocess.run(
            [str(ALVH), "signer", "--config", str(other.config)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == 4
    assert f"keystore {keystore} is in use" in ended.stderr
    assert "another signer runs with this key" in ended.stderr


async def test_a_signer_with_another_policy_is_refused(home: Home, rpc: Rpc, devnet: Devnet):
    before = await sent(home, rpc, devnet)
    with served(home):
        home.change('preset = "classic"', 'preset = "fortress"')
        home.alvh(*STEP).refused(4, "it was started with policy", "start the signer again")
    assert await sent(home, rpc, devnet) == before


@pytest.mark.usefixtures("signer")
async def test_a_pause_lets_nothing_open(home: Home, rpc: Rpc, devnet: Devnet):
    """REL-L2: the reason stands in the step; the next step after the pause buys."""
    before = await sent(home, rpc, devnet)
    write_pause(home.folder, Pause(who="a person", at_s=time.time(), why="looks odd"))
    ended = home.alvh(*STEP)
    assert ended.code == 0, ended
    assert all(order["status"] == "rejected" for order in ended.document["orders"])
    assert "paused by a person" in ended.out
    assert await sent(home, rpc, devnet) == before
    end_pause(home.folder)
    await rpc.request("evm_mine")
    assert [item["status"] for item in home.alvh(*STEP).document["orders"]] == ["filled"]


async def test_a_purchase_over_the_cap_is_refused(
    home: Home, rpc: Rpc, devnet: Devnet, start_signer: Callable[[], None]
):
    """REL-L1."""
    caps = "".join(
        USDC_CAP.format(token=token, decimals=decimals, most="0.01")
        for token, decimals in ((devnet.deployment.usdc, 6), (devnet.deployment.susd, 18))
    )
    home.config.write_text(home.config.read_text() + caps)
    start_signer()
    before = await sent(home, rpc, devnet)
    (order,) = home.alvh(*STEP).document["orders"]
    assert order["status"] == "rejected"
    assert "cap per transaction, 10000" in order["because"]
    assert await sent(home, rpc, devnet) == before


@pytest.mark.parametrize(
    ("coin", "status"), [("0.0000000001", "rejected"), ("0.000001", "rejected"), ("1", "filled")]
)
async def test_the_coins_cap_counts_the_gas_of_an_order(
    home: Home, rpc: Rpc, devnet: Devnet, coin: str, status: str
):
    """REL-I3."""
    caps = "".join(
        USDC_CAP.format(token=token, decimals=decimals, most=most)
        for token, decimals, most in (
            (devnet.deployment.usdc, 6, "100000"), (devnet.deployment.susd, 18, "100000"), (COIN, 18, coin),
        )
    )  # fmt: skip
    home.config.write_text(home.config.read_text() + caps)
    (order,) = home.alvh(*STEP).document["orders"]
    assert order["status"] == status, order["because"]
    assert ("over the signer's cap" in order["because"]) is (status == "rejected")


async def test_a_policy_without_its_owners_signatures_signs_nothing(home: Home, rpc: Rpc, devnet: Devnet):
    """R22: unsigned, then changed after it was signed, then signed."""
    settings = load_settings(home.config)
    assert settings.account is not None
    owner, before = settings.account.address, await sent(home, rpc, devnet)
    home.change(r'preset = "classic"', f'preset = "classic"\nowners = ["{owner}"]')
    home.alvh(*STEP).refused(4, "needs its owners' signatures")
    source = read_source("classic")
    where = home.folder / signatures_path(source)

    def sign(policy_hash: str, sequence: int) -> None:
        grant = Grant(
            policy_hash=policy_hash,
            chain_ids=(settings.chain.id,),
            account=owner,
            sequence=sequence,
            valid_until_s=FAR_S,
        )
        made = key_signature(grant, owner=owner, keystore=home.folder / "keystore.json", password=PASSWORD)
        with_signature(where, source.name, grant, owner, made)

    sign("ab" * 32, 1)
    home.alvh(*STEP).refused(4, "is not in force", "changed after it was signed")
    assert await sent(home, rpc, devnet) == before
    sign(load_policy(settings.policy).hash, 2)
    assert [item["status"] for item in home.alvh(*STEP).document["orders"]] == ["filled"]


async def test_the_signer_ends_with_the_bot_that_started_it(home: Home):
    """However the bot ends: here by SIGKILL. Its memory never held the key (REL-Y1)."""
    bot = home.start("run", "--live", "--json")
    path = signer_place(load_settings(home.config)).socket
    bot.until(lambda: path.exists() and bot.out)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        process, _ = peer(link)
    assert process != bot.pid
    assert "--lifeline" in _command_of(process)
    assert PASSWORD not in _command_of(process)
    assert not occurs(bot.pid, _key_of(home))
    assert not occurs(bot.pid, _key_of(home).hex().encode())
    os.kill(bot.pid, signal.SIGKILL)
    bot.wait()
    await _gone(process)


async def test_the_signer_outlives_the_signal_that_stops_the_bot(home: Home):
    """Ctrl-C reaches both; the step under way may still need signatures."""
    bot = home.start("run", "--live", "--json")
    path = signer_place(load_settings(home.config)).socket
    bot.until(lambda: path.exists() and bot.out)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        process, _ = peer(link)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process, number)
    await asyncio.sleep(0.3)
    os.kill(process, 0)
    os.kill(bot.pid, signal.SIGTERM)
    assert bot.wait().code == 0
    await _gone(process)


def _key_of(home: Home) -> bytes:
    return bytes(Account.decrypt(json.loads((home.folder / "keystore.json").read_text()), PASSWORD))


def _command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


async def _gone(process: int, *, within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while _runs(process):
        assert time.monotonic() < end_s, f"process {process} is still there"
        await asyncio.sleep(0.02)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_password_is_asked_for_by_the_signer_at_the_terminal(home: Home):
    home.change(r"\npassword_file = [^\n]*", "")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home.folder)
        os.execv(sys.executable, [sys.executable, str(ALVH), "run", "--live", "--once"])  # noqa: S606 - no shell
    shown = _until(terminal, b"Keystore password: ")
    os.write(terminal, PASSWORD.encode() + b"\n")
    shown += _until(terminal, b"stopped; everything decided so far")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert PASSWORD.encode() not in shown


def _until(terminal: int, words: bytes, *, within_s: float = 60.0) -> bytes:
    shown, end_s = b"", time.monotonic() + within_s
    while words not in shown:
        assert time.monotonic() < end_s, shown
        try:
            part = os.read(terminal, 4_096)
        except OSError:  # the other end is closed
            part = b""
        assert part, shown
        shown += part
    return shown


def test_a_password_file_on_the_command_line(home: Home):
    home.change(r"\npassword_file = [^\n]*", "")
    given = home.folder / "password.txt"
    with served(home, "--password-file", str(given)):
        pass
    given.chmod(0o640)
    ended = home.alvh("signer", "--password-file", str(given))
    ended.refused(4, "password file", "0640", "chmod 600")


async def test_a_bot_whose_signer_cannot_start_says_why(home: Home):
    (home.folder / "keystore.json").unlink()
    settings = load_settings(home.config)
    with pytest.raises(ConfigError, match=r"keystore .*keystore\.json cannot be opened: No such file"):
        async with open_signer(settings, policy_hash="", who="a test"):
            pass


async def test_a_signer_that_stands_still_lets_nothing_be_sent(home: Home, rpc: Rpc, devnet: Devnet):
    """REL-K16: no answer to the hello; another signer cannot take its place."""
    before = await sent(home, rpc, devnet)
    home.config.write_text(home.config.read_text() + "\n[signer]\ntimeout_s = 0.2\n")
    with served(home) as process:
        stand_still(process.pid)
        home.alvh(*STEP).refused(4, "in use by process", "another signer runs with this key")
        process.send_signal(signal.SIGCONT)
    assert await sent(home, rpc, devnet) == before


async def test_a_signer_whose_memory_cannot_be_written_ends_for_its_supervisor(home: Home):
    """REL-P3: alive it would refuse for ever, and nobody would start one that can sign again."""
    memory = signer_place(load_settings(home.config)).memory(load_settings(home.config).account.address)
    with served(home) as process:
        most = memory.stat().st_size + 10
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        home.alvh(*STEP).refused(1, "cannot be written", "start the signer again")
        _, said = await asyncio.to_thread(process.communicate, timeout=10)
    assert process.returncode == 1
    assert said.startswith("error: the signer's memory ")
    assert said.count("\n") == 1
    assert home.alvh(*STEP).code == 0


async def test_a_signer_that_went_away_is_a_hold_and_not_an_end(home: Home, rpc: Rpc, devnet: Devnet):
    """REL-K16: the bot goes on watching and says what is wrong; nothing is sent until a signer is back."""
    before = await sent(home, rpc, devnet)
    write_pause(home.folder, Pause(who="a test", at_s=0.0, why="so that the first step buys nothing"))
    with served(home):
        bot = home.start("run", "--live", "--json")
        bot.until(lambda: bot.out)
    end_pause(home.folder)
    steps = bot.out.count("\n")
    for _ in range(2):
        await rpc.request("evm_mine")
        bot.until(lambda seen=steps: bot.out.count("\n") > seen)
        steps = bot.out.count("\n")
    assert await sent(home, rpc, devnet) == before
    assert "start one with: alvh signer" in bot.out + bot.err
    with served(home):
        await rpc.request("evm_mine")
        bot.until(lambda: '"filled"' in bot.out)
        os.kill(bot.pid, signal.SIGTERM)
        assert bot.wait().code == 0


def test_a_signer_that_runs_as_another_user_than_configured_is_refused(home: Home):
    user = next(item.pw_name for item in pwd.getpwall() if item.pw_uid not in (os.getuid(), 0))
    group = grp.getgrall()[0].gr_name
    part = f'[signer]\nfolder = "{home.folder}/own"\nuser = "{user}"\ngroup = "{group}"\n'
    home.config.write_text(home.config.read_text() + part)
    home.alvh("signer").refused(4, f"signer.user is '{user}', this process runs as user {os.getuid()}")
    home.alvh(*STEP).refused(1, "the signer does not answer at", "own/signer.sock")
    home.change(f'user = "{user}"', 'user = "nobody-here"')
    home.alvh("signer").refused(4, "signer.user: 'nobody-here' is no user of this machine")
    home.change(r'user = "nobody-here"\ngroup = [^\n]*', f'user = "{user}"\ngroup = "no-such-group"')
    home.alvh("signer").refused(4, "signer.group: 'no-such-group' is no group of this machine")
