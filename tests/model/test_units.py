"""Units: what every number from outside must pass through."""

import pytest

from bot.model.units import iso_utc


@pytest.mark.parametrize(
    ("at_s", "shown"),
    [
        (1_652_112_840, "2022-05-09T16:14:00Z"),
        (1_652_112_840.9, "2022-05-09T16:14:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "253402300800"),  # dates end with the year 9999
        (2**255, str(2**255)),
        (1e308, "1e+308"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_a_time_is_shown_whatever_it_is(at_s: float, shown: str):
    assert iso_utc(at_s) == shown
