"""Downloads from sources on this machine, into files that the backtest reads."""

import asyncio
import csv
import gzip
import json
import math
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from web_server import DAY_S, HOUR_S, Sources, dvol_at, html, in_turn, limited, price_at, raw, sources_at

from bot.app.backtest import backtest
from bot.app.download import Download, DownloadResult, download, parse_span
from bot.app.download_feeds import Hosts
from bot.app.download_files import HistoryFile, Row, only_writer
from bot.errors import ConfigError
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.watchers.web import client

NOW_S = datetime(2026, 11, 21, 12, 20, tzinfo=UTC).timestamp()
FROM_S = NOW_S - 60 * DAY_S - 20 * 60  # on the hour


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sources]:
    async with sources_at(NOW_S) as sources:
        yield sources


def hosts(served: Sources) -> Hosts:
    return Hosts(
        spot=served.url,
        perp=served.url,
        hyperliquid=served.url,
        dydx=f"{served.url}/v4",
        deribit=f"{served.url}/api/v2",
        defillama=served.url,
        bls=f"{served.url}/publicAPI",
    )


def plan(served: Sources, out: Path, **more: object) -> Download:
    fields: dict[str, object] = {"from_s": FROM_S, "to_s": NOW_S, "underlyings": ("ETH",)} | more
    return Download(out=out, hosts=hosts(served), **fields)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sources share one host here: give it a rate of its own."""
    monkeypatch.setattr(client, "_BURST", 10_000)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".csv.gz"))


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def named(result: DownloadResult) -> dict[str, int]:
    return {item.file: item.rows for item in result.files}


async def test_every_file_is_written_in_its_form(served: Sources, tmp_path: Path):
    shares: list[tuple[str, float]] = []
    result = await download(
        plan(served, tmp_path, protocols=("aave-v3",)),
        progress=lambda what, share: shares.append((what, share)),
    )
    assert result.complete, [item.trouble for item in result.files]
    assert set(named(result)) == {
        "eth_usdt_spot_1h_binance.csv.gz",
        "eth_usdt_perp_1h_binance.csv.gz",
        "perp_funding_multi.csv.gz",
        "eth_dvol_1h_deribit.csv.gz",
        "tvl_daily_defillama.csv.gz",
        "macro_prints_us.csv.gz",
        "macro_releases_us.csv.gz",
    }
    spot = rows_of(tmp_path / "eth_usdt_spot_1h_binance.csv.gz")
    assert spot[0] == ["ts", "open", "high", "low", "close", "volume", "src"]
    assert len(spot) - 1 == 60 * 24
    first_s = datetime.fromisoformat(spot[1][0]).timestamp()
    assert float(spot[1][4]) == price_at(first_s) + 1
    # The hour that has not ended is not in the file.
    assert spot[-1][0] == "2026-11-21T11:00:00Z"
    dvol = rows_of(tmp_path / "eth_dvol_1h_deribit.csv.gz")
    times = [datetime.fromisoformat(row[0]).timestamp() for row in dvol[1:]]
    assert {b - a for a, b in pairwise(times)} == {HOUR_S}  # no hole at a page's edge
    assert float(dvol[5][4]) == dvol_at(times[4])
    funding = rows_of(tmp_path / "perp_funding_multi.csv.gz")
    assert {(row[1], row[2]) for row in funding[1:]} == {
        ("binance", "ETH"),
        ("hyperliquid", "ETH"),
        ("dydx", "ETH"),
    }
    hourly = [row for row in funding if row[1] == "dydx"]
    assert len(hourly) == 60 * 24 + 1  # both ends are settlements
    assert next(row for row in funding if row[1] == "binance")[0].endswith("00:00Z")
    assert leftovers(tmp_path) == []
    for label in {what for what, _ in shares}:
        own = [share for what, share in shares if what == label]
        assert own == sorted(own)
        assert own[-1] == 1.0
    assert json.dumps(result.to_json())


async def test_the_backtest_reads_what_was_downloaded(served: Sources, tmp_path: Path):
    await download(
        plan(served, tmp_path, what=("prices", "perps", "funding", "dvol"), underlyings=("ETH", "BTC"))
    )
    spec = parse_exposure("v2:ETH/USDC:1000000")
    history = load_history(
        tmp_path, spec, from_s=NOW_S - 20 * DAY_S, to_s=NOW_S - DAY_S, lookback_s=30 * DAY_S
    )
    assert not history.gaps
    assert not any(item.bad_rows for item in history.found)
    used = {item.file for item in history.found if not item.note}
    assert used == {
        "eth_usdt_spot_1h_binance.csv.gz",
        "btc_usdt_spot_1h_binance.csv.gz",
        "btc_dvol_1h_deribit.csv.gz",
        "eth_usdt_perp_1h_binance.csv.gz",
        "perp_funding_multi.csv.gz",
    }
    result = await backtest(
        data=tmp_path,
        start="2026-11-10",
        end="2026-11-12",
        exposure="v2:ETH/USDC:1000000",
        policy="classic",
        market=None,
        report=None,
    )
    assert result.to_json()


async def test_a_later_call_goes_on_from_the_last_row(served: Sources, tmp_path: Path):
    half = plan(served, tmp_path, what=("prices",), to_s=NOW_S - 30 * DAY_S)
    await download(half)
    served.asked.clear()
    result = await download(plan(served, tmp_path, what=("prices",)))
    assert served.asked[0][1]["startTime"] >= str(int((NOW_S - 30 * DAY_S - 2 * HOUR_S) * 1e3))
    assert result.files[0].rows == 60 * 24
    served.asked.clear()
    again = await download(plan(served, tmp_path, what=("prices",)))
    assert again.files[0].added == 0
    assert len(served.asked) == 1  # is there an hour more?
    earlier = await download(plan(served, tmp_path, what=("prices",), from_s=FROM_S - 5 * DAY_S))
    assert earlier.files[0].added == 5 * 24


async def test_one_source_that_fails_is_named_and_the_others_go_on(served: Sources, tmp_path: Path):
    served.faults["/fapi/v1/*"] = raw("no", status=451)
    result = await download(plan(served, tmp_path, what=("prices", "perps", "funding")))
    assert not result.complete
    trouble = {item.file: item.trouble for item in result.files}
    assert trouble["eth_usdt_spot_1h_binance.csv.gz"] == ()
    assert "HTTP 451; it is closed to your region" in trouble["eth_usdt_perp_1h_binance.csv.gz"][0]
    (only,) = trouble["perp_funding_multi.csv.gz"]
    assert only.startswith("ETH funding of binance: ")
    funding = rows_of(tmp_path / "perp_funding_multi.csv.gz")
    assert {row[1] for row in funding[1:]} == {"hyperliquid", "dydx"}


@pytest.mark.parametrize(
    "fault", [limited("60"), html(), raw('[[1, "2"'), raw("[[1]]"), raw('{"code": -1121}')]
)
async def test_pages_that_came_before_a_fault_are_kept(served: Sources, tmp_path: Path, fault):
    def page(request, body):
        return server_json(served._klines("", request.query, None))

    served.faults["/api/v3/klines"] = in_turn(page, fault)
    result = await download(plan(served, tmp_path, what=("prices",)))
    assert result.files[0].rows == 1_000
    assert len(result.files[0].trouble) == 1
    del served.faults["/api/v3/klines"]
    result = await download(plan(served, tmp_path, what=("prices",)))
    assert result.complete
    assert result.files[0].added == 440


def server_json(value: object):
    from aiohttp import web as server

    return server.json_response(value)


async def test_ctrl_c_keeps_what_has_arrived(served: Sources, tmp_path: Path):
    reached = asyncio.Event()

    def page(request, body):
        reached.set()
        return server_json(served._klines("", request.query, None))

    served.faults["/api/v3/klines"] = in_turn(page, raw("", status=500))  # tried again for a while
    task = asyncio.create_task(download(plan(served, tmp_path, what=("prices", "dvol"))))
    await asyncio.wait_for(reached.wait(), 5)
    while not leftovers(tmp_path):  # noqa: ASYNC110 - a file tells
        await asyncio.sleep(0.01)
    task.cancel()
    result = await task
    assert result.interrupted
    assert [item.file for item in result.files] == ["eth_usdt_spot_1h_binance.csv.gz"]
    assert len(rows_of(tmp_path / "eth_usdt_spot_1h_binance.csv.gz")) == 1_001
    assert leftovers(tmp_path) == []


def test_a_real_ctrl_c_ends_in_a_result(tmp_path: Path):
    async def interrupted_run() -> DownloadResult:
        async with sources_at(NOW_S) as served:

            def last(request, body):
                os.kill(os.getpid(), signal.SIGINT)
                return raw("", status=500)(request, body)

            served.faults["/api/v3/klines"] = in_turn(
                lambda request, _body: server_json(served._klines("", request.query, None)), last
            )
            return await download(plan(served, tmp_path, what=("prices",)))

    result = asyncio.run(interrupted_run())
    assert result.interrupted
    assert result.files[0].rows == 1_000
    assert leftovers(tmp_path) == []


def test_two_downloads_into_one_folder_are_refused(tmp_path: Path):
    refused = pytest.raises(ConfigError, match="another download writes into")
    with only_writer(tmp_path), refused, only_writer(tmp_path):
        pytest.fail("two writers")
    with only_writer(tmp_path):
        pass


# The files themselves


def some_file(folder: Path) -> HistoryFile:
    return HistoryFile.open(folder, "x", columns=("ts", "who", "value"), keys=("who",))


def some_rows(first: int, many: int) -> list[Row]:
    return [Row(1_700_000_000.0 + 3_600 * (first + i), (str(first + i),)) for i in range(many)]


def test_a_killed_download_loses_at_most_its_last_page(tmp_path: Path):
    file = some_file(tmp_path)
    file.append(("a",), some_rows(0, 3))
    file.append(("a",), some_rows(3, 2))
    whole = (tmp_path / "x.part").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "x.csv.gz").unlink(missing_ok=True)
        (tmp_path / "x.part").write_bytes(whole[:cut])
        found = len(some_file(tmp_path))
        assert found in (0, 3)
        assert not (tmp_path / "x.part").exists()
    (tmp_path / "x.part").write_bytes(whole)
    assert len(some_file(tmp_path)) == 5


def test_a_page_that_was_changed_is_dropped(tmp_path: Path):
    file = some_file(tmp_path)
    file.append(("a",), some_rows(0, 3))
    part = tmp_path / "x.part"
    part.write_text(part.read_text().replace("a,1", "a,7"))
    assert len(some_file(tmp_path)) == 0


def test_series_of_one_file_are_told_apart(tmp_path: Path):
    file = some_file(tmp_path)
    file.append(("a",), some_rows(0, 3))
    file.append(("b",), some_rows(5, 2))
    file.append(("b",), some_rows(5, 2))
    file.close()
    again = some_file(tmp_path)
    assert len(again) == 5
    end_s = 1_700_000_000.0 + 3_600 * 10
    assert again.missing(("a",), from_s=1_700_000_000.0, to_s=end_s, step_s=3_600.0) == [
        (1_700_000_000.0 + 2 * 3_600 + 1, end_s)
    ]
    assert again.missing(("c",), from_s=0.0, to_s=5.0, step_s=3_600.0) == [(0.0, 5.0)]
    assert math.isnan(again.span(("c",))[0])
    assert [row[1] for row in rows_of(tmp_path / "x.csv.gz")[1:]] == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"ts,other\n"), "has columns ts, other, expected ts, who, value"),
        (gzip.compress(b"ts,who,value\n2026-01-01,a\n"), "line 2 has 2 fields"),
        (gzip.compress(b"ts,who,value\nsoon,a,1\n"), "line 2 has no ISO 8601 time"),
        (gzip.compress(b"ts,who,value\n2026-01-01,a,1\n")[:-6], "cannot be read"),
    ],
    # A gzip header holds the time: bytes as ids differ from worker to worker.
    ids=["not-gzip", "other-columns", "two-fields", "no-time", "cut-short"],
)
def test_a_file_of_another_form_is_never_overwritten(tmp_path: Path, content: bytes, why: str):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        some_file(tmp_path)
    assert path.read_bytes() == content


def test_the_span_ends_with_the_last_day_and_never_after_now():
    from_s, to_s = parse_span("2026-11-01", "2026-11-02", now_s=NOW_S)
    assert to_s - from_s == 2 * DAY_S
    assert parse_span("2026-11-01", "2027-11-02", now_s=NOW_S)[1] == NOW_S
    with pytest.raises(ConfigError, match="in the past"):
        parse_span("2027-01-01", "2027-02-01", now_s=NOW_S)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"what": ("weather",)}, "--what must be of prices"),
        ({"what": ()}, "--what must be of prices"),
        ({"underlyings": ("SOL",)}, "--underlying must be of ETH, BTC, was SOL"),
        ({"from_s": NOW_S}, "--from must be before --to"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(tmp_path: Path, more, why):
    fields = {"out": tmp_path, "from_s": FROM_S, "to_s": NOW_S} | more
    with pytest.raises(ConfigError, match=why):
        Download(**fields)


def test_a_folder_that_cannot_be_written_is_named_in_one_line(tmp_path: Path):
    file = some_file(tmp_path)
    (tmp_path / "x.part").mkdir()
    with pytest.raises(ConfigError, match=r"x\.part cannot be written: Is a directory"):
        file.append(("a",), some_rows(0, 1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "2026-01-01", "--to", "2026-01-02", "--what", "weather"], "--what must be of prices"),
        (["--from", "2099-01-01", "--to", "2099-01-02"], "--from must be in the past"),
        (["--from", "yesterday", "--to", "2026-01-02"], "--from must be an ISO 8601 date"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments, words
):
    from bot.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(["download-data", "--out", str(tmp_path / "new"), *arguments])
    assert stopped.value.code == 4
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "new").exists()
