"""Policies over windows of a made-up history: a calm day, a crash of two days."""

import io
import json
import math
from dataclasses import replace
from importlib import resources

import pytest
from history_builders import START_S, DataFolder, stamp
from rich.console import Console

from bot.app.backtest_windows import backtest_windows
from bot.errors import ConfigError
from bot.simulation.requests import Checks, HistoryRequest, WindowsRequest
from bot.simulation.windows.measures import Reached
from bot.simulation.windows.report import windows_report
from bot.simulation.windows.results import unseen_words
from bot.simulation.windows.terminal import print_windows

DAY_S = 86_400
CALM = ("quiet", 37, 38, "calm")
CRASH = ("crash", 40, 42, "crisis")
LONG_AGO = ("long-ago", -400, -390, "crisis")  # before the first row of any file
PARTS = {
    "history": ("exposure", "start", "end", "lead_days"),
    "checks": ("doubled", "rotations", "folds", "hold_out"),
}


def windows_file(folder, *windows):
    lines = ["id,start_utc,end_utc_exclusive,kind"]
    lines += [
        f"{name},{stamp(START_S + first * DAY_S)},{stamp(START_S + last * DAY_S)},{kind}"
        for name, first, last, kind in windows
    ]
    path = folder / "windows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(folder, windows, progress=None, **options):
    """Run a request; its options lie where ``alvh backtest`` puts them."""
    given = {"policies": ("classic",), "lead_days": 0.5, "exposure": "v2:ETH/USDC:1000000", **options}
    of = {name: {key: given.pop(key) for key in keys if key in given} for name, keys in PARTS.items()}
    history = HistoryRequest(data=folder, windows=windows, **of["history"])
    request = WindowsRequest(history=history, checks=Checks(**of["checks"]), **given)
    return backtest_windows(request, progress=progress)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return DataFolder(path=tmp_path_factory.mktemp("history")).write_all().path


@pytest.fixture(scope="module")
def both(data, tmp_path_factory):
    windows = windows_file(tmp_path_factory.mktemp("windows"), CRASH, CALM, LONG_AGO)
    done = []
    result = run(
        data,
        windows,
        policies=("classic", "steward"),
        progress=lambda done_h, all_h: done.append((done_h, all_h)),
    )
    return result, done, windows


def test_policies_and_benchmarks_stand_side_by_side(both):
    result, *_ = both
    assert [item.policy for item in result.policies] == ["classic", "steward"]
    assert len({item.policy_hash for item in result.policies}) == 2
    assert list(result.benchmarks) == ["static_442", "pput", "vxth", "perp_delta"]
    for item in result.policies:
        assert [each.window.id for each in item.windows] == ["long-ago", "quiet", "crash"]
        assert 0.25 < item.windows[2].fall < 0.35
        assert 0.0 < item.windows[2].hedged["alvh"] < item.windows[2].unhedged
        assert item.windows[2].is_market_crisis
        assert item.tiers.crises == 2
        assert item.tiers.crises_unseen == 1
    crash = result.policies[0].windows[2]
    assert crash.hedged["pput"] < crash.unhedged  # benchmarks are run once, beside the first policy
    # two segments of 0.5 + 1 and 0.5 + 2 days, their first hours included
    assert result.hours == 36 + 60 + 2


def test_a_window_without_prices_is_named_and_unknown(both):
    (found, *_) = both[0].policies[0].windows
    assert (found.hours_priced, found.guarded, found.highest) == (0, None, None)
    facts = both[0].to_json()["policies"][0]["windows"][0]
    assert facts["fall"] is None
    assert facts["hours_priced"] == 0


def test_progress_ends_with_all_hours(both):
    _, done, _ = both
    assert [item[0] for item in done] == sorted({item[0] for item in done})
    assert done[-1][0] == done[-1][1]


def test_processes_give_the_same_bytes(data, tmp_path):
    windows = windows_file(tmp_path, CALM)
    here, there = (run(data, windows, lead_days=0.0, processes=many) for many in (1, 2))
    assert json.dumps(here.to_json(), allow_nan=False) == json.dumps(there.to_json(), allow_nan=False)


def test_the_tables_fit_80_columns_and_say_unknown(both):
    result, *_ = both
    console = Console(width=80, record=True, file=io.StringIO())
    print_windows(result, console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "classic" in text
    assert "steward" in text
    assert "long-ago: 240 of 240 hours without a price; too few for a figure" in " ".join(text.split())
    tiers, money = [line.split() for line in lines if line.startswith("long-ago")][:2]
    assert tiers == ["long-ago", "?", "?", "?"]
    assert money == ["long-ago", "crisis", "?", "?", "?", "?"]
    calm = next(line for line in lines if line.startswith("quiet"))
    assert "none" in calm


def test_a_crisis_made_worse_is_named_without_a_control_too(both):
    result, *_ = both
    first = result.strategies[0]
    windows = tuple(replace(item, hedged={"alvh": 1.1 * item.unhedged}) for item in first.windows)
    worse = replace(result, strategies=(replace(first, windows=windows), *result.strategies[1:]))
    console = Console(width=80, record=True, file=io.StringIO())
    print_windows(worse, console)
    assert "ALVH classic makes crash worse" in console.export_text()


def test_nothing_is_cut_off_with_many_policies_and_long_names(both):
    """What has no room wraps: a figure without its sign of percent is another figure."""
    result, *_ = both
    long = "a-window-with-a-name-of-forty-characters"
    windows = tuple(
        replace(item, window=replace(item.window, id=long, kind="protocol"))
        for item in result.policies[0].windows[:1]
    )
    figures = {"cost": {"alvh": -0.1234}, "unhedged": 0.3, "hedged": {"alvh": 0.25}}
    windows = tuple(replace(item, **figures) for item in windows)
    policies = tuple(
        replace(result.policies[0], policy=f"policy-{i}-with-a-name-that-is-quite-long.toml", windows=windows)
        for i in range(6)
    )
    console = Console(width=80, record=True, file=io.StringIO())
    print_windows(replace(result, policies=policies), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("-12.34 %") == 6
    assert text.count("16.7 %") == 6  # removed
    assert text.count("protocol") == 6


def test_files_that_only_some_windows_lack_are_named_with_these(tmp_path):
    folder = DataFolder(path=tmp_path)
    folder.dropped = {"uniswapv3_usdc_usdt_1h": set(range(38 * 24 + 12, 60 * 24))}  # ends before the crash
    folder.write_all()
    result = run(tmp_path, windows_file(tmp_path, CALM, CRASH))
    (line,) = (line for line in result.missing if line.startswith("uniswapv3_usdc_usdt_1h"))
    assert line.endswith("; crash")
    (never,) = (line for line in result.missing if line.startswith("stablecoin_mcap_daily"))
    assert "crash" not in never


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lead_days": -1.0}, "--lead must be between 0 and 3650 days, was -1"),
        ({"lead_days": float("nan")}, "--lead must be"),
        ({"rotations": -1}, "--rotations must be between 0 and 1000, was -1"),
        ({"hold_out": 1.0}, "hold out must be between 0 and 1, was 1"),
        ({"folds": 0}, "--walk-forward must be between 1 and 50 folds, was 0"),
        ({"policies": ("classic", "classic")}, "--policy must name each policy once"),
        ({"policies": ("steward", "mine/steward.toml")}, "a file by a name of its own"),
        ({"policies": ("nowhere.toml",)}, "nowhere.toml"),
        ({"start": "2022-04-02", "end": "2022-04-01"}, "--from must be at least an hour before --to"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(data, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        run(data, windows_file(tmp_path, CALM), **changes)


def test_more_folds_than_the_history_has_room_for_are_refused_before_anything_is_run(data, tmp_path):
    told = []
    with pytest.raises(ConfigError, match=r"--walk-forward 6 needs 7 months of history, was 0\.7"):
        run(
            data,
            windows_file(tmp_path, CRASH),
            lead_days=None,
            start="2022-04-10",
            folds=6,
            progress=lambda *hours: told.append(hours),
        )
    assert told == []


def test_a_window_that_was_hardly_seen_has_no_share_on_the_page_either(both):
    """The terminal and the JSON say unknown: the page and its CSV must not say when a tier stood."""
    result, *_ = both
    crash = replace(result.policies[0].windows[2], guarded=Reached(first_s=0.0, since_s=0.0, share=0.2))
    seen, unseen = (
        windows_report(replace(result, policies=(_with_last(result.policies[0], window),))).windows[2]
        for window in (crash, replace(crash, hours_priced=crash.hours // 2))
    )
    assert seen.guarded == {"alvh_classic": 0.2}
    assert math.isnan(unseen.guarded["alvh_classic"])


def _with_last(item, window):
    return replace(item, windows=(*item.windows[:-1], window))


def test_windows_outside_the_history_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match=r"no window of .* has a price"):
        run(data, windows_file(tmp_path, LONG_AGO))


def test_hours_without_an_index_leave_the_hedge_unknown(tmp_path):
    folder = DataFolder(path=tmp_path)
    folder.dropped = {"btc_dvol_1h_deribit": set(range(39 * 24, 43 * 24))}
    folder.write_all()
    text = resources.files("bot.simulation.market").joinpath("market.toml").read_text()
    (tmp_path / "closed.toml").write_text(text.replace("fills = true", "fills = false"))
    result = run(tmp_path, windows_file(tmp_path, CRASH), market=tmp_path / "closed.toml")
    (found,) = result.policies[0].windows
    assert found.is_known
    assert math.isnan(found.unhedged)
    assert result.policies[0].money.removed_of == 0
    assert any("hours without an implied volatility" in line for line in unseen_words([found]))


def test_hours_in_which_no_signal_is_warm_are_unknown_not_calm(tmp_path):
    """The first day of a history: nothing votes, and nothing says that it is calm."""
    folder = DataFolder(path=tmp_path, dropped={"btc_dvol_1h_deribit": set(range(48))}).write_all()
    folder.remove("uniswapv3_usdc_usdt_1h")
    result = run(folder.path, windows_file(tmp_path, ("first", 0, 1, "calm")), lead_days=0.0)
    (policy,) = result.policies
    assert policy.tiers.outside_hours == 24
    assert policy.tiers.time_at["unknown"] > 0.5
    assert policy.tiers.time_at["unknown"] + policy.tiers.time_at["CALM"] == pytest.approx(1.0)


# The whole history


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Ten days with the crash in them: no flag but the range and one policy, and few rotations."""
    folder = tmp_path_factory.mktemp("whole")
    windows = windows_file(folder, CRASH, LONG_AGO)
    options = {
        "lead_days": None,
        "start": "2022-04-07",
        "end": "2022-04-12",
        "policies": ("steward",),
        "rotations": 2,
        "keep": folder / "kept",
    }
    return run(data, windows, **options), windows, options


def test_the_document_has_the_names_of_the_issue(whole):
    document = whole[0].to_json()
    names = ["alvh_steward", "static_442", "pput", "vxth", "perp_delta", "unhedged"]
    assert list(document["windows"]) == ["long-ago", "crash"]
    asked = {
        "max_drawdown",
        "removed",
        "first_guarded_ts",
        "first_elevated_ts",
        "share_at_guarded",
        "share_at_elevated",
    }
    for window in document["windows"].values():
        assert list(window) == names
        assert all(asked <= set(figures) for figures in window.values())
    assert all(value is None for value in document["windows"]["long-ago"]["alvh_steward"].values())
    asked = {
        "removed",
        "carry",
        "net",
        "efficiency",
        "false_alarms_per_year",
        "time_elevated_share",
        "trades_per_year",
    }
    for part in ("summary", "summary_doubled"):
        assert list(document[part]) == names
        assert all(asked <= set(figures) for figures in document[part].values())
    assert document["control"]["rotations"] == 2
    assert json.dumps(document, allow_nan=False)


def test_figures_agree_with_each_other(whole):
    result, *_ = whole
    document = result.to_json()
    crash = document["windows"]["crash"]
    alone, hedged = crash["unhedged"], crash["alvh_steward"]
    assert hedged["removed"] == pytest.approx(1.0 - hedged["max_drawdown"] / alone["max_drawdown"])
    assert document["summary"]["alvh_steward"]["removed"] == pytest.approx(hedged["removed"])
    assert (alone["removed"], alone["first_guarded_ts"]) == (0.0, None)
    assert stamp(START_S + 40 * DAY_S) <= hedged["first_guarded_ts"] <= stamp(START_S + 42 * DAY_S)
    assert 0.0 <= hedged["share_at_guarded"] <= 1.0
    # A short of the whole delta leaves little of a fall of the price (R26).
    assert crash["perp_delta"]["removed"] > 0.8
    # The control's rarer decisions on the policy's own tiers are near the engine's.
    assert result.control.own_removed == pytest.approx(hedged["removed"], abs=0.05)


def test_costs_doubled_are_never_better_for_what_is_bought_and_held(whole):
    document = whole[0].to_json()
    for name in ("pput", "vxth"):
        plain, doubled = (document[part][name]["removed"] for part in ("summary", "summary_doubled"))
        assert doubled < plain


def test_a_run_goes_on_from_kept_parts_and_gives_the_same_bytes(whole, data):
    result, windows, options = whole
    kept = sorted(options["keep"].iterdir())
    again = run(data, windows, **options)
    assert json.dumps(again.to_json()) == json.dumps(result.to_json())
    assert sorted(options["keep"].iterdir()) == kept  # nothing was run again
    seen = []
    kept[0].unlink()
    kept[1].write_bytes(b"half a file")
    again = run(data, windows, **options, progress=lambda done, total: seen.append((done, total)))
    assert json.dumps(again.to_json()) == json.dumps(result.to_json())
    assert sorted(options["keep"].iterdir()) == kept


def test_the_page_names_the_control_and_what_came_of_doubled_costs(whole):
    result, *_ = whole
    console = Console(width=80, record=True, file=io.StringIO())
    print_windows(result, console)
    text = " ".join(console.export_text().split())
    for words in ("2 rotations of its own tiers", "with spread and skew doubled", "2022-04-07"):
        assert words in text


def test_nothing_runs_across_a_hole_and_bad_rows_are_told(tmp_path):
    """The account begins anew after a hole of two days: its own gains are those of each stretch."""
    folder = DataFolder(path=tmp_path)
    folder.dropped = {"eth_usdt_spot_1h_binance": set(range(38 * 24, 40 * 24))}
    folder.write_all()
    lines = folder.lines("eth_usdt_spot_1h_binance")
    lines[900] = lines[900].replace(lines[900].split(",")[4], "-7")
    folder.rewrite("eth_usdt_spot_1h_binance", lines)
    options = {
        "lead_days": None,
        "start": "2022-04-07",
        "end": "2022-04-11",
        "doubled": False,
        "rotations": 0,
    }
    result = run(tmp_path, windows_file(tmp_path, CRASH), **options)
    assert result.hours == 24 + 2 * 24
    assert any("close that is not a number over 0" in line for line in result.problems)
    assert result.to_json()["control"] == {"rotations": 0, "removed_p95": None}


def test_under_doubled_costs_the_controlled_policy_is_run_unless_all_are_asked_for(data, tmp_path):
    windows = windows_file(tmp_path, CALM)
    asked = {"policies": ("classic", "steward"), "lead_days": 0.0, "rotations": 0}
    none, both = (run(data, windows, doubled=doubled, **asked) for doubled in (False, True))
    assert none.doubled == ()
    day = {**asked, "lead_days": None, "start": "2022-04-07", "end": "2022-04-07"}
    assert [item.name for item in run(data, windows, **day).doubled[:2]] == ["alvh_steward", "static_442"]
    assert [item.name for item in both.doubled[:2]] == ["alvh_classic", "alvh_steward"]
    whole = HistoryRequest(data=data, windows=windows, exposure="v2:ETH/USDC:1000000")
    request, leads = (WindowsRequest(history=item) for item in (whole, replace(whole, lead_days=3.0)))
    assert (request.is_doubled, request.turned) == (True, 60)
    assert (leads.is_doubled, leads.turned) == (False, 0)
