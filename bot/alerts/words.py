"""The words of messages: of a change, of a digest, of the daily word, of what goes wrong between steps."""

from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from bot.alerts.condition import Condition, Severity, body_of, section_of, sentence
from bot.alerts.message import Message
from bot.alerts.news import Change, Turn
from bot.alerts.schedule import clock_words, lasting_words
from bot.alerts.state import AlertState, TargetState
from bot.alerts.templates import Templates

_DIGEST_CHARACTERS = 3_000  # Telegram takes 4,096 in one message
_PREFIX = {Turn.AGAIN: "again or still: ", Turn.EASED: "eased: ", Turn.OVER: "over: "}


def message_of(
    change: Change, *, mode: str, at_s: float, zone: ZoneInfo, templates: Templates, not_to: str = ""
) -> Message:
    """Return what a person reads of a change."""
    happened, did, could_not, act = _parts(change)
    title = f"{_PREFIX.get(change.turn, '')}{change.title}"
    text = body_of(happened, did, could_not, act, kind=change.kind)
    fields = {
        "mode": mode,
        "kind": change.kind,
        "key": change.key,
        "severity": change.severity.name.lower(),
        "change": change.turn.value,
        "title": title,
        "happened": happened,
        "did": did,
        "could_not": could_not,
        "act": act,
        "runbook": section_of(change.kind),
        "at": clock_words(at_s, zone),
    }
    title, text = templates.written(change.kind, f"[alvh {mode}] {title}", text, fields)
    return Message(
        severity=change.severity,
        about=change.about,
        title=title,
        text=text,
        kind=change.kind,
        key=change.key,
        at_s=at_s,
        not_to=not_to,
    )


def _parts(change: Change) -> tuple[str, str, str, str]:
    """Return what happened, was done, could not be done and is to be done."""
    item = change.condition
    if item is None and change.turn is Turn.EASED:
        return (
            f"it was {change.about.name.lower()} and is better now.",
            "goes on with what is left of it.",
            "look at it any more: it was seen before the last start.",
            "look at alvh status for what holds now.",
        )
    if item is None:
        return (
            f"this {change.about.name.lower()} has ended, it stood for {lasting_words(change.stood_s)}.",
            "goes on as before it.",
            "name anything that is left of it.",
            "nothing.",
        )
    happened = item.happened
    if change.turn is Turn.EASED:
        happened = f"it was {change.about.name.lower()} and is better now. {happened}"
    if change.turn is Turn.AGAIN:
        happened = (
            f"nothing was watched for {lasting_words(change.unwatched_s)}; it stands now, and may have ended "
            f"and come back meanwhile. {happened}"
        )
    return happened, item.did, item.could_not, item.act


def digests_of(messages: Sequence[Message], *, mode: str, at_s: float, zone: ZoneInfo) -> Iterator[Message]:
    """Yield what was gathered in as few messages as services take: a line for each."""
    lines = [f"{clock_words(item.at_s, zone)}  {_short(item.title, mode)}" for item in messages]
    parts: list[list[int]] = [[]]
    size = 0
    for number, line in enumerate(lines):
        if parts[-1] and size + len(line) > _DIGEST_CHARACTERS:
            parts.append([])
            size = 0
        parts[-1].append(number)
        size += len(line) + 1
    for number, part in enumerate(parts, start=1):
        of = f", part {number} of {len(parts)}" if len(parts) > 1 else ""
        since = clock_words(messages[part[0]].at_s, zone)
        plural = "s" if len(part) > 1 else ""
        yield Message(
            severity=max(messages[at].severity for at in part),
            about=max(messages[at].about for at in part),
            title=f"[alvh {mode}] {len(part)} change{plural} since {since}{of}",
            text=body_of(
                "\n".join(lines[at] for at in part),
                "gathered what was not critical, as [alerts] asks for.",
                "leave anything out: each line was a message.",
                "look at alvh status for what holds now.",
                kind="digest",
            ),
            kind="digest",
            key="digest",
            at_s=at_s,
        )


def _short(title: str, mode: str) -> str:
    return title.removeprefix(f"[alvh {mode}] ")


def channel_condition(target: TargetState, key: str, failing_s: float, zone: ZoneInfo) -> Condition:
    """Return that a target takes no alerts."""
    since = clock_words(target.failing_since_s, zone)
    return Condition(
        key=f"channel:{key}",
        severity=Severity.WARNING,
        title=f"{target.name} takes no alerts",
        happened=sentence(f"it fails since {since}, for {lasting_words(failing_s)}: {target.why}"),
        did=f"keeps the {len(target.waiting)} messages that wait for it, and tries again every few minutes.",
        could_not="reach whoever reads there.",
        act="look at the service and its token; alvh alerts test says whether it works again.",
    )


def silence_condition(silent_s: float, why: str) -> Condition:
    """Return that no decision was made for too long."""
    return Condition(
        key="silence",
        severity=Severity.CRITICAL,
        title="silence: the bot decides nothing",
        happened=sentence(f"the last decision is {silent_s:.0f} s old: {why}"),
        did="keeps held hedges as they are, and goes on asking for the next block.",
        could_not="see the market, open, roll or settle anything meanwhile.",
        act="check the node with alvh doctor; exercise by hand what expires before it is back.",
    )


def disagreement_condition(said: str) -> Condition:
    """Return that sources which should say the same do not."""
    return Condition(
        key="disagreement",
        severity=Severity.WARNING,
        title="sources disagree",
        happened=sentence(said),
        did="does not use who is contradicted for a while, and decides nothing that too few vouch for.",
        could_not="tell which of them is right.",
        act="look at each provider with alvh doctor; replace one that is contradicted again and again.",
    )


def stuck_condition(key: str, said: str) -> Condition:
    """Return that a transaction of ours is in no block, and why."""
    return Condition(
        key=f"stuck:{key}",
        severity=Severity.WARNING,
        title="a transaction is held up",
        happened=sentence(said),
        did="goes on offering the same bytes, and opens nothing else before it is decided.",
        could_not="go on with this order, nor pay or offer more than its bounds allow.",
        act="wait for gas to fall or raise execution.max_fee_gwei; see that the account has coin for gas.",
        once=True,
    )


def stall_condition(stalled_s: float, where: str, *, is_over: bool) -> Condition:
    """Return that the program's loop does not come round, or did not."""
    did = "did not" if is_over else "does not"
    return Condition(
        key="stall",
        severity=Severity.CRITICAL,
        title=f"the program {'stood' if is_over else 'stands'} still for {stalled_s:.0f} s",
        happened=sentence(f"its loop {did} come round: {where}"),
        did="nothing: while it stands it neither watches nor sends.",
        could_not="decide, sign or follow a transaction meanwhile.",
        act="if it lasts, end the process (SIGKILL is safe) and start it again; report where it stood.",
        once=True,
    )


def failed_start_condition(why: str, *, is_final: bool) -> Condition:
    """Return that a run ended before its first decision; a supervisor tries again unless ``is_final``.

    It stands until a decision is made, so that however many starts fail alike, one message says so.
    """
    again = "a supervisor does not start it again" if is_final else "a supervisor starts it again by itself"
    return Condition(
        key="stopped:start",
        severity=Severity.CRITICAL,
        title="the bot cannot start",
        happened=sentence(why),
        did="decided nothing and ended.",
        could_not="protect anything: held hedges stay on chain and are not managed.",
        act=f"mend the reason and see that it runs: {again}.",
        level=int(is_final),
    )


def stopped_condition(why: str) -> Condition:
    """Return that a run ended by an error."""
    return Condition(
        key="stopped",
        severity=Severity.CRITICAL,
        title="the bot has stopped",
        happened=sentence(why),
        did="left everything that it decided in the journal.",
        could_not="go on: held hedges stay on chain and are not managed until it is started again.",
        act="mend the reason and start it again; exit codes 1 and 5 are safe to restart by a supervisor.",
        once=True,
    )


def no_room_condition(error: Exception) -> Condition:
    """Return that nothing is decided, for the disk is full. It ends with the next step."""
    return Condition(
        key="silence",
        severity=Severity.CRITICAL,
        title="the disk is full: nothing is decided",
        happened=sentence(str(error)),
        did="stopped deciding: nothing is sent without being on disk first. It watches the chain.",
        could_not="protect anything meanwhile: held hedges stay on chain and are not managed.",
        act="make room on the disk of state_dir; the bot goes on by itself within seconds.",
    )


def alive_message(
    state_words: Sequence[str], alerts: AlertState, *, mode: str, at_s: float, zone: ZoneInfo
) -> Message:
    """Return the daily word. ``state_words`` say how each group stands, a line each."""
    failing = [item.name for item in alerts.targets.values() if item.is_failing]
    return Message(
        severity=Severity.INFO,
        title=f"[alvh {mode}] alive: {clock_words(at_s, zone)}",
        text=body_of(
            "\n".join(state_words) or "no position is protected.",
            f"decides; {len(alerts.standing)} alerts stand.",
            f"reach {', '.join(failing)}." if failing else "name anything that fails.",
            "nothing. When this message does not come, look at the bot.",
            kind="alive",
        ),
        kind="alive",
        key="alive",
        at_s=at_s,
    )
