"""Presets and policy files as a user works with them."""

import re
import tomllib
from pathlib import Path

import pytest

from bot.app.policy import check, diff, problems, schema, show
from bot.app.policy_text import leaf_readers, lines_of, notes_of
from bot.engine.policy import parse_policy
from bot.engine.policy_readers import ChoiceReader, DurationReader, NumberReader, PercentReader
from bot.errors import ConfigError
from bot.model.hedge import Layer
from bot.model.tier import Tier
from bot.model.units import DAY_S, HOUR_S
from bot.settings import PRESETS, PolicySettings, load_policy, named_policy, read_source

EXAMPLE = Path(__file__).parents[2] / "docs" / "policy-example.toml"
REFRESH = "write it again: alvh policy show steward > docs/policy-example.toml"


@pytest.mark.parametrize(
    ("name", "shares", "deltas", "budgets"),
    [
        ("classic", (5, 15, 20, 25, 25), (0, 0, 0, 0, 0), (3, 0.75, 3)),
        # Shares from CALM to SEVERE, deltas of ELEVATED and SEVERE, capital and budget of a year: ADR 0012
        ("steward", (3, 3, 3, 7, 30), (0, 0, 30, 40, 50), (4, 1, 5)),
        ("fortress", (7.5, 7.5, 7.5, 20, 50), (0, 0, 63, 84, 100), (8.4, 2, 10)),
    ],
)
def test_presets_have_the_numbers_of_the_methods_table_and_of_the_search(name, shares, deltas, budgets):
    policy = named_policy(name)
    assert policy.name == name
    assert [100 * policy.sizing.shares.of(tier) for tier in Tier] == pytest.approx(shares)
    if policy.near.instrument == "perpetual":
        assert [100 * policy.near.delta_share.of(tier) for tier in Tier] == pytest.approx(deltas)
    budget = policy.budget
    found = (budget.defined_risk_capital, budget.budget_30d, budget.budget_365d)
    assert [100 * item for item in found] == pytest.approx(budgets)


@pytest.mark.parametrize(("name", "share"), [("classic", 0.5), ("steward", 0.33), ("fortress", 0.66)])
def test_presets_have_their_cost_guard(name, share):
    guard = named_policy(name).cost_guard
    assert (guard.max_carry_share, guard.carry_floor) == (share, 0.0025)


@pytest.mark.parametrize("name", ["steward", "fortress"])
def test_what_steward_and_fortress_share(name):
    policy = named_policy(name)
    assert [policy.sizing.weights.of(layer) for layer in Layer] == [10, 20, 70]
    assert [policy.sizing.weight_bounds.of(layer) for layer in Layer] == [(0, 40), (0, 40), (20, 100)]
    assert policy.sizing.weights_of == "premium"
    assert (policy.near.trigger, policy.mid.scaling) == ("tier", "tier")
    assert policy.tail.ladder > 1
    tail = policy.layers.TAIL
    assert (tail.dte, tail.delta, tail.roll_at) == ((30 * DAY_S, 60 * DAY_S), (0.05, 0.10), 0.0)
    tiers = policy.tiers
    assert (tiers.vote, tiers.fast_vote, tiers.step_down) == (0.55, 0.65, "straight")  # ADR 0012
    assert (tiers.cooldown, tiers.cooldown_guarded) == (48 * HOUR_S, 6 * HOUR_S)


def test_a_preset_states_a_number_once():
    for name in PRESETS[1:]:
        source = read_source(name)
        own, below = source.tables[-1], read_source(source.extends[0]).table
        for path in stated(own):
            if path not in ("name", "extends"):
                assert at(own, path) != at(below, path) or name == "steward", (name, path)


def test_promoter_is_for_simulation_only(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nextends = "promoter"\n')
    assert named_policy(str(file)).budget.defined_risk_capital == 0.015
    with pytest.raises(ConfigError, match="rests on promoter, which is for simulation only"):
        load_policy(PolicySettings(file=file))
    file.write_text('name = "mine"\nextends = "fortress"\n')
    assert load_policy(PolicySettings(file=file)).budget.defined_risk_capital == 0.084


def test_a_file_of_ones_own_extends_a_preset_and_is_shown_whole(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nextends = "steward"\nbudget.budget_30d = "0.5 %" # tight\n'
        '[dependencies]\nuniswap-v3 = ["v3-factory"]\n'
        "[signals.onchain]\ndepth = { stress = 0.2 }\n"
    )
    text = show(str(file))
    whole = tomllib.loads(text)
    assert parse_policy(whole) == named_policy(str(file))
    assert whole["dependencies"] == {"uniswap-v3": ["v3-factory"]}
    assert whole["signals"]["onchain"]["depth"] == {"calm": 0.7, "stress": 0.2}
    assert whole["budget"]["budget_30d"] == "0.5 %"
    assert "extends" not in whole


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_shown_is_the_policy_itself(name):
    text = show(name)
    assert parse_policy(tomllib.loads(text)).hash == named_policy(name).hash
    assert text.startswith(f"# {name}: ")


def test_the_example_is_not_stale():
    assert EXAMPLE.read_text("utf-8") == show("steward"), REFRESH


def test_the_example_states_every_key_with_its_bounds():
    lines = {line.path: line for line in lines_of(show("steward")) if line.value}
    tables = {line.path for line in lines_of(show("steward")) if line.is_header}
    for path, reader in leaf_readers():
        if path in tables:  # of keys that the user names
            continue
        if path not in lines:  # a table written on one line, such as a signal's anchors
            assert path.rpartition(".")[0] in lines, path
        elif isinstance(reader, NumberReader | PercentReader | DurationReader | ChoiceReader):
            assert re.search(r"[\[(].+[\])]", lines[path].comment), f"{path} has no bounds"


def test_bounds_in_comments_are_those_of_the_readers():
    """A comment of classic may name another key for a bound; the numbers it names must be right."""
    notes, checked = notes_of(read_source("classic").texts), 0
    for path, reader in leaf_readers():
        said = re.search(
            r"\[(-?[\d.e-]+(?: \w+)?) \.\. (-?[\d.e-]+) ?(%|s|min|h|d)?[\])]", notes.get(path, "")
        )
        if said is None or path.startswith("signals.") or not hasattr(reader, "low"):
            continue
        bounds = (float(said[1].split()[0]), float(said[2]))
        assert bounds == (reader.low, reader.high), (path, said[0])
        checked += 1
    assert checked > 20


def test_diff_is_in_the_units_of_the_files(tmp_path):
    found = {item.key: (item.first, item.second) for item in diff("classic", "steward")}
    assert found["tiers.cooldown"] == ("6 h", "48 h")
    assert found["sizing.weight_bounds.TAIL"] == ("[10, 30]", "[20, 100]")
    assert found["budget.budget_30d"] == ("0.75 %", "1 %")
    assert found["sizing.shares.CALM"] == ("5 %", "3 %")
    assert "tiers.vote_off" not in found
    assert diff("classic", "classic") == ()
    same = tmp_path / "same.toml"
    same.write_text('name = "classic"\nextends = "classic"\ntiers.cooldown = "360 min"\ntiers.vote = 0.50\n')
    assert diff("classic", str(same)) == ()


async def test_check_prices_two_standard_exposures():
    found = await check(read_source("steward"), vol=None, market_file=None)
    assert (found.vol, len(found.exposures)) == (1.27, 2)
    assert "98 % quantile" in found.vol_source
    assert all(len(item.tiers) == 5 for item in found.exposures)
    assert [row.tier for row in found.exposures[0].warnings] == [Tier.SEVERE, Tier.CRISIS]


@pytest.mark.parametrize("vol", [0.0, 0.04, 10.1, 50.0, float("nan")])
async def test_an_absurd_vol_is_refused(vol):
    with pytest.raises(ConfigError, match="--vol must be from 5% to 1000%"):
        await check(read_source("classic"), vol=vol, market_file=None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('extends = "stewart"', "did you mean 'steward'"),
        ('name = "x"\nextends = "classic"\ntiers.vot = 0.5', "did you mean 'vote'"),
        ('name = "x"', "is missing; .*extends"),
        ("name = ", "not valid TOML"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, words):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    try:
        (line, *_) = problems(read_source(str(file)))
    except ConfigError as error:
        line = str(error)
    assert re.search(words, line), line
    assert "\n" not in line


def test_a_name_that_is_neither_preset_nor_file():
    with pytest.raises(ConfigError, match=r"fortres cannot be read: .*did you mean 'fortress'"):
        read_source("fortres")


def test_the_schema_carries_units_and_sources():
    vote = schema()["properties"]["tiers"]["properties"]["vote"]
    assert "R1" in vote["description"]
    assert (vote["minimum"], vote["maximum"]) == (0.05, 0.95)


def stated(table, path=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from stated(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def at(table, path):
    for key in path.split("."):
        table = table[key]
    return table
