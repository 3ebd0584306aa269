"""T8 to T14."""

from collections.abc import Mapping

from campaign.case import Case

CASES: Mapping[str, Case] = {}
