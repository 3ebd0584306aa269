"""Texts that say why, told apart by what they are about and not by the figures in them."""

import re

# Figures that change from step to step: ages, differences, heights, hashes, times. A chain's id and an
# address are names.
_FIGURE = re.compile(r"(?<!chain )(?<![\w.:#/])(?!0x[0-9a-fA-F]{40}\b)-?\d(?:[\w.,:%-]*\w%?)?")


def kind_of(reason: str) -> str:
    """Return a reason without its figures: "price is 70 s old" and "price is 82 s old" are one condition."""
    return _FIGURE.sub("#", reason)
