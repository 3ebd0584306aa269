"""The signer as a process: its socket, its leader, its deaths, what a client believes (REL-K16, P8, Y1)."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import signer_process as process_of_tests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from send_builders import ADDRESS, CHAIN_ID, COUNTER, FAR_S, KEY, SELECTOR
from signer_process import Running, occurs, signer_process, stand_still

from bot.chain.fees import GWEI, Fees
from bot.chain.pause import Pause, end_pause, pause_path, read_pause, read_released, write_pause
from bot.chain.raw_transaction import decode_raw
from bot.chain.safe import SafeTx
from bot.chain.signer import Unsigned
from bot.chain.signer_client import SignerClient
from bot.chain.signer_wire import HEADER, MOST_BYTES, frame
from bot.chain.signing.memory import SignerMemory
from bot.errors import ConfigError, InvariantError, OutcomeUnknown, TransientError, VenueRejected

NOW_S = 1_000.0
TESTS = Path(__file__).parents[1]


def unsigned(number: int = 1, *, nonce: int = 0, fee_gwei: int = 20) -> Unsigned:
    return Unsigned(
        chain_id=CHAIN_ID,
        nonce=nonce,
        to=COUNTER,
        data=SELECTOR + number.to_bytes(32, "big"),
        value_wei=0,
        gas=100_000,
        fees=Fees(max_fee_wei=fee_gwei * GWEI, tip_wei=GWEI),
        valid_until_s=FAR_S,
    )


def client(running: Running, *, who: str = "a test", policy_hash: str = "") -> SignerClient:
    made = SignerClient(running.path, address=ADDRESS, who=who, policy_hash=policy_hash)
    _made.append(made)
    return made


_made: list[SignerClient] = []


@pytest.fixture(autouse=True)
async def close_clients():
    """Close what a test that failed left open, or it would fail another one."""
    yield
    while _made:
        await _made.pop().close()


@pytest.fixture
def running(tmp_path):
    with signer_process(tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One signer for many tests that sign the same first transaction again and again."""
    with signer_process(tmp_path_factory.mktemp("signer")) as started:
        yield started


# requests and refusals


async def test_a_signature_over_the_socket_is_that_of_the_key(running):
    one = client(running)
    await one.connect()
    signed = await one.sign(unsigned(), now_s=NOW_S)
    found = decode_raw(signed.raw)
    assert (found.sender, found.tx_hash, found.nonce) == (ADDRESS.lower(), signed.tx_hash, 0)
    assert (found.to, found.data) == (COUNTER, unsigned().data)
    assert await one.has_signed(CHAIN_ID, 0)
    assert not await one.has_signed(CHAIN_ID, 1)
    await one.close()


async def test_refusals_keep_their_class(running):
    one = client(running)
    await one.connect()
    with pytest.raises(InvariantError, match="signer: call 0x00000000 of"):
        await one.sign(Unsigned(**{**fields(unsigned()), "data": bytes(4)}), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="signer: valid until"):
        await one.sign(Unsigned(**{**fields(unsigned()), "valid_until_s": 0.0}), now_s=NOW_S)
    tx = SafeTx(to=ADDRESS, data=b"", nonce=0)
    with pytest.raises(InvariantError, match="signs for, none"):
        await one.sign_safe(tx, chain_id=CHAIN_ID, safe=ADDRESS, valid_until_s=FAR_S, now_s=NOW_S)
    with pytest.raises(InvariantError, match="knows no request 'mystery'"):
        await one.ask("mystery", {}, now_s=NOW_S)
    assert (await one.sign(unsigned(), now_s=NOW_S)).raw  # a refusal took no nonce
    await one.close()


def fields(value) -> dict:
    return {name: getattr(value, name) for name in type(value).__slots__}


def test_nobody_else_can_reach_the_socket(running):
    assert stat.S_IMODE(running.path.stat().st_mode) == 0o600
    assert stat.S_IMODE((running.folder / process_of_tests.MEMORY).stat().st_mode) == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user here")
def test_a_process_of_another_user_gets_no_answer(running):
    """The kernel says who is at the other end, whatever the mode of the file is."""
    running.path.chmod(0o666)
    for folder in (running.folder, *running.folder.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    code = (
        "import os,socket,sys; os.setuid(65534); s=socket.socket(socket.AF_UNIX); "
        "s.settimeout(5); s.connect(sys.argv[1]); print(s.recv(4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(running.path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "b''\n"


# bad input never ends the signer

GARBAGE = {
    "nothing": b"",
    "a byte": b"\0",
    "an empty frame": HEADER.pack(0),
    "no JSON": HEADER.pack(3) + b"abc",
    "a list": HEADER.pack(2) + b"[]",
    "a cut frame": HEADER.pack(100) + b"{}",
    "a frame of 4 GB": HEADER.pack(2**32 - 1) + b"{}",
    "a frame over the limit": HEADER.pack(MOST_BYTES + 1) + b"{}",
    "deep JSON": HEADER.pack(100_000) + b"[" * 100_000,
    "a number of a hundred thousand digits": HEADER.pack(100_000) + b"9" * 100_000,
    "not UTF-8": HEADER.pack(4) + b"\xff\xfe\xfd\xfc",
    "an HTTP request": b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a signature without a hello": frame({"kind": "sign", "epoch": 1}),
    "an epoch that is made up": frame({"kind": "has_signed", "epoch": 99, "chain_id": 1, "nonce": 1}),
    "a hello without fields": frame({"kind": "hello"}),
    "a kind that is a list": frame({"kind": ["sign"], "epoch": 1}),
}


@pytest.mark.parametrize("case", GARBAGE, ids=str)
async def test_garbage_is_answered_by_a_refusal_or_a_closed_link(shared, case):
    running = shared
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(8.0)
        link.connect(str(running.path))
        with contextlib.suppress(ConnectionError):  # closed before all of it was read
            link.sendall(GARBAGE[case])
            link.shutdown(socket.SHUT_WR)
            reply = b"".join(iter(lambda: link.recv(65_536), b""))
            assert reply == b"" or "refused" in json.loads(reply[HEADER.size :])
    await asyncio.sleep(0.05)
    assert running.process.poll() is None
    one = client(running)
    await one.connect()
    assert (await one.sign(unsigned(), now_s=NOW_S)).raw
    await one.close()


FIELDS = (
    "chain_id",
    "nonce",
    "to",
    "data",
    "value_wei",
    "gas",
    "max_fee_wei",
    "tip_wei",
    "valid_until_s",
    "more",
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**300), 2**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=44)
    | st.lists(st.integers(), max_size=3)
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changed=st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3))
def test_any_value_in_any_field_is_answered(shared, changed):
    """REL-E16 at the socket: what is signed is a transaction of the rules, all else is refused in words."""
    transaction = {
        "chain_id": CHAIN_ID, "nonce": 0, "to": COUNTER, "data": unsigned().data.hex(), "value_wei": 0,
        "gas": 100_000, "max_fee_wei": 1, "tip_wei": 0, "valid_until_s": FAR_S,
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(8.0)
        link.connect(str(shared.path))
        hello = asked(
            link, {"kind": "hello", "who": "fuzz", "policy_hash": "", "resume": 0, "take_over": True}
        )
        request = {
            "kind": "sign",
            "epoch": hello["ok"]["epoch"],
            "now_s": NOW_S,
            "transaction": transaction | changed,
        }
        reply = asked(link, request)
    assert ("ok" in reply) != (reply.get("refused") in ("InvariantError", "VenueRejected"))
    if "ok" in reply:
        found = {**transaction, **changed}
        assert found.keys() == transaction.keys()
        assert (found["chain_id"], found["to"].lower(), found["value_wei"]) == (CHAIN_ID, COUNTER, 0)
        assert bytes.fromhex(found["data"])[:4] == SELECTOR
        assert found["gas"] <= 1_000_000


def asked(link: socket.socket, request: dict) -> dict:
    link.sendall(frame(request))
    (size,) = struct.unpack(">I", link.recv(4, socket.MSG_WAITALL))
    return json.loads(link.recv(size, socket.MSG_WAITALL))


async def test_many_idle_links_do_not_keep_the_leader_out(shared):
    links = []
    for _ in range(8):
        link = socket.socket(socket.AF_UNIX)
        link.connect(str(shared.path))
        links.append(link)
    one = client(shared)
    await one.connect()
    assert (await one.sign(unsigned(), now_s=NOW_S)).raw
    await one.close()
    for link in links:
        link.close()


# one leader


async def test_a_second_process_with_the_key_is_refused_by_name(running):
    """REL-P8."""
    first, second = client(running, who="alvh live"), client(running, who="alvh demo")
    await first.connect()
    with pytest.raises(
        ConfigError, match=f"serves alvh live, process {os.getpid()}: two processes with one key"
    ):
        await second.connect()
    assert (await first.sign(unsigned(), now_s=NOW_S)).raw
    await first.close()
    await asyncio.sleep(0.05)
    await second.connect()
    assert (await second.sign(unsigned(2, nonce=1), now_s=NOW_S)).raw
    await second.close()


async def test_who_was_overtaken_never_signs_again(running):
    """REL-P8: a leader that was stopped for minutes wakes up behind another, also after that one has gone."""
    old, new = client(running, who="old"), client(running, who="new")
    await old.connect()
    await new.connect(take_over=True)
    with pytest.raises((OutcomeUnknown, InvariantError)):
        await old.sign(unsigned(), now_s=NOW_S)
    await new.sign(unsigned(2), now_s=NOW_S)
    await new.close()
    await asyncio.sleep(0.05)
    for _ in range(2):
        with pytest.raises(InvariantError, match="another process has taken over the key"):
            await old.sign(unsigned(3, nonce=1), now_s=NOW_S)
    assert not await asyncio.to_thread(_in_memory, running, 1)


def _in_memory(running: Running, nonce: int) -> bool:
    running.kill()
    memory = SignerMemory(running.folder / process_of_tests.MEMORY)
    try:
        return memory.has_signed(CHAIN_ID, ADDRESS.lower(), nonce)
    finally:
        memory.close()


def test_a_second_signer_over_one_state_is_refused_by_name(running):
    with pytest.raises(ConfigError, match=f"in use by process {running.process.pid}: another signer"):
        SignerMemory(running.folder / process_of_tests.MEMORY)


async def test_a_signer_of_another_policy_or_account_is_refused(tmp_path):
    with signer_process(tmp_path, policy="a" * 64) as running:
        with pytest.raises(
            ConfigError, match="started with policy aaaaaaaaaaaa…, the bot runs bbbbbbbbbbbb…"
        ):
            await client(running, policy_hash="b" * 64).connect()
        other = SignerClient(running.path, address="0x" + "66" * 20, who="a test")
        with pytest.raises(ConfigError, match=f"signs for {ADDRESS}, configured is 0x6666"):
            await other.connect()
        one = client(running, policy_hash="a" * 64)
        await one.connect()
        await one.close()


# deaths


async def test_killed_between_the_disk_and_the_answer(tmp_path):
    """K3, K4: the nonce is known to be taken, and the same payload signs to the same bytes afterwards."""
    with signer_process(tmp_path, die="persist") as running:
        one = client(running)
        await one.connect()
        with pytest.raises(OutcomeUnknown):
            await one.sign(unsigned(), now_s=NOW_S)
        with pytest.raises(TransientError, match="signer"):
            await one.sign(unsigned(), now_s=NOW_S)
    with signer_process(tmp_path) as again:
        two = client(again)
        await two.connect()
        assert await two.has_signed(CHAIN_ID, 0)
        with pytest.raises(InvariantError, match="another payload"):
            await two.sign(unsigned(2), now_s=NOW_S)
        signed = await two.sign(unsigned(), now_s=NOW_S)
        await two.close()
    (tmp_path / "other").mkdir()
    with signer_process(tmp_path / "other") as fresh:
        three = client(fresh)
        await three.connect()
        assert await three.sign(unsigned(), now_s=NOW_S) == signed
        await three.close()


async def test_a_signer_that_comes_back_is_led_on(tmp_path):
    with signer_process(tmp_path) as running:
        one = client(running)
        await one.connect()
        await one.sign(unsigned(), now_s=NOW_S)
        running.kill()
        with pytest.raises((OutcomeUnknown, TransientError)):
            await one.sign(unsigned(2, nonce=1), now_s=NOW_S)
    with signer_process(tmp_path):
        assert (await one.sign(unsigned(2, nonce=1), now_s=NOW_S)).raw
        await one.close()


async def test_a_leader_that_lost_its_link_leads_on_at_once(running):
    """The signer may not have seen the end of the old link yet; nobody else gets in this way."""
    one, other = client(running), client(running)
    await one.connect()
    for nonce in range(20):
        assert (await one.sign(unsigned(nonce, nonce=nonce), now_s=NOW_S)).raw
        one._drop()
    assert not await one.has_signed(CHAIN_ID, 20)
    with pytest.raises(ConfigError, match="two processes with one key"):
        await other.connect()
    await one.close()


async def test_a_leader_that_left_is_followed_at_once(running):
    """The thread of a link that its client closed may see its end after the next client's hello."""
    for _ in range(100):
        one = client(running)
        await one.connect()
        await one.close()


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("other key", "is signed by 0x"),
        ("other message", "is signed by 0x"),
        ("short", "is no signature"),
        ("zeros", "is no signature"),
    ],
)
async def test_a_signature_that_is_not_ours_is_never_used(tmp_path, lie, words):
    """REL-K16."""
    with signer_process(tmp_path, lie=lie) as running:
        one = client(running)
        await one.connect()
        with pytest.raises(InvariantError, match=words):
            await one.sign(unsigned(), now_s=NOW_S)
        await one.close()


async def test_a_signer_that_hangs_is_waited_for_no_longer_than_its_time(tmp_path):
    """REL-K16: its answer, should it come, is not taken for that of the next request."""
    with signer_process(tmp_path, lie="hang") as running:
        one = client(running)
        await one.connect()
        one._timeout_s = 0.3
        with pytest.raises(OutcomeUnknown, match=r"nonce 0 on chain 31337: no answer .*TimeoutError"):
            await one.sign(unsigned(), now_s=NOW_S)
        with pytest.raises((TransientError, OutcomeUnknown)):
            await one.has_signed(CHAIN_ID, 0)
        await one.close()


async def test_a_signer_that_stood_still_is_led_on_by_the_one_that_waited(running):
    """REL-K16: hellos that were given up meanwhile take no epoch, or the next would seem to be overtaken."""
    one = client(running)
    await one.connect()
    one._timeout_s = 0.3
    stand_still(running.process.pid)
    try:
        for _ in range(3):
            with pytest.raises((TransientError, OutcomeUnknown)):
                await one.has_signed(CHAIN_ID, 0)
    finally:
        os.kill(running.process.pid, signal.SIGCONT)
    one._timeout_s = 5.0
    await asyncio.sleep(0.2)  # it works off what lies at its socket
    assert not await one.has_signed(CHAIN_ID, 0)
    assert (await one.sign(unsigned(), now_s=NOW_S)).raw
    await one.close()


async def test_nobody_at_the_socket(tmp_path):
    absent = SignerClient(tmp_path / "signer.sock", address=ADDRESS, who="a test")
    with pytest.raises(TransientError, match="start one with: alvh signer"):
        await absent.connect()


async def test_a_folder_with_a_long_name(tmp_path):
    """A Unix socket's address has 108 bytes; the way around it leads by the folder."""
    folder = tmp_path / ("long-" * 20) / ("name-" * 20)
    folder.mkdir(parents=True)
    with signer_process(folder) as running:
        one = client(running)
        await one.connect()
        assert (await one.sign(unsigned(), now_s=NOW_S)).raw
        await one.close()


# the pause


async def test_a_pause_holds_from_the_next_request_on_and_over_restarts(tmp_path):
    """REL-L2."""
    with signer_process(tmp_path) as running:
        one = client(running)
        await one.connect()
        await one.sign(unsigned(), now_s=NOW_S)
        write_pause(tmp_path, Pause(who="a person", at_s=0.0, why="a test"))
        with pytest.raises(VenueRejected, match="paused by a person at 1970-01-01T00:00:00Z: a test"):
            await one.sign(unsigned(2, nonce=1), now_s=NOW_S)
        await one.close()
    with signer_process(tmp_path) as again:
        two = client(again)
        await two.connect()
        with pytest.raises(VenueRejected, match="paused"):
            await two.sign(unsigned(2, nonce=1), now_s=NOW_S)
        end_pause(tmp_path)
        assert (await two.sign(unsigned(2, nonce=1), now_s=NOW_S)).raw
        await two.close()


def test_a_pause_is_a_private_file_that_the_first_to_pause_wrote(tmp_path):
    first = Pause(who="a", at_s=1.0, why="x")
    assert read_pause(tmp_path) is None
    assert write_pause(tmp_path / "new", first) == first
    assert write_pause(tmp_path / "new", Pause(who="b", at_s=2.0, why="y")) == first
    assert stat.S_IMODE(pause_path(tmp_path / "new").stat().st_mode) == 0o600
    assert end_pause(tmp_path / "new") == first
    assert end_pause(tmp_path / "new") is None
    assert os.listdir(tmp_path / "new") == ["released"]
    assert read_released(tmp_path / "new") == first


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"who": "a"}', b"\xff", b'{"who":1,"at_s":"x","why":2}']
)
def test_a_pause_that_cannot_be_read_is_a_pause(tmp_path, text):
    pause_path(tmp_path).write_bytes(text)
    found = read_pause(tmp_path)
    assert found is not None
    assert "cannot be read" in str(found)


def test_a_pause_that_is_a_folder_is_a_pause(tmp_path):
    pause_path(tmp_path).mkdir()
    assert "cannot be read" in str(read_pause(tmp_path))
    with pytest.raises(ConfigError, match="the pause stays"):
        end_pause(tmp_path)


# the key stays where it is


async def test_the_key_is_in_no_memory_argument_or_environment_of_the_client(tmp_path):
    """REL-Y1, Y5: a process that led a signer is searched byte by byte; the signer itself cannot be."""
    with signer_process(tmp_path) as running:
        code = _CLIENT.format(tests=str(TESTS), path=str(running.path), address=ADDRESS)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), 30.0) == b"signed\n"
        for needle in (KEY, KEY.hex().encode(), KEY.hex().upper().encode()):
            assert not occurs(child.pid, needle)
        assert occurs(child.pid, ADDRESS[2:].lower().encode())  # the search finds what is there
        assert _core_limit(running.process.pid) == "0"
        child.terminate()
        await child.wait()


_CLIENT = """
import asyncio, sys
from pathlib import Path
from bot.chain.fees import Fees
from bot.chain.signer import Unsigned
from bot.chain.signer_client import SignerClient
async def main():
    one = SignerClient(Path({path!r}), address={address!r}, who="canary")
    await one.connect()
    asked = Unsigned(chain_id=31337, nonce=0, to={address!r}, data=b"", value_wei=0, gas=21000,
                     fees=Fees(max_fee_wei=9, tip_wei=1), valid_until_s=0.0)
    await one.sign(asked, now_s=1.0)
    print("signed", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def _core_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4] for line in limits if "core file" in line)


# a signer under a user of its own


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes of other users")
def test_a_signer_of_another_user_lets_in_its_group_and_the_bot_believes_only_that_user():
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders let no other user in
        folder = Path(name)
        folder.chmod(0o755)
        ended = subprocess.run(
            [sys.executable, TESTS / "signer_user_child.py", folder],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS / "chain")])},
        )
    found = json.loads(ended.stdout)
    assert found["mode"] == "660"
    assert found["the bot"] == f"signed by {ADDRESS.lower()}"
    assert found["a stranger"].startswith("TransientError: the signer does not answer")
    assert found["a bot that believes another"].startswith("ConfigError: the socket")
    assert found["paused"].startswith("paused by nobody known")  # a private file of the bot's user
    assert found["memory"].startswith("PermissionError")
