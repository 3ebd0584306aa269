"""Implied vol of a Lyra v1 (Avalon) market at constant maturities (S11 to S13).

The vol of a strike is its board's base vol times its skew. A board's at-the-money vol is read between its
strikes at the spot price, in the logarithm of the strike; constant maturities lie between the boards in
total variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.model.units import DAY_S, WAD_DECIMALS, YEAR_S
from bot.ports import ChainReader
from bot.quant.surface import HIGHEST_IV, LOWEST_IV, iv_at_tenor, nearest_expiry
from bot.watchers.pools import from_raw
from bot.watchers.rows import BadRead, Rows, Unknown, need

MARKET = Abi.load("OptionMarket")
PRICER = Abi.load("OptionMarketPricer")
ADAPTER = Abi.load("SynthetixAdapter")
SOURCE = "lyra"
_TRADING_CUTOFF = 2  # place in TradeLimitParameters
_FROZEN = 3  # place in OptionBoard
_TENORS = (
    (Metric.IV_7D, 7.0),
    (Metric.IV_30D, 30.0),
    (Metric.IV_90D, 90.0),
    (Metric.VOL_INDEX, 30.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LyraIvWatcher:
    """Watches the boards of one option market; VOL_INDEX is the 30-day vol.

    Two boards that can still be traded are needed: one alone would read as a flat, calm term structure. A
    board that was frozen keeps the vol that it had then, so it does not count.
    """

    underlying: str
    option_market: Address
    pricer: Address
    synthetix_adapter: Address

    @property
    def name(self) -> str:
        return f"lyra_iv {self.underlying}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(metric, self.underlying, SOURCE) for metric, _ in _TENORS)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        calls = [
            MARKET.call("getLiveBoards", self.option_market),
            ADAPTER.call("getSpotPriceForMarket", self.synthetix_adapter, self.option_market),
            PRICER.call("getTradeLimitParams", self.pricer),
        ]
        boards, spot, limits = await chain.read(calls, block=block)
        try:
            (board_ids,) = need(boards, f"Lyra market {self.option_market} getLiveBoards")
            spot_usd = from_raw(need(spot, "Lyra spot price (paused or invalid rate?)")[0], WAD_DECIMALS)
            cutoff_s = need(limits, f"Lyra pricer {self.pricer} getTradeLimitParams")[0][_TRADING_CUTOFF]
            details = await chain.read(
                [MARKET.call("getBoardAndStrikeDetails", self.option_market, item) for item in board_ids],
                block=block,
            )
            points = _points(
                [need(found, f"Lyra board {item}") for item, found in zip(board_ids, details, strict=True)],
                spot_usd=spot_usd,
                now_s=block.timestamp_s,
                cutoff_s=cutoff_s,
            )
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [
            rows.row(key, constant_maturity(points, days))
            for key, (_, days) in zip(self.series, _TENORS, strict=True)
        ]


def _points(
    boards: Sequence[tuple[Any, ...]], *, spot_usd: float, now_s: float, cutoff_s: float
) -> list[tuple[float, float]]:
    """Return (years, at-the-money vol) of every board that is not frozen nor past its trading cutoff."""
    return [
        ((details[0][1] - now_s) / YEAR_S, at_the_money(details, spot_usd))
        for details in boards
        if details[0][1] - now_s > cutoff_s and not details[0][_FROZEN]
    ]


def at_the_money(details: tuple[Any, ...], spot_usd: float) -> float:
    """Return the vol at the spot price of ``getBoardAndStrikeDetails``. Raises BadRead."""
    (board_id, _, base_iv, _, _), strikes, *_ = details
    base = from_raw(base_iv, WAD_DECIMALS)
    pairs = sorted(
        (from_raw(strike[1], WAD_DECIMALS), base * from_raw(strike[2], WAD_DECIMALS)) for strike in strikes
    )
    if not spot_usd > 0 or not pairs or pairs[0][0] <= 0:
        raise BadRead(f"Lyra board {board_id} has no vol: spot {spot_usd}, {len(pairs)} strikes")
    at, vols = np.log([strike for strike, _ in pairs]), [vol for _, vol in pairs]
    iv = float(np.interp(np.log(spot_usd), at, vols))
    if not LOWEST_IV <= iv <= HIGHEST_IV:
        raise BadRead(f"Lyra board {board_id} has a vol of {iv:.4g}, allowed is {LOWEST_IV}..{HIGHEST_IV}")
    return iv


def constant_maturity(points: Sequence[tuple[float, float]], days: float) -> float | Unknown:
    """Return the vol at ``days`` from (years, vol) points, Unknown where they do not reach that far."""
    years = days * DAY_S / YEAR_S
    if len(points) < 2:
        return Unknown(f"{len(points)} Lyra boards are open to trade, the term structure needs 2")
    expiries = [expiry for expiry, _ in points]
    nearest, is_near = nearest_expiry(expiries, years)
    if not is_near:
        return Unknown(f"the Lyra board nearest to {days:g} days has {nearest * YEAR_S / DAY_S:.1f} days")
    return float(iv_at_tenor(expiries, [iv for _, iv in points], years))
