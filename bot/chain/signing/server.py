"""The signer's socket: one leader at a time may ask for signatures, and only over a socket of its own user,
or of a group that was named for a bot under another user.

A client says hello and gets an epoch, higher than any before it and on disk. Every request names its epoch;
who was overtaken is refused for ever, also after a stop of minutes (REL-P8). Whatever comes over the socket
is answered or ends that connection; it never ends the signer.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.chain.signer_wire import (
    HEADER,
    MOST_BYTES,
    Fields,
    frame,
    parsed,
    peer,
    refusal,
    safe_of,
    socket_address,
    unsigned_of,
)
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.memory import SignerMemory
from bot.errors import BotError, ConfigError, InvariantError, TransientError

_MOST_LINKS = 16
_BREATH_S = 0.05
_SEND_S = 5.0  # for the rest of a message once its first byte came, and for taking an answer

# A request of another kind: (its fields, why nothing that opens is signed or "") -> what is answered.
Service = Callable[[Any, str], dict[str, Any]]


@dataclass(slots=True, eq=False)
class _Link:
    """One connection. ``epoch`` is 0 until it said hello."""

    socket: socket.socket
    process: int
    epoch: int = 0


class SignerServer:
    """Serves a desk on a Unix socket, a thread for each connection, one request at a time."""

    def __init__(
        self,
        desk: SigningDesk,
        memory: SignerMemory,
        path: Path,
        *,
        policy_hash: str = "",
        services: Mapping[str, Service] | None = None,
        group_id: int | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """``services`` answer further kinds of request, for keys of another sort.

        ``group_id``: whose members may ask; without it only this process's own user. ``on_failure`` hears
        once who asked was told that the memory cannot be written. Raises ConfigError.
        """
        self._desk, self._memory, self._path = desk, memory, path
        self._policy_hash = policy_hash
        self._services = dict(services or {})
        self._on_failure = on_failure
        self._one = threading.Lock()
        self._links: set[_Link] = set()
        self._leader: _Link | None = None
        self._leader_name = ""
        self._closed = False
        self._has_group = group_id is not None  # then the kernel lets in by the socket's mode
        self._listener = _listening(path, group_id)

    def serve(self) -> None:
        """Take connections until ``close``."""
        while True:
            try:
                found, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(_BREATH_S)  # out of descriptors, or the peer went away: neither ends the signer
                continue
            self._take(found)

    def close(self) -> None:
        """End the listening and every connection; ``serve`` returns."""
        self._closed = True
        self._path.unlink(missing_ok=True)
        for item in (self._listener, *(link.socket for link in tuple(self._links))):
            _shut(item)

    def _take(self, found: socket.socket) -> None:
        process, user = peer(found)
        is_known = self._has_group or user in (os.getuid(), 0)
        if not is_known or len(self._links) >= _MOST_LINKS:
            found.close()
            return
        link = _Link(found, process)
        self._links.add(link)
        threading.Thread(target=self._follow, args=(link,), daemon=True).start()

    def _follow(self, link: _Link) -> None:
        """Answer one connection until it ends."""
        try:
            while (body := _received(link.socket)) is not None:
                link.socket.sendall(frame(self._answer(link, body)))
                if self._memory.failure:
                    self._on_failure()
        except OSError:  # it went away, or was too slow
            pass
        finally:
            with self._one:
                self._links.discard(link)
                if self._leader is link:
                    self._leader = None
            link.socket.close()

    def _answer(self, link: _Link, body: bytes) -> dict[str, Any]:
        try:
            request = parsed(body)
            with self._one:
                return {"ok": self._handled(link, request)}
        except BotError as error:
            return refusal(error)

    def _handled(self, link: _Link, request: dict[str, Any]) -> dict[str, Any]:
        kind = request.get("kind")
        if kind == "hello":
            return self._hello(link, request)
        if kind == "status":
            return self._status(request)
        self._require_leader(link, request)
        given = {name: value for name, value in request.items() if name not in ("kind", "epoch")}
        if kind == "sign":
            fields = Fields(given, "transaction now_s")
            made = self._desk.sign(unsigned_of(given["transaction"]), now_s=fields.seconds("now_s"))
            return {"signature": made.hex()}
        if kind == "sign_safe":
            return self._sign_safe(given)
        if kind == "has_signed":
            fields = Fields(given, "chain_id nonce")
            return {"signed": self._desk.has_signed(fields.integer("chain_id"), fields.integer("nonce"))}
        if isinstance(kind, str) and kind in self._services:
            fields = Fields(given, "request now_s")
            return self._services[kind](given["request"], self._desk.closing_only(fields.seconds("now_s")))
        raise InvariantError(f"the signer knows no request {str(kind)[:40]!r}")

    def _sign_safe(self, given: dict[str, Any]) -> dict[str, Any]:
        fields = Fields(given, "transaction chain_id safe valid_until_s now_s")
        made = self._desk.sign_safe(
            safe_of(given["transaction"]),
            chain_id=fields.integer("chain_id"),
            safe=fields.address("safe"),
            valid_until_s=fields.seconds("valid_until_s"),
            now_s=fields.seconds("now_s"),
        )
        return {"signature": made.hex()}

    def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = Fields(request, "kind now_s")
        return {
            "address": self._desk.address,
            "epoch": self._memory.epoch,
            "leader": "" if self._leader is None else f"{self._leader_name}, process {self._leader.process}",
            "policy_hash": self._policy_hash,
            "closing_only": self._desk.closing_only(fields.seconds("now_s")),
        }

    # who may ask

    def _hello(self, link: _Link, request: dict[str, Any]) -> dict[str, Any]:
        """Make a connection the leader. ``resume`` is the epoch that a client had before it lost its link."""
        fields = Fields(request, "kind who policy_hash resume take_over")
        resume, given_hash = fields.integer("resume"), fields.text("policy_hash")
        if self._policy_hash and given_hash and given_hash != self._policy_hash:
            raise ConfigError(
                f"it was started with policy {self._policy_hash[:12]}…, the bot runs {given_hash[:12]}…: "
                "start the signer again, so that it reads the policy that is in force"
            )
        if _has_ended(link.socket):  # it gave up while this process stood still: no epoch, or its next
            raise TransientError("who said hello has gone")  # hello would be taken for one overtaken (K16)
        if resume and resume != self._memory.epoch:
            raise InvariantError(_overtaken(resume, self._memory.epoch))
        if self._leader is not None and self._leader is not link and not _has_ended(self._leader.socket):
            same = (
                resume > 0 and self._leader.process == link.process
            )  # its own old link, not yet seen to end
            if not same and not fields.flag("take_over"):
                raise ConfigError(
                    f"it serves {self._leader_name}, process {self._leader.process}: two processes with one "
                    "key are refused; stop that one first"
                )
            _shut(self._leader.socket)
        self._leader_name = fields.text("who")
        link.epoch = self._memory.next_epoch(f"{self._leader_name} ({link.process})")
        self._leader = link
        return {"address": self._desk.address, "epoch": link.epoch}

    def _require_leader(self, link: _Link, request: dict[str, Any]) -> None:
        epoch = request.get("epoch")
        if self._leader is not link or epoch != self._memory.epoch or epoch != link.epoch:
            raise InvariantError(_overtaken(epoch if isinstance(epoch, int) else 0, self._memory.epoch))


def _overtaken(epoch: int, current: int) -> str:
    return (
        f"epoch {epoch} is not {current}, the one in force: another process has taken over the key, "
        "and this one must stop"
    )


def _listening(path: Path, group_id: int | None) -> socket.socket:
    """Return a listening socket that no user outside the group can connect to. The caller holds the lock."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a signer that was killed
        before = os.umask(0o177)
        try:
            with socket_address(path) as address:
                found.bind(address)
        finally:
            os.umask(before)
        if group_id is not None:
            os.chown(path, -1, group_id)
            path.chmod(0o660)
        found.listen(_MOST_LINKS)
    except OSError as error:
        found.close()
        raise ConfigError(f"the signer's socket {path} cannot be made: {error.strerror or error}") from None
    return found


def _received(link: socket.socket) -> bytes | None:
    """Return the next message, None at the end or for one too long. Raises OSError when it is slow."""
    link.settimeout(None)
    first = link.recv(HEADER.size)
    if not first:
        return None
    link.settimeout(_SEND_S)
    header = first + _exactly(link, HEADER.size - len(first))
    (size,) = HEADER.unpack(header)
    if size > MOST_BYTES:
        link.sendall(frame(refusal(InvariantError(f"a message of {size} bytes is over {MOST_BYTES}"))))
        return None
    return _exactly(link, size)


def _exactly(link: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = link.recv(size)
        if not part:
            raise ConnectionError("cut off")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _has_ended(link: socket.socket) -> bool:
    """Whether the other end has closed it and left nothing to answer; its own thread may not know yet."""
    try:
        readable = select.poll()
        readable.register(link, select.POLLIN)
        return bool(readable.poll(0)) and not link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except (OSError, ValueError):  # closed here already
        return True


def _shut(item: socket.socket) -> None:
    with suppress(OSError):  # it may be gone already
        item.shutdown(socket.SHUT_RDWR)
    item.close()
