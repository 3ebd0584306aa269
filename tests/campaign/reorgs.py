"""The sweep of reorganisations: depth 1 to 20, three kinds of pools, ten seeds each, judged from the chain.

A case sends one transaction by the production manager, signer desk and journal to a bare node, lets it be
mined, and takes the block away. The pool then forgot the transaction, has it back, or another transaction of
the same nonce is in its place. A counting contract says how often it took effect; the journal must agree.
A share of the cases is with the whole bot: C2, C3 and C4 of the catalogue.
"""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from send_builders import ADDRESS, CHAIN_ID, count, leg, manager, nonce, prepare, request, signer
from send_tools import foreign_transfer, until

from bot.chain.rpc import Rpc, RpcError
from bot.devnet.anvil import Anvil
from bot.devnet.node import prepare as prepared
from bot.errors import BotError, InvariantError
from bot.model.intent import IntentState as S
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import cache_dir
from campaign.parts import Options
from campaign.runner import run_cases

DEPTHS = range(1, 21)
_BOTS = 4  # seeds of each case with the whole bot
POOLS = ("dropped", "put back", "competing")
SEEDS = range(1, 11)
CONFIRMATIONS = 22  # deeper than the deepest
_WITHIN_S = 20.0
_OF_A_NODE = 6
_STRANGER = {"to": "0x" + "22" * 20, "value": "0x1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorg:
    """One case."""

    depth: int
    pool: str
    seed: int

    def __str__(self) -> str:
        return f"depth {self.depth}, {self.pool}, seed {self.seed}"


def run(options: Options) -> dict[str, Any]:
    """Run the sweep under ``options.repeats`` seeds (0: all), and some cases of the whole bot."""
    seeds = SEEDS[: options.repeats or len(SEEDS)]
    started_s = time.monotonic()
    cases = [Reorg(depth=depth, pool=pool, seed=seed) for seed in seeds for depth in DEPTHS for pool in POOLS]
    wrong = asyncio.run(_sweep(cases))
    lines = run_cases(["C2", "C3", "C4"], range(101, 101 + _BOTS), jobs=options.jobs)
    wrong += [f"{line.id} seed {line.seed}: {'; '.join(line.problems)}" for line in lines if line.problems]
    for text in wrong:
        print(f"WRONG: {text}", flush=True)
    return {
        "reorg_cases": len(cases),
        "reorg_wrong": len(wrong),
        "reorg_bot_cases": len(lines),
        "reorg_s": round(time.monotonic() - started_s, 1),
    }


async def _sweep(cases: list[Reorg]) -> list[str]:
    """Run cases on bare nodes, a few on each: anvil 1.7.1 mines nothing any more after some ten of them."""
    binary, _ = await prepared(cache_dir())
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="alvh-reorgs-") as folder:
        for first in range(0, len(cases), _OF_A_NODE):
            chosen = cases[first : first + _OF_A_NODE]
            with Anvil.start(binary) as node:
                await asyncio.to_thread(node.wait_ready)
                wrong += await _on(node.rpc_url, chosen, Path(folder))
            if (first // _OF_A_NODE) % 10 == 9:
                done = first + len(chosen)
                print(f"{done}/{len(cases)} reorganisations, {len(wrong)} wrong", flush=True)
    return wrong


async def _on(url: str, cases: list[Reorg], folder: Path) -> list[str]:
    async with Rpc(url, timeout_s=10) as rpc:
        await prepare(rpc)
        await rpc.request("anvil_mine", ["0x19"])
        return [f"{case}: {text}" for case in cases for text in await _case(rpc, case, folder)]


async def _case(rpc: Rpc, case: Reorg, folder: Path) -> list[str]:
    undo = await rpc.request("evm_snapshot")
    identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=ADDRESS)
    try:
        path = folder / f"{case.depth}-{case.pool}-{case.seed}.sqlite"
        with SqlJournal(path, identity=identity) as journal:
            journal.open_leg(leg(), at_s=1.0)
            async with asyncio.timeout(_WITHIN_S):
                return await _act(rpc, journal, case)
    except (TimeoutError, BotError) as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        await rpc.request("anvil_dropAllTransactions")  # a revert leaves the pool as it is
        await rpc.request("evm_revert", [undo])


async def _act(rpc: Rpc, journal: SqlJournal, case: Reorg) -> list[str]:
    """Send, bury, take away, put in place, bury; then compare chain and journal."""
    random = Random(str(case))

    def states() -> list[S]:
        return [event.state for event in journal.intents()]

    sender = manager(rpc, journal, signer=signer(), confirmations=CONFIRMATIONS, deadline_s=_WITHIN_S)
    task = asyncio.create_task(sender.send(request()))
    try:
        await until(lambda: S.MINED in states() or task.done(), _WITHIN_S)
        if case.depth > 1:
            await rpc.request("anvil_mine", [hex(case.depth - 1)])
        await asyncio.sleep(0.03 * random.random())  # where in its polling the manager is
        (raw,) = {event.raw for event in journal.intents() if event.raw}
        await _reorganise(rpc, case, random)
        if case.pool == "put back":
            await _put_back(rpc, raw)
        if case.pool == "competing":
            return await _lost(rpc, journal, task, random)
        await until(lambda: states().count(S.MINED) >= 2 or task.done(), _WITHIN_S)
        await rpc.request("anvil_mine", [hex(CONFIRMATIONS)])
        receipt = await task
        found = [] if receipt.succeeded else ["its receipt says that it failed"]
        found += await _once(rpc, journal, effects=1, last=S.FINAL)
        on_chain = await rpc.request("eth_getTransactionReceipt", [receipt.tx_hash])
        if on_chain is None or on_chain["blockHash"] != receipt.block_hash:
            found.append("the receipt that counted is not the chain's")
        return found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _reorganise(rpc: Rpc, case: Reorg, random: Random) -> None:
    sender = (await rpc.request("eth_accounts"))[random.randrange(1, 9)]
    inside: list[Any] = [[_STRANGER | {"from": sender}, 0]]  # empty blocks would come out as they were
    if case.pool == "competing":
        inside.append([foreign_transfer(), 0])  # anvil mines block by block: later, ours might be first
    await rpc.request("anvil_reorg", [case.depth, inside])


async def _put_back(rpc: Rpc, raw: str) -> None:
    """What geth does by itself; the manager may have been first."""
    try:
        await rpc.request("eth_sendRawTransaction", [raw], send=True)
    except RpcError:
        if await nonce(rpc, "pending") != 1:
            raise


async def _lost(rpc: Rpc, journal: SqlJournal, task: "asyncio.Task[Any]", random: Random) -> list[str]:
    """A competing transaction: nothing is concluded before it is deep; then LOST, and a halt."""
    found: list[str] = []
    await asyncio.sleep(0.05 + 0.05 * random.random())
    if task.done() or journal.intents()[-1].state is S.LOST:
        found.append("it concluded before the other transaction was deep")
    await rpc.request("anvil_mine", [hex(CONFIRMATIONS)])
    try:
        await task
    except InvariantError as error:
        if "not ours" not in str(error):
            found.append(f"it halted for another reason: {error}")
    else:
        found.append("a foreign transaction took its nonce, and it went on")
    return found + await _once(rpc, journal, effects=0, last=S.LOST)


async def _once(rpc: Rpc, journal: SqlJournal, *, effects: int, last: S) -> list[str]:
    """Compare what took effect with what the journal says."""
    done, used = await count(rpc, 1), await nonce(rpc)
    waiting = await nonce(rpc, "pending") - used
    events = journal.intents()
    signed = {event.raw for event in events if event.raw}
    checks: Mapping[str, bool] = {
        f"it took effect {done} times, {effects} is right": done == effects,
        f"the nonce is {used}, 1 is right": used == 1,
        f"{waiting} transactions wait in the pool": waiting == 0,
        f"{len(signed)} payloads were signed for one nonce": len(signed) == 1,
        f"the journal ends with {events[-1].state}, the chain says {last}": events[-1].state is last,
    }
    return [text for text, is_right in checks.items() if not is_right]
