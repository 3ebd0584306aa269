"""The look-ahead check in 80 columns."""

from rich.console import Console, Group
from rich.text import Text

from bot.model.units import iso_utc
from bot.simulation.look_ahead import LookAhead, Probe
from bot.simulation.report.terminal import WIDTH, Rows
from bot.simulation.wording import strategy_name


def print_look_ahead(found: LookAhead, console: Console) -> None:
    """Print one row for each strategy, and the first step that knew the future where one did."""
    names = list(dict.fromkeys(item.strategy for item in found.probes))
    head = ("strategy", "moments", "steps compared", "changed", "moved by the future")
    rows = [_row(name, [item for item in found.probes if item.strategy == name]) for name in names]
    verdict = (
        "No decision knows the future: what came after each moment was changed, nothing before it was."
        if found.is_clean
        else "NOT CLEAN: a step changed before what it could have known, or a change moved nothing at all."
    )
    leaks = [
        Text(
            f"{item.strategy}: the step of {iso_utc(item.first_changed_s)} changes with what follows "
            f"{iso_utc(item.at_s)}"
        )
        for item in found.probes
        if not item.is_clean
    ]
    page = Group(Text(verdict, style="bold"), Text(""), Rows(head=head, rows=rows, wraps=(0,)), *leaks)
    console.print(page, width=min(console.width, WIDTH))


def _row(name: str, mine: list[Probe]) -> tuple[str, ...]:
    return (
        strategy_name(name),
        str(len(mine)),
        f"{sum(item.steps for item in mine):,}",
        str(sum(not item.is_clean for item in mine)),
        f"{sum(item.moves_later for item in mine)} of {len(mine)}",
    )
