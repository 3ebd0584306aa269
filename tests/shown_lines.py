"""The lines of shell that the README and the pages show, and what a test does with each.

``LINES`` names every line by how it begins; the longest beginning counts. A line that begins like none fails
test_shown_lines.py, so that a new line in a page is run, or says here why it is not.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from bot.cli import cli
from bot.output import with_json_target

ROOT = Path(__file__).parents[1]
ALVH = get_command(cli)
_BLOCK = re.compile(r"^```(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SHELL = ("sh", "bash", "console", "shell")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=.*")
SCRIPTS: Final = {
    "scripts/demo": ("alvh", "demo"),
    ".venv/bin/alvh": ("alvh",),
    "/opt/alvh/bin/alvh": ("alvh",),
}  # what they become


@dataclass(frozen=True, slots=True)
class Runs:
    """It is run on a devnet, with the words of ``add`` too, such as what ends it by itself."""

    code: int = 0  # with which it has to end
    add: tuple[str, ...] = ()
    said: str = ""  # words that it has to say


@dataclass(frozen=True, slots=True)
class Read:
    """The program reads its arguments and does nothing; ``why`` it is not run here."""

    why: str


@dataclass(frozen=True, slots=True)
class Shell:
    """No command of this program; ``why`` it is not run here. A script of the project has to be there."""

    why: str


How = Runs | Read | Shell

LONG = "takes a minute or more; its own tests run it"
FILES = "needs history files that are not part of the project; its own tests make some"
PERSON = "needs a funded account or a person's answer; its own tests bring both"
NETWORK = "asks the internet; its own tests bring a local server"
DEVNET = "starts or ends a devnet; this one is there already, and its own tests start others"
SYSTEM = "changes the machine it runs on"

MANAGER: Final = "<the devnet's own position manager>"

LINES: Final[dict[str, How]] = {
    # a local chain
    "alvh demo": Read(LONG),
    "alvh devnet up": Read(DEVNET),
    "alvh devnet down": Read(DEVNET),
    "alvh devnet status": Read(DEVNET),
    "alvh devnet prepare": Read(DEVNET),
    # watching and trading
    "alvh init": Read(PERSON),
    "alvh init --like": Runs(add=("--output", "first.toml"), said="first.toml"),
    "alvh plan": Runs(said="now at CALM"),
    "alvh monitor": Runs(add=("--once",)),
    "alvh monitor --rpc-url": Runs(add=("--once", "--v3-manager", MANAGER), said="v3:4"),
    "alvh run": Runs(add=("--once",)),
    "alvh run --live --network": Read(PERSON),
    "alvh run --once --network": Read(PERSON),
    "alvh status": Runs(code=3, said="TAIL"),  # a run that was there once: its last record
    "alvh explain": Runs(),
    "alvh report": Runs(),
    "alvh positions": Runs(),
    "alvh history": Runs(),
    "alvh quote": Runs(),
    "alvh show-config": Runs(),
    "alvh doctor": Runs(),
    "alvh doctor --config testnet/alvh.toml": Read(PERSON),
    "alvh check-addresses": Runs(),
    "alvh venues": Runs(),
    "alvh health": Runs(code=3),  # no bot runs any more
    "alvh dashboard": Read("serves until it is stopped; tests/dashboard"),
    "alvh watch": Read("reads until it is stopped; its own tests run two into one database"),
    "alvh export": Runs(add=("--force",)),
    "alvh db status": Runs(),
    "alvh db upgrade": Read("needs a store of an earlier version; its own tests have one of each"),
    "alvh db verify": Runs(),
    "alvh db prune": Read("needs months of heartbeats; its own tests make some"),
    "alvh pause": Runs(said="paused"),
    "alvh resume": Runs(add=("--yes",)),
    "alvh alerts test": Read(NETWORK),
    "alvh signer": Read("serves until it is stopped; tests/app/test_signer.py"),
    "alvh close": Read(PERSON),
    "alvh roll": Read(PERSON),
    "alvh exercise": Read(PERSON),
    "alvh exit": Read(PERSON),
    "alvh repay": Read(PERSON),
    "alvh top-up": Read(PERSON),
    "alvh cover": Read(PERSON),
    "alvh safe": Read(PERSON),
    "alvh release": Read("only after a deep reorganisation; tests/pipeline has one"),
    "alvh testnet": Read(PERSON),
    # policies
    "alvh policy check": Runs(),
    "alvh policy show": Runs(),
    "alvh policy diff": Runs(),
    "alvh policy schema": Runs(),
    "alvh policy sign": Read(PERSON),
    "alvh policy verify": Read(PERSON),
    # simulation
    "alvh backtest": Read(FILES),
    "alvh look-ahead": Read(FILES),
    "alvh sweep": Read(FILES),
    "alvh montecarlo": Read(LONG),
    "alvh stress": Read(LONG),
    "alvh stress --list": Runs(said="terra-2022"),
    "alvh replay": Read("needs a recording of a run; tests/test_demo.py makes one"),
    "alvh report steward classic": Read(FILES),
    "alvh download-data": Read(NETWORK),
    # the project itself
    "scripts/test": Shell("is what runs this"),
    "scripts/bench": Shell(LONG),
    "scripts/campaign": Shell(LONG),
    "source .venv/bin/activate": Shell("an environment is active already"),
    "scripts/build": Shell("tests/test_supply_chain.py runs it on a copy"),
    "scripts/audit": Shell("tests/test_audit.py runs its checks one by one"),
    "python scripts/": Shell("the pages' tests compare what it writes"),
    "mkdocs": Shell("tests/test_site.py builds the site"),
    "git clone": Shell(NETWORK),
    "source packaging/completions/": Shell("tests/test_packaging.py sources it"),
    "cd": Shell("the folder of a clone"),
    "export": Shell("a variable of the reader's"),
    # services
    "podman": Shell(SYSTEM),
    "systemctl": Shell(SYSTEM),
    "systemd-sysusers": Shell(SYSTEM),
    "install": Shell(SYSTEM),
    "python3 -m venv": Shell(SYSTEM),
    "/opt/alvh/bin/pip": Shell(SYSTEM),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of shell in a page, as a reader types it."""

    page: str
    number: int  # of the line in the page
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """Its words without comment, variables before the command, ``sudo``; scripts as what they become."""
        found = shlex.split(self.text, comments=True)
        while found and (_VARIABLE.fullmatch(found[0]) or found[0].startswith(("sudo", "--user="))):
            del found[0]
        return (*SCRIPTS.get(found[0], (found[0],)), *found[1:])

    @property
    def command(self) -> str:
        return " ".join(self.words)

    @property
    def how(self) -> How | None:
        """The class of the longest beginning that it has, None for none."""
        begun = [name for name in LINES if f"{self.command} ".startswith(name if "/" in name else f"{name} ")]
        return LINES[max(begun, key=len)] if begun else None


def lines_of(page: Path) -> Iterator[Line]:
    """Yield every line of a page's blocks of shell; a line that ends in a backslash goes on in the next."""
    text = page.read_text()
    for block in _BLOCK.finditer(text):
        if block[1] not in _SHELL:
            continue
        number = text.count("\n", 0, block.start()) + 2
        name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
        for each in re.sub(r"\\\n\s*", lambda _: "", block[2]).splitlines():
            if each.strip() and not each.strip().startswith("#"):
                yield Line(page=name, number=number, text=each.strip())


def read_by_the_program(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a command's parameters, read as by ``alvh``; nothing runs. Raises its error."""
    given = with_json_target(list(words[1:]))
    command: Any = ALVH
    context = command.make_context("alvh", given)
    while hasattr(command, "resolve_command"):
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(command.name, rest, parent=context)
    return dict(context.params)
