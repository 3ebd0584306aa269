"""The rolling cap holds in true time, whatever crashes and whichever clock jumps (REL-L1, H5, I3)."""

import json
import tempfile
import zlib
from pathlib import Path
from random import Random

import pytest
from campaign.caps import STEPS, act, sequence
from caps_world import CAP_RAW, GAS_CAP_WEI, TEN_YEARS_S, TRANSACTION_RAW, CapsWorld
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.chain.signing.memory import SignerMemory, uptime
from bot.model.units import DAY_S, HOUR_S

JUMPS = st.sampled_from([-TEN_YEARS_S, -HOUR_S, -900.0, -60.0, 0.0, 60.0, 900.0, HOUR_S, DAY_S, TEN_YEARS_S])
SPANS = st.sampled_from([1.0, 60.0, HOUR_S, 6 * HOUR_S, DAY_S - 1, DAY_S, 3.0 * DAY_S])
AMOUNTS = st.integers(1, TRANSACTION_RAW)


class Caps(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.world = CapsWorld(Path(self._folder.name))

    def teardown(self) -> None:
        self.world.memory.close()
        self._folder.cleanup()

    @rule(raw=AMOUNTS)
    def buy(self, raw: int) -> None:
        self.world.buy(raw)

    @rule(back=st.integers(0, 2), fee_gwei=st.integers(21, 40))
    def replace(self, back: int, fee_gwei: int) -> None:
        self.world.replace(back, fee_gwei)

    @rule(back=st.integers(0, 2), fee_gwei=st.integers(20, 600))
    def cancel(self, back: int, fee_gwei: int) -> None:
        self.world.cancel(back, fee_gwei)

    @rule(seconds=SPANS)
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(raw=AMOUNTS, part=st.floats(0.0, 1.0))
    def crash(self, raw: int, part: float) -> None:
        self.world.crash(raw, part)

    @rule(off_s=JUMPS)
    def machine_clock_jumps(self, off_s: float) -> None:
        self.world.machine_off_s = off_s

    @rule(off_s=JUMPS)
    def chain_clock_jumps(self, off_s: float) -> None:
        self.world.chain_off_s = off_s

    @precondition(lambda self: 0.0 in (self.world.machine_off_s, self.world.chain_off_s))
    @rule(seconds=SPANS)
    def reboot(self, seconds: float) -> None:
        """Over a boot one clock of the two is right: without a third nobody could know more."""
        self.world.reboot(seconds)
        self.world.machine_off_s = self.world.chain_off_s = 0.0

    @invariant()
    def the_cap_holds(self) -> None:
        assert self.world.most_in_a_day <= CAP_RAW
        assert self.world.most_gas_in_a_day <= GAS_CAP_WEI


Caps.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestCaps = Caps.TestCase


@pytest.fixture
def world(tmp_path: Path):
    made = CapsWorld(tmp_path)
    yield made
    made.memory.close()


def test_clocks_that_jump_ahead_together_free_nothing(world: CapsWorld):
    assert world.buy(600)
    assert world.buy(400)
    world.machine_off_s = world.chain_off_s = TEN_YEARS_S
    assert not world.buy(1)
    world.restart()
    assert not world.buy(1)
    world.pass_time(DAY_S + 901.0)
    assert world.buy(600)


def test_clocks_that_were_ten_years_ahead_lock_nobody_out_once_they_are_right(world: CapsWorld):
    world.machine_off_s = world.chain_off_s = TEN_YEARS_S
    assert world.buy(600)
    assert world.buy(400)
    world.machine_off_s = world.chain_off_s = 0.0
    assert not world.buy(1)
    world.reboot(60.0)
    assert not world.buy(1)  # what is known of the past is that it is not over
    world.pass_time(DAY_S + 901.0)
    assert world.buy(600)


def test_a_machine_that_was_off_for_two_days_has_its_cap_again(world: CapsWorld):
    assert world.buy(600)
    assert world.buy(400)
    world.reboot(2.0 * DAY_S)
    assert world.buy(600)


def test_one_clock_that_jumped_refuses_until_it_is_right(world: CapsWorld):
    world.machine_off_s = HOUR_S
    assert not world.buy(1)
    world.machine_off_s = 0.0
    assert world.buy(1)


def test_a_memory_of_before_uptimes_is_read(tmp_path: Path, world: CapsWorld):
    assert world.buy(600)
    world.memory.close()
    lines = []
    for line in world.path.read_text().splitlines():
        found = json.loads(line[9:])
        if found["kind"] == "time":
            continue
        found.pop("uptime")
        text = json.dumps(found, separators=(",", ":"))
        lines.append(f"{zlib.crc32(text.encode()):08x} {text}\n")
    world.path.write_text("".join(lines))
    world._open()
    assert world.buy(400)
    assert not world.buy(1)


def test_the_machine_says_its_uptime():
    boot, up_s = uptime()
    assert len(boot) == 36
    assert uptime()[0] == boot
    assert 0.0 < up_s <= uptime()[1]


def test_caps_of_a_free_chain_clock_go_by_it_alone(tmp_path: Path):
    memory = SignerMemory(tmp_path / "signer.log")
    assert memory.spent(1, "0x", now_s=0.0) == 0
    assert not (tmp_path / "signer.log").read_bytes()
    memory.close()


def test_the_campaigns_sequences_find_a_cap_that_goes_by_clocks_alone(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(SignerMemory, "counted_s", lambda memory, now_s, _: max(now_s, memory.latest_s))
    over = []
    for seed in range(1, 31):
        (tmp_path / str(seed)).mkdir()
        over.append(sequence(tmp_path / str(seed), seed))
    assert any(over)


def test_the_campaigns_sequences_hold_and_are_refused_often_enough(tmp_path: Path):
    refused = signed = 0
    most_gas: list[int] = []
    for seed in range(1, 31):
        random, world = Random(seed), CapsWorld(tmp_path / str(seed))
        for _ in range(STEPS):
            act(world, random)
        refused, signed = refused + world.refused, signed + len(world.signed)
        world.memory.close()
        most_gas.append(world.most_gas_in_a_day)
        assert world.beyond == 0, seed
    assert min(refused, signed) > 60
    assert max(most_gas) > 0.9 * GAS_CAP_WEI  # that cap was reached too
