"""``scripts/campaign soak``: does the bot stay small, and see every head, while its world fails by chance?

The bot is the production command over three providers. Each turn mines a block; by chance providers fail in
the ways of tests/faults and prices move. In the first third the bot is ended and started again, by signal or
by kill; the slopes are those of its last run, from when it is warm. Memory, handles and sockets are those of
/proc, the log is its own file.

A provider that is late keeps connections busy, and others are opened meanwhile: up to the bound of the pool
that each provider has, and there they stay, used in turn. They are counted apart, against that bound; of all
other handles what is opened must be closed again.
"""

import asyncio
import math
import os
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from commands import CommandServer
from faults import faults
from faults.proxy import Fault

from bot.devnet.node import start_devnet
from bot.settings import cache_dir
from campaign.case import unless
from campaign.parts import Figures, Options
from campaign.rig import PROVIDERS, Rig, open_rig

MINUTES = 5.0
_RESTARTS = 3
_LEAST_SAMPLES = 8
_SAMPLE_EVERY = 10  # polls
_MIB = 2**20
_FAULTS: Sequence[Fault] = (
    faults.Refused(),
    faults.Late(delay_s=0.2, spread_s=0.3),
    faults.CutBody(),
    faults.Rubbish(kind="html"),
    faults.Ids(kind="wrong"),
    faults.Batch(kind="short"),
    faults.Result(value=None),
    faults.Limited(status=429),
    faults.Head(lag=3),
)


class Sample(NamedTuple):
    at_s: float
    polls: int
    rss_mib: float
    handles: int  # other than connections to providers
    connections: int  # to the provider that has the most
    log_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.polls:>6} polls  {self.rss_mib:7.1f} MiB  {self.handles:3} handles  "
            f"{self.connections:3} connections  {self.log_bytes / 1e3:8.1f} kB of log"
        )


def sample(pid: int, polls: int, log: Path, ports: Collection[int]) -> Sample:
    """Measure a process from outside. ``ports`` are those of its providers."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    links = [_link(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    port_of = _remote_ports(pid)
    to_providers = Counter(port for link in links if (port := port_of.get(link)) in ports)
    return Sample(
        at_s=time.monotonic(),
        polls=polls,
        rss_mib=pages * os.sysconf("SC_PAGE_SIZE") / _MIB,
        handles=len(links) - to_providers.total(),
        connections=max(to_providers.values(), default=0),
        log_bytes=sum(path.stat().st_size for path in log.parent.glob(log.name + "*")),
    )


def _remote_ports(pid: int) -> dict[str, int]:
    """Return the port at the other end of each TCP socket, by the name that its handle has (proc(5))."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]": int(row[2].partition(":")[2], 16) for row in rows}


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:  # closed meanwhile
        return ""


async def soaked(rig: Rig, *, minutes: float) -> Figures:
    """Run and fail the bot of a rig for so long; return the figures. Prints a line for every tenth sample.

    On a machine that does other things it takes longer, until there is enough to draw a line through.
    """
    log, began_s = rig.home.folder.parent / "soak.log", time.monotonic()
    end_s = began_s + 60.0 * minutes
    restarts = sorted(began_s + rig.random.uniform(0.05, 0.3) * 60.0 * minutes for _ in range(_RESTARTS))
    await rig.start_signer()
    await rig.start_bot("run", "--live", "--log-file", str(log))
    ports = {port for proxy in rig.proxies if (port := urlsplit(proxy.url).port) is not None}
    polls, late, samples = 0, 0, list[Sample]()
    while time.monotonic() < end_s or len(samples) < _LEAST_SAMPLES:
        if restarts and time.monotonic() > restarts[0]:
            restarts.pop(0)
            await rig.end("bot", rig.random.choice((signal.SIGTERM, signal.SIGKILL)))
            await rig.start_bot("run", "--live", "--log-file", str(log))
            samples = []
        await _happen(rig, polls)
        polls += 1
        if not await rig.step(within_s=10.0):
            late += 1
            if not rig.bot.is_alive:
                raise AssertionError(f"the bot ended after {polls} polls: {rig.bot.err[-600:]}")
        elif polls % _SAMPLE_EVERY == 0:
            samples.append(sample(rig.bot.pid, polls, log, ports))
            if polls % (10 * _SAMPLE_EVERY) == 0:
                print(samples[-1], flush=True)
    rig.fail(None)
    settled = await rig.step(2)
    found = await rig.audit(is_at_rest=False)
    return _figures(samples, polls=polls, late=late, minutes=minutes, verdicts=found, settled=settled)


async def _happen(rig: Rig, polls: int) -> None:
    """Let something happen to the world, or end."""
    chance = rig.random.random()
    if chance < 0.10:
        rig.fail(rig.random.choice(_FAULTS), of=[rig.random.randrange(PROVIDERS)])
    elif chance < 0.30:
        rig.fail(None)
    if polls % 20 == 10:
        await rig.move_price(2_000.0 * (1.0 + rig.random.uniform(-0.01, 0.01)))


def _figures(
    samples: Sequence[Sample],
    *,
    polls: int,
    late: int,
    minutes: float,
    verdicts: dict[str, list[str]],
    settled: bool,
) -> Figures:
    steady = samples[len(samples) // 4 :]
    if len(steady) < 2:
        raise AssertionError(f"{minutes:g} minutes gave {len(samples)} samples: run it for longer")
    hours = [item.at_s / 3_600.0 for item in steady]
    slope, _ = statistics.linear_regression(hours, [item.rss_mib for item in steady])
    first, last = steady[0], steady[-1]
    problems = [text for name, texts in verdicts.items() if name != "I5" for text in texts]
    problems += unless(settled, "it did not go on when the faults were over")
    return {
        "soak_minutes": minutes,
        "soak_polls": polls,
        "soak_polls_late": late,
        "soak_rss_mib": round(last.rss_mib, 1),
        "soak_rss_mib_grown": round(last.rss_mib - first.rss_mib, 1),
        "soak_rss_mib_per_hour": round(slope, 2),
        "soak_fds_grown": last.handles - first.handles,
        "soak_connections_most": max(item.connections for item in samples),
        "soak_log_bytes_per_poll": round((last.log_bytes - first.log_bytes) / (last.polls - first.polls)),
        "soak_heads_lost": len(verdicts.get("I5", ())),
        "soak_problems": len(problems),
        "soak_where": problems,
    }


def run(options: Options) -> Figures:
    """Soak for ``options.minutes``, under seed 1 or ``options.repeats``."""
    figures = asyncio.run(_run(options.minutes or MINUTES, seed=options.repeats or 1))
    for name, value in figures.items():
        print(f"{name:26} {value if not isinstance(value, float) or math.isfinite(value) else '-'}")
    return figures


async def _run(minutes: float, *, seed: int) -> Figures:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    devnet = await start_devnet(cache_dir(), states_kept=1_000_000)
    try:
        with tempfile.TemporaryDirectory(prefix="alvh-soak-") as scratch:
            folder = Path(scratch)
            (folder / "commands").mkdir()
            with CommandServer(folder / "commands") as server:
                async with open_rig(devnet.rpc_url, devnet.deployment, server, folder, seed=seed) as rig:
                    return await soaked(rig, minutes=minutes)
    finally:
        devnet.stop()
