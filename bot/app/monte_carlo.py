"""Monte Carlo as a user runs it."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.units import parse_utc_s
from bot.settings import named_policy
from bot.simulation.exposures import ExposureSpec, parse_exposure
from bot.simulation.market.model import load_market
from bot.simulation.monte_carlo.bootstrap import DailyHistory, read_daily
from bot.simulation.monte_carlo.exact import Progress, check
from bot.simulation.monte_carlo.fit import fitted, model_text
from bot.simulation.monte_carlo.model import PathModel, load_model
from bot.simulation.monte_carlo.request import MonteCarloRequest, PathsRequest
from bot.simulation.monte_carlo.results import MonteCarloResult, risk_of
from bot.simulation.monte_carlo.run import run, set_up
from bot.simulation.monte_carlo.words import SIMPLIFIED, path_words
from bot.simulation.report.files import write_report

KINDS = ("regimes", "jumps", "bootstrap")


def monte_carlo(request: MonteCarloRequest, *, progress: Progress | None = None) -> MonteCarloResult:
    """Run the paths; ``progress`` is told of the exact ones. Raises ConfigError for what cannot be run."""
    _check(request)
    made, model = request.made, _model(request.made)
    specs = [parse_exposure(text) for text in request.exposures]
    history = _history(made, model, specs)
    setup = set_up(
        model,
        load_market(request.market),
        specs,
        _policies(request.policies),
        paths=made.paths,
        steps=made.days,
        seed=made.seed,
        history=history,
    )
    exact = asyncio.run(check(setup, paths=request.exact, progress=progress)) if request.exact else ()
    result = MonteCarloResult(
        exposures=tuple(spec.pool for spec in specs),
        value_usd=sum(spec.value_usd for spec in specs),
        kind=made.kind,
        paths=made.paths,
        days=float(made.days),
        seed=made.seed,
        policies=risk_of(setup, run(setup)),
        assumptions=path_words(setup, made.kind, history),
        simplified=SIMPLIFIED,
        exact=exact,
    )
    if request.report is not None:
        for page, target in zip(result.reports(), report_paths(request), strict=True):
            write_report(page, target)
    return result


def _policies(names: Sequence[str]) -> list[Policy]:
    """Return the policies. Raises ConfigError where two of them say one name: results stand under it."""
    found = [named_policy(name) for name in names]
    said = [policy.name for policy in found]
    if twice := next((name for name in said if said.count(name) > 1), None):
        raise ConfigError(f"--policy: {' and '.join(names)} say one name, {twice!r}; give each its own")
    return found


def _history(made: PathsRequest, model: PathModel, specs: Sequence[ExposureSpec]) -> DailyHistory | None:
    """Return the days that paths are drawn from: of the model's assets up to the last that is needed."""
    if made.kind != "bootstrap" or made.data is None:
        return None
    assets = list(model.assets)
    needed = max((assets.index(spec.underlying) for spec in specs if spec.underlying in assets), default=0)
    return read_daily(made.data, assets[: needed + 1], since_s=_since_s(made.start))


def fit_model(data: Path | None, model: Path | None, target: Path, *, start: str | None = None) -> str:
    """Write a model fitted to a folder of history; return what was done, in one line. Raises ConfigError."""
    if data is None:
        raise ConfigError("--fit needs --data: the folder with the history to fit to")
    if target.exists() or not target.parent.is_dir():
        raise ConfigError(f"--fit {target} must be a new file in a folder that is there; choose another path")
    found, history = fitted(load_model(model), data, since_s=_since_s(start))
    try:
        target.write_text(model_text(found, history), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--fit {target} cannot be written: {error.strerror}; choose another path"
        ) from error
    return f"model: {target}, fitted to {history.times_s.size:,} days; use it with --model {target}"


def report_paths(request: MonteCarloRequest) -> tuple[Path, ...]:
    """Return where the page of each policy goes: the path itself for one, else the policy's name in it.

    Raises ConfigError where two would go to one place.
    """
    report, names = request.report, [Path(name).stem for name in request.policies]
    if report is None:
        return ()
    if len(names) == 1:
        return (report,)
    if len(set(names)) < len(names):
        raise ConfigError(f"--report names pages by policy, was {', '.join(names)}; rename a policy file")
    return tuple(report.with_name(f"{report.stem}-{name}{report.suffix}") for name in names)


def _check(request: MonteCarloRequest) -> None:
    made = request.made
    if made.kind not in KINDS:
        raise ConfigError(f"--kind must be {', '.join(KINDS)}, was {made.kind!r}")
    if (made.kind == "bootstrap") != (made.data is not None):
        raise ConfigError("--data and --kind bootstrap go together: give both, or neither")
    if request.exact < 0:
        raise ConfigError(f"--exact must be 0 or more, was {request.exact}")
    for option, values in (("--policy", request.policies), ("--exposure", request.exposures)):
        if len(set(values)) < len(values):
            raise ConfigError(f"{option} must name each one once, was {', '.join(values)}")


def _model(made: PathsRequest) -> PathModel:
    model = load_model(made.model)
    return model.with_one_regime() if made.kind == "jumps" else model


def _since_s(start: str | None) -> float:
    return -math.inf if start is None else float(parse_utc_s(start, field="--from"))
