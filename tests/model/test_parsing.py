"""JSON and TOML of others: ValueError alone, however deep, long or large (REL-F9)."""

import pytest

from bot.errors import LONGEST_WORDS, ConfigError, OutcomeUnknown, one_line
from bot.model.parsing import MOST_BITS, MOST_NESTED, json_of, toml_of


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_what_is_json_and_toml_is_read():
    assert json_of(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert toml_of("a = [1, {b = 2}]") == {"a": [1, {"b": 2}]}
    assert json_of(nested(MOST_NESTED))
    assert toml_of(f"a = {2**MOST_BITS - 1}") == {"a": 2**MOST_BITS - 1}


@pytest.mark.parametrize(
    "text", [nested(MOST_NESTED + 2), nested(990), nested(100_000), "9" * 5_000, "{", '{"a": }', "\ud800"]
)
def test_what_is_no_json_is_a_value_error(text: str):
    with pytest.raises(ValueError, match=r"."):
        json_of(text)


@pytest.mark.parametrize(
    "value",
    [nested(MOST_NESTED + 2), nested(100_000), "9" * 5_000, str(2**MOST_BITS), f"[{2**MOST_BITS}]", "{"],
)
def test_what_is_no_toml_is_a_value_error(value: str):
    with pytest.raises(ValueError, match=r"."):
        toml_of(f"a = {value}")


def test_bytes_that_are_no_utf_8_are_a_value_error():
    with pytest.raises(ValueError, match="utf-8"):
        json_of(b'"\xff"')


def test_errors_are_one_printable_line_of_bounded_length():
    assert str(ConfigError("two\nlines\x1b[31m, \u202eegnp.exe")) == "two lines [31m,  egnp.exe"
    assert len(str(ConfigError("x" * 1_000_000))) == LONGEST_WORDS
    assert str(OutcomeUnknown("a\nsend", "k\x00")) == "outcome of a send (k ) is unknown"
    assert one_line("x" * 10, most=4) == "xxx…"
