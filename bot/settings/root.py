"""All settings together, and the checks that need more than one section."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from platformdirs import user_state_dir
from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.chain.node_url import LINK_LOCAL, is_link_local
from bot.deployments import known
from bot.errors import ConfigError
from bot.model.base_layers import BaseHoldings
from bot.settings.alerts import AlertSettings
from bot.settings.base_layers import CoverSettings, LoanSettings, ReserveSettings, base_holdings
from bot.settings.breakers import BreakerSettings
from bot.settings.chains import ChainSettings
from bot.settings.dashboard import DashboardSettings
from bot.settings.derive import DeriveSettings
from bot.settings.exit import ExitSettings
from bot.settings.indicative import IndicativeSettings
from bot.settings.metrics import LogSettings, MetricsSettings, TracingSettings
from bot.settings.option_venues import HegicSettings, NexusSettings, OpynSettings, PanopticSettings
from bot.settings.perp_v2 import PerpV2Settings
from bot.settings.safe import SafeSettings
from bot.settings.sections import (
    AccountSettings,
    ExecutionSettings,
    FeedSettings,
    LyraSettings,
    ManagerSettings,
    PerpSettings,
    PolicyRegistrySettings,
    PolicySettings,
    PoolSettings,
    PositionSettings,
    WebSettings,
)
from bot.settings.shape import Resolve, field_names, prepare
from bot.settings.signer import SignerSettings
from bot.settings.storage import StorageSettings
from bot.settings.watch import KINDS, WatchSettings

_NAMED = ("lyra", "opyn", "hegic", "panoptic", "perp_v2", "nexus", "managers", "exit")  # may say "@name"
ON_A_CHAIN = ("feeds", "pools", "perps", "positions", "watch")  # lists whose items may name a chain


class Settings(BaseSettings):
    """Everything a run needs, checked once."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="ALVH_", env_nested_delimiter="__", hide_input_in_errors=True
    )

    chain: ChainSettings  # home: its blocks drive the decisions
    chains: tuple[ChainSettings, ...] = ()  # others that are watched
    feeds: tuple[FeedSettings, ...] = ()
    pools: tuple[PoolSettings, ...] = ()
    perps: tuple[PerpSettings, ...] = ()
    watch: tuple[WatchSettings, ...] = ()
    lyra: LyraSettings | None = None
    opyn: OpynSettings | None = None
    hegic: HegicSettings | None = None
    panoptic: PanopticSettings | None = None
    derive: DeriveSettings | None = None
    perp_v2: PerpV2Settings | None = None
    nexus: NexusSettings | None = None
    indicative: IndicativeSettings | None = None
    managers: ManagerSettings | None = None
    positions: tuple[PositionSettings, ...] = ()
    reserves: tuple[ReserveSettings, ...] = ()
    covers: tuple[CoverSettings, ...] = ()
    loans: tuple[LoanSettings, ...] = ()
    account: AccountSettings | None = None
    safe: SafeSettings | None = None
    exit: ExitSettings = ExitSettings()
    web: WebSettings = WebSettings()
    alerts: AlertSettings = AlertSettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    dashboard: DashboardSettings = DashboardSettings()
    signer: SignerSettings = SignerSettings()
    execution: ExecutionSettings = ExecutionSettings()
    breakers: BreakerSettings = BreakerSettings()
    policy: PolicySettings = PolicySettings()
    policy_registry: PolicyRegistrySettings | None = None
    state_dir: Path = Field(default_factory=lambda: Path(user_state_dir("alvh-bot")))
    storage: StorageSettings = StorageSettings()
    journal_url: SecretStr = SecretStr("")  # empty: a SQLite file for each mode in state_dir

    _path: Path | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path:
        """The file that these settings were read from. Raises ConfigError where there is none."""
        if self._path is None:
            raise ConfigError("these settings were read from no file")
        return self._path

    def read_from(self, path: Path) -> Self:
        """Remember the file, for a process that reads the same one. Returns the settings."""
        self._path = path.absolute()
        return self

    @property
    def all_chains(self) -> tuple[ChainSettings, ...]:
        """The home chain, then the others."""
        return (self.chain, *self.chains)

    @property
    def base(self) -> BaseHoldings:
        """What is stated for the base layers."""
        return base_holdings(self.reserves, self.covers, self.loans)

    def chain_named(self, chain_id: int) -> ChainSettings:
        """Return a configured chain. Raises ConfigError with those there are."""
        for chain in self.all_chains:
            if chain.id == chain_id:
                return chain
        there = ", ".join(str(chain.id) for chain in self.all_chains)
        raise ConfigError(f"chain {chain_id} is not configured; there are {there}, add it under [[chains]]")

    def chain_of(self, item: Any) -> int:
        """Return the id of the chain that a feed, pool, perp, position or watch table is on."""
        named: int | None = item.chain
        return self.chain.id if named is None else named

    @model_validator(mode="before")
    @classmethod
    def _resolve_names(cls, data: Any) -> Any:
        return _resolved(cls, data) if isinstance(data, Mapping) else data

    @field_validator("state_dir", mode="before")
    @classmethod
    def _check_state_dir(cls, value: Any) -> Any:
        if value == "":
            raise ValueError("must name a folder; leave it out for the user's own")
        return value

    @model_validator(mode="after")
    def _check_alerts(self) -> Self:
        for number, url in enumerate(self.alerts.urls):
            if is_link_local(url.get_secret_value()):
                raise ValueError(f"alerts.urls.{number}: {LINK_LOCAL}; name another host")
        return self

    @model_validator(mode="after")
    def _check_base(self) -> Self:
        _ = self.base
        return self

    @model_validator(mode="after")
    def _check_storage(self) -> Self:
        fed = [chain.id for chain in self.all_chains if chain.watched_elsewhere]
        if fed and not self.storage.shared_history:
            raise ValueError(
                f"chain {fed[0]} is watched_elsewhere, and the history is a file of this process alone; "
                "name a PostgreSQL database as storage.history_url, or remove watched_elsewhere"
            )
        return self

    @model_validator(mode="after")
    def _check_venues(self) -> Self:
        if self.derive is not None and self.indicative is not None and self.indicative.venue == "derive":
            raise ValueError("indicative.venue: derive is configured as a venue too; keep one of the two")
        return self

    @model_validator(mode="after")
    def _check_chains(self) -> Self:
        ids = [chain.id for chain in self.all_chains]
        twice = next((number for number in ids if ids.count(number) > 1), None)
        if twice is not None:
            raise ValueError(f"chains: chain {twice} is configured twice; keep one of them")
        labels = [pool.label for pool in self.pools]
        label = next((item for item in labels if labels.count(item) > 1), None)
        if label is not None:
            raise ValueError(f"pools: label {label} is used twice; tell them apart as in v3.base:ETH/USDC")
        for section in ON_A_CHAIN:
            for number, item in enumerate(getattr(self, section)):
                if item.chain is not None and item.chain not in ids:
                    raise ValueError(
                        f"{section}.{number}.chain: {item.chain} is not configured; there are "
                        f"{', '.join(map(str, ids))}, add it under [[chains]]"
                    )
        return self

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


def _resolved(cls: type[Settings], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables with every "@name" replaced by the address that it has on its item's chain."""
    found = dict(data)
    for section, field in cls.model_fields.items():
        value = found.get(section)
        if section == "watch" and isinstance(value, list):
            found[section] = [_watch(item, number, found) for number, item in enumerate(value)]
        elif section in ON_A_CHAIN and isinstance(value, list):
            kind = field.annotation.__args__[0]  # type: ignore[union-attr]
            found[section] = [
                prepare(kind, item, path=f"{section}.{number}", resolve=_resolver(found, item))
                for number, item in enumerate(value)
            ]
        elif section == "loans" and isinstance(value, list):
            found[section] = [
                prepare(LoanSettings, item, path=f"loans.{number}", resolve=_resolver(found, None))
                for number, item in enumerate(value)
            ]
        elif section == "chain" and isinstance(value, Mapping):
            found[section] = _chain(value, section)
        elif section == "chains" and isinstance(value, list):
            found[section] = [_chain(item, f"chains.{number}") for number, item in enumerate(value)]
        elif section in _NAMED:
            found[section] = prepare(field.annotation, value, path=section, resolve=_resolver(found, None))
    return {key: value for key, value in found.items() if key in data}


def _chain(item: Any, path: str) -> Any:
    own = {"chain": item.get("id")} if isinstance(item, Mapping) else None
    return prepare(ChainSettings, item, path=path, resolve=_resolver({}, own))


def _watch(item: Any, number: int, data: Mapping[str, Any]) -> Any:
    kind = KINDS.get(str(item.get("kind"))) if isinstance(item, Mapping) else None
    if kind is None:
        return item  # refused by its own check
    generic = {key: value for key, value in item.items() if key in WatchSettings.model_fields}
    own = {key: value for key, value in item.items() if key not in generic}
    if "chain_id" in field_names(kind):
        _set_chain(own, _chain_id(data, item), path=f"watch.{number}")
    return generic | prepare(kind, own, path=f"watch.{number}", resolve=_resolver(data, item))


def _set_chain(own: dict[str, Any], chain_id: int, *, path: str) -> None:
    """Give a source that names its chain itself the chain of its table."""
    if own.setdefault("chain_id", chain_id) != chain_id:
        raise ConfigError(
            f"{path}.chain_id: {own['chain_id']!r} differs from the table's chain {chain_id}; remove it"
        )


def _resolver(data: Mapping[str, Any], item: Any) -> Resolve:
    def resolve(wanted: str, text: str) -> Any:
        if wanted == "pool":
            return _pool(data, text)
        return known(_chain_id(data, item)).address(text)

    return resolve


def _chain_id(data: Mapping[str, Any], item: Any) -> int:
    named = item.get("chain") if isinstance(item, Mapping) else None
    home = data.get("chain")
    number = named if named is not None else home.get("id") if isinstance(home, Mapping) else None
    try:
        return int(number)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"a name needs a chain, and chain.id is {number!r}") from None


def _pool(data: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the fields of a configured pool as a watcher takes them."""
    listed = data.get("pools") or []
    tables = [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []
    for item in tables:
        if item.get("label") == label:
            resolve = _resolver(data, item)
            pool = PoolSettings.model_validate(prepare(PoolSettings, item, path="pools", resolve=resolve))
            return pool.fields
    names = ", ".join(str(item.get("label")) for item in tables) or "none"
    raise ConfigError(f"pool {label[:60]!r} is not configured; there are {names}")
