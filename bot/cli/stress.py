"""The command of stress scenarios."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.shared import EXIT_ERROR, JsonOption, err, out, say_interrupted
from bot.errors import ConfigError
from bot.output import refuse_lost_results, write_json

ExposureOption = Annotated[
    str | None, typer.Option(help="As of alvh backtest; v2:ETH/USDC:1000000 if not said.")
]


def stress(
    scenario: Annotated[
        str, typer.Argument(metavar="[NAME|all]", help="A scenario, a scenario file, or all of them.")
    ] = "all",
    policy: Annotated[
        list[str] | None, typer.Option(help="Preset or policy file, as often as wanted; steward if not said.")
    ] = None,
    exposure: ExposureOption = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same paths and decisions.")] = 1,
    market: Annotated[
        Path | None, typer.Option(help="Market assumptions in place of the packaged ones.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Runs at once; one per core if not said.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Say which scenarios there are.")] = False,
    devnet: Annotated[
        bool, typer.Option("--devnet", help="Replay one on a local chain, with real transactions.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="With --devnet, write the HTML report to this file.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Take the engine through crashes, depegs, outages, false alarms.

    Drained bridges and halts too. Offline and seeded: how early each tier stood, what hedging removed and
    cost, what was bought, what the base layers propose, and why.
    """
    refuse_lost_results(json_to, report)
    if report is not None and not devnet:
        raise ConfigError("--report needs --devnet; offline findings go to the terminal and to --json")
    if show:
        _list(json_to)
    elif devnet:
        _on_devnet(scenario, policy, exposure, market, seed, report, json_to)
    else:
        _offline(scenario, policy or ["steward"], exposure, market, seed, processes, json_to)


def _offline(
    scenario: str,
    policies: list[str],
    exposure: str | None,
    market: Path | None,
    seed: int,
    processes: int | None,
    json_to: str | None,
) -> None:
    from bot.app.stress import stress as run
    from bot.simulation.stress.document import stress_document
    from bot.simulation.stress.terminal import print_findings
    from bot.terminal import hours_progress

    with hours_progress(err) as on_hour:
        done = run(
            scenario=scenario,
            policies=policies,
            exposure=exposure or "v2:ETH/USDC:1000000",
            seed=seed,
            market=market,
            processes=processes or os.cpu_count() or 1,
            progress=on_hour,
        )
    if json_to != "-":
        print_findings(done.findings, out)
    write_json(stress_document(done.findings, done.unfinished), json_to)
    if done.unfinished:
        whole = len(done.findings) + len(done.unfinished)
        say_interrupted(f"{len(done.findings)} of {whole} runs were finished and are told")
        raise typer.Exit(EXIT_ERROR)


def _list(json_to: str | None) -> None:
    from bot.simulation.stress.catalogue import names, scenario_named
    from bot.simulation.stress.document import scenario_document
    from bot.simulation.stress.terminal import print_catalogue

    scenarios = [scenario_named(name) for name in names()]
    if json_to != "-":
        print_catalogue(scenarios, out)
    write_json({item.name: scenario_document(item) for item in scenarios}, json_to)


def _on_devnet(
    scenario: str,
    policies: list[str] | None,
    exposure: str | None,
    market: Path | None,
    seed: int,
    report: Path | None,
    json_to: str | None,
) -> None:
    from bot.app.demo import demo as play
    from bot.devnet.config import DEFAULT_POLICY
    from bot.devnet.scenarios import left_out, playable, playable_names
    from bot.documents import demo_document
    from bot.simulation.report.terminal import print_report
    from bot.terminal import StepPrinter

    if exposure is not None or market is not None:
        raise ConfigError("--devnet has its own position and market; leave out --exposure and --market")
    if policies is not None and len(policies) > 1:
        raise ConfigError(f"--devnet plays one policy, was {', '.join(policies)}; name one")
    if scenario == "all":
        raise ConfigError(f"--devnet plays one scenario; name one of {', '.join(playable_names())}")
    missing = left_out(playable(scenario))
    with StepPrinter(err) as printer:
        result = asyncio.run(
            play(
                scenario=scenario,
                seed=seed,
                report=report,
                keep=None,
                on_step=printer.show,
                policy=(policies or [DEFAULT_POLICY])[0],
            )
        )
    if json_to != "-":
        print_report(result.report, out)
        if report is not None:
            out.print(f"report: {report}", soft_wrap=True)
    write_json({**demo_document(result), "left_out": list(missing)}, json_to)
