"""The bot's end of the signer's socket. It holds no key, and checks every signature that it is given."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.chain.safe import SafeTx, safe_tx_hash, signed_by
from bot.chain.signer import Signed, Unsigned
from bot.chain.signer_wire import (
    HEADER,
    MOST_BYTES,
    answer,
    frame,
    parsed,
    peer,
    safe_fields,
    socket_address,
    unsigned_fields,
)
from bot.chain.transaction_bytes import assembled, preimage, signer_of
from bot.errors import ConfigError, InvariantError, OutcomeUnknown, TransientError

_NOW_S = 5.0


class SignerClient:
    """Implements ``Signer`` over the socket of a signer process; its one leader while it is connected.

    A link that breaks is made anew at the next request, as the same leader: where another process has led
    meanwhile, this one is refused for ever.
    """

    def __init__(
        self,
        path: Path,
        *,
        address: str,
        who: str,
        policy_hash: str = "",
        timeout_s: float = _NOW_S,
        user_id: int | None = None,
    ) -> None:
        """``who`` is what the signer calls this process when it refuses another.

        ``user_id``: whose signer alone is believed; that of this process's own user without it.
        """
        self.address = address
        self._path, self._who, self._policy_hash = path, who, policy_hash
        self._timeout_s = timeout_s
        self._user_id = os.getuid() if user_id is None else user_id
        self._epoch = 0
        self._stale = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._one = asyncio.Lock()

    async def connect(self, *, take_over: bool = False) -> None:
        """Become the leader. Raises ConfigError when that is refused, TransientError when nobody answers."""
        async with self._one:
            await self._connect(take_over=take_over)

    async def close(self) -> None:
        """Stop leading; the signer goes on."""
        async with self._one:
            self._drop()

    async def sign(self, unsigned: Unsigned, *, now_s: float) -> Signed:
        """See ``Signer``. Only the signature comes over the socket; the transaction is put together here."""
        what = f"nonce {unsigned.nonce} on chain {unsigned.chain_id}"
        found = await self._ask(what, kind="sign", transaction=unsigned_fields(unsigned), now_s=now_s)
        signature = _signature(found, what)
        maker = signer_of(preimage(unsigned), signature)
        if maker != self.address.lower():
            raise InvariantError(
                f"the signer's answer for {what} is {f'signed by {maker}' if maker else 'no signature'}, "
                f"the account is {self.address}; nothing was sent"
            )
        return assembled(unsigned, signature)

    async def sign_safe(
        self, tx: SafeTx, *, chain_id: int, safe: str, valid_until_s: float, now_s: float
    ) -> bytes:
        """See ``Signer``."""
        if not tx.reverts_whole:
            raise InvariantError(
                "a Safe transaction must refund nobody and revert whole: gas fields must be 0"
            )
        what = f"Safe nonce {tx.nonce} of {safe}"
        found = await self._ask(
            what,
            kind="sign_safe",
            transaction=safe_fields(tx),
            chain_id=chain_id,
            safe=safe,
            valid_until_s=valid_until_s,
            now_s=now_s,
        )
        signature = _signature(found, what)
        maker = signed_by(safe_tx_hash(tx, chain_id=chain_id, safe=safe), signature)
        if maker.lower() != self.address.lower():
            raise InvariantError(f"the signer's answer for {what} is no signature of {self.address}")
        return signature

    async def has_signed(self, chain_id: int, nonce: int) -> bool:
        """See ``Signer``."""
        try:
            found = await self._ask("a question", kind="has_signed", chain_id=chain_id, nonce=nonce)
        except OutcomeUnknown as error:  # a question changes nothing
            raise TransientError(f"the signer does not say what it signed: {error.what}") from None
        return found.get("signed") is not False

    async def ask(self, kind: str, request: Mapping[str, Any], *, now_s: float) -> dict[str, Any]:
        """Make a request of another kind (see ``SignerServer``). Raises as ``sign``."""
        return await self._ask(kind, kind=kind, request=request, now_s=now_s)

    async def _ask(self, what: str, **request: Any) -> dict[str, Any]:
        """Return the answer to one request. Raises TransientError while nothing of it has left."""
        async with self._one:
            if self._stale:
                raise InvariantError(self._stale)
            if self._streams is None or self._streams[0].at_eof():
                await self._connect(take_over=False)
            reply = await self._exchanged(what, {**request, "epoch": self._epoch})
        return answer(reply, what)

    async def _exchanged(self, what: str, request: Mapping[str, Any]) -> dict[str, Any]:
        message = frame(request)
        if self._streams is None:
            raise TransientError("the signer is not connected")
        reader, writer = self._streams
        try:
            async with asyncio.timeout(self._timeout_s):
                writer.write(message)
                (size,) = HEADER.unpack(await reader.readexactly(HEADER.size))
                if size > MOST_BYTES:
                    raise InvariantError(f"an answer of {size} bytes is over {MOST_BYTES}")
                return parsed(await reader.readexactly(size))
        except (TimeoutError, OSError, EOFError, InvariantError) as error:
            self._drop()
            raise OutcomeUnknown(
                f"{what}: no answer of the signer at {self._path} ({type(error).__name__})", what
            ) from None
        except asyncio.CancelledError:
            self._drop()  # its answer would be taken for that of the next request
            raise

    async def _connect(self, *, take_over: bool) -> None:
        self._drop()
        try:
            async with asyncio.timeout(self._timeout_s):
                with socket_address(self._path) as address:
                    self._streams = await asyncio.open_unix_connection(address)
        except (TimeoutError, OSError) as error:
            raise TransientError(
                f"the signer does not answer at {self._path} ({type(error).__name__}); "
                "start one with: alvh signer"
            ) from None
        try:
            await self._hello(take_over)
        except BaseException:
            self._drop()
            raise

    async def _hello(self, take_over: bool) -> None:
        self._check_peer()
        request = {
            "kind": "hello",
            "who": self._who,
            "policy_hash": self._policy_hash,
            "resume": 0 if take_over else self._epoch,
            "take_over": take_over,
        }
        try:
            found = answer(await self._exchanged("hello", request), "hello")
        except OutcomeUnknown as error:  # nothing was asked for yet
            raise TransientError(error.what) from None
        except InvariantError as error:
            self._stale = str(error)
            raise
        epoch, its = found.get("epoch"), str(found.get("address"))
        if its.lower() != self.address.lower() or type(epoch) is not int:
            raise ConfigError(f"the signer at {self._path} signs for {its:.42}, configured is {self.address}")
        self._epoch = epoch

    def _check_peer(self) -> None:
        link = self._streams[1].get_extra_info("socket") if self._streams else None
        _, user = peer(link) if link is not None else (0, -1)
        if user not in (self._user_id, 0):
            raise ConfigError(f"the socket {self._path} belongs to a process of another user, {user}")

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def _signature(found: Mapping[str, Any], what: str) -> bytes:
    try:
        return bytes.fromhex(str(found.get("signature")))
    except ValueError:
        raise InvariantError(f"the signer's answer for {what} is no signature") from None
