"""What stands and what it would cost now, without deciding or writing: one block, a journal read only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

from bot.app.account_parts import planned_account, with_withdrawals
from bot.app.one_moment import moment_at
from bot.app.parts import open_chain, position_readers, web_client
from bot.app.quoting import Market, open_quoting
from bot.app.stores import open_journal
from bot.app.trading import account_of, cover_venue
from bot.engine.policy import Policy
from bot.engine.step import decide
from bot.errors import NotFoundError
from bot.model.cover import HeldCover
from bot.model.hedge import LegOutcome
from bot.model.market import Frame
from bot.pipeline.journal import SqlJournal
from bot.pipeline.loop import Moment, Pipeline
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.moments import view_of
from bot.ports import Journal, VenuePosition
from bot.settings import Settings, load_policy
from bot.venues.planned_account import PlannedAccount
from bot.venues.planned_cover import PlannedCoverVenue


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One moment: the frame as the engine would see it, and the positions as their venues do."""

    settings: Settings
    policy: Policy
    mode: str
    moment: Moment
    frame: Frame
    positions: tuple[VenuePosition, ...]
    running: bool  # a bot of this mode runs on the journal
    outcomes: tuple[LegOutcome, ...]  # of the journal, oldest first
    accounts: PlannedAccount | None  # plans what is done with positions and loans, and does nothing
    mutual: PlannedCoverVenue | None = None  # quotes covers, and does nothing
    covers: tuple[HeldCover, ...] = ()  # of the account, ended ones that can still be claimed on included


@asynccontextmanager
async def open_look(settings: Settings, *, mode: str) -> AsyncIterator[Look]:
    """Look at the newest block. Raises TransientError where a venue or a position cannot be read."""
    policy = load_policy(settings.policy)
    async with (
        open_chain(settings) as (_, reader),
        web_client(settings) as web,
        open_quoting(settings, reader, web, policy) as market,
    ):
        with closing(_journal(settings, mode)) as found:
            journal: Journal = found
            pipeline = _pipeline(policy, market, journal, mode=mode)
            readers = with_withdrawals(settings, position_readers(settings), found.account_outcomes)
            moment = await moment_at(settings, reader, readers, await reader.head())
            mutual = cover_venue(settings, reader, custody=None)
            view = view_of(moment, max_age_s=policy.holds.price_max_age)
            yield Look(
                settings=settings,
                policy=policy,
                mode=mode,
                moment=moment,
                frame=await pipeline.look(moment),
                positions=await pipeline.positions(moment),
                running=found.is_written_by_another(),
                outcomes=found.outcomes(),
                accounts=planned_account(
                    settings, reader, policy, custody=None, account=account_of(settings)
                ),
                mutual=mutual,
                covers=await mutual.held(view) if mutual is not None else (),
            )


def _pipeline(policy: Policy, market: Market, journal: Journal, *, mode: str) -> Pipeline:
    venues, perpetuals = market.named(journal, mode=mode)
    return Pipeline(
        mode=mode,
        policy=policy,
        decide=decide,
        venues=venues,
        perpetual_venues=perpetuals,
        journal=journal,
        max_price_age_s=policy.holds.price_max_age,
    )


def _journal(settings: Settings, mode: str) -> "SqlJournal | _NoJournal":
    try:
        return open_journal(settings, mode=mode, read_only=True)
    except NotFoundError:
        return _NoJournal()


class _NoJournal(MemoryJournal):
    """Stands for a journal that no run has begun yet."""

    def is_written_by_another(self) -> bool:
        return False

    def close(self) -> None:
        return None
