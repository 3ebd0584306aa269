"""What a sweep varies: keys that are policy keys, values that their readers take, cells in a fixed order."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_builders import BASE

from bot.engine.policy import parse_policy
from bot.engine.policy_fields import SectionReader
from bot.errors import ConfigError
from bot.simulation.sweep.space import Choices, Range, Space, known_keys, policy_table, spoken
from bot.simulation.sweep.space_file import read_space

FILE = """\
[tiers]
fast_vote = [0.65, "off"]
cooldown = { from = "12 h", to = "48 h", step = "12 h" }

[layers.TAIL]
delta = [[0.05, 0.10], [0.05, 0.15]]

[sizing]
weights = [{ NEAR = 10, MID = 20, TAIL = 70 }, { NEAR = 0, MID = 0, TAIL = 100 }]
"""


def space_of(*texts):
    return read_space(BASE, path=None, given=texts)


def values_of(text):
    (found,) = space_of(text).dimensions
    assert isinstance(found, Choices)
    return found.values


def test_a_file_looks_like_a_policy_with_lists_and_ranges(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(FILE)
    space = read_space(BASE, path=path, given=())
    assert space.keys == ("tiers.fast_vote", "tiers.cooldown", "layers.TAIL.delta", "sizing.weights")
    fast, cooldown, delta, weights = space.dimensions
    assert fast.values == (0.65, "off")
    assert not fast.is_ordered
    assert cooldown.values == ("12 h", "24 h", "36 h", "48 h")
    assert cooldown.is_ordered
    assert delta.values[1] == [0.05, 0.15]
    assert weights.values[1]["TAIL"] == 100
    assert space.cells == 2 * 4 * 2 * 2


def test_a_set_wins_over_the_file(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(FILE)
    space = read_space(BASE, path=path, given=["tiers.fast_vote=0.7,0.8,0.9", "tail.ladder=1,2"])
    assert space.dimensions[0].values == (0.7, 0.8, 0.9)
    assert space.keys[-1] == "tail.ladder"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("tiers.fast_vote=0.6,0.7", (0.6, 0.7)),
        ("tiers.fast_vote=0.6..0.8:0.1", (0.6, 0.7, 0.8)),
        ("tiers.fast_vote=0.8,0.6,0.7", (0.6, 0.7, 0.8)),  # neighbours differ by one step of the number
        ("tiers.cooldown=1 d,360 min,12 h", ("360 min", "12 h", "1 d")),
        ("tail.ladder=1..7:3", (1, 4, 7)),
        ("tiers.fast_vote=off,0.75", ("off", 0.75)),
        ("near.delta_share.ELEVATED=15 %,25%", ("15 %", "25%")),
        ("near.delta_share.ELEVATED=15%..25%:5%", ("15 %", "20 %", "25 %")),
        ("tiers.cooldown=6 h..24 h:6 h", ("6 h", "12 h", "18 h", "24 h")),
        ("near.instrument=put,perpetual", ("put", "perpetual")),
        ("monetise.enabled=true,false", (True, False)),
        ("layers.TAIL.delta=[0.05, 0.1],[0.05, 0.15]", ([0.05, 0.1], [0.05, 0.15])),
        (
            "sizing.weights={NEAR=10,MID=20,TAIL=70},{NEAR=0,MID=0,TAIL=100}",
            ({"NEAR": 10, "MID": 20, "TAIL": 70}, {"NEAR": 0, "MID": 0, "TAIL": 100}),
        ),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_values_are_written_as_a_person_would(text, values):
    assert values_of(text) == values


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ((), "needs keys to vary"),
        (("tiers.fast_vote",), "--set must look like .*was 'tiers.fast_vote'"),
        (("tiers.fast_vot=0.6,0.7",), "'tiers.fast_vot' is no policy key; did you mean 'tiers.fast_vote'"),
        (("fast_vote=0.6,0.7",), "no policy key; did you mean 'tiers.fast_vote'"),
        (("ELEVATED=5 %,6 %",), "did you mean .*sizing.shares.ELEVATED.* or .*near.delta_share.ELEVATED"),
        (("qqqqqqqq=1,2",), "is no policy key; alvh policy show"),
        (("tiers.fast_vote=0.6,1.7",), "policy key tiers.fast_vote must be 'off' or a number .* was 1.7"),
        (("tiers.cooldown=6,12",), "tiers.cooldown must be a duration .* was 6"),
        (("near.delta_share.ELEVATED=0.15,0.25",), "must be a percentage .* was 0.15"),
        (("tiers.fast_vote=0.6,0.6",), "names 0.6 twice"),
        (("tiers.cooldown=6 h,360 min",), "names '360 min' twice"),
        (("tiers.fast_vote=0.6",), "with two values or more"),
        (("tiers.fast_vote=0.8..0.6",), "from must be under to"),
        (("tiers.fast_vote=0.6..0.8:0.5",), "step must be over 0 .*was 0.5"),
        (("tiers.fast_vote=0.6..0.8:0",), "step must be over 0"),
        (("tiers.cooldown=6 h..1 d",), "from and to must have one unit, were 'h' and 'd'"),
        (("tail.ladder=1..3:0.5",), "takes whole numbers only"),
        (("near.instrument=a..b",), "takes no range"),
        (("sizing.weights=40,50",), "sizing.weights is a table: its values must be tables, was 40"),
        (("sizing.weights={NEER=10},{NEAR=20}",), "'sizing.weights.NEER' is no policy key.*NEAR"),
        (("sizing.weights={NEAR=10},{NEAR=20}", "sizing.weights.MID=10,20"), "overlap"),
    ],
    ids=str,
)
def test_what_cannot_be_swept_is_refused_in_one_line(texts, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        space_of(*texts)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("[tiers\n", "cannot be read"),
        ("[tiers]\nfast_vote = 0.6\n", "tiers.fast_vote must have a list of values or a range .* was 0.6"),
        ("[tiers]\nfast_vote = []\n", "must have a list of values"),
        ("[tiers]\nfast_vote = { from = 0.5, to = 0.9, log = 1 }\n", "log must be true or false"),
        (
            "[tiers]\nfast_vote = { from = 0.5, to = 0.9, stop = 1 }\n",
            "'tiers.fast_vote.from' is no policy key",
        ),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, content, words):
    path = tmp_path / "sweep.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_space(BASE, path=path, given=())


def test_every_key_of_a_policy_can_be_swept():
    """One that a policy states, a table among them, and one that only a reader knows."""
    known = known_keys(BASE)
    assert {"tiers.fast_vote", "sizing.weights", "signals.onchain.full_range_quick_ratio"} <= known.keys()
    assert not any(isinstance(reader, SectionReader) for reader in known.values())


def test_a_grid_lists_every_cell_the_last_key_fastest():
    space = space_of("tiers.fast_vote=0.6,0.7", "tail.ladder=1,2")
    assert space.grid() == ((0.6, 1), (0.6, 2), (0.7, 1), (0.7, 2))


def test_a_grid_needs_steps_and_an_end():
    with pytest.raises(ConfigError, match=r"tiers.fast_vote: a grid needs a list or a step, was 0.6 to 0.8"):
        space_of("tiers.fast_vote=0.6..0.8").grid()
    with pytest.raises(ConfigError, match="the grid has 1,002,001 cells, at most 100,000"):
        space_of("tiers.vote=0.4..0.5:0.0001", "tiers.vote_off=0.2..0.3:0.0001").grid()


def test_draws_repeat_with_their_seed_and_never_themselves():
    space = space_of("tiers.fast_vote=0.6..0.8", "tail.ladder=1,2,3")
    drawn = space.draw(30, seed=4)
    assert drawn == space.draw(30, seed=4)
    assert drawn != space.draw(30, seed=5)
    assert len({json.dumps(cell) for cell in drawn}) == 30


def test_where_there_are_no_more_cells_all_of_them_are_drawn():
    space = space_of("tiers.fast_vote=0.6,0.7", "tail.ladder=1,2")
    assert space.draw(30, seed=4) == space.grid()


def test_a_range_of_few_numbers_is_drawn_out():
    space = Space(dimensions=(Range(key="tail.ladder", low=1, high=3, is_whole=True),))
    assert sorted(space.draw(50, seed=1)) == [(1,), (2,), (3,)]


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.0, 1.0))
@pytest.mark.parametrize(
    "text",
    [
        "tiers.fast_vote=0.55..0.95",
        "near.delta_share.ELEVATED=1%..100%",
        "tiers.cooldown=0.5 h..48 h",
        "tail.ladder=1..12",
    ],
)
def test_whatever_is_drawn_of_a_range_its_reader_takes(text, share):
    (dimension,) = space_of(text).dimensions
    value, reader = dimension.value_at(share), known_keys(BASE)[dimension.key]
    read = reader(value, dimension.key)
    low, high = (reader(dimension.value_at(end), "") for end in (0.0, 1.0))
    assert low <= read <= high
    assert 0.0 <= dimension.coordinate(value) <= 1.0


def test_a_logarithmic_range_is_drawn_by_ratio(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text("[orders]\nmax_price_ratio = { from = 2, to = 200, log = true }\n")
    (dimension,) = read_space(BASE, path=path, given=()).dimensions
    assert dimension.value_at(0.5) == pytest.approx(20.0)
    assert dimension.coordinate(20.0) == pytest.approx(0.5)
    path.write_text("[roll]\neasing_to = { from = '0 %', to = '5 %', log = true }\n")
    with pytest.raises(ConfigError, match="from over 0"):
        read_space(BASE, path=path, given=())


def test_a_cell_becomes_a_policy_and_leaves_the_base_as_it_was():
    before = json.dumps(BASE, sort_keys=True)
    table = policy_table(
        BASE, ("tiers.fast_vote", "sizing.weights"), (0.6, {"NEAR": 0, "MID": 0, "TAIL": 100})
    )
    policy = parse_policy(table)
    assert policy.tiers.fast_vote == 0.6
    assert (policy.sizing.weights.NEAR, policy.sizing.weights.TAIL) == (0.0, 100.0)
    assert json.dumps(BASE, sort_keys=True) == before


def test_a_swept_table_may_state_only_what_differs():
    table = policy_table(BASE, ("near.delta_share",), ({"CRISIS": "90 %"},))
    share = parse_policy(table).near.delta_share
    assert (share.ELEVATED, share.CRISIS) == (0.30, 0.90)


def test_values_are_spoken_as_a_policy_file_writes_them():
    spoken_of = [spoken(item) for item in (0.75, 3, "off", True, [0.05, 0.1], {"NEAR": 10, "MID": 20})]
    assert spoken_of == ["0.75", "3", "off", "true", "[0.05, 0.1]", "NEAR 10 MID 20"]


def test_the_number_of_cells_is_infinite_with_a_range():
    assert space_of("tiers.fast_vote=0.6..0.8").cells == math.inf
