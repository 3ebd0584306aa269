"""The text of a policy with every number in it: the layout and comments of its files, joined.

The file that states everything is the template; a file that extends it replaces values where they stand,
together with the comment beside them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.engine.policy import Policy
from bot.engine.policy_fields import PlainReader, SectionReader
from bot.engine.policy_readers import (
    DurationReader,
    NumberReader,
    Reader,
    WholeSecondsReader,
    spoken_duration,
)
from bot.errors import ConfigError, InvariantError
from bot.model.parsing import toml_of

_HEADER = re.compile(r"\s*\[(?P<path>[^\[\]]+)\]\s*(?P<note>#.*)?")
_KEY = re.compile(r"\s*(?P<key>[A-Za-z0-9_-]+)\s*=")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_COMMENT_AT = 30  # column from which a comment stands beside its value
_BOUNDS = re.compile(r"[\[(].*\.\..*[\])]")
_BETWEEN = re.compile(r"must be between (?P<low>\S+) and (?P<high>[^,\s]+), was")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a policy file, or a value over several. ``path`` is empty where nothing is stated."""

    path: str  # of a key "tiers.vote", of a header "tiers"
    text: str
    value: str = ""  # as it is written
    comment: str = ""  # without its "#"
    column: int = _COMMENT_AT  # of the "#"
    is_header: bool = False


def lines_of(text: str) -> tuple[Line, ...]:
    """Return the lines of a valid TOML text, each with the key that it states."""
    found: list[Line] = []
    section, rest = "", text.splitlines()
    while rest:
        line, rest = rest[0], rest[1:]
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header:
            section = header["path"].strip()
            note = (header["note"] or "").lstrip("# ")
            found.append(Line(path=section, text=line, comment=note, is_header=True))
        elif key and not line.lstrip().startswith("#"):
            while not _is_whole(line) and rest:
                line, rest = f"{line}\n{rest[0]}", rest[1:]
            value, comment = _split(line[key.end() :])
            path = f"{section}.{key['key']}" if section else key["key"]
            column = line.rindex(comment) - 2 if comment else _COMMENT_AT
            found.append(Line(path=path, text=line, value=value, comment=comment, column=column))
        else:
            found.append(Line(path="", text=line))
    return tuple(found)


def notes_of(texts: Sequence[str]) -> dict[str, str]:
    """Return what is said beside every key and table, by dotted path; the last text wins where it says."""
    return {
        line.path: line.comment for text in texts for line in lines_of(text) if line.path and line.comment
    }


def joined_text(texts: Sequence[str], table: Mapping[str, Any]) -> str:
    """Return one text that states every key of ``table``, which ``texts`` make, the oldest first.

    The first text is the template. Where the table states another value, that value stands there, with the
    comment of the last text that has one; what a file says of itself at its top is the last one's.
    """
    if len(texts) == 1:
        return texts[0]
    template, notes = lines_of(texts[0]), notes_of(texts)
    added = _added(table, template)
    found = _title(texts[-1], template)
    for block in _blocks(template[len(_head(template)) :]):
        written = [_joined(line, table, notes) for line in block]
        section = block[0].path if block[0].is_header else ""
        end = len(block) - next((i for i, line in enumerate(reversed(block)) if line.path), 0)
        found += [*written[:end], *added.pop(section, ()), *written[end:]]
    for section, lines in added.items():
        found += ["", f"[{section}]", *lines]
    text = "\n".join(found) + "\n"
    if toml_of(text) != table:
        raise InvariantError("a policy that was written out reads as another one")
    return text


def with_bounds(text: str, table: Mapping[str, Any]) -> str:
    """Return a text that states every key, with the bounds of each where its comment names none.

    ``table`` is what the text states; bounds that are another key are named by their value in it.
    """
    readers = dict(leaf_readers())
    found = []
    for line in lines_of(text):
        reader = readers.get(line.path)
        if not line.value or reader is None or _BOUNDS.search(line.comment):
            found.append(line.text)
            continue
        bounds = bounds_of(reader, line.path, table)
        comment = f"{line.comment} [{bounds}]".strip() if bounds else line.comment
        found.append(_written(line, line.value, comment))
    return "\n".join(found) + "\n"


def leaf_readers() -> Iterator[tuple[str, Reader]]:
    """Yield every key of a policy file that is no table, with its reader."""

    def below(reader: Reader, path: str) -> Iterator[tuple[str, Reader]]:
        if not isinstance(reader, SectionReader | PlainReader):
            yield path, reader
            return
        for key, item in reader.keys().items():
            yield from below(item, f"{path}.{key}" if path else key)

    return below(SectionReader(Policy), "")


def bounds_of(reader: Reader, path: str, table: Mapping[str, Any]) -> str:
    """Return what a key may be, as a comment says it: "0 .. 1"; empty for a form of its own.

    A signal's numbers are bounded by their own dataclass, which is asked with the least and the most.
    """
    if path.startswith("signals.") and isinstance(reader, NumberReader | DurationReader | WholeSecondsReader):
        return _asked_bounds(reader, path, table)
    return str(getattr(reader, "bounds", ""))


def _asked_bounds(
    reader: NumberReader | DurationReader | WholeSecondsReader, path: str, table: Mapping[str, Any]
) -> str:
    is_number = isinstance(reader, NumberReader)
    extremes: tuple[Any, Any] = ("0 s", "10000 d")
    if isinstance(reader, NumberReader):
        kind = int if reader.is_whole else float
        extremes = kind(reader.low), kind(reader.high)
    refused = [_refusal(path, value, table) for value in extremes]
    low, high = (_BETWEEN.search(text) for text in refused)
    if low is None and high is None:
        return reader.bounds

    def spoken(text: str) -> str:
        return text if is_number else spoken_duration(float(text))

    least = spoken(low["low"]) if low else str(reader.bounds).split(" .. ", maxsplit=1)[0]
    most = spoken(high["high"]) if high else str(reader.bounds).rsplit(" .. ", maxsplit=1)[-1]
    return f"{least} .. {most}"


def _refusal(path: str, value: object, table: Mapping[str, Any]) -> str:
    try:
        SectionReader(Policy)(_with(table, path.split("."), value), "")
    except ConfigError as error:
        return str(error)
    return ""


def _with(table: Mapping[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    first, *rest = path
    below = table.get(first, {})
    return {**table, first: _with(below, rest, value) if rest else value}


def _head(lines: Sequence[Line]) -> Sequence[Line]:
    """Return the lines before the first key or table: what a file says of itself."""
    count = next((i for i, line in enumerate(lines) if line.path), len(lines))
    return lines[:count]


def _title(text: str, template: Sequence[Line]) -> list[str]:
    """Return the first paragraph of one file's head, and the rest of the template's."""

    def parts(lines: Sequence[Line]) -> tuple[list[str], list[str]]:
        words = [line.text for line in lines]
        end = next((i for i, word in enumerate(words) if not word.strip("# ")), len(words))
        return words[:end], words[end:]

    return parts(_head(lines_of(text)))[0] + parts(_head(template))[1]


def _blocks(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines of each table with its header, and before them those of the top."""
    blocks: list[list[Line]] = [[]]
    for line in lines:
        if line.is_header and blocks[-1]:
            blocks.append([])
        blocks[-1].append(line)
    return [block for block in blocks if block]


def _joined(line: Line, table: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    comment = notes.get(line.path, "")
    if line.is_header:
        return line.text if comment == line.comment else f"[{line.path}] # {comment}"
    if not line.value:
        return line.text
    value = _at(table, line.path)
    if toml_of(f"key = {line.value}")["key"] == value and comment == line.comment:
        return line.text
    return _written(line, _toml(value), comment)


def _added(table: Mapping[str, Any], template: Sequence[Line]) -> dict[str, list[str]]:
    """Return what a table states and the template does not, as lines by section."""
    there = {line.path for line in template if line.value}
    found: dict[str, list[str]] = {}

    def look(part: Mapping[str, Any], section: str) -> None:
        for key, value in part.items():
            path = f"{section}.{key}" if section else key
            if path in there:
                continue
            if isinstance(value, Mapping):
                look(value, path)
            else:
                found.setdefault(section, []).append(f"{_toml_key(key)} = {_toml(value)}")

    look(table, "")
    return found


def _at(table: Mapping[str, Any], path: str) -> Any:
    value: Any = table
    for key in path.split("."):
        value = value[key]
    return value


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)  # texts, numbers, true and false are written alike in both


def _toml_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _is_whole(line: str) -> bool:
    try:
        toml_of(line)
    except ValueError:
        return False
    return True


def _split(text: str) -> tuple[str, str]:
    """Return a value and its comment; a "#" inside of quotes is part of the value."""
    for place, sign in enumerate(text):
        if sign == "#" and _is_whole(f"key = {text[:place]}"):
            return text[:place].strip(), text[place + 1 :].strip()
    return text.strip(), ""


def _written(line: Line, value: str, comment: str) -> str:
    """Return a key with another value, its comment in the column where it stood."""
    stated = f"{line.path.rpartition('.')[2]} = {value}"
    return f"{stated.ljust(line.column - 1)} # {comment}" if comment else stated
