"""LP positions: what they hold, what they are worth, and their value curve.

One reader per kind of position. The bot asks it for an Exposure, which cannot be had for a position that
could not be read whole; the LP monitor asks it for an LpPosition, where a part may be unknown.
"""

from bot.watchers.positions.find import FoundPositions, find_positions
from bot.watchers.positions.reading import LpReader, exposure_of, read_positions
from bot.watchers.positions.v2 import V2PositionReader
from bot.watchers.positions.v3 import V3PositionReader
from bot.watchers.positions.v4 import V4PositionReader

__all__ = [
    "FoundPositions",
    "LpReader",
    "V2PositionReader",
    "V3PositionReader",
    "V4PositionReader",
    "exposure_of",
    "find_positions",
    "read_positions",
]
