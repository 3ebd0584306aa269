"""The command of the signer's process."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.shared import DEFAULT_CONFIG, EXIT_CONFIG, ConfigOption, err, settings_of
from bot.errors import BotError


def signer(
    config: ConfigOption = DEFAULT_CONFIG,
    password_file: Annotated[
        Path | None, typer.Option(help="File of mode 0600 with the keystore password.")
    ] = None,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", hidden=True, help="End when standard input is closed.")
    ] = False,
) -> None:
    """Hold the key and sign within the rules, until a signal. For one bot on this machine."""
    from bot.app.kill_switch import pause_at_signal
    from bot.app.signer import serve
    from bot.app.signer_place import pause_folders

    say = _on_standard_output if lifeline else _on_standard_error
    wait = _until_input_ends if lifeline else _until_a_signal
    try:
        settings = settings_of(config)
        pause_at_signal(pause_folders(settings), what="signer")
        serve(settings, ask=_asked, ready=say, until=wait, password_file=password_file)
    except BotError as error:
        if not lifeline:
            raise
        _tell({"error": str(error)})
        raise typer.Exit(EXIT_CONFIG) from None


def _on_standard_output(address: str) -> None:
    # A signal to stop is for the bot, which ends the step under way; that may still need signatures.
    _ignore(signal.SIGINT, signal.SIGTERM)
    _tell({"address": address})


def _on_standard_error(address: str) -> None:
    err.print(f"signing for {address}", markup=False)


def _until_input_ends() -> None:
    while sys.stdin.buffer.read(1):
        pass


def _until_a_signal() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


def _asked() -> str | None:
    """Ask at the terminal itself, whatever standard input is. None where there is no terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    os.close(terminal)
    import getpass

    try:
        return getpass.getpass("Keystore password: ")
    except EOFError:
        return None


def _ignore(*numbers: signal.Signals) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _tell(document: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
