"""JSON Schema (draft 2020-12) of a policy file, made from the readers that read it.

Rules between keys (weights that sum to 100, a bound that is another key) have no place in a schema: only
``alvh policy check`` knows them. A file that extends a preset may leave keys out.
"""

import re
from collections.abc import Mapping
from typing import Any

from bot.engine.policy import Policy
from bot.engine.policy_fields import PlainReader, SectionReader
from bot.engine.policy_file import EXTENDS
from bot.engine.policy_readers import (
    UNBOUNDED,
    ChoiceReader,
    DurationReader,
    FlagReader,
    IntervalReader,
    NumberReader,
    OptionalReader,
    PercentReader,
    Reader,
    TextReader,
    WholeSecondsReader,
    WordsReader,
)
from bot.errors import ConfigError

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DURATION = r"^[+-]?\d+(\.\d+)?\s*(s|min|h|d)$"
_PERCENT = r"^[+-]?\d+(\.\d+)?\s*%$"
_ALLOWED = re.compile(r"must be (?P<allowed>.*), was ")


def policy_schema(presets: tuple[str, ...], notes: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema. ``notes`` are what is said of a key, by its dotted path: unit, source, rule."""
    schema = _table(SectionReader(Policy), "", notes)
    needed = schema.pop("required")
    schema["properties"] = {
        EXTENDS: {"enum": list(presets), "description": "the preset that states every key left out here"}
    } | schema["properties"]
    return {
        "$schema": DRAFT,
        "title": "policy of alvh",
        **schema,
        "if": {"not": {"required": [EXTENDS]}},
        "then": {"required": needed},
    }


def allowed_by(reader: Reader) -> str:
    """Return what a reader allows, in the words that it refuses with."""
    stated = getattr(reader, "allowed", None)
    if isinstance(stated, str):
        return stated
    try:
        reader(None, "key")
    except ConfigError as error:
        found = _ALLOWED.search(str(error))
        return found["allowed"] if found else ""
    return ""


def _schema(reader: Reader, path: str, notes: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(reader, SectionReader | PlainReader):
        return _table(reader, path, notes)
    note = notes.get(path, "")
    allowed = allowed_by(reader)
    described = "; ".join(item for item in (note, allowed) if item)
    return _value(reader) | ({"description": described} if described else {})


def _table(reader: SectionReader | PlainReader, path: str, notes: Mapping[str, str]) -> dict[str, Any]:
    prefix = f"{path}." if path else ""
    keys = reader.keys()
    found: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _schema(below, f"{prefix}{key}", notes) for key, below in keys.items()},
    }
    if not path:
        found["required"] = list(keys)
    if path in notes:
        found["description"] = notes[path]
    return found


def _value(reader: Reader) -> dict[str, Any]:
    match reader:
        case NumberReader(low=low, high=high, is_whole=is_whole):
            return {"type": "integer" if is_whole else "number", "minimum": low, "maximum": high}
        case PercentReader() | DurationReader() | WholeSecondsReader():
            return _quantity(reader)
        case ChoiceReader(words=words):
            return {"enum": list(words)}
        case FlagReader():
            return {"type": "boolean"}
        case TextReader():
            return {"type": "string", "minLength": 1}
        case WordsReader():
            return {"type": "array", "items": {"type": "string", "minLength": 1}}
        case OptionalReader(reader=inner, word=word):
            return {"anyOf": [{"const": word}, _value(inner)]}
        case IntervalReader(reader=inner):
            return {
                "type": "array",
                "prefixItems": [_value(inner), _value(inner)],
                "minItems": 2,
                "maxItems": 2,
            }
    return {}  # a reader of a form of its own: its description says what it takes


def _quantity(reader: PercentReader | DurationReader | WholeSecondsReader) -> dict[str, Any]:
    if isinstance(reader, PercentReader):
        return {"type": "string", "pattern": _PERCENT}
    found = {"type": "string", "pattern": _DURATION}
    unbounded = isinstance(reader, DurationReader) and reader.unbounded
    return {"anyOf": [found, {"const": UNBOUNDED}]} if unbounded else found
