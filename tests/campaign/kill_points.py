"""The twelve points of reliability.md at which an order may die, put around the program from outside.

``arm`` wraps the journal, the signer's client and the connection of this process. The point counts for one
transaction, named by how its purpose begins ("open", "close", "approve-"), or for the leg itself.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine, event

from bot.chain.attempts import Attempts
from bot.chain.send_route import SendRoute
from bot.chain.signer_client import SignerClient
from bot.model.intent import IntentState
from bot.pipeline.journal import SqlJournal

POINTS: Mapping[str, str] = {
    "K1": "after decide",
    "K2": "after reserve budget",
    "K3": "after reserve nonce",
    "K4": "after build",
    "K5": "after sign",
    "K6": "journal written, before fsync",
    "K7": "after fsync",
    "K8": "before send",
    "K9": "after send, before its reply",
    "K10": "after reply, before status row",
    "K11": "after receipt, before the book",
    "K12": "after book, before notify",
}


class Killer:
    """Ends this process with SIGKILL when a point is reached for the wanted purpose."""

    def __init__(self, point: str, purpose: str, *, side: str, rpc_url: str) -> None:
        self._point, self._purpose, self._side = point, purpose, side
        self._rpc_url = rpc_url
        self.now = ""  # purpose of the transaction under way
        self.is_committing = False

    def at(self, point: str, purpose: str | None = None) -> None:
        """Die here, when this is the point and the transaction."""
        if point == self._point and (self.now if purpose is None else purpose).startswith(self._purpose):
            self.die()

    def at_leg(self, point: str, leg: Any) -> None:
        if point == self._point and leg.side.value == self._side:
            self.die()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def give_and_die(self, raw: str) -> None:
        """Put the bytes on the wire and die before anything comes back."""
        address = urlsplit(self._rpc_url)
        body = f'{{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["{raw}"]}}'.encode()
        head = f"POST {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        head += "Content-Type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port or 80)) as link:
            link.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            self.die()


def arm(killer: Killer) -> None:
    """Wrap what an order passes on its way. For the life of this process."""
    _around_legs(killer)
    _around_intents(killer)
    _around_signatures(killer)
    _around_sends(killer)


def _around_legs(killer: Killer) -> None:
    open_leg, close_leg = SqlJournal.open_leg, SqlJournal.close_leg

    def opened(journal: SqlJournal, leg: Any, *, at_s: float) -> None:
        killer.at_leg("K1", leg)
        open_leg(journal, leg, at_s=at_s)
        killer.at_leg("K2", leg)

    def closed(journal: SqlJournal, outcome: Any) -> None:
        close_leg(journal, outcome)
        killer.at_leg("K12", outcome.leg)

    _put(SqlJournal, open_leg=opened, close_leg=closed)


def _around_intents(killer: Killer) -> None:
    append = SqlJournal.append_intent

    def appended(journal: SqlJournal, found: Any) -> None:
        if found.state is IntentState.MINED:
            killer.at("K11", found.purpose)
        killer.is_committing = found.state is IntentState.SIGNED
        append(journal, found)
        killer.is_committing = False
        if found.state is IntentState.RESERVED:
            killer.at("K3", found.purpose)
        if found.state is IntentState.SIGNED:
            killer.at("K7", found.purpose)

    @event.listens_for(Engine, "commit")
    def _(_: Any) -> None:
        if killer.is_committing:
            killer.at("K6")

    _put(SqlJournal, append_intent=appended)


def _around_signatures(killer: Killer) -> None:
    first, sign = Attempts.first, SignerClient.sign

    async def began(attempts: Attempts, ready: Any, *rest: Any) -> Any:
        killer.now = ready.request.purpose
        return await first(attempts, ready, *rest)

    async def signed(client: SignerClient, unsigned: Any, *, now_s: float) -> Any:
        killer.at("K4")
        answer = await sign(client, unsigned, now_s=now_s)
        killer.at("K5")
        return answer

    _put(Attempts, first=began)
    _put(SignerClient, sign=signed)


def _around_sends(killer: Killer) -> None:
    send = SendRoute.send

    async def sent(route: SendRoute, raw: str, tx_hash: str, **options: Any) -> Any:
        killer.at("K8")
        if killer._point == "K9" and killer.now.startswith(killer._purpose):
            killer.give_and_die(raw)
        answer = await send(route, raw, tx_hash, **options)
        killer.at("K10")
        return answer

    _put(SendRoute, send=sent)


def _put(kind: type, **methods: Callable[..., Any]) -> None:
    for name, method in methods.items():
        setattr(kind, name, method)
