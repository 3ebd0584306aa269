"""Settings: one TOML file plus the environment, into frozen values. The only reader of os.environ.

Order of precedence, highest first: environment (``ALVH_CHAIN__POLL_S=5``), the TOML file, defaults.
Secrets come from the environment or from a file of their own, never from the TOML file.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_dir, user_state_dir
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.chain.address import Address
from bot.engine.policy import Policy, parse_policy
from bot.errors import ConfigError

DEFAULT_CONFIG = Path("alvh.toml")
PRESETS = ("classic",)
_SECRETS = ("chain", "rpc_url", "journal_url")  # whose values may carry a key: "chain" may be a bare URL
_ENV_IN_TEXT = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChainSettings(_Part):
    """Which chain, and how it is read."""

    id: int = Field(gt=0)
    rpc_url: SecretStr  # may carry an API key, so it is never printed whole
    multicall3: Address = "0xcA11bde05977b3631167028862bE2a173976CA11"
    confirmations: int = Field(default=2, ge=1, le=10_000)
    poll_s: float = Field(default=12.0, ge=0.05, le=3_600.0)
    timeout_s: float = Field(default=10.0, gt=0.0, le=120.0)
    clock: Literal["wall", "chain"] = "wall"  # chain: devnets, where time moves only with blocks


class FeedSettings(_Part):
    """A Chainlink-interface price feed in USD."""

    label: str  # "ETH/USD"
    underlying: str
    address: Address
    heartbeat_s: int = Field(gt=0)


class PoolSettings(_Part):
    """A Uniswap pool of an underlying against a stable, or of two stables."""

    label: str = Field(pattern=r"^v[23]:[A-Za-z0-9]+/[A-Za-z0-9]+$")  # "v3:ETH/USDC"; USDCe, not USDC.e
    kind: Literal["uniswap_v2", "uniswap_v3"]
    address: Address
    base: Address  # token of the underlying, the symbol before the slash
    quote: Address  # token of the stable
    base_decimals: int = Field(ge=0, le=36)
    quote_decimals: int = Field(ge=0, le=36)

    @property
    def base_symbol(self) -> str:
        return self.label.split(":")[1].split("/")[0]

    @property
    def quote_symbol(self) -> str:
        return self.label.split("/")[1]


class PerpSettings(_Part):
    """A Perp v2 market whose funding is watched."""

    underlying: str
    exchange: Address
    base_token: Address
    config: Address


class LyraSettings(_Part):
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


class ManagerSettings(_Part):
    """Contracts that positions are found by."""

    v3_position_manager: Address
    v3_factory: Address
    v3_tick_lens: Address


class PositionSettings(_Part):
    """One position to protect."""

    kind: Literal["uniswap_v2", "uniswap_v3"]
    pool: str  # label of a configured pool
    token_id: int | None = Field(default=None, ge=0)  # v3
    holder: Address | None = None  # v2


class AccountSettings(_Part):
    """Who signs. The password comes from ALVH_KEYSTORE_PASSWORD, a file, or the prompt."""

    address: Address
    keystore: Path
    password_file: Path | None = None


class ExecutionSettings(_Part):
    """Bounds on every transaction, on top of each leg's own."""

    gas_ceiling: int = Field(default=8_000_000, ge=21_000, le=30_000_000)
    max_fee_gwei: float = Field(default=500.0, gt=0.0)
    max_swap_slippage_bps: int = Field(default=30, ge=1, le=1_000)
    wait_s: float = Field(default=180.0, gt=0.0)  # for one transaction; past it its outcome is unknown
    accept_nonce: int = Field(default=0, ge=0)  # nonces below it were used by hand, and a person knows


class PolicySettings(_Part):
    preset: Literal["classic"] = "classic"
    file: Path | None = None  # in place of a preset


class Settings(BaseSettings):
    """Everything a run needs, checked once."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="ALVH_", env_nested_delimiter="__"
    )

    chain: ChainSettings
    feeds: tuple[FeedSettings, ...] = ()
    pools: tuple[PoolSettings, ...] = ()
    perps: tuple[PerpSettings, ...] = ()
    lyra: LyraSettings | None = None
    managers: ManagerSettings | None = None
    positions: tuple[PositionSettings, ...] = ()
    account: AccountSettings | None = None
    execution: ExecutionSettings = ExecutionSettings()
    policy: PolicySettings = PolicySettings()
    state_dir: Path = Field(default_factory=lambda: Path(user_state_dir("alvh-bot")))
    journal_url: SecretStr = SecretStr("")  # empty: a SQLite file for each mode in state_dir

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (_known_environment(settings_cls), init_settings)


def _known_environment(settings_cls: type[BaseSettings]) -> EnvSettingsSource:
    """Take only variables of configured sections, so that ALVH_KEYSTORE_PASSWORD is not a setting."""
    source = EnvSettingsSource(settings_cls)
    source.env_vars = {
        name: value
        for name, value in source.env_vars.items()
        if name.lower().startswith("alvh_") and "__" in name
    }
    return source


def load_settings(path: Path) -> Settings:
    """Read the TOML file, fill ``${NAME}`` from the environment, and check every key.

    Raises ConfigError: one line with the field, the value found and what is allowed.
    """
    table = _expand(_read_toml(path, what="configuration"), path)
    try:
        return Settings(**table)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error)}") from None


def load_policy(settings: PolicySettings) -> Policy:
    """Return the policy of the file, or of the preset."""
    if settings.file is not None:
        return parse_policy(_read_toml(settings.file, what="policy"))
    text = (resources.files("bot") / "policies" / f"{settings.preset}.toml").read_text("utf-8")
    return parse_policy(tomllib.loads(text))


def keystore_password(account: AccountSettings) -> SecretStr | None:
    """Return the password from the environment or its file; None when it must be asked for."""
    if (value := os.environ.get("ALVH_KEYSTORE_PASSWORD")) is not None:
        return SecretStr(value)
    if account.password_file is None:
        return None
    try:
        return SecretStr(account.password_file.read_text("utf-8").rstrip("\r\n"))
    except OSError as error:
        raise ConfigError(f"account.password_file {account.password_file}: {error.strerror}") from None


def cache_dir() -> Path:
    """Return where downloaded packages and dumped devnets lie; ALVH_CACHE_DIR moves it."""
    return Path(os.environ.get("ALVH_CACHE_DIR") or user_cache_dir("alvh-bot"))


def _read_toml(path: Path, *, what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{what} file {path} cannot be read: {error.strerror}; name another with --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} file {path} is not valid TOML: {error}") from None


def _expand(value: Any, path: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _expand(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, path) for item in value]
    return (
        _ENV_IN_TEXT.sub(lambda match: _variable(match[1], path), value) if isinstance(value, str) else value
    )


def _variable(name: str, path: Path) -> str:
    value = os.environ.get(name, "")
    if not value or value != value.strip():
        raise ConfigError(f"{path} refers to ${{{name}}}, which is not set, empty or padded; export {name}")
    return value


def _first_problem(error: ValidationError) -> str:
    """Say the first problem in one line, without the value of a secret."""
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {field}; see .env.example and docs/configuration.md for the keys"
    if problem["type"] == "missing":
        return f"{field} is missing"
    shown = isinstance(problem["input"], str | int | float) and field.split(".")[-1] not in _SECRETS
    found = f", was {problem['input']!r}" if shown else ""
    return f"{field}: {problem['msg'].removeprefix('Value error, ')}{found}"
