"""The sections of the configuration file, one class each."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.look_back import DEFAULT_LOOK_BACK
from bot.settings.part import Part
from bot.venues.lyra_reads import LyraContracts
from bot.venues.settlement import StablePair

_NATIVE = "0x" + "00" * 20
_WHOLE = 1_000_000
_DYNAMIC_FEE = 0x800000  # LPFeeLibrary.DYNAMIC_FEE_FLAG of v4-core
# Keys of a pool that only some versions have, and those that each must have.
_ONLY = {
    "address": ("v2", "v3"),
    "fee": ("v2", "v4"),  # a v3 pool says its fee
    "protocol": ("v2", "v3"),
    "tick_spacing": ("v4",),
    "hooks": ("v4",),
}
_NEEDED = {"v2": ("address",), "v3": ("address",), "v4": ("fee", "tick_spacing")}


class FeedSettings(Part):
    """A Chainlink-interface price feed in USD."""

    label: str  # "ETH/USD"
    underlying: str
    address: Address
    heartbeat_s: int = Field(gt=0)
    chain: int | None = Field(default=None, gt=0)  # id of a configured chain; the home chain by default


class PoolSettings(Part):
    """A Uniswap pool of an underlying against a stable, or of two stables (v2 or v3)."""

    # "v3:ETH/USDC", or "v3.base:ETH/USDC" to tell two apart; USDCe, not USDC.e
    label: str = Field(pattern=r"^v[234](\.[A-Za-z0-9_-]+)?:[A-Za-z0-9]+/[A-Za-z0-9]+$")
    kind: Literal["uniswap_v2", "uniswap_v3", "uniswap_v4"]
    address: Address | None = None  # v2, v3; a v4 pool has no contract of its own
    base: Address  # token of the underlying, the symbol before the slash; v4: zero is the chain's own coin
    quote: Address  # token of the stable
    base_decimals: int = Field(ge=0, le=36)
    quote_decimals: int = Field(ge=0, le=36)
    # Millionths of a swap's input. v2: 3000 unless a fork takes another; v4: 8388608 where the hook sets it
    fee: int | None = Field(default=None, ge=0, le=_DYNAMIC_FEE)
    protocol: str = Field(default="", pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$")  # of a fork: "sushi-v2"
    tick_spacing: int | None = Field(default=None, ge=1, le=32_767)  # v4
    hooks: Address | None = None  # v4
    chain: int | None = Field(default=None, gt=0)  # id of a configured chain; the home chain by default

    @property
    def base_symbol(self) -> str:
        return self.label.split(":")[1].split("/")[0]

    @property
    def quote_symbol(self) -> str:
        return self.label.split("/")[1]

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        version = self.kind[-2:]
        if not self.label.startswith(version):
            raise ValueError(
                f"label {self.label} is of {self.label[:2]} and kind is {self.kind}; correct one of them"
            )
        given = {name for name in _ONLY if getattr(self, name) not in (None, "")}
        needless = sorted(name for name in given if version not in _ONLY[name])
        if needless:
            raise ValueError(f"{needless[0]} means nothing for {self.kind}; remove it")
        missing = [name for name in _NEEDED[version] if name not in given]
        if missing:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
        if version != "v4" and _NATIVE in (self.base, self.quote):
            raise ValueError(
                f"only uniswap_v4 holds the chain's own coin; name its wrapped token, was {_NATIVE}"
            )
        if version == "v2" and (self.fee or 0) >= _WHOLE:
            raise ValueError(f"fee must be below {_WHOLE} millionths, was {self.fee}")
        return self

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of bot.watchers.pools.Pool. Raises ConfigError for a v4 pool, which is none."""
        if self.kind == "uniswap_v4":
            raise ConfigError(f"pool {self.label} has no contract of its own; name a v2 or v3 pool")
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

    @property
    def contracts(self) -> LyraContracts:
        return LyraContracts(
            option_market=self.option_market,
            option_token=self.option_token,
            pricer=self.pricer,
            liquidity_pool=self.liquidity_pool,
            short_collateral=self.short_collateral,
            synthetix_adapter=self.synthetix_adapter,
        )

    @property
    def pair(self) -> StablePair:
        return StablePair(
            stable=self.stable_symbol,
            stable_token=self.stable,
            settlement=self.settlement_symbol,
            settlement_token=self.settlement,
            router=self.swap_router,
            quoter=self.quoter,
            pool_fee=self.settlement_pool_fee,
            stable_decimals=self.stable_decimals,
        )


class ManagerSettings(Part):
    """Contracts that positions are found by, on the home chain.

    Where none of a version is named, its known deployments are used, as on every other chain.
    """

    v3_position_manager: Address | None = None
    v3_factory: Address | None = None
    v3_tick_lens: Address | None = None
    v4_position_manager: Address | None = None
    v4_pool_manager: Address | None = None  # where v4 pools are; needed to watch one
    v4_state_view: Address | None = None  # without it the PoolManager's storage is read, and fees are unknown

    @model_validator(mode="after")
    def _check_v4(self) -> Self:
        if self.v4_state_view and not (self.v4_position_manager or self.v4_pool_manager):
            raise ValueError(
                "v4_state_view needs v4_position_manager or v4_pool_manager beside it; add one, or remove it"
            )
        return self


class PositionSettings(Part):
    """One position to protect."""

    kind: Literal["uniswap_v2", "uniswap_v3", "uniswap_v4"]
    pool: str  # label of a configured pool
    token_id: int | None = Field(default=None, ge=0, lt=2**256)  # v3, v4
    holder: Address | None = None  # v2, and v3 with a gauge: whose it is
    staker: Address | None = None  # v2, v3: contract that holds it for the owner
    pid: int | None = Field(default=None, ge=0)  # v2 with a MasterChef
    # What was deposited is looked for in so many blocks of logs; a price stands in for what they do not say.
    look_back: int = Field(default=DEFAULT_LOOK_BACK, ge=1)
    entry_price: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
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
    fill_nonces: bool = False  # use up those of them that nobody used, by transfers of nothing to ourselves


class PolicyRegistrySettings(Part):
    """A contract on the home chain that says which policy decides, and moves its layer weights (R22)."""

    address: Address


class PolicySettings(Part):
    """Which policy decides, and whose signatures make it valid (R22)."""

    preset: Literal["classic", "steward", "fortress"] = "classic"
    file: Path | None = None  # in place of a preset
    owners: tuple[Address, ...] = ()
    threshold: int = Field(default=1, ge=1)  # owners that must have signed

    @model_validator(mode="after")
    def _check_owners(self) -> Self:
        if len(set(self.owners)) != len(self.owners):
            raise ValueError("owners: an address stands there twice; name each owner once")
        if self.owners and self.threshold > len(self.owners):
            raise ValueError(f"threshold {self.threshold} is over the {len(self.owners)} owners")
        return self
