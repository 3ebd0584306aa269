"""Commands of the local chain."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.shared import EXIT_NOT_RUNNING, JsonOption, err, out
from bot.output import write_json

devnet_cli = typer.Typer(
    help="A local chain with real Uniswap, Lyra and Perp v2 contracts.", no_args_is_help=True
)

DirectoryOption = Annotated[Path, typer.Option("--dir", help="Where its configuration and state go.")]


@devnet_cli.command("up")
def devnet_up(
    directory: DirectoryOption = Path("devnet"),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Loopback port; a free one by default.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Start the devnet in the background and write a configuration for it."""
    from bot.app import devnet

    with err.status("starting the devnet; the first time fetches packages and deploys them"):
        started = asyncio.run(devnet.up(directory, port=port))
    if json_to is None:
        out.print(f"devnet is up at {started['rpc_url']}, process {started['pid']}")
        out.print(f"configuration: {started['config']}", soft_wrap=True)
        out.print(f"try: alvh plan --config {started['config']}", soft_wrap=True)
        out.print(f"     alvh run --live --config {started['config']}", soft_wrap=True)
    write_json(started, json_to)


@devnet_cli.command("status")
def devnet_status(directory: DirectoryOption = Path("devnet"), json_to: JsonOption = None) -> None:
    """Say whether the devnet answers, and at which block."""
    from bot.app import devnet

    state = asyncio.run(devnet.status(directory))
    if json_to is None:
        out.print(
            f"devnet at {state['rpc_url']} is at block {state['block']}, chain time {state['ts']}"
            if state["running"]
            else "no devnet is running; start one with: alvh devnet up"
        )
    write_json(state, json_to)
    if not state["running"]:
        raise typer.Exit(EXIT_NOT_RUNNING)


@devnet_cli.command("down")
def devnet_down(directory: DirectoryOption = Path("devnet")) -> None:
    """Stop the devnet that `up` started here."""
    from bot.app import devnet

    devnet.down(directory)
    out.print("devnet is down")


@devnet_cli.command("prepare")
def devnet_prepare() -> None:
    """Fetch the pinned packages and deploy once, so that later starts need no network."""
    from bot.app import devnet

    with err.status("fetching packages and deploying them once"):
        took_s = asyncio.run(devnet.prepare())
    out.print(f"devnet is ready ({took_s:.1f} s)")
