"""What a plan costs, and a run under way, in a terminal of 80 columns without needing colour."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from bot.app.plan import Plan
from bot.engine.protection import Protection, ProtectionLeg
from bot.model.record import StepRecord
from bot.model.tier import Tier
from bot.simulation.report.decided import NOTABLE_SHARE
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import INDICATIVE, percent, usd, when
from bot.terminal.market import market_lines, replication_lines
from bot.terminal.status import TIER_STYLE, outcome_lines, state_line

_PLAN_NOTES = (
    "Losses in the table are at expiry, the price staying there; they include what the options cost. "
    "A year: what buying the same again and again would cost, of the position's value."
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
        parts += [
            line for item in plan.replications if item.group == group for line in replication_lines(item)
        ]
    parts += [line for item in plan.markets for line in market_lines(item)]
    parts += [hanging("left out: ", Text(reason, style="yellow")) for reason in plan.left_out]
    venues = {leg.instrument.venue for item in plan.protections for leg in item.legs if leg.indicative}
    fitted = [leg for item in plan.replications for expiry in item.expiries for leg in expiry.legs]
    venues |= {leg.instrument.venue for leg in fitted if leg.indicative}
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
        for line in outcome_lines(record):
            self._progress.console.print(line)
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def hours_progress(console: Console, *, what: str = "hours") -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with the time left; yields what to call with (hours done, hours in all)."""
    with _progress(console) as progress:
        task = progress.add_task(what, total=None)
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
