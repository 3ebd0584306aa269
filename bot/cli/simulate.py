"""Commands that need no network: the demonstration and what works on history."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.shared import JsonOption, ReportOption, err, out
from bot.output import refuse_lost_results, write_json


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
