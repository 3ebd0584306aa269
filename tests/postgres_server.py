"""A PostgreSQL server that tests start for themselves; tests take the fixture ``postgres_url``."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A private cluster on a Unix socket, run by an ordinary user since the server refuses root."""

    folder: Path
    binaries: Path

    @property
    def url(self) -> str:
        return f"postgresql://alvh@/postgres?host={self.folder}"

    def make(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", f"{self.folder}/data", "-A", "trust", "-U", "alvh", "-N")

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c shared_buffers=16MB"
        self._run(
            "pg_ctl", "-D", f"{self.folder}/data", "-o", options, "-l", f"{self.folder}/log", "-w", "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "-w", "stop")

    def _run(self, command: str, *arguments: str) -> None:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        words = [str(self.binaries / command), *arguments]
        subprocess.run(words, check=True, capture_output=True, cwd=self.folder, timeout=60, **user)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Run a server; skips the test where there are no binaries or no driver."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not tested: no server binaries (initdb) on this machine")
    pytest.importorskip("psycopg", reason="PostgreSQL is not tested: the driver psycopg is not installed")
    folder = Path(tempfile.mkdtemp(prefix="alvh-pg-", dir="/tmp"))
    server = PostgresServer(folder=folder, binaries=binaries)
    try:
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def empty_postgres(url: str) -> None:
    """Let a database hold nothing but an empty schema ``public``."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        found = connection.execute(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'alvh%'"))
        for name in [*found.scalars(), "public"]:
            connection.execute(text(f'DROP SCHEMA "{name}" CASCADE'))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)
