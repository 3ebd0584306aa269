"""What a person reads of ``alvh policy check``, ``diff`` and ``verify``, and the documents of all."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.app.policy import Difference, ExposureCheck, PolicyCheck
from bot.app.policy_signing import Verification, grant_document
from bot.chain.policy_signature import Verdict
from bot.engine.affordability import Affordability
from bot.model.units import iso_utc
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import percent, usd, when

_NEARLY = 0.98  # of a wanted share: lots are whole
_KEPT = ", of which a part is kept for higher tiers (budget.escalation_reserve)"
_STYLES = {Verdict.SIGNED: "green", Verdict.MISSING: "yellow", Verdict.WRONG: "bold red"}


def check_view(found: PolicyCheck) -> RenderableType:
    """Return that a policy is good, and what a session buys of each tier's share at stressed vol."""
    source = found.source
    rests = f", rests on {' and '.join(source.extends)}" if source.extends else ""
    parts: list[RenderableType] = [
        Text(f"{source.name} is valid{rests}.", style="bold"),
        hanging("hash: ", Text(found.policy.hash)),
    ]
    if source.simulation_only:
        parts.append(Text("It is for simulation only: no bot runs it.", style="yellow"))
    vol = f"Priced at {found.vol:.0%} implied vol, flat over expiries ({found.vol_source})."
    parts += [Text(""), Text(vol)]
    for item in found.exposures:
        parts += [Text(""), Text(f"{item.exposure}, from nothing held, in one session:", style="bold")]
        parts.append(_tiers(item))
    lines = [line for item in found.exposures for line in _warnings(item)]
    parts += [Text("")]
    parts += [hanging("warning: ", Text(line, style="yellow")) for line in lines]
    if not lines:
        parts.append(Text("Every tier's share can be bought in one session.", style="green"))
    return Group(*parts)


def _tiers(item: ExposureCheck) -> RenderableType:
    head = ("tier", "wanted", "listed", "needed", "session", "reached", "cut by")
    rows = [
        (
            row.tier.name,
            percent(row.wanted_share),
            percent(row.listed_share),
            usd(row.needed_usd),
            usd(row.session_usd),
            percent(row.reached_share),
            "" if row.in_one_session else _cuts(row),
        )
        for row in item.tiers
    ]
    return Rows(head=head, rows=rows, left=(0, 6))


def _warnings(item: ExposureCheck) -> list[str]:
    name = _short(item.exposure)
    found = []
    for row in item.warnings:
        room = f"a session has {usd(row.session_usd)}"
        if row.needed_usd > row.month_usd:
            room += f" and 30 days have {usd(row.month_usd)}"
        kept = "" if row.needed_usd > min(row.session_usd, row.month_usd) else _KEPT
        found.append(
            f"{name} {row.tier.name}: {percent(row.wanted_share)} of VaR needs {usd(row.needed_usd)}; {room} "
            f"(R9){kept}: {percent(row.reached_share)} is reached"
        )
    unreached = [row for row in item.tiers if not row.listed_share >= row.wanted_share * _NEARLY]
    if unreached:
        tiers = ", ".join(row.tier.name for row in unreached)
        layers = ", ".join(dict.fromkeys(layer for row in unreached for layer in row.missing))
        why = f"nothing is listed in the band of {layers}" if layers else "the over-hedge guard (R10) binds"
        found.append(f"{name} {tiers}: the share is out of reach even without R9: {why}")
    return found


def _short(exposure: str) -> str:
    """Return "v3 -20%..+20%" for "v3:ETH/USDC:100000:-20%:+20%"."""
    kind, _, _, *ends = exposure.split(":")
    return f"{kind} {'..'.join(ends)}".strip()


def _cuts(row: Affordability) -> str:
    return ", ".join(row.caps) or "whole lots"


def check_document(found: PolicyCheck) -> dict[str, Any]:
    return {
        "policy": found.source.name,
        "valid": True,
        "extends": list(found.source.extends),
        "hash": found.policy.hash,
        "simulation_only": bool(found.source.simulation_only),
        "implied_vol": found.vol,
        "implied_vol_source": found.vol_source,
        "exposures": [
            {"exposure": item.exposure, "tiers": [_tier_document(row) for row in item.tiers]}
            for item in found.exposures
        ],
        "warnings": [line for item in found.exposures for line in _warnings(item)],
    }


def _tier_document(row: Affordability) -> dict[str, Any]:
    figures = {
        "value_usd": row.value_usd,
        "var_usd": row.var_usd,
        "wanted_share": row.wanted_share,
        "listed_share": row.listed_share,
        "reached_share": row.reached_share,
        "needed_usd": row.needed_usd,
        "session_usd": row.session_usd,
        "month_usd": row.month_usd,
    }
    return {
        "tier": row.tier.name,
        **{name: value if math.isfinite(value) else None for name, value in figures.items()},
        "in_one_session": row.in_one_session,
        "cut_by": list(row.caps),
        "not_listed": list(row.missing),
    }


def problems_document(name: str, problems: Sequence[str]) -> dict[str, Any]:
    return {"policy": name, "valid": False, "problems": list(problems)}


def diff_view(first: str, second: str, found: Sequence[Difference]) -> RenderableType:
    """Return one row per key that differs, with what it means."""
    if not found:
        return Text(f"{first} and {second} state the same numbers.")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for name in ("key", first, second):
        table.add_column(Text(name), overflow="fold")
    for item in found:
        table.add_row(Text(item.key), Text(item.first or "-"), Text(item.second or "-"))
    return Group(table, Text(f"{len(found)} keys differ"))


def diff_document(found: Sequence[Difference]) -> list[dict[str, str | None]]:
    return [
        {"key": item.key, "first": item.first or None, "second": item.second or None, "note": item.note}
        for item in found
    ]


def verification_view(name: str, found: Verification) -> RenderableType:
    """Return whether a policy is in force, then who signed, who is missing, and every reason against it."""
    grant, quorum = found.grant, found.quorum
    state = "is signed and valid" if found.is_valid else "is NOT valid"
    count = f"{quorum.signed} of {len(quorum.owners)} owners signed, {quorum.threshold} needed"
    parts: list[RenderableType] = [
        Text(f"{name} {state}: {count}.", style="bold green" if found.is_valid else "bold red"),
        Text(
            f"sequence {grant.sequence}, until {when(grant.valid_until_s)} UTC, "
            f"chains {', '.join(map(str, grant.chain_ids))}"
        ),
        Text(f"account {grant.account}"),
        Text(""),
    ]
    for item in quorum.owners:
        how = " by its contract" if item.by_contract and item.verdict is Verdict.SIGNED else ""
        why = f": {item.why}" if item.why else ""
        line = Text(f"{item.verdict.value}{how}{why}", style=_STYLES.get(item.verdict, "yellow"))
        parts.append(hanging(f"{item.owner}  ", line))
    parts += [hanging("no owner: ", Text(f"{who} signed and does not count")) for who in quorum.strangers]
    parts += [hanging("refused: ", Text(line, style="bold red")) for line in found.refusals]
    return Group(*parts)


def verification_document(name: str, found: Verification) -> dict[str, Any]:
    quorum = found.quorum
    return {
        "policy": name,
        "valid": found.is_valid,
        **grant_document(found.grant),
        "threshold": quorum.threshold,
        "signed": quorum.signed,
        "owners": [
            {
                "owner": item.owner,
                "verdict": item.verdict.value,
                "by_contract": item.by_contract,
                "why": item.why,
            }
            for item in quorum.owners
        ],
        "strangers": list(quorum.strangers),
        "refusals": list(found.refusals),
        "block": found.block.number if found.block else None,
        "block_time": iso_utc(found.block.timestamp_s) if found.block else None,
    }
