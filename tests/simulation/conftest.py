"""A small made-up data folder for every test that asks for one, and the report of one backtest."""

import asyncio
from pathlib import Path

import pytest
from history_builders import START_S, DataFolder

from bot.model.units import DAY_S
from bot.settings import named_policy
from bot.simulation.backtest import run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.market.model import load_market
from bot.simulation.report.data import ReportData, from_backtest


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(path=tmp_path).write_all()


@pytest.fixture(scope="session")
def crash_report(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Six days of a backtest under steward with a crash, and five hours without a price."""
    spec, folder = parse_exposure("v2:ETH/USDC:1000000"), DataFolder(path=tmp_path_factory.mktemp("history"))
    folder.dropped = {"eth_usdt_spot_1h_binance": set(range(42 * 24, 42 * 24 + 5))}
    folder.write_all()
    history = load_history(folder.path, spec, from_s=START_S + 38 * DAY_S, to_s=START_S + 44 * DAY_S)
    result = asyncio.run(run_backtest(history, spec, named_policy("steward"), load_market()))
    return from_backtest(result, policy={"tiers.fast_vote": "0.75"})
