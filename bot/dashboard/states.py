"""What stands above everything else: the state in one sentence, and what keeps the bot from its work."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bot.dashboard.past import tier_of
from bot.dashboard.shown import duration
from bot.dashboard.snapshot import Place, Snapshot
from bot.model.hedge import LegStatus
from bot.model.tier import Quality, Tier
from bot.simulation.wording import budget_names, usd, when

_ALARM = "R2"  # a finding of no group by this rule: a health factor
_SILENT_STEPS = 5.0  # of the chain's poll, without a row: something is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that a person should know first. ``kind`` is its weight: stop, warn or note."""

    kind: str
    word: str  # "HALTED"
    text: str
    command: str = ""  # what ends it, where a command does


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The state in one sentence for each hedge group."""

    word: str
    tier: Tier | None  # None: nothing was decided yet
    sentences: tuple[tuple[str, Tier, str], ...]  # group, its tier, why
    lead: str = ""


def headline(place: Place, seen: Snapshot) -> Headline:
    """Return what is to be read first."""
    if seen.last is None:
        word = "No record yet" if not seen.problem else "The journal cannot be read"
        lead = seen.problem or (
            f"No {place.mode} run has written a step into {place.state_dir}. Start one, and this page fills "
            "by itself."
        )
        return Headline(word=word, tier=None, sentences=(), lead=lead)
    groups = seen.last.decision.groups
    if not groups:
        return Headline(
            word="Nothing to protect",
            tier=None,
            sentences=(),
            lead="No position is configured or found: add one under [[positions]] in the configuration.",
        )
    ordered = sorted(groups, key=lambda item: -item.shown_tier)
    return Headline(
        word=tier_of(seen.last).name,
        tier=tier_of(seen.last),
        sentences=tuple((item.group, item.shown_tier, item.because) for item in ordered),
    )


def notices(place: Place, seen: Snapshot) -> list[Notice]:
    """Return what is to be known before the rest, the gravest first."""
    found = [*_stops(place, seen), *_trust(place, seen)]
    if seen.last is not None:
        found += [*_alarms(seen), *_spent(seen), *_degraded(seen), *_waiting(seen), *_warming(seen)]
        found += _out_of_range(seen)
    order = {"stop": 0, "warn": 1, "note": 2}
    return sorted(found, key=lambda item: order[item.kind])


def _stops(place: Place, seen: Snapshot) -> Iterator[Notice]:
    for halt in seen.halts:
        text = (
            f"Chain {halt.chain_id}, since {when(halt.since_s)} UTC: {halt.why}. Held hedges are still "
            "followed, closed and settled; nothing is opened until a person has looked."
        )
        yield Notice(kind="stop", word="HALTED", text=text, command=place.command("release"))
    if seen.pause is not None:
        text = (
            f"{str(seen.pause)[:1].upper()}{str(seen.pause)[1:]}. Nothing is opened; closing, settling and "
            "claims go on."
        )
        yield Notice(kind="stop", word="PAUSED", text=text, command=place.command("resume"))
    if seen.last is not None:
        for hold in seen.last.decision.holds:
            if seen.pause is None or not hold.startswith("paused by"):
                yield Notice(kind="warn", word="HOLD", text=f"{hold}. Nothing is opened meanwhile.")


def _trust(place: Place, seen: Snapshot) -> Iterator[Notice]:
    if seen.problem and seen.last is not None:
        text = f"{seen.problem}. What is shown is the last that was read."
        yield Notice(kind="stop", word="JOURNAL UNREADABLE", text=text)
    if seen.history_problem:
        text = f"{seen.history_problem}. Ages of blocks, gaps and halts are the last that were read."
        yield Notice(kind="warn", word="HISTORY UNREADABLE", text=text)
    if seen.last is None:
        if not seen.problem:
            mode = {"live": "run --live", "dry-run": "run"}.get(place.mode, place.mode)
            yield Notice(
                kind="note",
                word="FIRST RUN",
                text="Nothing runs yet. This begins a run in this mode:",
                command=place.command(mode),
            )
        return
    if not seen.running:
        signs = place.mode in ("live", "demo")
        meanwhile = "Held hedges stay on chain and nobody manages them" if signs else "Nothing is watched"
        text = (
            f"No {place.mode} bot is running: this is its last record, of {when(seen.last.decision.now_s)} "
            f"UTC. {meanwhile} meanwhile."
        )
        yield Notice(kind="stop" if seen.held else "warn", word="NOT RUNNING", text=text)
        return
    silent_s = seen.looked_at_s - seen.written_at_s
    if silent_s > max(60.0, _SILENT_STEPS * place.poll_s):
        text = f"The last step was written {duration(silent_s)} ago: node or chain may stand still."
        yield Notice(kind="warn", word="STALE", text=text, command=place.command("doctor"))


def _alarms(seen: Snapshot) -> Iterator[Notice]:
    """Yield health factors that are too low, and protocols that are not calm: options pay for neither."""
    if seen.last is None:
        return
    said = (seen.full or seen.last).decision
    for finding in said.findings:
        if finding.fired and finding.rule == _ALARM:
            yield Notice(kind="stop", word=f"ALARM {finding.rule}", text=f"{finding.because}.")
    causes = {item.protocol: item.findings for item in said.protocols}
    for item in seen.last.decision.protocols:
        if item.tier is Tier.CALM:
            continue
        why = "; ".join(each.because for each in causes.get(item.protocol, ()) if each.fired and each.tier)
        behind = ", ".join(item.groups) or "no position"
        verb = "depend" if len(item.groups) > 1 else "depends"
        text = f"{item.protocol} is {item.tier.name}{f': {why}' if why else ''}. {behind} {verb} on it."
        yield Notice(kind="stop" if item.tier >= Tier.SEVERE else "warn", word="PROTOCOL", text=text)


def _out_of_range(seen: Snapshot) -> Iterator[Notice]:
    prices = seen.last.spot_usd if seen.last is not None else {}
    for item in seen.exposures:
        spot_usd = prices.get(item.underlying, math.nan)
        if math.isfinite(spot_usd) and not item.shape.contains(spot_usd):
            text = (
                f"{item.id} earns no fees: {item.underlying} is at {usd(spot_usd)}, its range is "
                f"{item.shape.lower_usd:,.0f} to {item.shape.upper_usd:,.0f}."
            )
            yield Notice(kind="note", word="OUT OF RANGE", text=text)


def _spent(seen: Snapshot) -> Iterator[Notice]:
    if seen.last is None:
        return
    limits = seen.last.decision.limits
    for words, cap, used in budget_names(limits):
        if limits[cap] > 0.0 and limits[used] >= 0.999 * limits[cap]:
            text = (
                f"What may be spent {words} is used up: {usd(limits[used])} of {usd(limits[cap])}. What is "
                "missing stays missing until a part of it frees."
            )
            yield Notice(kind="warn", word="BUDGET USED UP", text=text)


def _degraded(seen: Snapshot) -> Iterator[Notice]:
    if seen.last is None:
        return
    for group in seen.last.decision.groups:
        if group.degraded:
            text = (
                f"{group.group}: too few live sources for {', '.join(group.degraded)}. Its protection is "
                "kept at GUARDED or above, and what these signals would warn of is not seen."
            )
            yield Notice(kind="warn", word="DEGRADED", text=text)


def _waiting(seen: Snapshot) -> Iterator[Notice]:
    if seen.last is None:
        return
    proposed = [item for item in seen.last.outcomes if item.status is LegStatus.PROPOSED]
    if proposed:
        text = (
            f"{len(proposed)} order{'s wait' if len(proposed) > 1 else ' waits'} for signatures of the "
            "Safe's owners. Its budget is reserved until then."
        )
        yield Notice(kind="warn", word="SIGNATURES WANTED", text=text)
    if seen.asked:
        yield Notice(kind="note", word="ASKED", text=f"Waits for the next step: {'; '.join(seen.asked)}")


def _warming(seen: Snapshot) -> Iterator[Notice]:
    readings = seen.full.decision.readings if seen.full is not None else ()
    warming = [item for item in readings if item.quality is Quality.WARMING]
    if warming:
        ends = [item.warm_at_s for item in warming if math.isfinite(item.warm_at_s)]
        until = f", the last until {when(max(ends))} UTC" if ends else ""
        count = len({item.signal for item in warming})
        which = "1 signal has" if count == 1 else f"{count} signals have"
        text = f"{which} too short a history to vote{until}."
        yield Notice(kind="note", word="WARMING", text=text)
