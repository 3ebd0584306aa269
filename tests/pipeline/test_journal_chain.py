"""The chain of hashes by itself: what is whole, what was changed, what bridges rows that left (REL-P6)."""

import hashlib
import math

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table

from bot.errors import InvariantError
from bot.pipeline.journal_chain import GENESIS, Pruned, check_chain, row_hash

TABLE = Table(
    "notes", MetaData(), Column("seq", Integer), Column("previous_hash", String), Column("row_hash", String),
    Column("body", String),
)  # fmt: skip


def row(seq: int, previous: str, body: object = "b") -> dict:
    made = {"seq": seq, "previous_hash": previous, "row_hash": "", "body": body}
    return made | {"row_hash": row_hash(TABLE, made)}


def chain(count: int = 6) -> dict[int, dict]:
    """Return rows by number, each bound to the one before."""
    made, previous = {}, GENESIS
    for seq in range(1, count + 1):
        made[seq] = row(seq, previous)
        previous = made[seq]["row_hash"]
    return made


ROWS = chain()


def check(rows=ROWS, *, gone=(), first=1) -> int:
    kept = ((seq, TABLE, item) for seq, item in sorted(rows.items()))
    return check_chain(kept, gone, first=first, name="j")


def left(first: int, last: int, **changes: str) -> Pruned:
    before = ROWS[first - 1]["row_hash"] if first > 1 else GENESIS
    return Pruned(first, last, before, ROWS[last]["row_hash"])._replace(**changes)


def without(*numbers: int) -> dict[int, dict]:
    return {seq: item for seq, item in ROWS.items() if seq not in numbers}


def test_the_hash_is_that_of_the_table_and_every_other_column_in_one_spelling():
    text = f'["notes",{{"body":"b","previous_hash":"{GENESIS}","seq":1}}]'
    assert row(1, GENESIS)["row_hash"] == hashlib.sha256(text.encode()).hexdigest()
    assert GENESIS == "0" * 64
    with pytest.raises(ValueError, match="JSON"):
        row(1, GENESIS, math.nan)


@pytest.mark.parametrize("first", [1, 2, 3, 6, 7])
def test_a_whole_chain_is_counted_from_any_row_on(first):
    assert check(first=first) == 7 - first
    assert check({}, first=first) == 0


def test_the_first_row_follows_nothing():
    with pytest.raises(InvariantError, match="journal j was changed at row 1 of notes: stop"):
        check({1: row(1, "f" * 64)})
    assert check({2: row(2, "f" * 64)}, first=2) == 1  # what is before it is not looked at


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_lost_row_is_named(lost):
    with pytest.raises(InvariantError, match=f"journal j lost row {lost}: stop"):
        check(without(lost))


@pytest.mark.parametrize("changed", range(1, 7))
def test_a_changed_row_is_named(changed):
    for bad in ({"body": "c"}, {"row_hash": "f" * 64}):
        with pytest.raises(InvariantError, match=f"changed at row {changed} of notes"):
            check(ROWS | {changed: ROWS[changed] | bad})
    if changed > 1:  # one that is whole in itself, and bound to another
        with pytest.raises(InvariantError, match=f"changed at row {changed} of notes"):
            check(ROWS | {changed: row(changed, "e" * 64)})


@pytest.mark.parametrize("gone", [(left(2, 3),), (left(2, 2), left(3, 3)), (left(3, 3), left(2, 2))])
def test_stretches_that_left_are_bridged(gone):
    assert check(without(2, 3), gone=gone) == 4
    assert check(without(2, 3), gone=gone, first=2) == 3
    assert check(without(2, 3), gone=gone, first=3) == 3
    assert check(without(2, 3), gone=gone, first=4) == 3


def test_a_journal_may_begin_or_end_with_what_left():
    assert check(without(1, 2), gone=(left(1, 2),)) == 4
    assert check(without(1, 2), gone=(left(1, 2),), first=2) == 4
    assert check(without(5, 6), gone=(left(5, 6),)) == 4


def test_a_bridge_that_does_not_fit_is_seen():
    with pytest.raises(InvariantError, match="journal j was changed before row 2: stop"):
        check(without(2, 3), gone=(left(2, 3, previous_hash="f" * 64),))
    for first in (1, 2):
        with pytest.raises(InvariantError, match="changed at row 4 of notes"):
            check(without(2, 3), gone=(left(2, 3, last_hash="f" * 64),), first=first)
    with pytest.raises(InvariantError, match="lost row 4"):
        check(without(2, 3, 4), gone=(left(2, 3),))
    with pytest.raises(InvariantError, match="lost row 2"):
        check(without(2, 3), gone=(left(3, 3),))


def test_rows_that_came_back_behind_a_bridge_are_seen():
    with pytest.raises(InvariantError, match="lost row 5"):
        check(without(1, 2, 3, 5), gone=(left(1, 3),))


def test_a_row_that_is_there_needs_no_bridge():
    assert check(gone=(left(3, 3),)) == 6
    assert check(without(5), gone=(left(5, 5),), first=2) == 4  # what left later moves no beginning


def test_what_left_is_not_looked_at_again_where_it_is_begun_inside_of_it():
    bad = ROWS | {3: ROWS[3] | {"body": "c"}}
    assert check(bad, gone=(left(2, 3),), first=3) == 3


def test_what_left_is_not_looked_at_where_it_is_begun_inside_of_several():
    assert check(without(2, 3, 4, 5), gone=(left(2, 5), left(3, 4)), first=4) == 1
    assert check(without(2, 3, 4, 5), gone=(left(3, 4), left(2, 5)), first=4) == 1


def test_no_stretch_hides_the_first_row_of_a_whole_check():
    forged = Pruned(0, 3, GENESIS, ROWS[3]["row_hash"])
    for rows in (ROWS | {1: ROWS[1] | {"body": "c"}}, without(1, 2, 3)):
        with pytest.raises(InvariantError, match="row 1"):
            check(rows, gone=(forged,))
