"""Monte Carlo as a user runs it."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from bot.errors import ConfigError
from bot.model.units import parse_utc_s
from bot.settings import named_policy
from bot.simulation.exposures import parse_exposure
from bot.simulation.market.model import load_market
from bot.simulation.monte_carlo.bootstrap import read_daily
from bot.simulation.monte_carlo.exact import Progress, check
from bot.simulation.monte_carlo.fit import fitted, model_text
from bot.simulation.monte_carlo.model import PathModel, load_model
from bot.simulation.monte_carlo.results import MonteCarloResult, risk_of
from bot.simulation.monte_carlo.run import run, set_up
from bot.simulation.monte_carlo.words import SIMPLIFIED, path_words
from bot.simulation.report.files import write_report

Kind = Literal["regimes", "jumps", "bootstrap"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonteCarloRequest:
    """What to run."""

    exposures: Sequence[str]
    policies: Sequence[str]
    paths: int
    days: int
    seed: int
    kind: str = "regimes"
    model: Path | None = None
    market: Path | None = None
    data: Path | None = None
    start: str | None = None  # first day of --data that is used
    exact: int = 0
    report: Path | None = None


def monte_carlo(request: MonteCarloRequest, *, progress: Progress | None = None) -> MonteCarloResult:
    """Run the paths; ``progress`` is told of the exact ones. Raises ConfigError for what cannot be run."""
    _check(request)
    model, market = _model(request), load_market(request.market)
    specs = [parse_exposure(text) for text in request.exposures]
    policies = [named_policy(name) for name in request.policies]
    history = None
    if request.kind == "bootstrap" and request.data is not None:
        needed = max(
            list(model.assets).index(spec.underlying) for spec in specs if spec.underlying in model.assets
        )
        since_s = -math.inf if request.start is None else float(parse_utc_s(request.start, field="--from"))
        history = read_daily(request.data, list(model.assets)[: needed + 1], since_s=since_s)
    setup = set_up(
        model,
        market,
        specs,
        policies,
        paths=request.paths,
        steps=request.days,
        seed=request.seed,
        history=history,
    )
    exact = asyncio.run(check(setup, paths=request.exact, progress=progress)) if request.exact else ()
    result = MonteCarloResult(
        exposures=tuple(spec.pool for spec in specs),
        value_usd=sum(spec.value_usd for spec in specs),
        kind=request.kind,
        paths=request.paths,
        days=float(request.days),
        seed=request.seed,
        policies=risk_of(setup, run(setup)),
        assumptions=path_words(setup, request.kind, history),
        simplified=SIMPLIFIED,
        exact=exact,
    )
    if request.report is not None:
        _write_reports(result, request.report)
    return result


def fit_model(data: Path | None, model: Path | None, target: Path, *, start: str | None = None) -> str:
    """Write a model fitted to a folder of history; return what was done, in one line. Raises ConfigError."""
    if data is None:
        raise ConfigError("--fit needs --data: the folder with the history to fit to")
    if target.exists() or not target.parent.is_dir():
        raise ConfigError(f"--fit {target} must be a new file in a folder that is there; choose another path")
    since_s = -math.inf if start is None else float(parse_utc_s(start, field="--from"))
    found, history = fitted(load_model(model), data, since_s=since_s)
    try:
        target.write_text(model_text(found, history), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--fit {target} cannot be written: {error.strerror}; choose another path"
        ) from error
    return f"model: {target}, fitted to {history.times_s.size:,} days; use it with --model {target}"


def _check(request: MonteCarloRequest) -> None:
    if request.kind not in KINDS:
        raise ConfigError(f"--kind must be {', '.join(KINDS)}, was {request.kind!r}")
    if (request.kind == "bootstrap") != (request.data is not None):
        raise ConfigError("--data and --kind bootstrap go together: give both, or neither")
    if request.exact < 0:
        raise ConfigError(f"--exact must be 0 or more, was {request.exact}")
    for option, values in (("--policy", request.policies), ("--exposure", request.exposures)):
        if len(set(values)) < len(values):
            raise ConfigError(f"{option} must name each one once, was {', '.join(values)}")


def _model(request: MonteCarloRequest) -> PathModel:
    model = load_model(request.model)
    return model.with_one_regime() if request.kind == "jumps" else model


def report_paths(report: Path, policies: Sequence[str]) -> tuple[Path, ...]:
    """Return where the page of each policy goes: the path itself for one, else the policy's name in it."""
    if len(policies) == 1:
        return (report,)
    return tuple(report.with_name(f"{report.stem}-{Path(name).stem}{report.suffix}") for name in policies)


def _write_reports(result: MonteCarloResult, report: Path) -> None:
    names = [item.name for item in result.policies]
    for page, path in zip(result.reports(), report_paths(report, names), strict=True):
        write_report(page, path)
