"""The rig: a devnet, providers that fail, a pool with geth's rules, bot and signer as processes.

The bot is the production command, ``alvh run --live``, over the configuration that a user of three providers
would write. The rig is its world: it mines blocks, moves prices, fails, and says afterwards what was served,
sent and told. It knows of the bot what a person can see: its files, its output and its alerts.
"""

import asyncio
import json
import math
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from commands import CommandServer, Home, Running, write_home
from faults.proxy import Fault, FaultProxy, fault_proxy

from bot.chain.pause import Pause, end_pause, write_pause
from bot.chain.rpc import Rpc, quantity
from bot.chain.signer_wire import SOCKET_NAME
from bot.devnet.deployment import Deployment
from bot.devnet.moves import lyra
from bot.devnet.moves.wire import Tx, calldata
from bot.errors import NotFoundError
from bot.model.record import StepRecord
from bot.pipeline.journal import SqlJournal
from campaign.alarms import Alarms, listening
from campaign.audited_chain import Brief
from campaign.place import refuse_other_chains
from campaign.pool import Pool
from campaign.user_key import user_key

T = TypeVar("T")
BLOCK_S = 12
PROVIDERS = 3
STEP_WITHIN_S = 20.0  # of a machine that does other things too
CAP_USD = 60_000.0  # in 24 hours: R9's 30-day budget of what the devnet's positions are worth
GAS_CAP_WEI = 10**17
_SECRET = "whsec-campaign-0123456789"


@dataclass(kw_only=True)
class Rig:
    """One case's world. ``random`` is all that a case may take chance from."""

    seed: int
    chain: Rpc  # the devnet itself
    rpc_url: str
    at: Deployment
    proxies: list[FaultProxy]
    pool: Pool
    alarms: Alarms
    home: Home
    server: CommandServer
    first_block: int
    random: Random
    mode: str = "live"
    running: dict[str, Running] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)  # hashes that the case sent with the account's key
    gas_lost_wei: int = 0  # by the newest audit
    _started: tuple[tuple[str, ...], dict[str, Any]] = ((), {})  # what the newest bot was started with

    # the bot and its signer

    async def start_signer(self, **options: Any) -> Running:
        """Start ``alvh signer`` and wait until it listens."""
        with suppress(FileNotFoundError):
            (self.home.folder / SOCKET_NAME).unlink()
        running = self.running["signer"] = self.home.start("signer", **options)
        await self.until((self.home.folder / SOCKET_NAME).exists, within_s=20.0)
        return running

    async def start_bot(self, *arguments: str, **options: Any) -> Running:
        """Start the bot: ``alvh run --live``, or what ``arguments`` say. It runs until it is ended."""
        self._started = arguments, options
        wanted = arguments or ("run", "--live")
        self.mode = "live" if "--live" in wanted else "monitor" if "monitor" in wanted else "dry-run"
        self.running["bot"] = running = self.home.start(*wanted, **options)
        return running

    async def warm(
        self, *, polls: int = 2, arm: Sequence[Sequence[str]] = (), starts_signer: bool = True
    ) -> int:
        """Start signer and bot, let it look without trading, and return the account's next nonce.

        ``resume`` then has it buy one put.
        """
        self.pause()
        if starts_signer:
            await self.start_signer()
        await self.start_bot(arm=arm)
        if not await self.step(polls, within_s=30.0):
            raise AssertionError(f"the bot did not begin: {self.bot.err}")
        return await self.nonce()

    async def supervised(self) -> bool:
        """Say whether the bot is up, or is again.

        One whose providers were too slow for its start ends, and is started again as a supervisor would: it
        gives them a second here, and on a machine that does other things they may need longer.
        """
        if "bot" in self.running and not self.is_up() and self._was_too_slow(self.bot.err):
            self.said += [self.bot.out, self.bot.err]
            arguments, options = self._started
            await self.start_bot(*arguments, **options)
        return self.is_up()

    def _was_too_slow(self, said: str) -> bool:
        last = said.strip().splitlines()[-1:]
        return any(line.startswith("error: ") and "no answer within" in line for line in last)

    async def end(self, name: str, how: signal.Signals = signal.SIGTERM, *, within_s: float = 30.0) -> int:
        """End a process and return its exit code, negative for a signal."""
        running = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.kill(running.pid, how)
            os.kill(running.pid, signal.SIGCONT)
        return await self.ended(running, within_s=within_s)

    async def ended(self, running: Running, *, within_s: float = 60.0) -> int:
        """Wait for the end of a process; one that does not end is killed, and that is -9."""
        if not await self.until(lambda: not running.is_alive, within_s=within_s):
            os.kill(running.pid, signal.SIGKILL)
        ended = await asyncio.to_thread(running.wait)
        self.said += [ended.out, ended.err]
        return ended.code

    def is_up(self) -> bool:
        return "bot" in self.running and self.bot.is_alive

    @property
    def bot(self) -> Running:
        return self.running["bot"]

    # the world

    async def mine(self, blocks: int = 1, *, every_s: int = BLOCK_S) -> None:
        for _ in range(blocks):
            at_s = int(await self.now_s()) + every_s  # a devnet ignores evm_increaseTime: a second a block
            async with self.pool.turns.mining():
                await self.chain.request("evm_setNextBlockTimestamp", [at_s])
                await self.chain.request("evm_mine")

    async def send(self, transaction: Tx, *, price_wei: int | None = None) -> None:
        """Have one of the devnet's own accounts act; it is in a block when this returns, if anvil mines.

        ``price_wei`` of gas says where it lies in a block that holds more. Raises AssertionError when it was
        mined and reverted: the case would prove nothing.
        """
        call = {"from": transaction.sender, "to": transaction.to, "data": transaction.data}
        fees = {} if price_wei is None else {"gasPrice": hex(price_wei)}
        sent = await self.chain.request(
            "eth_sendTransaction", [call | {"gas": hex(transaction.gas)} | fees], send=True
        )
        receipt = await self.chain.request("eth_getTransactionReceipt", [sent])
        if receipt is not None and quantity(receipt["status"]) != 1:
            raise AssertionError(f"{transaction.purpose} of the devnet's own reverted: {sent}")

    async def send_as_user(self, nonce: int) -> str:
        """Use the account's key outside of the bot: a transfer of one wei at ``nonce``. Return the hash."""
        call = {"from": self.at.user, "to": self.at.trader, "value": "0x1", "gas": hex(21_000)}
        fees = {"maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": hex(10**10)}
        sent = await self.chain.request(
            "eth_sendTransaction", [call | fees | {"nonce": hex(nonce)}], send=True
        )
        self.foreign.append(sent)
        return str(sent)

    async def nonce(self) -> int:
        """Return how many transactions of the account are on the chain."""
        return quantity(await self.chain.request("eth_getTransactionCount", [self.at.user, "latest"]))

    async def move_feed(self, price_usd: float) -> None:
        """Let the Chainlink feed answer a price, of now."""
        now_s = await self.now_s()
        data = calldata("setAnswer(int256,uint256)", round(price_usd * 1e8), int(now_s))
        at = self.at
        await self.send(Tx(purpose="feed", sender=at.deployer, to=at.feed_eth_usd, data=data, gas=200_000))

    async def move_price(self, price_usd: float) -> None:
        """Let the feed and the option venue's spot have a new price of ETH."""
        await self.send(lyra.spot_update(self.at, price=price_usd))
        await self.move_feed(price_usd)

    async def now_s(self) -> float:
        return float(
            quantity((await self.chain.request("eth_getBlockByNumber", ["latest", False]))["timestamp"])
        )

    async def head(self) -> int:
        return quantity(await self.chain.request("eth_blockNumber"))

    def fail(self, fault: Fault | None, *, of: Sequence[int] = range(PROVIDERS)) -> None:
        """Let providers fail in a way, or none any more."""
        for number in of:
            self.proxies[number].fault = fault

    def pause(self, why: str = "not yet") -> None:
        """Keep the bot from opening anything, as `alvh pause` does."""
        write_pause(self.home.folder, Pause(who="campaign", at_s=time.time(), why=why))

    def resume(self) -> None:
        end_pause(self.home.folder)

    # what can be seen

    def journal_path(self) -> Path:
        return self.home.journal(self.mode)

    def sequence(self) -> int:
        """Return the number of the newest step, 0 before the first."""
        try:
            with closing(sqlite3.connect(f"file:{self.journal_path()}?mode=ro", uri=True)) as database:
                return database.execute("SELECT COALESCE(MAX(sequence), 0) FROM steps").fetchone()[0]
        except sqlite3.DatabaseError:
            return 0  # the bot has not made its tables yet, or they are damaged

    def journalled(self, read: Callable[[SqlJournal], T], otherwise: T) -> T:
        """Read the bot's journal; ``otherwise`` before it has one."""
        try:
            with SqlJournal(self.journal_path(), read_only=True) as journal:
                return read(journal)
        except NotFoundError:
            return otherwise

    def last(self) -> StepRecord | None:
        """Return the newest step."""
        return self.journalled(lambda journal: journal.last_step(), None)

    def open_work(self) -> list[str]:
        """Return decisions that have not ended."""
        return self.journalled(lambda journal: [leg.key for leg in journal.open_legs()], [])

    def outcomes(self) -> dict[str, str]:
        """Return decision -> how it ended."""
        return self.journalled(
            lambda journal: {item.leg.key: item.status.value for item in journal.outcomes()}, {}
        )

    def filled(self) -> int:
        return list(self.outcomes().values()).count("filled")

    async def until(self, condition: Callable[[], Any], *, within_s: float = STEP_WITHIN_S) -> bool:
        """Wait until something is true; say whether it became so."""
        end_s = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > end_s:
                return False
            await asyncio.sleep(0.02)
        return True

    async def step(self, blocks: int = 1, *, within_s: float = STEP_WITHIN_S) -> bool:
        """Mine ``blocks`` one by one and wait for the bot's step on each; False when one did not come."""
        for _ in range(blocks):
            before, end_s = self.sequence(), time.monotonic() + within_s
            await self.mine()
            while self.sequence() <= before:
                if time.monotonic() > end_s or not await self.supervised():
                    return False
                await asyncio.sleep(0.02)
        return True

    async def settle(self, blocks: int = 20) -> bool:
        """Mine until nothing is open any more, at most ``blocks``; say whether that was reached."""
        for _ in range(blocks):
            if not await self.supervised():
                break
            await self.step(within_s=5.0)
            if not self.open_work():
                return True
        return not self.open_work()

    def heard(self, start_s: float, *kinds: str, says: str = "") -> float:
        """Return seconds from ``start_s`` (monotonic) to the first alert of these kinds; NaN for none."""
        times = [item.at_s - start_s for item in self.alarms.since(start_s, *kinds, says=says)]
        return min(times, default=math.nan)

    def hits(self) -> int:
        """Return how many requests and replies the faults of the providers have spoiled so far."""
        return sum(proxy.hits for proxy in self.proxies)

    # the end of a case

    async def audit(self, **changes: Any) -> dict[str, list[str]]:
        """Have the auditor, a process of its own, judge the chain and the bot's files."""
        for running in self.running.values():
            self.said += [running.out, running.err]
        brief = Brief(**{**self._brief(), **changes})
        path = self.home.folder.parent / f"brief-{time.monotonic_ns()}.json"
        brief.save(path)
        running = self.server.start(str(path), cwd=self.home.folder.parent, main="campaign.auditor:main")
        await self.until(lambda: not running.is_alive, within_s=60.0)
        ended = await asyncio.to_thread(running.wait)
        if ended.code != 0:
            return {"auditor": [ended.err[-2_000:] or f"it ended with {ended.code}"]}
        found = json.loads(ended.out)
        self.gas_lost_wei = found["gas_lost_wei"]
        verdicts: dict[str, list[str]] = found["verdicts"]
        return verdicts

    def _brief(self) -> dict[str, Any]:
        at = self.at
        served = {str(number): item for proxy in self.proxies for number, item in proxy.served.items()}
        tokens = {f"token of provider {item.seed}": f"key-{item.seed}-canary" for item in self.proxies}
        return {
            "rpc_url": self.rpc_url, "account": at.user, "stable": at.usdc, "settlement": at.susd,
            "market": at.lyra_option_market, "option_token": at.lyra_option_token,
            "collateral": at.lyra_short_collateral, "router": at.v3_router,
            "feed": at.feed_eth_usd, "from_block": self.first_block, "cap_usd": CAP_USD,
            "gas_cap_wei": GAS_CAP_WEI, "home": str(self.home.folder), "journal": str(self.journal_path()),
            "history": str(self.home.folder / "history-31337.sqlite"), "served": served,
            "secrets": {**tokens, "webhook secret": _SECRET, "key of the account": user_key()},
            "said": (*self.said, *(item.text for item in self.alarms.heard)), "files_exempt": ("alvh.toml",),
            "foreign": tuple(self.foreign), "may_send": self.mode == "live", "sends": len(self.pool.seen),
        }  # fmt: skip


@asynccontextmanager
async def open_rig(
    rpc_url: str, at: Deployment, server: CommandServer, folder: Path, *, seed: int
) -> AsyncIterator[Rig]:
    """Put a rig around a devnet; whatever happens in it is undone on the chain. Raises RefusedPlace."""
    await refuse_other_chains(rpc_url)
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(Rpc(rpc_url, timeout_s=30.0))
        undo = await chain.request("evm_snapshot")
        stack.push_async_callback(chain.request, "evm_revert", [undo])
        stack.push_async_callback(chain.request, "anvil_dropAllTransactions")  # a revert leaves the pool
        pool = Pool(chain)
        proxies = [
            await stack.enter_async_context(fault_proxy(rpc_url, seed=number, token=f"key-{number}-canary"))
            for number in range(1, PROVIDERS + 1)
        ]
        for proxy in proxies:
            proxy.pool = pool
        alarms = await stack.enter_async_context(listening())
        home = write_home(at, rpc_url, folder / "home", server)
        _three_providers(home, [proxy.url for proxy in proxies], alarms.url)
        rig = Rig(
            seed=seed,
            chain=chain,
            rpc_url=rpc_url,
            at=at,
            proxies=proxies,
            pool=pool,
            alarms=alarms,
            home=home,
            server=server,
            first_block=quantity(await chain.request("eth_blockNumber")),
            random=Random(seed),
        )
        try:
            yield rig
        finally:
            for name in tuple(rig.running):
                await rig.end(name, signal.SIGKILL)


def _three_providers(home: Home, urls: list[str], alarms_url: str) -> None:
    """Write what a user of three providers, of which two must agree, with one alert target would write."""
    lines = "rpc_urls = " + json.dumps(urls) + "\nagreement = 2\ntimeout_s = 1.0"
    home.change(r'rpc_url = "[^"]*"', lines)
    text = home.config.read_text("utf-8")
    text += (
        '\n[alerts]\nleast = "info"\nsilent_after_s = 3.0\nsettle_s = 0.0\n\n[[alerts.targets]]\n'
        f'url = "{alarms_url}"\nsecret = "{_SECRET}"\n'
    )
    home.config.write_text(text, "utf-8")
