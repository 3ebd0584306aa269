"""Orders of every kind: perpetuals, the account's own and covers as legs; what is recorded, and heard."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from journal_builders import IDENTITY, event
from perpetual_builders import perpetual_order, traded
from send_builders import filled, leg
from sqlalchemy import create_engine

from bot.errors import InvariantError
from bot.model.account_order import AccountOrder, AccountOutcome, Moved
from bot.model.base_layers import Action
from bot.model.cover import CoverOrder, CoverOutcome, CoverProduct
from bot.model.hedge import LegStatus
from bot.model.intent import IntentState as S
from bot.pipeline.journal import SqlJournal
from bot.pipeline.memory_journal import MemoryJournal


@dataclass(frozen=True)
class Kind:
    """One kind of order: how one is made, ends, is recorded and comes back."""

    order: Callable
    outcome: Callable
    open: str
    close: str
    opened: str
    closed: str


def account_order(number: int, group: str) -> AccountOrder:
    return AccountOrder(
        key=f"account-{number}",
        group=group,
        action=Action.WITHDRAW,
        subject="v3:1",
        part=0.5,
        valid_until_s=9.0,
    )


def account_outcome(order: AccountOrder, **changes) -> AccountOutcome:
    return AccountOutcome(order=order, moved=(Moved(asset="ETH", units=2.0),), gas_usd=3.0, **changes)


def cover_order(number: int, group: str) -> CoverOrder:
    return CoverOrder(
        key=f"cover-{number}",
        product=CoverProduct(venue="nexus", id="1", name="A", protocol=group),
        amount_usd=50_000.0,
        period_s=86_400,
        limit_usd=400.0,
        expected_usd=370.0,
        valid_until_s=9.0,
    )


def cover_outcome(order: CoverOrder, **changes) -> CoverOutcome:
    return CoverOutcome(order=order, cover_id="7", premium_usd=370.0, **changes)


LEG = Kind(
    lambda number, group: replace(leg(f"leg-{number}"), group=group), filled,
    "open_leg", "close_leg", "open_legs", "outcomes",
)  # fmt: skip
PERPETUAL = Kind(
    lambda number, group: perpetual_order(number, group=group), traded,
    "open_perpetual", "close_perpetual", "open_perpetuals", "perpetual_outcomes",
)  # fmt: skip
ACCOUNT = Kind(
    account_order, account_outcome,
    "open_account_order", "close_account_order", "open_account_orders", "account_outcomes",
)  # fmt: skip
COVER = Kind(
    cover_order, cover_outcome,
    "open_cover", "close_cover", "open_covers", "cover_outcomes",
)  # fmt: skip
KINDS = {"leg": LEG, "perpetual": PERPETUAL, "account": ACCOUNT, "cover": COVER}


@pytest.fixture(params=["sqlite", "memory"])
def journal(request, tmp_path: Path):
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SqlJournal(tmp_path / "journal.db", identity=IDENTITY) as opened:
        yield opened


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


def begin(journal, kind: Kind, order, at_s: float = 1.0) -> None:
    getattr(journal, kind.open)(order, at_s=at_s)


def end(journal, kind: Kind, order, status: LegStatus = LegStatus.FILLED, at_s: float = 2.0):
    outcome = kind.outcome(order, status=status, at_s=at_s)
    getattr(journal, kind.close)(outcome)
    return outcome


def held(journal) -> dict[str, tuple]:
    """Return what is open and what was closed, of every kind."""
    names = [name for kind in KINDS.values() for name in (kind.opened, kind.closed)]
    return {name: found for name in names if (found := getattr(journal, name)()) != ()}


def test_an_order_comes_back_as_it_was_under_its_own_kind_alone(journal, kind):
    first, second = kind.order(2, "a"), kind.order(1, "b")
    begin(journal, kind, first)
    assert held(journal) == {kind.opened: (first,)}
    begin(journal, kind, second)
    assert held(journal) == {kind.opened: (first, second)}  # in the order in which they were opened
    outcome = end(journal, kind, second)
    assert held(journal) == {kind.opened: (first,), kind.closed: (outcome,)}
    other = end(journal, kind, first, LegStatus.REJECTED)
    assert held(journal) == {kind.closed: (outcome, other)}  # in the order in which they ended


def test_orders_of_different_kinds_are_open_side_by_side(journal):
    orders = {kind.opened: kind.order(1, "ETH/USDC") for kind in KINDS.values()}
    for kind in KINDS.values():
        begin(journal, kind, orders[kind.opened])
    assert held(journal) == {name: (order,) for name, order in orders.items()}
    outcomes = {kind.closed: (end(journal, kind, orders[kind.opened]),) for kind in KINDS.values()}
    assert held(journal) == outcomes


def test_one_order_of_a_kind_and_group_is_open_at_a_time_and_executed_once(journal, kind):
    order, other = kind.order(1, "a"), kind.order(2, "a")
    begin(journal, kind, order)
    with pytest.raises(InvariantError, match=r"still open"):
        begin(journal, kind, other)
    end(journal, kind, order)
    with pytest.raises(InvariantError, match="executed once"):
        begin(journal, kind, order)
    with pytest.raises(InvariantError, match="not open"):
        end(journal, kind, order)
    begin(journal, kind, other)
    assert getattr(journal, kind.opened)() == (other,)


@pytest.mark.parametrize("status", [LegStatus.UNKNOWN, LegStatus.PROPOSED, LegStatus.WAITING])
def test_an_order_whose_outcome_is_not_known_stays_open(journal, kind, status):
    order = kind.order(1, "a")
    begin(journal, kind, order)
    end(journal, kind, order, status)
    assert held(journal) == {kind.opened: (order,)}


def test_an_order_with_an_open_transaction_does_not_close(journal, kind):
    order = kind.order(1, "a")
    begin(journal, kind, order)
    journal.append_intent(event(S.RESERVED, leg_key=order.key))
    with pytest.raises(InvariantError, match=r"transaction.* is (still )?open"):
        end(journal, kind, order)
    journal.append_intent(event(S.RELEASED, leg_key=order.key))
    end(journal, kind, order)
    assert getattr(journal, kind.opened)() == ()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "journal.db"


def test_an_end_is_heard_of_once_it_is_durable_and_nothing_else_is(path, kind):
    heard = []
    order = kind.order(1, "a")
    with SqlJournal(path, identity=IDENTITY) as journal, SqlJournal(path, read_only=True) as reader:

        def hear(outcome) -> None:
            heard.append(outcome)
            assert getattr(reader, kind.closed)() == (outcome,)

        journal.on_closed = hear
        begin(journal, kind, order)
        end(journal, kind, order, LegStatus.UNKNOWN)
        assert heard == []
        outcome = end(journal, kind, order)
        assert heard == [outcome]
        with pytest.raises(InvariantError, match="not open"):
            end(journal, kind, order)
        assert heard == [outcome]


def test_its_rows_say_what_they_are_to_whoever_looks_with_sql(path, kind):
    order = kind.order(1, "a")
    with SqlJournal(path, identity=IDENTITY) as journal:
        begin(journal, kind, order, at_s=1.5)
        end(journal, kind, order, LegStatus.UNKNOWN, at_s=2.5)
        end(journal, kind, order, at_s=3.5)
    engine = create_engine(f"sqlite:///{path}")
    with closing(engine.raw_connection()) as connection:
        rows = connection.cursor().execute(
            "SELECT seq, key, hedge_group, layer, kind, at_s FROM leg_events ORDER BY seq"
        )
        found = rows.fetchall()
    engine.dispose()
    layer = {"open_leg": "NEAR", "open_perpetual": "PERPETUAL", "open_account_order": "ACCOUNT"}
    row = (order.key, "a", layer.get(kind.open, "COVER"))
    assert found == [
        (1, *row, "opened", 1.5),
        (2, *row, "noted", 2.5),
        (3, *row, "closed", 3.5),
    ]


@pytest.mark.parametrize("at_s", [float("nan"), float("inf"), float("-inf")])
def test_an_order_without_a_time_is_refused_by_name(path, kind, at_s):
    order = kind.order(1, "a")
    with SqlJournal(path, identity=IDENTITY) as journal:
        with pytest.raises(InvariantError) as caught:
            begin(journal, kind, order, at_s=at_s)
        assert str(caught.value) == f"order {order.key} needs a time in seconds, was {at_s}"
        begin(journal, kind, order)
        with pytest.raises(InvariantError, match=f"^order {order.key} is refused by the journal: "):
            begin(journal, kind, order)
