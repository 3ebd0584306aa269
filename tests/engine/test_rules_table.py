"""The table of rules tells the truth."""

import ast
import tomllib
from pathlib import Path

import pytest
from engine.factory import CLASSIC_FILE

from bot.engine.rule_table import RULES

SLICE = {
    "R1",
    "R2",
    "R3",
    "R4",
    "R5",
    "R6",
    "R7",
    "R8",
    "R9",
    "R10",
    "R11",
    "R12",
    "R13",
    "R14",
    "R15",
    "R16",
    "R17",
    "R18",
    "R19",
    "R20",
    "R21",
    "R24",
    "R25",
    "R27",
    "R28",
    "R29",
}


def test_every_rule_of_the_slice_is_listed():
    assert set(RULES) == SLICE


@pytest.mark.parametrize("rule", RULES)
def test_listed_functions_tests_and_policy_keys_exist(rule):
    entry = RULES[rule]
    assert callable(entry.function)
    assert entry.tests
    for name in entry.tests:
        file, _, test = name.partition("::")
        tree = ast.parse((Path(__file__).parent / file).read_text())
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name
    table = tomllib.loads(CLASSIC_FILE.read_text())
    for key in entry.policy_keys:
        place = table
        for part in key.split("."):
            assert part in place, key
            place = place[part]
