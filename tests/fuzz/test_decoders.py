"""Any bytes give a value or one of the decoder's own errors, in one line, without secrets (REL-F6 to F9).

``scripts/campaign fuzz`` puts every hostile value at every place of every document; here a few of each.
"""

import pytest
from fuzz.decoders import DECODERS, problem
from fuzz.kinds import Decoder
from fuzz.mutations import BYTES, VERBATIM, any_json, broken, junk, names_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import BotError

ids = [decoder.name for decoder in DECODERS]
few = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def test_names_are_unique():
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("decoder", DECODERS, ids=ids)
def test_good_documents_are_taken_and_come_back(decoder: Decoder):
    for document in decoder.valid:
        found = decoder.run(document)
        assert not decoder.wrong(found)
        if decoder.back is not None:
            assert decoder.back(found) == document
    for document in decoder.refused:
        assert not problem(decoder, document)


@pytest.mark.parametrize("decoder", DECODERS, ids=ids)
def test_what_parsers_stumble_over_is_refused_or_read(decoder: Decoder):
    for raw in (*BYTES, *VERBATIM.values()):
        assert not problem(decoder, raw), raw[:80]


@pytest.mark.parametrize("decoder", DECODERS, ids=ids)
@given(data=st.data())
@few
def test_any_bytes_give_a_value_or_a_documented_error(decoder: Decoder, data: st.DataObject):
    documents = [*decoder.valid, *decoder.refused]
    raw = data.draw(
        st.one_of(junk(), any_json(names_of(documents)), *(broken(document) for document in documents[:2]))
    )
    assert not problem(decoder, raw)


def test_a_decoder_that_fails_otherwise_is_found():
    def breaks(raw: bytes) -> object:
        return {b"lookup": lambda: {}["x"], b"lines": _two_lines, b"key": _with_a_key}[raw]()

    decoder = Decoder(name="x", module="x", run=breaks, valid=(), errors=(BotError,))
    assert "KeyError, allowed is ['BotError']" in problem(decoder, b"lookup")
    assert "no printable line" in problem(decoder, b"lines")
    assert problem(decoder, b"key") == "an error with a secret"


class _Raw(BotError):
    def __str__(self) -> str:
        return str(self.args[0])


def _two_lines() -> None:
    raise _Raw("one\ntwo")


def _with_a_key() -> None:
    raise _Raw("at https://x/secret-key")
