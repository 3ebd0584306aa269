"""``[[reserves]]``, ``[[covers]]`` and ``[[loans]]``: what a user states for the base layers (R20, R21)."""

import math
from datetime import date
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.base_layers import BaseHoldings, Cover, Loan, ReserveHolding
from bot.model.units import parse_utc_s
from bot.settings.part import Part


class ReserveSettings(Part):
    """Money that is kept ready: how much of it, or where it is watched."""

    asset: str = Field(min_length=1)  # "USDC"
    units: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)  # whole units
    watched: str = ""  # "<holder>/<token>" of a source of token_units, in place of units
    real_asset: bool = False  # a tokenised real asset: counted at a haircut
    price_usd: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)  # where no source has one

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.units is None) is not bool(self.watched):
            raise ValueError(f"{self.asset} needs units or watched, one of the two")
        return self

    @property
    def holding(self) -> ReserveHolding:
        return ReserveHolding(
            asset=self.asset,
            units=math.nan if self.units is None else self.units,
            watched=self.watched,
            is_real_asset=self.real_asset,
            price_usd=math.nan if self.price_usd is None else self.price_usd,
        )


class CoverSettings(Part):
    """Protocol cover that was bought."""

    id: str = Field(min_length=1)
    protocol: str = Field(min_length=1)  # as exposures name it: "uniswap-v3"
    amount_usd: float = Field(gt=0.0, allow_inf_nan=False)
    expires: str  # ISO 8601 date or time, UTC
    starts: str = ""  # empty: in force already
    venue: str = ""

    @field_validator("expires", "starts", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value  # TOML has dates of its own

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            held = self.cover
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if not held.starts_s < held.expires_s:
            raise ValueError(f"cover {self.id} expires {self.expires}, before it starts on {self.starts}")
        return self

    @property
    def cover(self) -> Cover:
        """The cover. Raises ConfigError for a date that is none."""
        return Cover(
            id=self.id,
            protocol=self.protocol,
            amount_usd=self.amount_usd,
            expires_s=float(parse_utc_s(self.expires, field="expires")),
            starts_s=float(parse_utc_s(self.starts, field="starts")) if self.starts else -math.inf,
            venue=self.venue,
        )


class LoanSettings(Part):
    """What the health factor of a lending position does not tell: its debt, and how it could be topped up."""

    position: str = Field(min_length=1)  # label of the watched account
    debt_asset: str = Field(min_length=1)
    debt_units: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)  # whole units
    watched: str = ""  # "<holder>/<debt token>" of a source of token_units, in place of debt_units
    top_up_asset: str = ""
    top_up_threshold: float | None = Field(default=None, gt=0.0, le=1.0)  # liquidation threshold, fraction
    # Of Aave v3 on the home chain, owed by the account that signs: where it is paid, and in which tokens.
    pool: Address | None = None
    debt_token: Address | None = None  # what is owed itself, not the debt token of the market
    debt_decimals: int | None = Field(default=None, ge=0, le=36)
    top_up_token: Address | None = None
    top_up_decimals: int | None = Field(default=None, ge=0, le=36)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.debt_units is None) is not bool(self.watched):
            raise ValueError(f"loan {self.position} needs debt_units or watched, one of the two")
        return self

    @model_validator(mode="after")
    def _check_payment(self) -> Self:
        tokens = ((self.debt_token, self.debt_decimals), (self.top_up_token, self.top_up_decimals))
        for name, (token, decimals) in zip(("debt", "top_up"), tokens, strict=True):
            if (token is None) is not (decimals is None):
                raise ValueError(f"loan {self.position} needs {name}_token and {name}_decimals together")
        if (self.pool is None) is any(token is not None for token, _ in tokens):
            raise ValueError(f"loan {self.position} needs pool and debt_token or top_up_token together")
        if self.top_up_token is not None and not self.top_up_asset:
            raise ValueError(f"loan {self.position}: top_up_token needs top_up_asset, the name of its price")
        return self

    @property
    def loan(self) -> Loan:
        return Loan(
            position=self.position,
            debt_asset=self.debt_asset,
            debt_units=math.nan if self.debt_units is None else self.debt_units,
            watched=self.watched,
            top_up_asset=self.top_up_asset,
            top_up_threshold=math.nan if self.top_up_threshold is None else self.top_up_threshold,
        )


def base_holdings(
    reserves: tuple[ReserveSettings, ...], covers: tuple[CoverSettings, ...], loans: tuple[LoanSettings, ...]
) -> BaseHoldings:
    """Return what is stated. Raises ValueError for a cover or loan that stands there twice."""
    for what, names in (
        ("covers", [item.id for item in covers]),
        ("loans", [item.position for item in loans]),
    ):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{what}: {twice} stands there twice; keep one of them")
    return BaseHoldings(
        reserves=tuple(item.holding for item in reserves),
        covers=tuple(item.cover for item in covers),
        loans=tuple(item.loan for item in loans),
    )
