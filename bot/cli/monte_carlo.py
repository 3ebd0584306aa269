"""The command that runs many made-up markets."""

from pathlib import Path
from typing import Annotated

import typer

from bot.cli.shared import JsonOption, MarketOption, ReportOption, err, out
from bot.errors import ConfigError
from bot.output import refuse_lost_results, write_json
from bot.simulation.monte_carlo.request import MonteCarloRequest, PathsRequest

ExposuresOption = Annotated[
    list[str] | None,
    typer.Option(help="v2:ETH/USDC:1000000 or v3:ETH/USDC:0.2:1000000; as often as wanted."),
]
PoliciesOption = Annotated[list[str] | None, typer.Option(help="Preset or policy file; as often as wanted.")]
PathsOption = Annotated[int, typer.Option(help="Made-up markets.")]
DaysOption = Annotated[int, typer.Option(help="Daily steps of each.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same paths.")]
KindOption = Annotated[str, typer.Option(help="regimes, jumps (one regime), or bootstrap (days of --data).")]
ModelOption = Annotated[Path | None, typer.Option(help="Path model in place of the packaged one.")]
DataOption = Annotated[Path | None, typer.Option(help="Folder with history files, for bootstrap and --fit.")]
StartOption = Annotated[str | None, typer.Option("--from", help="First day of --data that is used, UTC.")]
ExactOption = Annotated[
    int, typer.Option(help="Run so many paths hour by hour through the whole engine too.")
]
FitOption = Annotated[
    Path | None,
    typer.Option(help="Write a model fitted to --data to this new file, and do nothing else."),
]


def montecarlo(
    exposure: ExposuresOption = None,
    policy: PoliciesOption = None,
    paths: PathsOption = 100_000,
    days: DaysOption = 365,
    seed: SeedOption = 1,
    kind: KindOption = "regimes",
    model: ModelOption = None,
    market: MarketOption = None,
    data: DataOption = None,
    start: StartOption = None,
    exact: ExactOption = 0,
    fit: FitOption = None,
    json_to: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Say what a hedge is worth over many made-up markets.

    And how sure so many make each figure. Paths jump, their vol moves, crises come and go; or days of real
    history are drawn in blocks. Policies and the unhedged position see the same paths.
    """
    if fit is not None:
        _fit(data, model, fit, start)
        return
    if not exposure:
        raise ConfigError("montecarlo needs --exposure, such as v2:ETH/USDC:1000000; name one or more")
    made = PathsRequest(kind=kind, paths=paths, days=days, seed=seed, model=model, data=data, start=start)
    request = MonteCarloRequest(
        made=made,
        exposures=exposure,
        policies=policy or ["steward"],
        market=market,
        exact=exact,
        report=report,
    )
    _run(request, json_to)


def _fit(data: Path | None, model: Path | None, target: Path, start: str | None) -> None:
    from bot.app.monte_carlo import fit_model

    out.print(fit_model(data, model, target, start=start), soft_wrap=True)


def _run(request: MonteCarloRequest, json_to: str | None) -> None:
    from bot.app.monte_carlo import monte_carlo, report_paths
    from bot.simulation.monte_carlo.terminal import print_monte_carlo
    from bot.terminal import hours_progress

    targets = report_paths(request)
    refuse_lost_results(json_to, None)
    for target in targets:
        refuse_lost_results(None, target)
    if request.exact:
        with hours_progress(err) as on_hour:
            result = monte_carlo(request, progress=on_hour)
    else:
        with err.status(f"{request.made.paths:,} paths"):
            result = monte_carlo(request, progress=None)
    if json_to != "-":
        print_monte_carlo(result, out)
        for target in targets:
            out.print(f"report: {target}", soft_wrap=True)
    write_json(result.to_json(), json_to)
