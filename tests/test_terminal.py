"""What people read in a terminal: words in 80 columns, without colour, nothing unknown shown as a number."""

import io
import math
import re
from dataclasses import replace

import pytest
from engine.factory import classic
from perpetual_builders import perpetual_order, reduction, traded
from pipeline_builders import START_S
from presented import POLICY, plan, record, stressed_record, troubled_record
from rich.console import Console, Group

from bot import terminal
from bot.cli import operate
from bot.documents import step_document
from bot.engine.explain import explain
from bot.model.account_order import AccountOrder, AccountOutcome, Moved
from bot.model.base_layers import Action, BaseLayer, Needs
from bot.model.cover import CoverOrder, CoverOutcome, CoverProduct
from bot.model.hedge import Layer, LegStatus, Shortfall
from bot.model.perpetual import PerpetualAction
from bot.model.perpetual_outcome import refused
from bot.model.tier import Quality, RuleFinding, Tier

WIDTHS = (80, 60, 45)
OTHER = classic(tiers={"cooldown": "7 h"})


def text_of(view, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None, highlight=False)
    console.print(view)
    return console.file.getvalue()


def words_of(view):
    """Return the text as one line, so that a phrase is found where it was wrapped."""
    return " ".join(text_of(view, 200).split())


VIEWS = {
    "status": lambda: terminal.status_view(stressed_record()),
    "calm status": lambda: terminal.status_view(record()),
    "troubled status": lambda: terminal.status_view(troubled_record()),
    "troubled state": lambda: terminal.state_line(troubled_record()),
    "troubled explain": lambda: terminal.explain_view(explain(POLICY, troubled_record())),
    "held status": lambda: terminal.status_view(record(holds=("feed is down",))),
    "plan": lambda: terminal.plan_view(plan()),
    "state": lambda: terminal.state_line(stressed_record()),
    "explain": lambda: terminal.explain_view(explain(POLICY, stressed_record())),
    "calm explain": lambda: terminal.explain_view(explain(POLICY, record())),
    "explain under another policy": lambda: terminal.explain_view(explain(OTHER, stressed_record())),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VIEWS)
def test_every_view_keeps_to_its_width_and_needs_no_colour(name, width):
    text = text_of(VIEWS[name](), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_the_state_comes_first_and_names_its_tier_once():
    first = words_of(terminal.status_view(stressed_record()))
    group = stressed_record().decision.groups[0]
    assert first.startswith(f"SEVERE ETH/USDC: {group.because}")
    assert not group.because.startswith("SEVERE")
    assert "TECHNICAL 1.00 (funding" in group.because


def test_protection_is_a_bar_with_the_reason_beside_it():
    text = text_of(terminal.status_view(stressed_record()))
    (tail,) = (line for line in text.splitlines() if line.startswith("TAIL"))
    assert re.search(r"3\.00 of \d+\.\d\d +█?░+", tail)
    assert "missing:" in words_of(terminal.status_view(stressed_record(holds=("feed is down",))))


def test_a_layer_without_target_says_when_it_opens():
    assert "opens at ELEVATED" in text_of(terminal.status_view(record()))


def test_a_covered_group_does_not_call_a_layer_short():
    calm = record()
    (group,) = calm.decision.groups
    tail = replace(group.targets[2], held_contracts=0.6 * group.targets[2].wanted_contracts)
    covered = replace(group, targets=(tail,), shortfalls=(), covered_share=0.3)
    shown = replace(calm, decision=replace(calm.decision, groups=(covered,)))
    assert "no more is needed" in words_of(terminal.status_view(shown))


def test_money_says_what_is_worth_what_was_paid_and_what_is_left():
    words = words_of(terminal.status_view(stressed_record()))
    spent = sum(item.premium_usd + item.gas_usd for item in stressed_record().outcomes)
    assert f"paid for hedges so far $100, and in this step ${spent:,.0f}." in words
    assert "Budget left: $" in words
    assert "in 24 h" in words


def test_without_a_position_it_says_how_to_add_one():
    assert "[[positions]]" in words_of(terminal.status_view(record(exposures=())))


def test_each_signal_takes_one_line_and_names_its_subject():
    lines = text_of(terminal.status_view(stressed_record())).splitlines()
    (funding,) = (line for line in lines if line.startswith("S10"))
    assert re.search(r"S10 funding +ETH perp_v2 +1\.00 +funding -\d+\.\d sigma", funding)
    (liquidity,) = (line for line in lines if line.startswith("S1 "))
    assert "v2:ETH/USDC" in liquidity


def test_warming_and_missing_signals_have_no_score():
    base = record()
    reading = next(item for item in base.decision.readings if item.signal == "S10")
    odd = (
        replace(reading, quality=Quality.WARMING, score=math.nan, value=math.nan, warm_at_s=1_700_000_000.0),
        replace(reading, quality=Quality.MISSING, score=math.nan, value=math.nan, because="source is down"),
        replace(reading, quality=Quality.HELD),
        replace(reading, signal="S5", name="tvl", quality=Quality.ABSENT, score=math.nan),
    )
    text = text_of(terminal.status_view(replace(base, decision=replace(base.decision, readings=odd))), 120)
    warming, missing, held = (line for line in text.splitlines() if line.startswith("S10"))
    assert re.search(r" - +warming until 2023-11-14 22:13", warming)
    assert re.search(r" - +missing: source is down", missing)
    assert "held; its source fails" in held
    assert "No source, so never voting: S5 tvl" in text


def test_a_heartbeat_shows_the_readings_of_the_last_full_record():
    full = stressed_record()
    beat = replace(full, decision=replace(full.decision, readings=()))
    assert "S10" not in text_of(terminal.status_view(beat))
    assert "S10 funding" in text_of(terminal.status_view(beat, full=full))


def test_proposals_stand_in_the_state_and_those_that_hurry_say_why():
    full = record()
    lines = [line for line in text_of(terminal.status_view(full), 160).splitlines() if "PROPOSAL" in line]
    assert lines[0].startswith("PROPOSAL R20  buy cover 50,000 USD: uniswap-v2")
    assert lines[1].startswith("PROPOSAL R19  move 500,000 USD from uniswap-v2 to another protocol")
    leave = replace(
        full.decision.proposals[0], rule="R29", layer=BaseLayer.EXIT, because="uniswap-v2 is paused: withdraw"
    )
    beat = replace(full, decision=replace(full.decision, proposals=()))
    urgent = replace(full, decision=replace(full.decision, proposals=(leave,)))
    assert "PROPOSAL" not in text_of(terminal.status_view(beat))
    assert "PROPOSAL R29  uniswap-v2 is paused: withdraw" in text_of(terminal.status_view(beat, full=urgent))


def test_the_higher_tier_comes_first_and_both_are_named():
    made = troubled_record()
    (group,) = made.decision.groups
    assert (group.tier, group.protocol_tier, group.shown_tier) == (Tier.CALM, Tier.CRISIS, Tier.CRISIS)
    words = "CRISIS ETH/USDC: market CALM, protocol CRISIS (uniswap-v2); no family votes"
    for view in (terminal.status_view(made), terminal.state_line(made)):
        assert words in words_of(view)


def test_a_loan_in_trouble_is_an_alarm_in_the_state_and_in_every_line_of_a_run():
    made = troubled_record()
    alarm = "ALARM R2 health factor of loan (aave_v3): 1.200 under 1.25"
    urgent = [item for item in made.decision.proposals if item.rule in ("R21", "R29")]
    assert len(urgent) == 2
    for view in (terminal.status_view(made), terminal.state_line(made)):
        words = words_of(view)
        assert alarm in words
        assert all(f"PROPOSAL {item.rule} {item.because}" in words for item in urgent)
    assert "; then ETH/USDC holds no hedge" in words
    assert "R19" not in words, "what can wait is in the state alone"
    assert "ALARM" not in words_of(terminal.status_view(record()))
    beat = replace(made, decision=replace(made.decision, findings=(), proposals=()))
    assert alarm in words_of(terminal.status_view(beat, full=made))


def test_a_protocol_that_is_not_calm_says_why_and_who_depends_on_it():
    made = troubled_record()
    assert "PROTOCOL CRISIS uniswap-v2, ETH/USDC depends on it: uniswap-v2 is paused" in words_of(
        terminal.status_view(made)
    )
    (protocol,) = made.decision.protocols
    others = (replace(protocol, groups=()), replace(protocol, groups=("A/B", "C/D"), tier=Tier.GUARDED))
    words = words_of(terminal.status_view(replace(made, decision=replace(made.decision, protocols=others))))
    assert "CRISIS uniswap-v2, no position depends on it" in words
    assert "GUARDED uniswap-v2, A/B, C/D depend on it" in words
    calm = (replace(protocol, tier=Tier.CALM),)
    assert "PROTOCOL" not in words_of(
        terminal.status_view(replace(made, decision=replace(made.decision, protocols=calm)))
    )


def test_what_base_layers_found_without_a_proposal_is_a_note():
    made = record()
    note = RuleFinding(rule="R21", fired=True, because="RESERVE may be spent: CRISIS")
    quiet = RuleFinding(rule="R29", fired=False, because="no position must leave")
    decision = replace(made.decision, findings=(note, quiet), proposals=())
    words = words_of(terminal.status_view(replace(made, decision=decision)))
    assert "NOTE R21 RESERVE may be spent: CRISIS" in words
    assert "no position must leave" not in words
    assert "confirms it" not in words


def test_a_proposal_says_until_when_and_who_acts():
    made = record()
    first = replace(made.decision.proposals[0], due_s=1_700_100_000.0)
    alone = replace(first, needs=Needs.NOBODY)
    for item in (first, alone):
        words = words_of(terminal.status_view(with_proposals(made, item)))
        assert "buy cover 50,000 USD: uniswap-v2, by 2023-11-16 02:00 UTC" in words
        assert ("without asking" in words) is (item is alone)
        assert ("confirms it" in words) is (item is first)


def with_proposals(made, *proposals):
    return replace(made, decision=replace(made.decision, proposals=proposals))


def test_what_nobody_is_asked_for_is_called_done_only_where_the_run_does_it():
    """R21, R29: a dry run, a monitor and a backtest have no account that could pay or withdraw."""
    made = troubled_record()
    asked = next(item for item in made.decision.proposals if item.rule == "R29")
    alone = replace(asked, needs=Needs.NOBODY)
    for mode, said, others in (
        ("live", "; done without asking", "No other proposal is acted on before a person, or a Safe"),
        ("demo", "; done without asking", "No other proposal is acted on before a person, or a Safe"),
        ("dry-run", "; a live run does it without asking, a dry-run does not", "A dry-run does nothing of a"),
        ("monitor", "; a live run does it without asking, a monitor does not", "A monitor does nothing of a"),
        ("backtest", "; a live run does it without asking, a backtest does not", "A backtest does nothing"),
    ):
        shown = with_proposals(replace(made, mode=mode), alone, asked)
        assert words_of(terminal.state_line(shown)).count(said) == 1
        words = words_of(terminal.status_view(shown))
        assert words.count(said) == 1
        assert words.count("done without asking") == (mode in ("live", "demo"))
        assert others in words
    live = words_of(terminal.status_view(with_proposals(replace(made, mode="live"), asked)))
    assert "No proposal is acted on before a person, or a Safe, confirms it." in live


def test_condors_and_perpetuals_name_every_leg_price_and_what_can_be_lost():
    for view in (
        terminal.status_view(troubled_record()),
        terminal.state_line(troubled_record()),
        terminal.explain_view(explain(POLICY, troubled_record())),
    ):
        words = words_of(view)
        assert re.search(
            r"open for ETH/USDC: sell 2\.00 ETH 1,800 put of [\d-]+, buy 2\.00 ETH 1,600 put of [\d-]+, "
            r"sell 2\.00 ETH 2,200 call of [\d-]+, buy 2\.00 ETH 2,400 call of [\d-]+, for at least "
            r"\$58\.00, can lose \$342: calm, and vols pay for it",
            words,
        )
        assert re.search(r"close for ETH/USDC: buy 2\.00 ETH 1,800 put .* for at most \$12\.50: most", words)
        assert "reduce for ETH/USDC at perp-v2: buy 2.50 ETH, at $2,020 per ETH or better: no" in words
        assert (
            "open for ETH/USDC at perp-v2: sell 12.50 ETH, at $1,980 per ETH or better, margin $6,000: no"
            in words
        )
        assert "add margin for ETH/USDC at perp-v2: margin $500: no option is listed" in words


def test_every_reason_of_a_short_layer_is_told_the_largest_first():
    made = record(holds=("feed is down",))
    (group,) = made.decision.groups
    shortfalls = (
        Shortfall(layer=Layer.TAIL, missing=0.1, missing_contracts=11.0, reason="no liquidity"),
        Shortfall(
            layer=Layer.TAIL, missing=0.4, missing_contracts=44.0, reason="no room", cap="30-day budget (R9)",
            frees_at_s=1_700_100_000.0,
        ),
        Shortfall(layer=Layer.TAIL, missing=0.001, missing_contracts=0.1, reason="dust"),
    )  # fmt: skip
    short = replace(made.decision, groups=(replace(group, shortfalls=shortfalls),))
    words = words_of(terminal.status_view(replace(made, decision=short)))
    assert (
        "40.0 % missing: no room [30-day budget (R9), frees 2023-11-16 02:00 UTC]; "
        "10.0 % missing: no liquidity" in words
    )
    assert "dust" not in words


def test_mode_block_and_time_are_always_there():
    words = words_of(terminal.status_view(record()))
    assert "DRY-RUN · chain 31337 block 7 · decided 2023-11-15 00:00 UTC" in words


def test_refused_orders_do_not_read_as_bought():
    (outcome,) = record(rejected=True).outcomes
    line = words_of(terminal.order_line(outcome))
    assert outcome.status is LegStatus.REJECTED
    assert re.search(r"TAIL could not buy [\d.]+ ETH [\d,]+ put, 75 d: too dear", line)
    (done,) = record().outcomes
    assert "TAIL bought" in words_of(terminal.order_line(done))


EXIT = AccountOrder(
    key="alone.1-v3.1-WITHDRAW",
    group="ETH/USDC",
    action=Action.WITHDRAW,
    subject="v3:1",
    part=0.5,
    valid_until_s=START_S + 600.0,
    because="protocol tier CRISIS of uniswap-v3",
)
REPAY = replace(EXIT, key="manual.2", group="loan", action=Action.REPAY, subject="loan", amount_usd=600.0)
COVER = CoverOrder(
    key="manual.3-uniswap-v3-COVER",
    product=CoverProduct(venue="nexus", id="1", name="Uniswap v3", protocol="uniswap-v3"),
    amount_usd=50_000.0,
    period_s=90 * 86_400,
    limit_usd=400.0,
    expected_usd=390.0,
    valid_until_s=START_S + 600.0,
)


def ordered():
    """Return a step in which an order of every kind was made and came to an end, or did not yet."""
    done, unknown = LegStatus.FILLED, LegStatus.UNKNOWN
    moved = (Moved(asset="ETH", units=3.5), Moved(asset="USDC", units=8_000.0))
    return replace(
        record(mode="live"),
        perpetuals=(traded(perpetual_order()), refused(reduction(1, 4.0), at_s=START_S, because="too dear")),
        account_orders=(
            AccountOutcome(order=EXIT, status=done, at_s=START_S, moved=moved, gas_usd=4.0),
            AccountOutcome(order=REPAY, status=unknown, at_s=START_S, because="its receipt is not known yet"),
        ),
        covers=(
            CoverOutcome(order=COVER, status=done, at_s=START_S, cover_id="77", premium_usd=388.0),
            CoverOutcome(order=COVER, status=LegStatus.PROPOSED, at_s=START_S, because="2 signatures lack"),
        ),
    )


ORDER_LINES = (
    "TAIL bought",
    "PERP open at perp-v2: filled: sold 10.00 ETH at $2,500, fee $10.00, margin added $5,000",
    "PERP reduce at perp-v2: rejected: too dear",
    "withdraw 50.0 % of v3:1: filled: 3.5 ETH came, 8,000 USDC came, gas $4.00",
    "repay loan, $600: unknown: its receipt is not known yet",
    "cover of uniswap-v3, $50,000 for 90 days: filled: cover 77 for $388",
    "cover of uniswap-v3, $50,000 for 90 days: proposed: 2 signatures lack",
)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_prints_a_line_for_each_order_of_every_kind(width):
    lines = [text_of(line, width) for line in terminal.outcome_lines(ordered())]
    assert len(lines) == len(ORDER_LINES)
    for text, words in zip(lines, ORDER_LINES, strict=True):
        assert max(map(len, text.splitlines())) <= width
        assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d {2}\S", text)  # its time stands first
        assert words.split()[0] in text
    told = words_of(Group(*terminal.outcome_lines(ordered())))
    for words in ORDER_LINES:
        assert words in told


@pytest.mark.parametrize("is_first", [True, False])
def test_every_step_of_a_run_tells_its_orders(capsys, is_first):
    """Not the first step alone, which is shown whole."""
    operate._show_step(ordered(), None, is_first=is_first)
    told = " ".join(capsys.readouterr().out.split())
    for words in ("TAIL bought", "PERP open", "withdraw 50.0 % of v3:1", "repay loan", "cover 77"):
        assert told.count(words) == 1


def test_the_progress_of_a_run_tells_them_too():
    console = Console(width=80, file=io.StringIO(), color_system=None, highlight=False)
    with terminal.StepPrinter(console) as printer:
        printer.show(ordered(), 1, 2)
    told = " ".join(console.file.getvalue().split())
    assert "PERP open at perp-v2" in told
    assert "withdraw 50.0 % of v3:1" in told


def test_a_plan_answers_in_its_first_sentence():
    made = plan()
    calm, crisis = made.protections[0], made.protections[-1]
    words = words_of(terminal.plan_view(made))
    assert words.startswith(
        f"Protecting ${calm.value_usd:,.0f} in ETH/USDC would cost ${calm.cost_usd:,.0f} now at CALM and "
        f"${crisis.cost_usd:,.0f} at CRISIS. If ETH then fell 60 %"
    )
    assert f"instead of ${crisis.losses[-1].unhedged_usd:,.0f} (CRISIS)" in words
    assert "left out: v3:9 is closed" in words


def test_a_plan_shows_every_tier_leg_and_loss():
    made = plan()
    words = words_of(terminal.plan_view(made))
    for item in made.protections:
        assert item.tier.name in words
        assert all(f"${loss.hedged_expiry_usd:,.0f}" in words for loss in item.losses)
        assert all(f"{loss.move * 100:+.0f} % ${loss.hedged_now_usd:,.0f}" in words for loss in item.losses)
        assert all(
            f"{leg.contracts:,.2f} ETH {leg.instrument.strike_usd:,.0f} put" in words for leg in item.legs
        )
        assert f"{item.carry_share_year * 100:.1f} %" in words


def test_a_plan_says_what_is_missing_and_why_nothing_would_be_bought():
    cheap = plan(holds=("feed is down",))
    words = words_of(terminal.plan_view(cheap))
    assert "HOLD, a bot would buy nothing now: feed is down" in words
    short = [item for item in cheap.protections if item.shortfalls]
    assert short
    assert all(f"Missing of what {item.tier.name} wants: " in words for item in short[-1:])


def test_the_printer_says_news_only():
    console = Console(width=80, file=io.StringIO(), color_system=None)
    with terminal.StepPrinter(console) as printer:
        printer.show(record(), 1, 3)
        printer.show(replace(record(), outcomes=()), 2, 3)
        printer.show(replace(stressed_record(), outcomes=()), 3, 3)
    lines = [line for line in console.file.getvalue().splitlines() if re.match(r"\d{4}-", line)]
    assert [line.split()[2] for line in lines] == [Tier.CALM.name, "TAIL", Tier.SEVERE.name]


def shown_plan():
    """A plan of which every option is priced by a public book."""
    whole = plan()
    shown = [
        replace(item, legs=tuple(replace(leg, indicative=True) for leg in item.legs))
        for item in whole.protections
    ]
    return replace(whole, protections=tuple(shown))


def test_an_indicative_premium_has_a_tilde_and_a_note_and_others_have_none():
    exact, shown = (words_of(terminal.plan_view(item)) for item in (plan(), shown_plan()))
    assert "~" not in exact
    assert "would cost ~$" in shown
    assert re.search(r"premium ~\$[\d,]+, of which fees ~\$", shown)
    assert "Sums with ~ are indicative" in shown
    bare = next(line for line in text_of(terminal.plan_view(shown_plan())).splitlines() if "no hedge" in line)
    assert "~" not in bare  # what is lost without a hedge is not of the book


@pytest.mark.parametrize("width", WIDTHS)
def test_an_indicative_plan_keeps_to_its_width(width):
    assert max(map(len, text_of(terminal.plan_view(shown_plan()), width).splitlines())) <= width


def test_an_indicative_order_and_the_sums_with_it_say_so():
    plain = record()
    shown = replace(
        plain, indicative=True, outcomes=tuple(replace(item, indicative=True) for item in plain.outcomes)
    )
    assert "indicative" not in words_of(terminal.status_view(plain))
    words = words_of(terminal.status_view(shown))
    assert re.search(r"bought .* for ~\$[\d.,]+, on paper at indicative", words)
    assert "in this step ~$" in words
    assert "Sums with ~ are indicative" in words


def explained(made):
    return words_of(terminal.explain_view(explain(POLICY, made)))


def test_an_explanation_begins_with_tier_why_and_what_would_change_it():
    made = stressed_record()
    (group,) = made.decision.groups
    first = text_of(terminal.explain_view(explain(POLICY, made))).splitlines()[:24]
    assert first[2] == "SEVERE ETH/USDC"
    starts = [line.split()[0] for line in first if re.match(r"(why|up|down|hedge) ", line)]
    assert starts == ["why", "up", "down", "hedge"]
    words = explained(made)
    assert group.because in words
    assert "up CRISIS cannot be voted with what is live" in words
    assert "down ELEVATED 6.0 h after all of: S10 funding of ETH from -15.21 back past -1." in words


def test_an_explanation_names_units_and_what_else_would_move_the_tier():
    words = explained(record())
    assert "up GUARDED by the vote of" in words
    assert "for 2 frames over 60 s and 6 blocks" in words
    assert "or R2, without votes: another 8.00 % of price for ELEVATED" in words
    assert "or R6, without votes: another 8.00 % of S1" in words


def test_an_explanation_shows_what_each_signal_added_and_the_tier_without_it():
    words = explained(stressed_record())
    assert re.search(r"S10 TECH 1\.000 \+0\.500 SEVERE highest: funding of ETH perp_v2", words)
    assert re.search(r"S4 ONCH 1\.000 - SEVERE third: depth of v2:ETH/USDC", words)
    assert "S12 warming until" in words
    assert "absent, so neither voting nor degrading: S5 peg" in words


def test_an_explanation_shows_alternatives_and_limits_with_their_figures():
    words = explained(stressed_record())
    assert re.search(r"TAIL \* [\d,]+ put 24-01-29 \$[\d.]+ \$[\d.]+ 0\.\d+ paper: most gain per cost", words)
    assert re.search(r"\d+\.\d% dearer for the same gain", words)
    assert re.search(r"30-day budget \(R9\) \$0 \$7,519 \$7,519 cut ", words)
    assert "over-hedge guard (R10) did not bind" in words
    assert "cost guard (R11) did not bind: no limit" in words


def test_an_explanation_of_a_heartbeat_says_so():
    full = stressed_record()
    beat = replace(full, sequence=7, is_heartbeat=True)
    words = words_of(terminal.explain_view(explain(POLICY, full, shown_for=beat)))
    assert "Step 7 of 2023-11-15 00:00 is a heartbeat: no news since step 1, the last full record" in words


def test_an_explanation_under_another_policy_works_nothing_out_anew():
    words = words_of(terminal.explain_view(explain(OTHER, stressed_record())))
    assert f"change unknown: decided under policy {POLICY.hash[:12]}, at hand is classic" in words
    assert "(--policy)" in words
    assert "Signals" not in words


def test_what_became_of_orders_for_perpetuals_is_said_with_its_money():
    """R27: what was traded at which price, what moved and what it cost; a refusal says why."""
    order = perpetual_order()
    filled = traded(order, funding_usd=3.0)
    ended = traded(reduction(1, 10.0, action=PerpetualAction.ENDED), price_usd=2_900.0, margin_usd=0.0)
    refusal = refused(perpetual_order(2), at_s=START_S, because="the market is paused")
    shown = replace(record(), perpetuals=(filled, ended, refusal))
    text = words_of(terminal.status_view(shown))
    assert "PERP open at perp-v2: filled: sold 10.00 ETH at" in text
    assert "margin added" in text
    assert "PERP ended at perp-v2: filled: bought 10.00 ETH" in text
    assert "rejected: the market is paused" in text
    first, _, last = step_document(shown)["perpetual_orders"]
    assert (first["filled_size"], first["price_usd"], first["fee_usd"]) == (-10.0, 2_500.0, 10.0)
    assert (last["status"], last["price_usd"], last["because"]) == ("rejected", None, "the market is paused")
