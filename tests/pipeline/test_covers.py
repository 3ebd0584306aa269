"""The loop buys cover (R20) with the guarantees of legs, books it, and lets R20 see what is held."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pipeline_builders import FakeVenue, decide_once, leg, moment, price

from bot.errors import InvariantError, OutcomeUnknown, TransientError
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.base_layers import Action, BaseHoldings, Cover
from bot.model.cover import CoverOrder, CoverOutcome, CoverProduct, HeldCover
from bot.model.hedge import LegStatus, SpendKind
from bot.model.intent import IntentEvent, IntentState
from bot.model.record import StepRecord
from bot.model.units import DAY_S
from bot.pipeline import codec
from bot.pipeline.desk import Desk, Request
from bot.pipeline.history import History
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.pipeline.loop import Pipeline
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.playback import PlaybackVenue, journal_of, read_part
from bot.pipeline.recorded_orders import (
    JournalOrders,
    PlaybackAccountVenue,
    PlaybackCoverVenue,
    PlaybackDesk,
)
from bot.pipeline.recorded_venue import RecordedVenue
from bot.pipeline.recording import Recorder, parts
from bot.settings import PolicySettings, load_policy

IDENTITY = JournalIdentity(mode="test", chain_id=31337, account="")
POLICY = load_policy(PolicySettings())
PRODUCT = CoverProduct(venue="nexus", id="1", name="Uniswap v3", protocol="uniswap-v3")


def order(number: int = 1, **changes) -> CoverOrder:
    fields = {
        "key": f"manual.{number}-uniswap-v3-COVER",
        "product": PRODUCT,
        "amount_usd": 50_000.0,
        "period_s": 90 * DAY_S,
        "limit_usd": 400.0,
        "expected_usd": 370.0,
        "valid_until_s": 1e12,
    }
    return CoverOrder(**{**fields, **changes})


def asking(*orders: CoverOrder) -> Request:
    return Request(legs=(), by="someone", covers=orders)


def outcome(wanted: CoverOrder, at_s: float = 0.0, **changes) -> CoverOutcome:
    fields = {"status": LegStatus.FILLED, "cover_id": "7", "premium_usd": 370.0, "gas_usd": 3.0}
    return CoverOutcome(order=wanted, at_s=at_s, **{**fields, **changes})


def held(cover_id: str = "7", amount_usd: float = 50_000.0) -> HeldCover:
    return HeldCover(
        id=cover_id,
        product=PRODUCT,
        amount_usd=amount_usd,
        settlement="USDC",
        starts_s=0.0,
        expires_s=1e11,
        claim_until_s=2e11,
    )


@dataclass
class FakeMutual:
    """The CoverVenue port: sells what it is told to, and remembers what it was asked."""

    name: str = "nexus"
    answer: dict[str, object] = field(default_factory=dict)  # changes of each outcome
    fail: Exception | None = None
    unread: Exception | None = None
    covers: tuple[HeldCover, ...] = ()
    truth: dict[str, CoverOutcome] = field(default_factory=dict)  # what reconcile finds
    asked: list[str] = field(default_factory=list)

    async def held(self, view) -> tuple[HeldCover, ...]:
        if self.unread is not None:
            raise self.unread
        return self.covers

    async def execute(self, order: CoverOrder, *, view) -> CoverOutcome:
        self.asked.append(order.key)
        if self.fail is not None:
            raise self.fail
        return outcome(order, view.now_s, **self.answer)

    async def reconcile(self, order: CoverOrder, *, view) -> CoverOutcome:
        if order.key not in self.truth:
            raise TransientError("not seen")
        return self.truth[order.key]


EXIT = AccountOrder(
    key="manual.1-v3.1-WITHDRAW",
    group="ETH/USDC",
    action=Action.WITHDRAW,
    subject="v3:1",
    part=0.5,
    valid_until_s=1e12,
)
LEFT = AccountOutcome(order=EXIT, status=LegStatus.FILLED, at_s=5.0, gas_usd=2.0)


@dataclass
class SlowExit:
    """The AccountVenue port: an exit whose end is not known before ``is_known``."""

    is_known: bool = False

    async def execute(self, order: AccountOrder, *, view) -> AccountOutcome:
        raise OutcomeUnknown("exit", order.key)

    async def reconcile(self, order: AccountOrder, *, view) -> AccountOutcome:
        if not self.is_known:
            raise TransientError("not seen")
        return LEFT


@pytest.fixture(params=["sqlite", "memory"])
def journal(request, tmp_path: Path):
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SqlJournal(tmp_path / "journal.db", identity=IDENTITY) as found:
        yield found


def pipeline(journal, mutual, *, seen=None, desk=None, **more) -> Pipeline:
    return Pipeline(
        mode="live",
        policy=POLICY,
        decide=decide_once({}, [] if seen is None else seen),
        venues=more.pop("venues", {"fake": FakeVenue()}),
        journal=journal,
        cover_venue=mutual,
        desk=desk,
        **more,
    )


async def test_a_purchase_that_a_person_left_is_made_once_and_booked(journal, tmp_path):
    desk, mutual, seen = Desk(tmp_path, mode="live"), FakeMutual(), []
    path = desk.leave(asking(order()))
    assert desk.requests() == ((path, asking(order())),)
    loop = pipeline(journal, mutual, desk=desk, seen=seen)
    record = await loop.step(moment(1))
    assert [item.order for item in record.covers] == [order()]
    assert record.cash_flow_usd == 0.0  # of before this step's own orders
    assert desk.requests() == ()
    desk.leave(asking(order()))  # the same once more
    later = await loop.step(moment(2))
    assert later.covers == ()
    assert later.cash_flow_usd == pytest.approx(-373.0)
    assert mutual.asked == [order().key]
    assert [(item.usd, item.kind) for item in seen[-1].spends] == [(373.0, SpendKind.PREMIUM)]  # R9
    # Another run on the same journal goes on from there.
    again = await pipeline(journal, mutual).step(moment(3))
    assert again.cash_flow_usd == pytest.approx(-373.0)


async def test_an_open_purchase_holds_its_budget_and_its_protocol_until_the_chain_tells(journal, tmp_path):
    desk, seen = Desk(tmp_path, mode="live"), []
    mutual = FakeMutual(fail=OutcomeUnknown("cover", order().key))
    loop = pipeline(journal, mutual, desk=desk, seen=seen)
    desk.leave(asking(order()))
    assert [item.status for item in (await loop.step(moment(1))).covers] == [LegStatus.UNKNOWN]
    mutual.fail = None
    desk.leave(asking(order(2)))  # of the same protocol: waits
    assert (await loop.step(moment(2))).covers == ()
    assert [(item.usd, item.kind) for item in seen[-1].spends] == [(400.0, SpendKind.RESERVED)]
    assert journal.open_covers() == (order(),)
    # A start after a kill: the chain says that it was bought; then the next one's turn comes.
    mutual.truth[order().key] = outcome(order(), 5.0)
    (first, second) = (await pipeline(journal, mutual, desk=desk).step(moment(3))).covers
    assert (first.order, first.status, first.reconciled) == (order(), LegStatus.FILLED, True)
    assert (second.order, second.status) == (order(2), LegStatus.FILLED)
    assert journal.open_covers() == ()
    assert mutual.asked == [order().key, order(2).key]


async def test_a_cover_whose_price_nobody_knows_is_not_booked(journal):
    mutual = FakeMutual(answer={"gas_usd": float("nan"), "tx_hash": "0xab"})
    loop = pipeline(journal, mutual)
    await loop.order(asking(order()), moment(1))
    (said,) = loop.covers.news()
    assert (said.status, said.premium_usd) == (LegStatus.UNKNOWN, 0.0)
    assert "0xab" in said.because
    assert journal.open_covers() == (order(),)
    assert loop.covers.cash_flow_usd == 0.0


async def test_the_gas_of_a_refused_purchase_counts(journal):
    refused = {"status": LegStatus.REJECTED, "premium_usd": 0.0, "cover_id": "", "because": "too dear"}
    loop = pipeline(journal, FakeMutual(answer=refused))
    await loop.order(asking(order()), moment(1))
    assert [(item.status, item.because) for item in journal.cover_outcomes()] == [
        (LegStatus.REJECTED, "too dear")
    ]
    assert loop.covers.cash_flow_usd == -3.0


async def test_what_the_account_holds_stands_beside_what_is_stated_and_once(journal):
    stated = Cover(id="mine", protocol="uniswap-v3", amount_usd=1.0, expires_s=1e11, venue="elsewhere")
    old = Cover(id="7", protocol="uniswap-v3", amount_usd=2.0, expires_s=1e11, venue="nexus")
    seen = []
    loop = pipeline(journal, FakeMutual(covers=(held(),)), seen=seen)
    await loop.step(replace(moment(1), base=BaseHoldings(covers=(stated, old))))
    assert seen[-1].base.covers == (stated, held().cover)


async def test_a_mutual_that_cannot_be_read_is_a_hold(journal):
    seen = []
    await pipeline(journal, FakeMutual(unread=TransientError("cut off")), seen=seen).step(moment(1))
    assert seen[-1].holds == ("venue nexus could not be read: cut off",)


def test_the_journal_keeps_covers_apart_and_one_open_for_each_protocol(journal):
    journal.open_cover(order(), at_s=0.0)
    assert journal.open_legs() == journal.open_account_orders() == journal.open_perpetuals() == ()
    with pytest.raises(InvariantError, match="still open"):
        journal.open_cover(order(2), at_s=0.0)
    other = order(3, product=replace(PRODUCT, protocol="aave-v3"))
    journal.open_cover(other, at_s=0.0)
    journal.close_cover(outcome(order(), status=LegStatus.PROPOSED))  # only noted
    assert journal.open_covers() == (order(), other)
    journal.close_cover(outcome(order()))
    assert journal.open_covers() == (other,)
    assert journal.cover_outcomes() == (outcome(order()),)
    assert journal.outcomes() == journal.account_outcomes() == ()
    with pytest.raises(InvariantError, match="already"):
        journal.open_cover(order(), at_s=0.0)


def test_a_purchase_is_not_closed_while_a_transaction_of_it_is_open(journal):
    journal.open_cover(order(), at_s=0.0)
    journal.append_intent(
        IntentEvent(
            key="i",
            leg_key=order().key,
            purpose="cover",
            state=IntentState.RESERVED,
            chain_id=31337,
            sender="0x" + "11" * 20,
            nonce=0,
            at_s=0.0,
        )
    )
    with pytest.raises(InvariantError, match="transaction"):
        journal.close_cover(outcome(order()))


async def test_a_record_with_a_cover_reads_back(journal):
    loop = pipeline(journal, FakeMutual())
    await loop.order(asking(order()), moment(1))
    record = await loop.step(moment(2))
    assert record.covers[0].order == order()
    assert codec.loads(StepRecord, codec.dumps(record)) == record
    assert journal.last_step() == record


# recorded and played again


async def played(folder: Path) -> list[StepRecord]:
    """Do every step of a recording again, by the venues that a replay has."""
    found: list[StepRecord] = []
    venue, account, mutual = PlaybackVenue("fake"), PlaybackAccountVenue(), PlaybackCoverVenue()
    desk, all_parts = PlaybackDesk(takes_legs=True), [read_part(path) for path in parts(folder)]
    journal = journal_of(all_parts[0])
    loop = pipeline(journal, mutual, desk=desk, venues={"fake": venue}, account_venue=account)
    for part in all_parts:
        for step in part.steps(part.history()):
            venue.at(step)
            account.at(step.record)
            mutual.at(step.record)
            desk.at(step.asked)
            found.append(await loop.step(step.moment))
    return found


async def test_a_run_with_orders_beside_the_hedges_plays_again_alike(tmp_path):
    desk, journal, history = Desk(tmp_path, mode="live"), MemoryJournal(), History()
    mutual, account = FakeMutual(covers=(held("3"),)), SlowExit()
    journal.open_cover(order(9), at_s=0.0)  # by hand, before the run
    journal.close_cover(outcome(order(9)))
    venue = RecordedVenue(FakeVenue())
    recorder = Recorder(
        folder=tmp_path / "recording", mode="live", policy=POLICY, history=history, journal=journal,
        venues=[venue],
    )  # fmt: skip
    seen: list = []
    loop = pipeline(
        journal, mutual, seen=seen, desk=desk, venues={"fake": venue}, account_venue=account,
        before_record=recorder.write,
    )  # fmt: skip

    async def step(number: int) -> StepRecord:
        at = moment(number)
        history.append([price(at.now_s, 2_500.0 - number)])
        return await loop.step(replace(at, columns=history.cut(until_s=at.now_s)))

    records = [await step(1)]
    desk.leave(asking(order(1)))
    desk.leave(Request(legs=(), by="someone", account_orders=(EXIT,)))
    records.append(await step(2))  # the cover is bought, the exit has no known end
    mutual.unread = TransientError("cut off")
    records.append(await step(3))  # nothing is heard of the exit
    mutual.unread = None
    account.is_known = True
    records.append(await step(4))
    desk.leave(asking(order(2)))
    records.append(await step(30))  # of another day: a part of its own
    recorder.close()
    assert [len(item.covers) for item in records] == [0, 1, 0, 0, 1]
    assert [[each.status.value for each in item.account_orders] for item in records] == [
        [], ["unknown"], [], ["filled"], [],
    ]  # fmt: skip
    again = await played(tmp_path / "recording")
    assert again == records
    # Its second part stands by itself: it has the orders of the first, and what was done before the run.
    part = read_part(parts(tmp_path / "recording")[-1])
    assert [item.order.key for item in part.orders.cover_outcomes] == [order(9).key, order(1).key]
    assert [item.order for item in part.orders.account_outcomes] == [EXIT]
    assert JournalOrders.of(journal_of(part)) == part.orders


async def test_a_recording_of_an_older_program_has_no_such_orders(tmp_path):
    assert JournalOrders.from_document({"outcomes": [], "open": []}) == JournalOrders()


async def test_hedges_by_hand_are_left_out_under_another_policy(tmp_path):
    desk = PlaybackDesk(takes_legs=False)
    desk.at((asking(order()),))
    assert [item for _, item in desk.asked().requests] == [asking(order())]
    desk.at((Request(legs=(leg(),), by="me"),))
    assert [item.legs for _, item in desk.asked().requests] == [()]
