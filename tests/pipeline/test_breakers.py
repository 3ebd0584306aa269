"""Circuit breakers open on what money does wrong, and only a person closes them (REL-L3, docs/adr/0015)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline_builders import START_S, FakeVenue, ListJournal, decide_once, filled, leg, moment

from bot.chain.pause import Pause, end_pause, pause_path, read_pause, write_pause
from bot.errors import ConfigError, NoSpaceError
from bot.model.cover import CoverOrder, CoverOutcome, CoverProduct
from bot.model.hedge import LegOutcome, LegStatus, Side
from bot.model.intent import IntentEvent, IntentState
from bot.model.perpetual import Perpetual, PerpetualAction, PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.units import DAY_S, HOUR_S
from bot.pipeline.breaker_desk import Breakers
from bot.pipeline.breakers import BreakerTerms, Ended, Trouble, ended, tripped
from bot.pipeline.desk import Desk
from bot.pipeline.journal import SqlJournal
from bot.pipeline.journal_opening import JournalIdentity
from bot.pipeline.loop import Pipeline
from bot.settings import PolicySettings, load_policy

NOW_S = START_S + 10 * DAY_S
TERMS = BreakerTerms()
CALM = Trouble()
TEN_YEARS_S = 3_652 * DAY_S
DISAGREE = "v3:ETH/USDC and chainlink:ETH/USD disagree on ETH by 9.0%, at most 2.0% allowed"


def failures(count: int, *, gas_usd: float = 3.0, at_s: float = NOW_S - 60) -> list[Ended]:
    return [Ended(key=f"f{n}", at_s=at_s, failed=True, gas_usd=gas_usd) for n in range(count)]


def refusals(count: int) -> list[Ended]:
    return [Ended(key=f"r{n}", at_s=NOW_S - 60, refused=True) for n in range(count)]


def losses(count: int, *, loss_usd: float) -> list[Ended]:
    return [
        Ended(key=f"l{n}", at_s=NOW_S - 60, expected_usd=1_000.0, loss_usd=loss_usd) for n in range(count)
    ]


# what trips, pure


@pytest.mark.parametrize(
    ("orders", "data", "name", "figure"),
    [
        (failures(5), CALM, "failed-orders", "5 orders burnt gas"),
        (failures(2, gas_usd=130.0), CALM, "wasted-gas", "260.00 USD"),
        (refusals(3), CALM, "signer-refusals", "3 orders in a row"),
        ([Ended(key="b", at_s=NOW_S, beyond=0.03)], CALM, "beyond-bound", "3.0% worse"),
        (losses(2, loss_usd=101.0), CALM, "realised-loss", "202.00 USD worse than quoted"),
        ([], Trouble(disagrees_since_s=NOW_S - 6 * HOUR_S), "disagreement", "6 h"),
        ([], Trouble(lags_at_s=(NOW_S - 60.0,) * 24), "lag", "24 times"),
    ],
)  # fmt: skip
def test_each_cause_trips_its_breaker_and_says_the_figures(orders, data, name, figure):
    trip = tripped(TERMS, orders, data, now_s=NOW_S)
    assert trip is not None
    assert trip.name == name
    assert figure in trip.why


@pytest.mark.parametrize(
    ("orders", "data"),
    [
        ([], CALM),
        (failures(4), CALM),
        (failures(9, at_s=NOW_S - DAY_S), CALM),  # older than the window
        ([*refusals(2), Ended(key="x", at_s=NOW_S), *refusals(2)], CALM),  # not in a row
        ([Ended(key="b", at_s=NOW_S, beyond=0.02)], CALM),
        (losses(2, loss_usd=100.0), CALM),
        (losses(1, loss_usd=99.0), CALM),  # a tenth, and under the floor
        ([], Trouble(disagrees_since_s=NOW_S - 6 * HOUR_S + 1)),
        ([], Trouble(lags_at_s=(NOW_S - 60.0,) * 23)),
        ([], Trouble(lags_at_s=(NOW_S - DAY_S,) * 99)),
    ],
)
def test_one_less_trips_nothing(orders, data):
    assert tripped(TERMS, orders, data, now_s=NOW_S) is None


def test_zero_turns_each_breaker_off():
    off = BreakerTerms(
        failed_orders=0, wasted_gas_usd=0.0, signer_refusals=0, beyond_bound=0.0, loss_share=0.0,
        disagreement_s=0.0, lag_episodes=0,
    )  # fmt: skip
    orders = [*failures(99), *losses(9, loss_usd=900.0), Ended(key="b", at_s=NOW_S, beyond=9.0), *refusals(9)]
    data = Trouble(disagrees_since_s=0.0, lags_at_s=(NOW_S,) * 999)
    assert tripped(off, orders, data, now_s=NOW_S) is None


@pytest.mark.parametrize("ahead_s", [HOUR_S, TEN_YEARS_S])
def test_failures_dated_before_a_clock_went_back_still_count(ahead_s):
    assert tripped(TERMS, failures(5, at_s=NOW_S + ahead_s), CALM, now_s=NOW_S) is not None


# what an order's end says


def rejected(number: int, *, gas_usd: float = 3.0, at_s: float = NOW_S, reconciled: bool = False):
    return LegOutcome(
        leg=leg(number), status=LegStatus.REJECTED, at_s=at_s, gas_usd=gas_usd, reconciled=reconciled
    )


def test_a_refusal_that_cost_nothing_is_no_failure():
    """In a crash quotes move away from under orders again and again: that must not end protection."""
    assert not ended(rejected(1, gas_usd=0.0)).failed
    assert ended(rejected(1)).failed


def test_a_fill_is_compared_with_its_part_of_the_bound():
    whole = ended(filled(leg(1), premium_usd=121.0))
    assert whole.beyond == pytest.approx(0.1)  # of 110 USD
    assert whole.loss_usd == pytest.approx(22.0)  # over the 100 USD quoted, with 1 USD of the swap
    half = replace(filled(leg(1), premium_usd=60.5), filled_size=1.0)
    assert ended(half).beyond == pytest.approx(0.1)
    sale = replace(leg(2, side=Side.SELL, position_id="p1"), limit_usd=90.0)
    assert ended(filled(sale, premium_usd=81.0)).beyond == pytest.approx(0.1)
    assert ended(filled(sale, premium_usd=95.0)).beyond == 0.0
    settled = replace(leg(3, side=Side.SETTLE, position_id="p1"), limit_usd=0.0)
    assert ended(filled(settled, premium_usd=0.0)).loss_usd == 0.0


@pytest.mark.parametrize(
    ("size", "price_usd", "beyond"),
    [(-1.0, 1_900.0, 0.05), (-1.0, 2_100.0, 0.0), (1.0, 2_100.0, 0.05), (1.0, 1_900.0, 0.0)],
)
def test_a_perpetual_is_worse_below_its_limit_when_short_and_above_it_when_long(size, price_usd, beyond):
    order = PerpetualOrder(
        key="p", group="ETH/USDC", action=PerpetualAction.OPEN, size=size, margin_usd=100.0,
        perpetual=Perpetual(venue="fake", id="ETH", underlying="ETH", settlement="USDC"),
        limit_usd=2_000.0, expected_usd=1.0, valid_until_s=NOW_S,
    )  # fmt: skip
    done = PerpetualOutcome(
        order=order, status=LegStatus.FILLED, at_s=NOW_S, filled_size=size, price_usd=price_usd
    )
    assert ended(done).beyond == pytest.approx(beyond)


def test_a_cover_dearer_than_its_limit_is_beyond_it():
    order = CoverOrder(
        key="c", product=CoverProduct(venue="nexus", id="1", name="Aave v3", protocol="aave-v3"),
        amount_usd=10_000.0, period_s=30 * DAY_S, limit_usd=50.0, expected_usd=48.0, valid_until_s=NOW_S,
    )  # fmt: skip
    done = CoverOutcome(order=order, status=LegStatus.FILLED, at_s=NOW_S, premium_usd=60.0)
    assert ended(done).beyond == pytest.approx(0.2)


# the desk: pause, restart, release


class Books:
    """A journal of outcomes alone, and the breakers over it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal = folder, ListJournal()
        self.breakers = self.started()

    def started(self) -> Breakers:
        self.breakers = Breakers(
            terms=TERMS, journal=self.journal, state_dir=self.folder, mode="live", clock=lambda: 1_000.0
        )
        return self.breakers

    def fail(self, *numbers: int, at_s: float = NOW_S) -> None:
        for number in numbers:
            outcome = rejected(number, at_s=at_s)
            self.journal.closed.append(outcome)
            self.breakers.closed(outcome)

    @property
    def by(self) -> str:
        found = read_pause(self.folder)
        return found.who if found else ""


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def test_the_fifth_failure_pauses_at_once_and_says_why(books: Books):
    books.fail(1, 2, 3, 4)
    assert books.by == ""
    books.fail(5)
    found = read_pause(books.folder)
    assert found is not None
    assert (found.who, found.at_s) == ("breaker failed-orders", 1_000.0)
    assert "5 orders burnt gas and did nothing within 24 h, the last plan-5" in found.why


def test_failures_of_an_earlier_run_count(books: Books):
    books.fail(1, 2, 3, 4)
    books.started()
    books.fail(5)
    assert books.by == "breaker failed-orders"


def test_a_tripped_breaker_outlives_restarts_and_time(books: Books):
    books.fail(1, 2, 3, 4, 5)
    for days in (1, 30, 3_650):
        books.started().begin(NOW_S + days * DAY_S)
        assert books.by == "breaker failed-orders"


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_what_was_known_at_the_release_does_not_trip_again(books: Books, restarts: bool):
    books.fail(1, 2, 3, 4, 5)
    books.fail(6)  # what was in flight ends while it is paused
    end_pause(books.folder)
    if restarts:
        books.started()
    books.breakers.begin(NOW_S + 60)
    assert books.by == ""
    books.fail(11, 12, 13, 14)
    assert books.by == ""
    books.fail(15)
    assert books.by == "breaker failed-orders"


def test_a_persons_own_pause_forgives_what_happened_under_it(books: Books):
    books.fail(1, 2, 3, 4)
    write_pause(books.folder, Pause(who="someone", at_s=1.0, why="looks odd"))
    books.fail(5, 6)
    assert books.by == "someone"
    end_pause(books.folder)
    books.breakers.begin(NOW_S + 60)
    assert books.by == ""


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_deleting_the_file_is_no_release(books: Books, restarts: bool):
    books.fail(1, 2, 3, 4, 5)
    pause_path(books.folder).unlink()
    if restarts:
        books.started()
    books.breakers.begin(NOW_S + 60)
    assert books.by == "breaker failed-orders"


def test_killed_between_the_trip_and_its_pause_the_next_start_pauses(books: Books, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bot.pipeline.breaker_desk.write_pause", killed)
    with pytest.raises(KeyboardInterrupt):
        books.fail(1, 2, 3, 4, 5)
    assert books.by == ""
    monkeypatch.undo()
    books.started().begin(NOW_S + 30 * DAY_S)  # also when the orders have left the window
    assert books.by == "breaker failed-orders"


def test_killed_before_the_trip_was_written_the_next_start_counts_anew(books: Books):
    for number in range(5):
        books.journal.closed.append(rejected(number))
    books.started().begin(NOW_S + 60)
    assert books.by == "breaker failed-orders"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"trip": 5}', '{"forgiven": "x"}', "\0" * 9])
def test_a_damaged_state_forgives_nothing(books: Books, text: str):
    books.fail(1, 2, 3, 4, 5)
    end_pause(books.folder)
    (books.folder / "breakers-live.json").write_text(text)
    books.started().begin(NOW_S + 60)
    assert books.by == "breaker failed-orders"


@pytest.mark.parametrize(
    ("number", "words", "kind"),
    [(28, "No space left on device", NoSpaceError), (13, "Permission denied", ConfigError)],
)
def test_a_state_that_cannot_be_written_stops_the_bot(books: Books, monkeypatch, number, words, kind):
    def failing(**_: object) -> None:
        raise OSError(number, words)

    monkeypatch.setattr("bot.pipeline.breaker_desk.tempfile.mkstemp", failing)
    with pytest.raises(kind, match=rf"breakers-live\.json cannot be written: {words}"):
        books.fail(1, 2, 3, 4, 5)


@pytest.mark.parametrize("jump_s", [HOUR_S, TEN_YEARS_S])
def test_a_clock_that_jumps_ahead_and_back_neither_forgets_nor_blinds(books: Books, jump_s: float):
    books.fail(1, 2)
    books.breakers.begin(NOW_S + jump_s)
    books.fail(3, 4, at_s=NOW_S + jump_s)
    books.breakers.begin(NOW_S + 120)
    assert books.by == ""
    books.fail(5, at_s=NOW_S + 120)
    assert books.by == "breaker failed-orders"


def released(key: str, because: str) -> IntentEvent:
    return IntentEvent(
        key=f"{key}/0-open", leg_key=key, purpose="open", state=IntentState.RELEASED, at_s=NOW_S, chain_id=1,
        sender="0x", nonce=1, because=because,
    )  # fmt: skip


def test_orders_that_the_signers_rules_do_not_allow_trip_after_three_crashes(books: Books):
    """Each ends the process; the next start finds the order without a signature."""
    for number in (1, 2, 3):
        books.journal.events.append(released(f"plan-{number}", "signer: call 0x00 is not listed"))
        books.journal.closed.append(rejected(number, gas_usd=0.0, reconciled=True))
        assert books.by == ""
        books.started().begin(NOW_S + number)
    assert books.by == "breaker signer-refusals"


def test_orders_cut_off_by_restarts_alone_trip_nothing(books: Books):
    for number in range(9):
        books.journal.events.append(released(f"plan-{number}", "abandoned at restart"))
        books.journal.closed.append(rejected(number, gas_usd=0.0, reconciled=True))
    books.started().begin(NOW_S)
    assert books.by == ""


# data: a lasting contradiction and flapping; an outage never


def test_a_contradiction_trips_only_when_it_lasts_and_over_restarts(books: Books):
    for minute in range(0, 300, 30):
        books.breakers.saw([DISAGREE], now_s=NOW_S + minute * 60)
    books.breakers.saw([], now_s=NOW_S + 300 * 60)  # it ended: counted anew
    books.breakers.saw([DISAGREE], now_s=NOW_S + 310 * 60)
    books.started()
    books.breakers.saw([DISAGREE], now_s=NOW_S + (310 + 359) * 60)
    assert books.by == ""
    books.breakers.saw([DISAGREE], now_s=NOW_S + (310 + 360) * 60)
    assert books.by == "breaker disagreement"


def test_after_the_release_a_contradiction_is_counted_anew(books: Books):
    books.breakers.saw([DISAGREE], now_s=NOW_S)
    books.breakers.saw([DISAGREE], now_s=NOW_S + 6 * HOUR_S)
    assert books.by == "breaker disagreement"
    end_pause(books.folder)
    books.breakers.begin(NOW_S + 7 * HOUR_S)
    books.breakers.saw([DISAGREE], now_s=NOW_S + 7 * HOUR_S)
    assert books.by == ""
    books.breakers.saw([DISAGREE], now_s=NOW_S + 13 * HOUR_S)
    assert books.by == "breaker disagreement"


def test_an_outage_of_days_is_one_episode_and_its_end_leaves_the_bot_free(books: Books):
    stale = "price of ETH is {} s old, at most 120 s allowed"
    for minute in range(0, 3 * 1_440, 10):
        books.breakers.saw([stale.format(minute * 60)], now_s=NOW_S + minute * 60)
    books.breakers.saw([], now_s=NOW_S + 3 * DAY_S)
    assert books.by == ""


def test_data_that_comes_and_goes_all_day_trips(books: Books):
    said = ("price of ETH is 300 s old, at most 120 s allowed",
            "chain 1 is 90 s behind our clock, allowed 60 s",
            "chain 1 time is 90 s from now, at most 60 s allowed")  # fmt: skip
    for turn in range(24):
        assert books.by == "", turn
        books.breakers.saw([said[turn % 3]], now_s=NOW_S + turn * 600)
        books.breakers.saw([], now_s=NOW_S + turn * 600 + 60)
    assert books.by == "breaker lag"


def test_other_holds_trip_nothing_however_long_they_last(books: Books):
    holds = ["venue lyra could not be read: node is gone", "no price of ETH is known",
             "sequencer of chain 10 is down, or up for less than its grace"]  # fmt: skip
    for hour in range(24 * 40):
        books.breakers.saw(holds, now_s=NOW_S + hour * HOUR_S)
    assert books.by == ""


# in the loop


class Burning(FakeVenue):
    """Every order is mined without effect."""

    async def execute(self, order, *, view):
        self.asked.append(f"execute {order.key}")
        return LegOutcome(leg=order, status=LegStatus.REJECTED, at_s=view.now_s, gas_usd=3.0)


def test_the_durable_journal_tells_of_what_is_closed(tmp_path: Path):
    identity = JournalIdentity(mode="live", chain_id=31337, account="0x1")
    heard = []
    with SqlJournal(tmp_path / "journal.sqlite", identity=identity) as journal:
        journal.on_closed = heard.append
        journal.open_leg(leg(1), at_s=START_S)
        journal.close_leg(replace(rejected(1), status=LegStatus.UNKNOWN))
        assert heard == []
        journal.close_leg(rejected(1))
        assert heard == list(journal.outcomes()) == [rejected(1)]


async def test_the_loop_holds_from_the_next_step_on_and_closing_goes_on(tmp_path: Path):
    identity = JournalIdentity(mode="live", chain_id=31337, account="0x1")
    with SqlJournal(tmp_path / "journal.sqlite", identity=identity) as journal:
        breakers = Breakers(terms=TERMS, journal=journal, state_dir=tmp_path, mode="live")
        journal.on_closed = breakers.closed
        plans = {moment(day).now_s: (leg(day),) for day in range(1, 6)}
        sale = leg(6, side=Side.SELL, position_id="p1")
        seen: list = []
        loop = Pipeline(
            mode="live",
            policy=load_policy(PolicySettings()),
            decide=decide_once({**plans, moment(6).now_s: (sale,)}, seen),
            venues={"fake": Burning()},
            journal=journal,
            desk=Desk(tmp_path, mode="live"),
            breakers=Breakers(terms=replace(TERMS, window_s=30.0 * DAY_S), journal=journal,
                              state_dir=tmp_path, mode="live"),
        )  # fmt: skip
        journal.on_closed = loop.breakers.closed
        for day in range(1, 6):
            assert read_pause(tmp_path) is None, day
            await loop.step(moment(day))
        record = await loop.step(moment(6))
        assert seen[-1].holds[0].startswith("paused by breaker failed-orders at ")
        assert [item.leg.side for item in record.outcomes] == [Side.SELL]
    assert json.loads((tmp_path / "breakers-live.json").read_text())["trip"]["who"] == "breaker failed-orders"
