"""Only configured endpoints are contacted, and a rogue dependency is noticed (REL-S2, REL-O8)."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from campaign import egress
from campaign.traced import Opened, read_trace

HOME = Path("/home/somebody/bot")
TRACE = (Path(__file__).parent / "campaign" / "example.trace").read_text()


def test_a_trace_is_read_whole():
    trace = read_trace(TRACE)
    foreign = trace.foreign(frozenset({"127.0.0.1:8545"}), folder=HOME)
    assert [one.to for one in foreign] == [
        "[2001:db8::7]:443",
        "198.51.100.9:53",
        "198.51.100.10:54",
        "unix:@hidden",
        "a socket SOCK_RAW",
        "a socket of AF_VSOCK",
    ]
    assert {one.command for one in foreign} == {
        "/opt/alvh/bin/alvh run --live",
        "python -P -c from bot.cli import main; main() signer",
    }
    assert {one.to: one.ended for one in foreign}["198.51.100.9:53"] == "1"
    assert "127.0.0.1:8545" in {one.to for one in trace.contacts}


def test_who_opened_the_keystore_is_told_from_the_signer_by_its_program():
    readers = read_trace(TRACE).readers(HOME / "keystore.json", but=egress.may_read_the_keystore)
    denied = Opened(
        "keystore.json", "/opt/alvh/bin/alvh run --live", "-1 EACCES (Permission denied)"
    )  # by a thread of the bot
    assert readers == (denied,)
    assert not denied.succeeded


@pytest.mark.devnet
@pytest.mark.usefixtures("devnet_process")  # its contracts are built: nothing is downloaded without a network
def test_a_rogue_dependency_is_noticed_and_the_bot_itself_contacts_nothing_foreign(tmp_path: Path):
    """It sends the keystore away when it is imported. All that is foreign in the trace is its own doing."""
    seen = egress.rogue(tmp_path)
    assert seen.codes == {"live": 0}, (tmp_path / "home" / "live.said").read_text()
    assert egress.noticed(seen)
    assert {one.to for one in seen.foreign} == {egress.ELSEWHERE, egress.ELSEWHERE_BY_NAME}
    assert all(one.ended.startswith("-1 ENETUNREACH") for one in seen.foreign), seen.foreign
    assert seen.bytes_out == 0
    assert seen.endpoints["node"] in seen.contacted
    (reader,) = seen.key_readers
    assert "run --live" in reader.command
    said = "\n".join(seen.problems())
    for words in (egress.ELSEWHERE, egress.ELSEWHERE_BY_NAME, "opened the keystore"):
        assert words in said


@pytest.mark.campaign
@pytest.mark.devnet
def test_every_command_contacts_configured_endpoints_and_no_other(tmp_path: Path):
    seen = egress.look(tmp_path)
    assert seen.problems() == []
    assert seen.contacted >= set(seen.endpoints.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become the signer's user and the bot's")
def test_a_rogue_dependency_of_the_bot_cannot_read_the_key_of_a_signer_with_a_user_of_its_own():
    """The bot's user is not the file's: what is stolen is the words that nothing could be read."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders let no other user in
        folder = Path(name)
        folder.chmod(0o755)
        keystore = folder / "keystore.json"
        keystore.write_text("the key")
        keystore.chmod(0o600)
        code = "import os, pathlib, socket, sys; os.chdir(sys.argv[1]); os.setgroups([]); "
        code += "user = int(sys.argv[3]); os.setgid(user); os.setuid(user); exec(sys.argv[2])"
        stealing = egress.ROGUE.replace("return loot\n", "print(loot.decode())\n")
        for user, loot in ((0, "the key"), (64_002, "nothing")):
            ended = subprocess.run(
                ["unshare", "--net", sys.executable, "-c", code, folder, stealing, str(user)],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert ended.stdout == f"{loot}\n"


def test_a_machine_that_cannot_make_a_namespace_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(egress.NotPossibleHere, match="needs strace"):
        egress.look(tmp_path)
    for tool in ("strace", "unshare"):
        (tmp_path / tool).write_text("#!/bin/sh\necho 'Operation not permitted' >&2; exit 1\n")
        (tmp_path / tool).chmod(0o755)
    with pytest.raises(egress.NotPossibleHere, match="Operation not permitted"):
        egress.look(tmp_path)
