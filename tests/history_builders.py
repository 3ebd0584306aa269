"""A small made-up data folder: 60 days of hourly history with one crash."""

import csv
import gzip
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HOUR_S = 3_600
START_S = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())
HOURS = 60 * 24


def stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def price_at(hour: int) -> float:
    """Around 3 000 with a 30 % fall over two days from day 40, then flat."""
    fall = min(max(hour - 40 * 24, 0) / 48.0, 1.0)
    return round(
        (3_000.0 + 40.0 * math.sin(hour / 9.0) + 25.0 * math.sin(hour / 31.0)) * (1.0 - 0.3 * fall), 2
    )


def dvol_at(hour: int) -> float:
    """60 in calm, 120 in the crash, easing with a ten-day constant."""
    since = (hour - 40 * 24) / 24.0
    return round(
        60.0 + 0.3 * math.sin(hour / 7.0) + (60.0 * math.exp(-since / 10.0) if since >= 0 else 0.0), 2
    )


@dataclass
class DataFolder:
    """Writes history files; rows can be dropped or replaced before."""

    path: Path
    start_s: int = START_S
    hours: int = HOURS
    dropped: dict[str, set[int]] = field(default_factory=dict)  # file -> row numbers

    def write_all(self) -> "DataFolder":
        hours = range(self.hours)
        self.write_prices("eth")
        dvol = [(stamp(self.start_s + h * HOUR_S), *[dvol_at(h)] * 4) for h in hours]
        self.write("btc_dvol_1h_deribit", ("ts", "open", "high", "low", "close"), dvol)
        funding = [
            (stamp(self.start_s + h * HOUR_S), exchange, asset, 1e-4 if asset == "ETH" else 2e-4)
            for h in hours[::8]
            for exchange in ("binance", "bybit")
            for asset in ("BTC", "ETH")
        ]
        self.write("perp_funding_multi", ("ts", "exchange", "asset", "rate"), funding)
        pool = [
            (stamp(self.start_s + h * HOUR_S), 14_000_000 + 280 * h, h % 3 - 1, 5 * 10**17 + h * 10**12)
            for h in hours
        ]
        self.write("uniswapv3_usdc_usdt_1h", ("ts", "block", "tick", "liquidity"), pool)
        return self

    def write_prices(self, asset: str) -> None:
        spot = [(stamp(self.start_s + h * HOUR_S), *[price_at(h)] * 4, 10.0, "te") for h in range(self.hours)]
        columns = ("ts", "open", "high", "low", "close", "volume", "src")
        self.write(f"{asset}_usdt_spot_1h_binance", columns, spot)

    def write(self, name: str, columns: tuple[str, ...], rows: list[tuple]) -> None:
        kept = [row for i, row in enumerate(rows) if i not in self.dropped.get(name, set())]
        with gzip.open(self.path / f"{name}.csv.gz", "wt", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(kept)

    def lines(self, name: str) -> list[str]:
        return gzip.decompress((self.path / f"{name}.csv.gz").read_bytes()).decode().splitlines()

    def rewrite(self, name: str, lines: list[str]) -> None:
        (self.path / f"{name}.csv.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))

    def remove(self, name: str) -> None:
        (self.path / f"{name}.csv.gz").unlink()
