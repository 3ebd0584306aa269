"""What a person reads of ``alvh doctor`` and ``alvh check-addresses``, and the documents of both."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.app.addresses import AddressCheck
from bot.app.checks import Check, Health

_STYLES = {Health.OK: "green", Health.WARN: "yellow", Health.FAILED: "bold red", Health.SKIPPED: "dim"}


def checks_view(checks: Sequence[Check]) -> RenderableType:
    """One row per check; what mends it stands under what is wrong."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(max_width=30, overflow="fold")
    table.add_column(overflow="fold")
    for check in checks:
        found = Text(check.found)
        if check.mend and check.health is not Health.OK:
            found.append(f"\n-> {check.mend}", style="dim")
        table.add_row(Text(check.health.value, style=_STYLES[check.health]), Text(check.name), found)
    count = {health: sum(check.health is health for check in checks) for health in Health}
    words = f"{count[Health.OK]} ok, {count[Health.WARN]} to note, {count[Health.FAILED]} failed"
    return Group(table, Text(words))


def checks_document(checks: Sequence[Check]) -> dict[str, Any]:
    return {
        "healthy": not any(check.health is Health.FAILED for check in checks),
        "checks": [
            {"name": check.name, "health": check.health.value, "found": check.found, "mend": check.mend}
            for check in checks
        ],
    }


def addresses_view(checks: Sequence[AddressCheck]) -> RenderableType:
    """One row per address; every problem again below, with the whole address."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("where", overflow="fold", max_width=28)
    table.add_column("address", no_wrap=True)
    table.add_column("answers", overflow="fold")
    for check in checks:
        health = Health.OK if check.ok else Health.FAILED
        address = f"{check.wanted.address[:8]}…{check.wanted.address[-4:]}"
        shown = Text(check.answer or ("-" if check.ok else "see below"))
        if check.wanted.unconfirmed:
            shown.append(f"\nunconfirmed: {check.wanted.unconfirmed}", style="yellow")
        table.add_row(
            Text(health.value, style=_STYLES[health]), Text(check.wanted.where), Text(address), shown
        )
    wrong = [check for check in checks if not check.ok]
    lines = [
        Text(f"{check.wanted.where} {check.wanted.address} {check.problem}", style="red") for check in wrong
    ]
    words = f"{len(checks) - len(wrong)} of {len(checks)} answer as they should"
    unconfirmed = sum(bool(check.wanted.unconfirmed) for check in checks)
    return Group(table, *lines, Text(f"{words}, {unconfirmed} unconfirmed" if unconfirmed else words))


def addresses_document(checks: Sequence[AddressCheck]) -> dict[str, Any]:
    return {
        "healthy": all(check.ok for check in checks),
        "addresses": [
            {
                "chain_id": check.wanted.chain_id,
                "where": check.wanted.where,
                "address": check.wanted.address,
                "role": check.wanted.role,
                "ok": check.ok,
                "answer": check.answer,
                "problem": check.problem,
                "unconfirmed": check.wanted.unconfirmed,
            }
            for check in checks
        ],
    }
