"""R8: an option gains the same on the same paths, whoever asks and whatever else is asked with it (R25)."""

import numpy as np
from engine.factory import GROUP, calm_columns, classic, exposure, frame, option, quote
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.group import group_contracts, path_gains, read_group

POLICY = classic()
QUOTES = [quote(option(strike, days)) for strike in (1200, 1500, 1700, 1900) for days in (3, 30, 90)]
OPTIONS = [(item.instrument, item.iv) for item in QUOTES]


def fresh_group():
    return read_group(POLICY, frame(columns=calm_columns(), exposures=(exposure(),)), GROUP)


ALONE = fresh_group()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=5), min_size=1, max_size=4))
def test_r8_gains_on_paths_are_the_same_bits_alone_together_and_remembered(asked):
    group = fresh_group()
    for options in asked:
        found = path_gains(group, options)
        for row, item in zip(found, options, strict=True):
            (alone,) = group_contracts(ALONE, [item]).path_gains(ALONE.paths)
            np.testing.assert_array_equal(row, alone)
