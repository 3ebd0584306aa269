"""What makes signatures: a key in this process, or a signing service that holds it."""

import http.client
import json
from typing import Any, NoReturn, Protocol
from urllib.parse import SplitResult, urlsplit

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from bot.chain.node_url import checked_url
from bot.chain.transaction_bytes import address_of, signer_of
from bot.errors import ConfigError, InvariantError, OutcomeUnknown
from bot.model.parsing import json_of

_MOST_REPLY_BYTES = 1_000_000


class Key(Protocol):
    """Signs for one address. Deterministic: the same message gives the same bytes (RFC 6979)."""

    @property
    def address(self) -> str:
        """Checksummed."""
        ...

    def signature(self, message: bytes) -> bytes:
        """Return 65 bytes over Keccak-256 of ``message``: r, s (its low half), v of 27 or 28.

        Raises OutcomeUnknown when it cannot be known whether the message was signed.
        """
        ...


class LocalKey:
    """A private key in this process. It is in no text of this object, which cannot be copied."""

    __slots__ = ("_secret", "address")

    def __init__(self, secret: bytes) -> None:
        self._secret = PrivateKey(bytes(secret))
        public = self._secret.public_key.format(compressed=False)[1:]
        self.address = str(to_checksum_address(address_of(public)))

    def __repr__(self) -> str:
        return f"LocalKey({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never copied or pickled")

    def signature(self, message: bytes) -> bytes:
        found = self._secret.sign_recoverable(keccak(message), hasher=None)
        return bytes(found[:64]) + bytes([27 + found[64]])


class RemoteKey:
    """A key that a Web3Signer holds: its eth1 REST API signs Keccak-256 of the data it is given.

    Interface: Web3Signer's OpenAPI, "ETH1": GET /api/v1/eth1/publicKeys, POST /api/v1/eth1/sign/{identifier}
    with {"data": "0x..."} and a signature as plain text. The service is not believed: the signature must be
    over our message and by the configured address.
    """

    def __init__(self, url: str, *, address: str, timeout_s: float = 5.0) -> None:
        """Ask the service for the key of ``address``. Raises ConfigError when it has none."""
        self._at = _split(url)
        self._timeout_s = timeout_s
        self.address = str(to_checksum_address(address))
        self._identifier = self._find()

    def __repr__(self) -> str:
        return f"RemoteKey({self.address} at {self._at.hostname})"

    def signature(self, message: bytes) -> bytes:
        path = f"/api/v1/eth1/sign/{self._identifier}"
        try:
            text = self._ask("POST", path, {"data": "0x" + message.hex()})
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OutcomeUnknown(
                f"a signature by {self._at.hostname} ({type(error).__name__}: {error!s:.80})", self.address
            ) from None
        return self._checked(text, message)

    def _checked(self, text: str, message: bytes) -> bytes:
        try:
            found = bytes.fromhex(text.strip().strip('"').removeprefix("0x"))
        except ValueError:
            found = b""
        maker = signer_of(message, found)
        if maker != self.address.lower():
            given = f"a signature of {maker}" if maker else "no signature"
            raise InvariantError(
                f"the signing service at {self._at.hostname} gave {given} over what it was asked to sign, "
                f"the account is {self.address}"
            )
        return found[:64] + bytes([27 + found[64] % 27])

    def _find(self) -> str:
        try:
            listed: Any = json_of(self._ask("GET", "/api/v1/eth1/publicKeys", None))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ConfigError(
                f"the signing service at {self._at.hostname} does not list its keys: {error!s:.120}"
            ) from None
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, str) and _address_of_hex(item) == self.address.lower():
                return item
        raise ConfigError(
            f"the signing service at {self._at.hostname} holds no key of {self.address}; "
            f"it lists {len(listed) if isinstance(listed, list) else 'no'} keys"
        )

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> str:
        """Make one request, without redirects or a second try. Raises OSError, HTTPException, ValueError."""
        kind = http.client.HTTPSConnection if self._at.scheme == "https" else http.client.HTTPConnection
        link = kind(self._at.hostname or "", self._at.port, timeout=self._timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            link.request(method, self._at.path.rstrip("/") + path, data, {"Content-Type": "application/json"})
            reply = link.getresponse()
            text = reply.read(_MOST_REPLY_BYTES).decode("utf-8")
            if reply.status != http.client.OK:
                raise http.client.HTTPException(f"status {reply.status}")
            return text
        finally:
            link.close()


def _split(url: str) -> SplitResult:
    checked_url(url, schemes=("http", "https"), allow_plain=False, what="signer.url")
    found = urlsplit(url)
    if found.username or found.password or found.query:
        raise ConfigError("signer.url must be scheme, host, port and path only")
    return found


def _address_of_hex(text: str) -> str:
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return ""
    return address_of(key[-64:]) if len(key) in (64, 65) else ""
