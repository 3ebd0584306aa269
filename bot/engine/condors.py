"""What open condors of R16's overlay count for in R8, R9 and R10."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bot.engine.group import Group, group_contracts, path_gains
from bot.model.hedge import HeldCondor
from bot.model.market import FloatArray
from bot.quant.payoff import expiry_payoff
from bot.quant.var import value_at_risk


def with_condors(group: Group, condors: Sequence[HeldCondor]) -> Group:
    """Return the group with what its open condors gain or lose on each path counted in its losses (R8)."""
    mine = tuple(item for item in condors if item.group == group.name and item.expiry_s > group.now_s)
    if not mine:
        return group
    losses = group.losses_usd - sum(_path_gains(group, item) for item in mine)
    at_risk = value_at_risk(losses, confidence=group.confidence)
    var_usd = at_risk if at_risk > 0.0 or math.isnan(at_risk) else 0.0
    return replace(group, condors=mine, losses_usd=losses, var_usd=var_usd)


def losses_over(group: Group, spots: FloatArray, days: FloatArray) -> FloatArray:
    """Return what the group's condors lose from today's mark, >= 0, [day, spot]; 0 where unknown (R10)."""
    total = np.zeros((days.size, spots.size))
    for condor in group.condors:
        terms = group_contracts(group, [(leg.instrument, leg.iv) for leg in condor.legs])
        sizes = np.array([leg.size for leg in condor.legs])
        total += np.maximum(0.0, -np.einsum("l,dls->ds", sizes, terms.gains_over(spots, days)))
    return np.nan_to_num(total, nan=0.0)


def capital_at_risk(condors: Sequence[HeldCondor]) -> float:
    """Return what condors that are not settled yet take of R9's defined-risk capital: their worst losses."""
    return sum((item.worst_loss_usd for item in condors), 0.0)


def _path_gains(group: Group, condor: HeldCondor) -> FloatArray:
    """Return the gain from today's mark on each path; without a mark, what is settled plus the credit."""
    sizes = np.array([leg.size for leg in condor.legs])
    legs = [(leg.instrument, leg.iv) for leg in condor.legs]
    gains = np.asarray(sizes @ path_gains(group, legs))
    if np.isfinite(gains).all():
        return gains
    terms = group_contracts(group, legs)
    settled = expiry_payoff(
        group.paths[:, -1], strikes=terms.strikes, is_puts=terms.is_puts, sizes=sizes * terms.units
    )
    return np.asarray(settled + condor.credit_usd)
