"""Rolling caps over crashes and clocks that jump (L1, H5, I3): no true 24 hours ever hold more than the cap.

Two caps, of a token and of gas. Sequences of purchases, replacements, cancels, restarts, writes that a crash
cuts off, reboots and clocks that jump go through the signer's own desk and memory, beside a model that knows
the true time. Some send what was signed to a devnet: there the spend is what balances of the token say.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from caps_world import CAP_RAW, TEN_YEARS_S, TRANSACTION_RAW, CapsWorld

from bot.chain.abi import Abi
from bot.chain.fees import GWEI, Fees
from bot.chain.rpc import Rpc, quantity
from bot.chain.signer import Unsigned
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keystore import open_keystore
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import Cap, ChainRules, SigningRules
from bot.chain.transaction_bytes import assembled
from bot.devnet.config import PASSWORD, write_config
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.errors import VenueRejected
from bot.model.signing import ApprovalRule
from bot.model.units import DAY_S, HOUR_S
from campaign import runner
from campaign.parts import Options
from campaign.place import refuse_other_chains

SEQUENCES, ON_CHAIN, STEPS = 5_000, 50, 40
_SPANS = (1.0, 60.0, HOUR_S, 6.0 * HOUR_S, DAY_S - 1.0, float(DAY_S), 3.0 * DAY_S)
_JUMPS = (-TEN_YEARS_S, -HOUR_S, -900.0, -60.0, 0.0, 60.0, 900.0, HOUR_S, TEN_YEARS_S)
_PULL = Abi.load("ERC20")
_FEES = Fees(max_fee_wei=100 * GWEI, tip_wei=GWEI)


def act(world: CapsWorld, random: Random) -> str:
    """Let one thing happen; return what."""
    name, weight = zip(*_ACTS.items(), strict=True)
    (chosen,) = random.choices(name, [item[0] for item in weight])
    _ACTS[chosen][1](world, random)
    return chosen


def _buy(world: CapsWorld, random: Random) -> None:
    world.buy(random.randint(1, TRANSACTION_RAW))


def _replace(world: CapsWorld, random: Random) -> None:
    world.replace(random.randrange(3), random.randint(21, 40))


def _cancel(world: CapsWorld, random: Random) -> None:
    world.cancel(random.randrange(3), random.randint(20, 600))


def _pass(world: CapsWorld, random: Random) -> None:
    world.pass_time(random.choice(_SPANS))


def _crash(world: CapsWorld, random: Random) -> None:
    world.crash(random.randint(1, TRANSACTION_RAW), random.random())


def _jump(world: CapsWorld, random: Random) -> None:
    """One clock or both: chain and machine may be wrong together once the signer knows this boot's time.

    Before that one of the two is right, or there would be nothing to know it by (docs/threat-model.md).
    """
    off_s = random.choice(_JUMPS)
    which = random.randrange(3 if world.knows_time else 2)
    world.machine_off_s = off_s if which != 1 else world.machine_off_s if world.knows_time else 0.0
    world.chain_off_s = off_s if which != 0 else world.chain_off_s if world.knows_time else 0.0


def _right(world: CapsWorld, _: Random) -> None:
    world.machine_off_s = world.chain_off_s = 0.0


def _restart(world: CapsWorld, _: Random) -> None:
    world.restart()


def _reboot(world: CapsWorld, random: Random) -> None:
    """Over a boot one clock of the two is right."""
    world.reboot(random.choice(_SPANS))
    world.machine_off_s = world.chain_off_s = 0.0
    if random.random() < 0.3:
        world.machine_off_s = random.choice(_JUMPS)


_ACTS: dict[str, tuple[int, Callable[[CapsWorld, Random], None]]] = {
    "buy": (10, _buy),
    "replace": (3, _replace),
    "cancel": (2, _cancel),
    "pass": (5, _pass),
    "crash": (3, _crash),
    "jump": (4, _jump),
    "right": (3, _right),
    "restart": (2, _restart),
    "reboot": (2, _reboot),
}


def sequence(folder: Path, seed: int) -> int:
    """Run one sequence; return by how much the cap was passed, 0 for not."""
    random, world = Random(f"caps/{seed}"), CapsWorld(folder)
    try:
        for _ in range(STEPS):
            act(world, random)
        return world.beyond
    finally:
        world.memory.close()


# on a chain


@dataclass(kw_only=True)
class Chain:
    """A devnet, and a signer whose only rule is one spender of one token."""

    rpc: Rpc
    at: Deployment
    home: Path
    state: Path
    nonce: int = 0
    nearest_raw: int = 0  # the most that left in any day of any sequence
    now_s: float = 0.0  # the chain's time, by which the signer's machine goes as well
    pulled: list[tuple[float, int]] = field(default_factory=list)  # chain time, what left the account

    def open(self) -> None:
        """Open desk and memory anew, as a restart does."""
        token, spender = self.at.usdc.lower(), self.at.whale.lower()
        rules = ChainRules(
            chain_id=CHAIN_ID,
            permissions=(ApprovalRule(token=token, spender=spender, opens=True),),
            caps={token: Cap(transaction_raw=TRANSACTION_RAW, day_raw=CAP_RAW)},
        )
        key = open_keystore(self.home / "keystore.json", PASSWORD, address=self.at.user)
        self.memory = SignerMemory(self.state / "signer.log")
        self.desk = SigningDesk(
            key,
            SigningRules(chains=(rules,)),
            self.memory,
            clock=lambda: self.now_s,
            up=lambda: ("boot", self.now_s),
        )

    async def spend(self, raw: int) -> bool:
        """Sign an allowance, send it, and have its spender take it at once; say whether it was signed."""
        now_s = await self.look_at_clock()
        unsigned = Unsigned(
            chain_id=CHAIN_ID, nonce=self.nonce, to=self.at.usdc.lower(),
            data=_PULL.encode("approve", self.at.whale, raw), value_wei=0, gas=100_000, fees=_FEES,
            valid_until_s=now_s + 600,
        )  # fmt: skip
        try:
            signature = self.desk.sign(unsigned, now_s=now_s)
        except VenueRejected:
            return False
        await self.rpc.request("eth_sendRawTransaction", [assembled(unsigned, signature).raw], send=True)
        await self.mine(after_s=1)
        self.nonce += 1
        before = await self.balance()
        data = "0x" + _PULL.encode("transferFrom", self.at.user, self.at.whale, raw).hex()
        call = {"from": self.at.whale, "to": self.at.usdc, "data": data, "gas": hex(200_000)}
        await self.rpc.request("eth_sendTransaction", [call], send=True)
        await self.mine(after_s=1)
        self.pulled.append((now_s, before - await self.balance()))
        return True

    async def mine(self, *, after_s: float) -> None:
        """Mine a block that is dated: after a snapshot was put back anvil may date one before its parent."""
        at_s = int(await self.look_at_clock() + after_s)
        await self.rpc.request("evm_setNextBlockTimestamp", [at_s])
        await self.rpc.request("evm_mine")

    async def look_at_clock(self) -> float:
        block = await self.rpc.request("eth_getBlockByNumber", ["latest", False])
        self.now_s = float(quantity(block["timestamp"]))
        return self.now_s

    async def balance(self) -> int:
        data = "0x" + _PULL.encode("balanceOf", self.at.user).hex()
        return int(await self.rpc.request("eth_call", [{"to": self.at.usdc, "data": data}, "latest"]), 16)

    async def act(self, random: Random) -> None:
        """Spend, let time pass, die, or die in the write of a line."""
        choice = random.random()
        if choice < 0.5:
            await self.spend(random.randint(1, TRANSACTION_RAW))
        elif choice < 0.75:
            await self.mine(after_s=random.choice(_SPANS))
        else:
            self.memory.close()
            if choice > 0.9:  # a line that was cut off: its signature never left
                with (self.state / "signer.log").open("ab") as file:
                    file.write(b'deadbeef {"kind":"sign","cha'[: random.randint(1, 27)])
            self.open()


async def on_chain(chain: Chain, random: Random) -> int:
    """Run one sequence on the devnet; return by how much balances say that the cap was passed."""
    undo = await chain.rpc.request("evm_snapshot")
    chain.nonce = quantity(await chain.rpc.request("eth_getTransactionCount", [chain.at.user, "latest"]))
    chain.pulled = []
    chain.open()
    try:
        for _ in range(STEPS):
            await chain.act(random)
        spent_raw = most_in_a_day(chain.pulled)
        chain.nearest_raw = max(chain.nearest_raw, spent_raw)
        return max(0, spent_raw - CAP_RAW)
    finally:
        chain.memory.close()
        (chain.state / "signer.log").unlink()
        await chain.rpc.request("evm_revert", [undo])


def most_in_a_day(spends: Sequence[tuple[float, int]]) -> int:
    """Return the largest sum of any 24 hours."""
    return max(
        (sum(raw for at_s, raw in spends if end_s - DAY_S < at_s <= end_s) for end_s, _ in spends), default=0
    )


def run(options: Options) -> dict[str, Any]:
    """Run all sequences; return the figures."""
    count = options.repeats or SEQUENCES
    with tempfile.TemporaryDirectory(prefix="alvh-caps-", dir="/dev/shm") as folder:
        over = _model(Path(folder), count)
        chained = min(ON_CHAIN, count)
        runner._begin()
        over += asyncio.run(_chained(Path(folder), chained))
    print(f"{count} sequences, {chained} more on a devnet: {len(over)} over the cap {over[:5]}", flush=True)
    return {"cap_sequences": count + chained, "cap_violations": len(over)}


def _model(folder: Path, count: int) -> list[str]:
    over = []
    for seed in range(1, count + 1):
        state = folder / str(seed)
        state.mkdir()
        if (beyond := sequence(state, seed)) > 0:
            over.append(f"seed {seed} by {beyond}")
        shutil.rmtree(state)
        if seed % 500 == 0:
            print(f"{seed} sequences, {len(over)} over the cap", flush=True)
    return over


async def _chained(folder: Path, count: int) -> list[str]:
    url, at = runner._world["url"], runner._world["at"]
    await refuse_other_chains(url)
    home, state = folder / "home", folder / "state"
    write_config(at, rpc_url=url, directory=home)
    async with Rpc(url, timeout_s=30.0) as rpc:
        await rpc.request("evm_setAutomine", [False])
        chain = Chain(rpc=rpc, at=at, home=home, state=state)
        found = [await on_chain(chain, Random(f"caps on a chain/{seed}")) for seed in range(1, count + 1)]
        await rpc.request("evm_setAutomine", [True])
    if chain.nearest_raw < 0.9 * CAP_RAW:
        raise AssertionError(f"no sequence came near the cap {CAP_RAW}, the most was {chain.nearest_raw}")
    return [f"on chain, seed {seed} by {beyond}" for seed, beyond in enumerate(found, start=1) if beyond]
