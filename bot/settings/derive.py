"""``[derive]``: options on Derive's order book. Without ``[derive.account]`` they are only quoted."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from bot.chain.address import Address
from bot.chain.derive_actions import DeriveActionRule
from bot.chain.node_url import checked_url, endpoint
from bot.errors import ConfigError
from bot.model.hedge import OptionType
from bot.settings.part import Part
from bot.venues.derive_networks import DeriveNetwork, derive_network
from bot.venues.derive_orders import DeriveTerms

_NETWORKS: tuple[Literal["testnet", "mainnet"], ...] = ("testnet", "mainnet")


class DeriveAccountSettings(Part):
    """Whose subaccount, which session key signs for it, and within which bounds.

    The session key is not the owner's: it is registered at the exchange with the scope of trading options
    alone. Its password is asked for at the terminal without ``password_file``.
    """

    owner: Address  # wallet that owns the subaccount
    subaccount_id: int = Field(ge=0, lt=2**63)
    session_key: Address
    keystore: Path  # of the session key
    password_file: Path | None = None
    assets: tuple[Address, ...] = Field(min_length=1)  # option contracts that may be traded
    max_order_usd: float = Field(gt=0.0, allow_inf_nan=False)  # of one purchase, fees included
    max_day_usd: float = Field(gt=0.0, allow_inf_nan=False)  # of purchases in any 24 hours
    max_sale_usd: float = Field(gt=0.0, allow_inf_nan=False)  # price times contracts of one sale
    max_fee_usd: float = Field(gt=0.0, allow_inf_nan=False)  # of one order
    min_price_usd: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)  # of a contract, either way
    # Sold in any 24 hours beyond those whose purchase the signer signed: held from before, or tried again.
    # Required: 0 would keep a sale that nobody took from being signed again, and the options from being sold.
    max_uncovered_contracts: float = Field(ge=0.0, allow_inf_nan=False)
    real_money: tuple[str, ...] = ()  # the sentence that mainnet needs

    @model_validator(mode="after")
    def _check_parties(self) -> Self:
        if self.owner == self.session_key:
            raise ValueError("session_key is the owner's own key; register one of its own for trading only")
        if self.max_day_usd < self.max_order_usd:
            raise ValueError(f"max_day_usd {self.max_day_usd} is under max_order_usd {self.max_order_usd}")
        return self


class DeriveSettings(Part):
    """Which network, what of it, and how it is traded."""

    network: Literal["testnet", "mainnet"]
    base_url: str = ""  # in place of the network's own
    ws_url: str = ""
    underlyings: tuple[str, ...] = Field(default=("ETH",), min_length=1)
    option_types: tuple[OptionType, ...] = (OptionType.PUT, OptionType.CALL)
    min_abs_delta: float = Field(default=0.02, ge=0.0, lt=1.0)
    max_abs_delta: float = Field(default=0.6, gt=0.0, le=1.0)
    max_dte: float = Field(default=120.0, gt=0.0, le=730.0)
    most_books: int = Field(default=100, ge=1, le=200)
    max_age_s: float = Field(default=60.0, gt=0.0, le=600.0)
    max_basis: float = Field(default=0.03, gt=0.0, le=0.5)
    price_buffer: float = Field(default=0.01, ge=0.0, le=0.2)
    fee_margin: float = Field(default=1.5, ge=1.0, le=10.0)
    order_life_s: float = Field(default=30.0, gt=0.0, le=600.0)
    signature_life_s: float = Field(default=60.0, ge=20.0, le=900.0)
    rfq: bool = False
    rfq_wait_s: float = Field(default=15.0, gt=0.0, le=120.0)
    timeout_s: float = Field(default=10.0, gt=0.0, le=60.0)
    account: DeriveAccountSettings | None = None

    @property
    def listed(self) -> DeriveNetwork:
        """What is known of the network."""
        return derive_network(self.network)

    @property
    def urls(self) -> tuple[str, str]:
        """Where the exchange is asked, by HTTP and by websocket."""
        return self.base_url or self.listed.base_url, self.ws_url or self.listed.ws_url

    @property
    def terms(self) -> DeriveTerms:
        names = set(DeriveTerms.__slots__) & set(type(self).model_fields)
        assets = frozenset(self.account.assets) if self.account is not None else frozenset()
        return DeriveTerms(**{name: getattr(self, name) for name in names}, assets=assets)

    def rule(self) -> DeriveActionRule:
        """Return what the session key may sign. Raises ConfigError: no account, or real money unsaid."""
        account = self.account
        if account is None:
            raise ConfigError("derive: signing needs a [derive.account]")
        return DeriveActionRule(
            domain=self.listed.domain,
            owner=account.owner,
            session_key=account.session_key,
            subaccount_id=account.subaccount_id,
            assets=frozenset(account.assets),
            max_order_usd=account.max_order_usd,
            max_notional_usd=account.max_sale_usd,
            max_fee_usd=account.max_fee_usd,
            max_day_usd=account.max_day_usd,
            min_price_usd=account.min_price_usd,
            max_uncovered_contracts=account.max_uncovered_contracts,
            max_life_s=self.signature_life_s + 60.0,
            real_money=frozenset(account.real_money),
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_abs_delta >= self.max_abs_delta:
            raise ValueError(f"min_abs_delta {self.min_abs_delta} must be under {self.max_abs_delta}")
        if bool(self.base_url) != bool(self.ws_url):
            raise ValueError("base_url and ws_url are given together or not at all")
        try:
            for url, schemes in zip(self.urls, (("http", "https"), ("ws", "wss")), strict=True):
                checked_url(url, schemes=schemes, allow_plain=False, what="derive URL")
            if self.account is not None:
                self.rule()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        self._check_network()
        return self

    def _check_network(self) -> None:
        """Refuse the address of one network beside the signatures of another."""
        for name in _NETWORKS:
            other = derive_network(name)
            hosts = {endpoint(url).host for url in (other.base_url, other.ws_url)}
            if name != self.network and hosts & {endpoint(url).host for url in self.urls}:
                raise ValueError(
                    f"base_url or ws_url is that of {name}, network says {self.network}; correct one of them"
                )
