"""What judges the tests is tested: mutants are sound and keep their names, verdicts are those of a change."""

import pytest

from campaign.mutant_session import in_child, put_in_place
from campaign.mutants import mutants_of
from campaign.mutation import CAP_FUNCTIONS, CHAIN_ID_FUNCTIONS, MODULES, TESTS, equivalents
from campaign.place import ROOT

TEXT = '''"""A module."""
LIMIT = 5


def check(value, *, least=1):
    """Say whether it fits."""
    if value < least or not value:
        raise ValueError("a message of no matter")
    return min(value, LIMIT)


def after(x):
    note(x)
'''


def found(text: str = TEXT) -> dict[str, str]:
    return {mutant.id: mutant.new for mutant in mutants_of("bot/sample.py", text)}


def test_each_kind_of_change_is_made():
    made = found()
    assert made["sample::constant:1"] == "(6)"
    assert {made["sample:check:compare:1"], made["sample:check:compare:2"]} == {
        "(value <= least)", "(value >= least)",
    }  # fmt: skip
    assert made["sample:check:statement:1"] == "pass"  # the refusal is gone
    assert (made["sample:check:branch:1"], made["sample:check:branch:2"]) == ("True", "False")
    assert made["sample:check:name:1"] == "(max(value, LIMIT))"
    assert made["sample:check:return:1"] == "return None"
    assert made["sample:after:statement:1"] == "pass"
    assert "message" not in "".join(made.values())


def test_a_change_elsewhere_renames_nothing():
    above = TEXT.replace("LIMIT = 5\n", "LIMIT = 5\n\n\ndef more(y):\n    return y + 1\n")
    assert {name for name in found() if name.startswith("sample:check:")} <= set(found(above))


def test_a_mutant_is_one_change_of_the_text():
    for mutant in mutants_of("bot/sample.py", TEXT):
        compile(mutant.applied(TEXT), mutant.file, "exec")
        assert mutant.diff(TEXT).count("\n-") == 1


@pytest.mark.parametrize("module", MODULES)
def test_names_are_unique_and_tests_are_there(module):
    made = mutants_of(module, (ROOT / module).read_text("utf-8"))
    assert len({mutant.id for mutant in made}) == len(made) > 50
    assert all((ROOT / name).is_file() for name in TESTS[module])


def test_what_must_be_killed_whole_is_there_and_what_is_equivalent_too():
    made = [mutant for name in MODULES for mutant in mutants_of(name, (ROOT / name).read_text("utf-8"))]
    places = {mutant.id.rpartition(":")[0].rpartition(":")[0] for mutant in made}
    assert set(CAP_FUNCTIONS) | set(CHAIN_ID_FUNCTIONS) <= places
    assert set(equivalents()) <= {mutant.id for mutant in made}
    assert len(equivalents()) < 0.05 * len(made)
    assert all(reason for reason in equivalents().values())


def test_a_mutant_is_in_place_in_its_own_process_alone():
    """Of a property, which others hold already."""
    from bot.chain.signing.rules import SigningRules

    name = "bot/chain/signing/rules.py"
    text = (ROOT / name).read_text("utf-8")
    (mutant,) = [
        item for item in mutants_of(name, text) if item.id == "rules:SigningRules.chain_ids:return:1"
    ]
    rules = SigningRules(chains=())

    def work() -> str:
        put_in_place(mutant, text)
        return "" if rules.chain_ids is None else "it is as it was"

    assert in_child(work, limit_s=60.0) == (0, "")
    assert rules.chain_ids == []


def test_a_child_that_does_not_end_is_ended():
    def work() -> str:
        while True:
            pass

    assert in_child(work, limit_s=0.2)[0] not in (0, 1)
