"""The campaign's part ``fuzz``: every hostile value at every place of every document of every decoder.

All values at all places come first, each once; then documents with several faults, drawn by Hypothesis from a
fresh seed. ``tests/fuzz`` has the table of decoders, and a few of these for each change.
"""

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fuzz.decoders import DECODERS, problem
from fuzz.kinds import Decoder
from fuzz.mutations import (
    BYTES,
    VERBATIM,
    all_faults,
    all_text_faults,
    any_json,
    broken,
    junk,
    names_of,
    places,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import bot.chain.accounts  # noqa: F401 - before others take eth-account: it keeps the recursion limit
from campaign.parts import Options

MOST_OF_ONE = 20_000  # faults of one decoder, evenly from all of them
DRAWN = 300  # documents of one decoder that Hypothesis draws
MOST_GROWTH_MIB = 256.0  # of memory over the whole part


def run(options: Options) -> dict[str, Any]:
    """Return how many decoders took how many documents, and how many problems came of them.

    ``options.repeats`` documents of each are drawn (0: 300), beside the listed ones.
    """
    examples, problems = 0, 0
    before_mib = _peak_mib()
    for decoder in DECODERS:
        found = _Found(decoder)
        step = sum(1 for _ in _faults(decoder)) // MOST_OF_ONE + 1
        for raw in islice(_faults(decoder), 0, None, step):
            found.give(raw)
        _draw(found, options.repeats or DRAWN)
        found.tell()
        examples, problems = examples + found.examples, problems + len(found.problems)
    grown_mib = _peak_mib() - before_mib
    _say(
        f"fuzz: {len(DECODERS)} decoders, {examples:,} documents, {problems} problems, "
        f"memory grew by {grown_mib:.0f} MiB"
    )
    problems += grown_mib > MOST_GROWTH_MIB
    return {"fuzz_decoders": len(DECODERS), "fuzz_examples": examples, "fuzz_problems": problems}


@dataclass(slots=True)
class _Found:
    """What came of one decoder; ``problems`` have the bytes that each was first met with."""

    decoder: Decoder
    examples: int = 0
    problems: dict[str, bytes] = field(default_factory=dict)

    def give(self, raw: bytes) -> None:
        self.examples += 1
        if why := problem(self.decoder, raw):
            self.problems.setdefault(why[:80], raw)

    def tell(self) -> None:
        for why, raw in islice(self.problems.items(), 5):
            _say(f"fuzz: {self.decoder.name}: {why}; bytes {raw[:120]!r}")


def _faults(decoder: Decoder) -> Iterator[bytes]:
    yield from (*BYTES, *VERBATIM.values())
    for document in (*decoder.valid, *decoder.refused):
        yield from all_faults(document) if places(document) else all_text_faults(document)
        yield from (document[:end] for end in range(min(len(document), 1_000)))
        for place in range(min(len(document), 1_000)):
            yield document[:place] + bytes([document[place] ^ 1 << place % 8]) + document[place + 1 :]


def _draw(found: _Found, many: int) -> None:
    documents = [*found.decoder.valid, *found.decoder.refused]
    kinds = (junk(), any_json(names_of(documents)), *(broken(document) for document in documents))

    @given(raw=st.one_of(*kinds))
    @settings(
        max_examples=max(many, 1),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def draw(raw: bytes) -> None:
        found.give(raw)

    draw()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
