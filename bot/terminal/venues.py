"""What a person reads of ``alvh venues``, and its document."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.app.venues import Place, VenueRow

_STYLES = {"alive": "green", "yours": "green", "legacy": "yellow", "closed": "red"}


def venues_view(rows: Sequence[VenueRow]) -> RenderableType:
    """One block per venue: what it can do, then a line per chain. Fits 80 columns."""
    parts: list[RenderableType] = []
    for row in rows:
        parts += [_head(row), _places(row.places), Text("")]
    words = f"{len(rows)} venues; * this configuration has it. Whether one sells now, its quotes say."
    return Group(*parts, Text(words, style="dim"))


def _head(row: VenueRow) -> RenderableType:
    able = row.capabilities
    text = Text(f"{able.title}", style="bold")
    text.append(f"  {', '.join(able.products)}: {', '.join(able.deeds)}", style="not bold")
    if able.route.value != "on chain":
        text.append(f" by {able.route.value}", style="not bold")
    text.append(f"\n{able.trait}", style="not bold dim")
    return text


def _places(places: Sequence[Place]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(width=17, overflow="fold")
    table.add_column(width=9, justify="right", no_wrap=True)
    table.add_column(width=4, no_wrap=True)
    table.add_column(width=6, no_wrap=True)
    table.add_column(overflow="fold")
    for place in places:
        table.add_row(
            "*" if place.is_configured else "",
            Text(place.chain),
            str(place.chain_id),
            "test" if place.is_test else "real",
            Text(place.status, style=_STYLES[place.status]),
            Text(place.because),
        )
    return table


def venues_document(rows: Sequence[VenueRow]) -> dict[str, Any]:
    return {"venues": [_venue(row) for row in rows]}


def _venue(row: VenueRow) -> dict[str, Any]:
    able = row.capabilities
    return {
        "name": able.name,
        "title": able.title,
        "products": [item.value for item in able.products],
        "can": [item.value for item in able.deeds],
        "route": able.route.value,
        "trait": able.trait,
        "configured": row.is_configured,
        "places": [
            {
                "chain_id": place.chain_id,
                "chain": place.chain,
                "money": "test" if place.is_test else "real",
                "status": place.status,
                "because": place.because,
                "known_contracts": place.contracts,
                "source": place.source,
                "date": place.date,
                "configured": place.is_configured,
            }
            for place in row.places
        ],
    }
