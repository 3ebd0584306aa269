"""Measures the program: ``scripts/bench [AREA ...] --json FILE``.

Every figure is a median, or the percentile that its name says, of rounds in this one run; a ratio is the
median of the ratios of interleaved rounds, so that both sides saw the same machine.
"""

import argparse
import asyncio
import csv
import gzip
import json
import math
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from bench_functions import abi_functions
from bench_polling import bench_polling
from bench_reaction import bench_reaction

from bot.app.live import Bot, open_bot
from bot.app.parts import lyra_venue
from bot.devnet.config import PASSWORD, write_config
from bot.devnet.node import Devnet, start_devnet
from bot.devnet.packages import fetch
from bot.engine.policy import Policy
from bot.engine.step import decide
from bot.errors import BotError, InvariantError
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.hedge import HeldHedge, Instrument, Layer, OptionType, Quote
from bot.model.market import Block, Column, Columns, Frame, Metric, SeriesKey
from bot.model.record import EngineState
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.history import History
from bot.pipeline.loop import quote_sizes, view_of
from bot.ports import Call, ChainReader
from bot.quant import lp, options
from bot.settings import PolicySettings, cache_dir, load_policy, load_settings
from bot.signals import read_signals
from bot.simulation.backtest import run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.market_model import load_market
from bot.simulation.tables import load_history

Figures = dict[str, float]

_NOW_S = 1_700_006_400.0  # 2023-11-15T00:00:00Z
_SPOT = 2_000.0
_DAYS = 35
_ROUNDS = 11
_BACKTEST_DAYS = 30


def median_ms(work: Callable[[], object], *, rounds: int, warm: int = 3) -> tuple[float, float]:
    """Return (median, 95th percentile) in ms."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e3, float(np.percentile(taken, 95)) * 1e3


async def timed_s(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


# decision: pure CPU


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


def _put(strike_usd: float, days_left: float) -> Instrument:
    return Instrument(
        venue="lyra",
        id=f"strike:{strike_usd:.0f}:{days_left:.0f}",
        underlying="ETH",
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
    """One decision, and its signals alone; growth is the time on ten times the history over that now."""
    policy = load_policy(PolicySettings())
    frame, long = made_up_frame(), made_up_frame(10 * _DAYS)
    p50, p95 = median_ms(lambda: decide(policy, EngineState(), frame), rounds=60)
    signals, _ = median_ms(lambda: _signals(policy, frame), rounds=60)
    ratios = []
    for _ in range(_ROUNDS):
        short_ms, _ = median_ms(lambda: decide(policy, EngineState(), frame), rounds=3, warm=0)
        long_ms, _ = median_ms(lambda: decide(policy, EngineState(), long), rounds=3, warm=0)
        ratios.append(long_ms / short_ms)
    return {
        "decision_ms_p50": p50,
        "decision_ms_p95": p95,
        "signals_ms_p50": signals,
        "decision_growth_10x_history": float(np.median(ratios)),
    }


def _signals(policy: Policy, frame: Frame) -> object:
    return read_signals(frame.columns, now_s=frame.now_s, policy=policy.signals)


# devnet: real contracts on a local anvil


@dataclass(slots=True)
class Recording:
    """A chain reader that keeps the view calls it is asked for."""

    inner: ChainReader
    calls: list[Call] = field(default_factory=list)

    async def run_lens(self, _lens: object, _data: bytes, *, block: Block) -> None:
        """No lens here: what it would answer is asked call by call, and so recorded."""

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        self.calls.extend(calls)
        return await self.inner.read(calls, block=block)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def bench_devnet() -> Figures:
    """First and second start, one frame (all watchers and positions at one block), quotes, and web3.py."""
    with tempfile.TemporaryDirectory(prefix="alvh-bench-") as name:
        scratch = Path(name)
        fetch(cache_dir())  # downloads are not what is measured
        (scratch / "cache").mkdir()
        (scratch / "cache" / "packages").symlink_to(cache_dir() / "packages", target_is_directory=True)
        starts = [await _start_s(scratch / "cache") for _ in range(1 + 5)]
        async with await start_devnet(scratch / "cache") as devnet:
            config = write_config(devnet.deployment, rpc_url=devnet.rpc_url, directory=scratch / "home")
            settings = load_settings(config)
            async with open_bot(settings, mode="monitor", password=PASSWORD) as bot:
                reads = await _frame_figures(bot, devnet)
                quotes = await _quotes_ms(bot, settings)
    return {
        "devnet_first_start_s": starts[0],
        "devnet_second_start_s": float(np.median(starts[1:])),
        **reads,
        "quotes_ms_p50": quotes,
    }


async def _start_s(cache: Path) -> float:
    started = time.perf_counter()
    devnet = await start_devnet(cache)
    taken = time.perf_counter() - started
    devnet.stop()
    return taken


async def _frame_figures(bot: Bot, devnet: Devnet) -> Figures:
    """Compare a frame with the same view calls made one by one through web3.py contracts."""
    head = await bot.reader.head()
    now_s = float(head.timestamp_s)

    async def frame() -> object:
        source = replace(bot.source, history=History())
        return await source.cut(head, now_s=now_s)

    await frame()  # what watchers ask for once is not part of a frame
    recording = Recording(bot.reader)
    await replace(bot.source, chain=recording, history=History()).cut(head, now_s=now_s)
    peers = web3_calls(devnet.rpc_url, recording.calls, block_hash=head.hash)
    check_same(await bot.reader.read(recording.calls, block=head), [call() for call in peers])
    ours, ratios = [], []
    for _ in range(_ROUNDS + 1):
        taken = await timed_s(frame)
        started = time.perf_counter()
        for call in peers:
            call()
        ours.append(taken)
        ratios.append((time.perf_counter() - started) / taken)
    return {
        "frame_ms_p50": float(np.median(ours[1:])) * 1e3,
        "frame_calls": float(len(peers)),
        "web3_over_ours_frame": float(np.median(ratios[1:])),
    }


def web3_calls(url: str, calls: Sequence[Call], *, block_hash: str) -> list[Callable[[], Any]]:
    """Return each view call as web3.py's ``contract.functions.name(*args).call()``; None where it reverts."""
    from web3 import HTTPProvider, Web3
    from web3.exceptions import BadFunctionCallOutput, ContractLogicError

    node = Web3(HTTPProvider(url))
    functions = abi_functions()

    def bound(call: Call) -> Callable[[], Any]:
        entry, arguments = functions[call.data[:4], call.outputs], call.data[4:]
        types = [item["type"] for item in entry["inputs"]]
        given = [
            Web3.to_checksum_address(value) if kind == "address" else value
            for kind, value in zip(types, node.codec.decode(types, arguments), strict=True)
        ]
        contract = node.eth.contract(address=Web3.to_checksum_address(call.target), abi=[entry])
        function = contract.get_function_by_name(entry["name"])(*given)

        def ask() -> Any:
            try:
                return function.call(block_identifier=block_hash)
            except (ContractLogicError, BadFunctionCallOutput):
                return None

        return ask

    return [bound(call) for call in calls]


def check_same(ours: Sequence[Any], peers: Sequence[Any]) -> None:
    """A comparison of speed counts only where both read the same."""
    for mine, other in zip(ours, peers, strict=True):
        if mine is None or other is None:
            if mine is not other:
                raise InvariantError(f"we read {mine}, web3.py {other}")
        elif _flat(mine) != _flat(other if isinstance(other, list | tuple) else (other,)):
            raise InvariantError(f"we read {mine}, web3.py {other}")


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [item for part in value for item in _flat(part)]
    if isinstance(value, Mapping):
        return [item for part in value.values() for item in _flat(part)]
    return [value.lower() if isinstance(value, str) else value]


async def _quotes_ms(bot: Bot, settings: Any) -> float:
    """Time all listed options that the policy's layers could want, quoted at one block."""
    head = await bot.reader.head()
    moment = await bot.source.cut(head, now_s=float(head.timestamp_s))
    view = view_of(moment)
    venue = lyra_venue(settings, bot.reader, load_policy(settings.policy), transactor=None)
    if venue is None:
        raise InvariantError("the devnet's configuration has no venue")
    (underlying, size), *_ = quote_sizes(moment.exposures, view).items()
    taken = [
        await timed_s(lambda: venue.quotes(view, underlying=underlying, size=size))
        for _ in range(_ROUNDS + 1)
    ]
    return float(np.median(taken[1:])) * 1e3


# backtest: the loop on tables


async def bench_backtest() -> Figures:
    """Hours per second of the whole backtest (engine and every benchmark) on made-up history."""
    spec, policy, market = parse_exposure("v2:ETH/USDC:1000000"), load_policy(PolicySettings()), load_market()
    with tempfile.TemporaryDirectory(prefix="alvh-bench-") as name:
        hours = _write_history(Path(name), days=60 + _BACKTEST_DAYS)
        from_s = hours[60 * 24]
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


AREAS: dict[str, Callable[[], Awaitable[Figures]]] = {
    "decision": bench_decision,
    "devnet": bench_devnet,
    "backtest": bench_backtest,
    "polling": bench_polling,
    "reaction": bench_reaction,
}


def table(area: str, figures: Figures) -> str:
    """Return one area's figures as lines of at most 80 columns."""
    return "\n".join([area, *(f"  {name:<40} {value:>12,.3f}" for name, value in figures.items())])


async def measure(areas: Sequence[str]) -> Figures:
    found: Figures = {}
    for area in areas:
        figures = await AREAS[area]()
        print(table(area, figures), flush=True)
        found |= figures
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the program.")
    parser.add_argument(
        "areas", nargs="*", metavar="AREA", help=f"{', '.join(AREAS)}; all when none is named"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, flat, name to number")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.areas if name not in AREAS]:
        parser.error(f"no area named {unknown[0]!r}; there are {', '.join(AREAS)}")
    try:
        figures = asyncio.run(measure(given.areas or list(AREAS)))
        if given.json is not None:
            given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except (BotError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
