"""The canary campaign: its scanner finds what is planted, in each encoding and sink; its short form (I4)."""

import gzip
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from campaign.canary import campaign, figures
from campaign.canary_forms import ENCODINGS, Canary, Needles
from campaign.canary_sinks import Scan, children_of, open_to_its_user, plainly
from campaign.canary_world import Secrets, services
from signer_process import SCRIPT

KEY = Canary("key", bytes(range(0x61, 0x81)))
WORDS = Canary("mnemonic", b"test walk nut penalty hip pave soap entry language right filter choice")
TOKEN = Canary("token", b"WeqhFWCEPyYngFb51yBMWXaSCrUZ")
NOISE = os.urandom(3_000)


@pytest.fixture
def scan() -> Scan:
    return Scan(needles=Needles((KEY, WORDS, TOKEN)))


@pytest.mark.parametrize("one", [KEY, WORDS, TOKEN], ids=lambda one: one.name)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_encoding_is_found(scan, encoding, one):
    for form in ENCODINGS[encoding](one):
        scan.hits.clear()
        scan.look("a sink", NOISE + form + NOISE)
        assert {hit.canary for hit in scan.hits} == {one.name}, form
    assert len(ENCODINGS) == 12


def test_nothing_is_found_where_nothing_is(scan):
    scan.look("a sink", NOISE * 10)
    scan.look("its own", TOKEN.secret, own=("token",))
    assert scan.hits == []
    scan.look("another's", TOKEN.secret, own=("key",))
    assert len(scan.hits) == 1


def in_a_text(folder: Path) -> None:
    (folder / "alvh.log.1").write_text(f"failed: {TOKEN.text}\n")


def in_a_packed_file(folder: Path) -> None:
    (folder / "export.gz").write_bytes(gzip.compress(KEY.secret.hex().encode()))


def in_a_table(folder: Path) -> None:
    pd.DataFrame({"because": ["calm", WORDS.text]}).to_parquet(folder / "steps.parquet")


def in_a_database(folder: Path) -> None:
    """Over the edge of a page too."""
    with sqlite3.connect(folder / "journal.sqlite") as file:
        file.execute("CREATE TABLE t (x TEXT)")
        file.execute("INSERT INTO t VALUES (?)", ("-" * 4_050 + TOKEN.text + "-" * 4_000,))
    file.close()


def in_a_write_ahead_log(folder: Path) -> None:
    """Of a process that was killed, so that nobody took it over into the file."""
    code = (
        "import sqlite3,sys,os;f=sqlite3.connect(sys.argv[1]);f.execute('PRAGMA journal_mode=WAL');"
        "f.execute('CREATE TABLE t (x)');f.execute('INSERT INTO t VALUES (?)',(sys.argv[2],));"
        "f.commit();os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "j.sqlite"), TOKEN.text], check=True, timeout=60)
    assert TOKEN.secret in (folder / "j.sqlite-wal").read_bytes()


@pytest.mark.parametrize(
    "plant",
    [in_a_text, in_a_packed_file, in_a_table, in_a_database, in_a_write_ahead_log],
    ids=lambda f: f.__name__,
)
def test_a_leak_in_a_file_is_found(scan, tmp_path, plant):
    (tmp_path / "below").mkdir()
    plant(tmp_path / "below")
    scan.folder("file", tmp_path)
    assert scan.hits


@pytest.fixture
def child():
    """A process whose memory, arguments and environment hold a canary each."""
    code = "import sys;held=bytes(range(0x61,0x81))*2;print(flush=True);sys.stdin.read()"
    process = subprocess.Popen(
        plainly(sys.executable, "-c", code, TOKEN.text),
        env={**os.environ, "ALVH_X": WORDS.text}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.communicate()


def test_a_leak_in_a_process_is_found(scan, child):
    scan.process("bot", child.pid)
    assert {(hit.sink, hit.canary) for hit in scan.hits} == {
        ("bot: cmdline", "token"),
        ("bot: environ", "mnemonic"),
    }
    scan.memory("bot", child.pid, Needles((KEY,)))
    assert ("bot: memory", "key") in {(hit.sink, hit.canary) for hit in scan.hits}
    assert child.pid in children_of(os.getpid())
    assert {"mem", "environ", "maps"} <= set(open_to_its_user(child.pid))


def test_what_a_service_takes_is_kept_whole():
    with services("http://127.0.0.1:9") as served:
        request = urllib.request.Request(
            f"http://127.0.0.1:{served.port}/webhook/x?a=1", data=b"body", headers={"X-A": "b"}
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        (found,) = served.received
    assert (found.service, found.body) == ("webhook", b"body")
    assert b"/webhook/x?a=1" in found.head
    assert b"b" in found.head


def test_a_signer_is_closed_to_its_user(tmp_path):
    """REL-Y5: no memory, no environment, no core, also for another process of the same user."""
    limited = (
        "bash",
        "-c",
        'ulimit -c unlimited; exec "$@"',
        "bash",
        sys.executable,
        str(SCRIPT),
        str(tmp_path),
    )
    with subprocess.Popen(
        plainly(*limited), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert open_to_its_user(process.pid) == []
        os.kill(process.pid, signal.SIGABRT)
    assert not [item for item in tmp_path.iterdir() if item.name.startswith("core")]


def test_secrets_of_a_run_are_all_different_and_come_from_its_seed():
    one, again, other = (Secrets.made(Random(seed)) for seed in (1, 1, 2))
    assert one == again
    assert not {item.secret for item in one.canaries} & {item.secret for item in other.canaries}
    assert len({item.secret for item in one.canaries}) == len(one.canaries)


@pytest.mark.devnet
@pytest.mark.xdist_group("cli")
def test_no_canary_comes_out_of_a_live_run_whose_providers_fail(devnet, tmp_path):
    """REL-I4, Y1, Y3, Y5: the short form; scripts/campaign runs the whole."""
    one = campaign(devnet, tmp_path, seed=3, short=True, say=lambda _: None)
    found = figures(one)
    assert found["canary_where"] == []
    assert found["canary_runs"] == 3
    for sink in (
        "live: stderr",
        "bot: memory",
        "signer: environ",
        "HTTP /metrics",
        "rpc-1: body",
    ):
        assert one.scan.sinks[sink] > 0, sink
    names = " ".join(one.scan.sinks)
    for part in (
        "journal-live.sqlite-wal",
        "alvh.log",
        "tail.jsonl",
        "signer-0x",
        "webhook: body",
        "export-csv",
    ):
        assert part in names, part
    assert not list(tmp_path.rglob("core*"))
