"""What every command shares: the two consoles, the exit codes, the options, the settings."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from bot.errors import ConfigError

if TYPE_CHECKING:
    from bot.settings import AccountSettings, Settings

EXIT_ERROR, EXIT_NOT_FOUND, EXIT_NOT_RUNNING, EXIT_CONFIG, EXIT_TIMEOUT = 1, 2, 3, 4, 5
TYPER_INTERRUPTED = 130  # what typer makes of Ctrl-C

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="ALVH_CONFIG", help="TOML configuration.")
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="[FILE]", help="Write JSON to FILE, or to the terminal.")
]
NetworkTableOption = Annotated[
    str | None,
    typer.Option("--network", help="Take the table networks.NAME of the configuration: sepolia, …"),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Write the report to this .html file, or to a folder with CSV and PNG."),
]
MarketOption = Annotated[Path | None, typer.Option(help="Market assumptions in place of the packaged ones.")]
ModeOption = Annotated[
    Literal["live", "dry-run", "monitor", "demo"], typer.Option(help="Which journal to read.")
]
PasswordOption = Annotated[Path | None, typer.Option(help="Holds the keystore's password.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DEFAULT_CONFIG = Path("alvh.toml")


def say_interrupted(kept: str = "") -> None:
    """Say in one line that Ctrl-C ended the command, and what is ``kept`` of it.

    Nothing comes after it: that a coroutine was interrupted before its first step is what the user asked for.
    """
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    err.print(f"interrupted; {kept}" if kept else "interrupted", markup=False)


@contextmanager
def keeping(what: str) -> Iterator[None]:
    """Say on Ctrl-C what of a long run is kept, and exit with 1."""
    try:
        yield
    except KeyboardInterrupt:
        say_interrupted(f"{what}: the same command goes on from there")
        raise typer.Exit(EXIT_ERROR) from None


def settings_of(path: Path, network: str | None = None) -> "Settings":
    from bot.settings import load_settings

    return load_settings(path, network=network)


def password_of(account: "AccountSettings") -> str:
    """Return the password of an account's keystore: known, or asked for where a person is there."""
    from bot.settings import keystore_password

    found = keystore_password(account)
    if found is not None:
        return found.get_secret_value()
    if not sys.stdin.isatty():
        raise ConfigError(
            "the keystore password is needed: export ALVH_KEYSTORE_PASSWORD or give --password-file"
        )
    return str(typer.prompt("Keystore password", hide_input=True, err=True))


def confirm(question: str, *, yes: bool) -> None:
    """Ask on standard error, unless ``yes``. Raises ConfigError where nobody is there, Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to confirm; add --yes to do it without asking")
    typer.confirm(question, abort=True, err=True)
