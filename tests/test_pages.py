"""What the README and the pages of docs/ show exists: commands with their options, files, venues, anchors."""

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bot.cli import cli
from bot.deployments.places import venue_places
from bot.settings import Settings, read_source
from bot.venues.capabilities import CAPABILITIES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALVH = get_command(cli)
_CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_COMMAND = re.compile(r"(?:^|\s)(?:\.venv/bin/)?alvh((?: +(?![#&|;(])[^\s,;]+)+)")
_FILE = re.compile(r"^(?:\.\./)?((?:bot|tests|scripts|contracts_abi|docs)/[\w./*-]*[\w*])(?=$|[\s:])")


def spoken(page: Path) -> Iterator[str]:
    """Yield every line of code of a page, in blocks and within sentences."""
    for block, inline in _CODE.findall(page.read_text()):
        yield from (block or inline).splitlines()


def commands(page: Path) -> Iterator[list[str]]:
    for line in spoken(page):
        for found in _COMMAND.findall(line):
            yield shlex.split(found, comments=True)


def problem_of(words: list[str]) -> str:
    """Return what of a shown command does not exist, "" when all of it does."""
    command: Any = ALVH
    options = options_of(command)
    for word in words:
        if word.startswith("-"):
            if word.split("=")[0] not in options:
                return f"no option {word}"
        elif children := getattr(command, "commands", None):
            names = [name for part in word.split("|") for name in part.split("/")]
            if unknown := [name for name in names if name not in children and name.isidentifier()]:
                return f"no command {unknown[0]}"
            command = children.get(names[0], command)
            options = options_of(command)
    return ""


def options_of(command: Any) -> set[str]:
    return {name for item in command.params for name in item.opts} | {"--help"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_is_shown_exists_with_its_options(page: Path):
    problems = {" ".join(words): problem for words in commands(page) if (problem := problem_of(words))}
    assert not problems


def test_commands_that_do_not_exist_are_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("Run `alvh hedge` or\n```\nalvh run --lve  # soon\nalvh close 7 --mode live\n```\n")
    assert [problem_of(words) for words in commands(page)] == ["no command hedge", "no option --lve", ""]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_exists(page: Path):
    named = {found[1] for line in spoken(page) if (found := _FILE.match(line.strip()))}
    assert not {name for name in named if "<" not in name and not any(ROOT.glob(name))}


def anchor_of(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_anchor_leads_to_a_heading(page: Path):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        text = ((page.parent / target) if target else page).read_text()
        assert anchor in {anchor_of(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_venues_md_has_a_part_for_every_venue_and_its_section():
    text = (ROOT / "docs" / "venues.md").read_text()
    for name, capabilities in CAPABILITIES.items():
        if name == "safe":
            assert "[safe.md](safe.md)" in text
            continue
        title = capabilities.title.split(" (")[0].split(" v2, ")[0]
        assert f"\n## {title}" in text, title
        if name in Settings.model_fields:
            assert f"`[{name}]`" in text, name


def test_the_policy_reference_is_what_its_script_writes():
    script = runpy.run_path(str(ROOT / "scripts" / "policy_page.py"))
    page = script["page"]()
    assert (ROOT / "docs" / "policy-reference.md").read_text() == page, "run scripts/policy_page.py"
    for key in read_source("steward").table:
        assert f"`{key}`" in page or f"`{key}." in page, key


def test_every_venue_has_a_place_where_it_stands():
    assert {place.venue for place in venue_places()} == set(CAPABILITIES)


def test_every_decision_is_in_the_list_of_decisions():
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"\]\((\d{4}-[^)]+)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


def test_every_abi_has_its_source():
    folder = ROOT / "contracts_abi"
    cells = re.findall(r"^\| ([^|]+) \|", (folder / "README.md").read_text(), re.MULTILINE)
    listed = {name.strip() for cell in cells[1:] for name in cell.split(",")} - {"---"}
    assert listed == {path.stem for path in folder.glob("*.json")}
