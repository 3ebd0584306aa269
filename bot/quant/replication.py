"""Static replication of what liquidity positions lose, by a dense ladder of options.

The loss of an LP is a claim on the spot (Lipton, Lucic, Sepp, arXiv 2407.05146; for concentrated liquidity
Deng, Zong, Wang, arXiv 2205.12043). Carr and Madan (2001) span a claim h by options: h''(K) dK of each
strike, puts below and calls above the entry. On a ladder the weight of a strike is h'' against the hat
function around it, a difference of chord slopes: the strip is then equal to the claim at every strike and
above it between them, since the claim is convex. Sizes are units of the underlying, money USD.
"""

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from bot.errors import InvariantError
from bot.model.exposure import LpShape
from bot.model.market import FloatArray
from bot.quant import lp, options
from bot.quant.lp import LossMeasure

BoolArray: TypeAlias = NDArray[np.bool_]
_SEARCHED = 2_001  # spots, from a millionth to a million times the entry
_ROUNDING = 1e-12  # of the value: a smaller gain is none


@dataclass(frozen=True, slots=True, kw_only=True)
class LossClaim:
    """Pays what positions lose from ``entry_usd`` on, fees left out; convex in the spot.

    ``hold``: against holding the tokens of entry (a borrowed LP), never under 0. ``usd``: against the value
    at entry (a funded LP); ``floored``, the default, pays losses only, else gains are owed. Under ``hold``
    ``kept_units`` compares with so many units of the underlying in place of those of entry (a deposit at
    another price); from the entry on such a comparison may also be won.
    """

    shapes: tuple[LpShape, ...]
    entry_usd: float
    measure: LossMeasure = "usd"
    floored: bool = True
    kept_units: float | None = None
    gains: tuple[float, float] = field(init=False)  # spots between which a floored claim pays nothing

    def __post_init__(self) -> None:
        if not 0.0 < self.entry_usd < math.inf:
            raise InvariantError(f"loss claim: entry price must be finite and > 0, was {self.entry_usd}")
        if self.measure not in ("hold", "usd"):
            raise InvariantError(f"loss measure must be 'hold' or 'usd', was {self.measure!r}")
        if not self.value_usd > 0.0:
            raise InvariantError("loss claim: the positions are worth nothing at entry, nothing can be lost")
        kept, entry = self.kept_units, self.entry_usd
        if kept is not None and (self.measure != "hold" or not 0.0 <= kept < math.inf):
            raise InvariantError(
                f"loss claim: kept_units must be finite and >= 0, under 'hold' only, was {kept} under "
                f"{self.measure!r}"
            )
        ends = (entry, entry)
        if self.floored and self.measure == "usd":
            ends = (entry, math.inf)
        elif self.floored and kept is not None:
            ends = self._won()
        object.__setattr__(self, "gains", ends)

    @property
    def value_usd(self) -> float:
        """What the positions are worth at entry."""
        return float(sum(lp.value(shape, self.entry_usd) for shape in self.shapes))

    def payoff(self, spots: ArrayLike) -> FloatArray:
        """Return the loss in USD at ``spots``; a gain is negative unless floored."""
        lost = self._lost(np.asarray(spots, dtype=np.float64))
        return np.asarray(np.maximum(lost, 0.0) if self.floored else lost)

    def slope(self, spots: ArrayLike, *, from_left: bool = False) -> FloatArray:
        """Return the change of the payoff per USD of spot to the right, or to the left, of ``spots``."""
        at = np.asarray(spots, dtype=np.float64)
        steep = np.asarray(self._reference_units - np.sum([lp.delta(s, at) for s in self.shapes], axis=0))
        low, high = self.gains
        pays_none = (low < at) & (at <= high) if from_left else (low <= at) & (at < high)
        return np.asarray(np.where(pays_none, 0.0, steep))

    def density(self, strikes: ArrayLike) -> FloatArray:
        """Return h''(K) >= 0: units of options per USD of strike, L / (2 K^1.5) inside a range.

        The point weights of kinks are left out: floored ``usd`` also needs its delta in puts at the entry.
        """
        at = np.asarray(strikes, dtype=np.float64)
        bend = -np.sum([lp.gamma(shape, at) for shape in self.shapes], axis=0)
        low, high = self.gains
        return np.asarray(np.where((low <= at) & (at < high), 0.0, bend))

    @property
    def kinks(self) -> FloatArray:
        """Return the spots at which slope or curvature jumps: range edges and the entry, rising."""
        edges = [edge for shape in self.shapes for edge in (shape.lower_usd, shape.upper_usd)]
        inside = [edge for edge in (*edges, self.entry_usd, *self.gains) if 0.0 < edge < math.inf]
        return np.unique(np.array(inside, dtype=np.float64))

    @property
    def _reference_units(self) -> float:
        """Return the units of the underlying that the positions are compared with."""
        if self.measure == "usd":
            return 0.0
        if self.kept_units is not None:
            return self.kept_units
        return float(sum(lp.delta(shape, self.entry_usd) for shape in self.shapes))

    def _lost(self, at: FloatArray) -> FloatArray:
        """Return the loss at spots, a gain negative; convex, 0 at the entry."""
        if self.kept_units is not None:
            now = np.sum([lp.value(shape, at) for shape in self.shapes], axis=0)
            return np.asarray(self.value_usd - now + self.kept_units * (at - self.entry_usd))
        parts = [
            lp.impermanent_loss(shape, self.entry_usd, at, measure=self.measure) for shape in self.shapes
        ]
        return np.asarray(-np.sum(parts, axis=0))

    def _won(self) -> tuple[float, float]:
        """Return the stretch on one side of the entry in which other tokens kept would be worth less."""
        entry, kinks = self.entry_usd, [edge for s in self.shapes for edge in (s.lower_usd, s.upper_usd)]
        wide = np.concatenate(
            [entry * np.geomspace(1e-6, 1e6, _SEARCHED), [e for e in kinks if 0 < e < math.inf]]
        )
        wide = np.unique(wide)
        won = self._lost(wide) < -_ROUNDING * self.value_usd
        if not won.any():
            return entry, entry
        first, last = int(np.argmax(won)), int(won.size - 1 - np.argmax(won[::-1]))
        if wide[first] > entry:
            end = math.inf if last + 1 == won.size else self._root(wide[last], wide[last + 1])
            return entry, end
        return (0.0 if first == 0 else self._root(wide[first - 1], wide[first])), entry

    def _root(self, low: float, high: float) -> float:
        ends = self._lost(np.array([low, high]))
        if not ends[0] * ends[1] < 0.0:  # one is 0 up to rounding
            return low if abs(ends[0]) < abs(ends[1]) else high
        return float(brentq(lambda spot: float(self._lost(np.asarray(spot))), low, high))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """Options, cash and a forward from the entry that together pay a claim."""

    strikes: FloatArray
    is_puts: BoolArray
    sizes: FloatArray  # units, >= 0
    cash_usd: float
    forward_units: float  # bought (> 0) or sold at the entry price
    entry_usd: float

    def payoff(self, spots: ArrayLike) -> FloatArray:
        """Return what it settles at."""
        at = np.asarray(spots, dtype=np.float64)
        paid = np.maximum(np.where(self.is_puts, -1.0, 1.0) * (at[..., np.newaxis] - self.strikes), 0.0)
        return np.asarray(
            self.cash_usd + self.forward_units * (at - self.entry_usd) + (paid * self.sizes).sum(axis=-1)
        )

    def value(self, forward: float, years: float, ivs: ArrayLike, *, rate: float = 0.0) -> float:
        """Return what it is worth now: the model-free price of the claim, given the vol of each strike."""
        prices = options.black76_price(forward, self.strikes, years, ivs, is_put=self.is_puts, rate=rate)
        certain = self.cash_usd + self.forward_units * (forward - self.entry_usd)
        return float((prices * self.sizes).sum() + math.exp(-rate * years) * certain)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplicationError:
    """Claim less hedge over a stretch of spots, as shares of the positions' value at entry."""

    spots: FloatArray
    residual_usd: FloatArray  # > 0: loss that is not covered
    max_share: float  # at the spots
    mean_share: float
    bound_share: float  # no spot between the first and the last has more


def spanning_strip(claim: LossClaim, strikes: ArrayLike) -> Strip:
    """Return the options of a ladder that pay the claim: exact at every strike, its tangents beyond the ends.

    ``hold`` needs neither cash nor a forward when the entry is a strike, nor does floored ``usd``. Sizes are
    >= 0. Raises InvariantError unless strikes are two or more, > 0 and rising.
    """
    ladder = rising(strikes, "strikes of a ladder")
    paid, entry = claim.payoff(ladder), claim.entry_usd
    chords = np.diff(paid) / np.diff(ladder)
    slopes = np.concatenate([[claim.slope(ladder[0], from_left=True)], chords, [claim.slope(ladder[-1])]])
    centre = int(np.searchsorted(ladder, entry, side="right"))  # entry lies in stretch number `centre`
    middle = float(slopes[centre])
    is_strike = centre > 0 and ladder[centre - 1] == entry
    if is_strike:
        middle = float(claim.slope(entry))
    below, above = ladder[:centre], ladder[centre - 1 if is_strike else centre :]
    put_ends = np.append(slopes[:centre], middle)
    call_ends = np.append(middle, slopes[centre if is_strike else centre + 1 :])
    sizes = np.concatenate([np.diff(put_ends), np.diff(call_ends)])
    anchor = min(max(centre - 1, 0), ladder.size - 1)
    return Strip(
        strikes=np.concatenate([below, above]),
        is_puts=np.concatenate([np.ones(below.size, np.bool_), np.zeros(above.size, np.bool_)]),
        sizes=np.maximum(sizes, 0.0),  # a convex claim: below 0 is rounding
        cash_usd=float(paid[anchor] + middle * (entry - ladder[anchor])),
        forward_units=middle,
        entry_usd=entry,
    )


def strip_error(claim: LossClaim, strip: Strip, spots: ArrayLike) -> ReplicationError:
    """Return how far a strip is from its claim on rising ``spots``, with a bound for all between them."""
    nodes = _with_nodes(rising(spots, "spots"), claim.kinks, strip.strikes)
    residual = claim.payoff(nodes) - strip.payoff(nodes)
    return error_of(claim, nodes, residual, np.zeros(nodes.size - 1))


def error_of(
    claim: LossClaim, nodes: FloatArray, residual_usd: FloatArray, hedge_bend_usd: FloatArray
) -> ReplicationError:
    """Return the error from residuals at nodes that hold all kinks of the claim.

    Claim and hedge are convex, so between two nodes each lies below its chord by at most ``bend``: the
    residual leaves its chord by no more than the larger of the two. ``hedge_bend_usd`` is that of the hedge,
    per stretch.
    """
    bend = np.maximum(claim_bend(claim, nodes), hedge_bend_usd)
    size = np.abs(residual_usd)
    ends = np.maximum(size[:-1], size[1:])
    stretch = np.diff(nodes)
    mean = float((0.5 * (size[:-1] + size[1:]) * stretch).sum() / stretch.sum())
    return ReplicationError(
        spots=nodes,
        residual_usd=residual_usd,
        max_share=float(size.max()) / claim.value_usd,
        mean_share=mean / claim.value_usd,
        bound_share=float((ends + bend).max()) / claim.value_usd,
    )


def claim_bend(claim: LossClaim, nodes: FloatArray) -> FloatArray:
    """Return how far the claim can lie below its chord in each stretch between nodes, USD.

    A convex curve with slopes p and q at the ends of a stretch d is at most (q - p) d / 4 below its chord.
    """
    turn = claim.slope(nodes[1:], from_left=True) - claim.slope(nodes[:-1])
    return np.asarray(np.maximum(turn, 0.0) * np.diff(nodes) / 4.0)


def rising(values: ArrayLike, what: str) -> FloatArray:
    """Return a row of finite numbers > 0 that rises. Raises InvariantError for anything else."""
    row = np.asarray(values, dtype=np.float64)
    sound = row.ndim == 1 and row.size >= 2 and bool((np.isfinite(row) & (row > 0.0)).all())
    if not sound or not (np.diff(row) > 0.0).all():
        raise InvariantError(
            f"{what} must be two or more finite numbers > 0 that rise without duplicates, were {row.tolist()}"
        )
    return row


def _with_nodes(spots: FloatArray, *more: FloatArray) -> FloatArray:
    """Return ``spots`` with the further nodes that lie between its ends."""
    nodes = np.unique(np.concatenate([spots, *more]))
    return np.asarray(nodes[(nodes >= spots[0]) & (nodes <= spots[-1])])
