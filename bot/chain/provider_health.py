"""How one provider has behaved and whether it may be asked. Pure: every time is given, seconds."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

FAILURES_TO_BENCH: Final = 2  # in a row (REL-R2: benched within two polls)
DISSENTS_TO_BENCH: Final = 3  # within DISSENT_WINDOW_S
DISSENT_WINDOW_S: Final = 600.0
FIRST_PAUSE_S: Final = 1.0  # doubles up to the longest
LONGEST_PAUSE_S: Final = 60.0
IN_NEED_PAUSE_S: Final = 5.0  # of one that refuses or is of another chain, when too few are left
DISSENT_PAUSE_S: Final = 60.0  # doubles up to the longest of its kind
LONGEST_DISSENT_PAUSE_S: Final = 3_600.0
FORGIVEN_AFTER_S: Final = 600.0  # of good conduct, after which pauses begin short again
_NEW_SHARE = 0.2  # of the newest sample in the running latency


class Bench(StrEnum):
    """Why a provider is not asked."""

    FAILS = "fails"
    REFUSES = "refuses"  # the key or the plan
    WRONG_CHAIN = "wrong chain"
    DISSENTS = "dissents"
    OFF_HEAD = "off head"  # behind the others, or far ahead of all of them


@dataclass(slots=True, kw_only=True)
class ProviderHealth:
    """Changes only by the methods below.

    A provider is usable when its chain id was checked and nothing benches it. A bench ends with a pause and
    a probe; being off the head ends when a later head is near enough.
    """

    bench: Bench | None = None
    because: str = ""
    benched_at_s: float = 0.0
    paused_until_s: float = 0.0
    quiet_until_s: float = 0.0  # it asked not to be called; nothing overrides that
    checked_at_s: float | None = None  # when its chain id was last seen to be right
    failures: int = 0  # in a row
    latency_s: float = float("nan")  # running mean; NaN until it answered once
    head: int | None = None
    pauses: int = 0  # in a row; each doubles the next
    dissents: deque[float] = field(default_factory=deque)

    def is_usable(self, now_s: float) -> bool:
        return self.bench is None and self.checked_at_s is not None and not self.is_quiet(now_s)

    def is_quiet(self, now_s: float) -> bool:
        return now_s < self.quiet_until_s

    def may_be_probed(self, now_s: float, *, in_need: bool = False) -> bool:
        """Whether to ask it who it is.

        ``in_need``: too few are left, so that pauses for failures end now, and others but for dissent soon:
        a minute more of blindness after the fault has ended would be of our own making.
        """
        if self.is_quiet(now_s) or self.bench is Bench.OFF_HEAD:
            return False
        if self.bench is None:
            return self.checked_at_s is None
        if in_need and self.bench is not Bench.DISSENTS:
            short_s = 0.0 if self.bench is Bench.FAILS else IN_NEED_PAUSE_S
            return now_s >= min(self.paused_until_s, self.benched_at_s + short_s)
        return now_s >= self.paused_until_s

    def answered(self, latency_s: float) -> None:
        self.failures = 0
        known = self.latency_s == self.latency_s
        self.latency_s = (1 - _NEW_SHARE) * self.latency_s + _NEW_SHARE * latency_s if known else latency_s

    def failed(self, because: str, now_s: float) -> bool:
        """Count a failure; returns whether that benched it."""
        self.failures += 1
        if self.bench in (None, Bench.OFF_HEAD) and self.failures < FAILURES_TO_BENCH:
            return False
        return self.put_out(Bench.FAILS, because, now_s)

    def put_out(self, bench: Bench, because: str, now_s: float) -> bool:
        """Bench it for a pause that grows from time to time; returns whether this is news."""
        is_news = self.bench is not bench
        first, longest = (
            (DISSENT_PAUSE_S, LONGEST_DISSENT_PAUSE_S)
            if bench is Bench.DISSENTS
            else (FIRST_PAUSE_S, LONGEST_PAUSE_S)
        )
        if now_s - self.paused_until_s > FORGIVEN_AFTER_S:
            self.pauses = 0
        self.bench, self.because = bench, because
        self.checked_at_s = None
        self.benched_at_s = now_s
        self.paused_until_s = now_s + min(first * 2.0 ** min(self.pauses, 30), longest)
        self.pauses += 1
        return is_news

    def asked_for_pause(self, pause_s: float, now_s: float) -> None:
        self.quiet_until_s = max(self.quiet_until_s, now_s + pause_s)

    def proved_chain(self, now_s: float, *, is_probe: bool) -> None:
        """It answered with the right chain id. A probe ends every bench but that of the head."""
        if is_probe and self.bench is not Bench.OFF_HEAD:
            self.bench, self.because = None, ""
            self.failures = 0
        if self.bench in (None, Bench.OFF_HEAD):  # else it was benched while this was on its way
            self.checked_at_s = now_s

    def showed_head(self, number: int, *, problem: str) -> bool:
        """Note its head; ``problem`` says why it may not be used. Returns whether that is news."""
        self.head = number
        if problem:
            is_news = self.bench is not Bench.OFF_HEAD
            self.bench, self.because = Bench.OFF_HEAD, problem
            return is_news
        if self.bench is Bench.OFF_HEAD:
            self.bench, self.because = None, ""
        return False

    def dissented(self, because: str, now_s: float) -> bool:
        """Count an answer that the others contradict; returns whether that benched it."""
        while self.dissents and now_s - self.dissents[0] > DISSENT_WINDOW_S:
            self.dissents.popleft()
        self.dissents.append(now_s)
        if len(self.dissents) < DISSENTS_TO_BENCH:
            return False
        self.dissents.clear()
        return self.put_out(Bench.DISSENTS, because, now_s)
