"""A frame of a bad day, made of a model: what ``alvh policy check`` prices a policy's tiers on."""

import math
from dataclasses import replace

import numpy as np

from bot.engine.policy import Policy
from bot.model.market import Block, Column, Columns, Frame, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.ports import MarketView
from bot.quant.var import DAYS_PER_YEAR, VOL_CAP, VOL_FLOOR
from bot.simulation.exposures import parse_exposure
from bot.simulation.market.model import Market
from bot.venues.simulated import SimulatedVenue

EXPOSURES = ("v2:ETH/USDC:100000", "v3:ETH/USDC:100000:-20%:+20%")
SPOT_USD = 2_000.0  # any price: strikes and sizes follow from it
NOW_S = 1_735_891_200  # 2025-01-03 08:00 UTC, a Friday: the listed expiries follow from it
REALISED_VOL = VOL_FLOOR * VOL_CAP  # R8: size follows vol to 1.5 times its median, here R8's own floor
_SOURCE = "stressed"
_DAYS = 120  # of closes: under 250, so that VaR is R8's EWMA vol times Student-t(4)
_CHAIN = 1
_TENORS = (Metric.IV_7D, Metric.IV_30D, Metric.IV_90D)


def default_vol(market: Market) -> float:
    """Return the implied vol at which the market model's skew is at its stress, fraction a year."""
    return market.options.stress_to_vol


async def stressed_frame(policy: Policy, market: Market, *, exposure: str, vol: float) -> Frame:
    """Return the frame: one exposure, quotes at ``vol`` for every expiry, skewed, with the model's spread.

    ``vol`` is flat over expiries: TAIL is then dear, which errs on the safe side.
    """
    position = parse_exposure(exposure).open_at(SPOT_USD)
    block = Block(chain_id=_CHAIN, number=1, hash="0x01", parent_hash="0x00", timestamp_s=NOW_S)
    columns = _columns(position.underlying, position.stable, vol)
    view = MarketView(
        now_s=float(NOW_S), block=block, columns=columns, spot_usd={position.underlying: SPOT_USD}
    )
    options = market.options
    if policy.sizing.loss_measure == "hold":
        options = replace(options, list_calls=True)
    size = max(policy.orders.quote_share * position.value_usd / SPOT_USD, options.lot)
    quotes = await SimulatedVenue(options).quotes(view, underlying=position.underlying, size=size)
    return Frame(
        now_s=float(NOW_S), blocks={_CHAIN: block}, columns=columns, exposures=(position,), quotes=quotes
    )


def _columns(underlying: str, stable: str, vol: float) -> Columns:
    """Return daily closes that swing with ``REALISED_VOL`` around the spot, and the vols of this hour."""
    times_s = NOW_S - DAY_S * np.arange(_DAYS, -1, -1, dtype=np.float64)
    swing = 0.5 * REALISED_VOL / math.sqrt(DAYS_PER_YEAR)
    closes = SPOT_USD * np.exp(swing * (np.arange(_DAYS + 1) % 2 * 2 - 1))
    closes[-1] = SPOT_USD
    series = {
        SeriesKey(Metric.PRICE_USD, underlying, _SOURCE): Column(times_s=times_s, values=closes),
        SeriesKey(Metric.PRICE_USD, stable, _SOURCE): Column(times_s=times_s, values=np.ones(times_s.size)),
    }
    for metric in _TENORS:
        series[SeriesKey(metric, underlying, _SOURCE)] = Column(
            times_s=np.array([NOW_S - HOUR_S, NOW_S], dtype=np.float64), values=np.array([vol, vol])
        )
    return Columns(series=series)
