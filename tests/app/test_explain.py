"""Which decision ``alvh explain`` finds, in which journal, and under which policy it explains it."""

import pytest
from engine.factory import GROUP, NOW_S, SPOT, classic, frame, stressed_columns

from bot.app.explain import Which, explain_file
from bot.app.journals import new_journal, write_journal
from bot.engine.step import decide
from bot.errors import ConfigError, NotFoundError
from bot.explain_document import explain_document
from bot.model.record import EngineState, GroupState, StepRecord
from bot.model.tier import Tier
from bot.model.units import iso_utc
from bot.pipeline.records import heartbeat as _heartbeat
from bot.settings import named_policy

HOUR = 3600.0
CLASSIC = named_policy("classic")


def record(sequence, *, policy=CLASSIC, columns=None, tier=Tier.CALM):
    now_s = NOW_S + HOUR * sequence
    before = EngineState(groups={GROUP: GroupState(tier=tier, last_needed_s=now_s)})
    state, decision = decide(policy, before, frame(columns, now_s=now_s))
    return StepRecord(
        sequence=sequence,
        mode="backtest",
        decision=decision,
        state=state,
        outcomes=(),
        frame_hash="f",
        spot_usd={"ETH": SPOT},
        exposure_value_usd={"v2:1": 1e6},
        hedge_value_usd=0.0,
        cash_flow_usd=0.0,
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A journal of a backtest: two full steps, then a heartbeat, then a full one of another tier."""
    made = tmp_path_factory.mktemp("journal") / "backtest.sqlite"
    stressed = stressed_columns(NOW_S + 4 * HOUR)
    write_journal(
        made,
        (record(1), record(2), _heartbeat(record(3)), record(4, columns=stressed, tier=Tier.SEVERE)),
    )
    return made


@pytest.mark.parametrize(
    ("which", "asked", "full"),
    [
        (Which(), 4, 4),
        (Which(sequence=1), 1, 1),
        (Which(sequence=3), 3, 2),
        (Which(at=iso_utc(NOW_S + 3.5 * HOUR)), 3, 2),
        (Which(at=iso_utc(NOW_S + 2 * HOUR)), 2, 2),
        (Which(at=iso_utc(NOW_S + 500 * HOUR)), 4, 4),
    ],
)
def test_the_decision_in_force_is_found_and_a_heartbeat_is_resolved(path, which, asked, full):
    found = explain_file(path, which)
    assert (found.shown_for.sequence, found.record.sequence) == (asked, full)
    assert found.is_heartbeat is (asked != full)
    assert found.is_same_policy
    assert found.groups[0].nearest is not None
    document = explain_document(found)
    assert document["explains"]["asked_sequence"] == asked
    assert document["sequence"] == full
    assert document["explains"]["asked_is_heartbeat"] is (asked != full)


@pytest.mark.parametrize(
    ("which", "words"),
    [
        (Which(at="1999-01-01"), "no decision at or before 1999-01-01"),
        (Which(sequence=0), "no decision at or before step 0"),
        (Which(sequence=9), "no step 9; the one before it is step 4 of 2023-11-15T04:00:00Z"),
    ],
)
def test_a_decision_that_is_not_there_is_refused(path, which, words):
    with pytest.raises(NotFoundError, match=words):
        explain_file(path, which)


def test_a_question_that_contradicts_itself_is_refused(path):
    with pytest.raises(ConfigError, match="either --at or --sequence"):
        Which(at="2023-01-01", sequence=1)
    with pytest.raises(ConfigError, match="0 or more"):
        Which(sequence=-1)
    with pytest.raises(ConfigError, match="--at"):
        explain_file(path, Which(at="soon"))


def test_the_policy_is_found_by_its_hash_and_another_one_is_named(path, tmp_path):
    steward = tmp_path / "steward.sqlite"
    write_journal(steward, (record(1, policy=named_policy("steward")),))
    assert explain_file(steward, Which()).policy.name == "steward"
    assert explain_file(path, Which()).policy.name == "classic"
    other = explain_file(path, Which(), policy="steward")
    assert not other.is_same_policy
    assert other.groups[0].nearest is None
    lost = tmp_path / "lost.sqlite"
    write_journal(lost, (record(1, policy=classic(tiers={"cooldown": "7 h"})),))
    found = explain_file(lost, Which())
    assert not found.is_same_policy
    assert "--policy" in found.groups[0].unknown


def test_a_journal_is_not_written_over(path, tmp_path):
    with pytest.raises(ConfigError, match="exists already"):
        new_journal(path)
    new_journal(tmp_path / "new.sqlite")
    with pytest.raises(NotFoundError, match="no decision"):
        explain_file(tmp_path / "new.sqlite", Which())
    with pytest.raises(NotFoundError, match="does not exist"):
        explain_file(tmp_path / "none.sqlite", Which())


def test_the_document_holds_what_a_program_needs(path):
    document = explain_document(explain_file(path, Which()))
    (group,) = document["groups"]
    assert group["tier"] == "SEVERE"
    assert group["asked_tier"] == "SEVERE"
    assert group["next"]["confirm"] == {"frames": 2, "seconds": 60.0, "blocks": 6}
    down = group["next"]["down"]
    assert down["to"] == "ELEVATED"
    assert down["wait_s"] == 6 * HOUR
    funding = next(item for item in down["changes"] if item["signal"] == "S10")
    assert funding["unit"] == "sigma"
    assert abs(funding["value_to"]) < abs(funding["value_from"])
    assert document["groups"][0]["signals"][funding["reading"]] is not None
    assert {"rule", "name", "limit_usd", "used_usd", "room_usd", "bound", "because"} == set(
        group["limits"][0]
    )
    assert all(item["cost_usd_per_contract"] > 0.0 for item in group["alternatives"])
    votes = {item["family"]: item for item in group["votes"]}
    added = sum(item["adds_to_family_score"] for item in group["signals"] if item["family"] == "ONCHAIN")
    assert votes["ONCHAIN"]["score"] == pytest.approx(added)
    assert all(item["missed_unit"] for item in group["rules"] if item["missed"] is not None)
    assert "S8 mev_flow" in document["absent_signals"]
    assert document["doubtful_readings"][0]["warm_at"] is not None
