"""Who controls the Safe: agreed to once, told when it changes, and a damaged memory is not guessed."""

from dataclasses import replace
from pathlib import Path

import pytest

from bot.chain.safe_control import SafeControl
from bot.chain.safe_state import SafeState
from bot.errors import ConfigError

A, B, C, ZERO = (f"0x{digit * 40}" for digit in "1230")
STATE = SafeState(
    address=A,
    version="1.4.1",
    owners=(A, B),
    threshold=2,
    nonce=3,
    modules=(),
    guard=ZERO,
    fallback_handler=C,
    singleton=C,
)
CHANGES = {
    "owners": (A, C),
    "threshold": 1,
    "modules": (B,),
    "guard": B,
    "fallback_handler": B,
    "singleton": B,
    "version": "1.3.0",
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_told_once_and_then_agreed_to(tmp_path: Path, name: str) -> None:
    told: list[str] = []
    control = SafeControl(tmp_path / "control.json", on_change=told.append)
    assert control.check(STATE) == ""
    changed = replace(STATE, **{name: CHANGES[name]})
    said = control.check(changed)
    assert f"{name.replace('_', ' ')} was" in said
    assert told == [said]
    assert SafeControl(tmp_path / "control.json", on_change=told.append).check(changed) == ""
    assert len(told) == 1


def test_the_nonce_and_the_order_of_owners_are_no_change(tmp_path: Path) -> None:
    told: list[str] = []
    control = SafeControl(tmp_path / "control.json", on_change=told.append)
    control.check(STATE)
    assert control.check(replace(STATE, nonce=9, owners=(B, A))) == ""
    assert told == []


def test_a_change_that_could_not_pause_is_told_again(tmp_path: Path) -> None:
    def fails(_: str) -> None:
        raise ConfigError("nothing is paused")

    control = SafeControl(tmp_path / "control.json", on_change=fails)
    control.check(STATE)
    for _ in range(2):
        with pytest.raises(ConfigError, match="nothing is paused"):
            control.check(replace(STATE, threshold=1))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"owners": 1}'])
def test_a_damaged_memory_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "control.json").write_text(text)
    with pytest.raises(ConfigError, match="is damaged"):
        SafeControl(tmp_path / "control.json", on_change=print).check(STATE)
