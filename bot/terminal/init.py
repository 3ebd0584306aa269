"""What a person sees of ``alvh init``: what was found, left out and written, and what to type next."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from bot.app.init import Draft, Found, next_commands
from bot.app.lp_chain import chain_name
from bot.simulation.report.terminal import Rows
from bot.simulation.wording import usd


def found_view(found: Found) -> RenderableType:
    """Return the positions that can be protected, and those that cannot with the reason."""
    head = ("position", "chain", "pool", "worth")
    rows = [
        (
            _short(item.position.id),
            chain_name(item.position.chain_id),
            f"{item.position.base.symbol}/{item.position.quote.symbol} {100.0 * item.position.fee:g} %",
            usd(item.position.value),
        )
        for item in found.fits
    ]
    count = len(rows)
    words = f"{count} position{'' if count == 1 else 's'} to protect, worth {usd(found.value_usd)}."
    table = Rows(head=head, rows=rows, left=(0, 1, 2))
    return Group(Text(words, style="bold"), table, *_left_out(found.left_out))


def _short(name: str) -> str:
    return name if len(name) < 20 else f"{name[:9]}…{name[-4:]}"


def _left_out(lines: Sequence[str]) -> list[Text]:
    return [Text(f"Left out: {line}", style="yellow") for line in lines]


def written_view(draft: Draft, files: Sequence[Path]) -> RenderableType:
    """Return which files there are now, and what to type next."""
    lines = [Text(f"wrote {path} (mode 0600)") for path in files]
    if draft.secrets and draft.choices.env_file is None:
        names = ", ".join(draft.secrets)
        words = f"The file refers to {names}, kept nowhere: export it before each command."
        lines.append(Text(words, style="yellow"))
    return Group(*lines, Text("Next:", style="bold"), *(Text(f"  {line}") for line in next_commands(draft)))
