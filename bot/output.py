"""What commands share around their work: where documents go, and the words of a refusal.

Only the standard library, so that every command starts fast.
"""

import codecs
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.errors import ConfigError
from bot.model.refused import refused, without_secrets

# What stands for a letter where the terminal has none.
_PLAIN = str.maketrans(
    "—–−‘’“”·•×↑↓►▶★✗─━═╸╺│┃║├└█▇░▒▓",
    "---''\"\".*x^v>>*x-----|||++##.:#",
) | str.maketrans(
    {"…": "...", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≈": "~", "±": "+-", "σ": "sigma", "∞": "inf"}
    | {"Δ": "delta", "Γ": "gamma", "√": "sqrt", "✓": "ok", "°": " deg", "€": "EUR", "₮": "T"}
)
_LETTERS = "alvh_letters"  # how to encode what a terminal has no letter for
_ALONE = {"--json": "-", "--ray": "here"}  # what an option means that stands without its value


def with_json_target(arguments: Sequence[str]) -> list[str]:
    """Let ``--json`` and ``--ray`` stand alone: they mean the terminal, and this machine."""
    given = []
    for index, argument in enumerate(arguments):
        given.append(argument)
        following = arguments[index + 1] if index + 1 < len(arguments) else "--"
        if argument in _ALONE and following.startswith("-") and following != "-":
            given.append(_ALONE[argument])
    return given


def refuse_lost_results(json_to: str | None, report: Path | None) -> None:
    """Raise ConfigError before the work when what comes of it could not be written after it."""
    from bot.simulation.report.target import refuse_bad_target

    if json_to is not None and json_to != "-":
        path = Path(json_to)
        if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            what = "is a folder" if path.is_dir() else f"needs the folder {path.parent}, writable"
            raise ConfigError(f"--json {path} cannot be written: it {what}; choose another path")
    if report is not None:
        refuse_bad_target(report)


def keep_stdout() -> None:
    """Leave standard output to Python alone: HiGHS prints to it from C++, where a JSON document may stand."""
    first = sys.__stdout__
    if first is None or sys.stdout is not first:  # closed, or somebody else's already
        return
    kept = os.dup(first.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), first.fileno())
    ours = open(kept, "w", encoding=first.encoding, errors=first.errors)  # noqa: SIM115 - until the end
    sys.stdout = sys.__stdout__ = ours  # type: ignore[misc]  # of which a terminal's width is asked


def keep_letters() -> None:
    """Let every text be printed: what a terminal cannot show becomes what stands for it, never an error.

    A locale that is C by word (``LC_ALL=C``) knows ASCII alone, whatever Python makes of it.
    """
    codecs.register_error(_LETTERS, _stand_in)
    codecs.register(_plain_codec)
    said = os.environ.get("LC_ALL", "") in ("C", "POSIX") and "PYTHONIOENCODING" not in os.environ
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_plain = said or codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_LETTERS if is_plain else None, errors=_LETTERS)


def _plain_codec(name: str) -> codecs.CodecInfo | None:
    """Return ASCII by a name of ours: typer takes plain ASCII for a mistake and writes UTF-8 past it."""
    if name != _LETTERS:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        plain.encode,
        plain.decode,
        incrementalencoder=plain.incrementalencoder,
        incrementaldecoder=plain.incrementaldecoder,
        name=_LETTERS,
    )


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(letter if letter.isascii() else "?" for letter in plain), error.end


def write_json(document: Any, to: str | None, *, lines: bool = False) -> None:
    """Write a document; letters stay what they are, escaped where the terminal has none for them."""
    if to is None:
        return
    escaped = to == "-" and not str(sys.stdout.encoding).lower().startswith("utf")
    text = json.dumps(document, indent=None if lines else 2, allow_nan=False, ensure_ascii=escaped)
    if to == "-":
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        return
    try:
        with Path(to).open("a" if lines else "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise ConfigError(f"--json {to} cannot be written: {error.strerror}") from None


def usage_problem(words: str, given: Sequence[str]) -> str:
    """Return the parser's words, with the value found where they leave it out.

    What follows an option that is none is not shown: it may be a key, which has no place there.
    """
    words = without_secrets(words.rstrip("."))
    names = {name for name in re.findall(r"--[a-z][a-z-]*", words) if name in given[:-1]}
    if words.startswith("No such option"):
        is_key = any(re.search("key|mnemonic|seed|secret|password", name) for name in names)
        return words + ("; a key is never an argument, where other processes see it" if is_key else "")
    found = [given[given.index(name) + 1] for name in sorted(names)]
    return words + "".join(f", was {refused(value)}" for value in found if refused(value) not in words)
