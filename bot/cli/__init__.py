"""The command line. Exit codes: 0 ok, 1 error, 2 not found, 3 not running, 4 configuration, 5 timeout.

Commands lie in the modules beside this file, by what they work on; ``PANELS`` is their order in the help.
Each imports what it runs inside its own function, so that every command starts fast.
"""

import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from bot import __version__
from bot.cli import (
    alerts,
    checks,
    cover,
    dashboard,
    database,
    devnet,
    download,
    health,
    init,
    manual,
    monte_carlo,
    operate,
    policy,
    replay,
    report,
    safe,
    signer,
    simulate,
    stress,
    sweep,
    testnet,
    venues,
    watch,
)
from bot.cli.page import PanelPage
from bot.cli.shared import (
    EXIT_CONFIG,
    EXIT_ERROR,
    EXIT_NOT_FOUND,
    EXIT_TIMEOUT,
    TYPER_INTERRUPTED,
    err,
    out,
    say_interrupted,
)
from bot.errors import BotError, ConfigError, DeadlineError, NotFoundError
from bot.output import keep_letters, keep_stdout, usage_problem, with_json_target

# What a person does, in the order of the help: commands, and groups of commands.
PANELS: Mapping[str, tuple[Callable[..., Any] | typer.Typer, ...]] = {
    "Start here": (simulate.demo, init.init, checks.doctor, checks.show_config),
    "Watch": (
        operate.monitor,
        operate.plan,
        operate.status,
        dashboard.dashboard,
        operate.explain,
        report.report,
        manual.history,
        database.export,
        alerts.alerts_cli,
    ),
    "Hedge": (
        operate.run,
        manual.positions,
        manual.quote,
        manual.close,
        manual.roll,
        manual.exercise,
        cover.cover_cli,
    ),
    "Positions and loans": (manual.exit_position, manual.top_up, manual.repay),
    "Simulate": (
        simulate.backtest,
        stress.stress,
        sweep.sweep,
        monte_carlo.montecarlo,
        replay.replay,
        simulate.look_ahead,
        download.download_data,
    ),
    "Operate": (
        health.health,
        watch.watch,
        manual.pause,
        manual.resume,
        replay.release,
        policy.policy_cli,
        signer.signer,
        safe.safe_cli,
        venues.venues,
        checks.check_addresses,
        database.db_cli,
    ),
    "Test chains": (devnet.devnet_cli, testnet.testnet_cli),
}
_NAMES: Mapping[Callable[..., Any] | typer.Typer, str] = {
    manual.exit_position: "exit",  # a function of that name would hide Python's own
    alerts.alerts_cli: "alerts",
    cover.cover_cli: "cover",
    database.db_cli: "db",
    devnet.devnet_cli: "devnet",
    policy.policy_cli: "policy",
    safe.safe_cli: "safe",
    testnet.testnet_cli: "testnet",
}

cli = typer.Typer(
    name="alvh",
    cls=PanelPage,
    help="Watch on-chain stress and protect liquidity positions with layered option hedges.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, which folds, needs no box and no second to import one
)
for panel, members in PANELS.items():
    for member in members:
        if isinstance(member, typer.Typer):
            cli.add_typer(member, name=_NAMES[member], cls=PanelPage, rich_help_panel=panel)
        else:
            cli.command(_NAMES.get(member), rich_help_panel=panel)(member)


def _exit_code(error: BotError) -> int:
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    if isinstance(error, NotFoundError):
        return EXIT_NOT_FOUND
    return EXIT_TIMEOUT if isinstance(error, DeadlineError) else EXIT_ERROR


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"alvh-bot {__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def _keep_to_its_user() -> None:
    """Leave no core file, where each token of the settings would be, and no file that others can write."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(os.umask(0o077) | 0o022)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; every refusal is one line on standard error and an exit code."""
    if arguments is None:
        keep_stdout()
        keep_letters()
        _keep_to_its_user()
    given = with_json_target(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli(args=given, prog_name="alvh", standalone_mode=False)
        if code == TYPER_INTERRUPTED:
            raise KeyboardInterrupt
    except BotError as error:
        err.print(f"error: {error}", markup=False)
        code = _exit_code(error)
    except TyperException as error:
        err.print(f"error: {usage_problem(error.format_message(), given)}; see alvh --help", markup=False)
        code = EXIT_CONFIG
    except (typer.Abort, KeyboardInterrupt):
        say_interrupted()
        code = EXIT_ERROR
    except BrokenPipeError:
        sys.stderr.close()
        code = EXIT_ERROR
    sys.exit(code if isinstance(code, int) else 0)
