"""The sections of the configuration file, one class each."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from bot.chain.address import Address
from bot.settings.part import Part


class FeedSettings(Part):
    """A Chainlink-interface price feed in USD."""

    label: str  # "ETH/USD"
    underlying: str
    address: Address
    heartbeat_s: int = Field(gt=0)
    chain: int | None = Field(default=None, gt=0)  # id of a configured chain; the home chain by default


class PoolSettings(Part):
    """A Uniswap pool of an underlying against a stable, or of two stables."""

    # "v3:ETH/USDC", or "v3.base:ETH/USDC" to tell two apart; USDCe, not USDC.e
    label: str = Field(pattern=r"^v[23](\.[A-Za-z0-9_-]+)?:[A-Za-z0-9]+/[A-Za-z0-9]+$")
    kind: Literal["uniswap_v2", "uniswap_v3"]
    address: Address
    base: Address  # token of the underlying, the symbol before the slash
    quote: Address  # token of the stable
    base_decimals: int = Field(ge=0, le=36)
    quote_decimals: int = Field(ge=0, le=36)
    chain: int | None = Field(default=None, gt=0)  # id of a configured chain; the home chain by default

    @property
    def base_symbol(self) -> str:
        return self.label.split(":")[1].split("/")[0]

    @property
    def quote_symbol(self) -> str:
        return self.label.split("/")[1]

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of bot.watchers.pools.Pool."""
        return {
            "label": self.label,
            "address": self.address,
            "base": self.base_symbol,
            "quote": self.quote_symbol,
            "base_token": self.base,
            "quote_token": self.quote,
            "base_decimals": self.base_decimals,
            "quote_decimals": self.quote_decimals,
        }


class PerpSettings(Part):
    """A Perp v2 market whose funding is watched."""

    underlying: str
    exchange: Address
    base_token: Address
    config: Address
    chain: int | None = Field(default=None, gt=0)  # id of a configured chain; the home chain by default


class LyraSettings(Part):
    """A Lyra v1 option market and the way from USDC to its settlement asset."""

    underlying: str
    option_market: Address
    option_token: Address
    pricer: Address
    liquidity_pool: Address
    short_collateral: Address
    synthetix_adapter: Address
    settlement: Address
    settlement_symbol: str
    settlement_pool_fee: int = Field(gt=0)  # of the Uniswap v3 pool of both, hundredths of a basis point
    swap_router: Address
    quoter: Address
    stable: Address  # what the account holds, USDC
    stable_symbol: str = "USDC"
    stable_decimals: int = Field(default=6, ge=0, le=36)


class ManagerSettings(Part):
    """Contracts that positions are found by."""

    v3_position_manager: Address
    v3_factory: Address
    v3_tick_lens: Address
    v4_position_manager: Address | None = None  # for the LP monitor
    v4_state_view: Address | None = None

    @model_validator(mode="after")
    def _check_v4(self) -> Self:
        if self.v4_state_view is not None and self.v4_position_manager is None:
            raise ValueError("v4_state_view needs v4_position_manager beside it; add it, or remove both")
        return self


class PositionSettings(Part):
    """One position to protect."""

    kind: Literal["uniswap_v2", "uniswap_v3"]
    pool: str  # label of a configured pool
    token_id: int | None = Field(default=None, ge=0)  # v3
    holder: Address | None = None  # v2
    chain: int | None = Field(default=None, gt=0)  # id of a configured chain; the home chain by default


class WebSettings(Part):
    """How public HTTP sources are read."""

    contact: str = ""  # mail address in the User-Agent; some sources answer only to a client that names one
    timeout_s: float = Field(default=30.0, gt=0.0, le=300.0)


class AccountSettings(Part):
    """Who signs. The password comes from ALVH_KEYSTORE_PASSWORD, a file, or the prompt."""

    address: Address
    keystore: Path
    password_file: Path | None = None


class ExecutionSettings(Part):
    """Bounds on every transaction, on top of each leg's own."""

    gas_ceiling: int = Field(default=8_000_000, ge=21_000, le=30_000_000)
    max_fee_gwei: float = Field(default=500.0, gt=0.0)
    max_swap_slippage_bps: int = Field(default=30, ge=1, le=1_000)
    wait_s: float = Field(default=180.0, gt=0.0)  # for one transaction; past it its outcome is unknown
    accept_nonce: int = Field(default=0, ge=0)  # nonces below it were used by hand, and a person knows


class AlertSettings(Part):
    """Who is told, and from which severity on."""

    urls: tuple[SecretStr, ...] = ()  # of apprise; they hold tokens, so they are never printed
    least: Literal["info", "warning", "critical"] = "warning"
    health_factor: float = Field(default=1.25, ge=1.0, le=100.0)
    range_margin: float = Field(default=0.0, ge=0.0, lt=1.0)  # fraction of price before a range end
    rearm: float = Field(default=0.01, ge=0.0, lt=1.0)  # fraction past a limit before its alert ends
    silent_after_s: float = Field(default=60.0, ge=1.0, le=86_400.0)


class PolicySettings(Part):
    preset: Literal["classic"] = "classic"
    file: Path | None = None  # in place of a preset
