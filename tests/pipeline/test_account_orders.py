"""The loop acts on positions and loans (R21, R29) with the guarantees of legs; alone only where told to."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pipeline_builders import EXPOSURE, FakeVenue, decision, filled, leg, moment

from bot.chain.pause import Pause, write_pause
from bot.errors import InvariantError, OutcomeUnknown, TransientError
from bot.model.account_order import AccountOrder, AccountOutcome, Moved
from bot.model.base_layers import Action, BaseLayer, Needs, Proposal
from bot.model.hedge import LegStatus, Side
from bot.model.intent import IntentEvent, IntentState
from bot.model.record import EngineState, StepRecord
from bot.pipeline import codec
from bot.pipeline.account_orders import ALONE
from bot.pipeline.desk import Desk, Request
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.pipeline.loop import Pipeline
from bot.pipeline.memory_journal import MemoryJournal
from bot.settings import PolicySettings, load_policy

IDENTITY = JournalIdentity(mode="test", chain_id=31337, account="")
POLICY = load_policy(PolicySettings())
SESSION_STEPS = round(POLICY.tiers.session / 3_600.0)  # a moment of the builders is an hour
FIRST_PAUSE_S, _ = POLICY.orders.refusal_pause


@dataclass
class FakeAccount:
    """The AccountVenue port: does what it is told to, and remembers what it was asked."""

    status: LegStatus = LegStatus.FILLED
    fail: Exception | None = None
    because: str = ""
    gas_usd: float = 3.0
    truth: dict[str, AccountOutcome] = field(default_factory=dict)  # what reconcile finds
    asked: list[AccountOrder] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)

    async def execute(self, order: AccountOrder, *, view) -> AccountOutcome:
        self.asked.append(order)
        if self.fail is not None:
            raise self.fail
        return outcome(order, view.now_s, self.status, self.gas_usd, self.because)

    async def reconcile(self, order: AccountOrder, *, view) -> AccountOutcome:
        self.looked.append(order.key)
        if order.key not in self.truth:
            raise TransientError("not seen")
        return self.truth[order.key]


def outcome(
    order: AccountOrder,
    at_s: float = 0.0,
    status: LegStatus = LegStatus.FILLED,
    gas_usd: float = 3.0,
    because: str = "",
) -> AccountOutcome:
    moved = (Moved(asset="ETH", units=math.nan), Moved(asset="USDC", units=5.0))
    return AccountOutcome(
        order=order,
        status=status,
        at_s=at_s,
        moved=moved if status is LegStatus.FILLED else (),
        gas_usd=gas_usd,
        because=because,
    )


def exit_proposal(needs: Needs = Needs.NOBODY, **changes) -> Proposal:
    found = Proposal(
        rule="R29",
        layer=BaseLayer.EXIT,
        action=Action.WITHDRAW,
        subject=EXPOSURE.id,
        amount_usd=50_000.0,
        because="protocol tier CRISIS of uniswap-v2",
        needs=needs,
        part=0.5,
    )
    return replace(found, **changes)


def rescue_proposal(needs: Needs = Needs.NOBODY, **changes) -> Proposal:
    found = Proposal(
        rule="R21",
        layer=BaseLayer.RESERVE,
        action=Action.REPAY,
        subject="aave",
        amount_usd=900.0,
        because="health factor of aave 1.050",
        needs=needs,
        part=0.1,
        from_reserve_usd=600.0,
    )
    return replace(found, **changes)


@pytest.fixture(params=["sqlite", "memory"])
def journal(request, tmp_path: Path):
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SqlJournal(tmp_path / "journal.db", identity=IDENTITY) as found:
        yield found


def pipeline(journal, account, *proposals: Proposal, legs=(), desk=None, options=None) -> Pipeline:
    def decide(policy, state, frame):
        made = decision(frame.now_s, legs)
        return EngineState(), replace(made, holds=frame.holds, proposals=proposals)

    return Pipeline(
        mode="test",
        policy=POLICY,
        decide=decide,
        venues={"fake": options or FakeVenue()},
        journal=journal,
        account_venue=account,
        desk=desk,
    )


def manual(number: int = 1, **changes) -> AccountOrder:
    fields = {
        "key": f"manual.{number}-v2.ETH.USDC-WITHDRAW",
        "group": EXPOSURE.group,
        "action": Action.WITHDRAW,
        "subject": EXPOSURE.id,
        "part": 0.25,
        "valid_until_s": 1e12,
    }
    return AccountOrder(**{**fields, **changes})


# by itself


async def test_an_exit_that_nobody_must_confirm_is_done_once_in_a_session(journal):
    account = FakeAccount()
    loop = pipeline(journal, account, exit_proposal())
    record = await loop.step(moment(1))
    (done,) = record.account_orders
    order = done.order
    assert order.key.startswith(ALONE)
    assert (order.subject, order.group, order.part) == ("v2:ETH/USDC", "ETH/USDC", 0.5)
    assert order.valid_until_s == moment(1).now_s + POLICY.orders.valid_for
    assert order.because == exit_proposal().because
    for number in range(2, SESSION_STEPS + 1):
        assert (await loop.step(moment(number))).account_orders == ()
    assert len(account.asked) == 1
    later = await loop.step(moment(SESSION_STEPS + 1))  # a whole session after it
    assert len(later.account_orders) == 1


async def test_a_restart_does_not_do_it_again(journal):
    await pipeline(journal, FakeAccount(), exit_proposal()).step(moment(1))
    account = FakeAccount()
    for number in range(2, SESSION_STEPS + 1, 7):
        await pipeline(journal, account, exit_proposal()).step(moment(number))
    assert account.asked == []


@pytest.mark.parametrize("proposal", [exit_proposal(Needs.CONFIRMATION), rescue_proposal(Needs.CONFIRMATION)])
async def test_what_a_person_must_confirm_is_never_done(journal, proposal: Proposal):
    account = FakeAccount()
    loop = pipeline(journal, account, proposal)
    for number in range(1, 40):
        record = await loop.step(moment(number))
        assert record.account_orders == ()
    assert account.asked == []
    assert journal.account_outcomes() == journal.open_account_orders() == ()


async def test_where_nothing_signs_nothing_is_done(journal):
    record = await pipeline(journal, None, exit_proposal(), rescue_proposal()).step(moment(1))
    assert record.account_orders == ()
    assert journal.open_account_orders() == ()


async def test_for_a_loan_only_what_reserve_pays_is_paid(journal):
    account = FakeAccount()
    await pipeline(journal, account, rescue_proposal()).step(moment(1))
    (order,) = account.asked
    assert (order.action, order.subject, order.group) == (Action.REPAY, "aave", "aave")
    assert order.amount_usd == 600.0


SENSELESS = [
    exit_proposal(part=math.nan),
    exit_proposal(part=0.0),
    exit_proposal(part=1.5),
    exit_proposal(layer=BaseLayer.RESERVE),
    exit_proposal(action=Action.MOVE),
    rescue_proposal(from_reserve_usd=0.0),
    rescue_proposal(from_reserve_usd=math.nan),
    rescue_proposal(from_reserve_usd=math.inf),
    rescue_proposal(action=Action.BUY_COVER),
    rescue_proposal(layer=BaseLayer.INSURANCE),
]


@pytest.mark.parametrize("proposal", SENSELESS, ids=lambda item: f"{item.layer} {item.action} {item.part}")
async def test_what_has_no_sum_or_is_no_payment_or_withdrawal_is_not_done(proposal: Proposal):
    account = FakeAccount()
    await pipeline(MemoryJournal(), account, proposal).step(moment(1))
    assert account.asked == []


async def test_never_again_while_one_is_open(journal):
    account = FakeAccount(fail=OutcomeUnknown("withdraw", "x"))
    loop = pipeline(journal, account, exit_proposal())
    first = await loop.step(moment(1))
    assert [item.status for item in first.account_orders] == [LegStatus.UNKNOWN]
    account.fail = None
    for number in range(2, 60):
        assert (await loop.step(moment(number))).account_orders == ()
    assert len(account.asked) == 1
    (order,) = journal.open_account_orders()
    account.truth[order.key] = outcome(order, moment(60).now_s)
    record = await loop.step(moment(60))
    assert [(item.status, item.reconciled) for item in record.account_orders] == [(LegStatus.FILLED, True)]
    assert journal.open_account_orders() == ()
    assert len(account.asked) == 1


async def test_one_order_of_a_group_at_a_time(journal):
    """Two positions of one group leave one after the other: their hedges are the same."""
    account = FakeAccount(fail=OutcomeUnknown("withdraw", "x"))
    other = replace(EXPOSURE, id="v3:7")
    loop = pipeline(journal, account, exit_proposal(), exit_proposal(subject="v3:7"))
    both = replace(moment(1), exposures=(EXPOSURE, other))
    await loop.step(both)
    await loop.step(replace(moment(2), exposures=(EXPOSURE, other)))
    assert [item.subject for item in account.asked] == ["v2:ETH/USDC"]
    (order,) = journal.open_account_orders()
    account.fail, account.truth[order.key] = None, outcome(order, moment(3).now_s)
    await loop.step(replace(moment(3), exposures=(EXPOSURE, other)))
    assert [item.subject for item in account.asked] == ["v2:ETH/USDC", "v3:7"]


async def test_a_refused_one_is_tried_again_less_and_less_often(journal):
    account = FakeAccount(status=LegStatus.REJECTED, because="the pool stands 3 % from its fair price")
    loop = pipeline(journal, account, exit_proposal())
    start = moment(1)
    tried = []
    for number in range(60):
        now_s = start.now_s + number * FIRST_PAUSE_S
        record = await loop.step(replace(start, now_s=now_s))
        tried += [number] * len(record.account_orders)
    assert tried[:5] == [0, 1, 3, 7, 15]
    account.status = LegStatus.FILLED
    record = await loop.step(replace(start, now_s=start.now_s + 10 * 86_400.0))
    assert record.account_orders[0].status is LegStatus.FILLED


async def test_a_person_who_withdrew_does_not_stop_the_policy(journal, tmp_path: Path):
    account, desk = FakeAccount(), Desk(tmp_path, mode="test")
    desk.leave(Request(legs=(), by="someone", account_orders=(manual(),)))
    loop = pipeline(journal, account, desk=desk)
    await loop.step(moment(1))
    await pipeline(journal, account, exit_proposal()).step(moment(2))
    assert [item.key.startswith(ALONE) for item in account.asked] == [False, True]


# a person's own


async def test_an_order_left_by_a_person_is_done_at_the_next_step_and_its_file_goes(journal, tmp_path: Path):
    account, desk = FakeAccount(), Desk(tmp_path, mode="test")
    path = desk.leave(Request(legs=(), by="someone", account_orders=(manual(),)))
    assert desk.requests() == ((path, Request(legs=(), by="someone", account_orders=(manual(),))),)
    loop = pipeline(journal, account, desk=desk, legs=(leg(1),))
    record = await loop.step(moment(1))
    assert [item.order for item in record.account_orders] == [manual()]
    assert record.outcomes == ()  # what the plan wants after it is decided anew
    assert not path.exists()
    assert [item.leg.key for item in (await loop.step(moment(2))).outcomes] == ["plan-1"]


async def test_it_works_while_paused(journal, tmp_path: Path):
    account, desk = FakeAccount(), Desk(tmp_path, mode="test")
    write_pause(tmp_path, Pause(who="someone", at_s=0.0, why="a look"))
    desk.leave(Request(legs=(), by="someone", account_orders=(manual(),)))
    record = await pipeline(journal, account, desk=desk).step(moment(1))
    assert "a look" in record.decision.holds[0]
    assert [item.status for item in record.account_orders] == [LegStatus.FILLED]


async def test_one_whose_end_is_unknown_keeps_its_file_and_is_looked_up_and_not_repeated(
    journal, tmp_path: Path
):
    account, desk = FakeAccount(fail=OutcomeUnknown("withdraw", "x")), Desk(tmp_path, mode="test")
    desk.leave(Request(legs=(), by="someone", account_orders=(manual(),)))
    loop = pipeline(journal, account, desk=desk)
    await loop.step(moment(1))
    await loop.step(moment(2))
    assert len(desk.requests()) == len(account.asked) == 1
    account.truth[manual().key] = outcome(manual(), moment(3).now_s)
    record = await loop.step(moment(3))
    assert [item.status for item in record.account_orders] == [LegStatus.FILLED]
    assert desk.requests() == ()
    assert len(account.asked) == 1


async def test_a_restart_after_it_was_done_takes_the_file_away_and_sends_nothing(journal, tmp_path: Path):
    desk = Desk(tmp_path, mode="test")
    desk.leave(Request(legs=(), by="someone", account_orders=(manual(),)))
    journal.open_account_order(manual(), at_s=0.0)
    journal.close_account_order(outcome(manual(), 0.0))
    account = FakeAccount()
    assert (await pipeline(journal, account, desk=desk).step(moment(1))).account_orders == ()
    assert account.asked == []
    assert desk.requests() == ()


async def test_orders_asked_for_outside_of_a_run_are_done_at_once(journal):
    account = FakeAccount()
    loop = pipeline(journal, account, exit_proposal())
    request = Request(legs=(), by="someone", account_orders=(manual(), manual(2)))
    assert await loop.order(request, moment(1)) == ()
    assert [item.order.key for item in loop.accounts.news()] == [manual().key, manual(2).key]
    assert loop.accounts.news() == ()
    assert all(not item.key.startswith(ALONE) for item in account.asked)


async def test_what_follows_an_order_whose_end_is_open_is_not_begun(journal):
    account = FakeAccount(fail=OutcomeUnknown("withdraw", "x"))
    loop = pipeline(journal, account)
    await loop.order(Request(legs=(), by="me", account_orders=(manual(), manual(2))), moment(1))
    assert [item.key for item in account.asked] == [manual().key]


# what is told and kept


@pytest.mark.parametrize("status", [LegStatus.PROPOSED, LegStatus.WAITING])
async def test_what_others_must_act_on_is_told_once_and_again_when_it_changes(journal, status: LegStatus):
    account = FakeAccount(status=status, because="one of two")
    loop = pipeline(journal, account, exit_proposal())
    (first,) = (await loop.step(moment(1))).account_orders
    account.truth[first.order.key] = first
    assert (await loop.step(moment(2))).account_orders == ()
    account.truth[first.order.key] = replace(first, because="two of two")
    told = await loop.step(moment(3))
    assert [item.because for item in told.account_orders] == ["two of two"]
    assert not told.is_heartbeat
    account.truth[first.order.key] = outcome(first.order, moment(4).now_s)
    assert [i.status for i in (await loop.step(moment(4))).account_orders] == [LegStatus.FILLED]


async def test_the_money_moved_is_in_no_sum_and_its_gas_is(journal):
    loop = pipeline(journal, FakeAccount(gas_usd=3.0), exit_proposal())
    first = await loop.step(moment(1))
    assert first.cash_flow_usd == 0.0  # before this step's own orders
    assert (await loop.step(moment(2))).cash_flow_usd == -3.0
    again = pipeline(journal, FakeAccount(), exit_proposal())
    assert (await again.step(moment(3))).cash_flow_usd == -3.0


async def test_gas_that_cannot_be_priced_leaves_an_order_open(journal):
    account = FakeAccount(gas_usd=math.nan)
    loop = pipeline(journal, account, exit_proposal())
    record = await loop.step(moment(1))
    assert [item.status for item in record.account_orders] == [LegStatus.UNKNOWN]
    (order,) = journal.open_account_orders()
    account.truth[order.key] = outcome(order, moment(2).now_s, gas_usd=4.0)
    await loop.step(moment(2))
    assert (await loop.step(moment(3))).cash_flow_usd == -4.0


async def test_the_plan_of_a_step_that_acted_alone_waits_for_the_next(journal):
    options = FakeVenue()
    loop = pipeline(journal, FakeAccount(), exit_proposal(), legs=(leg(1),), options=options)
    assert (await loop.step(moment(1))).outcomes == ()
    assert [item.leg.key for item in (await loop.step(moment(2))).outcomes] == ["plan-1"]


async def test_the_journal_reads_back_what_was_written_beside_legs(journal):
    sale = leg(1, side=Side.SELL)
    journal.open_leg(sale, at_s=0.0)
    journal.open_account_order(manual(), at_s=0.0)
    assert journal.open_legs() == (sale,)
    assert journal.open_account_orders() == (manual(),)
    assert journal.open_perpetuals() == ()
    with pytest.raises(InvariantError, match="still open"):
        journal.open_account_order(manual(2), at_s=0.0)
    with pytest.raises(InvariantError, match="already"):
        journal.open_account_order(manual(), at_s=0.0)
    journal.close_account_order(outcome(manual(), status=LegStatus.PROPOSED))  # only noted
    assert journal.open_account_orders() == (manual(),)
    journal.close_account_order(outcome(manual(), status=LegStatus.REJECTED))
    journal.close_leg(filled(sale))
    assert [item.status for item in journal.account_outcomes()] == [LegStatus.REJECTED]
    assert len(journal.outcomes()) == 1
    with pytest.raises(InvariantError, match="not open"):
        journal.close_account_order(outcome(manual()))


async def test_an_order_with_a_transaction_on_its_way_is_not_closed(journal):
    event = IntentEvent(
        key="manual/withdraw",
        leg_key=manual().key,
        state=IntentState.RESERVED,
        at_s=1.0,
        chain_id=31337,
        sender="0x" + "11" * 20,
        nonce=0,
        purpose="withdraw",
    )
    with pytest.raises(InvariantError, match="not open"):
        journal.append_intent(event)
    journal.open_account_order(manual(), at_s=0.0)
    journal.append_intent(event)
    with pytest.raises(InvariantError, match="transaction"):
        journal.close_account_order(outcome(manual()))


async def test_a_record_with_an_account_order_reads_back(journal):
    await pipeline(journal, FakeAccount(), exit_proposal()).step(moment(1))
    record = journal.last_step()
    assert record is not None
    text = codec.dumps(record)
    assert codec.dumps(codec.loads(StepRecord, text)) == text
    assert record.account_orders[0].moved[1] == Moved(asset="USDC", units=5.0)
