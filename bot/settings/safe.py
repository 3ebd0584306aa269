"""The Safe whose money is hedged, and where its owners leave their signatures."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from bot.chain.address import Address
from bot.chain.node_url import checked_url
from bot.errors import ConfigError
from bot.settings.part import Part


class SafeSettings(Part):
    """A Safe on the home chain, of which ``account`` is an owner. Owners and threshold are read there."""

    address: Address
    multi_send: Address  # MultiSendCallOnly: what a batch goes through
    service: SecretStr | None = None  # Safe Transaction Service, up to "/api"; none: a folder, ``queue``
    api_key: SecretStr = SecretStr("")  # of the service
    queue: Path | None = None  # folder that the owners share; in state_dir unless named
    timeout_s: float = Field(default=15.0, gt=0.0, le=120.0)  # for one call of the service

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.service is None:
            if self.api_key.get_secret_value():
                raise ValueError("api_key is of a service, and none is named; add service, or remove it")
            return self
        if self.queue is not None:
            raise ValueError("proposals lie at a service or in a queue; remove one of service and queue")
        try:
            url = self.service.get_secret_value()
            checked_url(url, schemes=("http", "https"), allow_plain=False, what="safe.service")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self
