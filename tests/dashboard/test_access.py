"""Tokens, sessions and confirmations, by a clock that the tests turn (REL-W4)."""

from dataclasses import dataclass

import pytest

from bot.dashboard.access import FIRST_WAIT_S, FREE_FAILURES, LONGEST_WAIT_S, NONCE_S, SESSION_S, Access

TOKEN = "the-token-of-this-dashboard"


@dataclass
class Clock:
    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(clock) -> Access:
    return Access(TOKEN, clock=clock)


@pytest.mark.parametrize(
    "wrong", ["", " ", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "ü", "\udcff", "x" * 100_000]
)
def test_only_the_token_opens_a_session(access, wrong):
    assert access.login(wrong) is None
    assert access.login(TOKEN) is not None


def test_the_wait_grows_with_each_failure_and_ends_with_a_success(access, clock):
    for _ in range(FREE_FAILURES):
        assert access.wait_s == 0.0
        access.login("wrong")
    assert access.wait_s == FIRST_WAIT_S
    assert access.login(TOKEN) is None  # the right one waits too, or guessing would go on
    for expected_s in (60.0, 120.0, 240.0):
        clock.now_s += access.wait_s
        access.login("wrong")
        assert access.wait_s == expected_s
    for _ in range(30):
        clock.now_s += access.wait_s
        access.login("wrong")
    assert access.wait_s == LONGEST_WAIT_S
    clock.now_s += LONGEST_WAIT_S
    assert access.login(TOKEN) is not None
    access.login("wrong")
    assert access.wait_s == 0.0


def test_what_is_tried_during_the_wait_does_not_prolong_it(access, clock):
    for _ in range(FREE_FAILURES + 50):
        access.login("wrong")
    assert access.wait_s == FIRST_WAIT_S


def test_a_session_ends_where_it_slept_too_long_and_lives_where_it_is_used(access, clock):
    name = access.login(TOKEN)
    for _ in range(5):
        clock.now_s += SESSION_S - 1.0
        assert access.session(name) is not None
    clock.now_s += SESSION_S + 1.0
    assert access.session(name) is None
    assert access.session("") is None


def test_there_are_never_too_many_sessions_and_the_longest_unused_goes(access, clock):
    names = []
    for _ in range(40):
        clock.now_s += 1.0
        names.append(access.login(TOKEN))
    alive = [name for name in names if access.session(name) is not None]
    assert alive == names[-32:]


def test_a_nonce_confirms_one_change_of_its_kind_for_two_minutes(access, clock):
    session = access.session(access.login(TOKEN))
    nonce = access.nonce(session, "pause")
    assert not access.redeem(session, "leave", nonce)
    assert access.redeem(session, "pause", nonce)
    assert not access.redeem(session, "pause", nonce)
    late = access.nonce(session, "pause")
    clock.now_s += NONCE_S + 1.0
    assert not access.redeem(session, "pause", late)


def test_a_session_keeps_few_nonces(access):
    session = access.session(access.login(TOKEN))
    made = [access.nonce(session, "pause") for _ in range(20)]
    assert [access.redeem(session, "pause", item) for item in made].count(True) == 8
