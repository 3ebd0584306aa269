"""``scripts/campaign kill``: kill -9 at the twelve points of an order, judged from the chain (REL-K1..K12).

On a devnet with the real Lyra contracts. One signer process serves the whole campaign, as it would in
production; the bot is a child that kills itself at one point, and then another that is started again and does
what the loop does after a crash. The auditor sees the chain alone: positions, allowances, balances, nonces.
Kill points are put around the journal, the signer and the connection from outside; the program has none.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from campaign_kill_child import Action, Order, order_file, run_child
from campaign_kill_points import POINTS

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc, quantity
from bot.devnet.config import write_config
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.node import Devnet, start_devnet
from bot.errors import BotError
from bot.settings import cache_dir

_TRIES = 4  # of the restarted bot: each does one step of the loop
_GAS_CAP_WEI = 10**17  # of one case
_DUST_USD = 0.05
_SIGNER = "from bot.cli import main; main()"
_DEADLINE_S = 120.0  # of one child


class Case(NamedTuple):
    action: Action
    point: str


class Books(NamedTuple):
    """What the chain says of the account."""

    positions: dict[str, float]  # open option position -> contracts
    allowances: tuple[int, ...]
    stable_usd: float  # USDC and sUSD
    coin_wei: int
    nonce: int
    pending: int
    minted: int  # option tokens that ever came to the account
    burnt: int


@dataclass(kw_only=True)
class Tally:
    """Verdicts over all cases."""

    cases: int = 0
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)  # (point, action)
    problems: list[str] = field(default_factory=list)
    spent_usd: float = 0.0
    began_s: float = field(default_factory=time.perf_counter)

    def found(self, case: str, problems: list[str]) -> None:
        self.cases += 1
        self.problems += [f"{case}: {problem}" for problem in problems]
        for problem in problems:
            print(f"  {case}: {problem}", flush=True)


class Auditor:
    """Reads the chain and nothing else."""

    def __init__(self, rpc_url: str, at: Deployment) -> None:
        self._rpc_url, self._at = rpc_url, at

    def books(self) -> Books:
        return asyncio.run(self._books())

    async def _books(self) -> Books:
        at, erc20 = self._at, Abi.load("ERC20")
        grants = (
            (at.usdc, at.v3_router),
            (at.susd, at.v3_router),
            (at.susd, at.lyra_option_market),
            (at.usdc, at.lyra_option_market),
        )
        async with Rpc(self._rpc_url, timeout_s=30) as rpc:
            reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
            owned, usdc, susd, *allowed = await reader.read(
                [
                    Abi.load("OptionToken").call("getOwnerPositions", at.lyra_option_token, at.user),
                    erc20.call("balanceOf", at.usdc, at.user),
                    erc20.call("balanceOf", at.susd, at.user),
                    *[erc20.call("allowance", token, at.user, spender) for token, spender in grants],
                ],
                block=await reader.head(),
            )
            count = "eth_getTransactionCount"
            coin, latest, pending = await rpc.batch(
                [
                    ("eth_getBalance", [at.user, "latest"]),
                    (count, [at.user, "latest"]),
                    (count, [at.user, "pending"]),
                ]
            )
            minted = await self._transfers(rpc, sender=None, receiver=at.user)
            burnt = await self._transfers(rpc, sender=at.user, receiver=None)
        return Books(
            positions={str(row[0]): row[3] / 1e18 for row in owned[0]},
            allowances=tuple(row[0] for row in allowed),
            stable_usd=usdc[0] / 1e6 + susd[0] / 1e18,
            coin_wei=quantity(coin),
            nonce=quantity(latest),
            pending=quantity(pending),
            minted=minted,
            burnt=burnt,
        )

    async def _transfers(self, rpc: Rpc, *, sender: str | None, receiver: str | None) -> int:
        """Count transfers of option tokens between the account and nobody: each is one trade."""
        words = ["0x" + (address or "0x0")[2:].lower().rjust(64, "0") for address in (sender, receiver)]
        topic = Abi.load("ERC20").event("Transfer").topic
        query = {"address": self._at.lyra_option_token, "topics": [topic, *words], "fromBlock": "0x0"}
        return len(await rpc.request("eth_getLogs", [query]))


def judge(order: Order, before: Books, after: Books, outcomes: dict[str, str]) -> list[str]:
    """Return what is wrong after a case: the chain by itself, and the journal against it."""
    opened, closed = after.minted - before.minted, after.burnt - before.burnt
    wanted_open = order.action is not Action.CLOSE
    wanted_close = order.action in (Action.CLOSE, Action.ROLL)
    problems = []
    if opened > wanted_open or closed > wanted_close:
        problems.append(f"DUPLICATE: {opened} opened, {closed} closed")
    if opened + closed != list(outcomes.values()).count("filled"):
        problems.append(f"LOST: {opened} opened and {closed} closed on chain, the journal says {outcomes}")
    if len(after.positions) != len(before.positions) + opened - closed:
        problems.append(f"LOST: {len(before.positions)} positions became {len(after.positions)}")
    if set(outcomes.values()) - {"filled", "rejected"}:
        problems.append(f"not terminal: {outcomes}")
    spent_usd = before.stable_usd - after.stable_usd
    if spent_usd > order.cap_usd * opened + _DUST_USD:
        problems.append(f"OVER CAP: {spent_usd:.2f} USD spent, allowed {order.cap_usd * opened:.2f}")
    if before.coin_wei - after.coin_wei > _GAS_CAP_WEI:
        problems.append(f"OVER CAP: {before.coin_wei - after.coin_wei} wei of gas")
    if any(after.allowances):
        problems.append(f"ALLOWANCE LEFT: {after.allowances}")
    if after.nonce != after.pending:
        problems.append(f"a transaction is still in the pool: nonce {after.nonce}, pending {after.pending}")
    return problems


@dataclass(kw_only=True)
class Campaign:
    """One devnet, one signer, one journal per case."""

    folder: Path
    config: Path
    auditor: Auditor
    tally: Tally = field(default_factory=Tally)
    number: int = 0

    def case(self, action: Action, point: str) -> None:
        """Kill at one point, start again until all is terminal, and audit."""
        self.number += 1
        name = f"{action}-{self.number}"
        if action in (Action.CLOSE, Action.ROLL):
            self._prepare_position(name)
        state = self.folder / name
        state.mkdir()
        before = self.auditor.books()
        ended = self._child(state, action, point)
        if ended != "SIGKILL":
            self.tally.found(
                f"{name} at {point}", [f"it was not killed but ended with {ended}: {_said(state)}"]
            )
            return
        self.tally.kills[point, action] += 1
        outcomes: dict[str, str] = {}
        for _ in range(_TRIES):
            ended = self._child(state, action, "")
            outcomes = json.loads((state / "outcomes.json").read_text()) if ended == "exit 0" else {}
            if ended == "exit 0" and "open" not in outcomes.values():
                break
        after = self.auditor.books()
        whole = ended == "exit 0" and "open" not in outcomes.values()
        problems = [] if whole else [f"the restart ended with {ended}: {_said(state)}"]
        order = Order.load(order_file(state))
        self.tally.spent_usd += max(before.stable_usd - after.stable_usd, 0.0)
        self.tally.found(f"{name} at {point}", problems + judge(order, before, after, outcomes))

    def _prepare_position(self, name: str) -> None:
        """Buy what the case is to sell, without a fault."""
        state = self.folder / f"{name}-before"
        state.mkdir()
        if (ended := self._child(state, Action.OPEN, "")) != "exit 0":
            raise SystemExit(f"{name}: the position to sell could not be bought: {ended}, {_said(state)}")

    def _child(self, state: Path, action: Action, point: str) -> str:
        """Fork the bot over one state folder; return how it ended."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                said = os.open(state / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(said, 1)
                os.dup2(said, 2)
                code = run_child(self.config, state, action, point)
            finally:
                sys.stderr.flush()
                os._exit(code)
        return _ended(pid)


def _ended(pid: int) -> str:
    end_s = time.monotonic() + _DEADLINE_S
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end_s:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            return f"no end within {_DEADLINE_S:.0f} s"
        time.sleep(0.005)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit {os.WEXITSTATUS(status)}"


def _said(state: Path) -> str:
    path = state / "said.txt"
    return path.read_text("utf-8")[-600:].strip() if path.exists() else ""


@contextmanager
def signer_process(config: Path) -> Iterator[None]:
    """Run the signer beside the bot until the block ends, as a supervisor would."""
    command = [sys.executable, "-P", "-c", _SIGNER, "signer", "--lifeline", "--config", str(config)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else b""
            if b"address" not in line:
                raise SystemExit(f"the signer did not start: {line.decode(errors='replace').strip()}")
            yield
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(timeout=20)


def sweep(*, repeats: int, cases: Sequence[Case], say: Callable[[str], Any] = print) -> Tally:
    """Run each case so often and return the verdicts. Each round begins on the devnet as deployed."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    devnet = asyncio.run(start_devnet(cache_dir(), states_kept=100_000))
    tally = Tally()
    try:
        for number in range(1, repeats + 1):
            undo = _ask(devnet.rpc_url, "evm_snapshot")
            _round(devnet, tally, cases)
            if not _ask(devnet.rpc_url, "evm_revert", undo):
                raise SystemExit("the devnet could not be put back as it was")
            say(f"round {number} of {repeats}: {tally.cases} cases, {len(tally.problems)} problems")
    finally:
        devnet.stop()
    return tally


def _round(devnet: Devnet, tally: Tally, cases: Sequence[Case]) -> None:
    with tempfile.TemporaryDirectory(prefix="alvh-kill-") as scratch:
        folder = Path(scratch)
        config = write_config(devnet.deployment, rpc_url=devnet.rpc_url, directory=folder)
        auditor = Auditor(devnet.rpc_url, devnet.deployment)
        campaign = Campaign(folder=folder, config=config, auditor=auditor, tally=tally)
        with signer_process(config):
            for case in cases:
                campaign.case(case.action, case.point)


def _ask(rpc_url: str, method: str, *params: Any) -> Any:
    async def ask() -> Any:
        async with Rpc(rpc_url, timeout_s=30) as rpc:
            return await rpc.request(method, params)

    return asyncio.run(ask())


def kill(*, repeats: int, points: str, actions: str, short: bool = False) -> int:
    """Run the campaign and print its table; 0 when nothing was doubled, lost, overspent or left allowed.

    ``short``: every point once, the actions by turns.
    """
    chosen = tuple(item for item in POINTS if not points or item in points.split(","))
    wanted = tuple(Action(item) for item in actions.split(",")) if actions else tuple(Action)
    cases = [Case(action, point) for action in wanted for point in chosen]
    if short:
        cases = [Case(action, point) for point, action in zip(chosen, cycle(wanted), strict=False)]
    try:
        tally = sweep(repeats=repeats, cases=cases)
    except BotError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{'point':34}" + "".join(f"{action:>9}" for action in wanted))
    for point in chosen:
        cells = "".join(f"{tally.kills[point, action]:>9}" for action in wanted)
        print(f"{point:4}{POINTS[point]:30}{cells}")
    total = sum(tally.kills.values())
    found = Counter(problem.partition(": ")[2].partition(":")[0] for problem in tally.problems)
    print(
        f"{total} kills in {tally.cases} cases, {time.perf_counter() - tally.began_s:.0f} s: "
        f"{found['DUPLICATE']} duplicates, {found['LOST']} lost, {found['OVER CAP']} over cap, "
        f"{found['ALLOWANCE LEFT']} allowances left, {len(tally.problems)} problems in all; "
        f"{tally.spent_usd:,.0f} USD spent"
    )
    return 1 if tally.problems or total != tally.cases else 0
