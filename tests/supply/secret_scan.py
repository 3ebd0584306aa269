"""Looks for secrets in files that git has, or would: keys, words of wallets, tokens of services, PEM.

32 bytes of hex may be a private key and may be a hash, and nothing in them says which. So each that stands in
the project is named in known_constants.toml with what it is; one that is not named there is a finding. The
devnet's words and keys are named there too: everybody has them, and they hold nothing.
"""

import hashlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
KNOWN = Path(__file__).with_name("known_constants.toml")
SHORTEST_MNEMONIC = 12
LEAST_DIGITS = 9  # different ones in 64 of hex; a random key has fewer once in 10**15

# Of a lock file's and an npm package's hashes the word before says what they are.
_HEX = re.compile(r"(?<![0-9A-Za-z])(?<!sha256:)(?:0x)?([0-9a-fA-F]{64})(?![0-9A-Za-z])")
_WORDS = re.compile(r"[a-z]{3,8}(?: +[a-z]{3,8}){11,}")
SHAPES = {  # name -> (one of these words is in it: looked for first, which is fast; its shape)
    "a private key in PEM": (("PRIVATE KEY",), r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an extended private key": (("prv",), r"\b[xyz]prv[1-9A-HJ-NP-Za-km-z]{100,}"),
    "an AWS key": (("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"\b(?:gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{30,})",
    ),
    "a PyPI token": (("pypi-AgEI",), r"\bpypi-AgEI[0-9A-Za-z_-]{20,}"),
    "an npm token": (("npm_",), r"\bnpm_[0-9A-Za-z]{36}\b"),
    "a Slack token or hook": (
        ("xox", "hooks.slack.com"),
        r"\bxox[baprs]-[0-9A-Za-z-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w{20,}",
    ),
    "a Discord hook": (("api/webhooks",), r"discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{40,}"),
    "a Telegram token": ((":AA",), r"\b\d{8,10}:AA[\w-]{33}\b"),
    "a Google key": (("AIza",), r"\bAIza[\w-]{35}\b"),
    "a key of a model's service": (("sk-",), r"\bsk-(?:[a-z]+-)*[0-9A-Za-z]{20,}"),
    "a key in a node's address": (
        ("infura.io", "alchemy.com", "quiknode.pro"),
        r"(?:infura\.io/v3/|alchemy\.com/v2/|quiknode\.pro/)[0-9A-Za-z_-]{16,}",
    ),
    "a signed token (JWT)": (("eyJ",), r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a password in an address": (
        ("://",),
        r"\b[a-z][a-z0-9+]*://[^\s/:@'\"{}<>$]+:[^\s/:@'\"{}<>$]{3,}@[\w.-]+",
    ),
}


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that may be a secret; the text itself is in no finding, ``digest`` stands for it."""

    path: str
    line: int
    what: str
    digest: str


def digest(text: str) -> str:
    """Return how known_constants.toml names a text: 16 hex digits of its SHA-256, hex in small letters."""
    return hashlib.sha256(text.lower().encode()).hexdigest()[:16]


def found_in(path: str, text: str) -> Iterator[Secret]:
    """Yield what may be a secret in a text, what is known included."""
    for start, what, secret in _candidates(text):
        yield Secret(path, text.count("\n", 0, start) + 1, what, digest(secret))


def _candidates(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (where, what, text) of each."""
    for one in _HEX.finditer(text):
        if len(set(one[1].lower())) >= LEAST_DIGITS:  # not 0x1111...: no key, and no hash
            yield one.start(), "32 bytes that may be a private key", one[1]
    for one in _WORDS.finditer(text):
        if run := _wallet_words(one[0].split()):
            yield one.start(), "the words of a wallet", run
    for name, (hints, shape) in SHAPES.items():
        if any(hint in text for hint in hints):
            for one in re.finditer(shape, text):
                yield one.start(), name, one[0]


def _wallet_words(words: list[str]) -> str:
    """Return twelve words in a row or more that are all of BIP-39's list, "" without such."""
    runs = (tuple(run) for listed, run in groupby(words, key=_bip39().__contains__) if listed)
    return next((" ".join(run) for run in runs if len(run) >= SHORTEST_MNEMONIC), "")


@cache
def _bip39() -> frozenset[str]:
    list_of_words = files("eth_account.hdaccount") / "wordlist" / "english.txt"
    return frozenset(list_of_words.read_text(encoding="utf-8").split())


def known() -> dict[tuple[str, str], str]:
    """Return (path, digest) of what is no secret -> why."""
    entries = tomllib.loads(KNOWN.read_text())["known"]
    return {(entry["path"], one): entry["why"] for entry in entries for one in entry["digests"]}


def tracked(root: Path = ROOT) -> list[str]:
    """Return files that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (root / name).is_file())


def scan(root: Path = ROOT) -> list[Secret]:
    """Return everything that may be a secret in the tracked files of ``root``, what is known included."""
    found = []
    for name in tracked(root):
        found += found_in(name, (root / name).read_text(encoding="utf-8", errors="replace"))
    return found


def unknown(root: Path = ROOT) -> list[Secret]:
    """Return what may be a secret and is not named in known_constants.toml."""
    allowed = known()
    return [one for one in scan(root) if (one.path, one.digest) not in allowed]
