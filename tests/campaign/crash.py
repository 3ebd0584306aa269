"""A true crash with something out of order: how many polls until it is protected (D6, G9).

ETH falls by 60 % within three polls of 30 s of chain time: the feed, both pools, Lyra's spot and its vols.
Under each seed one thing fails besides. The bot is the production command with its signer, over 35 days of
calm history. Counted is from the poll at which two independent sources are over R2's threshold on the chain,
as read here and not by the bot, to the poll at which the first purchase after the crash began was sent.
"""

import asyncio
import math
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from commands import Home
from faults.faults import Frozen, Late, Liar, Limited, Refused

from bot.app.live import open_bot
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.history import history
from bot.devnet.market import MarketMover, _split_by_gas
from bot.devnet.moves import lyra, pools
from bot.devnet.moves.wire import Ledger, Tx, View, read_all
from bot.devnet.scenarios import START_USD, MarketPoint, playable
from bot.model.hedge import Side
from bot.pipeline.history import History
from bot.pipeline.journal import SqlJournal
from bot.settings import load_settings
from campaign.case import Lab
from campaign.parts import Options
from campaign.rig import Rig
from campaign.spread import spread

RUNS = 100
POLL_S = 30
FALLS = (0.25, 0.5, 0.6)  # of the price at the first polls; it stays at the last
ALLOWED_POLLS = 3
_THRESHOLD = 0.08  # R2, classic
_TWAP_S = 1_800
_LONGEST_POLLS = 16
_STEP_WITHIN_S = 25.0  # of our clock: less than the poll that it stands for
_BASE_FEE_WEI = 10**8


class Market(MarketMover):
    """Moves the devnet within one poll."""

    _traded_usd = START_USD  # what the pools stand at

    async def poll(self, usd: float, *, iv: float = 0.8, base_fee_wei: int = _BASE_FEE_WEI) -> None:
        """Bring every price to ``usd`` in the blocks of one poll, the feed with the last of them."""
        async with Ledger(self._rpc) as ledger:
            if self._start is None:
                await self._begin(ledger, base_fee_wei)
            at_s = ledger.head_s + POLL_S
            point = MarketPoint(
                at_s=at_s, eth_usd=usd, pool_gap=0.0, funding_premium=0.0, iv_7d=iv, iv_30d=iv * 0.9,
                iv_90d=iv * 0.8, lp_share=1.0, stable_usd=1.0, base_fee_wei=base_fee_wei,
            )  # fmt: skip
            blocks = _split_by_gas(await self._transactions(point))
            for number, block in enumerate(blocks, start=1):
                when_s = at_s - POLL_S + POLL_S * number // len(blocks)
                await ledger.mine(block, at_s=when_s, base_fee_wei=base_fee_wei)
            await ledger.check()

    async def spot(self, usd: float) -> None:
        """Move both pools of ETH alone, in one block."""
        state = await self._read(0)
        place = self._deployment
        await self._mine(
            [
                *pools.v2_swap(place, state.v2, price=usd),
                *self._eth.swap(place, sqrt_now=state.v3_sqrt, price=usd),
            ]
        )

    async def flash(self, usd: float) -> None:
        """Move the v3 pool there and back within one block."""
        state, place, there = await self._read(0), self._deployment, self._eth.sqrt_price_x96(usd)
        out = self._eth.swap(place, sqrt_now=state.v3_sqrt, price=usd)
        await self._mine([*out, *self._eth.swap(place, sqrt_now=there, price=START_USD)])

    async def stable(self, usd: float) -> None:
        """Move the pool in which the settlement token is bought."""
        state = await self._read(0)
        await self._mine(self._stable.swap(self._deployment, sqrt_now=state.stable_sqrt, price=usd))

    async def _mine(self, transactions: list[Tx]) -> None:
        async with Ledger(self._rpc) as ledger:
            await ledger.mine(transactions, at_s=ledger.head_s + 12, base_fee_wei=_BASE_FEE_WEI)
            await ledger.check()

    async def _transactions(self, point: MarketPoint) -> list[list[Tx]]:
        state, place = await self._read(point.at_s), self._deployment
        vols, greeks = self._options(state, point)
        trades = (
            []
            if point.eth_usd == self._traded_usd
            else [
                *pools.v2_swap(place, state.v2, price=point.eth_usd),
                *self._eth.swap(place, sqrt_now=state.v3_sqrt, price=point.eth_usd),
            ]
        )
        self._traded_usd = point.eth_usd
        return [[lyra.spot_update(place, price=point.eth_usd), *trades], vols, [*greeks, self._answer(point)]]


# what fails besides


async def _nothing(_: Rig) -> None:
    return


def _provider(fault: Any) -> Callable[[Rig], Awaitable[None]]:
    async def fail(rig: Rig) -> None:
        rig.fail(fault, of=[rig.random.randrange(3)])

    return fail


async def _frozen(rig: Rig) -> None:
    rig.fail(Frozen(number=await rig.head()), of=[rig.random.randrange(3)])


async def _restart_signer(rig: Rig) -> None:
    await rig.end("signer", signal.SIGKILL)
    await rig.start_signer()


async def _restart_bot(rig: Rig) -> None:
    await rig.end("bot", signal.SIGKILL)
    await rig.start_bot()


FAULTS: Mapping[str, Callable[[Rig], Awaitable[None]]] = {
    "nothing": _nothing,
    "a provider is down": _provider(Refused()),
    "a provider is late": _provider(Late(delay_s=0.7)),
    "a provider lies": _provider(Liar(blocks=40)),
    "a provider asks for a pause": _provider(Limited(status=429)),
    "a provider stands still": _frozen,
    "gas is fifty times as dear": _nothing,
    "the signer is restarted": _restart_signer,
    "the bot is restarted": _restart_bot,
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one crash went. Polls are counted from 0, the last one before it."""

    seed: int
    fault: str
    threshold: int  # poll at which two independent sources were over it, 0: none
    protected: int  # poll of the first purchase after the crash began, 0: none
    alarmed: int  # poll at which somebody was told what is missing, 0: none
    said: str

    @property
    def polls(self) -> float:
        """Return polls from threshold to purchase; a purchase before the threshold took none."""
        if not (self.protected and self.threshold):
            return math.inf
        return max(self.protected - self.threshold, 0)

    @property
    def is_right(self) -> bool:
        told = self.alarmed and self.alarmed <= max(self.threshold, 1) + ALLOWED_POLLS
        return self.polls <= ALLOWED_POLLS or bool(told)


async def crash(rig: Rig, warm: Path, fault: str) -> Run:
    """Let one crash happen."""
    patient(rig.home)
    shutil.copy(warm, rig.home.folder / f"history-{CHAIN_ID}.sqlite")
    market = Market(rig.chain, rig.at)
    await rig.start_signer()
    await rig.start_bot()
    calm = 3
    for _ in range(calm):
        await _poll(rig, market, START_USD)
    bought, began_s = _purchases(rig), time.monotonic()
    before_tick = await _mean_tick(rig)
    threshold = protected = alarmed = 0
    at_fault = rig.random.randrange(1, 4)
    for poll in range(1, _LONGEST_POLLS + 1):
        if poll == at_fault:
            await FAULTS[fault](rig)
        dear = 50 if fault.startswith("gas") and poll >= at_fault else 1
        fall = FALLS[min(poll, len(FALLS)) - 1]
        await _poll(rig, market, START_USD * (1.0 - fall), iv=0.8 + fall, base_fee_wei=_BASE_FEE_WEI * dear)
        fell = -math.expm1(-abs(await _mean_tick(rig) - before_tick) * math.log(1.0001))
        threshold = threshold or (poll if min(fall, fell) > _THRESHOLD else 0)
        protected = protected or (poll if _purchases(rig) > bought else 0)
        # That something is not protected is no reason: it is said of every target until it is bought.
        told = [item for item in rig.alarms.since(began_s) if item.kind != "shortfall"]
        alarmed = alarmed or (poll if told else 0)
        if protected or (threshold and poll >= threshold + 2 * ALLOWED_POLLS):
            break
    last = rig.last()
    said = "; ".join((*last.decision.holds, *(item.because for item in last.decision.groups))) if last else ""
    return Run(
        seed=rig.seed, fault=fault, threshold=threshold, protected=protected, alarmed=alarmed, said=said
    )


async def _poll(
    rig: Rig, market: Market, usd: float, *, iv: float = 0.8, base_fee_wei: int = _BASE_FEE_WEI
) -> None:
    """One poll: the bot sees the last of its blocks alone, and decides before the next."""
    stopped = rig.bot.pid
    os.kill(stopped, signal.SIGSTOP)
    try:
        await market.poll(usd, iv=iv, base_fee_wei=base_fee_wei)
        head = await rig.head()
    finally:
        os.kill(stopped, signal.SIGCONT)
    await rig.until(lambda: _decided_at(rig) >= head, within_s=_STEP_WITHIN_S)


def _decided_at(rig: Rig) -> int:
    last = rig.last()
    return last.decision.blocks.get(CHAIN_ID, 0) if last else 0


def _purchases(rig: Rig) -> int:
    """Count purchases that were sent, whatever became of them."""

    def count(journal: SqlJournal) -> int:
        legs = [*journal.open_legs(), *(item.leg for item in journal.outcomes())]
        sent = {item.leg_key for item in journal.intents() if item.raw}
        return len({leg.key for leg in legs if leg.side is Side.BUY and leg.key in sent})

    return rig.journalled(count, 0)


async def _mean_tick(rig: Rig) -> float:
    """Return the mean tick of the pool's last half hour, from the pool itself."""
    view = View(rig.at.v3_pool, "observe(uint32[])", ([_TWAP_S, 0],), ("int56[]", "uint160[]"))
    ((ticks, _),) = await read_all(rig.chain, rig.at.multicall3, [view])
    return (ticks[1] - ticks[0]) / _TWAP_S


# many of them


def run(options: Options) -> dict[str, Any]:
    """Crash under each seed; return the figures."""
    return figures(spread(_runs, range(1, (options.repeats or RUNS) + 1), jobs=options.jobs))


def _runs(seeds: Sequence[int]) -> list[Run]:
    """Crash under these seeds, on a devnet of this process."""
    from campaign import runner  # it imports the cases, and one of them is this

    runner._begin()
    return asyncio.run(_run(seeds))


async def _run(seeds: Sequence[int]) -> list[Run]:
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="alvh-crash-") as folder:
        warm = Path(folder) / "warm.sqlite"
        await warm_history(_lab(Path(folder), 0), warm)
        for seed in seeds:
            fault = tuple(FAULTS)[(seed - 1) % len(FAULTS)]
            started_s = time.monotonic()
            async with _lab(Path(folder), seed).rig() as rig:
                found = await crash(rig, warm, fault)
            runs.append(found)
            _say(found, time.monotonic() - started_s)
    return runs


def figures(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the runs show. A crash that was never protected takes for ever; None stands for that."""
    polls = sorted(item.polls for item in runs)
    late = [item for item in runs if not item.polls <= ALLOWED_POLLS]
    return {
        "crash_runs": len(runs),
        "polls_to_protect_p50": _known(statistics.median(polls)),
        "polls_to_protect_p95": _known(polls[math.ceil(0.95 * len(polls)) - 1]),
        "protected": sum(math.isfinite(item) for item in polls),
        "alarmed_instead": sum(item.is_right for item in late),
        "crash_wrong": sum(not item.is_right for item in runs),
    }


def _known(polls: float) -> float | None:
    return polls if math.isfinite(polls) else None


def _lab(folder: Path, seed: int) -> Lab:
    from campaign import runner

    world = runner._world
    place = Path(tempfile.mkdtemp(dir=folder, prefix=f"run-{seed}-"))
    return Lab(id="D6", seed=seed, rpc_url=world["url"], at=world["at"], server=world["server"], folder=place)


def patient(home: Home) -> None:
    """Give providers time: three of them are in this very process, on a machine that does other things."""
    home.change(r"timeout_s = 1\.0", "timeout_s = 5.0")


async def warm_history(lab: Lab, to: Path) -> None:
    """Write 35 days of calm that end at what the watchers read now: every run begins with a copy."""
    async with lab.rig() as rig:
        patient(rig.home)
        settings = load_settings(rig.home.config)
        async with open_bot(settings, mode="monitor") as bot:
            head = await bot.reader.head()
            probe = replace(bot.source, history=History())
            first = await probe.cut(head, now_s=bot.source.clock(head))
            levels = {
                key: float(column.values[-1])
                for key, column in first.columns.series.items()
                if column.values.size and math.isfinite(column.values[-1])
            }
            rows = history(playable("calm"), 7, levels=levels, end_s=int(head.timestamp_s))
            bot.source.history.append(rows)
            bot.source.history.flush()
        shutil.copy(rig.home.folder / f"history-{CHAIN_ID}.sqlite", to)


def _say(found: Run, taken_s: float) -> None:
    polls = f"{found.polls:.0f} polls" if math.isfinite(found.polls) else "NOT PROTECTED"
    told = f", told at poll {found.alarmed}" if found.alarmed else ""
    print(
        f"seed {found.seed:<4} {found.fault:30} threshold at poll {found.threshold}, {polls}{told} "
        f"({taken_s:.0f} s){'' if found.is_right else '  WRONG: ' + found.said[:300]}",
        flush=True,
    )
