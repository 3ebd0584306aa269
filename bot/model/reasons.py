"""Texts that say why, told apart by what they are about and not by the figures in them."""

import re

# Figures that change from step to step: ages, differences, heights, hashes, times. A chain's id and an
# address are names.
_FIGURE = re.compile(r"(?<!chain )(?<![\w.:#/])(?!0x[0-9a-fA-F]{40}\b)-?\d(?:[\w.,:%-]*\w%?)?")
_LAG = re.compile(r"^price of .* s old, at most|^chain \d+ (is|time is) .* s (behind our clock|from now)")


def kind_of(reason: str) -> str:
    """Return a reason without its figures: "price is 70 s old" and "price is 82 s old" are one condition."""
    return _FIGURE.sub("#", reason)


def is_disagreement(reason: str) -> bool:
    """Say whether price sources contradict each other: "feed:a and v3:b disagree on ETH by 3 %"."""
    return " disagree on " in reason


def is_lag(reason: str) -> bool:
    """Say whether what is known is too old, or the chain and our clock are apart."""
    return _LAG.search(reason) is not None
