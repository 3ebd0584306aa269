"""The state of a run and one step of it, in a terminal of 80 columns without needing colour."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from rich.console import Group, RenderableType
from rich.text import Text

from bot.app.filling import SIGNING_MODES
from bot.engine.sentence import spoken_value
from bot.model.base_layers import Action, BaseLayer, Needs, Proposal
from bot.model.hedge import (
    CondorAction,
    CondorLeg,
    CondorOrder,
    LayerTarget,
    LegOutcome,
    LegStatus,
    Shortfall,
)
from bot.model.perpetual import PerpetualAction, PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import Decision, GroupDecision, ProtocolDecision, StepRecord
from bot.model.tier import Quality, Reading, RuleFinding, Tier
from bot.model.units import iso_utc
from bot.simulation.report.decided import ENOUGH, NOTABLE_SHARE, is_enough
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.results import cash_usd
from bot.simulation.wording import (
    INDICATIVE,
    UNKNOWN,
    budget_names,
    order_words,
    percent,
    perpetual_order_words,
    usd,
    when,
)
from bot.terminal.account import account_line
from bot.terminal.cover import cover_line

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
    """Return the state of every group: time, tiers and why, price; below it what cannot wait."""
    spots = ", ".join(f"{name} {usd(value)}" for name, value in record.spot_usd.items())
    lines = [_sentence(item).append(f"; {spots}", style="dim") for item in record.decision.groups]
    parts: list[RenderableType] = [hanging(f"{when(record.decision.now_s)}  ", line) for line in lines]
    parts += _alarms(record.decision)
    parts += [
        _proposal_line(item, mode=record.mode) for item in record.decision.proposals if _is_urgent(item)
    ]
    return Group(*parts, *_multi_orders(record.decision))


def outcome_lines(record: StepRecord) -> Iterator[RenderableType]:
    """Yield a line for each order of a step, whatever its kind, that was made or came to its end in it."""
    yield from map(order_line, record.outcomes)
    yield from map(perpetual_line, record.perpetuals)
    yield from map(account_line, record.account_orders)
    yield from map(cover_line, record.covers)


def order_line(outcome: LegOutcome) -> RenderableType:
    """Return one order in words; a refused one says why."""
    done = outcome.status in (LegStatus.FILLED, LegStatus.PARTIAL)
    line = Text(f"{outcome.leg.layer.value:<4} {order_words(outcome)}", style="bold" if done else "yellow")
    return hanging(f"{when(outcome.at_s)}  ", line)


def perpetual_line(outcome: PerpetualOutcome) -> RenderableType:
    """Return what became of an order for a perpetual (R27); a refused one says why."""
    done = outcome.status in (LegStatus.FILLED, LegStatus.PARTIAL)
    words = f"PERP {perpetual_order_words(outcome)}"
    return hanging(f"{when(outcome.at_s)}  ", Text(words, style="bold" if done else "yellow"))


def status_view(record: StepRecord, *, full: StepRecord | None = None) -> RenderableType:
    """Return the whole state: sentence, protection, orders, money, signals, trust.

    ``full`` has the readings, findings and proposals where ``record`` is a heartbeat.
    """
    decision, said = record.decision, (full or record).decision
    parts: list[RenderableType] = []
    for group in decision.groups:
        parts += [_sentence(group), Text(""), _protection(group), Text("")]
    if not decision.groups:
        parts.append(Text("No position is protected: add one under [[positions]] in the configuration."))
    parts += outcome_lines(record)
    parts += _multi_orders(decision)
    parts.append(_money(record))
    parts += [hanging("", Text(f"HOLD: {reason}", style="bold yellow")) for reason in decision.holds]
    parts += [*_alarms(said), *_protocols(decision, said)]
    parts += _base_layers(said, mode=record.mode)
    parts += [Text(""), *_signals(said.readings), Text(""), _trust(record)]
    return Group(*parts)


def _sentence(group: GroupDecision) -> Text:
    """Return the higher of market and protocol tier, and the cause, which names both where they differ."""
    line = Text(group.shown_tier.name, style=TIER_STYLE[group.shown_tier])
    return line.append(f" {group.group}: {group.because}", style="not bold default")


def _alarms(decision: Decision) -> list[RenderableType]:
    """Return the health factors that are too low."""
    found = [item for item in decision.findings if item.fired and item.rule == _ALARM]
    return [
        hanging(f"ALARM {item.rule}  ", Text(item.because, style=TIER_STYLE[item.tier or Tier.SEVERE]))
        for item in found
    ]


def _protocols(decision: Decision, said: Decision) -> Iterator[RenderableType]:
    """Yield the protocols that are not calm; options pay for none of them."""
    findings = {item.protocol: item.findings for item in said.protocols}
    for item in decision.protocols:
        if item.tier > Tier.CALM:
            line = Text(item.tier.name, style=TIER_STYLE[item.tier])
            line.append(_protocol_words(item, findings.get(item.protocol, ())), style="not bold default")
            yield hanging("PROTOCOL  ", line)


def _protocol_words(item: ProtocolDecision, findings: Sequence[RuleFinding]) -> str:
    asked = "; ".join(each.because for each in findings if each.fired and each.tier is not None)
    verb = "depend" if len(item.groups) > 1 else "depends"
    behind = f", {', '.join(item.groups) or 'no position'} {verb} on it"
    return f" {item.protocol}{behind}{f': {asked}' if asked else ''}"


def _base_layers(decision: Decision, *, mode: str) -> Iterator[RenderableType]:
    """Yield what the base layers propose, and what they found where they propose nothing."""
    proposals = decision.proposals
    yield from (_proposal_line(item, mode=mode) for item in proposals)
    if any(item.needs is Needs.CONFIRMATION for item in proposals):
        yield Text(_who_confirms(proposals, mode=mode), style="dim")
    told = {_ALARM, *(item.rule for item in proposals)}
    for item in decision.findings:
        if item.fired and item.rule not in told:
            yield hanging(f"NOTE {item.rule}  ", Text(item.because))


def _is_urgent(item: Proposal) -> bool:
    return item.layer is BaseLayer.EXIT or item.action in _PAYS


def _who_confirms(proposals: Sequence[Proposal], *, mode: str) -> str:
    """Say what becomes of what is proposed; only what signs ever acts on it."""
    if mode not in SIGNING_MODES:
        return f"A {mode} does nothing of a proposal; live, a person or a Safe confirms it first."
    other = " other" if any(item.needs is Needs.NOBODY for item in proposals) else ""
    return f"No{other} proposal is acted on before a person, or a Safe, confirms it."


def _proposal_line(item: Proposal, *, mode: str) -> RenderableType:
    """Return what the base layers want done in one line; an exit and a loan in trouble say why."""
    urgent = _is_urgent(item)
    words = item.because if urgent else _proposal_words(item)
    due = f", by {when(item.due_s)} UTC" if math.isfinite(item.due_s) else ""
    then = f"; then {item.follows}" if item.follows else ""
    style = "bold yellow" if urgent else ""
    said = f"{words}{due}{then}{_unasked_words(item, mode=mode)}"
    return hanging(f"PROPOSAL {item.rule}  ", Text(said, style=style))


def _unasked_words(item: Proposal, *, mode: str) -> str:
    """Say of what nobody is asked for whether this run does it."""
    if item.needs is not Needs.NOBODY:
        return ""
    return (
        "; done without asking"
        if mode in SIGNING_MODES
        else f"; a live run does it without asking, a {mode} does not"
    )


def _proposal_words(item: Proposal) -> str:
    moves = ", ".join(f"{each.usd:,.0f} USD from {each.source} to {each.target}" for each in item.moves)
    return f"move {moves}" if moves else _amount_words(item)


def _amount_words(item: Proposal) -> str:
    """Return what to do with how much: the sum, else the part where only that is known."""
    amount = f" {item.amount_usd:,.0f} USD" if math.isfinite(item.amount_usd) else ""
    if not amount and math.isfinite(item.part):
        amount = f" {percent(item.part)}"
    return f"{item.action}{amount}: {item.subject}"


def _multi_orders(decision: Decision) -> list[RenderableType]:
    """Return the orders that are no option bought or sold alone: condors (R16) and perpetuals (R27)."""
    return [
        *(hanging("CONDOR R16  ", Text(condor_words(item))) for item in decision.condors),
        *(hanging("PERPETUAL R27  ", Text(perpetual_words(item))) for item in decision.perpetuals),
    ]


def condor_words(item: CondorOrder) -> str:
    """Return an order for a whole condor: every leg as it is traded, the price and what can be lost."""
    opens = item.action is CondorAction.OPEN
    legs = ", ".join(_condor_leg(leg, opens=opens) for leg in item.legs)
    limit = f"for at least {usd(item.limit_usd)}" if opens else f"for at most {usd(item.limit_usd)}"
    worst = f", can lose {usd(item.worst_loss_usd)}"
    return f"{item.action} for {item.group}: {legs}, {limit}{worst if opens else ''}: {item.because}"


def _condor_leg(leg: CondorLeg, *, opens: bool) -> str:
    """Say which way one leg is traded; the legs of a condor to be closed are as they are held."""
    verb = "buy" if (leg.size > 0.0) is opens else "sell"
    return f"{verb} {abs(leg.size):,.2f} {leg.instrument.label}"


def perpetual_words(item: PerpetualOrder) -> str:
    """Return an order for a perpetual: what is traded at which price, and the margin that is added."""
    asset = item.perpetual.underlying
    what = f"{'sell' if item.size < 0.0 else 'buy'} {abs(item.size):,.2f} {asset}"
    parts = [] if item.action is PerpetualAction.ADD_MARGIN else [what]
    if math.isfinite(item.limit_usd):
        parts.append(f"at {usd(item.limit_usd)} per {asset} or better")
    if item.margin_usd > 0.0:
        parts.append(f"margin {usd(item.margin_usd)}")
    where = f"{item.action} for {item.group} at {item.perpetual.venue}"
    return f"{where}: {', '.join(parts)}: {item.because}"


def _protection(group: GroupDecision) -> RenderableType:
    rows = []
    for target in group.targets:
        wanted = f"{target.wanted_contracts:,.2f}" if math.isfinite(target.wanted_contracts) else UNKNOWN
        held = f"{target.held_contracts:,.2f} of {wanted}"
        short = [item for item in group.shortfalls if item.layer is target.layer]
        rows.append((target.layer.value, held, _bar(target), _layer_note(group, target, short)))
    return Rows(
        head=("layer", "contracts held", "", "option, or what is missing and why"), rows=rows, left=(0, 2, 3)
    )


def _layer_note(group: GroupDecision, target: LayerTarget, short: Iterable[Shortfall]) -> str:
    """Return every reason why a layer is short, the largest part first, else what it holds."""
    missing = sorted(
        (item for item in short if item.missing >= NOTABLE_SHARE), key=lambda item: -item.missing
    )
    if missing:
        return "; ".join(map(_missing_words, missing))
    if is_enough(group, target):
        return ENOUGH
    option = target.instrument
    if not target.open or option is None:
        return target.because
    return f"{option.strike_usd:,.0f} {option.option_type.value} of {iso_utc(option.expiry_s)[:10]}"


def _missing_words(item: Shortfall) -> str:
    frees = f", frees {when(item.frees_at_s)} UTC" if math.isfinite(item.frees_at_s) else ""
    cap = f" [{item.cap}{frees}]" if item.cap else ""
    return f"{percent(item.missing)} missing: {item.reason}{cap}"


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
    lines = Counter(
        (f"{item.signal} {item.name.replace('_', ' ')}", _subject(item), _score(item), _reading_words(item))
        for item in shown
    )
    # Several metrics of one source that say the same are one line.
    rows = [
        (*line[:3], f"{line[3]} ({count} alike)" if count > 1 else line[3]) for line, count in lines.items()
    ]
    missing = sorted(
        {f"{item.signal} {item.name}" for item in readings} - {f"{item.signal} {item.name}" for item in shown}
    )
    parts: list[RenderableType] = []
    if rows:
        parts.append(Rows(head=("signal", "of", "score", "now"), rows=rows, left=(0, 1, 3), wraps=(1,)))
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
        f"policy {record.policy_words}",
        style="dim",
    )
