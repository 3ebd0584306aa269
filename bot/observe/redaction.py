"""Takes secrets out of what is written to a log (REL-Y3): known ones by name, keys by their shape.

A key is 32 bytes, whichever way it is written: hex, with 0x, in capitals, with spaces or colons between, as
base64, as a decimal number, as the repr of bytes; or a row of words. Hashes have the same shape, so only a
field that is named as one (``PUBLISHED``) keeps it. What is no secret and looks like one is lost: a log is
for finding out what happened, the journal has the figures.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from bot.chain.node_url import redact_url, secrets_of
from bot.model.refused import HIDDEN, URL

PUBLISHED = frozenset({"tx_hash", "block_hash", "policy_hash", "frame_hash"})
_SECRET_FIELD = re.compile(
    r"pass(word|phrase)?$|secret|token$|mnemonic|seed|private|api_?key|authorization", re.IGNORECASE
)
_WEB = ("http", "https", "ws", "wss", "postgresql")  # of others, apprise's, the host is the token
_LONGEST = 8_000  # characters of one value
_LONGEST_SCHEME = 20  # characters; more are a word that a URL was glued to
_LEAST = 6  # characters of a known secret; a shorter one would be found in every word

_PAIRS = re.compile(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2}[\s:,.-]{1,2}){31,63}[0-9a-fA-F]{2}(?![0-9a-fA-F])")
_HEX = re.compile(r"(?<![0-9a-zA-Z])(?:0[xX])?[0-9a-fA-F]{64,}(?![0-9a-zA-Z])")
_DECIMAL = re.compile(r"(?<!\d)\d{70,}(?!\d)")
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?=[A-Za-z0-9+/_-]{0,42}[0-9A-Z])[A-Za-z0-9+/_-]{43}(?:=|(?![A-Za-z0-9+/_=-]))"
)
_BYTES = re.compile(r"\bb(?:'(?:[^'\\\n]|\\.){12,}'|\"(?:[^\"\\\n]|\\.){12,}\")")
_LIST = re.compile(r"(?<!\d)(?:\d{1,3},\s?){31}\d{1,3}(?!\d)")
_BOT_TOKEN = re.compile(r"\b\d{8,10}:[A-Za-z0-9_-]{30,}")
_ASSIGNED = re.compile(r"(?i)\b(password|passphrase|secret|token|mnemonic|api_?key)(\s*[=:]\s*)(\S+)")
_WORD = re.compile(r"[a-z]{3,8}")
_ROW = re.compile(r"[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,}")
# Words of English that no list of seed words has: a sentence has one of them among twelve.
_SPOKEN = re.compile(
    r"(\b(?:the|and|for|not|are|was|with|from|its|but|has|were|been|than|them|which|because|his|her)\b)"
)
_SHAPES = (_PAIRS, _HEX, _BASE64, _DECIMAL, _BYTES, _LIST, _BOT_TOKEN)


class Redactor:
    """Takes secrets out of texts. ``secrets`` are known: passwords, tokens, addresses with keys in them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        found = {form for secret in secrets for form in forms_of(secret)}
        known = sorted((item for item in found if len(item) >= _LEAST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = URL.sub(lambda match: _shown_url(match[0]), text)
        for shape in _SHAPES:
            text = shape.sub(HIDDEN, text)
        text = _ASSIGNED.sub(rf"\1\2{HIDDEN}", text)
        return _ROW.sub(lambda match: _row(match[0]), text)

    def value(self, name: str, value: Any) -> Any:
        """Return a value of a log line without secrets; ``name`` is its field."""
        if _SECRET_FIELD.search(name):
            return HIDDEN
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return self.text(repr(value)) if _is_bytes(value) else [self.value(name, item) for item in value]
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if abs(value) < 10**69 else HIDDEN
        text = value if isinstance(value, str) else repr(value)
        return text if name in PUBLISHED and _is_hash(text) else _cut(self.text(text))


def forms_of(secret: str) -> Iterable[str]:
    """Yield the ways in which a known secret may be written."""
    if "://" in secret:
        yield from secrets_of(secret)
    else:
        data = secret.encode()
        encoded = base64.b64encode(data).decode()
        yield from (secret, quote(secret, safe=""), repr(secret)[1:-1], data.hex(), data.hex().upper())
        yield from (encoded, encoded.rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("="))


def _shown_url(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    if scheme.partition("+")[0] in _WEB:
        return redact_url(url)
    return f"{scheme if len(scheme) <= _LONGEST_SCHEME else HIDDEN}://{HIDDEN}"


def _row(text: str) -> str:
    """Return a row of words; of twelve or more that no sentence would have in a row nothing stays."""
    parts = _SPOKEN.split(text)  # every other one is what was spoken
    kept = (HIDDEN if len(_WORD.findall(part)) >= 12 else part for part in parts[::2])
    spoken = [*parts[1::2], ""]
    return "".join(part + word for part, word in zip(kept, spoken, strict=True))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"(0x)?[0-9a-f]{64}", text) is not None


def _is_bytes(values: list[Any] | tuple[Any, ...]) -> bool:
    return len(values) >= 16 and all(isinstance(item, int) and 0 <= item < 256 for item in values)
