"""The arrays that go through the kernels together: one history, one policy's lane, one block of lanes."""

from typing import Any, NamedTuple

from bot.simulation.kernels.compiling import Floats, Integers, inlined
from bot.simulation.kernels.layout import MEMORY_FROM, PARAMETERS, REST_FROM


class History(NamedTuple):
    """What all lanes look at: a column a step, rows as layout says. Without a market its arrays are empty."""

    times_s: Floats
    blocks: Integers  # heights; 0: unknown
    scores: Floats
    flags: Integers
    market: Floats
    shapes: Floats  # of the position, one row each time that it was opened
    shape_from: Integers  # the first step of each shape
    terms: Floats  # the present shape and the perpetual's terms: ``take_shape`` writes to it
    grid: Floats  # of R10, as factors on the price
    stress: Floats  # factor on the price that margin has to bear, at each step
    hole_s: float  # a longer gap ends a fall


class Lane(NamedTuple):
    """One policy: views of its block's arrays."""

    p: Floats  # its numbers
    x: Floats  # its memory, floats
    k: Integers  # its memory, integers
    r: Floats  # its rest
    spends: Floats  # a ring of [time, USD]
    log: Floats  # its orders, as far as there is room
    number: int  # its place in the block


class Block(NamedTuple):
    """Lanes that run together, and what is kept of them. Arrays of size 0 are not there, or not asked for."""

    numbers: Floats  # [lane, field]: parameters, memory and rest, as layout says
    counts: Integers  # [lane, field]
    spends: Floats  # [lane, time or USD, place]
    log: Floats  # [lane, order, field]
    given: Any  # [lane, step]: tiers in the place of R1-R4's
    tiers: Any  # [lane, step]
    cash_usd: Floats  # [lane, step]
    open_usd: Floats  # [lane, step]


@inlined
def lane_of(block: Block, number: int) -> Lane:
    """Return one lane of a block."""
    row = block.numbers[number]
    return Lane(
        row[:PARAMETERS],
        row[MEMORY_FROM:REST_FROM],
        block.counts[number],
        row[REST_FROM:],
        block.spends[number],
        block.log[number],
        number,
    )
