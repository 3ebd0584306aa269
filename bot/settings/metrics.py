"""``[metrics]``, ``[logs]`` and ``[tracing]``: what an operator sees of a run beside its alerts."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from bot.alerts.web_address import checked_address, is_loopback
from bot.errors import ConfigError
from bot.settings.part import Part


class MetricsSettings(Part):
    """Where ``/metrics`` and ``/health`` are served; without a port they are not."""

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=1, le=65_535)
    hosts: tuple[str, ...] = ()  # names beside loopback that a request may ask for

    @model_validator(mode="after")
    def _check_hosts(self) -> Self:
        if not is_loopback(self.host) and not self.hosts:
            raise ValueError(
                f"host {self.host} can be reached by others: name in hosts by which names they ask for it, "
                'for example hosts = ["alvh.lan"]'
            )
        return self


class LogSettings(Part):
    """A file of JSON lines; without one nothing is written."""

    file: Path | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_mb: float = Field(default=20.0, ge=0.1, le=10_000.0)  # of one file; it is then rotated
    keep: int = Field(default=5, ge=1, le=100)  # rotated files beside it


class TracingSettings(Part):
    """Where traces go by OTLP over HTTP; without an endpoint there are none."""

    endpoint: SecretStr | None = None  # it may hold a token

    @model_validator(mode="after")
    def _check_endpoint(self) -> Self:
        if self.endpoint is not None:
            try:
                checked_address(self.endpoint.get_secret_value(), what="tracing.endpoint")
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self
