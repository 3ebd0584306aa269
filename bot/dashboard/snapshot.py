"""What the pages are made of: one look at journal, history, alerts and state folder, as plain values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bot.alerts.state import AlertState
from bot.chain.pause import Pause
from bot.dashboard.past import Past
from bot.model.exposure import Exposure
from bot.model.hedge import HeldHedge
from bot.model.intent import IntentEvent
from bot.model.market import Block
from bot.model.perpetual import HeldPerpetual
from bot.model.record import StepRecord
from bot.pipeline.gaps import Gap, Halt
from bot.pipeline.recorded_orders import JournalOrders


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """How the alerts do. ``configured`` False: nobody is told of anything."""

    configured: bool
    state: AlertState = field(default_factory=AlertState)
    problem: str = ""  # why its state cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A report or a result that lies in the reports folder. ``name`` is its path below it, with slashes."""

    name: str
    title: str
    kind: str  # "report" or "result"
    changed_at_s: float
    size_bytes: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What does not change while the dashboard runs."""

    mode: str
    chain_ids: tuple[int, ...]  # the home chain first
    explorers: Mapping[int, str]  # chain id -> address of its explorer
    state_dir: str
    reports_dir: str
    config: str = ""  # the configuration file, where a command must name it
    is_chain_time: bool = False  # decisions are dated by the chain's clock, which stands still between blocks
    poll_s: float = 12.0

    def command(self, words: str) -> str:
        """Return an alvh command as it is to be typed for this configuration."""
        return f"alvh {words}{f' --config {self.config}' if self.config else ''}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """One look. ``version`` differs from that of any other look that would show something else."""

    version: str
    looked_at_s: float
    problem: str = ""  # why the journal cannot be read; what else is here is the last that was read
    history_problem: str = ""  # why heads, gaps and halts are the last that were read
    last: StepRecord | None = None
    full: StepRecord | None = None  # the newest that is no heartbeat
    written_at_s: float = math.nan  # wall clock, of the newest row
    running: bool = False
    orders: JournalOrders = field(default_factory=JournalOrders)
    intents: tuple[IntentEvent, ...] = ()
    past: Past = field(default_factory=Past)
    pause: Pause | None = None
    asked: tuple[str, ...] = ()  # orders of a person that the bot has not taken yet
    heads: Mapping[int, Block] = field(default_factory=dict)  # newest observed, by chain
    gaps: tuple[Gap, ...] = ()  # newest last
    halts: tuple[Halt, ...] = ()
    alerts: ChannelState = field(default_factory=lambda: ChannelState(configured=False))
    free_bytes: int = -1  # where the state lies; -1 unknown
    reports: Sequence[ReportFile] = ()

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        return self.full.exposures if self.full is not None else ()

    @property
    def held(self) -> tuple[HeldHedge, ...]:
        return self.full.held if self.full is not None else ()

    @property
    def perpetuals(self) -> tuple[HeldPerpetual, ...]:
        return self.full.held_perpetuals if self.full is not None else ()


class Desk(Protocol):
    """Where the pages find what they show, and leave the one thing that they may ask for."""

    @property
    def place(self) -> Place: ...

    def look(self) -> Snapshot:
        """Return the newest look at once: nothing waits for a database."""
        ...

    def pause(self, *, by: str, why: str) -> Pause:
        """Put a pause in force, as ``alvh pause`` does. Raises ConfigError when it cannot be written."""
        ...
