"""``[alerts]``: who is told of what, when, in which words. Addresses are secrets and never shown whole."""

from collections.abc import Callable
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from bot.alerts.condition import KINDS
from bot.alerts.schedule import time_of, zone_of
from bot.alerts.templates import Template, Templates
from bot.alerts.web_address import checked_address
from bot.errors import ConfigError
from bot.settings.part import Part
from bot.settings.shape import nearest

Least = Literal["info", "warning", "critical"]


class TargetSettings(Part):
    """One target, and what it is to hear."""

    url: SecretStr  # of apprise, or https://… with a secret: a signed webhook
    secret: SecretStr | None = None  # that a webhook's messages are signed with
    least: Least | None = None  # that of [alerts] without it
    kinds: tuple[str, ...] = ()  # none: all of them

    @field_validator("kinds")
    @classmethod
    def _check_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"there is no kind {kind[:40]!r}; {nearest(kind, tuple(KINDS))}")
        return kinds


class TemplateSettings(Part):
    """A person's own words for a kind of message."""

    title: str = ""
    body: str = ""


class AlertSettings(Part):
    """Who is told, and from which severity on."""

    urls: tuple[SecretStr, ...] = ()  # of apprise; targets with nothing but an address
    targets: tuple[TargetSettings, ...] = ()
    least: Least = "warning"
    health_factor: float = Field(default=1.25, ge=1.0, le=100.0)
    range_margin: float = Field(default=0.0, ge=0.0, lt=1.0)  # fraction of price before a range end
    rearm: float = Field(default=0.01, ge=0.0, lt=1.0)  # fraction past a limit before its alert ends
    silent_after_s: float = Field(default=60.0, ge=1.0, le=86_400.0)
    settle_s: float = Field(default=60.0, ge=0.0, le=86_400.0)  # that a recovery must have stood
    gap_s: float = Field(default=600.0, ge=60.0, le=86_400.0)  # unwatched: what stands is told once more
    max_per_hour: int = Field(default=30, ge=1, le=1_000)  # that are not critical; the rest is gathered
    time_zone: str = "UTC"
    quiet_from: str = ""  # "22:00"; both or neither
    quiet_until: str = ""
    digest_every_s: float | None = Field(default=None, ge=60.0, le=604_800.0)  # this, or
    digest_at: str = ""  # "08:00"
    alive_at: str = ""
    heartbeat_url: SecretStr | None = None
    heartbeat_every_s: float = Field(default=60.0, ge=5.0, le=3_600.0)
    templates: dict[str, TemplateSettings] = Field(default_factory=dict)  # by kind

    @property
    def words(self) -> Templates:
        """The templates, checked. Raises ConfigError."""
        return Templates(
            by_kind={
                kind: Template(title=item.title, body=item.body) for kind, item in self.templates.items()
            }
        )

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        _checked("time_zone", zone_of, self.time_zone)
        for name in ("quiet_from", "quiet_until", "digest_at", "alive_at"):
            if text := getattr(self, name):
                _checked(name, time_of, text)
        if bool(self.quiet_from) != bool(self.quiet_until):
            raise ValueError("quiet_from and quiet_until belong together; name both times, or neither")
        if self.quiet_from and time_of(self.quiet_from) == time_of(self.quiet_until):
            raise ValueError("quiet_from and quiet_until are the same time; name two, or neither")
        if self.digest_at and self.digest_every_s is not None:
            raise ValueError("digest_at and digest_every_s exclude each other; remove one")
        return self

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        try:
            _ = self.words
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _check_heartbeat(self) -> Self:
        if self.heartbeat_url is not None:
            try:
                checked_address(self.heartbeat_url.get_secret_value(), what="heartbeat_url")
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self


def _checked(name: str, check: Callable[[str], object], text: str) -> None:
    try:
        check(text)
    except ConfigError as error:
        raise ValueError(f"{name}: {error}") from None
