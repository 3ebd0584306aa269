"""``[indicative]``: a public option book whose prices a dry run and a plan show. Nothing is traded there."""

from typing import Literal, Self

from pydantic import Field, model_validator

from bot.errors import ConfigError
from bot.model.hedge import OptionType
from bot.settings.part import Part
from bot.venues.indicative import BOOK_URLS, IndicativeTerms
from bot.watchers.web.client import check_url


class IndicativeSettings(Part):
    """Which book is read, what of it, and when it is believed."""

    venue: Literal["deribit", "derive"]
    base_url: str = ""  # in place of the venue's own
    underlyings: tuple[str, ...] = ("ETH",)
    option_types: tuple[OptionType, ...] = (OptionType.PUT, OptionType.CALL)
    min_abs_delta: float = Field(default=0.02, ge=0.0, lt=1.0)
    max_abs_delta: float = Field(default=0.6, gt=0.0, le=1.0)
    max_dte: float = Field(default=120.0, gt=0.0, le=730.0)
    most_books: int = Field(default=40, ge=1, le=400)
    book_ttl_s: float = Field(default=60.0, gt=0.0, le=3_600.0)
    listing_ttl_s: float = Field(default=3_600.0, gt=0.0, le=86_400.0)
    quote_ttl_s: float = Field(default=300.0, gt=0.0, le=3_600.0)
    max_basis: float = Field(default=0.03, gt=0.0, le=0.5)
    forward_fee: float = Field(default=0.0005, ge=0.0, le=0.05)
    parallel: int = Field(default=4, ge=1, le=16)

    @property
    def url(self) -> str:
        """Where the book is read."""
        return self.base_url or BOOK_URLS[self.venue]

    @property
    def terms(self) -> IndicativeTerms:
        """The terms of the venue. Raises ConfigError when two of them contradict each other."""
        return IndicativeTerms(**self.model_dump(exclude={"venue", "base_url"}))

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            check_url(self.url, what="base_url")
            _ = self.terms
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self
