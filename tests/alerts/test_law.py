"""A law over all kinds: every message says what happened, the bot did, it could not, to do, where."""

import math
import re
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from alerts.outbox import Clock, desk
from alerts.test_conditions import health, position
from pipeline_builders import START_S, filled, leg, record_of

from bot.alerts.condition import KINDS, Severity
from bot.alerts.conditions import Limits, of_positions, of_step
from bot.alerts.message import Message
from bot.alerts.state import AlertState, TargetState
from bot.alerts.words import (
    alive_message,
    channel_condition,
    digests_of,
    disagreement_condition,
    failed_start_condition,
    silence_condition,
    stall_condition,
    stopped_condition,
    stuck_condition,
)
from bot.model.account_order import AccountOrder, AccountOutcome, Moved
from bot.model.base_layers import Action, BaseLayer, Proposal
from bot.model.cover import CoverOrder, CoverOutcome, CoverProduct
from bot.model.hedge import Layer, LegStatus, Shortfall
from bot.model.perpetual import Perpetual, PerpetualAction, PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import ProtocolDecision
from bot.model.tier import Family, Quality, Reading, RuleFinding, Tier

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
UTC = ZoneInfo("UTC")
STATUSES = tuple(LegStatus)


def everything():
    """Yield a condition of each kind, made as the program makes it."""
    short = Shortfall(layer=Layer.NEAR, missing=0.4, missing_contracts=3.0, reason="no expiry in band")
    record = record_of(
        tier=Tier.CRISIS, because="ETH fell 12 %", degraded=("ONCHAIN",), shortfalls=(short,),
        holds=("price of ETH is 70 s old",),
    )  # fmt: skip
    beta = Reading(
        signal="S20", name="beta", subject="ETH", family=Family.FUNDAMENTAL, value=3.1, unit="", score=0.4,
        quality=Quality.LIVE, because="30-day beta 3.1", informs=True,
    )  # fmt: skip
    paused = ProtocolDecision(
        protocol="uniswap-v3", tier=Tier.CRISIS, previous_tier=Tier.CALM, groups=("ETH/USDC",),
        findings=(RuleFinding(rule="R2", fired=True, because="v3-factory is paused", tier=Tier.CRISIS),),
    )  # fmt: skip
    ending = Proposal(
        rule="R20", layer=BaseLayer.INSURANCE, action=Action.RENEW_COVER, subject="7", amount_usd=5e4,
        because="cover 7 ends", due_s=START_S, follows="alvh cover buy buys it",
    )  # fmt: skip
    decision = replace(record.decision, readings=(beta,), protocols=(paused,), proposals=(ending,))
    yield from of_step(replace(record, decision=decision))
    for status in STATUSES:
        yield from of_step(orders_of(status))
    yield from of_positions([position(2_500.0)], health(1.1), limits=Limits(), active=())
    active = {"range:1:v3:7", "health:aave:0x1"}
    yield from of_positions([position(math.nan)], health(math.nan), limits=Limits(), active=active)
    yield from of_positions([position(2_190.0)], health(2.0), limits=Limits(range_margin=0.02), active=())
    yield silence_condition(61.0, "the node refused the connection")
    yield disagreement_condition("two nodes, two answers")
    yield stall_condition(5.0, "in sleep", is_over=False)
    yield stopped_condition("the journal is full")
    yield failed_start_condition("the node refused the connection", is_final=False)
    yield failed_start_condition("policy has no such key", is_final=True)
    yield stuck_condition("leg/3-open", "open with nonce 4, gas is too dear")
    yield channel_condition(TargetState(name="1 test", failing_since_s=0.0, why="down"), "x", 400.0, UTC)


def orders_of(status):
    product = CoverProduct(venue="nexus", id="1", name="Uniswap v3", protocol="uniswap-v3")
    cover = CoverOrder(
        key="c", product=product, amount_usd=1_000.0, period_s=90 * 86_400, limit_usd=10.0,
        expected_usd=9.0, valid_until_s=4e9,
    )  # fmt: skip
    perpetual = PerpetualOrder(
        key="p", group="ETH/USDC", action=PerpetualAction.OPEN, size=-1.5, margin_usd=100.0, limit_usd=1.0,
        perpetual=Perpetual(venue="perp-v2", id="vETH", underlying="ETH", settlement="USDC"),
        expected_usd=1.0, valid_until_s=4e9,
    )  # fmt: skip
    account = AccountOrder(
        key="a", group="ETH/USDC", action=Action.WITHDRAW, subject="v3:1", valid_until_s=4e9
    )
    moved = (Moved(asset="ETH", units=1.0),)
    return replace(
        record_of(outcomes=(replace(filled(leg()), status=status),)),
        perpetuals=(PerpetualOutcome(order=perpetual, status=status, at_s=START_S),),
        account_orders=(AccountOutcome(order=account, status=status, at_s=START_S, moved=moved),),
        covers=(CoverOutcome(order=cover, status=status, at_s=START_S),),
    )


ALL = tuple(everything())
SELF_MADE = {"alive", "digest", "test"}  # no conditions, checked below


def test_there_is_a_condition_of_every_kind_here():
    assert {item.kind for item in ALL} | SELF_MADE == set(KINDS)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - SELF_MADE))
def test_every_message_says_all_four_and_its_section_of_the_runbook(kind):
    for item in (item for item in ALL if item.kind == kind):
        for part in (item.happened, item.did, item.could_not, item.act):
            assert len(part) > 5
            assert part.endswith(".")
            assert ".." not in part
        assert "\n" not in item.title
        assert item.text.splitlines()[-1] == f"Runbook: docs/runbook.md#{KINDS[kind]}"


@pytest.mark.parametrize("kind", sorted(set(KINDS) - SELF_MADE))
def test_so_does_the_message_of_its_end(kind, tmp_path):
    item = next(item for item in ALL if item.kind == kind)
    one = desk(tmp_path, clock=Clock())
    one.observe([replace(item, once=False, severity=Severity(max(item.severity, 1)))])
    (over,) = one.observe([])
    assert over.title == f"[alvh dry-run] over: {item.title}"
    assert [line.partition(": ")[0] for line in over.text.splitlines()[1:]] == [
        "The bot",
        "It could not",
        "To do",
        "Runbook",
    ]


def test_the_daily_word_and_the_digest_say_all_of_it_too():
    state = AlertState(targets={"x": TargetState(name="2 bad", failing_since_s=0.0)})
    daily = alive_message(["CALM ETH/USDC"], state, mode="dry-run", at_s=0.0, zone=UTC)
    assert "reach 2 bad" in daily.text
    one = Message(severity=Severity.WARNING, title="[alvh dry-run] ELEVATED", text="", at_s=0.0)
    (digest,) = digests_of([one], mode="dry-run", at_s=0.0, zone=UTC)
    for message in (daily, digest):
        for words in ("The bot: ", "It could not: ", "To do: ", "Runbook: docs/runbook.md#"):
            assert words in message.text


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_section_in_the_runbook(kind):
    """The section's heading is the anchor; it says what the alert means, what the bot does, what to do."""
    text = RUNBOOK.read_text()
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-"): title for title in titles}
    assert KINDS[kind] in anchors
    if KINDS[kind].startswith("alert-"):
        section = text.split(f"# {anchors[KINDS[kind]]}\n")[1].split("\n#")[0]
        for word in ("Means:", "The bot:", "You:"):
            assert word in section, word
