"""The state of a run and one step of it, in a terminal of 80 columns without needing colour."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from rich.console import Group, RenderableType
from rich.text import Text

from bot.engine.sentence import spoken_value
from bot.model.base_layers import Action, BaseLayer, Needs, Proposal
from bot.model.hedge import CondorAction, CondorLeg, CondorOrder, LayerTarget, LegOutcome, LegStatus, Shortfall
from bot.model.perpetual import PerpetualAction, PerpetualOrder
from bot.model.record import Decision, GroupDecision, ProtocolDecision, StepRecord
from bot.model.tier import Quality, Reading, RuleFinding, Tier
from bot.model.units import iso_utc
from bot.simulation.report_data import ENOUGH, NOTABLE_SHARE, is_enough
from bot.simulation.report_terminal import Rows, hanging
from bot.simulation.results import cash_usd
from bot.simulation.wording import INDICATIVE, UNKNOWN, budget_names, order_words, percent, usd, when

TIER_STYLE = {
    Tier.CALM: "bold bright_blue",
    Tier.GUARDED: "bold cyan",
    Tier.ELEVATED: "bold yellow",
    Tier.SEVERE: "bold dark_orange",
    Tier.CRISIS: "bold red",
}
BAR_WIDTH = 12
_ALARM = "R2"  # a finding of no group by this rule: a health factor
_PAYS = (Action.REPAY, Action.TOP_UP)


def state_line(record: StepRecord) -> RenderableType:
    """Return the state of every group: time, tier and why, price."""
    spots = ", ".join(f"{name} {usd(value)}" for name, value in record.spot_usd.items())
    lines = [_sentence(item).append(f"; {spots}", style="dim") for item in record.decision.groups]
    return Group(*(hanging(f"{when(record.decision.now_s)}  ", line) for line in lines))


def order_line(outcome: LegOutcome) -> RenderableType:
    """Return one order in words; a refused one says why."""
    done = outcome.status in (LegStatus.FILLED, LegStatus.PARTIAL)
    line = Text(f"{outcome.leg.layer.value:<4} {order_words(outcome)}", style="bold" if done else "yellow")
    return hanging(f"{when(outcome.at_s)}  ", line)


def status_view(record: StepRecord, *, full: StepRecord | None = None) -> RenderableType:
    """Return the whole state: sentence, protection, orders, money, signals, trust.

    ``full`` has the readings and proposals where ``record`` is a heartbeat.
    """
    decision = record.decision
    parts: list[RenderableType] = []
    for group in decision.groups:
        parts += [_sentence(group), Text(""), _protection(group), Text("")]
    if not decision.groups:
        parts.append(Text("No position is protected: add one under [[positions]] in the configuration."))
    parts += [order_line(outcome) for outcome in record.outcomes]
    parts.append(_money(record))
    parts += [hanging("", Text(f"HOLD: {reason}", style="bold yellow")) for reason in decision.holds]
    parts += [_proposal_line(item) for item in (full or record).decision.proposals]
    parts += [Text(""), *_signals((full or record).decision.readings), Text(""), _trust(record)]
    return Group(*parts)


def _proposal_line(item: Proposal) -> RenderableType:
    """Return what the base layers want done in one line; an exit and a loan in trouble say why."""
    is_urgent = item.layer is BaseLayer.EXIT or item.action in (Action.REPAY, Action.TOP_UP)
    usd = f" {item.amount_usd:,.0f} USD" if math.isfinite(item.amount_usd) else ""
    moves = ", ".join(f"{each.usd:,.0f} USD from {each.source} to {each.target}" for each in item.moves)
    what = f"move {moves}" if moves else f"{item.action}{usd}: {item.subject}"
    words = item.because if is_urgent else what
    return hanging(f"PROPOSAL {item.rule}  ", Text(words, style="bold yellow" if is_urgent else ""))


def _sentence(group: GroupDecision) -> Text:
    line = Text(group.tier.name, style=TIER_STYLE[group.tier])
    return line.append(f" {group.group}: {group.because}", style="not bold default")


def _protection(group: GroupDecision) -> RenderableType:
    short = {item.layer: item for item in group.shortfalls}
    rows = []
    for target in group.targets:
        wanted = f"{target.wanted_contracts:,.2f}" if math.isfinite(target.wanted_contracts) else UNKNOWN
        held = f"{target.held_contracts:,.2f} of {wanted}"
        rows.append(
            (target.layer.value, held, _bar(target), _layer_note(group, target, short.get(target.layer)))
        )
    return Rows(
        head=("layer", "contracts held", "", "option, or what is missing and why"), rows=rows, left=(0, 2, 3)
    )


def _layer_note(group: GroupDecision, target: LayerTarget, short: Shortfall | None) -> str:
    if short is not None and short.missing >= NOTABLE_SHARE:
        return f"{percent(short.missing)} missing: {short.reason}"
    if is_enough(group, target):
        return ENOUGH
    option = target.instrument
    if not target.open or option is None:
        return target.because
    return f"{option.strike_usd:,.0f} {option.option_type.value} of {iso_utc(option.expiry_s)[:10]}"


def _bar(target: LayerTarget) -> str:
    if not target.wanted_contracts > 0.0:
        return ("█" if target.held_contracts > 0.0 else "·") * BAR_WIDTH
    filled = min(BAR_WIDTH, round(BAR_WIDTH * target.held_contracts / target.wanted_contracts))
    return "█" * filled + "░" * (BAR_WIDTH - filled)


def _money(record: StepRecord) -> RenderableType:
    """Return what it is worth and what it cost; worth and cost are of before this step's own orders."""
    own = {leg.key for leg in record.decision.plan.legs}
    now_usd = sum(cash_usd(item) for item in record.outcomes if item.leg.key in own)
    shown = partial(usd, about=record.indicative)
    worth = (
        f"Positions {usd(sum(record.exposure_value_usd.values()))}, hedges {shown(record.hedge_value_usd)}"
    )
    paid = f"paid for hedges so far {shown(-record.cash_flow_usd)}"
    step = f", and in this step {shown(-now_usd)}" if now_usd else ""
    lines = [f"{worth}; {paid}{step}."]
    if record.indicative:
        lines.append(f"Sums with ~ are {INDICATIVE}: on paper, at prices of a public book.")
    limits = record.decision.limits
    left = [
        f"{usd(max(limits[cap] - limits[used], 0.0))} {words}" for words, cap, used in budget_names(limits)
    ]
    if left:
        lines.append(f"Budget left: {', '.join(left)}.")
    return Text("\n".join(lines))


def _signals(readings: Sequence[Reading]) -> list[RenderableType]:
    """Return one line per signal and subject; what has no source ends in one line of names."""
    shown = [item for item in readings if item.quality is not Quality.ABSENT]
    rows = [
        (f"{item.signal} {item.name.replace('_', ' ')}", _subject(item), _score(item), _reading_words(item))
        for item in shown
    ]
    missing = sorted(
        {f"{item.signal} {item.name}" for item in readings} - {f"{item.signal} {item.name}" for item in shown}
    )
    parts: list[RenderableType] = []
    if rows:
        parts.append(Rows(head=("signal", "of", "score", "now"), rows=rows, left=(0, 1, 3)))
    if missing:
        parts.append(Text(f"No source, so never voting: {', '.join(missing)}", style="dim"))
    return parts


def _subject(item: Reading) -> str:
    source = item.source.partition(":")[0]
    return item.subject if source in ("", "pool") else f"{item.subject} {source}"


def _score(item: Reading) -> str:
    return f"{item.score:.2f}" if item.counts else "-"


def _reading_words(item: Reading) -> str:
    if item.quality is Quality.WARMING:
        return f"warming until {when(item.warm_at_s)}"
    if item.quality is Quality.MISSING:
        return f"missing: {item.because}"
    held = " (held; its source fails)" if item.quality is Quality.HELD else ""
    return f"{spoken_value(item)}{held}"


def _trust(record: StepRecord) -> Text:
    decision = record.decision
    blocks = ", ".join(f"chain {chain} block {block}" for chain, block in decision.blocks.items())
    return Text(
        f"{record.mode.upper()} · {blocks or 'no chain'} · decided {when(decision.now_s)} UTC · "
        f"policy {decision.policy_hash[:8]}",
        style="dim",
    )
