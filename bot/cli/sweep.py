"""The command that tries many policies over history."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import EXIT_ERROR, JsonOption, ReportOption, err, out
from bot.cli.simulate import EndOption, ExposureOption, LeadOption, MarketOption, StartOption
from bot.errors import ConfigError
from bot.output import refuse_lost_results, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.app.sweep import SweepDone, SweepRequest
    from bot.simulation.sweep.choice import Objective

RESULTS = Path("alvh-sweep.jsonl")


def sweep(
    data: Annotated[Path, typer.Option(help="Folder with history files.")],
    windows: Annotated[Path, typer.Option(help="CSV of crisis and calm windows.")],
    exposure: ExposureOption,
    policy: Annotated[
        str, typer.Option(help="Preset or policy file that the keys are varied in.")
    ] = "steward",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=A,B,C", help="Values of a policy key, or KEY=LOW..HIGH:STEP."),
    ] = None,
    space: Annotated[Path | None, typer.Option(help="TOML file of keys with lists and ranges.")] = None,
    method: Annotated[str, typer.Option(help="grid, random or bayes.")] = "grid",
    trials: Annotated[int, typer.Option(help="Cells to draw; a grid has as many as it has.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same cells.")] = 1,
    objective: Annotated[str, typer.Option(help="efficiency, removed, carry or net.")] = "efficiency",
    min_removed: Annotated[
        str | None, typer.Option(help="Least share of falls removed, such as 15%.")
    ] = None,
    max_carry: Annotated[str | None, typer.Option(help="Most carry a year, such as 5%.")] = None,
    max_net: Annotated[str | None, typer.Option(help="Most net cost a year, such as 2.5%.")] = None,
    max_trades: Annotated[float | None, typer.Option(min=0.0, help="Most trades a year.")] = None,
    folds: Annotated[int, typer.Option(help="Of the cross-validation, even; half are tested on.")] = 8,
    embargo: Annotated[
        float, typer.Option(help="Days after a tested stretch that none is chosen on.")
    ] = 10.0,
    hold_out: Annotated[
        float, typer.Option(metavar="SHARE", help="Last share of history that no choice looks at.")
    ] = 0.0,
    market: MarketOption = None,
    start: StartOption = None,
    end: EndOption = None,
    lead: LeadOption = None,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Compiled kernels where they equal the engine.")
    ] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="Policies run at once; one per core.")] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="[ADDRESS]", help="Run on Ray: on this machine, or at HOST:PORT.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where each finished evaluation is kept at once.")] = RESULTS,
    json_to: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Try many policies over history and say what the best is worth unseen.

    Any policy key can be varied. Finished evaluations are kept: the same command goes on from there.
    """
    from bot.app.sweep import SweepRequest
    from bot.app.sweep import sweep as run

    refuse_lost_results(json_to, report)
    request = SweepRequest(
        data=data,
        windows=windows,
        exposure=exposure,
        policy=policy,
        space=space,
        settings=settings or (),
        method=method,
        trials=trials,
        seed=seed,
        objective=_objective(objective, min_removed, max_carry, max_net, max_trades),
        folds=folds,
        embargo_days=embargo,
        hold_out=hold_out,
        market=market,
        start=start,
        end=end,
        lead_days=lead,
        results=results,
        kernels=kernels,
        processes=processes or os.cpu_count() or 1,
        ray=ray,
    )
    done = _run(request, run)
    if report is not None:
        from bot.app.report import report_sweep

        report_sweep(done.result, target=report)
    if json_to != "-":
        _print(done, results, report)
    write_json(done.result.to_json(), json_to)


def _run(request: "SweepRequest", run: "Callable[..., SweepDone]") -> "SweepDone":
    from bot.terminal import hours_progress

    try:
        with hours_progress(err) as on_hour:
            return run(request, on_hour)
    except KeyboardInterrupt:
        err.print(
            f"interrupted; every finished evaluation is kept in {request.results}: "
            "the same command goes on from there"
        )
        raise typer.Exit(EXIT_ERROR) from None


def _print(done: "SweepDone", results: Path, report: Path | None) -> None:
    from bot.simulation.sweep.terminal import print_sweep

    print_sweep(done.result, out)
    out.print(f"results: {results}, {done.kept} policies of this study; {done.ran} run now", soft_wrap=True)
    if report is not None:
        out.print(f"report: {report}", soft_wrap=True)


def _objective(
    name: str, min_removed: str | None, max_carry: str | None, max_net: str | None, max_trades: float | None
) -> "Objective":
    from bot.simulation.sweep.choice import OBJECTIVES, Objective

    if name not in OBJECTIVES:
        raise ConfigError(f"--objective must be one of {', '.join(OBJECTIVES)}, was {name!r}")
    return Objective(
        name=name,
        min_removed=-math.inf if min_removed is None else _share(min_removed, "--min-removed"),
        max_carry=math.inf if max_carry is None else _share(max_carry, "--max-carry"),
        max_net=math.inf if max_net is None else _share(max_net, "--max-net"),
        max_trades=math.inf if max_trades is None else max_trades,
    )


def _share(text: str, option: str) -> float:
    """Return a percentage as a fraction."""
    from bot.engine.policy_readers import quantity

    found = quantity(text)
    if found is None or found[1] != "%":
        raise ConfigError(f"{option} must be a percentage such as 2.5%, was {text!r}")
    return found[0]
