"""Commands that need no network: the demonstration and what works on history."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import JsonOption, ReportOption, err, out
from bot.errors import ConfigError
from bot.output import refuse_lost_results, write_json

if TYPE_CHECKING:
    from bot.simulation.results import BacktestResult

StartOption = Annotated[str | None, typer.Option("--from", help="First day, UTC.")]
EndOption = Annotated[str | None, typer.Option("--to", help="Last day, UTC, included.")]
WindowsOption = Annotated[
    Path | None,
    typer.Option(help="CSV of crisis and calm windows (id, start_utc, end_utc_exclusive, kind)."),
]
PoliciesOption = Annotated[
    list[str] | None, typer.Option(help="Preset or policy file; with --windows as often as wanted.")
]
MarketOption = Annotated[Path | None, typer.Option(help="Market assumptions in place of the packaged ones.")]
ProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Windows run at once; one per core if not said.")
]
JournalOption = Annotated[
    Path | None, typer.Option(help="Write every step to this new journal, for alvh explain --journal.")
]


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


def backtest(
    data: Annotated[Path, typer.Option(help="Folder with history files.")],
    exposure: Annotated[str, typer.Option(help="v2:ETH/USDC:1000000 or v3:ETH/USDC:1000000:-20%:+20%.")],
    start: StartOption = None,
    end: EndOption = None,
    windows: WindowsOption = None,
    policy: PoliciesOption = None,
    market: MarketOption = None,
    lead: Annotated[float, typer.Option(help="Days run before each window.")] = 30.0,
    processes: ProcessesOption = None,
    journal: JournalOption = None,
    json_to: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Run the same engine over real history, against static and Cboe-like hedges.

    With --from and --to one stretch and one policy; with --windows crises and calm periods, policies side by
    side: how early each tier came, what hedging removed, what calm cost, how often it alarmed in vain.
    """
    named = policy or ["classic"]
    if windows is not None:
        if start or end or report or journal:
            raise ConfigError(
                "--windows takes no --from, --to, --report or --journal; leave them out, or leave it out"
            )
        _windows(data, exposure, windows, named, market, lead, processes, json_to)
        return
    if start is None or end is None:
        raise ConfigError("backtest needs --from and --to, or --windows; give the first and the last day")
    if len(named) > 1:
        raise ConfigError(
            f"--policy takes one policy without --windows, was {', '.join(named)}; name one, or add --windows"
        )
    refuse_lost_results(json_to, report)
    result = _run_stretch(data, exposure, start, end, named[0], market, journal, report)
    if json_to != "-":
        _print_stretch(result, journal, report)
    write_json(result.to_json(), json_to)


def _windows(
    data: Path,
    exposure: str,
    windows: Path,
    policies: list[str],
    market: Path | None,
    lead_days: float,
    processes: int | None,
    json_to: str | None,
) -> None:
    from bot.app.backtest_windows import backtest_windows
    from bot.simulation.window_terminal import print_windows
    from bot.terminal import hours_progress

    refuse_lost_results(json_to, None)
    with hours_progress(err) as on_hour:
        result = backtest_windows(
            data=data,
            windows=windows,
            exposure=exposure,
            policies=policies,
            market=market,
            lead_days=lead_days,
            processes=processes or os.cpu_count() or 1,
            progress=on_hour,
        )
    if json_to != "-":
        print_windows(result, out)
    write_json(result.to_json(), json_to)


def _run_stretch(
    data: Path,
    exposure: str,
    start: str,
    end: str,
    policy: str,
    market: Path | None,
    journal: Path | None,
    report: Path | None,
) -> "BacktestResult":
    from bot.app.backtest import backtest as run_history
    from bot.app.journals import new_journal, write_journal
    from bot.terminal import hours_progress

    if journal is not None:
        new_journal(journal)
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
    if journal is not None:
        write_journal(journal, result.records)
    return result


def _print_stretch(result: "BacktestResult", journal: Path | None, report: Path | None) -> None:
    from bot.simulation.report_data import from_backtest
    from bot.simulation.report_terminal import print_report

    print_report(from_backtest(result), out)
    if report is not None:
        out.print(f"report: {report}", soft_wrap=True)
    if journal is not None:
        out.print(f"journal: {journal}; alvh explain --journal {journal} --at TIME", soft_wrap=True)
