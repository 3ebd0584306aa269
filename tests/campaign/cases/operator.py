"""The O rows of reliability.md."""

from collections.abc import Mapping

from campaign.case import Case

CASES: Mapping[str, Case] = {}
