"""Contract ABIs: calldata, return values, events and revert reasons."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from eth_utils.crypto import keccak

from bot.chain.words import decode_words, encode_words, layout_of
from bot.errors import ConfigError, InvariantError, TransientError, one_line
from bot.model.intent import Log
from bot.ports import Call

_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the folder lies inside the package, in a clone beside it.
_FOLDERS = (_PACKAGE / "contracts_abi", _PACKAGE.parent / "contracts_abi")

_ERROR_STRING = keccak(text="Error(string)")[:4]
_PANIC = keccak(text="Panic(uint256)")[:4]
MOST_REASON = 300
_PANIC_TEXT = {  # https://docs.soliditylang.org/en/latest/control-structures.html#panic-via-assert-and-error-via-require
    0x01: "assertion failed",
    0x11: "arithmetic overflow",
    0x12: "division by zero",
    0x21: "bad enum value",
    0x31: "pop of an empty array",
    0x32: "index out of bounds",
    0x41: "out of memory",
    0x51: "call of an uninitialised function",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function (or custom error) of a contract."""

    signature: str  # "positions(uint256)"
    selector: bytes
    inputs: tuple[str, ...]
    input_names: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; ``fields`` are (name, type, indexed) in the order of the declaration."""

    signature: str
    topic: str  # 0x hex, lower case
    fields: tuple[tuple[str, str, bool], ...]


class FixedCall(Call):
    """A call whose answer can never change for a contract. A reader may ask it once per run.

    It is asked again when the chain was reorganised, or when it cannot be seen that it was not.
    """

    __slots__ = ()


_Item = TypeVar("_Item", Function, Event)


class Abi:
    """The ABI of one contract. Load it once with :meth:`load`; selectors are computed then.

    Functions and events are named by name (``"slot0"``), or by full signature where a name is overloaded
    (``"liquidate(address,address)"``). Decoded addresses are lower case.
    """

    def __init__(self, name: str, entries: Sequence[dict[str, Any]]) -> None:
        self.name = name
        self._functions = _index(_function(entry) for entry in entries if entry["type"] == "function")
        self._events = _index(_event(entry) for entry in entries if entry["type"] == "event")
        errors = [_function(entry) for entry in entries if entry["type"] == "error"]
        self._errors = {error.selector: error for error in errors}
        self._by_selector = {item.selector: item for items in self._functions.values() for item in items}

    @staticmethod
    def load(name: str) -> "Abi":
        """Return the ABI in ``contracts_abi/<name>.json``. Raises ConfigError when there is none."""
        return _load(name)

    def function(self, name: str) -> Function:
        return _pick(self._functions, name, f"function of {self.name}")

    def event(self, name: str) -> Event:
        return _pick(self._events, name, f"event of {self.name}")

    def encode(self, name: str, *args: Any) -> bytes:
        """Return calldata. Raises InvariantError when an argument does not fit its type."""
        function = self.function(name)
        if not function.inputs and not args:
            return function.selector
        words = encode_words(function.inputs, args)
        if words is not None:
            return function.selector + words
        try:
            return function.selector + _encode(function.inputs, args)
        except (TypeError, ValueError) as error:
            raise InvariantError(f"{self.name}.{function.signature} cannot take {args!r}: {error}") from None

    def call(self, name: str, target: str, *args: Any) -> Call:
        """Return a view call of ``target``."""
        return Call(target, self.encode(name, *args), self.function(name).outputs)

    def fixed_call(self, name: str, target: str, *args: Any) -> FixedCall:
        """Return a view call whose answer can never change (``token0``, ``decimals``): see FixedCall."""
        return FixedCall(target, self.encode(name, *args), self.function(name).outputs)

    def decode(self, name: str, data: bytes) -> tuple[Any, ...]:
        """Return what a call returned. Raises TransientError when the bytes do not fit the ABI."""
        function = self.function(name)
        values = decode_or_none(function.outputs, data)
        if values is None:
            raise TransientError(
                f"{self.name}.{function.signature} returned {len(data)} bytes that are no "
                f"({','.join(function.outputs)}); check the address"
            )
        return values

    def decode_input(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Return (full signature, arguments by name) of calldata. Raises InvariantError when unknown."""
        function = self._by_selector.get(bytes(data[:4]))
        values = None if function is None else decode_or_none(function.inputs, data[4:], allow_empty=True)
        if function is None or values is None:
            raise InvariantError(f"calldata 0x{data[:4].hex()}… is no call of {self.name}")
        return function.signature, dict(zip(function.input_names, values, strict=True))

    def topic(self, name: str) -> str:
        """Return the first topic of an event, 0x hex."""
        return self.event(name).topic

    def is_event(self, name: str, log: Log) -> bool:
        return bool(log.topics) and log.topics[0].lower() == self.event(name).topic

    def decode_log(self, name: str, log: Log) -> dict[str, Any]:
        """Return the event's fields by name. Indexed strings, bytes and arrays come as their hash.

        The caller has checked that the address is the contract's. Raises InvariantError when the log is
        another event or its bytes do not fit.
        """
        event = self.event(name)
        indexed = [field for field in event.fields if field[2]]
        plain = [field for field in event.fields if not field[2]]
        if not self.is_event(name, log) or len(log.topics) != len(indexed) + 1:
            raise InvariantError(f"log of {log.address} with topics {log.topics} is no {event.signature}")
        values = decode_or_none(tuple(kind for _, kind, _ in plain), log.data, allow_empty=True)
        if values is None:
            raise InvariantError(f"data of {event.signature} from {log.address} do not decode")
        found = dict(zip((field for field, _, _ in plain), values, strict=True))
        for (field, kind, _), topic in zip(indexed, log.topics[1:], strict=True):
            found[field] = _topic_value(kind, bytes.fromhex(topic.removeprefix("0x")))
        return {field: found[field] for field, _, _ in event.fields}

    def logs(self, name: str, logs: Sequence[Log], *, address: str) -> list[dict[str, Any]]:
        """Return all events ``name`` that ``address`` emitted, decoded, in order.

        A log of that name which does not decode, such as one with other fields indexed, is another event.
        """
        found = []
        for log in logs:
            if log.address.lower() == address.lower() and self.is_event(name, log):
                with suppress(InvariantError):
                    found.append(self.decode_log(name, log))
        return found

    def error_text(self, data: bytes) -> str | None:
        """Return a custom error of this contract as ``Name(arg=value, …)``, None when it is not one."""
        error = self._errors.get(bytes(data[:4]))
        values = None if error is None else decode_or_none(error.inputs, data[4:], allow_empty=True)
        if error is None or values is None:
            return None
        pairs = zip(error.input_names, values, strict=True)
        return f"{error.signature.partition('(')[0]}({', '.join(f'{k}={v}' for k, v in pairs)})"


def decode_or_none(types: Sequence[str], data: bytes, *, allow_empty: bool = False) -> tuple[Any, ...] | None:
    """Decode ABI bytes; None where they do not fit. Empty bytes are a failure unless nothing is expected.

    A call of an address without code succeeds with empty bytes, which is not an answer.
    """
    if not types and (allow_empty or not data):
        return ()
    if not data:
        return None
    layout = layout_of(tuple(types))
    return _decode(types, data) if layout is None else decode_words(layout, data)


def _decode(types: Sequence[str], data: bytes, *, strict: bool = True) -> tuple[Any, ...] | None:
    """What is not made of whole words is left to eth_abi, which is imported when the first of it comes."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    try:
        return tuple(decode(types, data, strict=strict))
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return None


def _encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    from eth_abi.abi import encode
    from eth_abi.exceptions import EncodingError

    try:
        return encode(types, values)
    except EncodingError as error:
        raise ValueError(str(error)) from None


def revert_reason(data: bytes) -> str:
    """Return why a call reverted: Error(string), Panic(uint256), a known custom error, or the raw bytes.

    One printable line of at most ``MOST_REASON`` characters: the contract is anybody's.
    """
    return one_line(_reason(data), most=MOST_REASON)


def _reason(data: bytes) -> str:
    selector, rest = bytes(data[:4]), data[4:]
    if not data:
        return "reverted without a reason"
    if selector == _ERROR_STRING:
        # Not strict: solc 0.6 fills the last word of a long text with whatever lay in its memory.
        text = _decode(("string",), rest, strict=False)
        if text is not None:
            return str(text[0])
    if selector == _PANIC:
        code = decode_or_none(("uint256",), rest)
        if code is not None:
            return f"panic 0x{code[0]:02x} ({_PANIC_TEXT.get(code[0], 'unknown')})"
    for name in _names():
        known = Abi.load(name).error_text(data)
        if known is not None:
            return known
    return f"unknown error 0x{data[:36].hex()}"


def _folder() -> Path:
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise ConfigError(f"contracts_abi not found in {_FOLDERS[0]} or {_FOLDERS[1]}; reinstall the package")


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _folder().glob("*.json")))


@cache
def _load(name: str) -> Abi:
    if name not in _names():
        raise ConfigError(f"no ABI named {name!r}; known are {', '.join(_names())}")
    path = _folder() / f"{name}.json"
    try:
        return Abi(name, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path.name} is no ABI: {error}") from None


def _type(parameter: dict[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(_type, parameter['components']))}){kind.removeprefix('tuple')}"


def _function(entry: dict[str, Any]) -> Function:
    inputs = tuple(map(_type, entry["inputs"]))
    signature = f"{entry['name']}({','.join(inputs)})"
    return Function(
        signature=signature,
        selector=keccak(text=signature)[:4],
        inputs=inputs,
        input_names=_field_names(entry),
        outputs=tuple(map(_type, entry.get("outputs", ()))),
    )


def _event(entry: dict[str, Any]) -> Event:
    kinds = tuple(map(_type, entry["inputs"]))
    signature = f"{entry['name']}({','.join(kinds)})"
    indexed = (bool(item["indexed"]) for item in entry["inputs"])
    return Event(
        signature=signature,
        topic="0x" + keccak(text=signature).hex(),
        fields=tuple(zip(_field_names(entry), kinds, indexed, strict=True)),
    )


def _field_names(entry: dict[str, Any]) -> tuple[str, ...]:
    """Unnamed parameters are called by their position, so that no two names are equal."""
    return tuple(item["name"] or f"arg{index}" for index, item in enumerate(entry["inputs"]))


def _index(items: Iterator[_Item]) -> dict[str, list[_Item]]:
    found: dict[str, list[_Item]] = {}
    for item in items:
        found.setdefault(item.signature.partition("(")[0], []).append(item)
    return found


def _pick(items: dict[str, list[_Item]], name: str, what: str) -> _Item:
    matches = items.get(name.partition("(")[0], [])
    if "(" in name:
        matches = [item for item in matches if item.signature == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InvariantError(
            f"{name} names {len(matches)} of {what}; use one of {[m.signature for m in matches]}"
        )
    raise InvariantError(f"{name} is no {what}")


def _topic_value(kind: str, word: bytes) -> Any:
    if kind in ("string", "bytes") or kind.endswith(("]", ")")):
        return word  # keccak of the value
    values = decode_or_none((kind,), word)
    if values is None:
        raise InvariantError(f"topic 0x{word.hex()} is no {kind}")
    return values[0]
