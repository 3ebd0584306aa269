"""``alvh explain`` in a terminal: tier, why and what would change it first; then all that led to it."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bot.engine.explain import Contribution, Explanation, GroupExplanation
from bot.engine.nearest import Nearest, Way
from bot.engine.nearest_down import Down
from bot.engine.policy_tiers import TierPolicy
from bot.engine.standing import Shift
from bot.model.hedge import HedgeLeg, LayerTarget, Shortfall
from bot.model.record import Alternative, GroupDecision, ProtocolDecision
from bot.model.tier import Quality, Reading, RuleFinding
from bot.model.units import HOUR_S
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import UNKNOWN, percent, usd, when
from bot.terminal.status import TIER_STYLE, condor_words, perpetual_words

_MARGIN = "       "  # under the words of the first screen


def explain_view(found: Explanation) -> RenderableType:
    """Return everything about one decision, what a reader needs first at the top."""
    parts: list[RenderableType] = [_head(found)]
    for group in found.groups:
        parts += [Text(""), *_first(found, group)]
    parts += [hanging("HOLD   ", Text(reason, style="bold yellow")) for reason in found.decision.holds]
    for group in found.groups:
        parts += _details(group, many=len(found.groups) > 1)
    parts += [*_data(found), *_protocols(found.decision.protocols), *_base(found), *_orders(found)]
    return Group(*parts)


def _head(found: Explanation) -> Text:
    record, decision = found.record, found.decision
    blocks = ", ".join(f"chain {chain} block {block}" for chain, block in decision.blocks.items())
    at = f"{when(decision.now_s)} UTC · {blocks or 'no chain'}"
    lines = [f"{record.mode.upper()} step {record.sequence} · {at} · policy {record.policy_words}"]
    if found.is_heartbeat:
        asked = found.shown_for
        lines.append(
            f"Step {asked.sequence} of {when(asked.decision.now_s)} is a heartbeat: no news since step "
            f"{record.sequence}, the last full record, which this explains."
        )
    return Text("\n".join(lines), style="dim")


def _first(found: Explanation, group: GroupExplanation) -> list[RenderableType]:
    """Return the first screen of one group: tier, why, what would change it."""
    decision = group.decision
    title = Text(decision.tier.name, style=TIER_STYLE[decision.tier])
    was = "" if decision.previous_tier is decision.tier else f", was {decision.previous_tier.name}"
    title.append(f" {decision.group}{was}", style="bold default")
    if decision.protocol:
        title.append(f"; protocol tier {decision.protocol_tier.name} ({decision.protocol})", style="not bold")
    lines: list[RenderableType] = [title, hanging("why    ", Text(decision.because))]
    if group.nearest is None:
        return [*lines, hanging("change ", Text(f"unknown: {group.unknown}", style="yellow"))]
    lines.append(hanging("up     ", Text(_up(found, group.nearest))))
    lines += [hanging(_MARGIN, Text(f"or {_trigger(item)}")) for item in group.nearest.triggers]
    if group.nearest.down is not None:
        lines.append(hanging("down   ", Text(_down(group.nearest.down))))
    held = f"{percent(decision.covered_share)} of VaR covered, {percent(decision.wanted_share)} wanted; "
    var = f"VaR {usd(decision.var_usd)} of {usd(decision.value_usd)} ({decision.var_method})"
    return [*lines, hanging("hedge  ", Text(held + var))]


def _up(found: Explanation, nearest: Nearest) -> str:
    if not nearest.up:
        return nearest.no_way
    first, *others = nearest.up
    wait = waits(found.policy.tiers)
    if first.shifts:
        return f"{_way(first)}, {wait}"
    beyond = f"; beyond it {_way(others[0])}" if others else ""
    return f"{first.to.name}, asked for already, once it was {wait}{beyond}"


def waits(tiers: TierPolicy) -> str:
    """Say for how long a higher tier must be asked for (R3)."""
    return (
        f"for {tiers.confirm} frames over {tiers.confirm_s:.0f} s and {tiers.confirm_blocks} blocks "
        "(one near a macro release)"
    )


def _way(way: Way) -> str:
    return f"{way.to.name} by {way.by}: {' and '.join(_shift(item) for item in way.shifts)}"


def _down(down: Down) -> str:
    hours = f"{down.wait_s / HOUR_S:.1f} h"
    if down.is_waiting:
        now = "at the next step" if down.wait_s <= 0.0 else f"in {hours}, when cooldown and session are over"
        return f"{down.to.name} {now}, if nothing asks for more"
    needs = [*(_shift(item) for item in down.shifts), *(f"without this: {item}" for item in down.blocks)]
    return f"{down.to.name} {hours} after all of: {'; '.join(needs)}"


def _shift(item: Shift) -> str:
    """Return one move: ``S11 realised vol of ETH from 1.2 to past 1.63 ratio (score 0.2 to over 0.63)``."""
    reading = item.reading
    is_rise = item.score > reading.score
    name = f"{reading.signal} {reading.name.replace('_', ' ')} of {reading.subject or 'the market'}"
    score = f"score {reading.score:.3f} to {'over' if is_rise else 'under'} {item.score:.3f}"
    if not (math.isfinite(item.value) and math.isfinite(reading.value)):
        return f"{name}: {score}"
    now, then = _quantity(reading.value, reading.unit), _quantity(item.value, reading.unit)
    unit = "" if reading.unit == "fraction" else f" {reading.unit}"
    return f"{name} from {now} {'to' if is_rise else 'back'} past {then}{unit} ({score})"


def _quantity(value: float, unit: str) -> str:
    return f"{100.0 * value:.4g} %" if unit == "fraction" else f"{value:.4g}"


def _trigger(item: RuleFinding) -> str:
    missed = f"another {_missed(item)}; " if item.missed > 0.0 else ""  # 0: its number is met, another is not
    return f"{item.rule}, without votes: {missed}{item.because}"


def _missed(item: RuleFinding) -> str:
    """Return by how much a rule missed, with its unit; fractions in percent."""
    if item.unit.startswith("fraction"):
        return f"{100.0 * item.missed:.2f} %{item.unit.removeprefix('fraction')}"
    figure = f"{item.missed:,.0f}" if item.missed >= 100.0 else f"{item.missed:.3g}"
    return f"{figure} {item.unit}"


def _details(group: GroupExplanation, *, many: bool) -> Iterator[RenderableType]:
    decision = group.decision
    name = f" of {decision.group}" if many else ""
    yield from _section(f"Votes{name} (R1)", [_vote_lines(group)])
    told = [item for item in group.contributions if item.reading.counts]  # "Data" tells of the others
    yield from _section(f"Signals{name}", [_signals(told)] if told else [])
    yield from _section(f"Rules that fired{name}", [_rule(item) for item in group.fired])
    yield from _section(f"Rules that did not fire{name}", [_rule(item) for item in group.not_fired])
    yield from _section(f"Layers{name}", [_layer(item) for item in decision.targets])
    yield from _section(f"Missing protection{name}", [_shortfall(item) for item in decision.shortfalls])
    yield from _section(f"Alternatives{name}, per contract", _alternatives(decision))
    yield from _section(f"Limits{name}", _limits(group))


def _section(title: str, lines: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(""), Text(title, style="bold"), *lines] if lines else []


def _vote_lines(group: GroupExplanation) -> RenderableType:
    asked = f"asked for: {group.asked.name}" if group.asked is not None else ""
    votes = [
        hanging("  ", Text(f"{item.because}: {'votes' if item.voting else 'no vote'}"))
        for item in group.decision.votes
    ]
    return Group(*votes, *([hanging("  ", Text(asked))] if asked else []))


def _signals(contributions: Sequence[Contribution]) -> RenderableType:
    """Return a line per reading: its score, what it adds to its family, and the tier without it."""
    fast = any(item.adds_fast for item in contributions)
    head = ("signal", "score", "adds", *(("fast",) if fast else ()), "without", "counts as, and what it read")
    rows = [
        (
            f"{item.reading.signal} {item.reading.family.value[:4]}",
            f"{item.reading.score:.3f}",
            _added(item.adds),
            *((_added(item.adds_fast),) if fast else ()),
            item.without.name if item.without is not None else "-",
            f"{item.role}: {item.reading.name.replace('_', ' ')}{_of(item.reading)}, {item.reading.because}",
        )
        for item in contributions
    ]
    return Rows(head=head, rows=rows, left=(0, len(head) - 2, len(head) - 1))


def _added(value: float) -> str:
    return f"{value:+.3f}" if value else "-"


def _of(reading: Reading) -> str:
    source = reading.source.partition(":")[0]
    where = " ".join(part for part in (reading.subject, source) if part and part != "pool")
    return f" of {where}" if where else ""


def _rule(item: RuleFinding) -> RenderableType:
    missed = f" (missed by {_missed(item)})" if item.missed > 0.0 else ""
    return hanging(f"  {item.rule:<4} ", Text(f"{item.because}{missed}"))


def _layer(item: LayerTarget) -> RenderableType:
    wanted = f"{item.wanted_contracts:,.4g}" if math.isfinite(item.wanted_contracts) else UNKNOWN
    option = f"{item.instrument.label}; " if item.instrument else ""
    state = "open" if item.open else "closed"
    weight = f", weight {percent(item.weight)}" if item.open else ""
    words = f"{state}{weight}, holds {item.held_contracts:,.4g} of {wanted} contracts; {option}{item.because}"
    return hanging(f"  {item.layer.value:<5}", Text(words))


def _shortfall(item: Shortfall) -> RenderableType:
    frees = f", frees {when(item.frees_at_s)} UTC" if math.isfinite(item.frees_at_s) else ""
    contracts = f" ({item.missing_contracts:,.4g} contracts)" if math.isfinite(item.missing_contracts) else ""
    cap = f" [{item.cap}{frees}]" if item.cap else ""
    words = f"{percent(item.missing)} of its target{contracts}: {item.reason}{cap}"
    return hanging(f"  {item.layer.value:<5}", Text(words, style="yellow"))


def _alternatives(group: GroupDecision) -> list[RenderableType]:
    rows = [_alternative(item) for item in group.alternatives]
    head = ("layer", "option", "cost", "gain", "cost/gain", "chosen or why not")
    table: list[RenderableType] = [Rows(head=head, rows=rows, left=(0, 1, 5))] if rows else []
    return [*table, *(hanging("  refused: ", Text(text)) for text in group.refused_quotes)]


def _alternative(item: Alternative) -> tuple[str, ...]:
    option = item.instrument
    ratio = f"{item.cost_per_gain:.3f}" if math.isfinite(item.cost_per_gain) else "-"
    day = when(option.expiry_s)[2:10]
    return (
        f"{item.layer.value}{' *' if item.chosen else ''}",
        f"{option.strike_usd:,.0f} {option.option_type.value} {day}",
        usd(item.cost_usd),
        usd(item.gain_usd),
        ratio,
        f"{option.venue}: {item.because}",
    )


def _limits(group: GroupExplanation) -> list[RenderableType]:
    rows = [
        (
            item.name,
            usd(item.used_usd),
            usd(item.limit_usd),
            usd(item.room_usd),
            f"cut {item.because}" if item.bound else "did not bind",
        )
        for item in group.limits
        if math.isfinite(item.limit_usd)
    ]
    spoken = [
        hanging("  ", Text(f"{item.name} {'bound' if item.bound else 'did not bind'}: {item.because}"))
        for item in group.limits
        if not math.isfinite(item.limit_usd)
    ]
    table = Rows(head=("limit", "used", "of", "room", ""), rows=rows, left=(0, 4))
    return [*([table] if rows else []), *spoken]


def _data(found: Explanation) -> Iterator[RenderableType]:
    lines: list[RenderableType] = [
        hanging(f"  {item.signal:<4}", Text(f"{item.quality.value}{_until(item)}{_of(item)}: {item.because}"))
        for item in found.doubtful
    ]
    if found.absent:
        names = ", ".join(found.absent)
        lines.append(hanging("  ", Text(f"absent, so neither voting nor degrading: {names}")))
    lines += [_rule(item) for item in found.decision.findings if item.rule == "R2"]
    yield from _section("Data", lines or [Text("  every configured source is live")])


def _until(item: Reading) -> str:
    if item.quality is Quality.WARMING:
        return f" until {when(item.warm_at_s)}"
    if item.quality is Quality.HELD:
        return f" until {when(item.held_until_s)}"
    return f", last known {when(item.observed_at_s)}" if math.isfinite(item.observed_at_s) else ""


def _protocols(protocols: Sequence[ProtocolDecision]) -> Iterator[RenderableType]:
    lines = []
    for item in protocols:
        was = "" if item.tier is item.previous_tier else f" (was {item.previous_tier.name})"
        groups = f"; {', '.join(item.groups)} depend on it" if item.groups else ""
        lines.append(hanging("  ", Text(f"{item.protocol} {item.tier.name}{was}{groups}")))
        lines += [hanging(f"    {each.rule:<4} ", _finding(each)) for each in item.findings]
    yield from _section("Protocol tiers (R2): they buy no market layer", lines)


def _finding(item: RuleFinding) -> Text:
    return Text(f"{'fired' if item.fired else 'not fired'}: {item.because}")


def _base(found: Explanation) -> Iterator[RenderableType]:
    """Yield what the base layers said and want done."""
    rules = [item for item in found.decision.findings if item.rule != "R2"]
    yield from _section("Base layers (R19, R20, R21, R29)", [_rule(item) for item in rules])
    lines = []
    for item in found.decision.proposals:
        due = f", by {when(item.due_s)} UTC" if math.isfinite(item.due_s) else ""
        words = f"{item.action.value} {item.subject}: {usd(item.amount_usd)}{due}; {item.because}"
        lines.append(hanging(f"  {item.rule:<4} ", Text(f"{words} ({item.needs.value})")))
    yield from _section("Proposals", lines)


def _orders(found: Explanation) -> Iterator[RenderableType]:
    legs = found.decision.plan.legs
    lines = [hanging("  ", Text(_order(leg))) for leg in legs]
    lines += [hanging("  ", Text(f"condor: {condor_words(item)}")) for item in found.decision.condors]
    lines += [
        hanging("  ", Text(f"perpetual: {perpetual_words(item)}")) for item in found.decision.perpetuals
    ]
    yield from _section("Orders", lines or [Text("  none")])


def _order(leg: HedgeLeg) -> str:
    about = "indicative " if leg.indicative else ""
    limit = usd(leg.limit_usd, about=leg.indicative)
    return (
        f"{leg.side.value} {leg.size:.6g} contracts, {leg.layer.value} {leg.instrument.label} "
        f"({leg.instrument.venue}), limit {about}{limit}: {leg.because}"
    )
