"""The lock files, and documents that name everything there is. What is built: test_distribution.py."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from bot.cli import cli
from bot.engine.policy import Policy
from bot.engine.rule_table import RULES
from bot.settings import Settings, load_settings
from bot.signals import SIGNALS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-node.lock", "requirements-audit.lock")


def pinned(name: str) -> dict[str, str]:
    """Return distribution -> version of a lock file."""
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==([^ ;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_versions_with_hashes_and_name_no_host(name: str):
    text = (ROOT / name).read_text()
    assert "://" not in text
    entries = [entry for entry in re.split(r"\n(?=[a-z0-9])", text) if "==" in entry]
    assert len(entries) == len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE))
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_locks_agree_and_hold_every_dependency():
    runtime, dev = pinned("requirements.lock"), pinned("requirements-dev.lock")
    assert runtime.items() <= dev.items()
    assert "psycopg-binary" in dev  # else the journal's PostgreSQL tests could not run
    assert "ray" in dev  # likewise those of sweeps on Ray
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {name_of(item) for item in project["project"]["dependencies"]}
    assert wanted <= runtime.keys()
    groups = project["dependency-groups"]
    assert {name_of(item) for item in groups["dev"] + groups["build"]} <= dev.keys()
    assert {name_of(item) for item in groups["audit"]} <= pinned("requirements-audit.lock").keys()


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


def settings_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, item in model.model_fields.items():
        part = part_of(item.annotation)
        if part is None:
            yield f"{prefix}{name}", item
        else:
            yield from settings_fields(part, f"{prefix}{name}.")


def part_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((part for arg in get_args(annotation) if (part := part_of(arg)) is not None), None)


def policy_keys(kind: type, prefix: str = "") -> Iterator[str]:
    for item in fields(kind):
        if not item.init:
            continue
        nested = next((arg for arg in get_args(item.type)[:1] if is_dataclass(arg)), None)
        if nested is None or nested.__name__ == "SignalsPolicy":
            yield f"{prefix}{item.name}"
        else:
            yield from policy_keys(nested, f"{prefix}{item.name}.")


def test_configuration_md_names_every_setting_and_no_other():
    text = (DOCS / "configuration.md").read_text()
    documented = re.findall(r"^\| `([a-z0-9_.]+)` \|", text, re.MULTILINE)
    assert sorted(documented) == sorted(key for key, _ in settings_fields(Settings))


def test_configuration_md_states_the_defaults_there_are():
    rows = dict(
        re.findall(r"^\| `([a-z0-9_.]+)` \|[^|]*\| ([^|]*) \|", (DOCS / "configuration.md").read_text(), re.M)
    )
    for key, item in settings_fields(Settings):
        default = item.default
        if item.is_required():
            assert rows[key] == "required", key
        elif isinstance(default, int | float) or (isinstance(default, str) and default):
            assert rows[key] == f"`{default}`", key


def keys_of(value: Any, path: str = "") -> Iterator[str]:
    for item in value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]:
        if isinstance(item, dict):
            for key, one in item.items():
                yield from keys_of(one, f"{path}.{key}".removeprefix("."))
        else:
            yield path


@pytest.mark.parametrize("name", ["configuration.md", "safe.md", "testnet.md", "venues.md"])
def test_every_key_of_an_example_exists(name: str):
    known = {key for key, _ in settings_fields(Settings)}
    for block in re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL):
        for key in keys_of(tomllib.loads(block)):
            key = re.sub(r"^networks\.\w+\.", "", key)
            assert key.startswith("watch.") or known & {key, key.rpartition(".")[0]}, key


def test_method_md_names_every_signal_rule_and_policy_section():
    text = (DOCS / "method.md").read_text()
    for name in (*SIGNALS, *RULES):
        assert re.search(rf"^\| {name} \|", text, re.MULTILINE), name
    for name in (*(f"S{number}" for number in range(1, 27)), *(f"R{number}" for number in range(1, 30))):
        assert re.search(rf"\b{name}\b", text), name
    for key in policy_keys(Policy):
        section = key.split(".")[0]
        assert f"`{section}" in text, key


def test_readme_names_every_command():
    text = (ROOT / "README.md").read_text()
    for name in get_command(cli).commands:
        assert f"`alvh {name}" in text, name


@pytest.mark.parametrize(
    "page", sorted([ROOT / "README.md", *DOCS.rglob("*.md")]), ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_example_configuration_is_accepted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALVH_RPC_URL", "http://127.0.0.1:8545")
    settings = load_settings(DOCS / "ethereum-monitor.toml")
    assert settings.chain.id == 1
    assert settings.account is None
    assert {pool.kind for pool in settings.pools} == {"uniswap_v2", "uniswap_v3"}
