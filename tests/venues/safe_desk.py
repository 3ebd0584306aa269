"""One run of the program over a Safe of three owners, two of whom must sign; the first is the bot's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import send_builders
from eth_account import Account
from eth_account.signers.local import LocalAccount
from safe_builders import OWNERS, SafeWorld, safe_bench, signature

from bot.chain.safe_batch import calls_of
from bot.chain.safe_control import SafeControl
from bot.chain.safe_proposal import Proposal, ProposalStore
from bot.chain.safe_queue import SafeQueue
from bot.chain.signing.rules import ChainRules, SigningRules
from bot.chain.transactions import SendTerms, TransactionManager
from bot.devnet.deploy_safe import create_safe, deploy_safe_system
from bot.devnet.deployment import CHAIN_ID, MNEMONIC
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.model.intent import TxRequest
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.ports import MarketView
from bot.venues.custody import SafeProposer, SafeTerms
from bot.venues.lyra import lyra_venue

from .conftest import World, buy_leg

SAFE_USDC = 10_000
HOUR_S = 3_600


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the program may see it."""


@dataclass
class Custody:
    """The devnet's Lyra, and a Safe that may trade there."""

    world: World
    safes: SafeWorld
    owners: tuple[LocalAccount, ...]  # the first is the bot's
    folder: Path

    @property
    def address(self) -> str:
        return self.safes.address

    @property
    def bot(self) -> LocalAccount:
        return self.owners[0]

    def queue(self) -> SafeQueue:
        return SafeQueue(self.folder / "queue", chain_id=CHAIN_ID, safe=self.address)

    async def waiting(self) -> tuple[Proposal, ...]:
        return await self.queue().waiting(from_nonce=(await self.safes.state()).nonce)

    async def sign(self, proposal: Proposal, owner: int = 1) -> None:
        """Let another owner sign."""
        who = self.owners[owner]
        await self.queue().sign(proposal.tx_hash, who.address, signature(who, proposal.digest))

    async def execute(self, proposal: Proposal, owners: tuple[int, ...] = (0, 1)) -> None:
        """Let somebody else execute, from an account that has nothing to do with the bot."""
        signed = {self.owners[i].address: signature(self.owners[i], proposal.digest) for i in owners}
        await self.safes.execute(proposal.tx, signed, sender=self.world.at.whale)

    async def allowances(self) -> set[int]:
        at = self.world.at
        pairs = [(at.usdc, at.v3_router), (at.susd, at.v3_router), (at.susd, at.lyra_option_market)]
        return {await self.world.read("ERC20", "allowance", token, self.address, to) for token, to in pairs}


async def make_custody(world: World, cache_dir: Path, folder: Path, *, threshold: int = 2) -> Custody:
    """Deploy a Safe of the devnet's user and two more owners, with USDC and nothing else."""
    Account.enable_unaudited_hdwallet_features()
    bot = Account.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/1")
    owners = (bot, *OWNERS[:2])
    bench = safe_bench(world.rpc, cache_dir, world.at.accounts)
    system = await deploy_safe_system(bench)
    safe = await create_safe(bench, system, owners=[owner.address for owner in owners], threshold=threshold)
    usdc = bench.at("TestERC20SetDecimals", world.at.usdc)
    await usdc.send("mint", safe.address, SAFE_USDC * 10**6)
    safes = SafeWorld(bench, world.rpc, world.reader, world.at, system, safe)
    return Custody(world, safes, owners, folder)


class Process:
    """One run of the program over the journal, the signer's memory and the queue in a folder."""

    def __init__(
        self,
        custody: Custody,
        *,
        store: ProposalStore | None = None,
        die_before: Callable[[str], bool] = lambda _: False,
        paused: Callable[[], str] = lambda: "",
        **terms: Any,
    ) -> None:
        world, folder = custody.world, custody.folder
        self.custody = custody
        self.pauses: list[str] = []
        self.die_before = die_before
        watching = lyra_venue(reader=world.reader, contracts=world.contracts, swap=world.swap)
        rules = ChainRules(
            chain_id=CHAIN_ID,
            permissions=watching.permissions(),
            safe=custody.address.lower(),
            multi_send=custody.safes.multi_send.lower(),
        )
        self.signer = send_builders.signer(
            folder / "signer.log",
            key=bytes(custody.bot.key),
            given=SigningRules(chains=(rules,)),
            paused=paused,
        )
        identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=custody.address)
        self.journal = SqlJournal(folder / "journal.sqlite", identity=identity)
        self.manager = TransactionManager(
            world.rpc,
            self.signer,
            self.journal,
            chain_id=CHAIN_ID,
            terms=SendTerms(poll_s=0.01, resume_wait_s=10.0),
        )
        values: dict[str, Any] = {
            "chain_id": CHAIN_ID,
            "safe": custody.address,
            "multi_send": custody.safes.multi_send,
            "gas_ceiling": 9_000_000,
        }
        self.proposer = SafeProposer(
            SafeTerms(**{**values, **terms}),
            reader=world.reader,
            rpc=world.rpc,
            journal=self.journal,
            signer=self.signer,
            transactor=self,
            store=_Deadly(store or custody.queue(), self),
            control=SafeControl(folder / "safe-control.json", on_change=self.pauses.append),
        )
        self.venue = lyra_venue(
            reader=world.reader, contracts=world.contracts, swap=world.swap, custody=self.proposer
        )

    @property
    def address(self) -> str:
        return self.manager.address

    async def send(self, request: TxRequest) -> Any:
        self._maybe_die("send")
        receipt = await self.manager.send(request)
        self._maybe_die("sent")
        return receipt

    async def resume(self, leg_key: str) -> Any:
        return await self.manager.resume(leg_key)

    async def execute(self, leg: HedgeLeg) -> LegOutcome:
        """As the pipeline does: reserve the budget, execute, close what is closed."""
        view = await self.custody.world.view()
        self.journal.open_leg(leg, at_s=view.now_s)
        return self._close(await self.venue.execute(leg, view=view))

    async def reconcile(self, view: MarketView | None = None) -> LegOutcome:
        """Look again at the one order that is open."""
        (leg,) = self.journal.open_legs()
        return self._close(await self.venue.reconcile(leg, view=view or await self.custody.world.view()))

    def close(self) -> None:
        self.journal.close()
        self.signer.desk._memory.close()

    def _close(self, outcome: LegOutcome) -> LegOutcome:
        self.journal.close_leg(outcome)
        return outcome

    def _maybe_die(self, point: str) -> None:
        if self.die_before(point):
            raise Killed


class _Deadly:
    """The store, with places to die before and after a proposal was left."""

    def __init__(self, store: ProposalStore, process: Process) -> None:
        self._store, self._process = store, process
        self.where = store.where

    async def put(self, proposal: Proposal) -> None:
        self._process._maybe_die("put")
        await self._store.put(proposal)
        self._process._maybe_die("left")

    async def sign(self, tx_hash: str, owner: str, given: bytes) -> None:
        await self._store.sign(tx_hash, owner, given)

    async def get(self, tx_hash: str) -> Proposal | None:
        return await self._store.get(tx_hash)

    async def waiting(self, *, from_nonce: int) -> tuple[Proposal, ...]:
        return await self._store.waiting(from_nonce=from_nonce)


def calls_in(custody: Custody, proposal: Proposal) -> list[str]:
    """Return the targets that a proposal calls, lower case, in order."""
    return [call.to.lower() for call in calls_of(proposal.tx, multi_send=custody.safes.multi_send)]


async def order(custody: Custody, *, limit: float = 1.02, key: str = "plan/0", **changes: Any) -> HedgeLeg:
    """A put of 25 delta, valid for an hour."""
    view = await custody.world.view()
    quote = await custody.world.put_near_delta(0.25)
    return buy_leg(quote, key=key, limit=limit, **{"valid_until_s": view.now_s + HOUR_S, **changes})


Started = Callable[..., Process]


@contextmanager
def runs(custody: Custody) -> Iterator[Started]:
    """Give what starts the program; starting it again ends the run before."""
    running: list[Process] = []

    def start(**given: Any) -> Process:
        for process in running:
            process.close()
        running[:] = [Process(custody, **given)]
        return running[0]

    yield start
    for process in running:
        process.close()
