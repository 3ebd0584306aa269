"""Commands that need no network: the demonstration and what works on history."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import EXIT_ERROR, JsonOption, MarketOption, ReportOption, err, keeping, out
from bot.errors import ConfigError
from bot.output import refuse_lost_results, write_json
from bot.simulation.requests import POLICIES, Checks, HistoryRequest, WindowsRequest

if TYPE_CHECKING:
    from bot.simulation.results import BacktestResult

DataOption = Annotated[Path, typer.Option(help="Folder with history files.")]
StartOption = Annotated[str | None, typer.Option("--from", help="First day, UTC.")]
EndOption = Annotated[str | None, typer.Option("--to", help="Last day, UTC, included.")]
WindowsOption = Annotated[
    Path | None,
    typer.Option(help="CSV of crisis and calm windows (id, start_utc, end_utc_exclusive, kind)."),
]
PoliciesOption = Annotated[
    list[str] | None, typer.Option(help="Preset or policy file; with --windows as often as wanted.")
]
ProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Parts run at once; one per core if not said.")
]
JournalOption = Annotated[
    Path | None, typer.Option(help="Write every step to this new journal, for alvh explain --journal.")
]
ExposureOption = Annotated[
    str,
    typer.Option(help="v2:ETH/USDC:1000000, v3:ETH/USDC:0.2:1000000 or v3:ETH/USDC:1000000:-20%:+20%."),
]
LeadOption = Annotated[
    float | None, typer.Option(help="Run the windows alone, from so many days before each.")
]
KeepOption = Annotated[
    Path | None,
    typer.Option(help="Keep finished parts in this folder; the same command goes on from them."),
]
DoubledOption = Annotated[
    bool | None, typer.Option(help="All again with spread and skew doubled; steward alone if not said.")
]
RotationsOption = Annotated[
    int | None, typer.Option(help="Of the control's tiers; 60 without --lead, else none.")
]
WalkForwardOption = Annotated[
    int | None, typer.Option(metavar="FOLDS", help="Choose a policy on the past, test it on what follows.")
]
HoldOutOption = Annotated[
    float | None, typer.Option(metavar="SHARE", help="Measure the last share of the time apart.")
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
    """Take an LP position through a crash on a local chain, hedged.

    The report holds it against the same position unhedged.
    """
    from bot.app.demo import demo as play
    from bot.documents import demo_document
    from bot.simulation.report.terminal import print_report
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
    data: DataOption,
    exposure: ExposureOption,
    start: StartOption = None,
    end: EndOption = None,
    windows: WindowsOption = None,
    policy: PoliciesOption = None,
    market: MarketOption = None,
    lead: LeadOption = None,
    doubled: DoubledOption = None,
    rotations: RotationsOption = None,
    walk_forward: WalkForwardOption = None,
    hold_out: HoldOutOption = None,
    keep: KeepOption = None,
    processes: ProcessesOption = None,
    journal: JournalOption = None,
    json_to: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Run the same engine over real history, against plain hedges.

    Those are static and Cboe-like ones and a delta hedge.

    With --from and --to one stretch and one policy. With --windows the whole history, or the part from --from
    to --to, and every crisis and calm window in it, policies side by side: how early each tier came, what
    hedging removed, what calm cost, how often it alarmed in vain, and what luck would have given.
    """
    alone = {"--lead": lead, "--doubled": doubled, "--rotations": rotations, "--walk-forward": walk_forward}
    if windows is None:
        _refuse_alone({**alone, "--hold-out": hold_out, "--keep": keep})
        _run_stretch(data, exposure, start, end, policy, market, journal, report, json_to)
        return
    if journal:
        raise ConfigError("--windows takes no --journal; leave it out, or leave --windows out")
    over = HistoryRequest(data=data, windows=windows, exposure=exposure, start=start, end=end, lead_days=lead)
    checks = Checks(doubled=doubled, rotations=rotations, folds=walk_forward, hold_out=hold_out)
    named, many = tuple(policy or POLICIES), processes or os.cpu_count() or 1
    request = WindowsRequest(
        history=over, policies=named, market=market, checks=checks, keep=keep, processes=many
    )
    _run_windows(request, json_to, report)


def look_ahead(
    data: DataOption,
    exposure: ExposureOption = "v2:ETH/USDC:1000000",
    start: StartOption = None,
    end: EndOption = None,
    policy: PoliciesOption = None,
    market: MarketOption = None,
    probes: Annotated[int, typer.Option(help="Moments to probe, spread over the history.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="The same seed probes the same moments.")] = 1,
    json_to: JsonOption = None,
) -> None:
    """Check that no decision of a backtest knows the future.

    At each moment everything that comes after it is changed at random, and all is run again: what was decided
    by then must be the same to the last byte. Exits with 1 where it is not.
    """
    from bot.app.look_ahead import look_ahead as run
    from bot.simulation.look_ahead_terminal import print_look_ahead
    from bot.terminal import hours_progress

    refuse_lost_results(json_to, None)
    with hours_progress(err, what="moments") as on_probe:
        found = run(
            data=data,
            exposure=exposure,
            policies=policy or POLICIES,
            market=market,
            start=start,
            end=end,
            probes=probes,
            seed=seed,
            progress=on_probe,
        )
    if json_to != "-":
        print_look_ahead(found, out)
    write_json(found.to_json(), json_to)
    if not found.is_clean:
        raise typer.Exit(EXIT_ERROR)


def _refuse_alone(given: Mapping[str, object]) -> None:
    """Refuse what has no meaning without --windows."""
    if alone := [name for name, value in given.items() if value is not None]:
        raise ConfigError(f"{alone[0]} is for --windows; add --windows, or leave it out")


def _run_windows(request: WindowsRequest, json_to: str | None, report: Path | None) -> None:
    from bot.app.backtest_windows import backtest_windows
    from bot.app.report import report_windows
    from bot.simulation.windows.terminal import print_windows
    from bot.terminal import hours_progress

    refuse_lost_results(json_to, report)
    kept = f"finished parts are kept in {request.keep}"
    with keeping(kept) if request.keep else nullcontext(), hours_progress(err) as on_hour:
        result = backtest_windows(request, progress=on_hour)
    if report is not None:
        report_windows(result, request.policies, target=report)
    if json_to != "-":
        print_windows(result, out)
        if report is not None:
            out.print(f"report: {report}", soft_wrap=True)
    write_json(result.to_json(), json_to)


def _run_stretch(
    data: Path,
    exposure: str,
    start: str | None,
    end: str | None,
    policies: list[str] | None,
    market: Path | None,
    journal: Path | None,
    report: Path | None,
    json_to: str | None,
) -> None:
    from bot.app.journals import new_journal, write_journal

    if start is None or end is None:
        raise ConfigError("backtest needs --from and --to, or --windows; give the first and the last day")
    if policies and len(policies) > 1:
        raise ConfigError(
            f"--policy takes one policy without --windows, was {', '.join(policies)}; "
            "name one, or add --windows"
        )
    refuse_lost_results(json_to, report)
    if journal is not None:
        new_journal(journal)
    result = _stretch(data, exposure, start, end, policies[0] if policies else "classic", market, report)
    if journal is not None:
        write_journal(journal, result.records)
    if json_to != "-":
        _print_stretch(result, journal, report)
    write_json(result.to_json(), json_to)


def _stretch(
    data: Path, exposure: str, start: str, end: str, policy: str, market: Path | None, report: Path | None
) -> "BacktestResult":
    from bot.app.backtest import backtest as run
    from bot.terminal import hours_progress

    with hours_progress(err) as on_hour:
        running = run(
            data=data,
            start=start,
            end=end,
            exposure=exposure,
            policy=policy,
            market=market,
            report=report,
            progress=on_hour,
        )
        return asyncio.run(running)


def _print_stretch(result: "BacktestResult", journal: Path | None, report: Path | None) -> None:
    from bot.simulation.report.data import from_backtest
    from bot.simulation.report.terminal import print_report

    print_report(from_backtest(result), out)
    if report is not None:
        out.print(f"report: {report}", soft_wrap=True)
    if journal is not None:
        out.print(f"journal: {journal}; alvh explain --journal {journal} --at TIME", soft_wrap=True)
