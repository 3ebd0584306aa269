"""The command line. Exit codes: 0 ok, 1 error, 2 not found, 3 not running, 4 configuration, 5 timeout."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from typer.exceptions import TyperException

from bot import __version__
from bot.errors import BotError, ConfigError, DeadlineError, NotFoundError
from bot.output import refuse_lost_results, usage_problem, with_json_target, write_json

if TYPE_CHECKING:
    from bot.settings import Settings

EXIT_ERROR, EXIT_NOT_FOUND, EXIT_NOT_RUNNING, EXIT_CONFIG, EXIT_TIMEOUT = 1, 2, 3, 4, 5

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)

cli = typer.Typer(
    name="alvh",
    help="Watch on-chain stress and protect liquidity positions with layered option hedges.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
devnet_cli = typer.Typer(
    help="A local chain with the real Uniswap, Lyra and Perp v2 contracts.", no_args_is_help=True
)
cli.add_typer(devnet_cli, name="devnet")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="ALVH_CONFIG", help="TOML configuration.")
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="[FILE]", help="Write JSON to FILE, or to the terminal.")
]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Write the HTML report to this file.")]
ModeOption = Annotated[
    Literal["live", "dry-run", "monitor", "demo"], typer.Option(help="Which journal to read.")
]
DirectoryOption = Annotated[Path, typer.Option("--dir", help="Where its configuration and state go.")]
DEFAULT_CONFIG = Path("alvh.toml")


@cli.command()
def plan(
    config: ConfigOption = DEFAULT_CONFIG,
    position: Annotated[
        list[str] | None, typer.Option(help="v3:TOKEN_ID or v2:HOLDER_ADDRESS; repeat for more.")
    ] = None,
    wallet: Annotated[str | None, typer.Option(help="Protect every position of this address.")] = None,
    json_to: JsonOption = None,
) -> None:
    """What would protection cost now? Needs no key and keeps no state."""
    from bot.app.plan import plan as make_plan
    from bot.documents import plan_document
    from bot.terminal import plan_view

    result = asyncio.run(make_plan(_settings(config), positions=position or [], wallet=wallet))
    if json_to is None:
        out.print(plan_view(result))
    write_json(plan_document(result), json_to)


@cli.command()
def demo(
    scenario: Annotated[str, typer.Option(help="calm or terra.")] = "terra",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same market and decisions.")] = 1,
    json_to: JsonOption = None,
    report: ReportOption = Path("alvh-demo.html"),
    keep: Annotated[
        Path | None, typer.Option(help="Leave chain, journal and configuration in this folder.")
    ] = None,
) -> None:
    """Take an LP position through a market on a local chain and report hedged against unhedged."""
    from bot.app.demo import demo as play
    from bot.documents import demo_document
    from bot.simulation.report_terminal import print_report
    from bot.terminal import StepPrinter

    refuse_lost_results(json_to, report)
    with StepPrinter(err) as printer:
        result = asyncio.run(
            play(scenario=scenario, seed=seed, report=report, keep=keep, on_step=printer.show)
        )
    if json_to != "-":
        print_report(result.report, out)
        if report is not None:
            out.print(f"report: {report}", soft_wrap=True)
        if keep is not None:
            out.print(
                f"the chain runs on; alvh explain --mode demo --config {keep}/alvh.toml", soft_wrap=True
            )
            out.print(f"stop it with: alvh devnet down --dir {keep}", soft_wrap=True)
    write_json(demo_document(result), json_to)


@cli.command()
def monitor(
    config: ConfigOption = DEFAULT_CONFIG,
    once: Annotated[bool, typer.Option("--once", help="One step, then stop.")] = False,
    json_to: JsonOption = None,
) -> None:
    """Watch and decide; trade nothing. Needs no key."""
    _watch(_settings(config), mode="monitor", password=None, once=once, json_to=json_to)


@cli.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    live: Annotated[
        bool, typer.Option("--live", help="Sign and send, on allow-listed test chains only.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="One step, then stop.")] = False,
    json_to: JsonOption = None,
) -> None:
    """Watch, decide and hedge; a dry run on paper unless --live is given."""
    settings = _settings(config)
    if live:
        from bot.app.live import refuse_real_money

        refuse_real_money(settings)
        _watch(settings, mode="live", password=_password(settings), once=once, json_to=json_to)
    else:
        _watch(settings, mode="dry-run", password=None, once=once, json_to=json_to)


@cli.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG, mode: ModeOption = "dry-run", json_to: JsonOption = None
) -> None:
    """Say what is held, what is wanted and why, from the journal of a running bot."""
    from bot.app.journals import status as read_status
    from bot.documents import step_document
    from bot.terminal import status_view

    found = read_status(_settings(config), mode=mode)
    if json_to is None:
        out.print(status_view(found.last, full=found.last_full))
        if not found.running:
            err.print(f"no {mode} bot is running; this is its last record")
    write_json({"running": found.running, **step_document(found.last)}, json_to)
    if not found.running:
        raise typer.Exit(EXIT_NOT_RUNNING)


@cli.command()
def explain(
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    at: Annotated[
        str | None, typer.Option(help="The decision in force at this time (ISO 8601, UTC).")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Say which signals, votes, rules and data led to a decision, and what would change it."""
    from bot.app.journals import decision_at
    from bot.documents import step_document
    from bot.engine.explain import explain as explain_decision
    from bot.settings import load_policy
    from bot.terminal import explain_view

    settings = _settings(config)
    record = decision_at(settings, mode=mode, at=at)
    if json_to is None:
        out.print(explain_view(explain_decision(load_policy(settings.policy), record.decision)))
    write_json(step_document(record), json_to)


@cli.command()
def report(
    path: Annotated[Path, typer.Argument(help="HTML file to write.")],
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
) -> None:
    """Write the HTML report of a journal."""
    from bot.app.journals import journal_report
    from bot.simulation.report import write_report
    from bot.simulation.report_terminal import print_report

    data = journal_report(_settings(config), mode=mode)
    write_report(data, path)
    print_report(data, out)
    out.print(f"report: {path}", soft_wrap=True)


@cli.command()
def backtest(
    data: Annotated[Path, typer.Option(help="Folder with history files.")],
    start: Annotated[str, typer.Option("--from", help="First day, UTC.")],
    end: Annotated[str, typer.Option("--to", help="Last day, UTC, included.")],
    exposure: Annotated[str, typer.Option(help="v2:ETH/USDC:1000000 or v3:ETH/USDC:1000000:-20%:+20%.")],
    policy: Annotated[str, typer.Option(help="Preset or policy file.")] = "classic",
    market: Annotated[
        Path | None, typer.Option(help="Market assumptions in place of the packaged ones.")
    ] = None,
    json_to: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Run the same engine over real history, against static and Cboe-like hedges."""
    from bot.app.backtest import backtest as run_history
    from bot.simulation.report_data import from_backtest
    from bot.simulation.report_terminal import print_report
    from bot.terminal import hours_progress

    refuse_lost_results(json_to, report)
    with hours_progress(err) as on_hour:
        result = asyncio.run(
            run_history(
                data=data,
                start=start,
                end=end,
                exposure=exposure,
                policy=policy,
                market=market,
                report=report,
                progress=on_hour,
            )
        )
    if json_to != "-":
        print_report(from_backtest(result), out)
        if report is not None:
            out.print(f"report: {report}", soft_wrap=True)
    write_json(result.to_json(), json_to)


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

    out.print(f"devnet is ready ({asyncio.run(devnet.prepare()):.1f} s)")


def _settings(path: Path) -> "Settings":
    from bot.settings import load_settings

    return load_settings(path)


def _password(settings: "Settings") -> str:
    from bot.settings import keystore_password

    if settings.account is None:
        raise ConfigError("--live needs an [account] with address and keystore in the configuration")
    found = keystore_password(settings.account)
    if found is not None:
        return found.get_secret_value()
    if not sys.stdin.isatty():
        raise ConfigError(
            "--live needs the keystore password: export ALVH_KEYSTORE_PASSWORD or set account.password_file"
        )
    return str(typer.prompt("Keystore password", hide_input=True, err=True))


def _watch(settings: "Settings", *, mode: str, password: str | None, once: bool, json_to: str | None) -> None:
    """Print one line per step until a signal; a signal ends after the step that is under way."""
    from bot.app import live
    from bot.documents import step_document
    from bot.terminal import order_line, state_line, status_view

    async def watch() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        shown = False
        async for record in live.run(
            settings, mode=mode, password=password, stop=stop, on_trouble=_say_once()
        ):
            if json_to is not None:
                write_json(step_document(record), json_to, lines=True)
            elif not shown:
                out.print(status_view(record))
            else:
                out.print(state_line(record))
                for outcome in record.outcomes:
                    out.print(order_line(outcome))
            shown = True
            if once:
                stop.set()
        err.print("stopped; everything decided so far is in the journal")

    asyncio.run(watch())


def _say_once() -> Callable[[BotError], None]:
    """Return what says a trouble on standard error, and says it again only when it changed."""
    said = ""

    def say(trouble: BotError) -> None:
        nonlocal said
        if str(trouble) != said:
            said = str(trouble)
            err.print(f"waiting for the next block: {said}", markup=False)

    return say


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
    given = with_json_target(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli(args=given, standalone_mode=False)
    except BotError as error:
        err.print(f"error: {error}", markup=False)
        code = _exit_code(error)
    except TyperException as error:
        err.print(f"error: {usage_problem(error.format_message(), given)}; see alvh --help", markup=False)
        code = EXIT_CONFIG
    except (typer.Abort, KeyboardInterrupt):
        err.print("interrupted")
        code = EXIT_ERROR
    except BrokenPipeError:
        sys.stderr.close()
        code = EXIT_ERROR
    sys.exit(code if isinstance(code, int) else 0)
