"""Stress findings in 80 columns: one table for all scenarios, everything for one."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bot.model.tier import Tier
from bot.simulation.report.terminal import WIDTH, Rows, hanging
from bot.simulation.stress.description import Scenario
from bot.simulation.stress.findings import Finding, Lead, Reproduced, totals
from bot.simulation.stress.paths import PRICE
from bot.simulation.wording import UNKNOWN, crises_words, usd

_NEVER = "none"
_MOST_TOLD = 12
ASSUMED = (
    "Before the path lie 95 made-up days without a crash: value at risk is R8's short form (EWMA vol "
    "times Student-t(4)). The bot looks once a step, live at every block: tiers stand earlier there by up "
    "to a step, and a source that fails is missing after half an hour instead of three.",
    "The position is opened at the first point and stays as it is; LP fees are left out. Options and "
    "perpetual are those of the market file, with vols from the scenario.",
    "RESERVE and cover are held as the presets want them, so that a proposal is news.",
)


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print one scenario in full, several as one table for each policy."""
    scenarios = {item.run.scenario.name for item in findings}
    view = in_full(findings) if len(scenarios) == 1 else side_by_side(findings)
    console.print(view, width=min(console.width, WIDTH))


def side_by_side(findings: Sequence[Finding]) -> RenderableType:
    """Return one table for each policy, and what all of it comes to."""
    spec, seed = findings[0].run.spec, findings[0].run.seed
    parts: list[RenderableType] = [Text(f"{spec.pool}, {usd(spec.value_usd)}, seed {seed}"), Text("")]
    for name in dict.fromkeys(item.run.policy for item in findings):
        mine = [item for item in findings if item.run.policy == name]
        head = ("scenario", "GUARDED", "ELEVATED", "market", "protocol", "LP/hedged", "cost")
        parts += [Text(name, style="bold"), Rows(head=head, rows=[_row(item) for item in mine])]
        parts += [Text(""), *_totals(mine), Text("")]
    parts += [_legend(), Text(""), *_listed("Assumed", ASSUMED)]
    return Group(*parts)


def _row(item: Finding) -> tuple[str, ...]:
    protocol = max((each.highest for each in item.protocols), default=Tier.CALM)
    return (
        item.run.scenario.name,
        _short(item.guarded),
        _short(item.elevated),
        item.highest.name,
        protocol.name if protocol > Tier.CALM else "-",
        f"{_number(item.unhedged)}/{_number(item.hedged)}%",
        f"{_number(item.cost, digits=2)}%",
    )


def _totals(mine: Sequence[Finding]) -> list[RenderableType]:
    found = totals(mine)
    alarmed = [f"{item.run.scenario.name} {item.false_alarms}" for item in mine if item.false_alarms]
    lines = [
        f"Mean of {crises_words(int(found['crises']))}: {_number(found['removed'])} % of the drawdown "
        f"removed, cost {_number(found['cost'], digits=2)} % of the position.",
        f"False alarms: {', '.join(alarmed) or 'none'}.",
    ]
    unmet = sum(not figure.is_met for item in mine for figure in item.figures)
    if unmet:
        are = "figure is" if unmet == 1 else "figures are"
        lines.append(f"{unmet} calibration {are} not met by this seed; --json names them.")
    return [Text(line) for line in lines]


def _legend() -> Text:
    return Text(
        "GUARDED, ELEVATED: hours before the low at which the market tier was entered, and the share of "
        f"the fall suffered by then; {_NEVER}: not before the low. Market, protocol: the highest tier. "
        "LP/hedged: drawdown alone and with the hedge. Cost is of the position, negative where hedging "
        "earned. A false alarm is an entry to ELEVATED that no fall of 10 % followed within 7 days.",
        style="dim",
    )


def in_full(findings: Sequence[Finding]) -> RenderableType:
    """Return everything about one scenario, under every policy."""
    scenario, first = findings[0].run.scenario, findings[0]
    parts: list[RenderableType] = [
        Text(scenario.title, style="bold"),
        Text(
            f"{scenario.name}: {scenario.hours} hours in steps of {scenario.step_s // 60} minutes, "
            f"{first.run.spec.pool}, {usd(first.run.spec.value_usd)}, seed {first.run.seed}"
        ),
        Text(_fall_words(first)),
        Text(""),
    ]
    for item in findings:
        parts += _policy(item)
    parts += [Text("Calibration (wanted, and what this seed has)", style="bold"), _figures(first), Text("")]
    parts += _listed("Sources", scenario.sources)
    parts += _listed("Assumed", (*scenario.notes, *ASSUMED))
    return Group(*parts)


def _fall_words(item: Finding) -> str:
    price, fall = item.price_fall, item.fall
    words = f"ETH falls {_pct(price.share)} from hour {price.peak_h:g} to {price.low_h:g}"
    if fall.path != PRICE:
        words += f"; {fall.path} falls {_pct(fall.share)} from hour {fall.peak_h:g} to {fall.low_h:g}"
    return f"{words}."


def _policy(item: Finding) -> list[RenderableType]:
    rows = [
        ("market tier GUARDED", _long(item.guarded)),
        ("market tier ELEVATED", _long(item.elevated)),
        ("protocol tier ELEVATED or above", _long(item.protocol)),
        ("highest market tier", item.highest.name),
        ("drawdown of the LP alone", _pct(item.unhedged)),
        ("with the hedge", f"{_pct(item.hedged)}, {_pct(item.removed)} of it removed"),
        ("cost by the end, of the position", _pct(item.cost, digits=2)),
        ("bought", _bought_words(item)),
        ("alarms, false ones", f"{item.alarms}, {item.false_alarms}"),
        ("orders refused", str(item.refused)),
        ("HOLD, degraded, unseen", f"{item.held_h:g} h, {item.degraded_h:g} h, {item.unseen_h:g} h"),
    ]
    parts: list[RenderableType] = [
        Text(item.run.policy, style="bold"),
        *(hanging(f"  {name:<34}", Text(words)) for name, words in rows),
        Text(""),
    ]
    parts += _timed(
        "  Market tier",
        [(_hour(item, change.at_s), f"{change.tier.name}: {change.because}") for change in item.tiers],
    )
    parts += _timed(
        "  Protocols, bridges, stables",
        [(each.since_h, f"{each.highest.name} {each.name}: {each.because}") for each in item.protocols],
    )
    parts += _timed(
        "  Proposals that it raised",
        [(each.at_h, f"{each.proposal.rule} {each.proposal.because}") for each in item.raised],
    )
    standing = ", ".join(f"{each.rule} {each.action.value} {each.subject}" for each in item.standing)
    if standing:
        parts.append(hanging("  ", Text(f"Proposed from the start: {standing}", style="dim")))
    parts += _timed("  Alarms, each when it was first told; --json has all", _alarms(item))
    return [*parts, Text("")]


def _alarms(item: Finding) -> list[tuple[float, str]]:
    """Return each warning and critical alarm once, and how often it was told."""
    urgent = [each for each in item.told if each.severity != "info"]
    counts = Counter(f"{each.severity}: {each.title}" for each in urgent)
    first = {f"{each.severity}: {each.title}": each.at_h for each in reversed(urgent)}
    return [
        (at_h, f"{words}{f', told {counts[words]} times' if counts[words] > 1 else ''}")
        for words, at_h in sorted(first.items(), key=lambda each: each[1])
    ]


def _hour(item: Finding, at_s: float) -> float:
    return (at_s - item.run.scenario.start_s) / 3_600.0


def _bought_words(item: Finding) -> str:
    parts = [
        f"{each.layer} {each.contracts:,.1f} contracts in {each.orders} orders for {usd(each.paid_usd)}"
        for each in item.bought
    ]
    if item.short_most:
        parts.append(f"perpetual short of up to {item.short_most:,.1f} ETH")
    return "; ".join(parts) or "nothing"


def _figures(item: Finding) -> RenderableType:
    rows = [
        (each.name, each.path, f"{each.wanted:g}", f"{each.found:.5g}", each.unit, _met(each))
        for each in item.figures
    ]
    return Rows(head=("figure", "path", "wanted", "found", "unit", ""), rows=rows, left=(0, 1, 4, 5))


def _met(figure: Reproduced) -> str:
    return "" if figure.is_met else "not met"


def print_catalogue(scenarios: Iterable[Scenario], console: Console) -> None:
    """Print which scenarios there are."""
    rows = [
        (item.name, item.kind.value, f"{item.hours} h", f"{item.title}{_also(item)}") for item in scenarios
    ]
    table = Rows(head=("scenario", "kind", "length", "what happens"), rows=rows, left=(0, 1, 3))
    console.print(table, width=min(console.width, WIDTH))


def _also(item: Scenario) -> str:
    return f" (also: {item.alias})" if item.alias else ""


def _timed(title: str, lines: Sequence[tuple[float, str]]) -> list[RenderableType]:
    if not lines:
        return []
    shown: list[RenderableType] = [
        hanging(f"    {hour:>6.4g} h  ", Text(words)) for hour, words in lines[:_MOST_TOLD]
    ]
    if len(lines) > _MOST_TOLD:
        shown.append(Text(f"    and {len(lines) - _MOST_TOLD} more; --json has them all"))
    return [Text(title), *shown]


def _listed(title: str, lines: Sequence[str]) -> list[RenderableType]:
    if not lines:
        return []
    return [Text(title, style="bold"), *(hanging("  - ", Text(line)) for line in lines), Text("")]


def _short(lead: Lead | None) -> str:
    if lead is None:
        return _NEVER
    return f"{lead.before_low_h:.{0 if lead.before_low_h >= 10.0 else 1}f}h {100.0 * lead.share:.0f}%"


def _long(lead: Lead | None) -> str:
    if lead is None:
        return f"{_NEVER} before the low"
    return f"{lead.before_low_h:g} h before the low, {_pct(lead.share)} of the fall suffered by then"


def _pct(value: float, *, digits: int = 1) -> str:
    return f"{100.0 * value:.{digits}f} %" if math.isfinite(value) else UNKNOWN


def _number(value: float, *, digits: int = 1) -> str:
    return f"{100.0 * value:.{digits}f}" if math.isfinite(value) else "?"
