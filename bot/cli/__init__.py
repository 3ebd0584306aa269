"""The command line. Exit codes: 0 ok, 1 error, 2 not found, 3 not running, 4 configuration, 5 timeout.

Commands lie in the modules beside this file, by what they work on; ``COMMANDS`` is their order in the help.
Each imports what it runs inside its own function, so that every command starts fast.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from bot import __version__
from bot.cli import (
    alerts,
    checks,
    cover,
    dashboard,
    devnet,
    download,
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
)
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
from bot.output import keep_stdout, usage_problem, with_json_target

COMMANDS: tuple[Callable[..., Any], ...] = (
    operate.plan,
    simulate.demo,
    operate.monitor,
    operate.run,
    operate.status,
    operate.explain,
    dashboard.dashboard,
    report.report,
    manual.positions,
    manual.quote,
    manual.close,
    manual.roll,
    manual.exercise,
    manual.top_up,
    manual.repay,
    manual.pause,
    manual.resume,
    manual.history,
    simulate.backtest,
    simulate.look_ahead,
    stress.stress,
    sweep.sweep,
    monte_carlo.montecarlo,
    replay.replay,
    replay.release,
    download.download_data,
    checks.show_config,
    checks.doctor,
    checks.check_addresses,
    venues.venues,
    signer.signer,
)

cli = typer.Typer(
    name="alvh",
    help="Watch on-chain stress and protect liquidity positions with layered option hedges.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    cli.command()(command)
cli.command("exit")(manual.exit_position)  # a function of that name would hide Python's own
cli.add_typer(alerts.alerts_cli, name="alerts")
cli.add_typer(cover.cover_cli, name="cover")
cli.add_typer(devnet.devnet_cli, name="devnet")
cli.add_typer(policy.policy_cli, name="policy")
cli.add_typer(safe.safe_cli, name="safe")
cli.add_typer(testnet.testnet_cli, name="testnet")


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; every refusal is one line on standard error and an exit code."""
    if arguments is None:
        keep_stdout()
    given = with_json_target(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli(args=given, standalone_mode=False)
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
