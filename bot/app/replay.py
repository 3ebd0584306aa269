"""Decides again: over a recording, or over a block range of a node that keeps old states."""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bot.app.filling import SIGNING_MODES
from bot.app.follow import Listener, backfill_of
from bot.app.live import decide_only
from bot.app.parts import open_chain, position_readers, scheduled, web_sources
from bot.app.policy_vote import registry_watch
from bot.app.quoting import Market
from bot.app.trading import trading_venues
from bot.chain.reader import JsonRpcReader
from bot.engine.policy import Policy
from bot.engine.step import decide
from bot.errors import ConfigError, NotFoundError, StaleDataError, TransientError
from bot.model.hedge import HedgeLeg
from bot.model.market import Block
from bot.model.record import Decision, StepRecord
from bot.pipeline.derived import Figures
from bot.pipeline.desk import OrderDesk
from bot.pipeline.history import History
from bot.pipeline.loop import Pipeline, Step
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.options import PAIR_SIGN
from bot.pipeline.playback import (
    PlaybackPerpetualVenue,
    PlaybackVenue,
    RecordedPart,
    RecordedStep,
    journal_of,
    read_part,
)
from bot.pipeline.recorded_orders import PlaybackAccountVenue, PlaybackCoverVenue, PlaybackDesk
from bot.pipeline.recording import decision_hash, parts
from bot.pipeline.sources import LiveSource, chain_clock
from bot.ports import AccountVenue, CoverVenue, PerpetualVenue, Venue
from bot.settings import Settings
from bot.simulation.parity import Parity
from bot.venues.table import PERPETUAL_VENUES

OnStep = Callable[[StepRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A step that was decided otherwise than in the recording."""

    sequence: int
    now_s: float
    what: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Replay:
    """What a replay of a recording decided, and where that differs."""

    policy_hash: str
    recorded_policy_hash: str
    records: list[StepRecord] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    parity: Parity = field(default_factory=Parity)  # of the orders in that time

    @property
    def same_policy(self) -> bool:
        return self.policy_hash == self.recorded_policy_hash


async def replay_recording(
    folder: Path,
    *,
    policy: Policy,
    from_s: float = -math.inf,
    to_s: float = math.inf,
    on_step: OnStep = lambda _: None,
) -> Replay:
    """Decide every recorded step again and compare those between two times.

    What is decided begins where the recording has a beginning at or before ``from_s``, so that state and
    book are those of the run. Raises NotFoundError when nothing was recorded then.
    """
    chosen = _chosen(folder, from_s, to_s)
    first = read_part(chosen[0])
    result = Replay(policy_hash=policy.hash, recorded_policy_hash=first.policy_hash)
    player: _Player | None = None
    for path in chosen:
        part = read_part(path)
        if player is None or player.part.run != part.run:
            player = _Player(part=part, policy=policy)
        player.part = part
        history = part.history()
        for recorded in part.steps(history):
            if recorded.moment.now_s > to_s:
                break
            step = await player.play(recorded)
            if recorded.moment.now_s >= from_s:
                result.records.append(step.record)
                result.parity.see(step)
                on_step(step.record)
                what = _differences(recorded, step)
                if what:
                    sequence = recorded.record.sequence
                    result.differences.append(
                        Difference(sequence=sequence, now_s=recorded.moment.now_s, what=what)
                    )
    if not result.records:
        raise NotFoundError(f"recording {folder} has no step in that time")
    return result


async def replay_blocks(
    settings: Settings,
    *,
    first: int,
    last: int,
    every: int = 1,
    policy: Policy,
    listener: Listener | None = None,
) -> AsyncIterator[StepRecord]:
    """Yield what would have been decided at every ``every``-th block of a range, orders filled on paper.

    Raises ConfigError for a range that the chain does not have, or a node without the states of it.
    """
    listener = listener or Listener()
    if not 0 <= first <= last or every < 1:
        raise ConfigError(
            f"a block range needs 0 <= from <= to and step >= 1, was {first} to {last} by {every}"
        )
    async with open_chain(settings, on_trouble=listener.on_trouble) as (_, reader):
        await _check_range(settings, reader, first, last)
        source = await _past_source(settings, reader, policy, listener, head=await reader.block(first))
        if without := _not_replayed(settings):
            listener.on_notice(f"{without} are not replayed: what they would have said is unknown here")
        trading, journal = trading_venues(settings, reader, policy, custody=None), MemoryJournal()
        market = Market(options=trading.options, perpetual=trading.perpetual)
        named = market.named(journal, mode="dry-run")
        pipeline = _pipeline(policy, named, journal, covers=trading.covers)
        now_s = -math.inf
        for number in range(first, last + 1, every):
            block = await reader.block(number)
            if block.timestamp_s <= now_s:
                continue  # blocks of one second: the first of them was decided on
            now_s = float(block.timestamp_s)
            yield await pipeline.step(await source.cut(block, now_s=now_s))


async def _past_source(
    settings: Settings, reader: JsonRpcReader, policy: Policy, listener: Listener, *, head: Block
) -> LiveSource:
    """Return what cuts moments of the home chain alone, its history filled up to ``head``."""
    watchers = scheduled(settings)
    history = History([key for item in watchers for key in item.watcher.series])
    backfill = backfill_of(settings, policy, history, listener)
    listener.filled(await backfill.chain(reader, watchers, head=head))
    return LiveSource(
        chain=reader,
        watchers=watchers,
        positions=position_readers(settings),
        history=history,
        clock=chain_clock,
        base=settings.base,
        registry=registry_watch(settings, policy, listener, last=None),
        deadline_s=settings.chain.timeout_s,
    )


def _not_replayed(settings: Settings) -> str:
    """Name what a run watches and a replay of blocks does not; empty when that is nothing."""
    chains = [f"chain {item.id}" for item in settings.chains]
    return " and ".join([*chains, *(["HTTP sources"] if web_sources(settings) else [])])


class _Player:
    """Plays the steps of one run through a pipeline of its own."""

    def __init__(self, *, part: RecordedPart, policy: Policy) -> None:
        self.part = part
        self._policy = policy
        self._venues: list[PlaybackVenue] = []
        self._perpetuals: list[PlaybackPerpetualVenue] = []
        self._journal = journal_of(part)
        self._account, self._covers = PlaybackAccountVenue(), PlaybackCoverVenue()
        self._desk = PlaybackDesk(takes_legs=policy.hash == part.policy_hash)
        self._pipeline: Pipeline | None = None
        self._step: Step | None = None

    async def play(self, recorded: RecordedStep) -> Step:
        """Do one step as it was recorded."""
        if self._pipeline is None:
            names = {item.venue for item in recorded.answers}
            self._venues = [PlaybackVenue(name) for name in sorted(names - PERPETUAL_VENUES.keys())]
            self._perpetuals = [
                PlaybackPerpetualVenue(name) for name in sorted(names & PERPETUAL_VENUES.keys())
            ]
            self._pipeline = self._made()
        for venue in self._venues:
            venue.at(recorded)
        for perpetual in self._perpetuals:
            perpetual.at(recorded)
        self._account.at(recorded.record)
        self._covers.at(recorded.record)
        self._desk.at(recorded.asked)
        await self._pipeline.step(recorded.moment)
        if self._step is None:
            raise NotFoundError("the step left no decision")
        return self._step

    def _made(self) -> Pipeline:
        """Orders of a dry run, and of another policy, are filled on paper; others as they were."""
        on_paper = self.part.mode == "dry-run" or self._policy.hash != self.part.policy_hash
        # On paper the pairs are made anew, over the paper venues of their two parts.
        options = [item for item in self._venues if not (on_paper and PAIR_SIGN in item.name)]
        market = Market(options=options, perpetual=next(iter(self._perpetuals), None))
        named = market.named(self._journal, mode="dry-run" if on_paper else self.part.mode)
        pipeline = _pipeline(
            self._policy,
            named,
            self._journal,
            mode=self.part.mode,
            figures=self.part.figures(self._policy),
            desk=self._desk,
            accounts=self._account if self.part.mode in SIGNING_MODES else None,
            covers=self._covers,
        )
        pipeline.before_record = self._note
        return pipeline

    def _note(self, step: Step) -> None:
        self._step = step


def _pipeline(
    policy: Policy,
    named: tuple[Mapping[str, Venue], Mapping[str, PerpetualVenue]],
    journal: MemoryJournal,
    *,
    mode: str = "replay",
    figures: Figures | None = None,
    desk: OrderDesk | None = None,
    accounts: AccountVenue | None = None,
    covers: CoverVenue | None = None,
) -> Pipeline:
    venues, perpetuals = named
    return Pipeline(
        mode=mode,
        policy=policy,
        decide=decide_only if mode == "monitor" else decide,
        venues=venues,
        perpetual_venues=perpetuals,
        journal=journal,
        max_price_age_s=policy.holds.price_max_age,
        figures=figures,
        desk=desk,
        account_venue=accounts,
        cover_venue=covers,
    )


def _chosen(folder: Path, from_s: float, to_s: float) -> list[Path]:
    """Return the parts that a replay needs: from the last one that began at or before ``from_s``."""
    found = [path for path in parts(folder) if _began_s(path) <= to_s]
    if not found:
        raise NotFoundError(f"{folder} holds no recording of that time; record with --record DIR")
    before = [number for number, path in enumerate(found) if _began_s(path) <= from_s]
    return found[before[-1] if before else 0 :]


def _began_s(part: Path) -> float:
    try:
        began = datetime.strptime(part.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError(f"{part} is no part of a recording: its name is not a time") from None
    return began.timestamp()


def _differences(recorded: RecordedStep, step: Step) -> tuple[str, ...]:
    """Say in words where a decision differs; empty when it is the same to the last digit."""
    if decision_hash(step) == recorded.decision_hash:
        return ()
    was, now = recorded.record.decision, step.decision
    found = [*_tier_changes(was, now)]
    legs_was, legs_now = ([_order(leg) for leg in item.plan.legs] for item in (was, now))
    if legs_was != legs_now:
        found.append(f"orders were {'; '.join(legs_was) or 'none'}, now {'; '.join(legs_now) or 'none'}")
    if was.holds != now.holds:
        found.append(f"holds were {'; '.join(was.holds) or 'none'}, now {'; '.join(now.holds) or 'none'}")
    return tuple(found) or ("the same tiers and orders from other numbers",)


def _tier_changes(was: Decision, now: Decision) -> list[str]:
    tiers_was = {group.group: group.tier.name for group in was.groups}
    tiers_now = {group.group: group.tier.name for group in now.groups}
    return [
        f"{group}: tier was {tiers_was.get(group, 'none')}, now {tiers_now.get(group, 'none')}"
        for group in sorted(tiers_was.keys() | tiers_now.keys())
        if tiers_was.get(group) != tiers_now.get(group)
    ]


def _order(leg: HedgeLeg) -> str:
    return f"{leg.side} {leg.size:g} {leg.instrument.id}"


async def _check_range(settings: Settings, reader: JsonRpcReader, first: int, last: int) -> None:
    head = await reader.head()
    if last > head.number:
        raise ConfigError(f"--to-block {last} is past the chain's head {head.number}")
    try:
        await reader.has_code(settings.chain.multicall3, block=await reader.block(first))
    except (TransientError, StaleDataError) as error:
        raise ConfigError(
            f"the node has no state of block {first}: {error}; name an archive node, or later blocks"
        ) from None
