"""``alvh init``: from a wallet and a node to a configuration that runs.

What it writes is checked as every command will check it, before anything is written.
"""

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.app.init_files import env_text, refuse_existing, write_private
from bot.app.init_tables import (
    Fit,
    book_tables,
    feed_tables,
    managers_table,
    pool_tables,
    position_tables,
    sort_out,
    watched_beside,
    without_keys,
    without_source_keys,
)
from bot.app.init_text import text_of
from bot.app.lp import configured_chains, lp_now, node_chains, parse_request
from bot.app.lp_view import LpView
from bot.app.parts import position_readers, watchers, web_sources
from bot.chain.rpc import Rpc
from bot.errors import ConfigError
from bot.model.look_back import DEFAULT_LOOK_BACK
from bot.pipeline.cadence import check_series
from bot.settings import (
    BOT_PRESETS,
    Settings,
    check_text,
    load_settings,
    named_policy,
    policy_of_text,
    read_table,
)

__all__ = ["Choices", "Draft", "Found", "Where", "compose", "env_of", "find", "write"]

_TIMEOUT_S = 10.0  # of the first question to a node
_POLL_S = 2.0  # of chains whose blocks come faster than Ethereum's
# Sections of another configuration that are about its owner, not about chains and contracts.
_OWN = frozenset(
    [
        *("state_dir", "journal_url", "positions", "reserves", "covers", "loans", "account", "safe"),
        *("signer", "policy", "policy_registry", "alerts", "networks"),
        *("dashboard", "logs", "metrics", "tracing", "storage"),
    ]
)
_BUDGET = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>%|USD)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where positions are looked for: nodes, or the chains and contracts of another configuration."""

    urls: tuple[str, ...] = ()
    like: Path | None = None
    wallet: str | None = None
    positions: tuple[str, ...] = ()
    look_back: int = DEFAULT_LOOK_BACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What can be protected, and one line on each position that cannot."""

    where: Where
    base: Settings | None  # of ``Where.like``
    view: LpView
    fits: tuple[Fit, ...]
    left_out: tuple[str, ...]

    @property
    def value_usd(self) -> float:
        return math.fsum(item.position.value for item in self.fits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a person decides, and where it goes."""

    target: Path
    preset: str = "steward"
    budget: str = ""  # "3 %" of the positions' value, or "5000 USD", of premium a year; empty: the preset's
    alert_urls: tuple[str, ...] = ()
    state_dir: Path | None = None
    env_file: Path | None = None  # where secrets are kept; None: nowhere
    force: bool = False

    @property
    def policy_file(self) -> Path:
        return self.target.with_name(f"{self.target.stem}-policy.toml")

    def refuse(self) -> None:
        """Raise ConfigError for what could not be written, or makes no sense, before any work."""
        if self.preset not in BOT_PRESETS:
            raise ConfigError(f"--preset {self.preset!r}: must be one of {', '.join(BOT_PRESETS)}")
        policy = (self.policy_file,) if self.budget else ()
        for path in (self.target, *policy):
            refuse_existing(path, force=self.force)
        if self.env_file is not None:
            refuse_existing(self.env_file, force=True)  # what else it says is kept
        if self.budget:
            _budget(self.budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Files that are checked and not yet written, and what they rest on."""

    choices: Choices
    config: str
    policy: str  # empty: the preset as it is
    secrets: Mapping[str, str]  # variable -> value
    fits: tuple[Fit, ...]
    left_out: tuple[str, ...]
    chains: tuple[int, ...]  # home first


async def find(where: Where) -> Found:
    """Look for positions. Raises ConfigError, NotFoundError when there is none, TransientError."""
    if bool(where.urls) == (where.like is not None):
        raise ConfigError(
            "which chain? Give --rpc-url (or ALVH_RPC_URL), or --like with a configuration; not both"
        )
    base = load_settings(where.like) if where.like is not None else None
    chains = configured_chains(base) if base is not None else node_chains(where.urls, poll_s=_POLL_S)
    await _ask_nodes(where.urls)
    request = parse_request(wallet=where.wallet, positions=where.positions, look_back=where.look_back)
    view = await lp_now(chains, replace(request, with_deposits=False))
    fits, left_out = sort_out(view, base)
    if not fits:
        raise ConfigError(f"none of the positions can be protected: {'; '.join(left_out)}")
    return Found(where=where, base=base, view=view, fits=fits, left_out=left_out)


async def _ask_nodes(urls: Sequence[str]) -> None:
    """Ask each node once: who mistyped one shall not wait until reads were tried again."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Rpc(url, timeout_s=_TIMEOUT_S)) for url in urls]
        await asyncio.gather(*(node.request("eth_chainId") for node in nodes))


def compose(found: Found, choices: Choices) -> Draft:
    """Return the files, checked as every command will check them. Raises ConfigError."""
    secrets: dict[str, str] = {}
    tables = _tables(found, choices, secrets)
    policy = _policy_text(found, choices)
    text = text_of(tables)
    settings = check_text(text, choices.target, secrets)
    _build(settings)
    if policy:
        policy_of_text(policy, str(choices.policy_file))
    return Draft(
        choices=choices,
        config=text,
        policy=policy,
        secrets=secrets,
        fits=found.fits,
        left_out=found.left_out,
        chains=tuple(chain.id for chain in settings.all_chains),
    )


def _build(settings: Settings) -> None:
    """Build what commands build of it. Raises ConfigError."""
    for chain in settings.all_chains:
        position_readers(settings, chain.id)
    series = [
        (item.name, item.series) for chain in settings.all_chains for item in watchers(settings, chain.id)
    ]
    check_series([*series, *((item.name, item.series) for item in web_sources(settings))])


def write(draft: Draft) -> tuple[Path, ...]:
    """Write the files, the configuration last. Raises ConfigError; a file that was there stays."""
    choices, written = draft.choices, []
    env = env_of(draft)
    if draft.policy:
        write_private(choices.policy_file, draft.policy, force=choices.force)
        written.append(choices.policy_file)
    if choices.env_file is not None and env:
        write_private(choices.env_file, env, force=True)
        written.append(choices.env_file)
    write_private(choices.target, draft.config, force=choices.force)
    return (*written, choices.target)


def env_of(draft: Draft) -> str:
    """Return the text of the .env file, empty where there is none. Raises ConfigError."""
    choices = draft.choices
    if choices.env_file is None or not draft.secrets:
        return ""
    return env_text(choices.env_file, draft.secrets, force=choices.force)


def _tables(found: Found, choices: Choices, secrets: dict[str, str]) -> dict[str, Any]:
    """Return every section; variables that it refers to are put into ``secrets``."""
    folder = choices.target.absolute().parent
    tables: dict[str, Any] = {"state_dir": str((choices.state_dir or folder / "alvh-state").absolute())}
    home, like = _home(found), found.where.like
    rest = _chain_tables(found, secrets) if like is None else _tables_like(like, home, secrets)
    tables |= rest
    tables["feeds"] = [*rest.get("feeds", []), *feed_tables(found.fits, home, rest.get("feeds", []))]
    pools, labels = pool_tables(found.fits, home, rest.get("pools", []), found.base)
    tables["pools"] = [*rest.get("pools", []), *pools]
    if "watch" in rest:
        tables["watch"] = watched_beside(rest["watch"], pools)
    if managers := managers_table(found.fits, home, rest.get("managers", {})):
        tables["managers"] = managers
    if found.where.like is None:
        tables |= book_tables(found.fits)
    tables["positions"] = position_tables(found.fits, labels, home)
    tables["policy"] = (
        {"file": str(choices.policy_file.absolute())} if choices.budget else {"preset": choices.preset}
    )
    tables["alerts"] = _alerts(choices, secrets)
    return tables


def _home(found: Found) -> int:
    """Return the chain whose blocks drive: the first that answered."""
    if found.base is not None:
        return found.base.chain.id
    ids = [chain.chain_id for chain in found.view.chains if chain.block is not None]
    return next(number for number in ids if number is not None)  # it holds a position, so one answered


def _chain_tables(found: Found, secrets: dict[str, str]) -> dict[str, Any]:
    home = _home(found)
    used = {home, *(fit.position.chain_id for fit in found.fits)}
    tables: list[dict[str, Any]] = []
    for url, chain in zip(found.where.urls, found.view.chains, strict=True):
        if chain.chain_id in used and chain.block is not None:
            used.discard(chain.chain_id)
            tables.append(_chain_table(url, chain.chain_id, home, secrets))
    rest: dict[str, Any] = {"chain": next(item for item in tables if item["id"] == home)}
    others = [item for item in tables if item["id"] != home]
    return rest | ({"chains": others} if others else {})


def _chain_table(url: str, chain_id: int, home: int, secrets: dict[str, str]) -> dict[str, Any]:
    table: dict[str, Any] = {"id": chain_id, "rpc_url": url}
    return without_keys(table if chain_id == 1 else table | {"poll_s": _POLL_S}, home, secrets)


def _tables_like(path: Path, home: int, secrets: dict[str, str]) -> dict[str, Any]:
    """Return chains, contracts, venues and sources of another configuration, as they are written there.

    But no key is copied: neither that of a source, nor an address that may hold one.
    """
    found = {name: item for name, item in read_table(path).items() if name not in _OWN}
    found["chain"] = without_keys(found["chain"], home, secrets)
    if "chains" in found:
        found["chains"] = [without_keys(item, home, secrets) for item in found["chains"]]
    if "watch" in found:
        found["watch"] = [without_source_keys(item, secrets) for item in found["watch"]]
    return found


def _alerts(choices: Choices, secrets: dict[str, str]) -> dict[str, Any]:
    names = []
    for number, url in enumerate(choices.alert_urls, start=1):
        name = "ALVH_ALERT_URL" if number == 1 else f"ALVH_ALERT_URL_{number}"
        secrets[name] = url
        names.append(f"${{{name}}}")
    return {"urls": names} if names else {}


def _policy_text(found: Found, choices: Choices) -> str:
    if not choices.budget:
        return ""
    share = _share(choices.budget, found.value_usd)
    preset = named_policy(choices.preset).budget
    year = f"{_down(100.0 * share):g} %"
    month = f"{_down(100.0 * min(preset.budget_30d, share)):g} %"
    return f"""\
# Written by `alvh init`: {choices.preset} with a budget of {choices.budget} of premium a year.
# alvh policy show {choices.policy_file.name} prints every number; docs/policy.md says what each does.
name = {_quoted(f"{choices.preset}, {choices.budget} a year")}
extends = {_quoted(choices.preset)} # every key left out here comes from it

[budget] # of the positions' value, {found.value_usd:,.0f} USD when this was written
budget_365d = {_quoted(year)} # premium net of proceeds in 365 days
budget_30d = {_quoted(month)} # in 30 days
"""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _down(percent: float) -> float:
    """Return a percentage with four digits after the point, never rounded up: it is a limit."""
    return math.floor(percent * 1e4 + 1e-6) / 1e4


def _budget(text: str) -> tuple[float, str]:
    found = _BUDGET.fullmatch(text.strip())
    if found is None or not text.isascii():
        raise ConfigError(
            f"--budget {text[:40]!r}: must be premium a year, as a share of the positions' value such as "
            "'3 %', or in dollars such as '5000 USD'"
        )
    return float(found["number"]), found["unit"]


def _share(text: str, value_usd: float) -> float:
    number, unit = _budget(text)
    share = number / 100.0 if unit == "%" else number / value_usd
    if share > 1.0:
        raise ConfigError(f"--budget {text!r} is over the positions' value of {value_usd:,.0f} USD")
    return share


def next_commands(draft: Draft) -> tuple[str, ...]:
    """Return what to type next."""
    choices = draft.choices
    option = "" if choices.target == Path("alvh.toml") else f" --config {choices.target}"
    lines: Sequence[str] = ()
    if draft.secrets and choices.env_file is not None:
        lines = (f"set -a; . {_sourced(choices.env_file)}; set +a",)
    return (*lines, f"alvh doctor{option}", f"alvh monitor{option}", f"alvh run{option}")


def _sourced(path: Path) -> str:
    return str(path) if path.is_absolute() else f"./{path}"
