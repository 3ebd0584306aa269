"""Settings: one TOML file plus the environment, into frozen values. The only reader of os.environ.

Order of precedence, highest first: environment (``ALVH_CHAIN__POLL_S=5``), the TOML file, defaults.
Secrets come from the environment, from a credential of systemd (credentials.py) or from a file of their own,
never from the TOML file.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from bot.chain.address import Address
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.parsing import toml_of
from bot.model.refused import refused
from bot.settings import networks
from bot.settings.base_layers import CoverSettings, LoanSettings, ReserveSettings
from bot.settings.chains import ChainSettings
from bot.settings.credentials import secret
from bot.settings.formerly import became
from bot.settings.indicative import IndicativeSettings
from bot.settings.origins import VARIABLE_IN_TEXT, Origin, Setting, settings_by_origin
from bot.settings.policies import (
    BOT_PRESETS,
    PRESETS,
    PolicySource,
    bot_policy,
    named_policy,
    policy_of_text,
    read_source,
)
from bot.settings.root import Settings
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
from bot.settings.shape import keys_at, nearest
from bot.settings.signer import CapSettings, SignerSettings
from bot.settings.storage import StorageSettings
from bot.settings.watch import KINDS, WatchSettings

__all__ = [
    "BOT_PRESETS",
    "DEFAULT_CONFIG",
    "KINDS",
    "PRESETS",
    "AccountSettings",
    "Address",
    "CapSettings",
    "ChainSettings",
    "CoverSettings",
    "ExecutionSettings",
    "FeedSettings",
    "IndicativeSettings",
    "LoanSettings",
    "LyraSettings",
    "ManagerSettings",
    "Origin",
    "PerpSettings",
    "PolicyRegistrySettings",
    "PolicySettings",
    "PolicySource",
    "PoolSettings",
    "PositionSettings",
    "ReserveSettings",
    "SafeSettings",
    "Setting",
    "Settings",
    "SignerSettings",
    "StorageSettings",
    "WatchSettings",
    "WebSettings",
    "cache_dir",
    "check_text",
    "keystore_password",
    "load_policy",
    "load_settings",
    "load_with_origins",
    "named_policy",
    "password_of_environment",
    "policy_of_text",
    "read_source",
    "read_table",
    "rpc_url_of_environment",
    "supervisor_of_environment",
]

DEFAULT_CONFIG = Path("alvh.toml")
_MOST_BYTES = 1_000_000  # of a configuration; the longest is some ten thousand
_ODD_VARIABLE = re.compile(r"\$\{(?=\w*[a-z])(\w+)\}")  # it would stand for itself, as a secret too
_SECRET = re.compile(
    r"(^|\.)(\w*(url|urls|key|secret|password|token|endpoint))(\.|$)|^chains?(\.\d+)?$"
)  # a chain may be a bare URL


def load_settings(path: Path, *, network: str | None = None) -> Settings:
    """Read the TOML file, fill ``${NAME}`` from the environment or a credential, and check every key.

    ``network``: whose sections hold (bot/settings/networks.py); a process that this one starts takes it over.
    Raises ConfigError: one line with the field, the value found and what is allowed.
    """
    return _checked(_file_table(path, network), path)


def check_text(text: str, path: Path, variables: Mapping[str, str]) -> Settings:
    """Check a configuration that is to be written to ``path``, as ``load_settings`` will.

    ``variables`` are set in this process's environment, as the person is told to. Raises ConfigError.
    """
    os.environ.update(variables)
    try:
        table = toml_of(text)
    except ValueError as error:
        raise ConfigError(f"configuration file {path} is not valid TOML: {error}") from None
    return _checked(_of_network(table, path), path)


def read_table(path: Path) -> dict[str, Any]:
    """Return a configuration as it is written, no variable filled. Raises ConfigError."""
    return _read_toml(path, what="configuration")


def load_with_origins(path: Path, *, network: str | None = None) -> tuple[Settings, tuple[Setting, ...]]:
    """Return the settings, and every value of them with where it came from. Raises as ``load_settings``."""
    table = _file_table(path, network)
    settings = _checked(table, path)
    return settings, settings_by_origin(settings, table, os.environ)


def _file_table(path: Path, network: str | None) -> dict[str, Any]:
    if network is not None:
        os.environ[networks.VARIABLE] = network
    return _of_network(_read_toml(path, what="configuration"), path)


def _checked(table: Mapping[str, Any], path: Path) -> Settings:
    table = _expand(table, path)
    try:
        return Settings(**table).read_from(path)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except SettingsError as error:  # an override that is no JSON; its cause shows the value
        raise ConfigError(f"an ALVH_… variable of a list must be JSON: {error}") from None


def load_policy(settings: PolicySettings) -> Policy:
    """Return the policy of the file, or of the preset. Raises ConfigError also where no bot may run it."""
    return bot_policy(settings.preset if settings.file is None else settings.file)


def keystore_password(account: AccountSettings) -> SecretStr | None:
    """Return the password from the environment, a credential or its file; None when it must be asked for."""
    if (value := password_of_environment()) is not None:
        return value
    if account.password_file is None:
        return None
    try:
        return SecretStr(account.password_file.read_text("utf-8").rstrip("\r\n"))
    except OSError as error:
        raise ConfigError(f"account.password_file {account.password_file}: {error.strerror}") from None


def password_of_environment() -> SecretStr | None:
    """Return the variable, or the credential of its name. Raises ConfigError for one that cannot be read."""
    value = secret("ALVH_KEYSTORE_PASSWORD")
    return None if value is None else SecretStr(value)


def supervisor_of_environment() -> tuple[str, float]:
    """Return where systemd listens for this process, "" for nowhere, and its watchdog's seconds, 0: none."""
    watchdog_us = os.environ.get("WATCHDOG_USEC", "")
    is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    watchdog_s = int(watchdog_us) / 1e6 if watchdog_us.isdigit() and is_ours else 0.0
    return os.environ.get("NOTIFY_SOCKET", ""), watchdog_s


def rpc_url_of_environment() -> list[str]:
    """Return the node of ALVH_RPC_URL, if there is one: ``alvh init`` starts from it."""
    value = os.environ.get("ALVH_RPC_URL", "").strip()
    return [value] if value else []


def cache_dir() -> Path:
    """Return where downloaded packages and dumped devnets lie; ALVH_CACHE_DIR moves it."""
    return Path(os.environ.get("ALVH_CACHE_DIR") or user_cache_dir("alvh-bot"))


def _read_toml(path: Path, *, what: str) -> dict[str, Any]:
    try:
        return toml_of(_text(path, what))
    except ValueError as error:
        raise ConfigError(f"{what} file {path} is not valid TOML: {error}") from None


def _text(path: Path, what: str) -> str:
    """Return a file's text, with or without a byte order mark. Raises ConfigError."""
    if str(path) == "-":
        raise ConfigError(
            f"{what} cannot come from a pipe: several processes read it; name a file with --config"
        )
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigError(f"{what} file {path} is no regular file; name another with --config")
        with path.open("rb") as file:
            found = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{what} file {path} cannot be read: {error.strerror}; name another with --config"
        ) from None
    if len(found) > _MOST_BYTES:
        raise ConfigError(f"{what} file {path} is over {_MOST_BYTES:,} bytes; name another with --config")
    try:
        return found.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} file {path} is not valid TOML: {error}; save it as UTF-8") from None


def _of_network(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    try:
        return networks.for_network(table, os.environ.get(networks.VARIABLE) or None)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _expand(value: Any, path: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _expand(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, path) for item in value]
    if not isinstance(value, str):
        return value
    if odd := next((item[1] for item in _ODD_VARIABLE.finditer(value)), ""):
        raise ConfigError(
            f"{path} refers to a variable {refused(odd)}: write its name in capitals, digits and underscores"
        )
    return VARIABLE_IN_TEXT.sub(lambda match: _variable(match[1], path), value)


def _variable(name: str, path: Path) -> str:
    value = secret(name) or ""
    if not value or value != value.strip():
        raise ConfigError(
            f"{path} refers to ${{{name}}}, which is not set, empty or padded; export {name}, or give "
            "its service the credential of that name"
        )
    return value


def _first_problem(error: ValidationError) -> str:
    """Say the first problem in one line, without the value of a secret; a wrong key before what it lacks."""
    problems = error.errors(include_url=False)
    problem = next((item for item in problems if item["type"] == "extra_forbidden"), problems[0])
    inner = problem["ctx"] if problem["type"] == "watch_field" else {}
    kind, given = inner.get("type", problem["type"]), inner.get("input", problem["input"])
    field = ".".join(str(part) for part in (*problem["loc"], inner.get("field", "")) if part != "")
    if kind == "extra_forbidden":
        if words := became(problem["loc"]):
            return f"unknown key {field}; {words}"
        *place, key = problem["loc"]
        return f"unknown key {field}; {nearest(str(key), keys_at(Settings, place))}"
    if kind in ("missing", "missing_keyword_only_argument", "missing_argument"):
        return f"{field} is missing"
    if kind in _SHAPES:
        return f"{field}: {_SHAPES[kind].format(field)}"
    shown = isinstance(given, str | int | float) and field and not _SECRET.search(field)
    found = f", was {refused(given)}" if shown else ""
    words = problem["msg"].removeprefix("Value error, ").removeprefix("Value error, ")
    return f"{field}{': ' if field else ''}{words}{found}"


_SHAPES = {  # of a section that is written as another kind of thing
    "model_type": "must be a table, written as [{}]",
    "tuple_type": "must be a list; a list of tables is written as [[{}]], each",
}
