"""Every state has its words: what is wrong, what goes on all the same, what ends it (ui.md, States)."""

import math
from dataclasses import replace

import pytest
from engine.factory import held, option
from pipeline_builders import EXPOSURE, filled, leg, record_of
from presented import stressed_record, troubled_record

from bot.chain.pause import Pause
from bot.dashboard import overview, shown, states
from bot.dashboard.past import Past
from bot.dashboard.snapshot import Place, Snapshot
from bot.model.exposure import LpShape
from bot.model.hedge import Layer, LegStatus
from bot.model.tier import Family, Quality, Reading, Tier
from bot.pipeline.gaps import Halt

PLACE = Place(
    mode="live",
    chain_ids=(31337,),
    explorers={},
    state_dir="/state",
    reports_dir="/state/reports",
    poll_s=1.0,
)
NOW_S = 1_700_000_000.0


def seen(record=None, **changes) -> Snapshot:
    fields = {"last": record, "full": record, "running": record is not None, "written_at_s": NOW_S}
    return Snapshot(version="1", looked_at_s=NOW_S, **(fields | changes))


def words_of(snapshot: Snapshot, place: Place = PLACE) -> dict[str, states.Notice]:
    return {item.word: item for item in states.notices(place, snapshot)}


def test_before_the_first_run_it_says_how_to_begin():
    found = words_of(seen())
    assert list(found) == ["FIRST RUN"]
    assert found["FIRST RUN"].command == "alvh run --live"
    named = replace(PLACE, config="/etc/alvh.toml", mode="dry-run")
    assert words_of(seen(), named)["FIRST RUN"].command == "alvh run --config /etc/alvh.toml"
    assert states.headline(PLACE, seen()).word == "No record yet"


def test_without_a_position_it_says_how_to_add_one():
    record = record_of()
    bare = replace(record, decision=replace(record.decision, groups=()))
    assert "[[positions]]" in states.headline(PLACE, seen(bare)).lead


def test_a_calm_bot_that_runs_has_nothing_to_say():
    assert words_of(seen(record_of())) == {}
    assert states.headline(PLACE, seen(record_of())).word == "CALM"


def test_the_gravest_comes_first_and_each_names_its_end():
    record = record_of(holds=("price of ETH is 120 s old",))
    snapshot = seen(
        record,
        halts=(Halt(chain_id=1, since_s=NOW_S, why="a final block was replaced"),),
        pause=Pause(who="anna", at_s=NOW_S, why="looking"),
        running=False,
    )
    notices = states.notices(PLACE, snapshot)
    assert [item.word for item in notices] == ["HALTED", "PAUSED", "HOLD", "NOT RUNNING"]
    found = {item.word: item for item in notices}
    assert found["HALTED"].command == "alvh release"
    assert found["PAUSED"].command == "alvh resume"
    assert "closing, settling and claims go on" in found["PAUSED"].text
    assert "Nothing is opened meanwhile" in found["HOLD"].text
    assert "nobody manages them" in found["NOT RUNNING"].text


def test_the_hold_of_a_pause_is_told_once():
    pause = Pause(who="anna", at_s=NOW_S, why="looking")
    found = words_of(seen(record_of(holds=(f"{pause}; alvh resume ends it",)), pause=pause))
    assert list(found) == ["PAUSED"]


def test_silence_of_a_bot_that_runs_is_stale():
    found = words_of(seen(record_of(), written_at_s=NOW_S - 61.0))
    assert list(found) == ["STALE"]
    assert found["STALE"].command == "alvh doctor"


def test_a_journal_that_cannot_be_read_any_more_shows_the_last_that_was():
    found = words_of(seen(record_of(), problem="journal X cannot be read: disk I/O error"))
    assert "the last that was read" in found["JOURNAL UNREADABLE"].text


def test_a_budget_that_is_used_up_is_said_with_its_figures():
    record = record_of()
    limits = {"session_cap_usd": 100.0, "session_used_usd": 100.0}
    record = replace(record, decision=replace(record.decision, limits=limits))
    assert "$100 of $100" in words_of(seen(record))["BUDGET USED UP"].text


def test_a_degraded_group_says_what_is_not_seen():
    found = words_of(seen(record_of(degraded=("ONCHAIN",))))
    assert "ONCHAIN" in found["DEGRADED"].text


def test_a_proposal_that_waits_for_signatures_is_said():
    waits = replace(filled(leg()), status=LegStatus.PROPOSED)
    assert "signatures" in words_of(seen(record_of(outcomes=(waits,))))["SIGNATURES WANTED"].text


def test_a_loan_in_danger_and_a_protocol_in_trouble_come_before_the_rest():
    record = troubled_record()
    notices = states.notices(PLACE, seen(record))
    assert notices[0].word == "ALARM R2"
    assert "1.2" in notices[0].text
    told = next(item for item in notices if item.word == "PROTOCOL")
    assert told.kind == "stop"
    assert told.text.startswith("uniswap-v2 is ")
    assert told.text.endswith("ETH/USDC depends on it.")


def test_a_position_out_of_its_range_is_said_with_both_ends():
    shape = LpShape(liquidity=1.0, lower_usd=1_000.0, upper_usd=1_500.0)
    record = replace(record_of(), exposures=(replace(EXPOSURE, id="v3:7", shape=shape),))
    text = words_of(seen(record))["OUT OF RANGE"].text
    assert text == "v3:7 earns no fees: ETH is at $2,500, its range is 1,000 to 1,500."


def test_signals_that_warm_say_how_long():
    record = record_of()
    warming = Reading(
        signal="S12", name="iv_percentile", subject="ETH", family=Family.TECHNICAL, value=math.nan, unit="",
        score=math.nan, quality=Quality.WARMING, because="", warm_at_s=NOW_S,
    )  # fmt: skip
    record = replace(record, decision=replace(record.decision, readings=(warming,)))
    assert "2023-11-14 22:13" in words_of(seen(record))["WARMING"].text


def test_an_expiry_within_the_hour_and_one_that_passed_are_urgent():
    record, hedge = stressed_record(), held(option(1300, 70), Layer.TAIL, 3.0)
    expiry_s = hedge.instrument.expiry_s
    for before_s, urgency in ((7_200.0, "soon"), (1_800.0, "now"), (-10.0, "now"), (30 * 86_400.0, "")):
        at = replace(record, held=(hedge,), decision=replace(record.decision, now_s=expiry_s - before_s))
        items = overview.coming(seen(at), at)
        mine = next(item for item in items if item.at_s == expiry_s)
        assert mine.urgency == urgency, before_s


def test_what_changed_is_told_in_order_and_once():
    past, calm = Past(), record_of()
    up = record_of(tier=Tier.SEVERE, because="funding at 3 sigma", holds=("price is 70 s old",))
    later = record_of(tier=Tier.SEVERE, holds=("price is 82 s old",))
    for record in (calm, up, later, record_of(tier=Tier.CALM)):
        past.add(record)
    assert [item.kind for item in past.changes] == ["tier", "hold", "tier", "clear"]
    assert past.changes[0].words == "ETH/USDC up from CALM to SEVERE: funding at 3 sigma"
    assert past.changes[0].tier is Tier.SEVERE


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(0.3014, "fraction", "30.1 %"), (-0.00001, "", "0.000"), (9.068, "points", "9.07"),
     (12_345.6, "", "12,346"), (math.nan, "", "unknown"), (math.inf, "", "∞"), (-2.5, "sigma", "-2.50")],
)  # fmt: skip
def test_figures_have_the_digits_that_tell_something(value, unit, words):
    assert shown.figure(value, unit) == words


def test_text_of_a_stranger_is_cut_and_what_cannot_be_seen_is_shown():
    assert shown.plain("a\u202eb\x00c\u200f") == "a\ufffdb\ufffdc\ufffd"
    assert len(shown.plain("x" * 1_000_000)) == 601
    assert shown.explorer_link('0x"onclick="x', "https://e.test").count("<a ") == 0
    assert 'href="https://e.test/tx/0x' in shown.explorer_link("0x" + "ab" * 32, "https://e.test/")
