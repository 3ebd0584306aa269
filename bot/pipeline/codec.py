"""Model values as canonical JSON text and back, exactly.

Two values that are equal encode to the same bytes on every machine: keys are sorted, floats are written
with ``repr`` (shortest text that reads back to the same double), and there is no white space. The field
types of the dataclasses drive both directions, so the text needs no type tags:

=====================  =========================================================
float                  number; NaN, +inf, -inf as "NaN", "Infinity", "-Infinity"
int, bool, str, None   themselves, never converted into each other
bytes                  "0x" and hex digits
enum                   its value
tuple, NamedTuple      array; any other Sequence is read back as a tuple
mapping                object when its keys are str, int or enums, else an array of pairs
numpy float array      array of floats
dataclass              object with one member for each field
=====================  =========================================================

Rows written by an older program may lack fields that have a default. Anything else that does not fit
is corrupt data and raises InvariantError naming the place.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast

import numpy as np

from bot.errors import InvariantError
from bot.model import exposure, hedge, intent, market, perpetual, perpetual_outcome, record, tier

T = TypeVar("T")
Json = Any  # what the json module reads and writes
Encode = Callable[[Any], Json]
Decode = Callable[[Json, str], Any]  # the second argument is the place, for the error text

_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# Model modules import one another only for type checkers; these are the names their hints may use.
_MODEL_NAMES = {
    name: value
    for module in (exposure, hedge, intent, market, perpetual, perpetual_outcome, record, tier)
    for name, value in vars(module).items()
}


def dumps(value: Any) -> str:
    """Return the canonical text of a model value; raises InvariantError for anything else."""
    return _text(_codec(type(value))[0](value))


def loads(kind: type[T], text: str) -> T:
    """Return the value that ``dumps`` wrote; raises InvariantError when the text is not one."""
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise InvariantError(f"a stored {kind.__name__} is not JSON: {error}") from None
    return cast(T, _codec(kind)[1](data, kind.__name__))


def _text(data: Json) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"bare {name}")


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return found


def _codec(kind: Any) -> tuple[Encode, Decode]:
    return _built(kind)


@cache
def _built(kind: Any) -> tuple[Encode, Decode]:
    """Return the encoder and decoder of a type; raises InvariantError for a type that has none."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is Sequence:  # read back as a tuple
        return _tuple((*arguments, ...))
    if origin is np.ndarray:
        return _array()
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named_tuple(kind)
    raise InvariantError(f"values of type {kind} have no stored form")


def _fail(where: str, wanted: str, found: Any) -> InvariantError:
    return InvariantError(f"{where} must be {wanted}, was {found!r:.80}")


def _encode_float(value: Any) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _fail("a float field", "a number", value)
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _decode_float(data: Json, where: str) -> float:
    if isinstance(data, str) and data in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[data]  # math.nan itself, so that `==` of records works by identity
    if isinstance(data, float):
        return data
    raise _fail(where, "a float", data)


def _exactly(kind: type, name: str) -> tuple[Encode, Decode]:
    def encode(value: Any) -> Json:
        if isinstance(value, bool) is not (kind is bool) or not isinstance(value, kind):
            raise _fail(f"a field of type {name}", name, value)
        return kind(value)  # drops subclasses: StrEnum -> str, numpy ints are refused above

    def decode(data: Json, where: str) -> Any:
        if type(data) is not kind:
            raise _fail(where, name, data)
        return data

    return encode, decode


def _encode_bytes(value: Any) -> Json:
    if not isinstance(value, bytes):
        raise _fail("a bytes field", "bytes", value)
    return "0x" + value.hex()


def _decode_bytes(data: Json, where: str) -> bytes:
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return bytes.fromhex(data[2:])
        except ValueError:
            pass
    raise _fail(where, "0x and hex digits", data)


_SCALARS: dict[Any, tuple[Encode, Decode]] = {
    float: (_encode_float, _decode_float),
    int: _exactly(int, "int"),
    bool: _exactly(bool, "bool"),
    str: _exactly(str, "str"),
    bytes: (_encode_bytes, _decode_bytes),
}


def _optional(arguments: tuple[Any, ...]) -> tuple[Encode, Decode]:
    (inner,) = [item for item in arguments if item is not type(None)]
    encode, decode = _codec(inner)
    return (
        lambda value: None if value is None else encode(value),
        lambda data, where: None if data is None else decode(data, where),
    )


def _list_of(data: Json, where: str, length: int | None = None) -> list[Json]:
    if not isinstance(data, list) or (length is not None and len(data) != length):
        raise _fail(where, "an array" + (f" of {length}" if length is not None else ""), data)
    return data


def _tuple(arguments: tuple[Any, ...]) -> tuple[Encode, Decode]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        encode, decode = _codec(arguments[0])
        return (
            lambda value: [encode(item) for item in value],
            lambda data, where: tuple(
                decode(item, f"{where}[{i}]") for i, item in enumerate(_list_of(data, where))
            ),
        )
    return _fixed(arguments, tuple)


def _fixed(arguments: tuple[Any, ...], build: Callable[[list[Any]], Any]) -> tuple[Encode, Decode]:
    parts = [_codec(argument) for argument in arguments]

    def encode(value: Any) -> Json:
        return [one(item) for (one, _), item in zip(parts, value, strict=True)]

    def decode(data: Json, where: str) -> Any:
        items = _list_of(data, where, len(parts))
        return build(
            [one(item, f"{where}[{i}]") for i, ((_, one), item) in enumerate(zip(parts, items, strict=True))]
        )

    return encode, decode


def _named_tuple(kind: Any) -> tuple[Encode, Decode]:
    hints = typing.get_type_hints(kind, localns=_MODEL_NAMES)
    return _fixed(tuple(hints[name] for name in kind._fields), lambda items: kind(*items))


def _array() -> tuple[Encode, Decode]:
    return (
        lambda value: [_encode_float(float(item)) for item in value],
        lambda data, where: np.array(
            [_decode_float(item, f"{where}[{i}]") for i, item in enumerate(_list_of(data, where))],
            dtype=np.float64,
        ),
    )


def _enum(kind: type[Enum]) -> tuple[Encode, Decode]:
    values = {member.value: member for member in kind}

    def encode(value: Any) -> Json:
        if type(value) is not kind:
            raise _fail(f"a {kind.__name__} field", f"a {kind.__name__}", value)
        return value.value

    def decode(data: Json, where: str) -> Any:
        if type(data) not in (str, int) or data not in values:
            raise _fail(where, f"one of {list(values)}", data)
        return values[data]

    return encode, decode


def _mapping(key_type: Any, value_type: Any) -> tuple[Encode, Decode]:
    encode_value, decode_value = _codec(value_type)
    encode_key, decode_key = _codec(key_type)
    plain = key_type in (str, int) or (isinstance(key_type, type) and issubclass(key_type, Enum))
    numbers = plain and issubclass(key_type, int)

    def encode(value: Mapping[Any, Any]) -> Json:
        if plain:
            return {str(encode_key(key)): encode_value(item) for key, item in value.items()}
        return sorted(([encode_key(key), encode_value(item)] for key, item in value.items()), key=_text)

    def decode(data: Json, where: str) -> Any:
        if not plain:
            pairs = [_list_of(pair, where, 2) for pair in _list_of(data, where)]
        elif isinstance(data, dict):
            pairs = [[_int_key(key, where) if numbers else key, item] for key, item in data.items()]
        else:
            raise _fail(where, "an object", data)
        return {decode_key(key, where): decode_value(item, f"{where}[{key!r}]") for key, item in pairs}

    return encode, decode


def _int_key(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _fail(where, "an object with whole numbers as keys", text) from None


def _dataclass(kind: Any) -> tuple[Encode, Decode]:
    hints = typing.get_type_hints(kind, localns=_MODEL_NAMES)
    # What is not shown by repr is worked out again or kept by somebody else: it is no part of the value.
    fields = {field.name: _codec(hints[field.name]) for field in dataclasses.fields(kind) if field.repr}

    def encode(value: Any) -> Json:
        if type(value) is not kind:
            raise _fail(f"a {kind.__name__} field", f"a {kind.__name__}", value)
        return {name: one(getattr(value, name)) for name, (one, _) in fields.items()}

    def decode(data: Json, where: str) -> Any:
        if not isinstance(data, dict):
            raise _fail(where, "an object", data)
        if unknown := data.keys() - fields.keys():
            raise InvariantError(
                f"{where} has unknown fields {sorted(unknown)}; was it written by a newer program?"
            )
        values = {name: fields[name][1](item, f"{where}.{name}") for name, item in data.items()}
        try:
            return kind(**values)
        except TypeError:
            missing = sorted(fields.keys() - data.keys())
            raise InvariantError(f"{where} lacks fields: {missing}") from None

    return encode, decode
