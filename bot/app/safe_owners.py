"""The owners' side of a Safe: what is proposed, and to sign, execute or reject it with an owner's key.

What a person signs here goes through the signer's own rules, with that owner's key and a memory of its own:
only what the configured venues allow, or a rejection. The running bot finds all of it by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bot.app.parts import open_chain
from bot.app.safe import open_store, safe_of
from bot.app.signer import signing_rules
from bot.chain.account_view import AccountView
from bot.chain.chain_traits import traits_of
from bot.chain.fees import GWEI, FeePolicy
from bot.chain.pause import read_pause
from bot.chain.preflight import Inspector
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Node
from bot.chain.safe import SafeOutcome, execution, is_rejection, rejection
from bot.chain.safe_batch import InnerCall, calls_of
from bot.chain.safe_calls import ERC20, ReadCall, Token, read_call
from bot.chain.safe_executed import Executed, find_executed
from bot.chain.safe_proposal import Gathered, Proposal, ProposalStore, gather, proposal_of
from bot.chain.safe_state import SafeState, approved, check_code, read_safe
from bot.chain.signer import Unsigned
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keystore import open_keystore
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import ChainRules, SigningRules
from bot.chain.transaction_bytes import assembled
from bot.errors import ConfigError, InvariantError, NotFoundError, OutcomeUnknown, VenueRejected
from bot.model.intent import TxRequest
from bot.model.market import Block
from bot.settings import Settings, load_policy
from bot.settings.shape import addresses
from bot.venues.custody import REJECTION_VALID_S

_LOOKS, _LOOK_S = 240, 0.5  # for the execution by hand to be mined
_SIGNED_FOR_S = (
    86_400.0  # the bot's own order says when it ends; this bounds a signature for one that does not
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One proposal, as a person may judge it."""

    proposal: Proposal
    gathered: Gathered
    calls: tuple[ReadCall, ...]
    is_rejection: bool
    problem: str  # why it is not signed here; empty when nothing speaks against it
    would_fail: str  # why it would not succeed now; empty when it would, or has not its signatures yet


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeLook:
    """A Safe and all that waits for its owners, at one block."""

    state: SafeState
    block: Block
    where: str
    shown: tuple[Shown, ...]
    tokens: Mapping[str, Token]
    labels: Mapping[str, str]


class Owners:
    """One Safe with what its owners may do. Made by :func:`open_owners`."""

    def __init__(
        self,
        settings: Settings,
        *,
        rules: ChainRules,
        node: Node,
        reader: JsonRpcReader,
        store: ProposalStore,
        head: Block,
        state: SafeState,
    ) -> None:
        self._settings, self._rules = settings, rules
        self._node, self._reader, self._store = node, reader, store
        self._head, self._state = head, state

    async def look(self) -> SafeLook:
        """Return what waits, the next nonce first. Raises TransientError, DisagreementError."""
        waiting = await self._store.waiting(from_nonce=self._state.nonce)
        labels = {found.address.lower(): found.field for found in addresses(self._settings)}
        tokens = await self._tokens(waiting)
        shown = [await self._shown(item, tokens, labels) for item in waiting]
        return SafeLook(
            state=self._state,
            block=self._head,
            where=self._store.where,
            shown=tuple(shown),
            tokens=tokens,
            labels=labels,
        )

    async def sign(self, tx_hash: str, *, owner: str, keystore: Path, password: str) -> Shown:
        """Sign a proposal as ``owner`` and leave that with it. Raises VenueRejected, InvariantError."""
        proposal = await self._proposal(tx_hash)
        signature = await self._signature(proposal, owner=owner, keystore=keystore, password=password)
        await self._store.sign(proposal.tx_hash, owner, signature)
        return await self._shown(await self._proposal(tx_hash), {}, {})

    async def reject(self, tx_hash: str, *, owner: str, keystore: Path, password: str) -> Shown:
        """Leave a rejection at a proposal's nonce, signed as ``owner``; the first of two executed wins."""
        wanted = await self._proposal(tx_hash)
        void = proposal_of(
            rejection(self._state.address, wanted.tx.nonce),
            chain_id=self._rules.chain_id,
            safe=self._state.address,
            origin=f"rejection of {tx_hash}"[:100],
            proposer=owner,
        )
        signature = await self._signature(void, owner=owner, keystore=keystore, password=password)
        await self._store.put(replace(void, signatures={owner: signature}))
        return await self._shown(await self._proposal(void.tx_hash), {}, {})

    async def execute(self, tx_hash: str, *, owner: str, keystore: Path, password: str) -> Executed:
        """Execute a proposal that has its signatures; ``owner`` pays the gas, from an account of their own.

        Raises VenueRejected when it lacks signatures or would fail (nothing was sent), OutcomeUnknown when it
        was sent and its end is not seen: look again with ``look``.
        """
        account = self._settings.account
        if account is not None and account.address == owner:
            raise ConfigError(
                f"{owner} is the bot's own account, whose nonces its journal keeps: the running bot executes "
                "by itself; give another owner's keystore"
            )
        proposal = await self._proposal(tx_hash)
        shown = await self._shown(proposal, {}, {})
        if shown.problem or not shown.gathered.reached(self._state) or shown.would_fail:
            missing = f"{len(shown.gathered.signatures)} of {self._state.threshold} signatures"
            raise VenueRejected(f"not executed: {shown.problem or shown.would_fail or missing}")
        with self._desk(owner, keystore, password) as desk:
            await self._send(proposal, shown.gathered, desk)
        return await self._mined(proposal)

    # one proposal

    async def _proposal(self, tx_hash: str) -> Proposal:
        found = await self._store.get(tx_hash)
        if found is None:
            raise NotFoundError(f"no proposal {tx_hash:.66} in {self._store.where}; see alvh safe list")
        if found.tx.nonce < self._state.nonce:
            raise NotFoundError(
                f"nonce {found.tx.nonce} of proposal {tx_hash} was used; the Safe is at {self._state.nonce}"
            )
        return found

    async def _shown(
        self, proposal: Proposal, tokens: Mapping[str, Token], labels: Mapping[str, str]
    ) -> Shown:
        void = is_rejection(proposal.tx, self._state.address)
        approvers = await approved(self._reader, self._state, proposal.digest, block=self._head)
        gathered = gather(proposal, self._state, approvers=approvers)
        calls: tuple[ReadCall, ...] = ()
        problem = ""
        try:
            inner = () if void else calls_of(proposal.tx, multi_send=self._rules.multi_send)
            calls = tuple(self._read(call, tokens, labels) for call in inner)
        except InvariantError as error:
            problem = str(error)
        strange = [call.name for call in calls if not call.is_allowed]
        if strange:
            problem = f"no configured venue asks for {', '.join(strange)}"
        elif not proposal.tx.reverts_whole:
            problem = "it has gas fields of its own: a failure inside would use up its nonce"
        return Shown(
            proposal=proposal,
            gathered=gathered,
            calls=calls,
            is_rejection=void,
            problem=problem,
            would_fail=await self._would_fail(proposal, gathered),
        )

    def _read(self, call: InnerCall, tokens: Mapping[str, Token], labels: Mapping[str, str]) -> ReadCall:
        return read_call(call, permissions=self._rules.permissions, tokens=tokens, labels=labels)

    async def _would_fail(self, proposal: Proposal, gathered: Gathered) -> str:
        if not gathered.reached(self._state) or proposal.tx.nonce != self._state.nonce:
            return ""
        data = execution(proposal.tx, gathered.signatures)
        sender = next(iter(gathered.signatures))
        try:
            await self._reader.simulate(to=self._state.address, data=data, block=self._head, sender=sender)
        except VenueRejected as refusal:
            return str(refusal)
        return ""

    async def _tokens(self, waiting: tuple[Proposal, ...]) -> dict[str, Token]:
        """Return symbol and decimals of every token that a batch lets others take, where it says them."""
        found: dict[str, None] = {}
        for proposal in waiting:
            try:
                inner = calls_of(proposal.tx, multi_send=self._rules.multi_send)
            except InvariantError:
                continue
            approve = ERC20.function("approve").selector
            found |= {call.to.lower(): None for call in inner if call.data[:4] == approve}
        calls = [ERC20.call(name, token) for token in found for name in ("symbol", "decimals")]
        rows = await self._reader.read(calls, block=self._head) if calls else []
        pairs = zip(found, zip(rows[::2], rows[1::2], strict=True), strict=True)
        return {
            token: Token(symbol=str(symbol[0])[:12], decimals=int(decimals[0]))
            for token, (symbol, decimals) in pairs
            if symbol is not None and decimals is not None
        }

    # an owner's key

    async def _signature(self, proposal: Proposal, *, owner: str, keystore: Path, password: str) -> bytes:
        if owner not in self._state.owners:
            raise VenueRejected(
                f"{owner} is no owner of Safe {self._state.address}; its owners are "
                f"{', '.join(self._state.owners)}"
            )
        with self._desk(owner, keystore, password) as desk:
            return await asyncio.to_thread(
                desk.sign_safe,
                proposal.tx,
                chain_id=self._rules.chain_id,
                safe=self._state.address,
                valid_until_s=self._head.timestamp_s + _SIGNED_FOR_S,
                now_s=self._head.timestamp_s,
            )

    @contextmanager
    def _desk(self, owner: str, keystore: Path, password: str) -> Iterator[SigningDesk]:
        """Open an owner's key behind the same rules as the bot's signer, with a memory of its own."""
        state_dir = self._settings.state_dir
        key = open_keystore(keystore, password, address=owner)
        memory = SignerMemory(state_dir / f"signer-{owner.lower()}.log")
        try:
            yield SigningDesk(
                key,
                SigningRules(chains=(self._rules,)),
                memory,
                paused=lambda: str(read_pause(state_dir) or ""),
            )
        finally:
            memory.close()

    async def _send(self, proposal: Proposal, gathered: Gathered, desk: SigningDesk) -> None:
        chosen = dict(sorted(gathered.signatures.items())[: self._state.threshold])
        request = TxRequest(
            key=proposal.tx_hash,
            leg_key=proposal.tx_hash,
            purpose="safe-execute",
            to=self._state.address,
            data=execution(proposal.tx, chosen),
            valid_until_s=self._head.timestamp_s + REJECTION_VALID_S,
            gas_ceiling=self._rules.gas_ceiling,
        )
        chain_id, sender = self._rules.chain_id, desk.address.lower()
        inspector = Inspector(
            node=self._node,
            chain_id=chain_id,
            sender=sender,
            policy=FeePolicy(max_fee_cap_wei=int(self._settings.execution.max_fee_gwei * GWEI)),
            parts=traits_of(chain_id).fees,
        )
        head = await AccountView(self._node, chain_id=chain_id, sender=sender).head()
        ready = await inspector.inspect(request, head)
        unsigned = Unsigned(
            chain_id=chain_id,
            nonce=ready.pending_nonce,
            to=request.to,
            data=request.data,
            value_wei=0,
            gas=ready.gas,
            fees=ready.fees,
            valid_until_s=request.valid_until_s,
        )
        signed = assembled(unsigned, desk.sign(unsigned, now_s=head.time_s))
        await self._node.request("eth_sendRawTransaction", [signed.raw], send=True)

    async def _mined(self, proposal: Proposal) -> Executed:
        for _ in range(_LOOKS):
            head = await self._reader.head()
            found = await find_executed(
                self._reader,
                safe=self._state.address,
                hashes=[proposal.tx_hash],
                from_block=self._head.number,
                head=head,
            )
            if found is not None:
                return found
            await asyncio.sleep(_LOOK_S)
        raise OutcomeUnknown(f"the execution of Safe transaction {proposal.tx.nonce}", proposal.tx_hash)


@asynccontextmanager
async def open_owners(settings: Settings) -> AsyncIterator[Owners]:
    """Read the configured Safe. Raises ConfigError for what is no Safe, TransientError."""
    safe = safe_of(settings)
    rules = signing_rules(settings, load_policy(settings.policy), expires_s=float("inf")).chains[0]
    rules = replace(rules, safe=safe.address.lower(), multi_send=safe.multi_send.lower())
    async with open_chain(settings) as (node, reader), open_store(settings) as store:
        head = await reader.head()
        state = await read_safe(reader, safe.address, block=head)
        await check_code(reader, state, multi_send=safe.multi_send, block=head)
        yield Owners(settings, rules=rules, node=node, reader=reader, store=store, head=head, state=state)


def succeeded(found: Executed) -> bool:
    return found.outcome is SafeOutcome.SUCCEEDED
