"""What waits for a Safe's owners, in a terminal of 80 columns, and the same as a document."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bot.app.safe_owners import SafeLook, Shown
from bot.chain.safe_calls import ReadCall
from bot.simulation.report.terminal import hanging
from bot.simulation.wording import when


def safe_view(look: SafeLook) -> RenderableType:
    """Return the Safe, then every proposal with its calls, its price bound and who has signed."""
    state = look.state
    head = Text(f"Safe {state.address}", style="bold")
    at = f"block {look.block.number}, {when(look.block.timestamp_s)} UTC"
    control = f"{state.threshold} of {len(state.owners)} owners · next nonce {state.nonce} · {at}"
    parts: list[RenderableType] = [head, Text(control, style="dim")]
    if state.modules:
        parts.append(hanging("modules  ", Text(", ".join(state.modules), style="bold yellow")))
    if not look.shown:
        parts.append(Text(f"nothing waits in {look.where}"))
    for shown in look.shown:
        parts += _proposal(look, shown)
    return Group(*parts)


def _proposal(look: SafeLook, shown: Shown) -> Iterator[RenderableType]:
    proposal, state = shown.proposal, look.state
    what = "rejection" if shown.is_rejection else f"{len(shown.calls)} calls"
    yield Text(f"\nnonce {proposal.tx.nonce} · {what} · {proposal.origin or 'no origin'}", style="bold")
    yield hanging("  hash   ", Text(proposal.tx_hash))
    signed = ", ".join(sorted(shown.gathered.signatures)) or "nobody"
    count = f"{len(shown.gathered.signatures)} of {state.threshold}"
    yield hanging("  signed ", Text(f"{count}: {signed}"))
    for why in shown.gathered.refused:
        yield hanging("         ", Text(why, style="yellow"))
    for number, call in enumerate(shown.calls, start=1):
        style = "" if call.is_allowed else "bold red"
        yield hanging(f"  {number:>5}  ", Text(f"{call.name}: {call.words}", style=style))
    if bound := price_bound(look, shown):
        yield hanging("  bound  ", Text(f"at most {' and '.join(bound)} can leave the Safe"))
    if shown.problem:
        yield hanging("  DO NOT SIGN  ", Text(shown.problem, style="bold red"))
    if shown.would_fail:
        yield hanging("  fails  ", Text(f"it would not succeed now: {shown.would_fail}", style="yellow"))


def price_bound(look: SafeLook, shown: Shown) -> list[str]:
    """Return the exact allowances that a batch gives, token by token: what it can cost at most."""
    totals: dict[str, int] = {}
    for call in shown.calls:
        if call.gives is not None:
            totals[call.gives.token] = totals.get(call.gives.token, 0) + call.gives.raw
    said = []
    for address, raw in totals.items():
        token = look.tokens.get(address)
        said.append(token.amount(raw) if token else f"{raw} units of {look.labels.get(address, address)}")
    return said


def safe_document(look: SafeLook) -> dict[str, Any]:
    """Return the same for a program."""
    state = look.state
    return {
        "safe": state.address,
        "version": state.version,
        "owners": list(state.owners),
        "threshold": state.threshold,
        "nonce": state.nonce,
        "modules": list(state.modules),
        "guard": state.guard,
        "block": look.block.number,
        "where": look.where,
        "proposals": [_document(look, shown) for shown in look.shown],
    }


def shown_document(shown: Shown) -> dict[str, Any]:
    """Return one proposal without its amounts in tokens."""
    return {
        "hash": shown.proposal.tx_hash,
        "nonce": shown.proposal.tx.nonce,
        "origin": shown.proposal.origin,
        "is_rejection": shown.is_rejection,
        "signed": sorted(shown.gathered.signatures),
        "refused_signatures": list(shown.gathered.refused),
        "calls": [_call(call) for call in shown.calls],
        "problem": shown.problem,
        "would_fail": shown.would_fail,
    }


def _document(look: SafeLook, shown: Shown) -> dict[str, Any]:
    return {**shown_document(shown), "bound": price_bound(look, shown)}


def _call(call: ReadCall) -> dict[str, Any]:
    return {"to": call.to, "name": call.name, "words": call.words, "allowed": call.is_allowed}
