"""How the alerts stand, in a terminal: what stands, and targets that take nothing."""

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from bot.alerts.state import AlertState
from bot.simulation.report.terminal import hanging
from bot.simulation.wording import when


def alert_lines(state: AlertState) -> Iterator[RenderableType]:
    """Yield a line for each alert that stands and each target that fails."""
    for item in state.standing.values():
        words = f"{item.title}, told {when(item.told_at_s)} UTC"
        yield hanging("ALERT  ", Text(words, style="yellow"))
    for target in state.targets.values():
        if target.is_failing:
            words = (
                f"{target.name} takes nothing since {when(target.failing_since_s)} UTC: {target.why}; "
                f"{len(target.waiting)} messages wait for it"
            )
            yield hanging("ALERTS  ", Text(words, style="bold yellow"))
        if target.dropped:
            words = f"{target.dropped} messages to {target.name} were dropped: too many waited"
            yield hanging("ALERTS  ", Text(words, style="bold yellow"))
    beat = state.heartbeat
    if beat is not None and not math.isnan(beat.failing_since_s):
        words = f"the heartbeat is not taken since {when(beat.failing_since_s)} UTC: {beat.why}"
        yield hanging("ALERTS  ", Text(words, style="bold yellow"))
