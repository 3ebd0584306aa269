"""How an error repeats what it refused: without what may be a secret in the wrong place (REL-Y3).

A key pasted for an address, a token for a number, a node's URL for a position: the value is wrong, and the
words of the error go to a terminal, a log, an issue. What has the shape of a key, of a seed phrase, of a
token or of a URL is replaced; an address of 40 digits, a number, a name and a path stay.
"""

import re

HIDDEN = "***"
_MOST = 80  # characters
URL = re.compile(r"(?<![a-zA-Z0-9+.-])([a-zA-Z0-9+.-]*)://[^\s\"'<>]+")  # also one that is glued to a word
_HOST = re.compile(  # and its path: a URL whose scheme was left out or cut off; no place in a folder
    r"((?:(?<![\w./@-])|(?<=//))(?:[A-Za-z0-9-]+\.)+(?:[A-Za-z]{2,}|\d{1,3})(?::\d+)?)/[^\s\"'<>]+"
)
_KEY = re.compile(r"(?<![0-9a-zA-Z])(?:0[xX])?(?:[0-9a-fA-F]{2}[\s:,.-]?){32,}(?![0-9a-zA-Z])")
_SEED = re.compile(r"\b[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,}\b")
_TOKEN = re.compile(  # letters and digits in one long word; no address, also not one with a digit too many
    r"(?<![\w./-])(?!0[xX][0-9a-fA-F]{36,44}(?![\w]))(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9_-]{20,}(?![\w./-])"
)


def refused(value: object) -> str:
    """Return a value as an error shows it, at most 80 characters."""
    text = repr(without_secrets(value) if isinstance(value, str) else value)
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}…"


def without_secrets(text: str) -> str:
    """Return words about refused values without what may be a secret."""
    text = _HOST.sub(rf"\1/{HIDDEN}", URL.sub(rf"\1://{HIDDEN}", text))
    for shape in (_KEY, _SEED, _TOKEN):
        text = shape.sub(HIDDEN, text)
    return text
