"""The numbers of the FUNDAMENTAL signals. Table ``[signals.fundamental]`` of a policy file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FundamentalPolicy:
    """Anchors (in the signal's own unit, mostly fractions) and windows."""
