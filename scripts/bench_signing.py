"""``scripts/bench reaction --sign``: block, decision, accepted transaction, beside AsyncWeb3 and eth-account.

Ours goes on where ``bench_reaction`` ends, on the production path: the transaction manager simulates and
prices at the decided block, the signer's process (``alvh signer``, with the devnet's own rules) judges, syncs
and signs, the journal syncs, the bytes go out. The other side makes the same reads and the same decision with
AsyncWeb3, asks for simulation, gas, fees and nonce at once, signs with eth-account in its own process, and
keeps nothing. The transaction is the first of a purchase, an exact approval. Both take turns on one node; the
end is the node's answer with the hash. Shares of ours overlap: the reservation is on its way to disk while
the signer works.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from bench_reaction import Miner, Ours, Peer
from bench_timers import Figures
from eth_account import Account

from bot.app.signer_link import open_signer
from bot.chain.abi import Abi
from bot.chain.account_view import Head
from bot.chain.fees import GWEI, Fees
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.chain.send_route import Said, SendRoute
from bot.chain.signer import Signed, Signer, Unsigned
from bot.chain.signing.keys import LocalKey
from bot.chain.transaction_bytes import assembled, preimage
from bot.chain.transactions import SendTerms, TransactionManager
from bot.chain.wake import HeadWaker
from bot.devnet.config import write_config
from bot.devnet.deployment import CHAIN_ID, MNEMONIC, Deployment
from bot.devnet.node import start_devnet
from bot.errors import InvariantError
from bot.model.hedge import HedgeLeg, Layer, Side
from bot.model.intent import IntentEvent, TxRequest
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.settings import Settings, cache_dir, load_policy, load_settings

_ROUNDS, _WARM = 40, 5
_GAP_S = 0.07
_GAS_CEILING = 120_000
_FAR_S = 600.0
ERC20 = Abi.load("ERC20")


async def bench_signing() -> Figures:
    """Return medians and percentiles of both sides, and the shares of ours in milliseconds."""
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(await start_devnet(cache_dir()))
        rpc = await stack.enter_async_context(Rpc(devnet.rpc_url))
        at, socket_url = devnet.deployment, devnet.rpc_url.replace("http://", "ws://")
        reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        miner = await stack.enter_async_context(Miner(session, devnet.rpc_url, socket_url))
        waker = await stack.enter_async_context(HeadWaker(socket_url))
        ours = await Ours.start(reader, at, waker)
        await ours.round(miner)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alvh-bench-")))
        settings = load_settings(write_config(at, rpc_url=devnet.rpc_url, directory=folder))
        sender = await stack.enter_async_context(_Sender(settings, rpc, at, ours))
        peer = await stack.enter_async_context(_SigningPeer(socket_url, await ours.calls(), ours, at))
        taken: dict[str, list[float]] = {"ours": [], "peer": []}
        for number in range(_WARM + _ROUNDS):
            for name, side in (("ours", sender), ("peer", peer)):
                seconds = await side.round(miner)
                if number >= _WARM:
                    taken[name].append(seconds)
        shares = sender.share_figures(_ROUNDS)
        close = [await sender.round(miner, 0.0) for _ in range(_WARM + _ROUNDS)][_WARM:]
    return {
        "signed_over_asyncweb3": float(np.median(np.array(taken["ours"]) / np.array(taken["peer"]))),
        "signed_ms_p50": float(np.median(taken["ours"])) * 1e3,
        "signed_ms_p95": float(np.percentile(taken["ours"], 95)) * 1e3,
        "signed_asyncweb3_ms_p50": float(np.median(taken["peer"])) * 1e3,
        "signed_back_to_back_ms_p50": float(np.median(close)) * 1e3,
        "signed_back_to_back_ms_p95": float(np.percentile(close, 95)) * 1e3,
        "sign_ms": _sign_ms(at),
        **shares,
    }


def _sign_ms(at: Deployment) -> float:
    """Return the median of making one signature over a transaction, key in hand."""
    key = LocalKey(bytes.fromhex("59" * 32))
    asked = Unsigned(
        chain_id=CHAIN_ID,
        nonce=1,
        to=at.usdc,
        data=ERC20.encode("approve", at.v3_router, 10**6),
        value_wei=0,
        gas=_GAS_CEILING,
        fees=Fees(max_fee_wei=GWEI, tip_wei=1),
        valid_until_s=0.0,
    )
    taken = []
    for _ in range(500):
        start = time.perf_counter()
        assembled(asked, key.signature(preimage(asked)))
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e3


@dataclass(slots=True)
class _Stamps:
    """When each part of the transaction under way began and ended."""

    begun: dict[str, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    accepted_at: float = 0.0

    def begin(self, part: str) -> Callable[[], None]:
        start = time.perf_counter()
        self.begun.setdefault(part, start)

        def end() -> None:
            self.spent[part] = self.spent.get(part, 0.0) + time.perf_counter() - start

        return end


class _TimedSigner:
    def __init__(self, signer: Signer, stamps: _Stamps) -> None:
        self._signer, self._stamps = signer, stamps
        self.address = signer.address

    async def sign(self, unsigned: Unsigned, *, now_s: float) -> Signed:
        end = self._stamps.begin("signer")
        signed = await self._signer.sign(unsigned, now_s=now_s)
        end()
        return signed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._signer, name)


class _TimedJournal:
    def __init__(self, journal: SqlJournal, stamps: _Stamps) -> None:
        self._journal, self._stamps = journal, stamps

    def append_intent(self, event: IntentEvent) -> None:
        end = self._stamps.begin("journal" if not self._stamps.accepted_at else "after")
        self._journal.append_intent(event)
        end()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class _TimedRoute:
    def __init__(self, route: SendRoute, stamps: _Stamps) -> None:
        self._route, self._stamps = route, stamps

    async def send(self, raw: str, tx_hash: str, **options: Any) -> Said:
        end = self._stamps.begin("broadcast")
        said = await self._route.send(raw, tx_hash, **options)
        end()
        self._stamps.accepted_at = self._stamps.accepted_at or time.perf_counter()
        return said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._route, name)


class _Sender:
    """Our side, from the head to an accepted transaction."""

    def __init__(self, settings: Settings, rpc: Rpc, at: Deployment, ours: Ours) -> None:
        self._settings, self._rpc, self._at, self._ours = settings, rpc, at, ours
        self._stack = AsyncExitStack()
        self._stamps = _Stamps()
        self._sent = 0
        self._shares: list[dict[str, float]] = []

    async def __aenter__(self) -> "_Sender":
        policy_hash = load_policy(self._settings.policy).hash
        signer = await self._stack.enter_async_context(
            open_signer(self._settings, policy_hash=policy_hash, who="bench")
        )
        identity = JournalIdentity(mode="live", chain_id=CHAIN_ID, account=signer.address)
        path = self._settings.state_dir / "journal-bench.sqlite"
        journal = self._stack.enter_context(SqlJournal(path, identity=identity))
        journal.open_leg(self._leg(), at_s=0.0)
        self._manager = TransactionManager(
            self._rpc,
            _TimedSigner(signer, self._stamps),
            _TimedJournal(journal, self._stamps),
            chain_id=CHAIN_ID,
            terms=SendTerms(confirmations=1, poll_s=0.02),
            route=_TimedRoute(SendRoute(public=self._rpc), self._stamps),  # type: ignore[arg-type]
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def round(self, miner: Miner, gap_s: float = _GAP_S) -> float:
        """Mine a block, decide on it, send; return seconds from the block to the node's yes."""
        await self._ours.round(miner, gap_s=gap_s)
        decided = time.perf_counter()
        self._stamps.begun.clear()
        self._stamps.spent.clear()
        self._stamps.accepted_at = 0.0
        told_at = miner.announced_at
        await self._manager.send(self._request())
        self._shares.append(
            {
                "decide": decided - told_at,
                "simulate": self._stamps.begun["signer"] - decided,
                "journal": self._stamps.spent["journal"],
                "signer": self._stamps.spent["signer"],
                "broadcast": self._stamps.spent["broadcast"],
            }
        )
        return self._stamps.accepted_at - told_at

    def _leg(self) -> HedgeLeg:
        return HedgeLeg(
            key="bench",
            group="ETH/USDC",
            layer=Layer.NEAR,
            side=Side.BUY,
            instrument=self._ours.quotes[0].instrument,
            size=1.0,
            limit_usd=1e6,
            expected_usd=1e6,
            valid_until_s=4e9,
        )

    def _request(self) -> TxRequest:
        frame = self._ours.frame
        if frame is None:
            raise InvariantError("there is no frame to decide on")
        block = frame.blocks[CHAIN_ID]
        self._manager.heard(Head(block.number, float(block.timestamp_s), block.hash))
        self._sent += 1
        return TxRequest(
            key=f"bench/{self._sent}-approve-swap-in",
            leg_key="bench",
            purpose="approve-swap-in",
            to=self._at.usdc,
            data=ERC20.encode("approve", self._at.v3_router, 10**6 + self._sent),
            valid_until_s=block.timestamp_s + _FAR_S,
            gas_ceiling=_GAS_CEILING,
        )

    def share_figures(self, rounds: int) -> Figures:
        recent = self._shares[-rounds:]
        return {
            f"signed_{part}_ms_p50": float(np.median([share[part] for share in recent])) * 1e3
            for part in recent[0]
        }


class _SigningPeer(Peer):
    """The same with AsyncWeb3 and eth-account."""

    def __init__(self, url: str, calls: Any, ours: Ours, at: Deployment) -> None:
        super().__init__(url, calls, ours)
        Account.enable_unaudited_hdwallet_features()
        self._account = Account.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/5")
        self._at = at
        self._sent = 0

    async def round(self, miner: Miner) -> float:
        """Return seconds from the block to the node's yes."""
        await super().round(miner)
        told_at, node = miner.announced_at, self._node
        self._sent += 1
        data = "0x" + ERC20.encode("approve", self._at.v3_router, 10**6 + self._sent).hex()
        transaction = {
            "from": self._account.address,
            "to": node.to_checksum_address(self._at.usdc),
            "data": data,
        }
        _, gas, nonce, tip, block = await asyncio.gather(
            node.eth.call(transaction),
            node.eth.estimate_gas(transaction),
            node.eth.get_transaction_count(self._account.address),
            node.eth.max_priority_fee,
            node.eth.get_block("latest"),
        )
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": CHAIN_ID,
                "nonce": nonce,
                "to": transaction["to"],
                "data": data,
                "value": 0,
                "gas": gas,
                "maxFeePerGas": 2 * block["baseFeePerGas"] + tip,
                "maxPriorityFeePerGas": tip,
            }
        )
        tx_hash = await node.eth.send_raw_transaction(signed.raw_transaction)
        accepted_at = time.perf_counter()
        await node.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.02)
        return accepted_at - told_at
