"""The command that tries many policies over history."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import JsonOption, MarketOption, ReportOption, err, keeping, out
from bot.cli.simulate import DataOption, EndOption, ExposureOption, LeadOption, StartOption
from bot.output import refuse_lost_results, write_json
from bot.simulation.requests import HistoryRequest
from bot.simulation.sweep.request import Judging, Limits, Running, Search, SweepRequest

if TYPE_CHECKING:
    from bot.app.sweep import SweepDone

RESULTS = Path("alvh-sweep.jsonl")

WindowsOption = Annotated[Path, typer.Option(help="CSV of crisis and calm windows.")]
PolicyOption = Annotated[str, typer.Option(help="Preset or policy file that the keys are varied in.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=A,B,C", help="Values of a policy key, or KEY=LOW..HIGH:STEP."),
]
SpaceOption = Annotated[Path | None, typer.Option(help="TOML file of keys with lists and ranges.")]
MethodOption = Annotated[str, typer.Option(help="grid, random or bayes.")]
TrialsOption = Annotated[int, typer.Option(help="Cells to draw; a grid has as many as it has.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed draws the same cells.")]
ObjectiveOption = Annotated[str, typer.Option(help="efficiency, removed, carry or net.")]
RemovedOption = Annotated[str | None, typer.Option(help="Least share of falls removed, such as 15%.")]
CarryOption = Annotated[str | None, typer.Option(help="Most carry a year, such as 5%.")]
NetOption = Annotated[str | None, typer.Option(help="Most net cost a year, such as 2.5%.")]
TradesOption = Annotated[float | None, typer.Option(min=0.0, help="Most trades a year.")]
FoldsOption = Annotated[int, typer.Option(help="Of the cross-validation, even; half are tested on.")]
EmbargoOption = Annotated[float, typer.Option(help="Days after a tested stretch that none is chosen on.")]
HoldOutOption = Annotated[
    float, typer.Option(metavar="SHARE", help="Last share of history that no choice looks at.")
]
KernelsOption = Annotated[
    bool, typer.Option("--kernels", help="Compiled kernels where they equal the engine.")
]
ProcessesOption = Annotated[int | None, typer.Option(min=1, help="Policies run at once; one per core.")]
RayOption = Annotated[
    str | None, typer.Option(metavar="[ADDRESS]", help="Run on Ray: on this machine, or at HOST:PORT.")
]
ResultsOption = Annotated[Path, typer.Option(help="Where each finished evaluation is kept at once.")]


def sweep(
    data: DataOption,
    windows: WindowsOption,
    exposure: ExposureOption,
    policy: PolicyOption = "steward",
    settings: SetOption = None,
    space: SpaceOption = None,
    method: MethodOption = "grid",
    trials: TrialsOption = 64,
    seed: SeedOption = 1,
    objective: ObjectiveOption = "efficiency",
    min_removed: RemovedOption = None,
    max_carry: CarryOption = None,
    max_net: NetOption = None,
    max_trades: TradesOption = None,
    folds: FoldsOption = 8,
    embargo: EmbargoOption = 10.0,
    hold_out: HoldOutOption = 0.0,
    market: MarketOption = None,
    start: StartOption = None,
    end: EndOption = None,
    lead: LeadOption = None,
    kernels: KernelsOption = False,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    results: ResultsOption = RESULTS,
    json_to: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Try many policies over history; what is the best worth unseen?

    Any policy key can be varied. Finished evaluations are kept: the same command goes on from there.
    """
    over = HistoryRequest(data=data, windows=windows, exposure=exposure, start=start, end=end, lead_days=lead)
    search = Search(policy=policy, space=space, settings=settings, method=method, trials=trials, seed=seed)
    limits = Limits(removed=min_removed, carry=max_carry, net=max_net, trades=max_trades)
    judged = Judging(objective=objective, limits=limits, folds=folds, embargo_days=embargo, hold_out=hold_out)
    running = Running(results=results, market=market, kernels=kernels, processes=processes, ray=ray)
    _run(SweepRequest(history=over, search=search, judging=judged, running=running), json_to, report)


def _run(request: SweepRequest, json_to: str | None, report: Path | None) -> None:
    refuse_lost_results(json_to, report)
    done = _done(request)
    if report is not None:
        from bot.app.report import report_sweep

        report_sweep(done.result, target=report)
    if json_to != "-":
        _print(done, request.running.results, report)
    write_json(done.result.to_json(), json_to)


def _done(request: SweepRequest) -> "SweepDone":
    from bot.app.sweep import sweep as run
    from bot.terminal import hours_progress

    kept = f"every finished evaluation is kept in {request.running.results}"
    with keeping(kept), hours_progress(err) as on_hour:
        return run(request, on_hour)


def _print(done: "SweepDone", results: Path, report: Path | None) -> None:
    from bot.simulation.sweep.terminal import print_sweep

    print_sweep(done.result, out)
    out.print(f"results: {results}, {done.kept} policies of this study; {done.ran} run now", soft_wrap=True)
    if report is not None:
        out.print(f"report: {report}", soft_wrap=True)
