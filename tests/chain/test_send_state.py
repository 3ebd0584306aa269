"""The life of one transaction: legal events, the one next action, and closing by facts alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from send_builders import leg

from bot.chain.send_errors import SendResult
from bot.chain.send_state import (
    ALLOWED,
    Action,
    Do,
    Facts,
    Intent,
    Mined,
    SendPolicy,
    advance,
    fold,
    next_action,
    next_nonce,
)
from bot.errors import InvariantError
from bot.model.hedge import HedgeLeg
from bot.model.intent import CLOSED_STATES, IntentEvent, Receipt
from bot.model.intent import IntentState as S
from bot.pipeline.memory_journal import MemoryJournal

ME = "0x" + "aa" * 20
VENUE = "0x" + "bb" * 20
POLICY = SendPolicy(confirmations=3, resend_after_s=4.0, bump_after_s=30.0, foreign_polls=5)


def event(state: S, **changes) -> IntentEvent:
    values = {
        "key": "leg/1-open", "leg_key": "leg", "purpose": "open", "state": state, "at_s": 1.0,
        "chain_id": 1, "sender": ME, "nonce": 7,
    }  # fmt: skip
    if state in (S.RESERVED, S.SIGNED):
        values |= {"to": VENUE, "data": "0x01", "valid_until_s": 100.0}
    if state is S.SIGNED:
        values |= {"raw": "0xr1", "tx_hash": "0xh1"}
    if state in (S.MINED, S.FINAL, S.REVERTED, S.CANCELLED):
        values |= {"tx_hash": "0xh1", "block_hash": "0xb1", "block_number": 50, "gas_cost_wei": 9}
    return IntentEvent(**{**values, **changes})


CANCEL = {"to": ME, "data": "0x", "raw": "0xc", "tx_hash": "0xhc"}
LIVES = {
    S.RESERVED: [event(S.RESERVED)],
    S.SIGNED: [event(S.RESERVED), event(S.SIGNED)],
    S.SENT: [event(S.RESERVED), event(S.SIGNED), event(S.SENT)],
    S.MINED: [event(S.RESERVED), event(S.SIGNED), event(S.SENT), event(S.MINED)],
}


def intent(state: S = S.SENT) -> Intent:
    return fold(LIVES[state])["leg/1-open"]


def facts(**changes) -> Facts:
    values = {
        "head_number": 60, "head_time_s": 50.0, "nonce": 7, "final_nonce": 7, "newest_known": True,
        "since_broadcast_s": 1.0, "since_signed_s": 1.0, "last_result": SendResult.TAKEN,
    }  # fmt: skip
    return Facts(**{**values, **changes})


def mined(**changes) -> Mined:
    values = {
        "tx_hash": "0xh1", "succeeded": True, "block_number": 50, "block_hash": "0xb1", "gas_cost_wei": 9,
    }  # fmt: skip
    return Mined(**{**values, **changes})


# events


@pytest.mark.parametrize("before", [None, *S], ids=str)
@pytest.mark.parametrize("after", list(S), ids=str)
def test_only_allowed_states_may_follow(before, after):
    closed = {
        S.FINAL: [*LIVES[S.MINED], event(S.FINAL)],
        S.REVERTED: [*LIVES[S.MINED], event(S.REVERTED)],
        S.CANCELLED: [*LIVES[S.SENT], event(S.SIGNED, **CANCEL), event(S.MINED, tx_hash="0xhc"),
                      event(S.CANCELLED, tx_hash="0xhc")],
        S.LOST: [*LIVES[S.SENT], event(S.LOST)],
        S.RELEASED: [*LIVES[S.RESERVED], event(S.RELEASED)],
    }  # fmt: skip
    life = [] if before is None else {**LIVES, **closed}[before]
    known = fold(life).get("leg/1-open")
    changes = {"tx_hash": "0xh2", "raw": "0xr2"} if after is S.SIGNED and known and known.attempts else {}
    if after is S.CANCELLED and before is S.MINED:
        with pytest.raises(InvariantError, match="does not fit"):
            advance(known, event(after))
    elif after in ALLOWED[before]:
        assert advance(known, event(after, **changes)).state is after
    else:
        with pytest.raises(InvariantError, match="cannot follow"):
            advance(known, event(after, **changes))


def test_nothing_follows_a_closed_state():
    assert all(not ALLOWED[state] for state in CLOSED_STATES)
    assert set(ALLOWED) == {None, *S}


@pytest.mark.parametrize(
    ("life", "bad", "words"),
    [
        (S.RESERVED, event(S.SIGNED, nonce=8), "owns nonce 7"),
        (S.RESERVED, event(S.SIGNED, sender=VENUE), "owns nonce 7"),
        (S.RESERVED, event(S.SIGNED, chain_id=2), "owns nonce 7"),
        (S.RESERVED, event(S.SIGNED, raw=""), "without its bytes"),
        (S.RESERVED, event(S.SIGNED, tx_hash=""), "without its bytes"),
        (S.RESERVED, event(S.SIGNED, data="0x02"), "fees only"),
        (S.RESERVED, event(S.SIGNED, to=ME), "fees only"),
        (S.SENT, event(S.SIGNED), "signed twice"),
        (S.SENT, event(S.MINED, tx_hash="0xother"), "never signed here"),
        (S.MINED, event(S.FINAL, block_hash="0xb2"), "another receipt"),
        (S.MINED, event(S.FINAL, tx_hash="0xh2"), "another receipt"),
    ],
)
def test_an_event_that_contradicts_the_journal_is_refused(life, bad, words):
    with pytest.raises(InvariantError, match=words):
        advance(intent(life), bad)


def test_what_began_is_kept_whole_and_nothing_else_is_known_yet():
    begun = advance(None, event(S.RESERVED, max_gas_cost_wei=5, because="the peg slipped"))
    assert begun == Intent(
        key="leg/1-open", leg_key="leg", purpose="open", chain_id=1, sender=ME, nonce=7, to=VENUE,
        data="0x01", valid_until_s=100.0, state=S.RESERVED, max_gas_cost_wei=5, attempts=(), tx_hash="",
        block_number=0, block_hash="", gas_cost_wei=0, because="the peg slipped",
    )  # fmt: skip
    plain = advance(None, event(S.RESERVED))
    assert (plain.max_gas_cost_wei, plain.because) == (0, "")


def test_a_receipt_is_kept_whole_and_forgotten_with_its_block():
    seen = advance(intent(S.SENT), event(S.MINED))
    assert (seen.tx_hash, seen.block_number, seen.block_hash, seen.gas_cost_wei) == ("0xh1", 50, "0xb1", 9)
    gone = advance(seen, event(S.SENT))
    assert (gone.tx_hash, gone.block_number, gone.block_hash) == ("", 0, "")
    closed = advance(seen, event(S.FINAL, gas_cost_wei=10))
    assert (closed.tx_hash, closed.block_number, closed.gas_cost_wei) == ("0xh1", 50, 10)


@pytest.mark.parametrize("data", ["", "0x"])
def test_only_a_transfer_of_nothing_to_ourselves_is_a_cancel(data):
    cancelling = advance(intent(S.SENT), event(S.SIGNED, **{**CANCEL, "data": data}))
    assert cancelling.newest.is_cancel
    paid = fold([event(S.RESERVED, data=data), event(S.SIGNED, data=data)])["leg/1-open"]
    assert not paid.is_cancelling  # it goes to the venue


def test_after_a_cancel_the_call_is_never_sent_again():
    cancelling = advance(intent(S.SENT), event(S.SIGNED, **CANCEL))
    with pytest.raises(InvariantError, match="being cancelled"):
        advance(cancelling, event(S.SIGNED, raw="0xr9", tx_hash="0xh9"))


def test_a_mined_cancel_is_not_a_hedge():
    cancelling = advance(intent(S.SENT), event(S.SIGNED, **CANCEL))
    seen = advance(cancelling, event(S.MINED, tx_hash="0xhc"))
    with pytest.raises(InvariantError, match="does not fit"):
        advance(seen, event(S.FINAL, tx_hash="0xhc"))


def test_the_next_nonce_counts_all_but_released_intents():
    events = [*LIVES[S.SENT], event(S.RESERVED, key="b", nonce=8), event(S.RELEASED, key="b", nonce=8)]
    intents = fold(events).values()
    assert next_nonce(intents, chain_id=1, sender=ME) == 8
    assert next_nonce(intents, chain_id=2, sender=ME) is None
    assert next_nonce(fold(LIVES[S.RESERVED]).values(), chain_id=1, sender=ME) == 8
    two = fold([*LIVES[S.SENT], event(S.RESERVED, key="b", nonce=8)]).values()
    assert next_nonce(two, chain_id=1, sender=ME) == 9
    assert next_nonce(two, chain_id=1, sender=VENUE) is None


# the next action

TABLE = [
    ("never signed", intent(S.RESERVED), facts(), Action(do=Do.CLOSE, state=S.RELEASED)),
    ("signed, not sent by us yet", intent(S.SIGNED), facts(since_broadcast_s=None), Action(do=Do.BROADCAST)),
    ("known and young", intent(), facts(), Action(do=Do.WAIT)),
    ("unknown, sent just now", intent(), facts(newest_known=False), Action(do=Do.WAIT)),
    (
        "unknown for long",
        intent(),
        facts(newest_known=False, since_broadcast_s=4.0),
        Action(do=Do.BROADCAST),
    ),
    ("known, sent long ago", intent(), facts(since_broadcast_s=9.0), Action(do=Do.WAIT)),
    ("known for long", intent(), facts(since_signed_s=30.0), Action(do=Do.BUMP)),
    (
        "unknown for long and taken",
        intent(),
        facts(since_signed_s=30.0, newest_known=False),
        Action(do=Do.BUMP),
    ),
    ("no room to bump", intent(), facts(since_signed_s=30.0, can_bump=False), Action(do=Do.WAIT)),
    (
        "underpriced",
        intent(),
        facts(newest_known=False, last_result=SendResult.UNDERPRICED),
        Action(do=Do.BUMP),
    ),
    (
        "underpriced by one node, known to another",
        intent(),
        facts(last_result=SendResult.UNDERPRICED),
        Action(do=Do.WAIT),
    ),
    (
        "no funds",
        intent(),
        facts(newest_known=False, last_result=SendResult.NO_FUNDS, since_broadcast_s=4.0),
        Action(do=Do.BROADCAST),
    ),
    (
        "no funds for long: a higher fee would make it worse",
        intent(),
        facts(
            newest_known=False, last_result=SendResult.NO_FUNDS, since_broadcast_s=4.0, since_signed_s=99.0
        ),
        Action(do=Do.BROADCAST),
    ),
    (
        "no funds by one node, known to another, for long",
        intent(),
        facts(last_result=SendResult.NO_FUNDS, since_signed_s=99.0),
        Action(do=Do.BUMP),
    ),
    (
        "gas limit",
        intent(),
        facts(newest_known=False, last_result=SendResult.GAS_LIMIT),
        Action(do=Do.REGAS),
    ),
    (
        "gas limit by one node, known to another",
        intent(),
        facts(last_result=SendResult.GAS_LIMIT),
        Action(do=Do.WAIT),
    ),
    (
        "gas limit of a cancel that is all there is",
        fold([event(S.RESERVED), event(S.SIGNED, **CANCEL)])["leg/1-open"],
        facts(newest_known=False, last_result=SendResult.GAS_LIMIT),
        Action(do=Do.WAIT),
    ),
    (
        "gas limit again",
        advance(intent(), event(S.SIGNED, raw="0xr2", tx_hash="0xh2")),
        facts(newest_known=False, last_result=SendResult.GAS_LIMIT),
        Action(do=Do.WAIT),
    ),
    (
        "gas limit, and the cap leaves no room for a replacement",
        intent(),
        facts(newest_known=False, last_result=SendResult.GAS_LIMIT, can_bump=False),
        Action(do=Do.WAIT),
    ),
    ("signed or not, nobody knows", intent(S.RESERVED), facts(may_be_signed=True), Action(do=Do.CANCEL)),
    ("never signed", intent(S.RESERVED), facts(), Action(do=Do.CLOSE, state=S.RELEASED)),
    (
        "at depth, not final by the node's word",
        intent(S.MINED),
        facts(receipts=(mined(),), final_block=49),
        Action(do=Do.WAIT),
    ),
    (
        "at depth and final by the node's word",
        intent(S.MINED),
        facts(receipts=(mined(),), final_block=50),
        Action(do=Do.CLOSE, state=S.FINAL, mined=mined()),
    ),
    (
        "final by the node's word, not at depth",
        intent(S.MINED),
        facts(receipts=(mined(),), head_number=51, final_block=51),
        Action(do=Do.WAIT),
    ),
    ("at its time", intent(), facts(head_time_s=100.0), Action(do=Do.WAIT)),
    ("past its time", intent(), facts(head_time_s=100.1), Action(do=Do.CANCEL)),
    (
        "past its time and never sent by this process",
        intent(S.SIGNED),
        facts(head_time_s=101.0, since_broadcast_s=None),
        Action(do=Do.CANCEL),
    ),
    (
        "past its time with a cancel out",
        advance(intent(), event(S.SIGNED, **CANCEL)),
        facts(head_time_s=101.0),
        Action(do=Do.WAIT),
    ),
    ("receipt", intent(), facts(receipts=(mined(),)), Action(do=Do.RECORD, state=S.MINED, mined=mined())),
    (
        "receipt without a sent row (killed in between)",
        intent(S.SIGNED),
        facts(receipts=(mined(),), since_broadcast_s=None),
        Action(do=Do.RECORD, state=S.MINED, mined=mined()),
    ),
    (
        "receipt beats valid-until",
        intent(),
        facts(receipts=(mined(),), head_time_s=999.0),
        Action(do=Do.RECORD, state=S.MINED, mined=mined()),
    ),
    (
        "moved to another block",
        intent(S.MINED),
        facts(receipts=(mined(block_hash="0xb2"),)),
        Action(do=Do.RECORD, state=S.MINED, mined=mined(block_hash="0xb2")),
    ),
    (
        "another of our own in the same block",
        advance(
            advance(intent(), event(S.SIGNED, raw="0xr2", tx_hash="0xh2")), event(S.MINED, tx_hash="0xh2")
        ),
        facts(receipts=(mined(),)),
        Action(do=Do.RECORD, state=S.MINED, mined=mined()),
    ),
    (
        "one block short of depth",
        intent(S.MINED),
        facts(receipts=(mined(),), head_number=51),
        Action(do=Do.WAIT),
    ),
    (
        "at depth",
        intent(S.MINED),
        facts(receipts=(mined(),), head_number=52),
        Action(do=Do.CLOSE, state=S.FINAL, mined=mined()),
    ),
    (
        "failed at depth",
        intent(S.MINED),
        facts(receipts=(mined(succeeded=False),), head_number=52),
        Action(do=Do.CLOSE, state=S.REVERTED, mined=mined(succeeded=False)),
    ),
    ("reorged out", intent(S.MINED), facts(), Action(do=Do.RECORD, state=S.SENT)),
    (
        "head older than the receipt's block",
        intent(S.MINED),
        facts(receipts=(mined(),), head_number=40),
        Action(do=Do.WAIT),
    ),
    ("nonce used, by nobody knows whom", intent(), facts(nonce=8, final_nonce=8), Action(do=Do.WAIT)),
    ("nonce used, not deep", intent(), facts(nonce=8, stranger="0xhf"), Action(do=Do.WAIT)),
    (
        "nonce used by another, deep",
        intent(),
        facts(nonce=8, final_nonce=8, stranger="0xhf"),
        Action(do=Do.CLOSE, state=S.LOST),
    ),
    (
        "a receipt that is not ours",
        intent(),
        facts(receipts=(mined(tx_hash="0xother"),)),
        Action(do=Do.WAIT),
    ),
    ("closed", advance(intent(S.MINED), event(S.FINAL)), facts(head_time_s=1e9), Action(do=Do.NOTHING)),
]


@pytest.mark.parametrize(("name", "known", "seen", "wanted"), TABLE, ids=[row[0] for row in TABLE])
def test_the_next_action(name, known, seen, wanted):
    assert next_action(known, seen, POLICY) == wanted


@pytest.mark.parametrize(
    "seen",
    [
        facts(since_signed_s=30.0, can_bump=False),
        facts(newest_known=False, last_result=SendResult.UNDERPRICED, can_bump=False),
        facts(newest_known=False, last_result=SendResult.UNDERPRICED, can_bump=False, since_broadcast_s=9.0),
    ],
)
def test_what_a_cap_holds_back_is_called_too_dear(seen):
    """REL-C8: the words that the alert shows."""
    assert "gas is too dear" in next_action(intent(), seen, POLICY).because


def test_a_mined_cancel_closes_as_cancelled():
    cancelling = advance(intent(S.SENT), event(S.SIGNED, **CANCEL))
    seen = advance(cancelling, event(S.MINED, tx_hash="0xhc"))
    receipt = mined(tx_hash="0xhc")
    action = next_action(seen, facts(receipts=(receipt,)), POLICY)
    assert action == Action(do=Do.CLOSE, state=S.CANCELLED, mined=receipt)


def test_what_waits_says_why_only_when_something_is_wrong():
    assert next_action(intent(), facts(), POLICY).because == ""
    unknown = next_action(intent(), facts(newest_known=False, since_broadcast_s=4.0), POLICY)
    assert unknown.because == "the node does not know it"
    assert Action(do=Do.WAIT).because == ""


def test_a_receipt_of_the_chain_is_taken_over_field_by_field():
    receipt = Receipt(
        tx_hash="0xh1",
        succeeded=True,
        block_number=50,
        block_hash="0xb1",
        gas_used=3,
        gas_cost_wei=9,
        logs=(),
    )
    assert Mined.of(receipt) == mined(gas_used=3)
    assert mined().gas_used == 0


def test_a_poll_that_learned_nothing_claims_nothing():
    assert Facts(head_number=1, head_time_s=1.0, nonce=0, final_nonce=0) == Facts(
        head_number=1, head_time_s=1.0, nonce=0, final_nonce=0, receipts=(), newest_known=False,
        since_broadcast_s=None, since_signed_s=0.0, last_result=None, can_bump=True, stranger="",
        final_block=None, may_be_signed=False,
    )  # fmt: skip


times = st.floats(0, 1e6)
any_facts = st.builds(
    Facts,
    head_number=st.integers(0, 100),
    head_time_s=times,
    nonce=st.integers(0, 10),
    final_nonce=st.integers(0, 10),
    receipts=st.lists(
        st.builds(
            Mined,
            tx_hash=st.sampled_from(["0xh1", "0xhc", "0xother"]),
            succeeded=st.booleans(),
            block_number=st.integers(0, 100),
            block_hash=st.sampled_from(["0xb1", "0xb2"]),
            gas_cost_wei=st.integers(0, 10),
        ),
        max_size=2,
    ).map(tuple),
    newest_known=st.booleans(),
    since_broadcast_s=st.none() | times,
    since_signed_s=times,
    last_result=st.none() | st.sampled_from(SendResult),
    can_bump=st.booleans(),
    stranger=st.sampled_from(["", "0xhf"]),
    final_block=st.none() | st.integers(0, 100),
    may_be_signed=st.booleans(),
)
lives = st.sampled_from(
    [*(intent(state) for state in LIVES), advance(intent(S.SENT), event(S.SIGNED, **CANCEL))]
)


@given(lives, any_facts)
@settings(max_examples=500)
def test_only_a_fact_of_the_chain_at_depth_closes(known, seen):
    """Safety order, rule 1. And whatever is decided to be written is a legal event."""
    action = next_action(known, seen, POLICY)
    if action.do is Do.CLOSE and action.mined is not None:
        assert action.mined in seen.receipts
        assert seen.head_number - action.mined.block_number + 1 >= POLICY.confirmations
        assert seen.final_block is None or action.mined.block_number <= seen.final_block
        assert (known.tx_hash, known.block_hash) == (action.mined.tx_hash, action.mined.block_hash)
    elif action.do is Do.CLOSE and known.state is not S.RESERVED:
        assert action.state is S.LOST
        assert seen.final_nonce > known.nonce
        assert seen.stranger
    if action.do in (Do.CLOSE, Do.RECORD):
        assert action.state in ALLOWED[known.state]
    if action.do in (Do.BROADCAST, Do.BUMP, Do.REGAS):
        assert known.attempts
    if action.do in (Do.BROADCAST, Do.BUMP, Do.REGAS, Do.CANCEL) and known.attempts:
        assert seen.nonce <= known.nonce
    if action.do is Do.CANCEL and not known.attempts:
        assert seen.may_be_signed


def test_a_nonsense_policy_is_refused():
    for bad in (
        {"confirmations": 0},
        {"foreign_polls": 0},
        {"bump_after_s": 0.0},
        {"resend_after_s": 0.0},
        {"resend_after_s": float("nan")},
    ):
        with pytest.raises(InvariantError):
            SendPolicy(**bad)


def test_the_pace_that_is_meant_where_none_is_named_and_the_quickest_that_is_allowed():
    assert SendPolicy() == SendPolicy(confirmations=1, resend_after_s=4.0, bump_after_s=30.0, foreign_polls=5)
    quick = SendPolicy(confirmations=1, foreign_polls=1, resend_after_s=0.1, bump_after_s=0.1)
    assert (quick.resend_after_s, quick.bump_after_s) == (0.1, 0.1)


# a chain, a journal and a driver that may die at any write


class Sending(RuleBasedStateMachine):
    """The driver acts on true facts; the chain mines, forgets, reorganises; the process dies at will.

    Law: an intent has at most one effect, a nonce carries one intent, closed states agree with the chain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.journal = MemoryJournal()
        self.leg: HedgeLeg = leg("leg-0")
        self.journal.open_leg(self.leg, at_s=0.0)
        self.blocks: list[list[str]] = [[]]  # hashes by block
        self.pool: set[str] = set()
        self.signed: dict[str, tuple[str, int, bool]] = {}  # hash -> key, nonce, cancel
        self.sent_here: set[str] = set()
        self.time_s = 0.0
        self.forks = 0
        self.highest = 1
        self.count = 0

    def mined(self) -> list[str]:
        return [tx for block in self.blocks for tx in block]

    def nonce(self, depth: int = 1) -> int:
        return len([tx for block in self.blocks[: len(self.blocks) - depth + 1] for tx in block])

    def open_intent(self) -> Intent | None:
        return next((item for item in fold(self.journal.intents()).values() if item.is_open), None)

    def write(self, known: Intent, state: S, **fields) -> None:
        self.journal.append_intent(
            IntentEvent(
                key=known.key, leg_key=known.leg_key, purpose=known.purpose, state=state, at_s=self.time_s,
                chain_id=1, sender=ME, nonce=known.nonce, **fields,
            )
        )  # fmt: skip

    @precondition(lambda self: self.open_intent() is None)
    @rule()
    def begin(self) -> None:
        intents = fold(self.journal.intents())
        ours = next_nonce(intents.values(), chain_id=1, sender=ME)
        nonce = self.nonce() if ours is None else ours
        if nonce != self.nonce():
            return  # the journal knows more than this chain shows: nothing is signed
        self.count += 1
        key = f"leg-0/{self.count}-open"
        self.journal.append_intent(
            event(S.RESERVED, key=key, leg_key="leg-0", nonce=nonce, valid_until_s=self.time_s + 50)
        )

    @precondition(lambda self: (known := self.open_intent()) is not None and known.state is S.RESERVED)
    @rule()
    def sign(self) -> None:
        known = self.open_intent()
        self._sign(known, cancel=False)

    def _sign(self, known: Intent, *, cancel: bool) -> None:
        tx = f"0xtx{len(self.signed)}"
        self.signed[tx] = (known.key, known.nonce, cancel)
        to, data = (ME, "0x") if cancel else (VENUE, "0x01")
        self.write(known, S.SIGNED, raw=f"raw {tx}", tx_hash=tx, to=to, data=data)

    @precondition(lambda self: (known := self.open_intent()) is not None and known.state is not S.RESERVED)
    @rule(loses=st.booleans(), slow=st.booleans())
    def step(self, loses: bool, slow: bool) -> None:
        known = self.open_intent()
        action = next_action(known, self._facts(known, slow), SendPolicy(confirmations=2, foreign_polls=1))
        newest = known.newest
        if action.do is Do.BROADCAST:
            self.sent_here.add(newest.tx_hash)
            if known.nonce >= self.nonce():
                self.pool.add(newest.tx_hash)
            if known.state is S.SIGNED and not loses:
                self.write(known, S.SENT, tx_hash=newest.tx_hash)
        elif action.do in (Do.BUMP, Do.CANCEL):
            self._sign(known, cancel=action.do is Do.CANCEL or newest.is_cancel)
        elif action.state is not None:
            found = action.mined
            fields = (
                {"tx_hash": found.tx_hash, "block_number": found.block_number, "block_hash": found.block_hash}
                if found
                else {}
            )
            self.write(known, action.state, **fields)

    def _facts(self, known: Intent, slow: bool) -> Facts:
        receipts = tuple(
            Mined(tx_hash=tx, succeeded=True, block_number=number, block_hash=f"{self.forks}-{number}-{tx}",
                  gas_cost_wei=1)
            for number, block in enumerate(self.blocks)
            for tx in block
            if any(attempt.tx_hash == tx for attempt in known.attempts)
        )  # fmt: skip
        here = known.newest.tx_hash in self.sent_here
        return Facts(
            head_number=len(self.blocks) - 1,
            head_time_s=self.time_s,
            nonce=self.nonce(),
            final_nonce=self.nonce(depth=2),
            receipts=receipts,
            newest_known=known.newest.tx_hash in self.pool,
            since_broadcast_s=10.0 if here else None,
            since_signed_s=60.0 if slow else 1.0,
        )

    @rule()
    def die(self) -> None:
        """A restart knows only the journal; what was reserved and not signed is released."""
        self.sent_here.clear()
        known = self.open_intent()
        if known is not None and known.state is S.RESERVED:
            self.write(known, S.RELEASED)

    @rule(pick=st.randoms(use_true_random=False))
    def mine(self, pick) -> None:
        ready = sorted(tx for tx in self.pool if self.signed[tx][1] == self.nonce())
        chosen = [pick.choice(ready)] if ready else []
        self.blocks.append(chosen)
        self.highest = max(self.highest, len(self.blocks))
        self.pool = {tx for tx in self.pool if self.signed[tx][1] >= self.nonce()}
        self.time_s += 12

    @rule()
    def forget(self) -> None:
        self.pool.clear()

    @precondition(lambda self: len(self.blocks) == self.highest > 2)
    @rule(returned=st.booleans())
    def reorg(self, returned: bool) -> None:
        """One block goes, which is less than the confirmation depth; its transactions may come back."""
        gone = self.blocks.pop()
        self.forks += 1
        if returned:
            self.pool.update(gone)

    @invariant()
    def each_nonce_carries_one_intent(self) -> None:
        owners: dict[int, set[str]] = {}
        for key, nonce, _ in self.signed.values():
            owners.setdefault(nonce, set()).add(key)
        assert all(len(keys) == 1 for keys in owners.values())

    @invariant()
    def at_most_one_effect_for_each_intent(self) -> None:
        keys = [self.signed[tx][0] for tx in self.mined()]
        assert len(keys) == len(set(keys))

    @invariant()
    def closed_states_agree_with_the_chain(self) -> None:
        for known in fold(self.journal.intents()).values():
            mine = [tx for tx in self.mined() if self.signed[tx][0] == known.key]
            if known.state is S.FINAL:
                assert mine == [known.tx_hash]
                assert not self.signed[mine[0]][2]
            elif known.state is S.CANCELLED:
                assert mine == [known.tx_hash]
                assert self.signed[mine[0]][2]
            elif known.state is S.RELEASED:
                assert not mine
            assert known.state is not S.LOST  # nobody else has the key here


Sending.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSending = Sending.TestCase


@pytest.mark.parametrize(
    ("changes", "is_stuck"),
    [
        ({"since_signed_s": 1e6, "can_bump": False}, True),  # gas is too dear
        ({"since_signed_s": 1e6, "last_result": SendResult.NO_FUNDS, "newest_known": False}, True),
        ({"since_signed_s": 1e6, "nonce": 8}, True),  # mined, and no receipt of it comes
        ({"nonce": 8}, False),
        ({"last_result": SendResult.NO_FUNDS, "newest_known": False}, False),
        ({"can_bump": False}, False),
    ],
)
def test_what_waits_for_long_for_what_a_person_can_mend_says_so(changes, is_stuck):
    """REL-C8, T9, F15: the step that waits for it may take minutes."""
    assert next_action(intent(), facts(**changes), SendPolicy()).is_stuck is is_stuck
