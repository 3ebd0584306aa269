"""What the LP monitor shows: positions with their figures, chain by chain."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bot.model.lp_position import LpPosition
from bot.model.market import Block
from bot.quant.lp_figures import LpFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class LpRow:
    """One position with its figures."""

    position: LpPosition
    figures: LpFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLp:
    """The positions of one chain at one block. ``trouble`` says why a chain could not be read."""

    chain_id: int | None
    name: str
    block: Block | None = None
    rows: tuple[LpRow, ...] = ()
    left_out: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def value_usd(self) -> float:
        """Sum of the positions that have a USD price; NaN when there are positions and none has."""
        return _sum(row.position.value_usd for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class LpView:
    """Everything that is watched, as of now. Sums are of what is known; ``unknown`` says what they lack."""

    wallet: str | None
    chains: tuple[ChainLp, ...]

    @property
    def rows(self) -> tuple[LpRow, ...]:
        return tuple(row for chain in self.chains for row in chain.rows)

    @property
    def value_usd(self) -> float:
        return _sum(row.position.value_usd for row in self.rows)

    @property
    def fees_usd(self) -> float:
        return _sum(row.position.fees_usd for row in self.rows)

    @property
    def loss_hold_usd(self) -> float:
        return _sum(row.figures.loss_hold * row.position.quote_usd for row in self.rows)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return one line on everything that the sums leave out."""
        lines = [f"{chain.name}: {chain.trouble}" for chain in self.chains if chain.trouble]
        parts: dict[str, list[str]] = {}
        for row in self.rows:
            item = row.position
            if math.isnan(item.value_usd):
                parts.setdefault(f"has no USD value: {item.usd_source}", []).append(item.id)
            if math.isnan(item.fees):
                parts.setdefault(f"has unknown fees: {item.why_no_fees}", []).append(item.id)
        return (*lines, *(f"{', '.join(ids)} {why}" for why, ids in parts.items()))


def _sum(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) if known else math.nan
