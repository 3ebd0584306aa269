"""Tiny synthetic markets: calm and stressed columns, Black-Scholes quotes, one v2 exposure of 1m USD."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bot.engine.policy import Policy, parse_policy
from bot.engine.rules.consensus import family_votes
from bot.engine.rules.context import TierContext
from bot.model.exposure import Exposure, ExposureKind
from bot.model.hedge import (
    HeldHedge,
    Instrument,
    Layer,
    LegOutcome,
    LegStatus,
    OptionType,
    Quote,
    Side,
    Spend,
    SpendKind,
)
from bot.model.market import Block, Column, Columns, Frame, Metric, SeriesKey
from bot.model.record import GroupState
from bot.model.tier import Family, Quality, Reading
from bot.model.units import DAY_S, HOUR_S
from bot.quant import lp
from bot.quant.options import delta, price
from bot.signals import SIGNALS

NOW_S = 1_700_006_400.0  # 2023-11-15T00:00:00Z, a whole day
SPOT = 2_000.0
GROUP = "ETH/USDC"
POOL = "v2:ETH/USDC"
CLASSIC_FILE = Path(__file__).parents[2] / "bot" / "policies" / "classic.toml"

FEED = SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:eth")
TWAP = SeriesKey(Metric.PRICE_USD, "ETH", "twap:v3")
SUSD = SeriesKey(Metric.PRICE_USD, "sUSD", "pool")


def classic_table() -> dict[str, Any]:
    return tomllib.loads(CLASSIC_FILE.read_text())


def classic(**sections: Mapping[str, object]) -> Policy:
    """Return classic with some keys of its sections replaced: ``classic(tiers={"confirm": 1})``."""
    table = classic_table()
    for name, changes in sections.items():
        table[name] = {**table[name], **changes}
    return parse_policy(table)


def hourly(values: Sequence[float] | np.ndarray, *, end_s: float = NOW_S) -> Column:
    """Return one observation per hour, the last just before ``end_s``."""
    values = np.asarray(values, dtype=np.float64)
    times = end_s - 1.0 - HOUR_S * np.arange(values.size - 1, -1, -1, dtype=np.float64)
    return Column(times_s=times, values=values)


def flat(value: float, *, hours: int = 40 * 24, end_s: float = NOW_S) -> Column:
    return hourly(np.full(hours, value), end_s=end_s)


def wavy(value: float, *, hours: int = 40 * 24, end_s: float = NOW_S, size: float = 0.005) -> Column:
    """Return a repeatable zigzag, anchored to time, so that vols and sigmas are not 0.

    Its highs fall a little from each to the next: a higher high could be a divergence of MACD.
    """
    column = flat(value, hours=hours, end_s=end_s)
    steps = np.round((column.times_s + 1.0 - NOW_S) / HOUR_S)
    zigzag = size * np.where(steps % 2 == 0, 1.0, -1.0) - 1e-5 * steps
    return Column(times_s=column.times_s, values=value * (1.0 + zigzag))


def calm_columns(
    now_s: float = NOW_S, *, spot: float = SPOT, hours: int = 40 * 24
) -> dict[SeriesKey, Column]:
    """Return columns in which no signal is stressed and none is warming."""

    def level(value: float) -> Column:
        return flat(value, hours=hours, end_s=now_s)

    pool = {
        Metric.POOL_PRICE_USD: level(spot),
        Metric.POOL_LIQUIDITY: level(1e6),
        Metric.POOL_QUOTE_USD: level(5e6),
        Metric.POOL_QUOTE_NEAR_USD: level(2e6),
        Metric.POOL_DEPTH_USD: level(1e5),
    }
    market = {
        FEED: wavy(spot, hours=hours, end_s=now_s),
        TWAP: wavy(spot, hours=hours, end_s=now_s),
        SUSD: level(1.0),
        SeriesKey(Metric.FUNDING_APR, "ETH", "perp_v2"): wavy(0.05, hours=hours, end_s=now_s, size=0.2),
        SeriesKey(Metric.IV_7D, "ETH", "lyra"): level(0.55),
        SeriesKey(Metric.IV_30D, "ETH", "lyra"): level(0.60),
        SeriesKey(Metric.IV_90D, "ETH", "lyra"): level(0.65),
        SeriesKey(Metric.VOL_INDEX, "ETH", "lyra"): wavy(0.60, hours=hours, end_s=now_s, size=0.001),
    }
    return {SeriesKey(metric, POOL, "pool"): column for metric, column in pool.items()} | market


def set_last(column: Column, value: float, *, hours: int) -> Column:
    """Return the column with its last ``hours`` observations at ``value``."""
    values = column.values.copy()
    values[-hours:] = value
    return Column(times_s=column.times_s, values=values)


def stressed_columns(
    now_s: float = NOW_S, *, spot: float = SPOT, stressed_h: int = 3, hours: int = 40 * 24
) -> dict[SeriesKey, Column]:
    """Return columns whose last hours are a bank run: liquidity gone, vol front-loaded, funding out."""
    columns = calm_columns(now_s, spot=spot, hours=hours)
    changes = {
        SeriesKey(Metric.POOL_LIQUIDITY, POOL, "pool"): 0.7e6,
        SeriesKey(Metric.POOL_QUOTE_USD, POOL, "pool"): 3.5e6,
        SeriesKey(Metric.POOL_QUOTE_NEAR_USD, POOL, "pool"): 0.5e3,
        SeriesKey(Metric.POOL_DEPTH_USD, POOL, "pool"): 1e4,
        SeriesKey(Metric.FUNDING_APR, "ETH", "perp_v2"): -0.8,
        SeriesKey(Metric.IV_7D, "ETH", "lyra"): 1.2,
    }
    for key, value in changes.items():
        columns[key] = set_last(columns[key], value, hours=stressed_h)
    return columns


def exposure(value_usd: float = 1e6, *, spot: float = SPOT, **changes: Any) -> Exposure:
    liquidity = lp.liquidity_for_value(value_usd, spot)
    base = Exposure(
        id="v2:1",
        kind=ExposureKind.UNISWAP_V2,
        protocol="uniswap-v2",
        chain_id=31337,
        pool=POOL,
        underlying="ETH",
        stable="USDC",
        shape=lp_shape(liquidity),
        spot_usd=spot,
        value_usd=value_usd,
    )
    return replace(base, **changes)


def lp_shape(liquidity: float, lower_usd: float = 0.0, upper_usd: float = math.inf) -> Any:
    from bot.model.exposure import LpShape

    return LpShape(liquidity=liquidity, lower_usd=lower_usd, upper_usd=upper_usd)


def option(
    strike: float, days: float, *, now_s: float = NOW_S, kind: OptionType = OptionType.PUT
) -> Instrument:
    return Instrument(
        venue="paper",
        id=f"{kind}:{strike:g}:{now_s + days * DAY_S:.0f}",
        underlying="ETH",
        option_type=kind,
        strike_usd=strike,
        expiry_s=int(now_s + days * DAY_S),
        settlement="sUSD",
    )


def quote(
    instrument: Instrument,
    *,
    now_s: float = NOW_S,
    spot: float = SPOT,
    iv: float = 0.8,
    spread: float = 0.12,
    size: float = 10.0,
    **changes: Any,
) -> Quote:
    is_put, years = instrument.option_type is OptionType.PUT, instrument.dte(now_s) / 365.0
    model = float(price(spot, instrument.strike_usd, years, iv, is_put=is_put)) * size
    base = Quote(
        instrument=instrument,
        size=size,
        premium_usd=model * (1.0 + spread),
        fee_usd=0.02 * model,
        gas_usd=2.0,
        swap_usd=0.001 * model,
        iv=iv,
        delta=float(delta(spot, instrument.strike_usd, years, iv, is_put=is_put)),
        model_usd=model,
        min_size=0.01,
        lot=0.01,
        liquidity=10_000.0,
        valid_until_s=now_s + 600.0,
        block_number=1,
    )
    return replace(base, **changes)


EXPIRY_DAYS = (5.0, 30.0, 75.0)
MONEYNESS = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.94, 0.97, 1.0, 1.03, 1.06, 1.1, 1.2, 1.3, 1.5, 1.8)


def board(
    *,
    now_s: float = NOW_S,
    spot: float = SPOT,
    iv: float = 0.8,
    days: Sequence[float] = EXPIRY_DAYS,
    **changes: Any,
) -> tuple[Quote, ...]:
    """Return puts and calls at every expiry and strike of a small board."""
    return tuple(
        quote(
            option(round(SPOT * part, 0), day, now_s=now_s, kind=kind),
            now_s=now_s,
            spot=spot,
            iv=iv,
            **changes,
        )
        for day in days
        for part in MONEYNESS
        for kind in OptionType
    )


def listed(
    expiries_s: Sequence[int], *, now_s: float, spot: float, iv: float = 0.8, **changes: Any
) -> tuple[Quote, ...]:
    """Return a board at absolute expiries, for walks over time."""
    days = [(expiry - now_s) / DAY_S for expiry in expiries_s if expiry - now_s > 12 * HOUR_S]
    return board(now_s=now_s, spot=spot, iv=iv, days=days, **changes)


def held(
    instrument: Instrument,
    layer: Layer,
    size: float,
    *,
    now_s: float = NOW_S,
    spot: float = SPOT,
    iv: float = 0.8,
    salvage: float = 0.8,
    age_s: float = 3 * DAY_S,
    **changes: Any,
) -> HeldHedge:
    is_put, years = instrument.option_type is OptionType.PUT, instrument.dte(now_s) / 365.0
    model = float(price(spot, instrument.strike_usd, years, iv, is_put=is_put)) * size
    base = HeldHedge(
        id=f"pos:{instrument.id}",
        instrument=instrument,
        layer=layer,
        size=size,
        cost_usd=model * 1.1,
        opened_at_s=now_s - age_s,
        iv=iv,
        model_usd=model,
        liquidation_usd=model * salvage,
        group=GROUP,
    )
    return replace(base, **changes)


def block(number: int, timestamp_s: float) -> Block:
    return Block(
        chain_id=31337,
        number=number,
        hash=f"0x{number:064x}",
        parent_hash="0x0",
        timestamp_s=int(timestamp_s),
    )


def frame(
    columns: Mapping[SeriesKey, Column] | None = None, *, now_s: float = NOW_S, **changes: Any
) -> Frame:
    values: dict[str, Any] = {
        "now_s": now_s,
        "blocks": {},
        "columns": Columns(series=columns if columns is not None else calm_columns(now_s)),
        "exposures": (exposure(),),
        **changes,
    }
    return Frame(**({"quotes": board(now_s=now_s)} | values if "quotes" not in values else values))


def reading(signal: str, score: float, **changes: Any) -> Reading:
    """Return a live reading of a signal for the pool or the market, as its family has it."""
    known = SIGNALS.get(signal)
    family = known.family if known else Family.FUNDAMENTAL
    base = Reading(
        signal=signal,
        name=known.name if known else signal,
        subject=POOL if family is Family.ONCHAIN else "ETH",
        family=family,
        value=score,
        unit="fraction",
        score=score,
        quality=Quality.LIVE,
        because="made up",
        source="test",
    )
    return replace(base, **changes)


def context(
    policy: Policy,
    readings: Sequence[Reading] = (),
    *,
    state: GroupState | None = None,
    at: Frame | None = None,
) -> TierContext:
    state = state or GroupState()
    return TierContext(
        group=GROUP,
        underlying="ETH",
        stable="USDC",
        state=state,
        frame=at or frame(quotes=()),
        readings=tuple(readings),
        votes=family_votes(policy, state, readings),
    )


def fill(leg: Any, now_s: float, *, gas_usd: float = 2.0) -> LegOutcome:
    return LegOutcome(
        leg=leg,
        status=LegStatus.FILLED,
        at_s=now_s,
        filled_size=leg.size,
        premium_usd=leg.expected_usd,
        gas_usd=gas_usd,
        position_id=leg.position_id or leg.key,
    )


def spend(at_s: float, usd: float, *, kind: SpendKind = SpendKind.PREMIUM) -> Spend:
    return Spend(at_s=at_s, usd=usd, kind=kind, leg_key="x", layer=Layer.TAIL)


def buys(decision: Any) -> dict[Layer, float]:
    return {leg.layer: leg.size for leg in decision.plan.legs if leg.side is Side.BUY}
