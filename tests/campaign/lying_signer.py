"""A signer that lies: before the real one on its socket, by the documented wire, it changes answers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.chain.signer_wire import HEADER, frame, parsed, unsigned_of
from bot.chain.signing.keys import LocalKey
from bot.chain.transaction_bytes import preimage

_OTHER = LocalKey(bytes.fromhex("61" * 32))

Lie = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]  # (request, the true answer) -> what is said


def _other_account(request: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    message = preimage(unsigned_of(request["transaction"]))
    return {"ok": {"signature": _OTHER.signature(message).hex()}}


def _flipped(_: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    signature = bytearray.fromhex(answer["ok"]["signature"])
    signature[10] ^= 1
    return {"ok": {"signature": signature.hex()}}


LIES: Mapping[str, Lie] = {
    "another account's signature": _other_account,
    "a bit of the signature is wrong": _flipped,
    "a short signature": lambda _, answer: {"ok": {"signature": answer["ok"]["signature"][:-2]}},
    "no signature": lambda _request, _answer: {"ok": {"signature": "00" * 65}},
    "no hex": lambda _request, _answer: {"ok": {"signature": "signed, believe me"}},
    "another shape": lambda _request, _answer: {"ok": []},
}


@dataclass
class LyingSigner:
    """``lie`` is what is said in place of the next signatures; none: the truth."""

    lie: Lie | None = None
    told: int = 0  # lies
    _links: set[asyncio.StreamWriter] = field(default_factory=set)

    async def _follow(self, real: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        its_reader, its_writer = await asyncio.open_unix_connection(str(real))
        with suppress(EOFError, OSError):
            while True:
                request = await _message(reader)
                its_writer.write(frame(request))
                answer = await _message(its_reader)
                if self.lie is not None and request.get("kind") == "sign" and "ok" in answer:
                    answer = self.lie(request, answer)
                    self.told += 1
                writer.write(frame(answer))
        its_writer.close()
        writer.close()
        self._links.discard(writer)


async def _message(reader: asyncio.StreamReader) -> dict[str, Any]:
    (size,) = HEADER.unpack(await reader.readexactly(HEADER.size))
    return parsed(await reader.readexactly(size))


@asynccontextmanager
async def lying_signer(path: Path) -> AsyncIterator[LyingSigner]:
    """Stand before the signer that listens at a path until the block ends."""
    real = path.with_name("real.sock")
    path.rename(real)  # noqa: ASYNC240 - a name
    found = LyingSigner()
    server = await asyncio.start_unix_server(lambda r, w: found._follow(real, r, w), str(path))
    try:
        yield found
    finally:
        server.close()
        for writer in tuple(found._links):
            writer.close()
