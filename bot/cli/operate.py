"""Commands of a position that is watched: plan, monitor, run, status, explain, report."""

import asyncio
import math
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    EXIT_NOT_RUNNING,
    ConfigOption,
    JsonOption,
    ModeOption,
    NetworkTableOption,
    err,
    out,
    settings_of,
)
from bot.errors import BotError, ConfigError
from bot.model.look_back import DEFAULT_LOOK_BACK
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.follow import Listener
    from bot.model.record import StepRecord
    from bot.settings import Settings

_OVER_AFTER_S = 60.0  # a trouble that was not heard for so long was over

RecordOption = Annotated[
    Path | None, typer.Option("--record", help="Record every step in this folder, for alvh replay.")
]
WalletOption = Annotated[str | None, typer.Option(help="Show every LP position of this address.")]
PositionsOption = Annotated[
    list[str] | None,
    typer.Option(help="v3:ID, v3:ID@STAKER, v4:ID, v2:PAIR[:HOLDER], v2:PAIR@STAKER:HOLDER[:PID]."),
]
NodesOption = Annotated[
    list[str] | None, typer.Option(help="Node in place of a configuration; one per chain.")
]
EntryPriceOption = Annotated[
    list[str] | None, typer.Option(help="Price at the deposit where logs do not say: 2500, v3:12=2500.")
]
LookBackOption = Annotated[int, typer.Option(min=1, help="Blocks whose logs are searched.")]
PollOption = Annotated[float, typer.Option(min=0.1, help="Seconds between looks, with --rpc-url.")]
V3ManagerOption = Annotated[str | None, typer.Option(help="v3 position manager, with --rpc-url.")]
V4ManagerOption = Annotated[str | None, typer.Option(help="v4 PositionManager, with --rpc-url.")]
StateViewOption = Annotated[str | None, typer.Option(help="v4 StateView, with --rpc-url.")]
MetricsOption = Annotated[
    int | None,
    typer.Option("--metrics", metavar="PORT", min=1, max=65_535, help="Serve /metrics, /health."),
]
LogFileOption = Annotated[Path | None, typer.Option("--log-file", help="Write JSON lines to this file.")]
DashboardOption = Annotated[
    bool, typer.Option("--dashboard", help="Serve the dashboard beside it, in a process of its own.")
]
OnceOption = Annotated[bool, typer.Option("--once", help="One step, then stop.")]


def plan(
    config: ConfigOption = DEFAULT_CONFIG,
    position: Annotated[
        list[str] | None, typer.Option(help="v3:TOKEN_ID, v4:TOKEN_ID or v2:HOLDER_ADDRESS; repeat for more.")
    ] = None,
    wallet: Annotated[str | None, typer.Option(help="Protect every position of this address.")] = None,
    json_to: JsonOption = None,
) -> None:
    """Say what protection would cost now. Needs no key and keeps no state."""
    from bot.app.plan import plan as make_plan
    from bot.documents import plan_document
    from bot.terminal import plan_view

    settings = settings_of(config)
    with err.status("reading positions, asking venues for prices"):
        result = asyncio.run(make_plan(settings, positions=position or [], wallet=wallet))
    if json_to is None:
        out.print(plan_view(result))
    write_json(plan_document(result), json_to)


def monitor(
    config: ConfigOption = DEFAULT_CONFIG,
    wallet: WalletOption = None,
    position: PositionsOption = None,
    rpc_url: NodesOption = None,
    entry_price: EntryPriceOption = None,
    look_back: LookBackOption = DEFAULT_LOOK_BACK,
    poll: PollOption = 2.0,
    v3_manager: V3ManagerOption = None,
    v4_manager: V4ManagerOption = None,
    state_view: StateViewOption = None,
    once: OnceOption = False,
    record: RecordOption = None,
    json_to: JsonOption = None,
) -> None:
    """Watch and decide, or show LP positions (--wallet). Trades nothing, needs no key."""
    if wallet is None and not position and not rpc_url:
        _watch(settings_of(config), mode="monitor", once=once, record=record, json_to=json_to)
        return
    from bot.cli.lp import monitor_positions

    monitor_positions(
        wallet=wallet,
        positions=position or [],
        rpc_urls=rpc_url or [],
        entry_prices=entry_price or [],
        look_back=look_back,
        poll_s=poll,
        v3_manager=v3_manager,
        v4_manager=v4_manager,
        state_view=state_view,
        config=config,
        once=once,
        json_to=json_to,
    )


def run(
    config: ConfigOption = DEFAULT_CONFIG,
    live: Annotated[
        bool, typer.Option("--live", help="Sign and send, on allow-listed test chains only.")
    ] = False,
    network: NetworkTableOption = None,
    once: OnceOption = False,
    record: RecordOption = None,
    metrics: MetricsOption = None,
    log_file: LogFileOption = None,
    dashboard: DashboardOption = False,
    json_to: JsonOption = None,
) -> None:
    """Watch, decide and hedge: on paper, unless --live is given."""
    settings = _observed(settings_of(config, network), metrics=metrics, log_file=log_file)
    if live:
        from bot.app.live import refuse_real_money

        refuse_real_money(settings)
    mode = "live" if live else "dry-run"
    _watch(settings, mode=mode, once=once, record=record, json_to=json_to, dashboard=dashboard)


def status(
    config: ConfigOption = DEFAULT_CONFIG, mode: ModeOption = "dry-run", json_to: JsonOption = None
) -> None:
    """Say what is held, what is wanted and why. Read from the journal of a running bot."""
    from bot.alerts_document import alerts_document
    from bot.app.journals import status as read_status
    from bot.documents import step_document
    from bot.terminal import status_view
    from bot.terminal.alerts import alert_lines

    found = read_status(settings_of(config), mode=mode)
    if json_to is None:
        out.print(status_view(found.last, full=found.last_full))
        for line in alert_lines(found.alerts):
            out.print(line)
        if not found.running:
            err.print(f"no {mode} bot is running; this is its last record")
    document = step_document(found.last, full=found.last_full)
    write_json({"running": found.running, **document, "alerts": alerts_document(found.alerts)}, json_to)
    if not found.running:
        raise typer.Exit(EXIT_NOT_RUNNING)


def explain(
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    live: Annotated[
        bool | None, typer.Option("--live/--dry-run", help="The journal of a live or of a dry run.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="A journal file, of a backtest or of another place.")
    ] = None,
    recording: Annotated[Path | None, typer.Option(help="Folder of `alvh run --record`.")] = None,
    at: Annotated[
        str | None, typer.Option(help="The decision in force at this time (ISO 8601, UTC).")
    ] = None,
    sequence: Annotated[int | None, typer.Option(help="The decision of this step.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="Preset or policy file that it was decided under, if not at hand.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Say what led to a decision, and what would change it. Of now, or of any time in a journal."""
    from bot.app import explain as app
    from bot.explain_document import explain_document
    from bot.terminal import explain_view

    which = app.Which(at=at, sequence=sequence)
    if journal is not None and recording is not None:
        raise ConfigError("explain takes either --journal or --recording, not both")
    if journal is not None or recording is not None:
        settings = settings_of(config) if config.is_file() else None
        read = app.explain_file if journal is not None else app.explain_recording
        with err.status("working the decision out again"):
            found = read(journal or recording or Path(), which, settings=settings, policy=policy)
    else:
        chosen = mode if live is None else "live" if live else "dry-run"
        settings = settings_of(config)
        with err.status("working the decision out again"):
            found = app.explain_journal(settings, which, mode=chosen, policy=policy)
    if json_to is None:
        out.print(explain_view(found))
    write_json(explain_document(found), json_to)


def _observed(settings: "Settings", *, metrics: int | None, log_file: Path | None) -> "Settings":
    """Return the settings with what the command line says of metrics and log in their place."""
    if metrics is not None:
        served = settings.metrics.model_copy(update={"port": metrics})
        settings = settings.model_copy(update={"metrics": served})
    if log_file is not None:
        settings = settings.model_copy(update={"logs": settings.logs.model_copy(update={"file": log_file})})
    return settings


def _watch(
    settings: "Settings",
    *,
    mode: str,
    once: bool,
    record: Path | None,
    json_to: str | None,
    dashboard: bool = False,
) -> None:
    """Print one line per step until a signal; a signal ends after the step that is under way."""
    from bot.app import live
    from bot.app.follow import Listener
    from bot.app.kill_switch import pause_at_signal
    from bot.terminal import fill_progress

    pause_at_signal((settings.state_dir,), what="bot")

    async def watch(listener: Listener) -> None:
        stop = stop_at_signals()
        shown = False
        async with AsyncExitStack() as stack:
            if dashboard:
                await stack.enter_async_context(_dashboard(settings, mode=mode, listener=listener))
            steps = live.run(settings, mode=mode, stop=stop, listener=listener, record=record, once=once)
            async for step in steps:
                _show_step(step, json_to, is_first=not shown)
                shown = True
                if once:
                    stop.set()
        err.print("stopped; everything decided so far is in the journal")

    with fill_progress(err) as progress:
        listener = Listener(
            on_trouble=say_once(),
            on_notice=lambda text: err.print(text, markup=False),
            on_progress=progress,
        )
        asyncio.run(watch(listener))


@asynccontextmanager
async def _dashboard(settings: "Settings", *, mode: str, listener: "Listener") -> AsyncIterator[None]:
    """Run the dashboard beside, and say where it is."""
    from bot.app.dashboard_beside import dashboard_beside

    async with dashboard_beside(settings, mode=mode, on_trouble=listener.on_trouble) as found:
        err.print(f"dashboard: {found.sign_in if err.is_terminal else found.url}", markup=False)
        yield


def stop_at_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _show_step(step: "StepRecord", json_to: str | None, *, is_first: bool) -> None:
    """Show the first step whole, each later one in a line and a line for each order."""
    from bot.documents import step_document
    from bot.terminal import outcome_lines, state_line, status_view

    if json_to is not None:
        write_json(step_document(step), json_to, lines=True)
    elif is_first:
        out.print(status_view(step))
    else:
        out.print(state_line(step))
        for line in outcome_lines(step):
            out.print(line)


def say_once() -> Callable[[BotError], None]:
    """Return what says a trouble on standard error, and again only after it was over for a while.

    Numbers in it, such as an age that grows, do not make it another one.
    """
    heard_at_s: dict[str, float] = {}

    def say(trouble: BotError) -> None:
        text, now_s = str(trouble), time.monotonic()
        kind = re.sub(r"\d+", "#", text)
        if now_s - heard_at_s.get(kind, -math.inf) > _OVER_AFTER_S:
            err.print(f"trouble: {text}", markup=False)
        heard_at_s[kind] = now_s

    return say
