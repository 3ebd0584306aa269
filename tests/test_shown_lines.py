"""Every line of shell in the README and the pages: run on a devnet, read by the program, or named."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Home
from shown_lines import LINES, MANAGER, ROOT, Line, Read, Runs, Shell, lines_of, read_by_the_program
from typer.exceptions import Exit, TyperException

from bot.errors import BotError

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RPC_URLS = ("https://...", "https://…")  # that a reader puts a node of theirs for


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(autouse=True)
def a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page asks the reader to export."""
    monkeypatch.setenv("ALVH_TESTNET_RPC_URL", "https://node.example")


def problem_of(line: Line) -> str:
    """Return what is wrong with a line, "" for nothing."""
    how = line.how
    if how is None:
        return "it begins like no line of tests/shown_lines.py: say there whether it is run"
    if isinstance(how, Shell):
        script = ROOT / line.words[0]
        return f"there is no {script}" if line.words[0].startswith("scripts/") and not script.exists() else ""
    try:
        read_by_the_program(line.words)
    except Exit:  # --help, which is read before all else
        return ""
    except (TyperException, BotError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_shown_line_is_known_and_its_arguments_are_read_by_the_program(page: Path):
    assert not {
        f"{line.number}: {line.text}": found for line in lines_of(page) if (found := problem_of(line))
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path):
    """A block without a language that shows a command would be run by nobody."""
    blocks = page.read_text().split("\n```")
    unsaid = [block for block in blocks[1::2] if block.startswith("\n") and "\nalvh " in block]
    assert not unsaid


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alvh hedge", "it begins like no line"),
        ("rm -rf /", "it begins like no line"),
        ("alvh run --lve", "No such option"),
        ("alvh policy dif steward classic", "it begins like no line"),
        ("alvh demo --seed many", "integer"),
        ("alvh stress one two", "unexpected extra argument"),
        ("scripts/demo --sede 3", "No such option"),
        ("scripts/bench", ""),
        ("ALVH_RPC_URL=https://... alvh monitor --config your.toml  # watch", ""),
        ("sudo --user=alvh /opt/alvh/bin/alvh pause --why 'looks odd'", ""),
    ],
)
def test_a_line_that_would_not_work_is_found(text: str, words: str):
    found = problem_of(Line(page="a page", number=1, text=text))
    assert words in found
    assert bool(found) is bool(words)


def test_a_line_is_taken_whole_and_without_its_comment(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("Text\n\n```sh\n# first\nalvh run \\\n    --once  # decide\n```\n\n```\nalvh no\n```\n")
    (line,) = lines_of(page)
    assert (line.number, line.command) == (4, "alvh run --once")


def prepared(home: Home, url: str) -> Home:
    """Lay out what a reader has: the devnet's folder under its name, a policy of their own, a node."""
    for name in ("devnet", "testnet"):
        (home.folder / name).symlink_to(home.folder)
    shutil.copy(ROOT / "docs" / "policy-example.toml", home.folder / "mine.toml")
    home.env["ALVH_RPC_URL"] = url
    return home


def runnable() -> Iterator[tuple[str, list[str], Runs]]:
    """Yield (place, words, how) of each line that is run, in the order of the pages.

    Each is run once, whichever file of the same content it names: no block is mined meanwhile, so that a
    second look would wait for one.
    """
    seen = set()
    for page in PAGES:
        for line in lines_of(page):
            if isinstance(line.how, Runs):
                words = [*line.words[1:], *(word for word in line.how.add if word not in line.words)]
                same = re.sub(r" --config \S+", "", " ".join(words))
                if same not in seen:
                    seen.add(same)
                    yield f"{line.page}:{line.number} {line.text}", words, line.how


@pytest.mark.devnet
@pytest.mark.timeout(280)
def test_the_shown_lines_work_one_after_the_other(home: Home, start_signer, devnet):
    prepared(home, devnet.rpc_url)
    start_signer()
    here = dict.fromkeys(RPC_URLS, devnet.rpc_url)
    here |= {"0x...": devnet.deployment.accounts[1], MANAGER: devnet.deployment.v3_position_manager}
    failed = {}
    for place, words, how in runnable():
        ended = home.alvh(*(here.get(word, word) for word in words))
        if ended.code != how.code or how.said not in ended.out + ended.err:
            failed[place] = (
                ended.code,
                ended.err[-300:],
                ended.out[-300:],
            )
    assert not failed


def test_every_reason_is_said():
    assert all(how.why for how in LINES.values() if isinstance(how, Read | Shell))
