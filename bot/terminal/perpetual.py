"""Perpetuals that are held, and orders for them by hand (R27), in a terminal of 80 columns."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from bot.model.perpetual import HeldPerpetual, PerpetualOrder
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import usd


def perpetuals_table(held: Mapping[str, HeldPerpetual]) -> Iterator[RenderableType]:
    """Yield size, margin and funding of every perpetual, by its name; nothing where none is held."""
    if not held:
        return
    rows = [
        (
            name,
            f"{item.size:+,.2f}",
            usd(item.entry_usd),
            usd(item.mark_usd),
            usd(item.margin_usd),
            usd(item.liquidation_usd),
            usd(item.funding_usd),
        )
        for name, item in held.items()
    ]
    head = ("perpetual", "size", "entry", "mark", "margin", "liquid. at", "funding")
    yield Rows(head=head, rows=rows, left=(0,))
    for name, item in held.items():
        words = f"NEAR of {item.group}; closing it at the mark would gain {usd(item.unrealised_usd)}"
        yield hanging(f"{name}  ", Text(words))


def closing_words(order: PerpetualOrder) -> str:
    """Return what an order would close, at which price at the worst."""
    verb, bound = ("buy", "at most") if order.size > 0.0 else ("sell", "at least")
    asset = order.perpetual.underlying
    return (
        f"{verb} {abs(order.size):,.2f} {asset} at {order.perpetual.venue} for {bound} "
        f"{usd(order.limit_usd)} per {asset}, which closes as much of {order.position_id}; about "
        f"{usd(order.release_usd)} of margin come back"
    )
