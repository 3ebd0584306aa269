"""`alvh stress` as a user runs it, on a scenario of two days."""

import json
from pathlib import Path

import pytest

from bot.app.stress import _finding, stress
from bot.cli import main
from bot.errors import ConfigError, NotFoundError

SCENARIO = """
name = "dip"
title = "A dip of 20 % in six hours"
kind = "crisis"
start = "2022-01-01T00:00:00Z"
hours = 30
stream = 201
sources = ["made up"]

[paths.eth_usd]
source = "made up"
knots = [[0, 3000.0], [10, 3000.0], [16, 2400.0], [30, 2450.0]]
noise = 0.002

[[figures]]
name = "worst_day"
value = -0.2
tolerance = 0.02
unit = "fraction"
source = "made up"
"""


@pytest.fixture
def dip(tmp_path: Path) -> Path:
    path = tmp_path / "dip.toml"
    path.write_text(SCENARIO)
    return path


def run(dip: Path, **changes):
    asked = {
        "scenario": str(dip),
        "policies": ["steward"],
        "exposure": "v2:ETH/USDC:1000000",
        "seed": 1,
        "market": None,
    }
    done = stress(**{**asked, **changes})
    assert done.unfinished == ()
    return done.findings


def test_a_file_of_ones_own_is_run_and_told(dip: Path) -> None:
    hours = []
    (found,) = run(dip, progress=lambda done, total: hours.append((done, total)))
    assert found.unhedged == pytest.approx(1.0 - 0.8**0.5, abs=0.01)
    assert found.run.policy == "steward"
    assert found.run.records == (), "what they say was measured"
    assert all(item.is_met for item in found.figures)
    assert hours[-1] == (30, 30)
    assert {item.severity for item in found.told} <= {"info", "warning", "critical"}
    assert any(item.title.startswith("GUARDED") or "ELEVATED" in item.title for item in found.told)


def test_processes_change_nothing(dip: Path) -> None:
    """R25: the same observations give the same decisions, wherever they are made."""
    policies = ["steward", "classic"]
    here, apart = (run(dip, policies=policies, processes=many) for many in (1, 2))
    for one, other in zip(here, apart, strict=True):
        assert (one.hedged, one.cost, one.tiers, one.orders) == (
            other.hedged,
            other.cost,
            other.tiers,
            other.orders,
        )
        assert one.run.gain_usd.tolist() == other.run.gain_usd.tolist()


def test_another_exposure_and_seed_give_another_result(dip: Path) -> None:
    (full,) = run(dip)
    (narrow,) = run(dip, exposure="v3:ETH/USDC:1000000:-20%:+20%")
    (other,) = run(dip, seed=2)
    assert narrow.unhedged > full.unhedged, "a range loses more"
    assert other.run.position_usd.tolist() != full.run.position_usd.tolist()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"scenario": "terr"}, NotFoundError, "did you mean terra"),
        ({"policies": ["steward", "steward"]}, ConfigError, "name each policy once"),
        ({"policies": ["clasic"]}, ConfigError, "did you mean 'classic'"),
        ({"seed": -1}, ConfigError, "--seed must be a whole number of at least 0, was -1"),
        ({"exposure": "v2:BTC/USDC:1000000"}, ConfigError, "scenarios move ETH"),
        ({"exposure": "v4:ETH"}, ConfigError, "--exposure must look like"),
        ({"market": Path("none.toml")}, ConfigError, "none.toml cannot be read"),
    ],
)
def test_bad_input_is_one_line(dip: Path, changes, error, words) -> None:
    with pytest.raises(error, match=words) as refusal:
        run(dip, **changes)
    assert "\n" not in str(refusal.value)


def test_a_scenario_that_nobody_sees_is_refused(tmp_path: Path) -> None:
    dark = tmp_path / "dark.toml"
    dark.write_text(f'{SCENARIO}[[faults]]\nkind = "unseen"\nfrom = 0\nto = 31\nbecause = "a node is down"\n')
    with pytest.raises(ConfigError, match="scenario dip has no step with a frame"):
        run(dark)


def test_a_figure_that_a_short_path_has_not_is_null(capsys, tmp_path: Path) -> None:
    short = tmp_path / "short.toml"
    short.write_text(SCENARIO.replace('"worst_day"', '"worst_two_days"'))
    code, out, _ = command(capsys, str(short), "--processes", "1", "--json", "-")
    (figure,) = json.loads(out)["scenarios"]["dip"]["figures"]
    (found,) = json.loads(out)["scenarios"]["dip"]["policies"]["steward"]["figures"]
    assert (code, figure["value"], found["found"], found["is_met"]) == (0, -0.2, None, False)


def command(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["stress", *arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_command_prints_json_alone(capsys, dip: Path) -> None:
    code, out, _ = command(capsys, str(dip), "--processes", "1", "--json", "-")
    assert code == 0
    facts = json.loads(out)
    assert facts["exposure"] == {"pool": "v2:ETH/USDC", "value_usd": 1e6}
    assert facts["scenarios"]["dip"]["policies"]["steward"]["figures"][0]["is_met"]


def test_what_is_finished_when_ctrl_c_comes_is_told(capsys, monkeypatch, tmp_path: Path, dip: Path) -> None:
    def interrupted(job, on_step=None):
        if job.name == "classic":
            raise KeyboardInterrupt
        return _finding(job, on_step)

    monkeypatch.setattr("bot.app.stress._finding", interrupted)
    asked = (str(dip), "--policy", "steward", "--policy", "classic", "--processes", "1")
    file = tmp_path / "stress.json"
    code, out, err = command(capsys, *asked, "--json", str(file))
    assert (code, err.splitlines()[-1]) == (1, "interrupted; 1 of 2 runs were finished and are told")
    assert "A dip of 20 %" in out
    facts = json.loads(file.read_text())
    assert list(facts["scenarios"]["dip"]["policies"]) == ["steward"]
    assert facts["unfinished"] == ["dip, classic"]
    code, out, err = command(capsys, str(dip), "--policy", "classic", "--processes", "1")
    assert (code, out, err.splitlines()[-1]) == (1, "", "interrupted")


def test_the_command_lists_what_there_is(capsys) -> None:
    code, out, _ = command(capsys, "--list")
    assert code == 0
    assert "black-thursday-2020" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["rallye"], 2, "did you mean rally"),
        (["rally", "--report", "x.html"], 4, "--report needs --devnet"),
        (["stablecoin-depeg", "--devnet"], 4, "cannot be replayed on a devnet"),
        (["--devnet"], 4, "--devnet plays one scenario"),
        (["rally", "--devnet", "--exposure", "v2:ETH/USDC:5"], 4, "leave out --exposure"),
        (["rally", "--devnet", "--policy", "classic", "--policy", "steward"], 4, "plays one policy"),
        (["rally", "--seed", "x"], 4, "'x'"),
    ],
)
def test_the_command_refuses_in_one_line(capsys, arguments, code, words) -> None:
    found, out, err = command(capsys, *arguments)
    assert found == code
    assert out == ""
    assert err.startswith("error: ")
    assert words in err
