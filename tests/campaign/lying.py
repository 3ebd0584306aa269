"""Decisions while providers lie: eight kinds of lies, one of three that lies, then two (F14, goal G5).

The program's own providers, reader, watchers, decision, transactions and logs, over members that answer from
one devnet and lie as ``faults.lies`` says. One liar: what comes out is the honest thing, or nothing. Two
are the majority where two must agree, if they lie alike; that is what docs/adr/0006 promises and no more. So
two that lie alike are held by ``agreement = 3``, and two that lie each in its own way by either.

Fees are no matter of votes but of ceilings: a liar may move them within ``execution``'s bounds, never beyond.
"""

import asyncio
import json
import math
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from faults.lies import KINDS, Lie, word
from faults.watch import Watch, open_watch
from send_builders import ADDRESS, CHAIN_ID, GWEI, count, leg, manager, prepare, request, signer

from bot.chain.provider_health import ProviderHealth
from bot.chain.providers import Providers
from bot.chain.raw_transaction import decode_raw
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.config import write_config
from bot.devnet.moves.wire import calldata
from bot.devnet.node import Devnet, start_devnet
from bot.errors import BotError, DisagreementError
from bot.model.market import Metric, SeriesKey
from bot.model.record import StepRecord
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import cache_dir, load_settings
from campaign.parts import Options
from campaign.rig import PROVIDERS
from campaign.spread import spread

WATCHED = ("price", "balance", "block")
SENT = ("nonce", "receipt", "fees", "code")
DECISIONS = 1_000  # of each kind with one liar
TWO_OF_THREE = 40  # of each kind with two
_MOVED_EVERY = 20
_MOST_FEE_WEI, _MOST_TIP_WEI = 2_000 * GWEI, 3 * GWEI


class Member(Rpc):
    """One provider, which may lie. Several stand at one address: each has an identity of its own here."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(url, timeout_s=5.0)
        self.endpoint = self.endpoint._replace(host=f"provider-{number}")
        self.where = f"provider-{number}"
        self.lie: Lie | None = None
        self.lied = 0
        self.tales: set[str] = set()

    async def _post(self, method: str, body: Any) -> Any:
        replies = await super()._post(method, body)
        if isinstance(body, list):
            return [self._told(call, reply) for call, reply in zip(body, replies, strict=True)]
        return self._told(body, replies)

    def _told(self, call: Any, reply: Any) -> Any:
        if self.lie is None:
            return reply
        told = self.lie.told(call, reply)
        if told != reply:
            self.lied += 1
            self.tales.add(json.dumps([call["method"], call.get("params"), told.get("result")]))
        return told


@dataclass(slots=True)
class Tally:
    """What came of the decisions of one kind."""

    made: int = 0
    held: int = 0
    untold: int = 0  # no lie was told, or two the same by chance: not counted as a decision
    wrong: list[str] = field(default_factory=list)


Trial = Callable[[str, Random, int], Awaitable[tuple[bool, list[str]]]]  # (was held, what is wrong)


@dataclass(kw_only=True)
class Trio:
    """Three members, who lies, and what was told of it."""

    members: list[Member]
    node: Providers
    told: list[BotError]
    is_alike: bool = False  # two are to lie alike

    def lies(self, liars: dict[int, Lie]) -> None:
        """Let some lie and forget what was held against them, so that each decision hears them anew."""
        for number, member in enumerate(self.members):
            member.lie, member.lied, member.tales = liars.get(number), 0, set()
        for each in self.node._pool.members:
            each.health = ProviderHealth()
        self.node._pool._told_at_s.clear()
        self.told.clear()

    async def quiet(self) -> None:
        """Wait for calls under way: a send that comes late would be in the next decision's chain."""
        await asyncio.gather(*self.node._pool._late, return_exceptions=True)

    @property
    def lied(self) -> int:
        """How many lies were told; none where two were the same by chance: such two are the majority."""
        told = [tale for member in self.members for tale in member.tales]
        if not self.is_alike and len(set(told)) < len(told):
            return 0
        return sum(member.lied for member in self.members)

    @property
    def was_told(self) -> bool:
        return any(isinstance(item, DisagreementError) or "contradict" in str(item) for item in self.told)


@asynccontextmanager
async def trio(url: str, agreement: int) -> AsyncIterator[Trio]:
    told: list[BotError] = []
    members = [Member(url, number) for number in range(PROVIDERS)]
    node = Providers(members, chain_id=CHAIN_ID, agreement=agreement, on_trouble=told.append)
    try:
        yield Trio(members=members, node=node, told=told, is_alike=agreement == PROVIDERS)
    finally:
        await node.close()


def _liars(kind: str, random: Random, *, two: bool, alike: bool, words: dict[str, int]) -> dict[int, Lie]:
    chosen = random.sample(range(PROVIDERS), 2 if two else 1)
    salt = random.randrange(10**6)
    found = {}
    for place, number in enumerate(chosen):
        own = salt if alike else salt + 1 + place
        factor = 0.3 + 2.0 * Random(own).random()
        false = {true: word(int(value * factor) + 1) for true, value in words.items()}
        found[number] = Lie(kind=kind, salt=own, words=false)
    return found


# decisions of the watching


@dataclass(kw_only=True)
class Watching:
    """Two watches over one chain: of an honest node, and of three of which some lie."""

    devnet: Devnet
    honest: Watch
    watch: Watch
    trio: Trio
    agreement: int

    async def trial(self, kind: str, random: Random, number: int) -> tuple[bool, list[str]]:
        """Decide on one block, with who lies and without; compare."""
        self.trio.lies({})
        if number % _MOVED_EVERY == 0:
            await self._move(random)
        words = await self._words(kind)
        two = self.agreement == 3 or number < 0
        await self.honest.mine()
        true = await self.honest.poll()
        self.trio.lies(_liars(kind, random, two=two, alike=self.agreement == 3, words=words))
        self.watch.rows.clear()
        found = await self.watch.poll()
        lied, told = self.trio.lied, self.trio.was_told
        rows = {row.key: row.value for row in self.watch.rows if math.isfinite(row.value)}
        wrong = []
        if not lied:
            return found is None, ["untold"]
        if found is not None and true is not None:
            expected = {row.key: row.value for row in self.honest.rows}
            wrong += [
                f"{key} was taken for {value}, true is {expected.get(key)}"
                for key, value in rows.items()
                if value != expected.get(key)
            ]
            if found.decision.plan.legs and found.decision.plan.legs != true.decision.plan.legs:
                wrong.append(f"it wants {found.decision.plan.legs}, honest is {true.decision.plan.legs}")
            wrong += _spot_wrongs(found, true, expected)
        self.honest.rows.clear()
        if two and not told:
            wrong.append("two of three lied, and nobody was told")
        held = found is None or bool(found.decision.holds) or not rows
        return held, wrong

    async def _move(self, random: Random) -> None:
        """Let the price be another, as far as a market goes in four minutes."""
        at, chain = self.devnet.deployment, self.honest.chain
        head = await chain.read("eth_getBlockByNumber", ["latest", False])
        price = round(at.start_price_usd * (1.0 + random.uniform(-0.05, 0.05)) * 1e8)
        data = calldata("setAnswer(int256,uint256)", price, int(head["timestamp"], 16))
        call = {"from": at.deployer, "to": at.feed_eth_usd, "data": data, "gas": hex(200_000)}
        await chain.request("eth_sendTransaction", [call], send=True)
        self.honest.time_s = 0

    async def _words(self, kind: str) -> dict[str, int]:
        """Return the word of a call's answer that this kind of lie changes, with its value."""
        at = self.devnet.deployment
        if kind == "price":
            call = {"to": at.feed_eth_usd, "data": "0xfeaf968c"}  # latestRoundData()
            text = (await self.honest.chain.read("eth_call", [call, "latest"]))[2 + 64 : 2 + 128]
        elif kind == "balance":
            call = {"to": at.v2_pair, "data": calldata("balanceOf(address)", at.user)}
            text = (await self.honest.chain.read("eth_call", [call, "latest"]))[2:66]
        else:
            return {}
        return {text: int(text, 16)}


def _spot_wrongs(found: StepRecord, true: StepRecord, expected: Mapping[SeriesKey, float]) -> list[str]:
    """Judge the spot: that of an honest node; where the lie hides its source another source's, and a hold."""
    if not found.spot_usd or found.spot_usd == true.spot_usd:
        return []
    sources = {(key.subject, value) for key, value in expected.items() if key.metric is Metric.PRICE_USD}
    if not sources.issuperset(found.spot_usd.items()):
        return [f"it decided on {found.spot_usd}, true is {true.spot_usd}, sources say {sorted(sources)}"]
    if not found.decision.holds:
        return [f"it decided on {found.spot_usd} beside the disputed source, and held nothing back"]
    return []


# decisions of the sending


@dataclass(kw_only=True)
class Sending:
    """The production manager over three members: one send is one decision."""

    truth: Rpc
    trio: Trio
    folder: Path
    agreement: int
    made: int = 0

    async def trial(self, kind: str, random: Random, number: int) -> tuple[bool, list[str]]:
        """Send one transaction beside liars; see on the chain what came of it."""
        self.made += 1
        two = self.agreement == 3 or number < 0
        undo = await self.truth.request("evm_snapshot")
        identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=ADDRESS)
        self.trio.lies(_liars(kind, random, two=two, alike=self.agreement == 3, words={}))
        try:
            with SqlJournal(self.folder / f"{self.made}.sqlite", identity=identity) as journal:
                journal.open_leg(leg(), at_s=1.0)
                sender = manager(
                    self.trio.node, journal, signer=signer(), deadline_s=0.5 if two else 3.0, confirmations=1
                )
                try:
                    receipt = await sender.send(request(1))
                except BotError as error:  # the order's alert has it
                    receipt = None
                    self.trio.told.append(DisagreementError(str(error)))
                await self.trio.quiet()
                wrong = await self._judged(receipt, journal, two=two, kind=kind)
            if not self.trio.lied:
                return receipt is None, ["untold"]
            if two and kind != "fees" and not self.trio.was_told:
                wrong.append("two of three lied, and nobody was told")
            return receipt is None, wrong
        finally:
            (self.folder / f"{self.made}.sqlite").unlink(missing_ok=True)
            await self.truth.request("evm_revert", [undo])
            await self.truth.request("anvil_dropAllTransactions")  # a revert leaves the pool

    async def _judged(self, receipt: Any, journal: SqlJournal, *, two: bool, kind: str) -> list[str]:
        done, wrong = await count(self.truth, 1), []
        raws = {event.raw for event in journal.intents() if event.raw}
        for raw in raws:
            fees = decode_raw(raw).fees
            if fees.max_fee_wei > _MOST_FEE_WEI or fees.tip_wei > _MOST_TIP_WEI:
                wrong.append(f"it pays {fees}")
        if len({decode_raw(raw).nonce for raw in raws}) > 1:
            wrong.append("it used several nonces")
        if receipt is not None and not (receipt.succeeded and done == 1):
            wrong.append(f"it believes {receipt}, the chain counts {done}")
        if receipt is None and done > 1:
            wrong.append(f"the chain counts {done}")
        return wrong


# logs


@dataclass(kw_only=True)
class Reading:
    """Logs read as watchers and venues read them, against what an honest node has."""

    truth: JsonRpcReader
    reader: JsonRpcReader
    trio: Trio
    agreement: int
    token: str

    async def trial(self, kind: str, random: Random, number: int) -> tuple[bool, list[str]]:
        two = self.agreement == 3 or number < 0
        self.trio.lies({})
        head = await self.truth.head()
        first = max(head.number - random.randint(20, 250), 1)
        asked: dict[str, Any] = {"addresses": [self.token], "topics": [], "from_block": first, "to": head}
        true = await self.truth.logs(**asked)
        self.trio.lies(_liars(kind, random, two=two, alike=self.agreement == 3, words={}))
        try:
            found = await self.reader.logs(**asked)
        except BotError as error:  # it becomes the reason of a gap, or of an order that waits
            found = None
            self.trio.told.append(DisagreementError(str(error)))
        if not self.trio.lied:
            return found is None, ["untold"]
        wrong = [] if found is None or found == true else [f"{len(found)} logs of {len(true)}, or others"]
        if two and not self.trio.was_told:
            wrong.append("two of three lied, and nobody was told")
        return found is None, wrong


async def _tallied(name: str, kind: str, trial: Trial, *, of: int, two: bool) -> Tally:
    """Make so many decisions with lies told; give up when too few lies find anybody who asks."""
    tally, random = Tally(), Random(f"{kind}/{name}")
    tries = 0
    while tally.made < of and tries < 4 * of:
        tries += 1
        held, wrong = await trial(kind, random, -tries if two else tries)
        if wrong == ["untold"]:
            tally.untold += 1
            continue
        tally.made += 1
        tally.held += held
        tally.wrong += [f"{name}, {kind}: {text}" for text in wrong]
        if two and not held and kind != "fees":
            tally.wrong.append(f"{name}, {kind}: two of three lied, and it did not hold")
    if tally.made < of:
        tally.wrong.append(
            f"{name}, {kind}: {tally.untold} of {tries} decisions asked nothing that is lied about"
        )
    print(
        f"{name:24} {kind:8} {tally.made:5} decisions, {tally.held:5} held, {len(tally.wrong)} wrong",
        flush=True,
    )
    return tally


def run(options: Options) -> dict[str, Any]:
    """Make ``options.repeats`` decisions (0: 1,000) of each kind with one liar, and some with two."""
    one = options.repeats or DECISIONS
    started_s = time.monotonic()
    tallies = dict(spread(partial(_of_kinds, one=one), KINDS, jobs=options.jobs))
    wrong = [text for tally in tallies.values() for text in tally.wrong]
    for text in wrong[:20]:
        print(f"WRONG: {text}", flush=True)
    by_one = {kind: tally for (name, kind), tally in tallies.items() if name == "one liar"}
    by_two = {key: tally for key, tally in tallies.items() if key[0] != "one liar"}
    return {
        "lying_decisions": sum(tally.made for tally in by_one.values()),
        "lying_decisions_least_of_a_kind": min(tally.made for tally in by_one.values()),
        "lying_held": sum(tally.held for tally in by_one.values()),
        "lying_wrong": len(wrong),
        "lying_two_of_three": sum(tally.made for tally in by_two.values()),
        "lying_held_two_of_three": sum(tally.held for tally in by_two.values()),
        "lying_s": round(time.monotonic() - started_s, 1),
    }


def _of_kinds(kinds: Sequence[str], *, one: int) -> list[tuple[tuple[str, str], Tally]]:
    """Make ``one`` decisions of each of these kinds with one liar, on a devnet of this process."""
    return list(asyncio.run(_all(kinds, one)).items())


async def _all(kinds: Sequence[str], one: int) -> dict[tuple[str, str], Tally]:
    two = min(one, TWO_OF_THREE)
    found: dict[tuple[str, str], Tally] = {}
    plan = (("one liar", 2, one, False), ("two, each its own lie", 2, two, True), ("two alike", 3, two, True))
    async with AsyncExitStack() as stack:
        devnet = await start_devnet(cache_dir(), states_kept=1_000)
        stack.callback(devnet.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alvh-lying-")))
        for name, agreement, of, is_two in plan:
            for kind in kinds:
                async with AsyncExitStack() as inner:
                    trial = await _trial_of(kind, devnet, folder, agreement, inner)
                    found[name, kind] = await _tallied(name, kind, trial, of=of, two=is_two)
    return found


async def _trial_of(kind: str, devnet: Devnet, folder: Path, agreement: int, stack: AsyncExitStack) -> Trial:
    """Put together what decides on what this kind of lie is about."""
    three = await stack.enter_async_context(trio(devnet.rpc_url, agreement))
    truth = await stack.enter_async_context(Rpc(devnet.rpc_url, timeout_s=30.0))
    if kind in SENT:
        await prepare(truth)
        return Sending(truth=truth, trio=three, folder=folder, agreement=agreement).trial
    at = devnet.deployment
    settings = load_settings(write_config(at, rpc_url=devnet.rpc_url, directory=folder / "home"))
    if kind == "logs":
        honest = await JsonRpcReader.connect(truth, chain_id=CHAIN_ID, multicall3=settings.chain.multicall3)
        reader = await JsonRpcReader.connect(
            three.node, chain_id=CHAIN_ID, multicall3=settings.chain.multicall3
        )
        return Reading(truth=honest, reader=reader, trio=three, agreement=agreement, token=at.usdc).trial
    undo = await truth.request("evm_snapshot")
    stack.push_async_callback(truth.request, "evm_revert", [undo])
    watch = await open_watch(three.members, settings, devnet.rpc_url, agreement=agreement, timeout_s=5.0)
    honest_watch = await open_watch([devnet.rpc_url], settings, devnet.rpc_url, timeout_s=5.0)
    for each in (watch, honest_watch):
        stack.push_async_callback(each.chain.close)
        stack.push_async_callback(each.node.close)
    seen = replace(three, node=watch.node, told=watch.troubles)
    return Watching(devnet=devnet, honest=honest_watch, watch=watch, trio=seen, agreement=agreement).trial
