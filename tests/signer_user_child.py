"""A signer under one user and clients under others, for a test that runs as root. Run as a script.

``signer_user_child.py FOLDER``: serves as SIGNER with the socket of GROUP, then asks for a signature as each
of CLIENTS. Writes one JSON object: the name of each client -> what came of it; "mode" of the socket; "paused"
as the signer reads it; "memory" as the bot does. Everything is imported before a process gives up root, since
other users may not be let in where the program lies.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from send_builders import ADDRESS, KEY, rules
from test_signer_process import NOW_S, unsigned

from bot.chain.pause import Pause, read_pause, write_pause
from bot.chain.raw_transaction import decode_raw
from bot.chain.signer_client import SignerClient
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.server import SignerServer
from bot.errors import BotError

SIGNER, BOT, STRANGER, GROUP, OTHER_GROUP = 64_001, 64_002, 64_003, 64_010, 64_011
CLIENTS = {  # user, group, whose signer it believes
    "the bot": (BOT, GROUP, SIGNER),
    "a stranger": (STRANGER, OTHER_GROUP, SIGNER),
    "a bot that believes another": (BOT, GROUP, STRANGER),
}


def main(base: Path) -> None:
    folder, state = base / "signer", base / "state"
    for path, user in ((folder, SIGNER), (state, BOT)):
        path.mkdir(mode=0o710)
        os.chown(path, user, GROUP)
    found = {}
    with _as_user(SIGNER, GROUP, lambda: _serve(folder)):
        found["mode"] = f"{(folder / 'signer.sock').stat().st_mode & 0o777:o}"
        for name, (user, group, believed) in CLIENTS.items():
            found[name] = _told(user, group, lambda believed=believed: asyncio.run(_ask(folder, believed)))
        _told(BOT, GROUP, lambda: str(write_pause(state, Pause(who="a person", at_s=0.0, why="a test"))))
        found["paused"] = _told(SIGNER, GROUP, lambda: str(read_pause(state)))
        found["memory"] = _told(BOT, GROUP, lambda: str((folder / "signer.log").read_bytes()))
    sys.stdout.write(json.dumps(found))


def _serve(folder: Path) -> None:
    memory = SignerMemory(folder / "signer.log")
    desk = SigningDesk(LocalKey(KEY), rules(), memory, paused=lambda: "")
    server = SignerServer(desk, memory, folder / "signer.sock", group_id=GROUP)
    Thread(target=server.serve, daemon=True).start()


async def _ask(folder: Path, believed: int) -> str:
    client = SignerClient(folder / "signer.sock", address=ADDRESS, who="a test", user_id=believed)
    await client.connect()
    signed = await client.sign(unsigned(), now_s=NOW_S)
    await client.close()
    return f"signed by {decode_raw(signed.raw).sender}"


@contextmanager
def _as_user(user: int, group: int, start: Callable[[], None]) -> Iterator[None]:
    """Run ``start`` in a child of that user, which lives until this ends."""
    ready, told = os.pipe()
    until, life = os.pipe()
    if not (pid := os.fork()):
        os.close(life)
        _become(user, group)
        start()
        os.write(told, b"1")
        os.read(until, 1)
        os._exit(0)
    os.read(ready, 1)
    try:
        yield
    finally:
        os.close(life)
        os.waitpid(pid, 0)


def _told(user: int, group: int, do: Callable[[], str]) -> str:
    """Return what a child of that user makes of it, or its error."""
    source, target = os.pipe()
    if not (pid := os.fork()):
        _become(user, group)
        try:
            text = do()
        except (BotError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
        os.write(target, text.encode()[:4_000])
        os._exit(0)
    os.close(target)
    with os.fdopen(source) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def _become(user: int, group: int) -> None:
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
