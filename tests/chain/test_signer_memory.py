"""The signer's memory: on disk first, read back the same, refused when not whole (REL-P2, P3, P6, P8)."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_disk import files_of_at_most

from bot.chain.signing.calls import Approval
from bot.chain.signing.memory import Entry, SignerMemory, lock_file
from bot.errors import ConfigError, InvariantError

ME, SAFE, TOKEN, SPENDER = ("0x" + pair * 20 for pair in ("11", "22", "70", "33"))
DAY_S, HOUR_S = 86_400.0, 3_600.0


def entry(nonce: int = 0, **changes) -> Entry:
    values = {
        "chain_id": 5, "space": ME, "nonce": nonce, "payload": (TOKEN, "ab" * 32, 0), "is_cancel": False,
        "at_s": 100.0, "approvals": (Approval(token=TOKEN, spender=SPENDER, amount_raw=10**30),),
        "spends": ((TOKEN, 10**30),),
    }  # fmt: skip
    return Entry(**{**values, **changes})


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state" / "signer.log"


def written(path: Path, *entries: Entry) -> None:
    memory = SignerMemory(path)
    for item in entries:
        memory.append(item)
    memory.close()


def test_what_was_kept_is_known_after_a_restart(path):
    written(
        path, entry(4), entry(4, is_cancel=True, approvals=(), spends=(), at_s=50.0), entry(2, space=SAFE)
    )
    memory = SignerMemory(path)
    assert (memory.highest(5, ME), memory.highest(5, SAFE), memory.highest(6, ME)) == (4, 2, -1)
    assert memory.payload(5, ME, 4) == (TOKEN, "ab" * 32, 0)
    assert (memory.has_signed(5, ME, 4), memory.has_signed(5, ME, 3)) == (True, False)
    assert memory.allowance(5, ME, SPENDER) == 10**30
    assert memory.latest_s == 100.0
    assert memory.spent(5, TOKEN, now_s=0.0) == 2 * 10**30
    assert memory.spent(6, TOKEN, now_s=0.0) == 0
    memory.close()


def test_a_purchase_is_known_for_ever_to_whose_it_was(path):
    written(path, entry(0, bought=(TOKEN,)), entry(1, at_s=100.0 + 400 * DAY_S))
    memory = SignerMemory(path)
    found = [memory.has_bought(*place, TOKEN) for place in ((5, ME), (5, SAFE), (6, ME))]
    assert (found, memory.has_bought(5, ME, SPENDER)) == ([True, False, False], False)
    memory.close()


def test_a_line_of_before_purchases_were_kept_is_read(path):
    written(path, entry(0))
    document = json.loads(path.read_text().partition(" ")[2])
    del document["bought"]
    text = json.dumps(document, separators=(",", ":"))
    path.write_text(f"{zlib.crc32(text.encode()):08x} {text}\n")
    memory = SignerMemory(path)
    assert (memory.highest(5, ME), memory.has_bought(5, ME, TOKEN)) == (0, False)
    memory.close()


def test_contracts_are_summed_for_ever_for_whose_they_are(path):
    deals = [(("put", 5),), (("put", -2), ("call", 1)), ()]
    written(path, *(entry(nonce, contracts=found) for nonce, found in enumerate(deals)))
    memory = SignerMemory(path)
    found = [memory.contracts(*place, "put") for place in ((5, ME), (5, SAFE), (6, ME))]
    assert (found, memory.contracts(5, ME, "call"), memory.contracts(5, ME, "other")) == ([3, 0, 0], 1, 0)
    memory.close()


def test_a_cancel_takes_its_own_nonce_alone(path):
    written(path, entry(2), entry(9, is_cancel=True))
    memory = SignerMemory(path)
    assert (memory.highest(5, ME), memory.has_signed(5, ME, 9), memory.payload(5, ME, 9)) == (2, True, None)
    memory.close()


def test_the_window_opens_after_a_day_to_the_second(path):
    memory = SignerMemory(path)
    memory.append(entry(0, at_s=1_000.0))
    assert memory.spent(5, TOKEN, now_s=1_000.0 + DAY_S - 1) == 10**30
    assert memory.spent(5, TOKEN, now_s=1_000.0 + DAY_S) == 0
    assert memory.spent(5, TOKEN, now_s=1_000.0) == 10**30  # a question about later forgets nothing
    memory.close()


def test_of_one_safe_nonce_only_the_most_is_counted(path):
    """A proposal that replaces another at the same nonce of the Safe can only come true in its place."""
    memory = SignerMemory(path)
    for raw in (70, 100, 40):
        memory.append(entry(3, space=SAFE, spends=((TOKEN, raw),)))
    assert memory.spent(5, TOKEN, now_s=100.0) == 100
    memory.close()


def test_what_one_nonce_may_spend_is_counted_by_token(path):
    memory = SignerMemory(path)
    assert memory.spent_at(5, ME, 0, TOKEN) == 0
    memory.append(entry(0, spends=((TOKEN, 1),)))
    found = [memory.spent_at(5, ME, *place) for place in ((0, TOKEN), (0, SPENDER), (1, TOKEN))]
    assert found == [1, 0, 0]
    assert (memory.spent_at(5, SAFE, 0, TOKEN), memory.spent_at(6, ME, 0, TOKEN)) == (0, 0)
    assert memory.spent(5, TOKEN, now_s=100.0) == 1
    memory.close()


def test_a_nonce_below_the_highest_lowers_nothing(path):
    memory = SignerMemory(path)
    memory.append(entry(7))
    memory.append(entry(3, is_cancel=True))
    assert memory.highest(5, ME) == 7
    memory.close()


def test_what_no_question_can_ask_for_any_more_is_not_held(path):
    memory = SignerMemory(path)
    memory.append(entry(0, at_s=1_000.0))
    memory.append(entry(0, at_s=1_500.0))  # the same amount again: nothing more is spent
    assert len(memory._spends) == 1
    memory.append(entry(1, at_s=1_000.0 + DAY_S))
    assert len(memory._spends) == 2  # a time may be wrong by an hour
    memory.append(entry(1, at_s=1_000.0 + DAY_S + HOUR_S))
    assert len(memory._spends) == 1
    memory.append(entry(2, at_s=500.0))  # a clock that goes back
    assert (memory.latest_s, len(memory._spends)) == (1_000.0 + DAY_S + HOUR_S, 2)
    assert memory.spent(5, TOKEN, now_s=0.0) == 2 * 10**30
    memory.close()


def test_every_field_of_an_entry_is_read_back(path):
    whole = entry(
        6, payload=(SPENDER, "cd" * 32, 17), at_s=42.5, spends=((TOKEN, 3), (SPENDER, 4)),
        approvals=(Approval(token=TOKEN, spender=SPENDER, amount_raw=8),), bought=(SPENDER,),
    )  # fmt: skip
    written(path, whole, entry(8, is_cancel=True, approvals=(), spends=()))
    memory = SignerMemory(path)
    assert memory.payload(5, ME, 6) == (SPENDER, "cd" * 32, 17)
    assert memory.approvals(5, ME, 6) == whole.approvals
    assert (memory.approvals(5, ME, 8), memory.approvals(5, ME, 9)) == ((), ())
    assert (memory.payload(5, ME, 8), memory.payload(5, ME, 9)) == (None, None)
    assert [memory.spent_at(5, ME, 6, token) for token in (TOKEN, SPENDER)] == [3, 4]
    assert memory.has_bought(5, ME, SPENDER)
    assert memory.allowance(5, ME, TOKEN) == 0
    memory.close()


def test_the_lines_are_those_that_the_manual_names(path):
    memory = SignerMemory(path)
    assert (memory.epoch, memory.next_epoch("the bot"), memory.next_epoch("another")) == (0, 1, 2)
    memory.append(entry(4))
    memory.close()
    lines = path.read_bytes().splitlines()
    found = [json.loads(line[9:]) for line in lines]
    assert found[:2] == [
        {"kind": "epoch", "epoch": 1, "who": "the bot"}, {"kind": "epoch", "epoch": 2, "who": "another"},
    ]  # fmt: skip
    assert found[2] == {
        "kind": "sign", "chain": 5, "space": ME, "nonce": 4, "to": TOKEN, "data": "ab" * 32, "value": 0,
        "at": 100.0, "approvals": [[TOKEN, SPENDER, 10**30]], "spends": [[TOKEN, 10**30]], "bought": [],
        "uptime": None,
    }  # fmt: skip
    assert all(line[:9] == b"%08x " % zlib.crc32(line[9:]) for line in lines)
    again = SignerMemory(path)
    assert (again.epoch, again.next_epoch("it")) == (2, 3)
    again.close()


def test_an_entry_of_a_free_clock_between_others_does_not_stop_the_time_of_caps(path):
    memory = SignerMemory(path)
    assert memory.counted_s(100.0, ("a boot", 10.0)) == 100.0
    memory.append(entry(at_s=100.0))
    assert memory.counted_s(100.0, ("a boot", 17.0)) == 107.0
    assert memory.counted_s(100.0, ("a boot", 9.0)) == 100.0  # it never goes back, nor on by itself
    memory.close()


def test_files_are_its_users_alone_and_let_go_at_the_end(path):
    before = len(os.listdir("/proc/self/fd"))
    memory = SignerMemory(path)
    lock = path.with_name("signer.log.lock")
    assert [file.stat().st_mode & 0o777 for file in (path, lock)] == [0o600, 0o600]
    assert lock.read_text() == f"{os.getpid()}\n"
    memory.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_refusal_lets_go_of_the_lock(path, mode):
    written(path, entry())
    before = len(os.listdir("/proc/self/fd"))
    path.chmod(mode)
    with pytest.raises(ConfigError, match="written by others"):
        SignerMemory(path)
    assert len(os.listdir("/proc/self/fd")) == before
    path.chmod(0o644)  # to be read is no harm
    memory = SignerMemory(path)
    assert memory.highest(5, ME) == 0
    memory.close()


def test_every_line_is_synced_before_it_counts(path, monkeypatch):
    """REL-P2, P3."""
    memory, synced = SignerMemory(path), []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (synced.append(path.stat().st_size), sync(file)))
    memory.append(entry(0))
    assert synced == [path.stat().st_size]

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(InvariantError, match="Input/output error"):
        memory.append(entry(1))
    assert not memory.has_signed(5, ME, 1)
    monkeypatch.setattr(os, "fdatasync", sync)
    with pytest.raises(InvariantError, match="Input/output error"):  # for ever
        memory.next_epoch("it")
    memory.close()


def test_a_last_line_that_was_cut_off_is_gone_from_the_file_too(path):
    written(path, entry(0), entry(1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    memory = SignerMemory(path)
    assert path.read_bytes() == whole[: whole.index(b"\n") + 1]
    memory.close()


def test_a_file_that_has_to_be_there_is_locked_and_let_go(tmp_path):
    place = tmp_path / "keystore"
    with pytest.raises(ConfigError, match="keystore of ours cannot be opened: No such file"):
        lock_file(place, "keystore of ours")
    place.write_text("8 words\n")
    held = lock_file(place, "keystore of ours")
    with pytest.raises(ConfigError, match="keystore of ours is in use: another signer runs"):
        lock_file(place, "keystore of ours")
    assert place.read_text() == "8 words\n"
    os.close(held)
    os.close(lock_file(place, "keystore of ours"))


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 2_000))
def test_a_file_cut_off_anywhere_is_read_up_to_its_last_whole_line(cut):
    """A signature whose line is not whole has never left the process."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "signer.log"
        written(path, *(entry(nonce) for nonce in range(5)))
        whole = path.read_bytes()
        path.write_bytes(whole[: min(cut, len(whole))])
        lines = whole[: min(cut, len(whole))].count(b"\n")
        memory = SignerMemory(path)
        assert memory.highest(5, ME) == lines - 1
        memory.append(entry(9))
        memory.close()
        again = SignerMemory(path)
        assert again.highest(5, ME) == 9
        assert path.read_bytes().count(b"\n") == lines + 1
        again.close()


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 5_000), bit=st.integers(0, 7))
def test_one_bit_that_changed_is_seen(at, bit):
    """REL-P6: it refuses to start, or (in the last line's end) drops a line as one that was cut off."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "signer.log"
        written(path, *(entry(nonce) for nonce in range(3)))
        raw = bytearray(path.read_bytes())
        raw[at % len(raw)] ^= 1 << bit
        path.write_bytes(bytes(raw))
        try:
            memory = SignerMemory(path)
        except ConfigError as error:
            words = str(error)
        else:
            words = "damaged in line"
            assert at % len(raw) == len(raw) - 1
            assert memory.highest(5, ME) == 1
            memory.close()
        assert "damaged in line" in words


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "sign", "chain": 5},
        {"kind": "time", "at": 10**400, "uptime": ["a boot", 1.0]},  # REL-F9: no float is that large
    ],
    ids=["a field is missing", "a time of 400 digits"],
)
def test_a_line_of_another_version_is_refused(path, line):
    import zlib

    path.parent.mkdir()
    text = json.dumps(line)
    path.write_text(f"{zlib.crc32(text.encode()):08x} {text}\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="another version"):
        SignerMemory(path)


def test_a_file_that_others_can_write_is_refused(path):
    written(path, entry())
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="written by others"):
        SignerMemory(path)


def test_a_link_is_not_followed(path, tmp_path):
    path.parent.mkdir()
    (tmp_path / "elsewhere").write_text("")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be opened"):
        SignerMemory(path)


def test_one_process_at_a_time(path):
    """REL-P8."""
    memory = SignerMemory(path)
    code = (
        "import sys; from pathlib import Path; from bot.chain.signing.memory import SignerMemory\n"
        "SignerMemory(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert f"is in use by process {os.getpid()}: another signer runs with this key" in done.stderr
    memory.close()
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False).returncode == 0


def test_after_a_write_that_failed_nothing_is_kept_any_more(path):
    """REL-P3: what is on disk is not known then; only a new start may go on, from what it finds there."""
    memory = SignerMemory(path)
    memory.append(entry(0))
    size = path.stat().st_size + 10
    with pytest.raises(InvariantError, match="nothing is signed any more"), files_of_at_most(size):
        memory.append(entry(1))
    with pytest.raises(InvariantError, match="cannot be written"):
        memory.append(entry(1))
    assert not memory.has_signed(5, ME, 1)
    memory.close()
    again = SignerMemory(path)
    assert again.highest(5, ME) == 0
    again.append(entry(1))
    again.close()


def test_epochs_never_come_twice(path):
    memory = SignerMemory(path)
    assert [memory.next_epoch("a"), memory.next_epoch("b")] == [1, 2]
    memory.close()
    again = SignerMemory(path)
    assert again.next_epoch("c") == 3
    again.close()
