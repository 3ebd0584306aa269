"""Settings of the dashboard: where it listens, who may look, what it links to."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from bot.settings.part import Part

SHORTEST_TOKEN = 20  # characters
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:\d{1,5})?")


class DashboardSettings(Part):
    """A web page for people, on this machine alone unless TLS and a token are given."""

    host: str = "127.0.0.1"
    port: int = Field(default=8421, ge=0, le=65_535)  # 0: any that is free
    token: SecretStr = SecretStr("")  # empty: one is made at the first start and kept in state_dir
    token_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()  # names that a browser may reach it by, beside those of this machine
    tls_cert: Path | None = None
    tls_key: Path | None = None
    reports: Path | None = None  # folder of reports to list; none: reports in state_dir
    explorers: Mapping[int, str] = Field(default_factory=dict)  # chain id -> address; hashes link to it

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _check_reach(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; give both, or neither")
        if self.is_loopback:
            return self
        has_token = bool(self.token.get_secret_value()) or self.token_file is not None
        if self.tls_cert is None or not has_token:
            raise ValueError(
                f"host {self.host} can be reached from other machines, which needs tls_cert, tls_key and a "
                "token (or token_file); give them, or use 127.0.0.1 with an SSH tunnel"
            )
        if not self.allowed_hosts:
            raise ValueError(
                f"host {self.host} can be reached by names that only you know; list them in allowed_hosts"
            )
        return self

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        token = self.token.get_secret_value()
        if token and self.token_file is not None:
            raise ValueError("token and token_file say the same; keep one of them")
        if token and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"token has {len(token)} characters; it needs {SHORTEST_TOKEN} or more")
        for name in self.allowed_hosts:
            if not _HOST.fullmatch(name):
                raise ValueError(f"allowed_hosts: {name[:60]!r} must be a host name, with a port or without")
        for chain_id, url in self.explorers.items():
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
                raise ValueError(f"explorers.{chain_id} must be like https://etherscan.io, was {url[:60]!r}")
        return self
