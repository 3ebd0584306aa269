"""How values are written on the pages: numbers, times, addresses, and text that a stranger may choose."""

import math
import re
from typing import Any

from markupsafe import Markup

from bot.model.units import DAY_S, HOUR_S, MINUTE_S, iso_utc
from bot.simulation.wording import UNKNOWN, percent

_LONGEST = 600  # characters of any one text: a name that comes from a chain may be of a megabyte
# Controls, and what turns the direction of text: a name could make the words around it say something else.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_INITIALS = frozenset({"iv", "rsi", "macd", "mev", "reer", "tvl"})
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")

_COPY = Markup(
    '<button type="button" class="copy" data-copy="{}" aria-label="Copy {}"><svg viewBox="0 0 16 16" '
    'aria-hidden="true"><rect x="5" y="5" width="9" height="9" rx="2"/><path d="M11 2H4a2 2 0 0 0-2 2v7"/>'
    '<path class="done" d="m7 9.6 2 2 3-3.6"/></svg></button>'
)


def plain(value: Any) -> Any:
    """Return what a template is about to write, with what cannot be seen made visible, and cut to a length.

    Jinja calls this for every expression (``finalize``), before it escapes; markup of our own passes.
    """
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    return _UNSEEN.sub("\ufffd", text)


def number(value: float, digits: int = 2) -> str:
    """Return a number with thousands; "unknown" for NaN, the sign of infinity for that."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0.0 else "-∞"
    return f"{value:,.{digits}f}"


def figure(value: float, unit: str = "") -> str:
    """Return a number with as many digits as tell something; a fraction as percent."""
    if not math.isfinite(value):
        return number(value)
    if unit == "fraction":
        return percent(value)
    digits = 0 if abs(value) >= 1_000.0 else 2 if abs(value) >= 1.0 else 3
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def signal_name(name: str) -> str:
    """Return a signal's name as people write it: ``IV percentile``."""
    return " ".join(word.upper() if word in _INITIALS else word for word in name.split("_"))


def signed(value: float, digits: int = 2) -> str:
    return f"{value:+,.{digits}f}" if math.isfinite(value) else UNKNOWN


def duration(seconds: float) -> str:
    """Return a time span in its largest two units, ``3 d 4 h``; no line breaks within one."""
    if not math.isfinite(seconds):
        return UNKNOWN
    left = abs(round(seconds))
    parts = []
    for unit_s, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min"), (1, "s")):
        if left >= unit_s:
            parts.append(f"{left // unit_s}\u00a0{name}")
            left %= unit_s
    return " ".join(parts[:2]) or "0\u00a0s"


def when(at_s: float) -> Markup:
    """Return a time in UTC to the minute; the page adds the local one, shown on hover."""
    if not math.isfinite(at_s):
        return Markup("<span>unknown</span>")
    stamp = iso_utc(at_s)
    return Markup('<time datetime="{}">{}</time>').format(stamp, stamp.replace("T", " ")[:16])


def age(at_s: float, now_s: float) -> Markup:
    """Return how long ago that was; the page counts on by itself."""
    if not math.isfinite(at_s):
        return Markup("<span>unknown</span>")
    return Markup('<time datetime="{}" data-age="{}">{} ago</time>').format(
        iso_utc(at_s), f"{at_s:.0f}", duration(max(now_s - at_s, 0.0))
    )


def short(text: str) -> str:
    """Return the ends of an address or a hash."""
    return f"{text[:6]}…{text[-4:]}" if text.startswith("0x") and len(text) > 14 else text


def explorer_link(tx_hash: str, explorer: str) -> Markup:
    """Return a hash, linked where its chain's explorer is configured; with a button that copies it."""
    if not tx_hash:
        return Markup("")
    words = Markup('<code title="{}">{}</code>').format(plain(tx_hash), plain(short(tx_hash)))
    if explorer and _HASH.fullmatch(tx_hash):
        words = Markup('<a href="{}/tx/{}" target="_blank" rel="noopener noreferrer">{}</a>').format(
            explorer.rstrip("/"), tx_hash, words
        )
    return Markup('<span class="tx">{}{}</span>').format(words, copy_button(tx_hash))


def copy_button(text: str) -> Markup:
    return _COPY.format(plain(text), plain(short(text)))
