"""The command that runs many made-up markets."""

from pathlib import Path
from typing import Annotated

import typer

from bot.cli.shared import JsonOption, ReportOption, err, out
from bot.errors import ConfigError
from bot.output import refuse_lost_results, write_json


def montecarlo(
    exposure: Annotated[
        list[str] | None,
        typer.Option(help="v2:ETH/USDC:1000000 or v3:ETH/USDC:0.2:1000000; as often as wanted."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Preset or policy file; as often as wanted.")
    ] = None,
    paths: Annotated[int, typer.Option(help="Made-up markets.")] = 100_000,
    days: Annotated[int, typer.Option(help="Daily steps of each.")] = 365,
    seed: Annotated[int, typer.Option(help="The same seed gives the same paths.")] = 1,
    kind: Annotated[
        str, typer.Option(help="regimes, jumps (one regime), or bootstrap (days of --data).")
    ] = "regimes",
    model: Annotated[Path | None, typer.Option(help="Path model in place of the packaged one.")] = None,
    market: Annotated[
        Path | None, typer.Option(help="Market assumptions in place of the packaged ones.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with history files, for bootstrap and --fit.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First day of --data that is used, UTC.")
    ] = None,
    exact: Annotated[
        int, typer.Option(help="Run so many paths hour by hour through the whole engine too.")
    ] = 0,
    fit: Annotated[
        Path | None,
        typer.Option(help="Write a model fitted to --data to this new file, and do nothing else."),
    ] = None,
    json_to: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Say what a hedge is worth over many made-up markets, and how sure so many make each figure.

    Paths jump, their vol moves, crises come and go; or days of real history are drawn in blocks. Policies and
    the unhedged position see the same paths.
    """
    from bot.app.monte_carlo import MonteCarloRequest, fit_model, monte_carlo, report_paths
    from bot.simulation.monte_carlo.terminal import print_monte_carlo
    from bot.terminal import hours_progress

    if fit is not None:
        out.print(fit_model(data, model, fit, start=start), soft_wrap=True)
        return
    if not exposure:
        raise ConfigError("montecarlo needs --exposure, such as v2:ETH/USDC:1000000; name one or more")
    named = policy or ["steward"]
    targets = report_paths(report, named) if report is not None else ()
    refuse_lost_results(json_to, None)
    for target in targets:
        refuse_lost_results(None, target)
    request = MonteCarloRequest(
        exposures=exposure,
        policies=named,
        paths=paths,
        days=days,
        seed=seed,
        kind=kind,
        model=model,
        market=market,
        data=data,
        start=start,
        exact=exact,
        report=report,
    )
    with hours_progress(err) as on_hour:
        result = monte_carlo(request, progress=on_hour if exact else None)
    if json_to != "-":
        print_monte_carlo(result, out)
        for target in targets:
            out.print(f"report: {target}", soft_wrap=True)
    write_json(result.to_json(), json_to)
