"""Where a secret could come out, and how each place is read: files, databases, processes, memory, HTTP.

A ``Scan`` is told of one sink after the other and keeps what it found. What a sink may hold by its purpose,
its own token in its own address, is named by whoever scans it; everything else is a hit.
"""

import gzip
import os
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from campaign.canary_forms import Hit, Needles

_CHUNK = 2**20
_OVERLAP = 4_096  # longer than any form
_SQLITE = b"SQLite format 3\0"


@dataclass(kw_only=True)
class Scan:
    """What was looked at and what was found."""

    needles: Needles
    hits: list[Hit] = field(default_factory=list)
    sinks: dict[str, int] = field(default_factory=dict)  # name -> bytes that were looked at

    def look(self, sink: str, data: bytes, *, own: Iterable[str] = ()) -> None:
        """Look for every canary in one piece of a sink; ``own`` are canaries that belong there."""
        self.sinks[sink] = self.sinks.get(sink, 0) + len(data)
        known = {(hit.sink, hit.canary, hit.encoding) for hit in self.hits}
        for hit in self.needles.found(sink, data):
            if hit.canary not in own and (hit.sink, hit.canary, hit.encoding) not in known:
                self.hits.append(hit)

    def folder(self, kind: str, folder: Path) -> None:
        """Look at every file below a folder, as it is and as its reader sees it."""
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            name = f"{kind}: {path.relative_to(folder)}"
            for data in read_file(path):
                self.look(name, data)

    def process(self, kind: str, pid: int) -> None:
        """Look at the arguments and the environment of a process."""
        for part in ("cmdline", "environ"):
            self.look(f"{kind}: {part}", Path(f"/proc/{pid}/{part}").read_bytes())

    def memory(self, kind: str, pid: int, needles: Needles) -> None:
        """Look at all that a process has written in its memory, for what must not be in it."""
        everything, self.needles = self.needles, needles
        try:
            for data in read_memory(pid):
                self.look(f"{kind}: memory", data)
        finally:
            self.needles = everything


def read_file(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and what a reader makes of it: unpacked, rows of a database, cells of a table."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    if data.startswith(_SQLITE):
        yield _rows_of(path)
    if path.suffix == ".parquet":
        yield pd.read_parquet(path).to_csv(index=False).encode()


def _rows_of(path: Path) -> bytes:
    """Return a database as SQL text: a value may lie in two pages of the file."""
    with (
        suppress(sqlite3.DatabaseError),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file,
    ):
        return "\n".join(file.iterdump()).encode("utf-8", "surrogateescape")
    return b""


def read_memory(pid: int) -> Iterator[bytes]:
    """Yield the writable memory of a process in pieces that overlap, without what it never wrote to.

    Raises OSError where it is closed.
    """
    nothing = bytes(_CHUNK + _OVERLAP)
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode = line.split()[:2]
            if not mode.startswith("rw"):
                continue
            start, end = (int(edge, 16) for edge in place.split("-"))
            for at in range(start, end, _CHUNK):
                try:
                    memory.seek(at)
                    data = memory.read(min(end - at, _CHUNK + _OVERLAP))
                except (OSError, OverflowError, ValueError):  # special pages, and what was just given back
                    continue
                if data != nothing[: len(data)]:
                    yield data


def children_of(pid: int) -> list[int]:
    """Return the processes below one, all generations."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children_of(child)]
    return found


def plainly(*command: str) -> list[str]:
    """Return a command that runs without root's rights beyond those of an owner, as any user's would."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if os.getuid() == 0 else []
    return [*drop, *command]


def open_to_its_user(pid: int) -> list[str]:
    """Return what another process of the same user can get of one that must be closed: nothing (REL-Y5).

    Meant for one that was started ``plainly``: a process with more rights than the asker is closed anyway.
    """
    found = []
    for part in ("mem", "environ", "maps"):
        command = plainly("head", "-c", "1", f"/proc/{pid}/{part}")
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        if b"cannot open" not in done.stderr:  # what cannot be read at address 0 was opened
            found.append(part)
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    core = next(line for line in limits if line.startswith("Max core file size"))
    return found if core.split()[4:6] == ["0", "0"] else [*found, "core"]
