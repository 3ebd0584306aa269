"""The dashboard: pages over the journal of a mode, in a process of its own."""

import asyncio
import os
import signal
import sys
from typing import Annotated

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    ModeOption,
    NetworkTableOption,
    err,
    out,
    settings_of,
)
from bot.output import write_json


def dashboard(
    config: ConfigOption = DEFAULT_CONFIG,
    network: NetworkTableOption = None,
    mode: ModeOption = "dry-run",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="In place of dashboard.port; 0: any free one.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", hidden=True, help="End when standard input is closed.")
    ] = False,
    json_to: JsonOption = None,
) -> None:
    """Serve the dashboard. What is protected, why, at what cost, what comes next; on this machine alone."""
    from bot.app.dashboard import Served, serve
    from bot.app.kill_switch import pause_at_signal

    settings = settings_of(config, network)
    pause_at_signal((settings.state_dir,), what="dashboard")

    def say(served: Served) -> None:
        token_file = str(served.token_file) if served.token_file is not None else None
        said = {"url": served.url, "mode": mode, "token_file": token_file}
        write_json(said | ({"sign_in": served.sign_in} if lifeline else {}), json_to, lines=True)
        if json_to is None:
            out.print(f"dashboard of the {mode} journal at {served.url}", soft_wrap=True, markup=False)
            # The token is for the person at the terminal: a log or a file does not get it.
            where = (
                served.sign_in if out.is_terminal else f"the token stands in {token_file or 'the settings'}"
            )
            out.print(f"sign in: {where}", soft_wrap=True, markup=False)
        if open_page:
            typer.launch(served.sign_in)

    async def run() -> None:
        stop = asyncio.Event()
        (_stop_with_input if lifeline else _stop_at_signals)(stop)
        async with serve(settings, mode=mode, port=port) as served:
            say(served)
            await stop.wait()
        if not lifeline:
            err.print("the dashboard has ended; the bot, if one runs, goes on")

    asyncio.run(run())


def _stop_at_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _stop_with_input(stop: asyncio.Event) -> None:
    """End with whoever started this: the kernel closes the pipe however that process ends."""
    loop, handle = asyncio.get_running_loop(), sys.stdin.fileno()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the bot, which ends this
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def heard() -> None:
        if not os.read(handle, 4_096):
            loop.remove_reader(handle)
            stop.set()

    loop.add_reader(handle, heard)
