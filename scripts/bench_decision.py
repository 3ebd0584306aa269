"""``scripts/bench decision``: pure CPU, on a frame like the demo's and on a wide one."""

import math
from dataclasses import replace

import numpy as np
from bench_timers import Figures, median_ms

from bot.engine.group import group_names, read_group
from bot.engine.policy import Policy
from bot.engine.step import decide
from bot.engine.tier_step import decide_tier
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.hedge import HeldHedge, Instrument, Layer, OptionType, Quote
from bot.model.market import Block, Column, Columns, Frame, Metric, SeriesKey
from bot.model.record import EngineState, GroupState
from bot.model.units import DAY_S, HOUR_S
from bot.quant import lp, options
from bot.settings import PolicySettings, load_policy
from bot.signals import read_signals

_NOW_S = 1_700_006_400.0  # 2023-11-15T00:00:00Z
_SPOT = 2_000.0
_DAYS = 35
_ROUNDS = 11
_WIDE_QUOTES, _WIDE_DAYS = 300, 90
_WIDE_EXPIRIES = (2.0, 5.0, 7.0, 17.0, 24.0, 30.0, 45.0, 62.0, 75.0, 90.0)
_KINDS = (ExposureKind.UNISWAP_V2, ExposureKind.UNISWAP_V3)


def made_up_frame(days: int = _DAYS) -> Frame:
    """Return a frame like the demo's: 54 quotes, two exposures, three hedges held, every metric hourly."""
    group = "ETH/USDC"
    exposures = (_exposure("v2:1", ExposureKind.UNISWAP_V2), _exposure("v3:1", ExposureKind.UNISWAP_V3))
    board = [(days_left, part) for days_left in (5.0, 30.0, 75.0) for part in _MONEYNESS]
    quotes = tuple(_quote(_put(part * _SPOT, days_left), size=60.0) for days_left, part in board)
    held = tuple(
        _held(_put(part * _SPOT, days_left), layer, group)
        for layer, days_left, part in (
            (Layer.NEAR, 5.0, 0.97),
            (Layer.MID, 30.0, 0.88),
            (Layer.TAIL, 75.0, 0.7),
        )
    )
    return Frame(
        now_s=_NOW_S,
        blocks={
            31337: Block(chain_id=31337, number=7, hash="0x7", parent_hash="0x6", timestamp_s=int(_NOW_S))
        },
        columns=Columns(series=_columns(days)),
        exposures=exposures,
        held=held,
        quotes=quotes,
    )


_MONEYNESS = tuple(np.linspace(0.55, 1.06, 18).round(2).tolist())


def wide_frame(exposures: int, *, quotes: int = _WIDE_QUOTES, days: int = _WIDE_DAYS) -> Frame:
    """Return a frame of many positions in four groups of two underlyings, quotes on a dozen expiries."""
    made = made_up_frame(days)
    series = dict(made.columns.series)
    for key, column in made.columns.series.items():
        if key.subject == "ETH" or key.subject.endswith(":ETH/USDC"):
            name = key.subject.replace("ETH", "BTC")
            series[SeriesKey(key.metric, name, key.source.replace("ETH", "BTC"))] = column
    places = [(underlying, stable) for underlying in ("ETH", "BTC") for stable in ("USDC", "DAI")]
    held = (_exposure(f"v{2 + number % 2}:{number}", _KINDS[number % 2]) for number in range(exposures))
    puts = (
        _put(_SPOT * part, days_left, underlying=underlying)
        for underlying in ("ETH", "BTC")
        for days_left in _WIDE_EXPIRIES
        for part in np.linspace(0.5, 1.1, quotes // (2 * len(_WIDE_EXPIRIES)))
    )
    return replace(
        made,
        columns=Columns(series=series),
        exposures=tuple(
            replace(
                item,
                underlying=places[number // 2 % 4][0],
                stable=places[number // 2 % 4][1],
                pool=f"{item.id[:2]}:{places[number // 2 % 4][0]}/USDC",
            )
            for number, item in enumerate(held)
        ),
        quotes=tuple(_quote(put, size=60.0) for put in puts),
    )


def _columns(days: int) -> dict[SeriesKey, Column]:
    random = np.random.default_rng(1)
    hours = days * 24
    times_s = _NOW_S - 1.0 - HOUR_S * np.arange(hours - 1, -1, -1, dtype=np.float64)

    def noisy(level: float, size: float) -> Column:
        return Column(times_s=times_s, values=level * (1.0 + size * random.standard_normal(hours)))

    walk = np.exp(np.cumsum(0.006 * random.standard_normal(hours)))
    price = Column(times_s=times_s, values=_SPOT * walk / walk[-1])
    series = {
        SeriesKey(Metric.PRICE_USD, "ETH", source): price
        for source in ("chainlink:ETH/USD", "twap:v3:ETH/USDC")
    }
    series[SeriesKey(Metric.PRICE_USD, "sUSD", "pool")] = noisy(1.0, 1e-4)
    for pool in ("v2:ETH/USDC", "v3:ETH/USDC"):
        series[SeriesKey(Metric.POOL_PRICE_USD, pool, "pool")] = price
        for metric, level in (
            (Metric.POOL_LIQUIDITY, 1e6),
            (Metric.POOL_QUOTE_USD, 5e6),
            (Metric.POOL_QUOTE_NEAR_USD, 2e6),
            (Metric.POOL_DEPTH_USD, 1e5),
        ):
            series[SeriesKey(metric, pool, "pool")] = noisy(level, 1e-3)
    series[SeriesKey(Metric.FUNDING_APR, "ETH", "perp_v2")] = noisy(0.05, 0.3)
    for metric, vol in (
        (Metric.IV_7D, 0.6),
        (Metric.IV_30D, 0.62),
        (Metric.IV_90D, 0.64),
        (Metric.VOL_INDEX, 0.62),
    ):
        series[SeriesKey(metric, "ETH", "lyra")] = noisy(vol, 0.01)
    return series


def _exposure(name: str, kind: ExposureKind) -> Exposure:
    lower, upper = (0.0, math.inf) if kind is ExposureKind.UNISWAP_V2 else (0.8 * _SPOT, 1.25 * _SPOT)
    liquidity = lp.liquidity_for_value(500_000.0, _SPOT, lower, upper)
    return Exposure(
        id=name,
        kind=kind,
        protocol=kind.value,
        chain_id=31337,
        pool=f"{name[:2]}:ETH/USDC",
        underlying="ETH",
        stable="USDC",
        shape=LpShape(liquidity=float(liquidity), lower_usd=lower, upper_usd=upper),
        spot_usd=_SPOT,
        value_usd=500_000.0,
    )


def _put(strike_usd: float, days_left: float, *, underlying: str = "ETH") -> Instrument:
    return Instrument(
        venue="lyra",
        id=f"strike:{underlying}:{strike_usd:.0f}:{days_left:.0f}",
        underlying=underlying,
        option_type=OptionType.PUT,
        strike_usd=strike_usd,
        expiry_s=int(_NOW_S + days_left * DAY_S),
        settlement="sUSD",
    )


def _quote(instrument: Instrument, *, size: float, iv: float = 0.7) -> Quote:
    years = instrument.dte(_NOW_S) / 365.0
    model = float(options.price(_SPOT, instrument.strike_usd, years, iv, is_put=True)) * size
    return Quote(
        instrument=instrument,
        size=size,
        premium_usd=1.12 * model,
        fee_usd=0.02 * model,
        gas_usd=2.0,
        swap_usd=0.001 * model,
        iv=iv,
        delta=float(options.delta(_SPOT, instrument.strike_usd, years, iv, is_put=True)),
        model_usd=model,
        min_size=0.01,
        lot=0.01,
        liquidity=10_000.0,
        valid_until_s=_NOW_S + 600.0,
        block_number=7,
    )


def _held(instrument: Instrument, layer: Layer, group: str) -> HeldHedge:
    mark = _quote(instrument, size=10.0)
    return HeldHedge(
        id=f"position:{layer}",
        instrument=instrument,
        layer=layer,
        size=mark.size,
        cost_usd=mark.premium_usd,
        opened_at_s=_NOW_S - 3 * DAY_S,
        iv=mark.iv,
        model_usd=mark.model_usd,
        liquidation_usd=0.85 * mark.model_usd,
        group=group,
    )


async def bench_decision() -> Figures:
    """One decision as the loop makes it, the first one after a start, and the signals alone.

    Growth is the time on ten times the history over that now.
    """
    policy = load_policy(PolicySettings())
    first, frame, long = made_up_frame(), remembering(made_up_frame()), made_up_frame(10 * _DAYS)
    p50, p95 = median_ms(lambda: decide(policy, EngineState(), frame), rounds=60)
    first_p50, _ = median_ms(lambda: decide(policy, EngineState(), first), rounds=60)
    signals, _ = median_ms(lambda: _signals(policy, frame), rounds=60)
    ratios = []
    for _ in range(_ROUNDS):
        short_ms, _ = median_ms(lambda: decide(policy, EngineState(), first), rounds=3, warm=0)
        long_ms, _ = median_ms(lambda: decide(policy, EngineState(), long), rounds=3, warm=0)
        ratios.append(long_ms / short_ms)
    return {
        "decision_ms_p50": p50,
        "decision_ms_p95": p95,
        "decision_first_ms_p50": first_p50,
        "signals_ms_p50": signals,
        "decision_growth_10x_history": float(np.median(ratios)),
        **_wide_figures(policy),
    }


def _wide_figures(policy: Policy) -> Figures:
    """Time whole decisions on 5, 50 and 500 exposures, and R1-R6 alone for one group."""
    taken = {}
    for count in (5, 50, 500):
        frame = remembering(wide_frame(count))
        taken[count], _ = median_ms(lambda frame=frame: decide(policy, EngineState(), frame), rounds=_ROUNDS)
    fresh = wide_frame(50)
    first, _ = median_ms(lambda: decide(policy, EngineState(), fresh), rounds=_ROUNDS)
    return {
        "decision_ms_5x300": taken[5],
        "decision_ms_50x300": taken[50],
        "decision_ms_500x300": taken[500],
        "decision_first_ms_50x300": first,
        "decision_growth_5_to_50_exposures": taken[50] / taken[5],
        "decision_growth_50_to_500_exposures": taken[500] / taken[50],
        "step_us": _step_us(policy, remembering(wide_frame(50))),
    }


def _step_us(policy: Policy, frame: Frame) -> float:
    """Return what it takes from a group's readings to its tier."""
    readings = tuple(read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals))
    group = read_group(policy, frame, group_names(frame)[0])
    taken, _ = median_ms(
        lambda: decide_tier(policy, GroupState(), frame, group, readings, holds=()), rounds=200
    )
    return 1e3 * taken


def remembering(frame: Frame) -> Frame:
    """Return the frame as the history cuts it: what rests on closed bars is worked out once a bar."""
    series = {key: replace(column, memo={}) for key, column in frame.columns.series.items()}
    return replace(frame, columns=Columns(series=series))


def _signals(policy: Policy, frame: Frame) -> object:
    return read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals)
