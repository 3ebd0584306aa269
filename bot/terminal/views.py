"""What a person reads in a terminal of 80 columns, without needing colour."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from bot.app.plan import Plan
from bot.engine.protection import Protection, ProtectionLeg
from bot.engine.sentence import spoken_value
from bot.model.base_layers import Action, BaseLayer, Proposal
from bot.model.hedge import LayerTarget, LegOutcome, LegStatus, Shortfall
from bot.model.record import GroupDecision, StepRecord
from bot.model.tier import Quality, Reading, Tier
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
_PLAN_NOTES = (
    "Losses in the table are at expiry, the price staying there; they include what the options cost. "
    "A year: what buying the same again and again would cost, of the position's value."
)
_BUDGETS = (
    ("session", "24 h"),
    ("budget_30d", "30 days"),
    ("budget_365d", "365 days"),
    ("defined_risk", "at risk at once"),
)


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


def plan_view(plan: Plan) -> RenderableType:
    """Return what protection would cost: the answer first, then every tier, then what each would buy."""
    parts: list[RenderableType] = []
    for group in dict.fromkeys(item.group for item in plan.protections):
        tiers = [item for item in plan.protections if item.group == group]
        parts += [_plan_answer(tiers), _plan_facts(plan, tiers[0]), Text(""), _tier_costs(tiers), Text("")]
        for _, same in groupby(tiers, key=lambda item: item.legs):
            parts += _plan_tier(tuple(same))
        holds = dict.fromkeys(hold for item in tiers for hold in item.holds)
        parts += [Text(f"HOLD, a bot would buy nothing now: {hold}", style="bold yellow") for hold in holds]
    parts += [hanging("left out: ", Text(reason, style="yellow")) for reason in plan.left_out]
    venues = {leg.instrument.venue for item in plan.protections for leg in item.legs if leg.indicative}
    if venues:
        parts.append(Text(_shown_note(venues), style="yellow"))
    parts.append(Text(_PLAN_NOTES, style="dim"))
    return Group(*parts)


def _shown_note(venues: Iterable[str]) -> str:
    return (
        f"Sums with ~ are {INDICATIVE}: they rest on quotes of {' and '.join(sorted(venues))} "
        "at which this program cannot buy."
    )


def _plan_answer(tiers: Sequence[Protection]) -> Text:
    """Say in words what the standing protection and the most of it would cost now."""
    calm, top = tiers[0], tiers[-1]
    worst = min(top.losses, key=lambda item: item.move)
    line = Text(
        f"Protecting {usd(calm.value_usd)} in {calm.group} would cost {_cost(calm, calm.cost_usd)} now at "
        f"{calm.tier.name} and {_cost(top, top.cost_usd)} at {top.tier.name}.",
        style="bold",
    )
    return line.append(
        f" If {calm.group.partition('/')[0]} then fell {-100.0 * worst.move:.0f} % and stayed there, "
        f"the loss would be {_cost(top, worst.hedged_expiry_usd)} instead of {usd(worst.unhedged_usd)} "
        f"({top.tier.name}).",
        style="not bold",
    )


def _plan_facts(plan: Plan, item: Protection) -> Text:
    names = ", ".join(each.id for each in plan.exposures if each.group == item.group)
    return Text(
        f"{names} at {usd(item.spot_usd)}; block {plan.block.number} of chain {plan.block.chain_id}, "
        f"{when(plan.block.timestamp_s)} UTC. A bad ten days (99 % VaR) would lose {usd(item.var_usd)} "
        f"({item.var_method}).",
        style="dim",
    )


def _tier_costs(tiers: Sequence[Protection]) -> RenderableType:
    moves = [loss.move for loss in tiers[0].losses]
    head = ("tier", "cost now", "a year", "VaR covered", *(f"loss {100 * move:+.0f} %" for move in moves))
    bare = ("no hedge", "-", "-", "-", *(usd(loss.unhedged_usd) for loss in tiers[0].losses))
    rows = [
        (
            item.tier.name,
            _cost(item, item.cost_usd),
            percent(item.carry_share_year),
            f"{100.0 * item.covered_share:.0f} of {100.0 * item.wanted_share:.0f} %",
            *(_cost(item, loss.hedged_expiry_usd) for loss in item.losses),
        )
        for item in tiers
    ]
    return Rows(head=head, rows=[bare, *rows])


def _plan_tier(same: Sequence[Protection]) -> Iterator[RenderableType]:
    """Yield what tiers that buy the same would buy, what it costs in parts, what is left out, and why."""
    item = same[-1]
    line = Text(" and ".join(each.tier.name for each in same), style=TIER_STYLE[item.tier])
    line.append(
        f"  {_cost(item, item.cost_usd)}: premium {_cost(item, item.premium_usd)}, of which fees "
        f"{_cost(item, item.fee_usd)}; swaps and gas {usd(item.swap_and_gas_usd)}. "
        f"Carry {_cost(item, item.carry_usd_year)} a year.",
        style="not bold default",
    )
    yield line
    if item.legs:
        head = ("layer", "buys", "days", "premium", "swap+gas", "a year", "pays below")
        yield Padding(Rows(head=head, rows=[_plan_leg(leg) for leg in item.legs], left=(0, 1)), (0, 0, 0, 2))
    losses = ", ".join(
        f"{100.0 * loss.move:+.0f} % {_cost(item, loss.hedged_now_usd)}" for loss in item.losses
    )
    yield hanging("  ", Text(f"Loss at once with hedge: {losses}."))
    evens = ", ".join(f"{level:,.0f}" for level in item.break_evens_usd) or "none"
    yield hanging("  ", Text(f"Break-even of position and hedge together, at expiry: {evens}."))
    short = [
        f"{each.layer.value} {percent(each.missing)} ({each.cap or each.reason})"
        for each in item.shortfalls
        if each.missing >= NOTABLE_SHARE
    ]
    if short:
        yield hanging(
            "  ", Text(f"Missing of what {item.tier.name} wants: {', '.join(short)}.", style="yellow")
        )
    yield Text("")


def _cost(item: Protection, value_usd: float) -> str:
    """Return a sum that what the options cost is part of."""
    return usd(value_usd, about=item.indicative)


def _plan_leg(leg: ProtectionLeg) -> tuple[str, ...]:
    option = leg.instrument
    return (
        leg.layer.value,
        f"{leg.contracts:,.2f} {option.underlying} {option.strike_usd:,.0f} {option.option_type.value}",
        f"{leg.dte:.1f}",
        usd(leg.premium_usd, about=leg.indicative),
        usd(leg.swap_usd + leg.gas_usd),
        usd(leg.carry_usd_year, about=leg.indicative),
        f"{leg.break_even_usd:,.0f}" if math.isfinite(leg.break_even_usd) else "never",
    )


class StepPrinter:
    """Prints what is news of each step above a progress bar with the time left."""

    def __init__(self, console: Console) -> None:
        self._progress = _progress(console)
        self._task = self._progress.add_task("hours", total=None)
        self._tiers: dict[str, Tier] = {}

    def __enter__(self) -> "StepPrinter":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, record: StepRecord, done: int, total: int) -> None:
        """Print a line when a tier changed, and one per order."""
        tiers = {group.group: group.tier for group in record.decision.groups}
        if tiers != self._tiers:
            self._progress.console.print(state_line(record))
        self._tiers = tiers
        for outcome in record.outcomes:
            self._progress.console.print(order_line(outcome))
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def hours_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with the time left; yields what to call with (hours done, hours in all)."""
    with _progress(console) as progress:
        task = progress.add_task("hours", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def fill_progress(console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """Show how far the history is filled; yields what to call with (done, in all, what). Gone at the end."""
    with _progress(console) as progress:
        task = progress.add_task("history", total=None, visible=False)

        def show(done: int, total: int, what: str) -> None:
            text = f"history of {what}"
            progress.update(task, description=text, completed=done, total=total, visible=done < total)

        yield show


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # a log file gets the lines above the bar and nothing of the bar
    )
