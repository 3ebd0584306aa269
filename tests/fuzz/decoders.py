"""Every decoder of outside bytes, in one table: a new decoder is one row in the file of its kind.

A row takes bytes, whatever they are, and gives what the program makes of them, or raises one of the errors
that the decoder documents. ``test_inventory.py`` finds modules of bot/ that decode and have no row here.
"""

import re
import time
from typing import Any

from fuzz.chain_rows import ROWS as CHAIN
from fuzz.file_rows import ROWS as FILES
from fuzz.kinds import Decoder
from fuzz.signer_rows import ROWS as SIGNER
from fuzz.web_rows import ROWS as WEB

from bot.errors import LONGEST_WORDS, BotError

DECODERS: tuple[Decoder, ...] = (*CHAIN, *SIGNER, *WEB, *FILES)
LONGEST_S = 10.0  # of one document; what takes longer hangs
_SECRET = "secret-key"  # stands in the URLs and keys of the rows
# A fault may cut it out of its URL, and it is a word like others then; behind a host it is a secret still.
_WHOLE_URL = re.compile(rf"\w://[^/\s\"']+/{_SECRET}".encode())
_SECRET_OF_URL = re.compile(
    rf"//[^/\s]+/\S*{_SECRET}|//\S*{_SECRET}\S*@"
    rf"|(?<![\w./@-])([A-Za-z0-9-]+\.)+([A-Za-z]{{2,}}|\d{{1,3}})(:\d+)?/\S*{_SECRET}"
)


def problem(decoder: Decoder, raw: bytes) -> str:
    """Give a decoder some bytes and return what is wrong with how it took them, "" for nothing."""
    began_s = time.thread_time()
    found = _outcome(decoder, raw)
    took_s = time.thread_time() - began_s
    return found if took_s < LONGEST_S else f"it took {took_s:.0f} s"


def _outcome(decoder: Decoder, raw: bytes) -> str:
    try:
        value: Any = decoder.run(raw)
    except decoder.errors as error:
        is_cut = raw.count(_SECRET.encode()) > len(_WHOLE_URL.findall(raw))
        return _of_words(error, is_cut=is_cut)
    except Exception as error:  # noqa: BLE001 - any other is what is looked for
        return (
            f"{type(error).__name__}, allowed is {[kind.__name__ for kind in decoder.errors]}: {error!s:.200}"
        )
    return decoder.wrong(value)


def _of_words(error: BotError, *, is_cut: bool) -> str:
    words = str(error)
    if not words or len(words) > LONGEST_WORDS:
        return f"an error of {len(words)} characters: {words[:200]!r}"
    if not words.isprintable():
        return f"an error that is no printable line: {words[:300]!r}"
    is_told = _SECRET_OF_URL.search(words) is not None if is_cut else _SECRET in words
    return "an error with a secret" if is_told else ""
