"""What orders cost beside what they would have cost offline, in words (R25)."""

from collections.abc import Iterator, Sequence

from bot.simulation.parity import Money, PairedFill, sums

_PARTS = {"price_usd": "price", "fee_usd": "fees", "swap_usd": "swaps", "gas_usd": "gas"}


def parity_lines(fills: Sequence[PairedFill]) -> Iterator[str]:
    """Yield the sums and where they differ; nothing where nothing was filled."""
    priced = [item for item in fills if item.offline is not None]
    if priced:
        filled, offline = sums(fills)
        yield (
            f"{_orders(len(priced))} brought {_money(filled.total_usd)}; offline, at the quotes and marks "
            f"they were decided on, {_money(offline.total_usd)}"
        )
        yield f"difference {_money(filled.total_usd - offline.total_usd)}: {_parts(filled, offline)}"
    if len(priced) < len(fills):
        yield f"{_orders(len(fills) - len(priced))} had no quote or mark in what was decided on"


def _parts(filled: Money, offline: Money) -> str:
    found = ((name, getattr(filled, part) - getattr(offline, part)) for part, name in _PARTS.items())
    return ", ".join(f"{name} {_money(usd)}" for name, usd in found)


def _money(usd: float) -> str:
    return f"{'-' if usd < 0.0 else '+'}${abs(usd):,.2f}"


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count} orders"
