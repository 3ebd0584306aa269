"""The command that decides again over what was, and the one that releases a halt."""

import asyncio
import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli.shared import DEFAULT_CONFIG, ConfigOption, JsonOption, err, out, settings_of
from bot.errors import ConfigError
from bot.output import write_json

if TYPE_CHECKING:
    from bot.model.record import StepRecord


def replay(
    config: ConfigOption = DEFAULT_CONFIG,
    recording: Annotated[Path | None, typer.Option(help="Folder of `alvh run --record`.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First time, ISO 8601, UTC.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last time, ISO 8601, UTC.")] = None,
    from_block: Annotated[
        int | None, typer.Option(min=0, help="First block, of a node with all states.")
    ] = None,
    to_block: Annotated[int | None, typer.Option(min=0, help="Last block.")] = None,
    step: Annotated[int, typer.Option(min=1, help="Decide at every so many blocks.")] = 1,
    policy: Annotated[
        str | None, typer.Option(help="Preset or policy file; the configured one by default.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Decide again over a recording or blocks; say what differs."""
    by_block = from_block is not None or to_block is not None
    if (recording is not None) == by_block:
        raise ConfigError("replay needs either --recording DIR or --from-block and --to-block")
    if recording is not None:
        document = _over_recording(recording, start, end, policy, config, quiet=json_to is not None)
    elif from_block is None or to_block is None:
        raise ConfigError("replay over blocks needs both --from-block and --to-block")
    else:
        document = _over_blocks(config, from_block, to_block, step, policy, quiet=json_to is not None)
    write_json(document, json_to)


def release(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End a halt after a deep reorganisation that you looked at. The bot may then open hedges again."""
    from bot.app.stores import release_halts

    for why in release_halts(settings_of(config)):
        out.print(f"released: {why}", markup=False, soft_wrap=True)
    out.print("a bot that runs now must be started again to see it")


def _over_recording(
    folder: Path, start: str | None, end: str | None, policy: str | None, config: Path, *, quiet: bool
) -> dict[str, Any]:
    from bot.app.replay import replay_recording
    from bot.model.units import iso_utc, parse_utc_s
    from bot.settings import load_policy, named_policy
    from bot.simulation.parity import parity_document
    from bot.terminal import state_line
    from bot.terminal.parity import parity_lines

    chosen = named_policy(policy) if policy is not None else load_policy(settings_of(config).policy)
    from_s = parse_utc_s(start, field="--from") if start else -math.inf
    to_s = parse_utc_s(end, field="--to") if end else math.inf
    on_step = (lambda _: None) if quiet else _Changes(lambda record: out.print(state_line(record)))
    with err.status("deciding again over the recording") if quiet else nullcontext():
        found = asyncio.run(
            replay_recording(folder, policy=chosen, from_s=from_s, to_s=to_s, on_step=on_step)
        )
    if not quiet:
        if not found.same_policy:
            err.print(
                f"recorded under policy {found.recorded_policy_hash[:12]}, decided again under "
                f"{found.policy_hash[:12]}; orders are filled on paper at recorded quotes"
            )
        for item in found.differences:
            for what in item.what:
                out.print(f"{iso_utc(item.now_s)} step {item.sequence}: {what}", markup=False, soft_wrap=True)
        out.print(f"{_many(len(found.records), 'step')} decided again, {len(found.differences)} differ")
        for line in parity_lines(found.parity.fills):
            out.print(line, markup=False, soft_wrap=True)
    return {
        "steps": len(found.records),
        "same_policy": found.same_policy,
        "differences": [
            {"sequence": item.sequence, "at": iso_utc(item.now_s), "what": list(item.what)}
            for item in found.differences
        ],
        "money": parity_document(found.parity.fills),
    }


def _over_blocks(
    config: Path, first: int, last: int, every: int, policy: str | None, *, quiet: bool
) -> dict[str, Any]:
    from bot.app.follow import Listener
    from bot.app.replay import replay_blocks
    from bot.documents import step_document
    from bot.settings import load_policy, named_policy
    from bot.terminal import fill_progress, outcome_lines, state_line

    settings = settings_of(config)
    chosen = named_policy(policy) if policy is not None else load_policy(settings.policy)
    records: list[StepRecord] = []

    async def play() -> None:
        with fill_progress(err) as progress:
            listener = Listener(
                on_trouble=lambda error: err.print(str(error), markup=False),
                on_notice=lambda text: err.print(text, markup=False),
                on_progress=progress,
            )
            async for record in replay_blocks(
                settings, first=first, last=last, every=every, policy=chosen, listener=listener
            ):
                records.append(record)
                if not quiet:
                    show(record)
                    for line in outcome_lines(record):
                        out.print(line)

    show = _Changes(lambda record: out.print(state_line(record)))
    asyncio.run(play())
    if not quiet:
        orders = sum(len(item.outcomes) + len(item.perpetuals) for item in records)
        out.print(f"{_many(len(records), 'block')} decided on, {_many(orders, 'order')}")
    return {"steps": [step_document(item) for item in records]}


class _Changes:
    """Shows a step when a tier changed."""

    def __init__(self, show: Any) -> None:
        self._show = show
        self._tiers: dict[str, str] | None = None

    def __call__(self, record: "StepRecord") -> None:
        tiers = {group.group: group.tier.name for group in record.decision.groups}
        if tiers != self._tiers:
            self._show(record)
        self._tiers = tiers


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
