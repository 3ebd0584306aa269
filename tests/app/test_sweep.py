"""What a sweep evaluates policies on: what a backtest over windows runs for the same request."""

from dataclasses import replace

import numpy as np
import pytest
from history_builders import START_S, DataFolder, stamp

from bot.app.sweep import study_of, sweep
from bot.errors import ConfigError
from bot.simulation.requests import HistoryRequest
from bot.simulation.sweep.request import Judging, Limits, Running, Search, SweepRequest
from bot.simulation.windows.stretches import stretches_of

DAY_S = 86_400
HOLE_S = 36 * 3_600  # method.md


@pytest.fixture
def asked(tmp_path):
    """A crash on day 41 with three days of lead, two days of them without a price; one long before."""
    folder = DataFolder(path=tmp_path)
    folder.dropped = {"eth_usdt_spot_1h_binance": set(range(39 * 24, 40 * 24 + 16))}
    folder.write_all()
    windows = tmp_path / "windows"
    days = {"before": (-4, -2), "crash": (41, 43)}
    rows = [
        f"{name},{stamp(START_S + first * DAY_S)},{stamp(START_S + last * DAY_S)},crisis"
        for name, (first, last) in days.items()
    ]
    windows.write_text("\n".join(["id,start_utc,end_utc_exclusive,kind", *rows]) + "\n")
    history = HistoryRequest(data=tmp_path, windows=windows, exposure="v2:ETH/USDC:1000000", lead_days=3.0)
    return SweepRequest(
        history=history,
        search=Search(settings=("near.delta_share.ELEVATED=25%,30%",)),
        judging=Judging(),
        running=Running(results=tmp_path / "results.jsonl", processes=1),
    )


def test_a_stretch_of_a_sweep_never_crosses_a_hole(asked):
    study, over = study_of(asked), stretches_of(asked.history)
    assert study.segments == over.segments
    for item in study.segments:
        inside = over.price.until(item.end_s).since(item.start_s).times_s
        assert np.diff(inside).max() <= HOLE_S
    (only,) = study.segments
    assert only.start_s == START_S + 40 * DAY_S + 16 * 3_600
    assert min(span.from_s for span in study.spans) == only.start_s - 3_600


def test_a_crisis_that_was_not_run_is_no_calm_either(asked):
    assert [item.id for item in study_of(asked).windows] == ["before", "crash"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"objective": "profit"}, "--objective must be one of efficiency"),
        ({"limits": Limits(carry="0.05")}, "--max-carry must be a percentage such as 2.5%, was '0.05'"),
        ({"embargo_days": -1.0}, "--embargo must be between 0 and 365 days, was -1"),
    ],
    ids=str,
)
def test_what_cannot_be_sought_is_refused_before_anything_is_run(asked, changed, words):
    with pytest.raises(ConfigError, match=words):
        sweep(replace(asked, judging=Judging(**changed)))
    assert not asked.running.results.exists()
