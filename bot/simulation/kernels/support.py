"""Which policies and markets the kernels may stand in for, and why not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.engine.policy import Policy
from bot.model.tier import Quality, Reading, Tier
from bot.pipeline.moments import Moment
from bot.simulation.market.model import Market

_CARRY, _PARITY = "S21", "S22"
_LEAST_LOT = 1e-6  # under it the venue's and the book's dust could differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """One reason why the engine itself must run."""

    name: str  # plain and lasting: for tables and tests
    because: str


def tiers_unsupported(moments: Sequence[Moment]) -> tuple[Unsupported, ...]:
    """Return why the tier over these moments is not the kernels'; empty where it is, for any policy."""
    found = []
    groups = {item.group for moment in moments for item in moment.exposures}
    if len(groups) != 1 or any(len(moment.exposures) != 1 for moment in moments):
        found.append(Unsupported(name="one exposure", because="a kernel follows one exposure alone"))
    if any(moment.holds or moment.unseen or moment.vote for moment in moments):
        because = "holds, unseen positions and votes of a moment are the engine's"
        found.append(Unsupported(name="plain moments", because=because))
    return tuple(found)


def readings_unsupported(readings: Sequence[Reading]) -> tuple[Unsupported, ...]:
    """Return which readings would depend on what was decided before: then tiers are the engine's."""
    tied = {
        item.signal
        for item in readings
        if item.signal in (_CARRY, _PARITY) and item.quality is not Quality.ABSENT
    }
    return tuple(
        Unsupported(
            name=f"{signal} absent", because=f"{signal} reads the book or the quotes of the run itself"
        )
        for signal in sorted(tied)
    )


def fees_unsupported(moments: Sequence[Moment]) -> tuple[Unsupported, ...]:
    """Return why LP fees of a known income keep tiers the engine's: S21 weighs them against the book."""
    incomes = (item.fee_income_30d_usd for moment in moments for item in moment.exposures)
    if not any(math.isfinite(income) for income in incomes):
        return ()
    because = "LP fees of a known 30-day income make S21, which reads the book that the run itself writes"
    return (Unsupported(name="S21 absent", because=because),)


def policy_unsupported(policy: Policy) -> tuple[Unsupported, ...]:
    """Return why what a policy buys is not the kernels'; empty for one that trades NEAR's perpetual alone."""
    found = []
    wanted = [tier.name for tier in Tier if policy.sizing.shares.of(tier) > 0.0]
    if wanted:
        because = f"options are wanted at {', '.join(wanted)} (sizing.shares): programmes choose them"
        found.append(Unsupported(name="no options", because=because))
    if policy.near.instrument != "perpetual":
        because = "near.instrument is put: a listed option would serve NEAR"
        found.append(Unsupported(name="NEAR by perpetual", because=because))
    if policy.overlay.enabled:
        found.append(Unsupported(name="no overlay", because="R16's condor is sold by the engine alone"))
    return tuple(found)


def market_unsupported(market: Market) -> tuple[Unsupported, ...]:
    """Return why a market's perpetual is not the kernels'."""
    found = []
    if market.perpetual is None:
        found.append(Unsupported(name="a perpetual", because="the market quotes no perpetual"))
    elif market.perpetual.lot < _LEAST_LOT:
        because = f"a lot of {market.perpetual.lot:g} units is next to the dust of a position"
        found.append(Unsupported(name="lot over dust", because=because))
    if market.options.list_calls:
        because = "calls beside puts make S22, which the loop derives from quotes"
        found.append(Unsupported(name="S22 absent", because=because))
    return tuple(found)


def kernel_supports(policy: Policy, market: Market, moments: Sequence[Moment]) -> tuple[Unsupported, ...]:
    """Return every reason why ``evaluate_perpetual`` would not be the engine's run; empty: it is equal.

    ``evaluate_tiers`` needs none of ``policy_unsupported``: the market tier of any policy is the kernels'.
    """
    return (
        *tiers_unsupported(moments),
        *fees_unsupported(moments),
        *policy_unsupported(policy),
        *market_unsupported(market),
    )
