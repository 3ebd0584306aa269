"""``scripts/campaign sweep``: a sweep on two Ray nodes of which one is killed half way gives the same table.

The same ``alvh sweep`` runs twice over made-up history, each with a results file of its own: in local
processes, and on a Ray cluster of two nodes on this machine. When half of its cells are on disk one node dies
as by kill -9. What both write with --json must be the same bytes.
"""

import csv
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bot.model.units import DAY_S, HOUR_S

_ALVH = "import sys; from bot.cli import main; main(sys.argv[1:])"
_START_S = int(datetime(2022, 1, 1, tzinfo=UTC).timestamp())
_LOOKBACK_D = 60
_WINDOW_D, _APART_D = 2, 30
_DEADLINE_S = 1_800.0  # of one sweep
_POLL_S = 0.05


def sweep_on_ray(*, cells: int, windows: int) -> int:
    """Return 0 when both sweeps say the same, and the node was killed between its first and last result."""
    with tempfile.TemporaryDirectory(prefix="alvh-sweep-campaign-") as name:
        folder = Path(name)
        _write_history(folder, windows=windows)
        began_s = time.perf_counter()
        local = _start(folder, "local", cells, "--processes", "2")
        code = local.wait(_DEADLINE_S)
        print(
            f"local processes: {_lines(folder / 'local.jsonl')} policies, {_taken(began_s)}, exit {code}",
            flush=True,
        )
        return code or _on_two_nodes(folder, cells)


def _on_two_nodes(folder: Path, cells: int) -> int:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        began_s, half = time.perf_counter(), (cells + 1) // 2
        running = _start(folder, "ray", cells, "--ray", cluster.address)
        killed_at = _wait_for(folder / "ray.jsonl", half, running)
        cluster.remove_node(second, allow_graceful=False)
        print(f"one of two nodes killed with {killed_at} of {cells + 1} policies done", flush=True)
        code = running.wait(_DEADLINE_S)
        done = _lines(folder / "ray.jsonl")
        print(f"Ray: {done} policies, {_taken(began_s)}, exit {code}", flush=True)
    finally:
        cluster.shutdown()
    same = code == 0 and (folder / "ray.json").read_bytes() == (folder / "local.json").read_bytes()
    in_time = half <= killed_at < done
    print(f"tables {'the same' if same else 'DIFFER'}; killed {'half way' if in_time else 'TOO LATE'}")
    return 0 if same and in_time else 1


def _start(folder: Path, name: str, cells: int, *more: str) -> "subprocess.Popen[bytes]":
    shares = ",".join(f"{20.0 + 15.0 * at / cells:.4g}%" for at in range(cells))
    given = {
        "--data": str(folder),
        "--windows": str(folder / "windows.csv"),
        "--exposure": "v2:ETH/USDC:1000000",
        "--set": f"near.delta_share.ELEVATED={shares}",
        "--lead": "1",
        "--folds": "4",
        "--results": str(folder / f"{name}.jsonl"),
        "--json": str(folder / f"{name}.json"),
    }
    words = [word for option in given.items() for word in option]
    return subprocess.Popen([sys.executable, "-c", _ALVH, "sweep", *words, *more], stdout=subprocess.DEVNULL)


def _wait_for(path: Path, lines: int, running: "subprocess.Popen[bytes]") -> int:
    """Return how many results there are once there are so many, or the sweep has ended."""
    until_s = time.monotonic() + _DEADLINE_S
    while _lines(path) < lines and running.poll() is None and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    return _lines(path)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _taken(since_s: float) -> str:
    return f"{time.perf_counter() - since_s:.1f} s"


def _write_history(folder: Path, *, windows: int) -> None:
    """Write hourly spot and DVOL with a crash in each window, 8-hourly funding, and the windows."""
    starts = [_LOOKBACK_D + at * _APART_D for at in range(windows)]
    times_s = np.arange(_START_S, _START_S + (starts[-1] + _APART_D) * DAY_S, HOUR_S)
    day = (times_s - _START_S) / DAY_S
    random = np.random.default_rng(6)
    fall = sum(0.25 * np.clip(day - start, 0.0, 1.0) * (day < start + _APART_D / 2) for start in starts)
    price = 3_000.0 * np.exp(np.cumsum(0.004 * random.standard_normal(times_s.size))) * (1.0 - fall)
    dvol = 65.0 + 200.0 * fall + random.standard_normal(times_s.size)
    stamps = [_stamp(at_s) for at_s in times_s.tolist()]
    rows = list(zip(stamps, price.round(2).tolist(), dvol.round(2).tolist(), strict=True))
    spot = [(ts, p, p, p, p, 10.0, "made-up") for ts, p, _ in rows]
    _write(folder / "eth_usdt_spot_1h_binance.csv.gz", "ts,open,high,low,close,volume,src", spot)
    index = [(ts, vol, vol, vol, vol) for ts, _, vol in rows]
    _write(folder / "btc_dvol_1h_deribit.csv.gz", "ts,open,high,low,close", index)
    funding = [(ts, "binance", asset, 1e-4) for ts, _, _ in rows[::8] for asset in ("BTC", "ETH")]
    _write(folder / "perp_funding_multi.csv.gz", "ts,exchange,asset,rate", funding)
    lines = [f"crash_{at},{_day(start)},{_day(start + _WINDOW_D)},crisis" for at, start in enumerate(starts)]
    (folder / "windows.csv").write_text("\n".join(["id,start_utc,end_utc_exclusive,kind", *lines]) + "\n")


def _stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(number: int) -> str:
    return _stamp(_START_S + number * DAY_S)[:10]


def _write(path: Path, header: str, rows: Sequence[Sequence[object]]) -> None:
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)
