"""What ``alvh doctor`` says of the place it runs in: who runs it, who reads its files, free ports."""

import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bot.app.checks import Check, failed, ok, skipped, warn


class Listener(NamedTuple):
    """Something of the program that would listen."""

    name: str  # the section that configures it: "dashboard"
    host: str
    port: int
    stops_run: bool  # whether alvh run does not start without it


def check_user() -> Check:
    if os.geteuid() == 0:
        words = "runs as root: a fault in any library could change anything on this machine"
        return warn("user", words, "run it as a user of its own")
    return ok("user", "not root")


def check_file(config: Path, secrets: Sequence[str]) -> Check:
    """Say whether others can read a configuration that holds ``secrets`` as they are."""
    mode = stat.S_IMODE(config.stat().st_mode)
    text = config.read_text("utf-8")
    if mode & 0o077 and any(secret in text for secret in secrets):
        words = f"{config} has mode {mode:04o} and holds a URL that may be a key: others can read it"
        return warn("configuration file", words, f"chmod 600 {config}")
    return ok("configuration file", "no key stands in it for others to read")


def check_ports(listeners: Sequence[Listener], *, is_running: bool) -> tuple[Check, ...]:
    """Say which ports could be listened on. ``is_running``: a bot of this configuration may hold them."""
    if not listeners:
        return (skipped("ports", "nothing of this configuration listens"),)
    return tuple(_port(item, is_running=is_running) for item in listeners)


def _port(item: Listener, *, is_running: bool) -> Check:
    name, where = f"port of {item.name}", f"{item.host}:{item.port}"
    try:
        family = socket.AF_INET6 if ":" in item.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((item.host, item.port))
    except OSError as error:
        words = f"{where} cannot be listened on: {error.strerror}"
        if is_running:
            return ok(name, f"{words}, which a bot of this configuration that runs may be the cause of")
        mend = f"stop what listens there, or name another as {item.name}.port"
        return failed(name, words, mend) if item.stops_run else warn(name, words, mend)
    return ok(name, f"{where} is free")
