"""What every evaluation of a sweep shares, who evaluates, and the digests that results are kept under."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Protocol

from bot import __version__
from bot.engine.policy import Policy, parse_policy
from bot.errors import ConfigError
from bot.simulation.exposures import ExposureSpec
from bot.simulation.market.model import Market
from bot.simulation.sweep.evaluation import Evaluation, Span, evaluate_tracks
from bot.simulation.windows.file import Segment, Window
from bot.simulation.windows.run import run_segment

ENGINE, KERNEL = "engine", "kernel"
_DECIDING = ("model", "quant", "signals", "engine", "ports", "venues", "pipeline", "simulation")
_CODE = (".py", ".toml")

HourDone = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything of an evaluation but the policy."""

    data: Path
    data_digest: str  # of the files' bytes
    spec: ExposureSpec
    market: Market
    segments: tuple[Segment, ...]
    windows: tuple[Window, ...]
    spans: tuple[Span, ...]
    evaluator: str = ENGINE

    @property
    def digest(self) -> str:
        """Return what results are kept under besides the policy: whatever could change them is in it."""
        return digest_of(
            {
                "data": self.data_digest,
                "spec": asdict(self.spec),
                "market": asdict(self.market),
                "segments": [asdict(item) for item in self.segments],
                "windows": [asdict(item) for item in self.windows],
                "spans": [asdict(item) for item in self.spans],
                "evaluator": self.evaluator,
                "version": __version__,
                "code": code_digest(),
            }
        )


class Evaluator(Protocol):
    """Evaluates policies over one study. Made once in each process, so that it may keep what it has read."""

    batch: ClassVar[int]  # how many policies it is best given at once

    def __init__(self, study: Study) -> None: ...

    def __call__(self, policies: Sequence[Policy], on_hour: HourDone) -> list[Evaluation]:
        """Return one evaluation for each policy, in order; ``on_hour`` is called once an hour and policy."""


class EngineEvaluator:
    """The exact engine path (R25), one policy after the other. History files are read once a process."""

    batch: ClassVar[int] = 1

    def __init__(self, study: Study) -> None:
        self._study = study

    def __call__(self, policies: Sequence[Policy], on_hour: HourDone) -> list[Evaluation]:
        return [self._one(policy, on_hour) for policy in policies]

    def _one(self, policy: Policy, on_hour: HourDone) -> Evaluation:
        study = self._study
        tracks = [
            asyncio.run(
                run_segment(
                    study.data,
                    segment,
                    study.spec,
                    policy,
                    study.market,
                    with_benchmarks=False,
                    on_hour=on_hour,
                )
            )
            for segment in study.segments
        ]
        known = [track for track in tracks if track is not None]
        return evaluate_tracks(policy.hash, known, study.windows, study.spans)


def evaluator_of(name: str) -> type[Evaluator]:
    """Return the class of an evaluator, ENGINE or KERNEL; numba is imported where kernels are used."""
    if name == ENGINE:
        return EngineEvaluator
    from bot.simulation.sweep.kernel_evaluator import KernelEvaluator

    return KernelEvaluator


_EVALUATORS_HERE: dict[str, Evaluator] = {}  # of this process, by the study's digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Policies to evaluate together, as their tables: a table is plain data wherever it is sent."""

    tables: tuple[Mapping[str, Any], ...]


def evaluate(study: Study, job: Job, on_hour: HourDone) -> list[Evaluation]:
    """Evaluate a job in this process, with the evaluator that this process keeps for the study.

    Raises BotError as the evaluator does.
    """
    policies = [parse_policy(table) for table in job.tables]
    digest = study.digest
    if digest not in _EVALUATORS_HERE:
        _EVALUATORS_HERE[digest] = evaluator_of(study.evaluator)(study)
    return _EVALUATORS_HERE[digest](policies, on_hour)


@cache
def code_digest() -> str:
    """Return a digest of the code and the data files that decide: kept results of other code are not used."""
    found = hashlib.sha256()
    root = Path(str(resources.files("bot")))
    for path in sorted(
        item for name in _DECIDING for item in (root / name).rglob("*") if item.suffix in _CODE
    ):
        found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def data_files(folder: Path) -> list[Path]:
    """Return the history files of a folder, in the order of their names."""
    return sorted(path for end in ("*.csv", "*.csv.gz") for path in folder.glob(end))


def data_digest(folder: Path) -> str:
    """Return a digest of a folder's history files. Raises ConfigError for one that cannot be read."""
    found = hashlib.sha256()
    try:
        for path in data_files(folder):
            found.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--data {folder} cannot be read: {error.strerror}") from None
    return found.hexdigest()


def digest_of(value: object) -> str:
    """Return the sha256 of a value in canonical JSON; infinities and paths as their text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
