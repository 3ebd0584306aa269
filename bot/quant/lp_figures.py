"""What a position's state means: value, impermanent loss by both definitions, delta, gamma, fees."""

import math
from dataclasses import dataclass, replace

from bot.model.exposure import ExposureKind
from bot.model.lp_position import LpPosition
from bot.quant import lp

GAMMA_MOVE = 0.01  # the move that the gamma of a position is told for


@dataclass(frozen=True, slots=True, kw_only=True)
class LpFigures:
    """Figures of one position in its quote token; NaN is unknown. Times ``quote_usd`` they are USD."""

    delta_units: float  # base tokens that it behaves like
    gamma: float  # change of delta, in base tokens, per quote token of price; <= 0
    gamma_1pct: float  # change of delta when the price rises by 1 %
    hold_value: float  # what the deposited tokens would be worth now
    loss_hold: float  # impermanent loss against holding them, fees left out; <= 0
    loss_hold_share: float
    loss_entry: float  # value now less value at entry, fees left out; either sign
    loss_entry_share: float
    fees_earned: float  # collected and uncollected since the deposit
    fee_income_30d: float
    net_hold: float  # against holding, with the fees earned


def figures_of(position: LpPosition) -> LpFigures:
    """Return the figures at the position's own price."""
    spot, deposits = position.spot, position.deposits
    # The fees of a v2 pair make its liquidity grow: the loss is that of the liquidity that was put in.
    is_v2 = position.kind is ExposureKind.UNISWAP_V2
    shape = position.shape
    if is_v2:
        known = math.isfinite(deposits.liquidity)
        bare = float(lp.value(replace(shape, liquidity=deposits.liquidity), spot)) if known else math.nan
    else:
        bare = position.value
    hold = deposits.units * spot + deposits.quote
    loss_hold, loss_hold_share = (float(item) for item in lp.loss_against(bare, hold))
    loss_entry, loss_entry_share = (float(item) for item in lp.loss_against(bare, deposits.entry_value))
    gamma = float(lp.gamma(shape, spot)) if position.in_range else 0.0
    if is_v2:  # with an entry price the liquidity of now stands for that of then, and says nothing of fees
        earned = position.value - bare if math.isfinite(deposits.since_s) else math.nan
    else:
        earned = deposits.fees_units * spot + deposits.fees_quote + position.fees
    return LpFigures(
        delta_units=float(lp.delta(shape, spot)),
        gamma=gamma,
        gamma_1pct=gamma * GAMMA_MOVE * spot,
        hold_value=hold,
        loss_hold=min(loss_hold, 0.0),  # a tangent to a concave curve: above 0 is rounding
        loss_hold_share=min(loss_hold_share, 0.0),
        loss_entry=loss_entry,
        loss_entry_share=loss_entry_share,
        fees_earned=earned,
        fee_income_30d=position.fee_income_30d,
        net_hold=min(loss_hold, 0.0) + earned,
    )
