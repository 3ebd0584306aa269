"""Settings of a chain: its providers, and how it is read. URLs are secrets and never printed whole."""

from collections import Counter
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from bot.chain.address import Address
from bot.chain.chain_traits import traits_of
from bot.chain.node_url import checked_url, endpoint, is_private_host
from bot.errors import ConfigError
from bot.settings.part import Part

_HTTP, _WEBSOCKET = ("http", "https"), ("ws", "wss")


class ChainSettings(Part):
    """Which chain, and how it is read."""

    id: int = Field(gt=0, lt=2**63)
    rpc_url: SecretStr | None = None  # one provider, or
    rpc_urls: tuple[SecretStr, ...] = ()  # several
    agreement: int = Field(default=1, ge=1, le=10)  # providers that must give the same answer
    ws_url: SecretStr | None = None  # new heads wake the poll early; nothing rests on it
    wake_gap_s: float = Field(default=1.0, ge=0.0, le=3_600.0)  # least time between two wakes; clock "wall"
    allow_plain_http: bool = False
    max_head_lag: int = Field(default=3, ge=0, le=10_000)
    multicall3: Address = "0xcA11bde05977b3631167028862bE2a173976CA11"
    confirmations: int | None = Field(default=None, ge=1, le=10_000)  # none: what is sound on the chain
    final_tag: Literal["", "safe", "finalized"] = ""  # receipts count only up to the node's block of it
    look_in_pool: bool = False  # before the first transaction; the node must answer txpool_contentFrom
    send_url: SecretStr | None = None  # a private relay: transactions go there alone
    public_after_blocks: int | None = Field(default=None, ge=1, le=10_000)  # of waiting at the relay
    poll_s: float = Field(default=12.0, ge=0.05, le=3_600.0)
    timeout_s: float = Field(default=10.0, gt=0.0, le=120.0)
    watched_elsewhere: bool = False  # its series come from `alvh watch`, through a history in PostgreSQL
    clock: Literal["wall", "chain"] = "wall"  # chain: devnets, where time moves only with blocks

    @property
    def depth(self) -> int:
        """How many blocks, its own included, make a receipt count."""
        return traits_of(self.id).depth if self.confirmations is None else self.confirmations

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of all providers, in the order of the file."""
        given = self.rpc_urls or ((self.rpc_url,) if self.rpc_url is not None else ())
        return tuple(item.get_secret_value() for item in given)

    @model_validator(mode="after")
    def _check_relay(self) -> Self:
        if self.send_url is not None:
            self._check_url(self.send_url.get_secret_value(), "send_url", _HTTP)
        elif self.public_after_blocks is not None:
            raise ValueError("public_after_blocks means nothing without send_url; add it, or remove this")
        return self

    @model_validator(mode="after")
    def _check_providers(self) -> Self:
        if (self.rpc_url is None) == (not self.rpc_urls):
            raise ValueError("needs either rpc_url (one provider) or rpc_urls (several)")
        for field, url in zip(self._url_fields, self.urls, strict=True):
            self._check_url(url, field, _HTTP)
        self._check_agreement()
        if self.ws_url is not None:
            self._check_url(self.ws_url.get_secret_value(), "ws_url", _WEBSOCKET)
        return self

    def _check_agreement(self) -> None:
        """Refuse what would agree with itself, and an agreement that two different answers could have."""
        count = len(self.urls)
        (who, _, _), times = Counter(self._provider(url) for url in self.urls).most_common(1)[0]
        if times > 1:
            raise ValueError(
                f"rpc_urls names the provider {who} {times} times; one that agrees with itself, or stands in "
                "for itself, proves nothing: name different ones"
            )
        if self.agreement > 1 and not count < 2 * self.agreement <= 2 * count:
            raise ValueError(
                f"agreement is {self.agreement} of {count} providers; it must be a majority, "
                f"{count // 2 + 1} to {count}: change it, or add rpc_urls"
            )

    def _provider(self, url: str) -> tuple[str, int, str]:
        """Return who answers at a URL. Two keys at one public host can replace each other, but not agree."""
        host, port, path = endpoint(url)
        if self.agreement == 1:
            return host, port, path
        return (host, port, "") if is_private_host(url) else (host, 0, "")

    def _check_url(self, url: str, field: str, schemes: tuple[str, str]) -> None:
        try:
            checked_url(url, schemes=schemes, allow_plain=self.allow_plain_http, what=field)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @property
    def _url_fields(self) -> tuple[str, ...]:
        return tuple(f"rpc_urls.{number}" for number in range(len(self.rpc_urls))) or ("rpc_url",)
