"""What a policy file says before it is a policy: presets it extends, all that is wrong, its schema."""

import re

import pytest
from engine.factory import classic_table

from bot.engine.policy import Policy
from bot.engine.policy_fields import PlainReader, SectionReader, off_or, percent
from bot.engine.policy_file import all_problems, lineage, merged
from bot.engine.policy_readers import suggestion
from bot.engine.policy_schema import policy_schema
from bot.errors import ConfigError

PRESETS = {"base": {"a": 1, "b": {"c": 2, "d": [1, 2]}}, "middle": {"extends": "base", "b": {"c": 3}}}


def resolve(table):
    return merged(lineage(table, tuple(PRESETS), PRESETS.__getitem__))


def test_a_file_states_what_differs_and_inherits_the_rest():
    assert resolve({"a": 5}) == {"a": 5}
    assert resolve({"extends": "base", "b": {"d": [9]}}) == {"a": 1, "b": {"c": 2, "d": [9]}}
    assert resolve({"extends": "middle", "a": 7}) == {"a": 7, "b": {"c": 3, "d": [1, 2]}}
    assert resolve({"extends": "base", "b": 4}) == {"a": 1, "b": 4}, "the readers refuse it, not the merge"
    assert PRESETS["base"] == {"a": 1, "b": {"c": 2, "d": [1, 2]}}, "nothing is changed in place"


@pytest.mark.parametrize(
    ("name", "words"),
    [("midle", "did you mean 'middle'"), ("zzz", "base, middle"), (3, "was 3"), (["base"], "base, middle")],
)
def test_an_unknown_preset_is_refused_with_the_nearest(name, words):
    with pytest.raises(ConfigError, match=words):
        resolve({"extends": name})


def test_presets_in_a_circle_are_refused():
    rings = {"one": {"extends": "two"}, "two": {"extends": "one"}}
    with pytest.raises(ConfigError, match="one -> two -> one goes in a circle"):
        lineage({"extends": "one"}, tuple(rings), rings.__getitem__)


def test_all_that_is_wrong_is_told_one_line_each():
    table = classic_table()
    table["tiers"] |= {"vote": 1.5, "cooldown": "6 %", "vot_off": 0.3}
    del table["budget"]["session_share"]
    table["signals"]["technical"]["rsii"] = {"calm": 0.0, "stress": 1.0}
    table["surprise"] = {}
    found = all_problems(table)
    assert len(found) == 6
    assert not any("\n" in line for line in found)
    for words in (
        "surprise is unknown",
        "vot_off is unknown; allowed here: .*; did you mean 'vote_off'",
        "tiers.vote must be a number from 0.05 to 0.95, was 1.5",
        "tiers.cooldown must be a duration .* was '6 %'",
        "budget.session_share is missing",
        "signals.technical.rsii is unknown; .*did you mean 'rsi",
    ):
        assert sum(bool(re.search(words, line)) for line in found) == 1, (words, found)


def test_contradictions_are_told_once_the_keys_are_right():
    table = classic_table()
    table["sizing"]["weights"]["TAIL"] = 30
    table["hard_triggers"]["severe_fall"] = "5 %"
    found = all_problems(table)
    assert [line.split()[2] for line in found] == ["hard_triggers.severe_fall", "sizing.weights"]
    assert all_problems(classic_table()) == ()


def test_a_word_may_stand_for_absence():
    reader = off_or(percent(0, 10))
    assert reader("off", "k") is None
    assert reader("5 %", "k") == 0.05
    with pytest.raises(ConfigError, match="'off' or a percentage"):
        reader("50 %", "k")


def test_a_suggestion_is_made_only_for_what_is_near():
    assert suggestion("vot", ["vote", "confirm"]) == "; did you mean 'vote'?"
    assert suggestion("zebra", ["vote", "confirm"]) == ""


def test_the_schema_has_every_key_of_the_readers():
    schema = policy_schema(("classic",), {"tiers.vote": "score; R1"})

    def same(reader, part):
        if not isinstance(reader, SectionReader | PlainReader):
            assert part.get("description"), part
            return 1
        assert part["additionalProperties"] is False
        keys = dict(reader.keys())
        assert set(part["properties"]) - {"extends"} == set(keys)
        return sum(same(below, part["properties"][key]) for key, below in keys.items())

    assert same(SectionReader(Policy), schema) > 150
    vote = schema["properties"]["tiers"]["properties"]["vote"]
    assert vote == {
        "type": "number",
        "minimum": 0.05,
        "maximum": 0.95,
        "description": "score; R1; a number from 0.05 to 0.95",
    }
    assert set(schema["then"]["required"]) == set(classic_table())


def test_the_schema_takes_classic_and_refuses_slips():
    schema = policy_schema(("classic",), {})
    assert not list(misfits(schema, classic_table()))
    table = classic_table()
    table["tiers"] |= {"vote": 2, "cooldown": "6 %", "confirm": 1.5}
    table["budget"]["session_share"] = 0.25
    table["layers"]["NEAR"]["delta"] = [0.3]
    table["near"]["trigger"] = "whim"
    assert len(list(misfits(schema, table))) == 6


KINDS = {"number": int | float, "integer": int, "string": str, "boolean": bool, "array": list, "object": dict}


def misfits(schema, value):
    """Check the part of JSON Schema that the schema uses; yield what does not fit."""
    if "anyOf" in schema:
        fits = any(not list(misfits(item, value)) for item in schema["anyOf"])
    else:
        fits = is_kind(schema, value)
    if not fits:
        yield value
    elif schema.get("type") == "array":
        parts = schema.get("prefixItems", [schema.get("items", {})] * len(value))
        for part, item in zip(parts, value, strict=True):
            yield from misfits(part, item)
    elif schema.get("type") == "object":
        for key, item in value.items():
            yield from misfits(schema["properties"].get(key, {}), item)


def is_kind(schema, value):
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    kind = schema.get("type")
    if kind is None:
        return True
    return (
        isinstance(value, KINDS[kind])
        and {
            "number": lambda: schema["minimum"] <= value <= schema["maximum"],
            "integer": lambda: schema["minimum"] <= value <= schema["maximum"],
            "string": lambda: bool(re.search(schema.get("pattern", ""), value)),
            "array": lambda: schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)),
        }.get(kind, lambda: True)()
    )
