"""One recorded run, one dashboard over it and one browser for all tests of the pages."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dashboard_builders import (
    CHAIN,
    EXPLORER,
    Running,
    in_a_thread,
    serving,
    settings_in,
    write_steps,
    writer,
)
from history_builders import START_S, DataFolder

from bot.app.stores import history_place
from bot.model.market import Block
from bot.model.record import StepRecord
from bot.model.units import DAY_S
from bot.pipeline.history import History
from bot.settings import named_policy
from bot.simulation.backtest import run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.market.model import load_market

_FIRST_BLOCK = 14_500_000


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[StepRecord, ...]:
    """The steps of four days with a crash under steward: tiers rise, options and a perpetual are bought."""
    folder = DataFolder(path=tmp_path_factory.mktemp("history")).write_all()
    spec = parse_exposure("v2:ETH/USDC:1000000")
    history = load_history(folder.path, spec, from_s=START_S + 38 * DAY_S, to_s=START_S + 42 * DAY_S)
    result = in_a_thread(run_backtest(history, spec, named_policy("steward"), load_market()))
    return tuple(
        replace(item, decision=replace(item.decision, blocks={CHAIN: _FIRST_BLOCK + 300 * number}))
        for number, item in enumerate(result.records)
    )


@pytest.fixture(scope="session")
def recorded(records: tuple[StepRecord, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the journal and the history of that run, and two reports."""
    folder = tmp_path_factory.mktemp("recorded")
    with writer(folder) as journal:
        write_steps(journal, records)
    settings, last = settings_in(folder, more=EXPLORER), records[-1].decision
    history = History(path=history_place(settings).path)
    number, at_s = last.blocks[CHAIN], int(last.now_s)
    history.add_head(Block(chain_id=CHAIN, number=number, hash="0x1", parent_hash="0x0", timestamp_s=at_s))
    history.flush()
    history.close()
    reports = folder / "reports"
    reports.mkdir()
    title, script = "Crash of &lt;April&gt;", "document.title = 'ran'"
    page = f"<!doctype html><title>{title}</title><script>{script}</script><p>A report"
    (reports / "crash.html").write_text(page)
    (reports / "crash.json").write_text('{"drawdown": 0.1}')
    return folder


@pytest.fixture(scope="module")  # its thread ends before tests of other files begin
def dashboard(recorded: Path) -> Iterator[Running]:
    """A dashboard over the recorded run. Tests that change anything take a folder of their own."""
    with serving(settings_in(recorded, more=EXPLORER)) as running:
        yield running
