"""``scripts/bench backtest``: the loop on tables of made-up history."""

import csv
import gzip
import resource
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from bench_kernels import bench_kernels
from bench_timers import Figures

from bot.engine.policy import Policy
from bot.model.record import StepRecord
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.moments import Moment
from bot.settings import PolicySettings, load_policy
from bot.simulation.backtest import alvh_steps, cut_moments, run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.market.model import Market, load_market, with_implied_vols

_BACKTEST_DAYS = 30
_DECISION_DAYS = 365
_LOOK_BACK_DAYS = 60  # of files before the range


async def bench_backtest() -> Figures:
    """Return what the whole backtest, the engine alone and the kernels come to on made-up history."""
    return await _whole_backtest() | await _decisions() | bench_kernels()


async def _decisions() -> Figures:
    """Decisions a second over a year of hours by the loop itself, records kept whole, and what they hold.

    ``decisions_mb`` is what the process grew by: every record, with the history and what is remembered of it.
    """
    spec, policy, market = parse_exposure("v2:ETH/USDC:1000000"), load_policy(PolicySettings()), load_market()
    with tempfile.TemporaryDirectory(prefix="alvh-bench-") as name:
        hours = _write_history(Path(name), days=_LOOK_BACK_DAYS + _DECISION_DAYS)
        history = load_history(
            Path(name), spec=spec, from_s=hours[_LOOK_BACK_DAYS * 24], to_s=hours[-1] + HOUR_S - 1
        )
    moments = tuple(cut_moments(with_implied_vols(history, market), spec, fee_apr=market.fee_apr))
    await _steps(moments[:48], policy, market)  # loads what only some decisions need
    before_mb, started = _resident_mb(), time.perf_counter()
    records = await _steps(moments, policy, market)
    taken_s = time.perf_counter() - started
    return {
        "decisions": float(len(records)),
        "decisions_per_s": len(records) / taken_s,
        "decisions_mb": _resident_mb() - before_mb,
    }


async def _steps(moments: Sequence[Moment], policy: Policy, market: Market) -> list[StepRecord]:
    steps = alvh_steps(moments, policy, market, journal=MemoryJournal())
    return [step.record async for step in steps]


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


async def _whole_backtest() -> Figures:
    """Hours per second of the engine and every benchmark."""
    spec, policy, market = parse_exposure("v2:ETH/USDC:1000000"), load_policy(PolicySettings()), load_market()
    with tempfile.TemporaryDirectory(prefix="alvh-bench-") as name:
        hours = _write_history(Path(name), days=_LOOK_BACK_DAYS + _BACKTEST_DAYS)
        from_s = hours[_LOOK_BACK_DAYS * 24]
        to_s = from_s + _BACKTEST_DAYS * DAY_S - HOUR_S
        history = load_history(Path(name), spec=spec, from_s=from_s, to_s=to_s)
        rates = []
        for _ in range(3):
            started = time.perf_counter()
            result = await run_backtest(history, spec, policy, market)
            rates.append(result.times_s.size / (time.perf_counter() - started))
    return {"backtest_hours": float(result.times_s.size), "backtest_hours_per_s": float(np.median(rates))}


def _write_history(folder: Path, *, days: int) -> list[int]:
    """Write hourly spot and DVOL with one crash, and 8-hourly funding; return the hours."""
    start_s = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())
    hours = list(range(start_s, start_s + days * DAY_S, HOUR_S))
    random = np.random.default_rng(2)
    fall = np.clip((np.arange(len(hours)) - (days - 10) * 24) / 72.0, 0.0, 1.0)
    price = 3_000.0 * np.exp(np.cumsum(0.005 * random.standard_normal(len(hours)))) * (1.0 - 0.3 * fall)
    dvol = 65.0 + 50.0 * fall + random.standard_normal(len(hours))
    stamps = [datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at_s in hours]
    rows = list(zip(stamps, price.round(2).tolist(), dvol.round(2).tolist(), strict=True))
    spot = [(ts, p, p, p, p, 10.0, "made-up") for ts, p, _ in rows]
    _write_csv(folder, "eth_usdt_spot_1h_binance", "ts,open,high,low,close,volume,src", spot)
    _write_csv(
        folder, "btc_dvol_1h_deribit", "ts,open,high,low,close", [(ts, v, v, v, v) for ts, _, v in rows]
    )
    funding = [(ts, "binance", asset, 1e-4) for ts, _, _ in rows[::8] for asset in ("BTC", "ETH")]
    _write_csv(folder, "perp_funding_multi", "ts,exchange,asset,rate", funding)
    return hours


def _write_csv(folder: Path, name: str, header: str, rows: Sequence[Sequence[object]]) -> None:
    with gzip.open(folder / f"{name}.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)
