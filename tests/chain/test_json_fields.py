"""Checks of decoded JSON: decimal strings exactly, stamps in their unit, nothing made up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.json_fields import (
    BadReply,
    field,
    iso_seconds,
    listing,
    mapping,
    millis,
    number,
    seconds,
    shown,
)

NOW_S = 1_795_263_600.0


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=18))
def test_a_decimal_string_becomes_the_nearest_float(value):
    assert number(f"{value:f}", "x") == float(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1 ",
        "nan",
        "inf",
        "-Infinity",
        "0x10",
        "1_000",
        "1,000",
        "１",
        "1e9999",
        "9" * 81,
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(BadReply, match=r"^x is "):
        number(value, "x")


@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, math.nan])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(BadReply, match="not finite"):
        number(value, "x")


def test_bounds_are_included():
    assert number("5", "x", least=5.0, most=5.0) == 5.0
    with pytest.raises(BadReply, match=r"x is 5\.1, allowed is 0 to 5"):
        number("5.1", "x", least=0.0, most=5.0)


def test_stamps_keep_to_their_unit_and_to_now():
    assert millis(NOW_S * 1e3, "t", now_s=NOW_S) == seconds(NOW_S, "t", now_s=NOW_S) == NOW_S
    assert iso_seconds("2026-11-21T12:20:00.000Z", "t") == iso_seconds("2026-11-21T12:20:00", "t") == NOW_S
    for wrong in (lambda: seconds(NOW_S * 1e3, "t"), lambda: millis(NOW_S, "t"), lambda: seconds(0, "t")):
        with pytest.raises(BadReply, match="in its unit"):
            wrong()
    assert seconds(NOW_S + 119, "t", now_s=NOW_S) == NOW_S + 119
    with pytest.raises(BadReply, match="121 s in the future"):
        seconds(NOW_S + 121, "t", now_s=NOW_S)


def test_fields_are_named():
    assert field({"a": None}, "a", "x") is None
    for bad, words in (
        (lambda: field({}, "a", "x"), "x has no a"),
        (lambda: field([], "a", "x"), "x is no object, found a list of 0"),
        (lambda: listing({"a": 1}, "x"), "x is no list, found an object of 1"),
        (lambda: mapping("y", "x"), "x is no object, found 'y'"),
    ):
        with pytest.raises(BadReply, match=words):
            bad()


@given(st.text() | st.binary() | st.integers())
def test_a_shown_value_is_one_short_line(value):
    text = shown(value)
    assert text.isprintable()
    assert len(text) <= 61
