"""Kept parts of a long run: the same numbers again, or none: never others."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.simulation.kept_parts import KeptParts

NUMBERS = {0: {"crash": 0.1 + 0.2, "slide": math.inf}, 7: {"crash": -1 / 3, "slide": 0.0}}


def test_numbers_are_there_again_to_the_last_bit(tmp_path):
    KeptParts(tmp_path).keep_numbers("control", NUMBERS)
    assert KeptParts(tmp_path).numbers("control") == NUMBERS
    assert KeptParts(tmp_path).numbers("other") is None
    assert [item.name for item in tmp_path.iterdir()] == ["control.npz"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), byte=st.integers(1, 255), length=st.integers(0, 10_000))
def test_a_file_that_was_damaged_gives_the_same_or_nothing(tmp_path, place, byte, length):
    """One byte changed, or the end lost: the part is then run again."""
    kept = KeptParts(tmp_path)
    kept.keep_numbers("control", NUMBERS)
    path = tmp_path / "control.npz"
    whole = bytearray(path.read_bytes())
    damaged = bytearray(whole)
    damaged[place % len(whole)] ^= byte
    for found in (damaged, whole[: length % len(whole)]):
        path.write_bytes(bytes(found))
        assert kept.numbers("control") in (None, NUMBERS)


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--keep .*file cannot be used"):
        KeptParts(tmp_path / "file")
