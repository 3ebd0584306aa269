"""A peer of ``scripts/bench backtest`` as a process: NAME PRICES.npy BARS. Runs in the peer's environment.

Prints one JSON line. Only the run itself is timed: data are in the peer's own form before the clock starts.
"""

import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

_START = "2022-01-01"
_NOTIONAL_USD = 125_000.0  # a quarter of the delta of 1 M USD


def run_vectorbt(prices: np.ndarray) -> Callable[[], object]:
    """The hedge leg alone: a short after a fall of a day, fees, then return and deepest fall."""
    import vectorbt

    close = pd.Series(prices, index=pd.date_range(_START, periods=prices.size, freq="min"))
    target = pd.Series(np.where(is_short(prices), -_NOTIONAL_USD, 0.0), index=close.index)

    def work() -> object:
        found = vectorbt.Portfolio.from_orders(
            close, size=target, size_type="targetvalue", fees=0.0015, init_cash=1e6, freq="1min"
        )
        return found.total_return(), found.max_drawdown()

    return work


def run_demeter(prices: np.ndarray) -> Callable[[], object]:
    """An LP position with fees that is opened anew around the price when it leaves its range."""
    import logging

    from demeter import Actuator, MarketInfo, Strategy, TokenInfo
    from demeter.uniswap import UniLpMarket, UniV3Pool

    logging.disable(logging.CRITICAL)
    usdc, eth, key = TokenInfo("usdc", 6), TokenInfo("eth", 18), MarketInfo("pool")
    market = UniLpMarket(key, UniV3Pool(usdc, eth, 0.05, usdc))
    index = pd.date_range(_START, periods=prices.size, freq="min")
    ticks = np.round(np.log(1e12 / prices) / np.log(1.0001)).astype(int)
    column = {"netAmount0": 0, "netAmount1": 0, "inAmount0": 10**10, "inAmount1": 4 * 10**18}
    data = pd.DataFrame(column | {"currentLiquidity": 2 * 10**19}, index=index)
    for name in ("closeTick", "openTick", "lowestTick", "highestTick"):
        data[name] = ticks
    market.add_statistic_column(data)
    market.data = data

    class Range(Strategy):
        def initialize(self) -> None:
            self.open(Decimal(prices[0]))

        def open(self, spot: Decimal) -> None:
            self.bounds = (spot * Decimal("0.8"), spot * Decimal("1.2"))
            place = self.broker.markets[key]
            place.even_rebalance(spot)
            place.add_liquidity(*self.bounds)

        def on_bar(self, snapshot: object) -> None:
            spot = Decimal(snapshot.prices["ETH"])  # type: ignore[attr-defined]
            if not self.bounds[0] < spot < self.bounds[1]:
                self.broker.markets[key].remove_all_liquidity()
                self.open(spot)

    def work() -> object:
        actuator = Actuator()
        actuator.broker.add_market(market)
        actuator.broker.set_balance(usdc, 500_000)
        actuator.broker.set_balance(eth, 200)
        actuator.strategy = Range()
        actuator.set_price(market.get_price_from_data())
        actuator.run(print_result=False)
        return actuator.final_status

    return work


def run_nautilus(prices: np.ndarray) -> Callable[[], object]:
    """The hedge leg alone, through the order book and accounts of a simulated exchange."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money, Quantity
    from nautilus_trader.persistence.wranglers import BarDataWrangler
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.ethusdt_perp_binance()
    kind = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    index = pd.date_range(_START, periods=prices.size, freq="min", tz="UTC")
    table = pd.DataFrame({name: prices for name in ("open", "high", "low", "close")}, index=index)
    bars = BarDataWrangler(kind, instrument).process(table.assign(volume=1e6))
    shorts = is_short(prices)

    class Hedge(Strategy):
        def on_start(self) -> None:
            self.seen = 0
            self.is_short = False
            self.subscribe_bars(kind)

        def on_bar(self, bar: Bar) -> None:  # noqa: ARG002 - the peer's signature
            wanted = bool(shorts[self.seen])
            self.seen += 1
            if wanted != self.is_short:
                side = OrderSide.SELL if wanted else OrderSide.BUY
                quantity = Quantity.from_str("50.000")
                self.submit_order(self.order_factory.market(instrument.id, side, quantity))
                self.is_short = wanted

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=Venue("BINANCE"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USDT,
        starting_balances=[Money(1_000_000, USDT)],
    )
    engine.add_instrument(instrument)
    engine.add_data(bars)
    engine.add_strategy(Hedge())
    return engine.run


def is_short(prices: np.ndarray) -> np.ndarray:
    """Return where the price stands 5 % or more under that of a day before."""
    before = np.concatenate([np.full(1_440, prices[0]), prices[:-1_440]])[: prices.size]
    return prices < 0.95 * before


def peak_mb() -> float:
    """Return the highest resident memory of this process; what ``getrusage`` says is also its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024.0


PEERS = {
    "vectorbt": ("vectorbt", run_vectorbt),
    "demeter": ("zelos-demeter", run_demeter),
    "nautilus": ("nautilus_trader", run_nautilus),
}


def main() -> None:
    name, path, bars = sys.argv[1], sys.argv[2], int(sys.argv[3])
    package, prepare = PEERS[name]
    work = prepare(np.load(path)[:bars])
    if name == "vectorbt":
        work()  # it compiles on first use
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    answer = {"bars": bars, "seconds": seconds, "peak_mb": peak_mb(), "version": version(package)}
    print(json.dumps(answer), flush=True)


main()
