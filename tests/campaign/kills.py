"""``scripts/campaign kills``: kill -9 at the twelve points of an order and blindly, judged from the chain.

On a devnet with the real Lyra contracts. One signer process serves a round, as in production; the bot
is a child that kills itself at one point, or is killed at any time of an order's life, and then another that
is started again and does what the loop does after a crash. The books see the chain alone: positions,
allowances, balances, nonces; of each round the campaign's auditor judges some cases besides. Kill points are
put around the journal, the signer and the connection from outside; the program has none (REL-K1..K12, K14).
"""

import asyncio
import json
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bot.chain.rpc import Rpc
from bot.devnet.config import write_config
from bot.devnet.deployment import Deployment
from bot.devnet.node import Devnet, start_devnet
from bot.settings import cache_dir
from campaign.audited_chain import Brief
from campaign.auditor import audit
from campaign.kill_books import GAS_CAP_WEI, Books, Ledger, judge
from campaign.kill_child import Action, Order, order_file
from campaign.kill_points import POINTS
from campaign.kill_process import Child, said, signer_process
from campaign.parts import Figures, Options

_TRIES = 4  # of the restarted bot: each does one step of the loop
REPEATS, BLIND = 20, 240  # of each of the 48 named cases, and kills at random times
_RULE_OF_THREE = 3.0  # none in n: at 95 % at most 3/n
_BLIND = "blind"
_AUDITED = 6  # one case of so many


class Case(NamedTuple):
    action: Action
    point: str


@dataclass(kw_only=True)
class Tally:
    """Verdicts over all cases."""

    cases: int = 0
    audited: int = 0
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)  # (point, action)
    problems: list[str] = field(default_factory=list)
    spent_usd: float = 0.0

    def found(self, case: str, problems: list[str]) -> None:
        self.cases += 1
        self.problems += [f"{case}: {problem}" for problem in problems]
        for problem in problems:
            print(f"  {case}: {problem}", flush=True)

    def add(self, other: "Tally") -> None:
        self.cases += other.cases
        self.audited += other.audited
        self.kills += other.kills
        self.problems += other.problems
        self.spent_usd += other.spent_usd

    def of(self, kind: str) -> int:
        """Count problems of a kind, such as DUPLICATE."""
        return sum(problem.partition(": ")[2].startswith(kind) for problem in self.problems)


@dataclass(kw_only=True)
class Round:
    """One devnet, one signer, one journal per case."""

    folder: Path
    config: Path
    rpc_url: str
    at: Deployment
    random: Random
    tally: Tally = field(default_factory=Tally)
    number: int = 0
    life_s: dict[Action, float] = field(default_factory=dict)  # of an order that nobody kills

    def case(self, action: Action, point: str) -> None:
        """Kill at one point, start again until all is terminal, and audit."""
        state, before, block = self._begin(action)
        ended = self._child(state, action, point).wait()
        if ended != "SIGKILL":
            name = f"{state.name} at {point}"
            self.tally.found(name, [f"it was not killed but ended with {ended}: {said(state)}"])
            return
        self.tally.kills[point, action] += 1
        self._finish(state, action, point, before, block)

    def blind(self, action: Action) -> None:
        """Kill an order, and then its restart, each at a time that is as likely as any other of its life."""
        state, before, block = self._begin(action)
        for _ in range(2):
            child = self._child(state, action, "")
            if not child.until(order_file(state).exists):
                break
            if child.kill_after(self.random.uniform(0.0, self.life_s[action])) != "SIGKILL":
                break  # it was done before its time came
            self.tally.kills[_BLIND, action] += 1
        self._finish(state, action, _BLIND, before, block)

    def measure(self, action: Action) -> None:
        """Do an order that nobody kills, and keep how long it took from its decision on."""
        state, before, block = self._begin(action)
        child = self._child(state, action, "")
        child.until(order_file(state).exists)
        began_s = time.monotonic()
        child.wait()
        self.life_s[action] = time.monotonic() - began_s
        self._finish(state, action, "nothing", before, block)

    def _begin(self, action: Action) -> tuple[Path, Books, int]:
        self.number += 1
        name = f"{action}-{self.number}"
        if action in (Action.CLOSE, Action.ROLL):
            self._prepare_position(name)
        state = self.folder / name
        state.mkdir()
        return state, Ledger(self.rpc_url, self.at).books(), int(_ask(self.rpc_url, "eth_blockNumber"), 16)

    def _finish(self, state: Path, action: Action, point: str, before: Books, block: int) -> None:
        """Start again until all is terminal; then compare chain and journal."""
        ended, outcomes = "", {}
        for _ in range(_TRIES):
            ended = self._child(state, action, "").wait()
            outcomes = json.loads((state / "outcomes.json").read_text()) if ended == "exit 0" else {}
            if outcomes and "open" not in outcomes.values():
                break
        after = Ledger(self.rpc_url, self.at).books()
        is_whole = bool(outcomes) and "open" not in outcomes.values()
        problems = [] if is_whole else [f"the restart ended with {ended}: {said(state)}"]
        order = Order.load(order_file(state))
        self.tally.spent_usd += max(before.stable_usd - after.stable_usd, 0.0)
        problems += judge(order, before, after, outcomes)
        if self.number % _AUDITED == 0:
            problems += self._audited(state, order, block)
        self.tally.found(f"{state.name} at {point}", problems)

    def _audited(self, state: Path, order: Order, block: int) -> list[str]:
        """Have the campaign's auditor judge one case."""
        self.tally.audited += 1
        at = self.at
        brief = Brief(
            rpc_url=self.rpc_url, account=at.user, stable=at.usdc, settlement=at.susd,
            market=at.lyra_option_market, option_token=at.lyra_option_token,
            collateral=at.lyra_short_collateral, router=at.v3_router,
            feed=at.feed_eth_usd, from_block=block, cap_usd=order.cap_usd, gas_cap_wei=GAS_CAP_WEI,
            home=str(state), journal=str(state / "journal.sqlite"),
        )  # fmt: skip
        return [f"{text} ({name})" for name, texts in audit(brief).items() for text in texts]

    def _prepare_position(self, name: str) -> None:
        """Buy what the case is to sell, without a fault."""
        state = self.folder / f"{name}-before"
        state.mkdir()
        if (ended := self._child(state, Action.OPEN, "").wait()) != "exit 0":
            raise SystemExit(f"{name}: the position to sell could not be bought: {ended}, {said(state)}")

    def _child(self, state: Path, action: Action, point: str) -> Child:
        return Child(self.config, state, action, point)


def rounds(numbers: Iterable[int], *, cases: Sequence[Case], blind: int) -> Tally:
    """Run rounds on a devnet of this process; each begins on it as deployed. ``blind`` kills in each."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    devnet = asyncio.run(start_devnet(cache_dir(), states_kept=100_000))
    total = Tally()
    try:
        for number in numbers:
            undo = _ask(devnet.rpc_url, "evm_snapshot")
            tally = _round(devnet, number, cases, blind)
            if not _ask(devnet.rpc_url, "evm_revert", undo):
                raise SystemExit("the devnet could not be put back as it was")
            total.add(tally)
            print(
                f"round {number}: {tally.kills.total()} kills, {len(tally.problems)} problems",
                flush=True,
            )
    finally:
        devnet.stop()
    return total


def _round(devnet: Devnet, number: int, cases: Sequence[Case], blind: int) -> Tally:
    with tempfile.TemporaryDirectory(prefix="alvh-kill-") as scratch:
        folder = Path(scratch)
        at = devnet.deployment
        own = Round(
            folder=folder,
            config=write_config(at, rpc_url=devnet.rpc_url, directory=folder),
            rpc_url=devnet.rpc_url,
            at=at,
            random=Random(f"kills/{number}"),
        )
        with signer_process(own.config):
            for case in cases:
                own.case(case.action, case.point)
            turns = cycle(Action)
            while own.tally.kills.total() < len(cases) + blind and len(own.tally.problems) < blind:
                action = next(turns)
                if action not in own.life_s:
                    own.measure(action)
                own.blind(action)
    return own.tally


def one() -> None:
    """Run one case in this process on a devnet that is there; its arguments are those of the command line.

    RPC_URL FOLDER ACTION POINT SEED; the folder holds the deployment. Ends with 1 when something is wrong.
    """
    rpc_url, name, action, point, seed = sys.argv[1:]
    folder = Path(name)
    at: Deployment = pickle.loads((folder / "at").read_bytes())  # noqa: S301 - written by the case
    undo = _ask(rpc_url, "evm_snapshot")
    try:
        own = Round(
            folder=folder,
            config=write_config(at, rpc_url=rpc_url, directory=folder),
            rpc_url=rpc_url,
            at=at,
            random=Random(seed),
        )
        with signer_process(own.config):
            own.case(Action(action), point)
    finally:
        _ask(rpc_url, "evm_revert", undo)
    sys.exit(1 if own.tally.problems else 0)


def _ask(rpc_url: str, method: str, *params: Any) -> Any:
    async def ask() -> Any:
        async with Rpc(rpc_url, timeout_s=30) as rpc:
            return await rpc.request(method, params)

    return asyncio.run(ask())


def run(
    options: Options, *, points: str = "", actions: str = "", blind: int = BLIND, short: bool = False
) -> Figures:
    """Run the campaign and print its table. ``short``: every point once, the actions by turns."""
    began_s = time.perf_counter()
    chosen = tuple(item for item in POINTS if not points or item in points.split(","))
    wanted = tuple(Action(item) for item in actions.split(",")) if actions else tuple(Action)
    cases = [Case(action, point) for action in wanted for point in chosen]
    repeats = options.repeats or REPEATS
    if short:
        cases = [Case(action, point) for point, action in zip(chosen, cycle(wanted), strict=False)]
        repeats, blind = 1, 0
    tally = _spread(repeats, options.jobs, cases, -(-blind // repeats))
    _print_table(tally, chosen, wanted)
    kills, duplicates = tally.kills.total(), tally.of("DUPLICATE")
    print(
        f"{kills} kills in {tally.cases} cases, {time.perf_counter() - began_s:.0f} s: "
        f"{duplicates} duplicates, {tally.of('LOST')} lost, {tally.of('OVER CAP')} over cap, "
        f"{tally.of('ALLOWANCE LEFT')} allowances left, {len(tally.problems)} problems in all; "
        f"{tally.audited} audited, {tally.spent_usd:,.0f} USD spent"
    )
    return {
        "kills": kills,
        "kills_blind": sum(tally.kills[_BLIND, action] for action in Action),
        "kill_cases": tally.cases,
        "kill_cases_audited": tally.audited,
        "duplicates": duplicates,
        "duplicate_bound_95": _RULE_OF_THREE / kills if kills and not duplicates else None,
        "kill_lost": tally.of("LOST"),
        "kill_allowances_left": tally.of("ALLOWANCE LEFT"),
        "kill_problems": len(tally.problems),
        "kill_where": tally.problems,
        "cap_violations": tally.of("OVER CAP"),
    }


def _spread(repeats: int, jobs: int, cases: Sequence[Case], blind: int) -> Tally:
    """Share the rounds out between processes, each with a devnet of its own."""
    workers = min(jobs or os.cpu_count() or 1, repeats)
    if workers == 1:
        return rounds(range(1, repeats + 1), cases=cases, blind=blind)
    total = Tally()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as executor:
        shares = [range(first, repeats + 1, workers) for first in range(1, workers + 1)]
        futures = [executor.submit(rounds, list(share), cases=cases, blind=blind) for share in shares]
        for future in as_completed(futures):
            total.add(future.result())
    return total


def _print_table(tally: Tally, chosen: Sequence[str], wanted: Sequence[Action]) -> None:
    print(f"\n{'point':34}" + "".join(f"{action:>9}" for action in wanted))
    for point, words in [*POINTS.items(), (_BLIND, "at any time of its life")]:
        if point in chosen or point == _BLIND:
            cells = "".join(f"{tally.kills[point, action]:>9}" for action in wanted)
            print(f"{point:6}{words:28}{cells}")
