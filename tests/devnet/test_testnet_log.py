"""The state file of a deployment: what is on disk is what was signed, or it is refused (REL-E3, REL-K1)."""

import json
import os

import pytest

from bot.devnet.testnet_log import Begin, DeployLog, Ended, Lost, Signed
from bot.errors import ConfigError, InvariantError

BEGIN = Begin(chain_id=11155111, genesis="0x01", sender="0xA", first_nonce=4, inputs={"price_usd": 2940.0})


def signed(step: str, nonce: int, tx_hash: str = "0xaa") -> Signed:
    return Signed(step=step, what="creation of WETH", nonce=nonce, raw="0x02", tx_hash=tx_hash)


def ended(step: str, *, succeeded: bool = True) -> Ended:
    return Ended(step=step, tx_hash="0xaa", block_number=7, succeeded=succeeded, gas_used=21_000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def write(path, *records):
    with DeployLog.open(path) as log:
        for record in records:
            log.append(record)


def test_what_was_written_is_read_back(path):
    write(path, BEGIN, signed("deploy/0", 4), ended("deploy/0"), signed("deploy/1", 5))
    with DeployLog.open(path) as log:
        assert log.begin == BEGIN
        assert log.steps == ["deploy/0", "deploy/1"]
        assert log.closed("deploy/0") == ended("deploy/0")
        assert log.closed("deploy/1") is None
        assert log.next_nonce == 6
        assert log.gas_used == 21_000
    assert path.stat().st_mode & 0o777 == 0o600


def test_replacements_of_one_nonce_belong_together_and_a_new_nonce_starts_anew(path):
    first, second = signed("deploy/0", 4, "0xaa"), signed("deploy/0", 4, "0xbb")
    later = signed("deploy/0", 5, "0xcc")
    with DeployLog.open(path) as log:
        for record in (BEGIN, first, second):
            log.append(record)
        assert log.attempts("deploy/0") == [first, second]
        log.append(ended("deploy/0", succeeded=False))
        assert log.closed("deploy/0") == ended("deploy/0", succeeded=False)
        log.append(later)
        assert log.attempts("deploy/0") == [later]
        assert log.closed("deploy/0") is None


def test_a_lost_nonce_is_never_given_again(path):
    write(path, BEGIN, signed("deploy/0", 4), Lost(step="deploy/0", nonce=4))
    with DeployLog.open(path) as log:
        assert log.closed("deploy/0") == Lost(step="deploy/0", nonce=4)
        assert log.next_nonce == 5


def test_a_line_that_was_cut_short_is_dropped_and_the_next_one_follows_the_last_whole_one(path):
    write(path, BEGIN, signed("deploy/0", 4))
    whole = path.read_bytes()
    write(path, ended("deploy/0"))
    line = path.read_bytes()[len(whole) :]
    for length in range(len(line)):  # every place where a kill can cut it
        path.write_bytes(whole + line[:length])
        with DeployLog.open(path) as log:
            assert log.closed("deploy/0") is None
            log.append(ended("deploy/0"))
        assert path.read_bytes() == whole + line


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace(b"2940.0", b"1.0"), *lines[1:]],
        lambda lines: [lines[0], lines[1].replace(b'"nonce":4', b'"nonce":5'), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[2], lines[1]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines, b"\x00\xff\n"],
        lambda lines: [*lines, b"{}\n"],
        lambda lines: [json.dumps(json.loads(lines[0])).encode() + b"\n", *lines[1:]],
    ],
    ids=["input", "nonce", "removed", "swapped", "repeated", "binary", "empty", "reformatted"],
)
def test_a_file_that_was_edited_is_refused_by_line(path, change):
    write(path, BEGIN, signed("deploy/0", 4), ended("deploy/0"))
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"line \d of state file .* is not as it was written"):
        DeployLog.open(path)
    assert path.read_bytes() == before


def test_two_processes_never_work_with_one_file(path):
    with DeployLog.open(path), pytest.raises(ConfigError, match="another process works with"):
        DeployLog.open(path)
    DeployLog.open(path).close()


def test_a_deployment_begins_once_and_first(path):
    with DeployLog.open(path) as log:
        with pytest.raises(InvariantError, match="begins once"):
            log.append(signed("deploy/0", 4))
        log.append(BEGIN)
        with pytest.raises(InvariantError, match="begins once"):
            log.append(BEGIN)


def test_a_file_starts_anew_only_when_all_of_it_is_closed(path):
    with DeployLog.open(path) as log:
        log.append(BEGIN)
        log.append(signed("upkeep/0", 4))
        with pytest.raises(InvariantError, match="upkeep/0 is still open"):
            log.restart(BEGIN)
        log.append(ended("upkeep/0"))
        log.restart(BEGIN)
        assert log.steps == []
        log.append(signed("upkeep/0", 4))
    with DeployLog.open(path) as log:
        assert log.steps == ["upkeep/0"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened: No such file"):
        DeployLog.open(tmp_path / "none" / "log.jsonl")


def test_a_full_disk_is_told_before_anything_is_sent(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with DeployLog.open(path) as log:
        log.append(BEGIN)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match=r"No space left on device.*nothing was sent"):
            log.append(signed("deploy/0", 4))
