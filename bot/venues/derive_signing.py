"""What is sent to Derive with a signature: nonces that never repeat, payloads that say what was signed.

The key is in the signer process. Here an action is built, the signature that comes back is checked against
our own digest, and the numbers of the payload are written from the integers that were signed, so that the
exchange rebuilds the same bytes.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from bot.chain.derive_actions import E18, NANO, DeriveAction, DeriveDomain, QuoteData, SignedAction, digest_of
from bot.errors import ConfigError, InvariantError, StaleDataError

MOST_AHEAD_S = 200.0  # the exchange takes nonces within 300 s of its clock
_DIGITS = 20


class DeriveSigner(Protocol):
    """What the signer process offers for Derive; see bot.chain.derive_actions for what it refuses."""

    @property
    def address(self) -> str:
        """The session key's address."""
        ...

    async def sign_derive_action(self, action: DeriveAction) -> SignedAction:
        """Sign or refuse. Raises VenueRejected for time and pauses, InvariantError for the rest."""
        ...

    async def sign_derive_login(self, timestamp_ms: int) -> str:
        """Return the EIP-191 signature of the time, 0x hex."""
        ...


class NonceSource:
    """Nonces of one subaccount: nanoseconds of the wall clock, rising for ever, on disk before they are used.

    The file is locked while it is open: two processes with one subaccount cannot both run.
    """

    def __init__(self, path: Path, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"Derive nonce file {path} cannot be opened: {error.strerror}") from None
        try:
            _lock(self._handle, path)
            self._last = _read(self._handle, path)
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> "NonceSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def next(self) -> int:
        """Return a nonce that was never used; it is on disk. Raises StaleDataError after a clock set back."""
        now_ns = self._clock_ns()
        nonce = max(now_ns, self._last + 1)
        ahead_s = (nonce - now_ns) / NANO
        if ahead_s > MOST_AHEAD_S:
            raise StaleDataError(
                f"the next Derive nonce lies {ahead_s:,.0f} s after this machine's clock, at most "
                f"{MOST_AHEAD_S:.0f} is allowed: the clock was set back; correct it"
            )
        os.pwrite(self._handle, f"{nonce:0{_DIGITS}d}\n".encode(), 0)
        os.fsync(self._handle)
        self._last = nonce
        return nonce


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise ConfigError(
            f"another process holds Derive nonce file {path}: one subaccount is traded by one process only"
        ) from None


def _read(handle: int, path: Path) -> int:
    text = os.pread(handle, 64, 0)
    if not text:
        return 0
    if len(text) != _DIGITS + 1 or not text[:-1].isdigit() or text[-1:] != b"\n":
        raise InvariantError(
            f"Derive nonce file {path} is damaged: it must hold {_DIGITS} digits; write the highest nonce of "
            "the journal into it, or wait ten minutes and delete it"
        )
    return int(text)


def checked_signature(signed: SignedAction, action: DeriveAction, domain: DeriveDomain) -> SignedAction:
    """Return what the signer gave when it is our action, signed by the session key. Raises InvariantError."""
    digest = digest_of(action, domain)
    if signed.action != action or signed.digest != "0x" + digest.hex():
        raise InvariantError("the signer signed another Derive action than it was asked for")
    try:
        raw = bytes.fromhex(signed.signature.removeprefix("0x"))
        found = Signature(raw[:64] + bytes([raw[64] - 27])).recover_public_key_from_msg_hash(digest)
    except (ValueError, IndexError, BadSignature, ValidationError):
        raise InvariantError("the signer gave no signature of 65 bytes for a Derive action") from None
    if found.to_checksum_address().lower() != action.signer.lower():
        raise InvariantError(
            f"a Derive action is signed by {found.to_checksum_address()}, not the session key"
        )
    return signed


def signed_fields(signed: SignedAction) -> dict[str, Any]:
    """Return the part of a request that was signed, numbers written from the signed integers."""
    action, data = signed.action, signed.action.data
    fields = {
        "subaccount_id": action.subaccount_id,
        "direction": "buy" if data.is_bid else "sell",
        "max_fee": decimal_e18(data.max_fee_e18),
        "signer": action.signer,
        "signature": signed.signature,
        "signature_expiry_sec": action.expiry_s,
    }
    if isinstance(data, QuoteData):
        return fields | {"nonce": action.nonce}  # an integer here, text in private/order: as documented
    return fields | {
        "nonce": str(action.nonce),
        "limit_price": decimal_e18(data.limit_price_e18),
        "amount": decimal_e18(data.amount_e18),
    }


def decimal_e18(value: int) -> str:
    """Return an integer of 1e-18 as a plain decimal, exactly: no exponent, no trailing zeros."""
    whole, fraction = divmod(abs(value), E18)
    digits = f"{fraction:018d}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' + digits if digits else ''}"
