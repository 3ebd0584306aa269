"""What passes over the signer's socket: frames of JSON, at most 256 KiB, and the fields of each request.

A frame is four bytes of length, big-endian, and that many bytes of a JSON object. A request has ``kind`` and
``epoch``; an answer has ``ok`` (an object) or ``refused`` (the class of the error) and ``words``. Every field
is checked by name and type: what is not exactly a request is none.
"""

import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bot.chain.fees import Fees
from bot.chain.safe import Operation, SafeTx
from bot.chain.signer import Unsigned
from bot.errors import BotError, ConfigError, InvariantError, OutcomeUnknown, TransientError, VenueRejected

MOST_BYTES: Final = 262_144
HEADER: Final = struct.Struct(">I")
SOCKET_NAME: Final = "signer.sock"
_SHORT: Final = 100  # sockaddr_un has 108 bytes for a path
_UCRED: Final = struct.Struct("3i")
_REFUSALS: Final[Mapping[str, type[BotError]]] = {
    kind.__name__: kind for kind in (ConfigError, InvariantError, TransientError, VenueRejected)
}
_INTEGERS: Final = 2**256
# A library raises the recursion limit so far that deep JSON would overflow the stack and end the process.
_MOST_NESTED: Final = 64
_LATEST_S: Final = 2.0**53


def frame(document: Mapping[str, Any]) -> bytes:
    """Return a message with its length before it. Raises InvariantError when it is too long."""
    body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MOST_BYTES:
        raise InvariantError(f"a message of {len(body)} bytes is over the signer's {MOST_BYTES}")
    return HEADER.pack(len(body)) + body


def parsed(body: bytes) -> dict[str, Any]:
    """Return a message. Raises InvariantError for anything but a JSON object."""
    if body.count(b"{") + body.count(b"[") > _MOST_NESTED:
        raise InvariantError(f"the message holds more than {_MOST_NESTED} objects and lists")
    try:
        found = json.loads(body)
    except ValueError as error:
        raise InvariantError(f"the message is no JSON ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise InvariantError("the message is no JSON object")
    return found


def refusal(error: BotError) -> dict[str, Any]:
    """Return how an error is told to the other side."""
    if isinstance(error, OutcomeUnknown):
        return {"refused": "OutcomeUnknown", "words": error.what}
    kind = next((name for name, item in _REFUSALS.items() if isinstance(error, item)), "InvariantError")
    return {"refused": kind, "words": str(error)}


def answer(document: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return what was answered, or raise what was refused as the signer raised it."""
    if isinstance(found := document.get("ok"), dict):
        return found
    words = f"signer: {str(document.get('words', 'no words'))[:500]}"
    if document.get("refused") == "OutcomeUnknown":
        raise OutcomeUnknown(words, what)
    kind = _REFUSALS.get(str(document.get("refused")))
    if kind is None:
        raise OutcomeUnknown(f"{what}: the signer's answer is none of its protocol", what)
    raise kind(words)


def unsigned_fields(unsigned: Unsigned) -> dict[str, Any]:
    return {
        "chain_id": unsigned.chain_id,
        "nonce": unsigned.nonce,
        "to": unsigned.to,
        "data": unsigned.data.hex(),
        "value_wei": unsigned.value_wei,
        "gas": unsigned.gas,
        "max_fee_wei": unsigned.fees.max_fee_wei,
        "tip_wei": unsigned.fees.tip_wei,
        "valid_until_s": unsigned.valid_until_s,
    }


def unsigned_of(given: Any) -> Unsigned:
    """Read a transaction from a request. Raises InvariantError."""
    fields = Fields(given, "chain_id nonce to data value_wei gas max_fee_wei tip_wei valid_until_s")
    return Unsigned(
        chain_id=fields.integer("chain_id"),
        nonce=fields.integer("nonce"),
        to=fields.address("to"),
        data=fields.data("data"),
        value_wei=fields.integer("value_wei"),
        gas=fields.integer("gas"),
        fees=Fees(max_fee_wei=fields.integer("max_fee_wei"), tip_wei=fields.integer("tip_wei")),
        valid_until_s=fields.seconds("valid_until_s"),
    )


def safe_fields(tx: SafeTx) -> dict[str, Any]:
    """Return a Safe transaction that refunds nobody; its gas fields are not sent, for they are nothing."""
    return {
        "to": tx.to,
        "value_wei": tx.value_wei,
        "data": tx.data.hex(),
        "operation": int(tx.operation),
        "nonce": tx.nonce,
    }


def safe_of(given: Any) -> SafeTx:
    """Read a Safe transaction from a request. Raises InvariantError."""
    fields = Fields(given, "to value_wei data operation nonce")
    operation = fields.integer("operation")
    if operation not in (Operation.CALL, Operation.DELEGATE_CALL):
        raise InvariantError(f"operation {operation} of a Safe is unknown")
    return SafeTx(
        to=fields.address("to"),
        value_wei=fields.integer("value_wei"),
        data=fields.data("data"),
        operation=Operation(operation),
        nonce=fields.integer("nonce"),
    )


class Fields:
    """The fields of a request: exactly those named, each of its type."""

    def __init__(self, given: Any, names: str) -> None:
        if not isinstance(given, dict) or given.keys() != set(names.split()):
            raise InvariantError(f"a request must have the fields {names.replace(' ', ', ')}, and no other")
        self._given = given

    def integer(self, name: str) -> int:
        found = self._given[name]
        if type(found) is not int or not 0 <= found < _INTEGERS:
            raise InvariantError(f"{name} of a request must be an integer of 0 to 2**256 - 1")
        return found

    def text(self, name: str, *, most: int = 200) -> str:
        found = self._given[name]
        if not isinstance(found, str) or len(found) > most:
            raise InvariantError(f"{name} of a request must be text of at most {most} characters")
        return found

    def flag(self, name: str) -> bool:
        found = self._given[name]
        if not isinstance(found, bool):
            raise InvariantError(f"{name} of a request must be true or false")
        return found

    def address(self, name: str) -> str:
        found = self.text(name, most=42)
        if len(found) != 42 or not found.startswith("0x") or len(_bytes(found[2:], name)) != 20:
            raise InvariantError(f"{name} of a request must be an address")
        return found.lower()

    def data(self, name: str) -> bytes:
        return _bytes(self.text(name, most=MOST_BYTES), name)

    def seconds(self, name: str) -> float:
        found = self._given[name]
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        if not is_number or not abs(found) < _LATEST_S:  # also refuses NaN
            raise InvariantError(f"{name} of a request must be Unix seconds")
        return float(found)


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Return the address of a socket file, by way of its folder where the path is too long for one."""
    if len(os.fsencode(path)) <= _SHORT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def peer(link: socket.socket) -> tuple[int, int]:
    """Return (process id, user id) of the other end, as the kernel says."""
    raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    process, user, _ = _UCRED.unpack(raw)
    return process, user


def _bytes(text: str, name: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = None
    if found is None or len(found) * 2 != len(text):  # fromhex skips spaces
        raise InvariantError(f"{name} of a request must be hex digits")
    return found
