"""Every file that the program makes is its user's alone, and none can be written by others (REL-Y4).

A live run, a pause, a recording, a log, an export, a report and ``alvh init``, under a umask that hides
nothing and under one that hides all. What a person asked to have written to show it
keeps what the umask leaves for reading; all else is for its user alone.
"""

import stat
from fnmatch import fnmatch
from pathlib import Path

import pytest
from commands import Home

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("cli")]

# Code hashes are no secret; a recording lies in a folder of mode 0700.
SHOWN = ("export*", "report*", "pins-*.json", "recording/*/*")
PRIVATE = (
    "journal-live.sqlite", "journal-live.sqlite.lock", "history-31337.sqlite", "signer-0x*.log",
    "signer-0x*.log.lock", "alvh.log", "own.toml", ".env", "paused",
)  # fmt: skip
RUNS = (
    ("run", "--live", "--once", "--record", "recording", "--log-file", "alvh.log"),
    ("export", "--mode", "live", "--output", "export"),
    ("report", "--mode", "live", "--report", "report"),
    ("pause", "--why", "a test"),
    ("init", "--like", "alvh.toml", "--position", "v3:4", "--output", "own.toml", "--env-file", ".env",
     "--yes", "--alert-url", "json://127.0.0.1:9/token-of-a-hook"),
)  # fmt: skip


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=["umask 000", "umask 077"])
def test_no_file_can_be_written_by_others_and_private_ones_not_read(home: Home, umask: int) -> None:
    there = {path for path in home.folder.rglob("*") if path.is_file()}
    for path in there:
        path.chmod(0o600)
    for arguments in RUNS:
        ended = home.alvh(*arguments, umask=umask)
        assert ended.code == 0, (arguments, ended)
    made = {path: stat.S_IMODE(path.stat().st_mode) for path in home.folder.rglob("*") if path not in there}
    names = {str(path.relative_to(home.folder)): mode for path, mode in made.items()}
    assert {name: oct(mode) for name, mode in names.items() if mode & 0o022} == {}
    private = {name: mode for name, mode in names.items() if not _shown(name)}
    files = {name: mode for name, mode in private.items() if (home.folder / name).is_file()}
    assert {name: oct(mode) for name, mode in files.items() if mode & 0o077} == {}
    assert names["recording"] == 0o700
    for pattern in PRIVATE:
        assert any(fnmatch(name, pattern) for name in files), pattern


def _shown(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in SHOWN)


def test_a_folder_of_state_is_its_users_alone(home: Home) -> None:
    home.change(r"state_dir = [^\n]*", f'state_dir = "{home.folder}/state"')
    assert home.alvh("run", "--once", umask=0).code == 0
    assert stat.S_IMODE(Path(f"{home.folder}/state").stat().st_mode) == 0o700
