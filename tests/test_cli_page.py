"""The first page of help, completion, and what every command prints in a narrow or plain terminal."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import ALVH, environment
from printed import printed

from bot.cli import cli
from bot.cli.page import first_sentence, panels_of
from bot.output import keep_letters

ROOT = Path(__file__).parents[1]
GROUP: Any = typer.main.get_command(cli)
HEAVY = (
    "numpy",
    "pydantic",
    "web3",
    "aiohttp",
    "sqlalchemy",
    "rich.markdown",
    "rich.progress",
    "bot.settings",
)
ROOM = 62  # columns for a text on the page


def paths(group: Any = GROUP, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command as it is typed."""
    for name, command in group.commands.items():
        yield (*before, name)
        if hasattr(command, "commands"):
            yield from paths(command, (*before, name))


# the page


def test_no_command_imports_what_only_its_work_needs():
    code = f"import sys, bot.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_page_names_every_command_once_with_its_own_words():
    page = printed("--help").text
    for name, command in GROUP.commands.items():
        line = f"  {name} ".ljust(18) + first_sentence(command.help)
        assert page.count(f"\n{line}\n") == 1, line
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize("name", GROUP.commands)
def test_a_command_says_what_it_does_in_one_line(name):
    command = GROUP.commands[name]
    assert 10 < len(first_sentence(command.help)) <= ROOM
    assert command.rich_help_panel in panels_of(GROUP), "it stands in a panel"


def test_nothing_asked_for_shows_the_page_and_no_error():
    for arguments, words in (((), "Start here"), (("policy",), "schema")):
        ended = printed(*arguments)
        assert ended.code == 4
        assert words in ended.text
        assert "error" not in ended.text


# completion


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("alvh mon", {"monitor", "montecarlo"}),
        ("alvh policy s", {"show", "schema", "sign"}),
        ("alvh run --li", {"--live"}),
        ("alvh nothing", set()),
    ],
)
def test_bash_is_told_what_fits_and_nothing_else(words, found):
    env = {"_ALVH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = alvh(env=env)
    assert set(done.stdout.split()) == found
    assert done.stderr == ""


def test_the_script_for_bash_is_printed_and_bash_takes_it():
    env = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # whatever shell runs the tests
    script = alvh("--show-completion", "bash", env=env).stdout
    assert "_ALVH_COMPLETE=complete_bash" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


# any terminal


SHOWN = [
    ("venues",),
    ("show-config", "-c", "docs/arbitrum-monitor.toml"),
    ("policy", "show", "steward"),
    ("policy", "diff", "steward", "fortress"),
    ("stress", "--list"),
    ("run", "--lively"),
    ("status", "-c", "nowhere.toml"),
]


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_the_help_of_a_command_folds_and_is_ascii(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    shown = printed(*path, "--help", width=20, encoding="ascii")
    assert shown.code == 0
    assert max(map(len, shown.text.splitlines())) <= 52, (
        "what needs fifty columns breaks where the terminal does"
    )
    assert f"alvh {' '.join(path)}" in " ".join(shown.text.split())


@pytest.mark.parametrize("width", [20, 80])
@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_what_commands_print_keeps_its_letters_in_ascii_and_at_any_width(arguments, width, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ALVH_RPC_URL", "http://127.0.0.1:1")
    whole = printed(*arguments, width=width)
    plain = printed(*arguments, width=width, encoding="ascii")
    assert plain.code == whole.code
    assert plain.text.isascii()
    assert plain.text.count("?") == whole.text.count("?"), "a letter without a stand-in"
    assert "\x1b" not in whole.text, "no terminal, no colour"
    assert "Traceback" not in whole.text


def test_no_text_of_the_program_has_a_letter_without_a_stand_in():
    """Texts of people are another matter: theirs become question marks."""
    files = [path for path in (ROOT / "bot").rglob("*.py") if path.name != "output.py"]  # of the stand-ins
    letters = set[str]().union(*(path.read_text() for path in files)) - {"\ufffd"}
    odd = "".join(sorted(letter for letter in letters if not letter.isascii() and letter.isprintable()))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with contextlib.redirect_stdout(stream):
        keep_letters()
        stream.write(odd)
        stream.flush()
    assert b"?" not in stream.buffer.getvalue(), odd  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("env", "is_ascii"),
    [
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "C", "PYTHONUTF8": "0"}, True),
        ({"LC_ALL": "POSIX", "TERM": "dumb", "NO_COLOR": ""}, True),
        ({"LC_ALL": "C.UTF-8"}, False),
        ({"PYTHONIOENCODING": "ascii"}, True),
    ],
    ids=str,
)
def test_a_locale_without_letters_gets_ascii(env, is_ascii):
    done = alvh("run", "--help", env=env, raw=True)
    assert done.returncode == 0
    assert done.stdout.isascii() is is_ascii
    assert done.stderr == b""


def test_a_document_keeps_its_letters_in_a_locale_without_them(tmp_path: Path):
    path = tmp_path / "alvh.toml"
    path.write_text('state_dir = "/λ…"\n[chain]\nid = 1\nrpc_url = "http://127.0.0.1:1"\n')
    done = alvh("show-config", "-c", str(path), "--json", env={"LC_ALL": "C"}, raw=True)
    assert done.stdout.isascii()
    assert r"/\u03bb\u2026" in done.stdout.decode()


def test_a_pipe_that_closes_early_is_no_crash():
    with subprocess.Popen(
        [str(ALVH), "policy", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.wait(timeout=30) == 1
        assert running.stderr.read() == b""


def alvh(*arguments: str, env: dict[str, str] | None = None, raw: bool = False) -> Any:
    return subprocess.run(
        [str(ALVH), *arguments],
        env={**{name: text for name, text in environment().items() if name != "LC_ALL"}, **(env or {})},
        capture_output=True,
        text=not raw,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
