"""`alvh download-data`: public history into the files that `alvh backtest` reads.

Every page that arrives is appended to a part file with its checksum and synced, so Ctrl-C, a cut line or a
power cut loses at most one page. When a file is done, or the download stops, its parts and what was there
before become one gzip file that replaces the old one in one step. A later call goes on from the last row.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.app.download_feeds import Feed, Hosts, Page, feeds_for
from bot.app.download_files import HistoryFile, only_writer
from bot.errors import ConfigError, TransientError
from bot.model.units import DAY_S, iso_utc, parse_utc_s
from bot.watchers.web.client import WebClient, rates_of

WHAT = ("prices", "perps", "funding", "dvol", "tvl", "macro")
UNDERLYINGS = ("ETH", "BTC")
_CALL_S = 60.0  # a page of a large protocol is several megabytes

Progress = Callable[[str, float], None]  # what is loaded, and the share of it that is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What is asked for."""

    out: Path
    from_s: float
    to_s: float
    what: tuple[str, ...] = WHAT
    underlyings: tuple[str, ...] = UNDERLYINGS
    protocols: tuple[str, ...] = ()  # DefiLlama slugs, for tvl
    contact: str = ""
    hosts: Hosts = field(default_factory=Hosts)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.what) - set(WHAT))
        if unknown or not self.what:
            raise ConfigError(f"--what must be of {', '.join(WHAT)}, was {', '.join(unknown) or 'empty'}")
        wrong = sorted(set(self.underlyings) - set(UNDERLYINGS))
        if wrong or not self.underlyings:
            raise ConfigError(
                f"--underlying must be of {', '.join(UNDERLYINGS)}, was {', '.join(wrong) or 'empty'}"
            )
        if not self.from_s < self.to_s:
            raise ConfigError(
                f"--from must be before --to, was {iso_utc(self.from_s)} to {iso_utc(self.to_s)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of one file."""

    file: str
    rows: int  # in the file now
    added: int
    first_s: float  # NaN when it is empty
    last_s: float
    trouble: tuple[str, ...] = ()  # what could not be had, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadResult:
    """What lies in the folder now."""

    out: Path
    files: tuple[FileResult, ...]
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        return not self.interrupted and not any(item.trouble for item in self.files)

    def to_json(self) -> dict[str, object]:
        return {
            "out": str(self.out),
            "complete": self.complete,
            "files": [
                {
                    "file": item.file,
                    "rows": item.rows,
                    "added": item.added,
                    "from": iso_utc(item.first_s) if item.rows else None,
                    "to": iso_utc(item.last_s) if item.rows else None,
                    "trouble": list(item.trouble),
                }
                for item in self.files
            ],
        }


def parse_span(start: str, end: str, *, now_s: float | None = None) -> tuple[float, float]:
    """Return the first and last second of two dates, the end of the last day included, at most now."""
    from_s, to_s = parse_utc_s(start, field="--from"), parse_utc_s(end, field="--to")
    if to_s % DAY_S == 0 and "T" not in end:
        to_s += DAY_S
    limit_s = time.time() if now_s is None else now_s
    if from_s >= limit_s:
        raise ConfigError(f"--from must be in the past, was {iso_utc(from_s)}")
    return float(from_s), min(float(to_s), limit_s)


async def download(plan: Download, *, progress: Progress | None = None) -> DownloadResult:
    """Fetch every file that is asked for. One source that fails is named and does not stop the others.

    When it is cancelled (Ctrl-C) what has arrived is kept, and ``interrupted`` says so.
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {plan.out} cannot be made a folder: {error.strerror}") from None
    with only_writer(plan.out):
        return await _download(plan, progress or (lambda _what, _share: None))


async def _download(plan: Download, progress: Progress) -> DownloadResult:
    by_file: dict[str, list[Feed]] = {}
    for feed in feeds_for(plan.what, plan.underlyings, plan.protocols, plan.hosts):
        by_file.setdefault(feed.file, []).append(feed)
    rates = rates_of(feed for feeds in by_file.values() for feed in feeds)
    results: list[FileResult] = []
    interrupted = False
    async with WebClient(timeout_s=_CALL_S, contact=plan.contact, rates=rates) as web:
        for name, feeds in by_file.items():
            file = HistoryFile.open(plan.out, name, columns=feeds[0].columns, keys=feeds[0].keys)
            result, interrupted = await _fill(file, feeds, plan, web, progress)
            results.append(result)
            if interrupted:
                break
    return DownloadResult(out=plan.out, files=tuple(results), interrupted=interrupted)


async def _fill(
    file: HistoryFile, feeds: Sequence[Feed], plan: Download, web: WebClient, progress: Progress
) -> tuple[FileResult, bool]:
    """Bring one file up to date, and close it whatever happens."""
    before, trouble, interrupted = len(file), [], False
    try:
        for feed in feeds:
            try:
                await _load(file, feed, plan, web, progress)
            except TransientError as error:
                trouble.append(f"{feed.label}: {error}")
    except asyncio.CancelledError:
        interrupted = True
        trouble.append("interrupted; run the same command again to go on")
    finally:
        file.close()
    first_s, last_s = file.span()
    result = FileResult(
        file=file.path.name,
        rows=len(file),
        added=len(file) - before,
        first_s=first_s,
        last_s=last_s,
        trouble=tuple(trouble),
    )
    return result, interrupted


async def _load(file: HistoryFile, feed: Feed, plan: Download, web: WebClient, progress: Progress) -> None:
    """Fetch the parts of the span before and after what the file already has of a feed."""
    spans = file.missing(feed.key, from_s=plan.from_s, to_s=plan.to_s, step_s=feed.step_s)
    whole_s = sum(to_s - from_s for from_s, to_s in spans)
    done_s = 0.0
    progress(feed.label, 0.0 if spans else 1.0)
    for from_s, to_s in spans:
        async for page in _bounded(feed, web, from_s, to_s):
            file.append(feed.key, [row for row in page.rows if from_s <= row.at_s <= to_s])
            share = (done_s + min(max(page.reached_s - from_s, 0.0), to_s - from_s)) / whole_s
            progress(feed.label, share)
        done_s += to_s - from_s
    progress(feed.label, 1.0)


async def _bounded(feed: Feed, web: WebClient, from_s: float, to_s: float) -> AsyncIterator[Page]:
    """Yield the pages of a feed; raise when they do not come nearer to the end."""
    reached_s = from_s - 1.0
    async for page in feed.pages(web, from_s, to_s):
        if page.reached_s <= reached_s:
            raise TransientError("the pages of the source do not go on")
        reached_s = page.reached_s
        yield page
