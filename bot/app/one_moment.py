"""One moment of the home chain for commands that look once and keep nothing."""

from collections.abc import Sequence

from bot.app.parts import watchers
from bot.chain.reader import JsonRpcReader
from bot.model.market import Block
from bot.pipeline.history import History
from bot.pipeline.loop import Moment
from bot.pipeline.sources import LiveSource, chain_clock
from bot.ports import PositionReader
from bot.settings import Settings


async def moment_at(
    settings: Settings, reader: JsonRpcReader, positions: Sequence[PositionReader], block: Block
) -> Moment:
    """Read every watcher and position at a block, with no history behind it; now is the block's own time.

    Raises TransientError.
    """
    watched = watchers(settings)
    source = LiveSource(
        chain=reader,
        watchers=watched,
        positions=positions,
        history=History(key for watcher in watched for key in watcher.series),
        clock=chain_clock,
    )
    return await source.cut(block, now_s=float(block.timestamp_s))
