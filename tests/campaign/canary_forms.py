"""Canaries: secrets made up for one run, and the twelve ways in which one may come to be written (REL-Y3).

A form is found by its bytes, so a scan needs no parser of what it looks at. Hex is also looked for back to
front, as a little-endian number is written; base64 in all three alignments, as a secret inside a longer text
is encoded; words with whatever stands between them.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

_SHORTEST = 8  # bytes of a form; a shorter one would be found in every file


@dataclass(frozen=True, slots=True)
class Canary:
    """One secret: what it is, and its bytes (a text as UTF-8)."""

    name: str
    secret: bytes

    @property
    def text(self) -> str:
        """The secret as text, "" where it is none."""
        try:
            found = self.secret.decode("ascii")
        except UnicodeDecodeError:
            return ""
        return found if found.isprintable() else ""


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A canary that was found: in which form, in which sink, at which offset."""

    sink: str
    canary: str
    encoding: str
    offset: int

    def __str__(self) -> str:
        return f"{self.canary} as {self.encoding} in {self.sink} at {self.offset}"


def _text(one: Canary) -> Iterator[bytes]:
    yield one.secret
    words = one.text.split(" ")
    if len(words) > 1:
        yield from (mark.join(words).encode() for mark in (",", ", ", "\n", '", "', '","', "', '", "+", "_"))


def _hex(one: Canary) -> Iterator[bytes]:
    yield from (one.secret.hex().encode(), one.secret[::-1].hex().encode())


def _0x_hex(one: Canary) -> Iterator[bytes]:
    yield f"0x{one.secret.hex()}".encode()
    yield f"0x{one.secret.hex().lstrip('0')}".encode()  # as a number is written


def _upper_hex(one: Canary) -> Iterator[bytes]:
    yield from (form.upper() for form in _hex(one))


def _pairs(marks: Iterable[str]) -> Callable[[Canary], Iterator[bytes]]:
    def forms(one: Canary) -> Iterator[bytes]:
        for mark in marks:
            yield one.secret.hex(mark).encode()
            yield one.secret.hex(mark).upper().encode()

    return forms


def _base64(one: Canary) -> Iterator[bytes]:
    """Yield what is the same whatever stands before and after, for each place in a group of three."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            data = b"\0" * before + one.secret
            whole = len(data) // 3 * 4  # what follows would change the last group
            yield encode(data)[: whole or None][0 if before == 0 else 4 :]


def _decimal(one: Canary) -> Iterator[bytes]:
    for order in ("big", "little"):
        yield str(int.from_bytes(one.secret, order)).encode()  # type: ignore[arg-type]


def _bytes_repr(one: Canary) -> Iterator[bytes]:
    yield repr(one.secret)[2:-1].encode()
    yield "".join(f"\\x{item:02x}" for item in one.secret).encode()
    yield "".join(f"\\u{item:04x}" for item in one.secret).encode()
    yield json.dumps(one.secret.decode("latin-1"))[1:-1].encode()


def _percent(one: Canary) -> Iterator[bytes]:
    yield quote(one.secret, safe="").encode()
    yield quote(one.secret, safe="/").encode()
    yield "".join(f"%{item:02X}" for item in one.secret).encode()
    yield "".join(f"%{item:02x}" for item in one.secret).encode()


def _list(one: Canary) -> Iterator[bytes]:
    numbers = [str(item) for item in one.secret]
    yield from (mark.join(numbers).encode() for mark in (", ", ",", " ", "\n"))


def _utf16(one: Canary) -> Iterator[bytes]:
    text = one.text or one.secret.hex()
    yield from (text.encode(order) for order in ("utf-16-le", "utf-16-be"))


ENCODINGS: Mapping[str, Callable[[Canary], Iterator[bytes]]] = {
    "as it is": _text,
    "0x hex": _0x_hex,
    "hex": _hex,
    "upper hex": _upper_hex,
    "spaced hex": _pairs(" "),
    "hex pairs": _pairs(":-,."),
    "base64": _base64,
    "decimal": _decimal,
    "bytes repr": _bytes_repr,
    "percent": _percent,
    "list of integers": _list,
    "UTF-16": _utf16,
}


class Needles:
    """Every form of every canary, and the search for them."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._forms: dict[bytes, tuple[str, str]] = {}  # form -> canary, encoding; the first name of it stays
        for one in canaries:
            for encoding, forms in ENCODINGS.items():
                for form in forms(one):
                    if len(form) >= _SHORTEST:
                        self._forms.setdefault(form, (one.name, encoding))

    def __len__(self) -> int:
        return len(self._forms)

    def found(self, sink: str, data: bytes) -> list[Hit]:
        """Return each canary that is in ``data``, once for each encoding."""
        hits = {}
        for form, (canary, encoding) in self._forms.items():
            if (offset := data.find(form)) >= 0:
                hits.setdefault((canary, encoding), Hit(sink, canary, encoding, offset))
        return sorted(hits.values())
