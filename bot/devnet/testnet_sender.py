"""Sends the transactions of a deployment under the money rules: one nonce per step, bytes on disk first.

A step is a transaction of a script that always sends the same ones in the same order. Run again, a step whose
transaction stands on the chain is not sent: its receipt is returned; one that was signed goes out again with
the same bytes; only a step that was never signed is signed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.chain.fees import FeePolicy, bumped, first_fees
from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Node, RevertError, RpcError, hex_bytes, quantity
from bot.chain.send_errors import SendResult, classify_send_error
from bot.devnet.testnet_key import CREATION, DeployKey
from bot.devnet.testnet_log import DeployLog, Ended, Lost, Signed
from bot.devnet.testnet_view import DeployView, created_address, is_creation
from bot.errors import ConfigError, InvariantError, OutcomeUnknown, TransientError, VenueRejected

_SIMULATIONS = 3  # a node behind a balancer may not have the block of the step before yet
_NO_ROOM = "exceeds allowance"  # geth, anvil: an estimate that no block can hold
_FOREIGN_LOOKS = 5
_LAG_LOOKS = 20
_SHOWN_NONCES = 200  # of strangers, looked through for a contract

OnStep = Callable[[Signed, Ended], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to wait between looks, before the same bytes go out again, and before a higher fee."""

    poll_s: float = 1.0
    resend_after_s: float = 15.0
    bump_after_s: float = 60.0
    deadline_s: float = 900.0  # for one transaction; past it run the command again


@dataclass(slots=True)
class _Wait:
    """The wait for one step, on the monotonic clock."""

    end_s: float
    raised_s: float  # when it was signed, or its fee was last raised
    sent_s: float = -1e9
    foreign: int = 0  # looks in a row at which its nonce was used and none of its hashes was there
    words: str = ""  # what went wrong last


class Sender:
    """A deploy_bench.Writer that keeps its word over kills. One at a time per state file."""

    def __init__(
        self,
        node: Node,
        key: DeployKey,
        log: DeployLog,
        *,
        chain_id: int,
        fees: FeePolicy,
        confirmations: int = 1,
        pace: Pace | None = None,
        accept_nonce: int = 0,
        on_step: OnStep = lambda _signed, _ended: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``accept_nonce``: a person's word that all transactions of the account below it are known."""
        self._node, self._key, self._log = node, key, log
        self._view = DeployView(node, key.address)
        self._chain_id, self._fees, self._confirmations = chain_id, fees, confirmations
        self._pace, self._accept_nonce, self._on_step = pace or Pace(), accept_nonce, on_step
        self._clock, self._sleep = clock, sleep
        self._run = ""
        self._count = 0
        self._stands: dict[str, Mapping[str, Any]] = {}  # receipts of steps that the chain has

    async def begin_run(self, run: str) -> None:
        """Count steps from 0 under a name, after everything that was signed before is on the chain.

        Raises ConfigError or InvariantError when the chain contradicts the file.
        """
        self._run, self._count = run, 0
        await self._check_chain()
        await self._look_up()
        for step in self._log.steps:
            if step not in self._stands:
                await self._follow(step)
        await self._check_code()

    async def transact(
        self, what: str, *, to: str | None, data: str, sender: str, value_wei: int
    ) -> Mapping[str, Any]:
        """See deploy_bench.Writer. Also raises ConfigError when the file's step is another transaction."""
        if sender.lower() != self._key.address.lower():
            raise InvariantError(f"{what} is to be sent by {sender}, the key is of {self._key.address}")
        payload = ((to or CREATION).lower(), hex_bytes(data), value_wei)
        step = f"{self._run}/{self._count}"
        self._count += 1
        if step not in self._stands:
            await self._sign_new(step, what, payload)
            await self._follow(step)
        if step not in self._stands:
            raise VenueRejected(f"{what} was mined without effect; run the same command again")
        self._check_same(step, what, payload)
        return self._stands[step]

    # what stands already

    async def _check_chain(self) -> None:
        begin = self._log.begin
        if begin is None:
            raise InvariantError(f"{self._log.path}: nothing was begun")
        chain_id = await self._view.chain_id()
        if not chain_id == self._chain_id == begin.chain_id:
            raise ConfigError(
                f"the node serves chain {chain_id}, asked for is {self._chain_id}, {self._log.path} is of "
                f"{begin.chain_id}; name the node of that chain, or another folder"
            )
        if await self._view.genesis() != begin.genesis:
            raise ConfigError(
                f"the node serves another chain of id {chain_id} than {self._log.path} was begun on: its "
                "first block differs (a local chain that was started anew?); name another folder"
            )
        if begin.sender.lower() != self._key.address.lower():
            raise ConfigError(
                f"{self._log.path} was begun by {begin.sender}, the keystore is of {self._key.address}; name "
                "the keystore that began it"
            )

    async def _look_up(self) -> None:
        """Find the receipts of closed steps in few requests; one that is missing is followed by itself."""
        ended = {
            step: item
            for step in self._log.steps
            if isinstance(item := self._log.closed(step), Ended) and item.succeeded
        }
        signed = []
        for step, item in ended.items():
            for attempt in self._log.attempts(step):
                self._check_raw(attempt)
                if attempt.tx_hash == item.tx_hash:
                    signed.append(attempt)
        for attempt, receipt in zip(signed, await self._view.receipts(signed), strict=True):
            if receipt is not None:
                self._close(attempt.step, [attempt], receipt)

    async def _check_code(self) -> None:
        """Every contract that a creation made must have code where its nonce put it."""
        made = [self._log.attempts(step)[-1] for step in self._log.steps if step in self._stands]
        made = [item for item in made if is_creation(item)]
        addresses = [created_address(self._key.address, item.nonce) for item in made]
        for item, address, has_code in zip(made, addresses, await self._view.codes(addresses), strict=True):
            if not has_code:
                raise InvariantError(
                    f"{item.what} succeeded by its receipt, but {address} has no code: the node is not to be "
                    "trusted, or the chain was reorganised; ask another node"
                )

    def _check_raw(self, attempt: Signed) -> None:
        found = decode_raw(attempt.raw)
        wanted = (attempt.tx_hash, self._key.address.lower(), self._chain_id, attempt.nonce)
        if (found.tx_hash, found.sender, found.chain_id, found.nonce) != wanted:
            raise InvariantError(
                f"step {attempt.step} of {self._log.path} holds bytes of {found.sender}, nonce "
                f"{found.nonce}, chain {found.chain_id}; expected were {wanted[1]}, nonce {wanted[3]}, chain "
                f"{wanted[2]}"
            )

    def _check_same(self, step: str, what: str, payload: tuple[str, bytes, int]) -> None:
        found = decode_raw(self._log.attempts(step)[-1].raw)
        if (found.to, found.data, found.value_wei) != payload:
            raise ConfigError(
                f"step {step} of {self._log.path} is another transaction than {what} of this version: it was "
                "begun by another version; finish it with that one, or deploy anew into another folder"
            )

    # from signed bytes to a fact

    async def _follow(self, step: str) -> None:
        """Wait until the newest nonce of a step is mined at depth or lost. Raises OutcomeUnknown."""
        for attempt in self._log.attempts(step):
            self._check_raw(attempt)
        now_s = self._clock()
        wait = _Wait(end_s=now_s + self._pace.deadline_s, raised_s=now_s)
        while True:
            try:
                if await self._look(step, wait):
                    return
            except TransientError as error:
                wait.words = str(error)
            if self._clock() >= wait.end_s:
                newest = self._log.attempts(step)[-1]
                said = f": {wait.words[:200]}" if wait.words else ""
                raise OutcomeUnknown(
                    f"{newest.what}, nonce {newest.nonce}, after {self._pace.deadline_s:.0f} s{said}; run "
                    "the same command again, it goes on with the same bytes",
                    newest.tx_hash,
                )
            await self._sleep(self._pace.poll_s)

    async def _look(self, step: str, wait: _Wait) -> bool:
        """Take one look and do what it asks for; True when the step is closed."""
        attempts = self._log.attempts(step)
        nonce = await self._view.nonce("latest")  # before the receipts: a used nonce has one then
        receipt, depth = await self._view.receipt(attempts)
        if receipt is not None:
            wait.foreign = 0
            if depth < self._confirmations:
                return False
            self._close(step, attempts, receipt)
            return True
        if nonce <= attempts[-1].nonce:
            wait.foreign = 0
            await self._press(attempts[-1], nonce, wait)
            return False
        wait.foreign += 1
        return wait.foreign >= _FOREIGN_LOOKS and self._lose(step, attempts[-1])

    async def _press(self, newest: Signed, nonce: int, wait: _Wait) -> None:
        """Send what is not mined, again after a while, and for a higher fee after a longer one."""
        now_s = self._clock()
        if now_s - wait.raised_s >= self._pace.bump_after_s and await self._raise_fee(newest):
            wait.raised_s, wait.sent_s = now_s, -1e9
        if now_s - wait.sent_s >= self._pace.resend_after_s:
            wait.sent_s = now_s
            wait.words = await self._broadcast_from(nonce)

    def _close(self, step: str, attempts: list[Signed], receipt: Mapping[str, Any]) -> None:
        tx_hash = str(receipt["transactionHash"]).lower()
        mined = next(item for item in attempts if item.tx_hash == tx_hash)
        ended = Ended(
            step=step,
            tx_hash=tx_hash,
            block_number=quantity(receipt.get("blockNumber")),
            succeeded=quantity(receipt.get("status")) == 1,
            gas_used=quantity(receipt.get("gasUsed")),
        )
        known = self._log.closed(step)
        if isinstance(known, Ended) and known.succeeded and not ended.succeeded:
            raise InvariantError(
                f"step {step}: {self._log.path} says that {known.tx_hash} succeeded, the chain says that "
                f"{tx_hash} failed; it was edited, or the node serves another chain of the same id"
            )
        if ended.succeeded:
            self._stands[step] = receipt
        if known is None:
            self._log.append(ended)
            self._on_step(mined, ended)

    def _lose(self, step: str, attempt: Signed) -> bool:
        """Book a nonce that somebody else used, once a person has said that it is known; else stop."""
        known = self._log.closed(step)
        if isinstance(known, Ended) and known.succeeded:
            raise InvariantError(
                f"step {step} was mined as {known.tx_hash} and is no longer on the chain, while its nonce "
                f"{attempt.nonce} is used: the node serves another chain of the same id, or lost history"
            )
        if known is None and attempt.nonce >= self._accept_nonce:
            raise InvariantError(
                f"nonce {attempt.nonce} of {self._key.address} was used by a transaction that is not in "
                f"{self._log.path}: find out who else uses the key, then allow it with --accept-nonce "
                f"{attempt.nonce + 1}"
            )
        if known is None:
            self._log.append(Lost(step=step, nonce=attempt.nonce))
        return True

    # from a step to signed bytes on disk

    async def _sign_new(self, step: str, what: str, payload: tuple[str, bytes, int]) -> None:
        to, data, value_wei = payload
        nonce = await self._free_nonce()
        gas = await self._gas(what, payload)
        fees = first_fees(await self._view.market(), self._fees)
        await self._afford(what, gas * fees.max_fee_wei + value_wei)
        signed = self._key.sign(
            chain_id=self._chain_id, nonce=nonce, to=to, data=data, value_wei=value_wei, gas=gas, fees=fees
        )
        self._log.append(Signed(step=step, what=what, nonce=nonce, raw=signed.raw, tx_hash=signed.tx_hash))

    async def _free_nonce(self) -> int:
        """Return the nonce of the next step. Refuses while chain and file disagree about the account."""
        expected = max(self._log.next_nonce or 0, self._accept_nonce)
        latest = 0
        for _ in range(_LAG_LOOKS):
            latest, pending = await self._view.nonce("latest"), await self._view.nonce("pending")
            if latest > expected or (latest == expected and pending > latest):
                raise InvariantError(await self._drift(expected, max(latest, pending)))
            if latest == expected:
                return expected
            await self._sleep(self._pace.poll_s)
        raise TransientError(
            f"the node shows {latest} transactions of {self._key.address}, {self._log.path} knows of "
            f"{expected}: it lags; run the same command again"
        )

    async def _drift(self, expected: int, found: int) -> str:
        nonces = range(expected, min(found, expected + _SHOWN_NONCES))
        addresses = [created_address(self._key.address, nonce) for nonce in nonces]
        codes = await self._view.codes(addresses)
        made = next((item for item, has_code in zip(addresses, codes, strict=True) if has_code), "")
        stands = f" and made a contract at {made} (was an older copy of the file restored?)" if made else ""
        return (
            f"{self._key.address} sent transactions with nonces {expected} to {found - 1}{stands} that are "
            f"not in {self._log.path}; find out what they were, then allow them with --accept-nonce {found}"
        )

    async def _gas(self, what: str, payload: tuple[str, bytes, int]) -> int:
        """Return the gas limit: 1.25 times the estimate, within what a transaction may have.

        Raises VenueRejected when it would revert, ConfigError when no block can hold it.
        """
        to, data, value_wei = payload
        estimate = await self._estimate(what, to=to, data=data, value_wei=value_wei)
        cap = await self._view.gas_cap()
        if estimate > cap:
            raise ConfigError(
                f"{what} needs {estimate:,} gas, a transaction on this chain may have {cap:,}: it cannot be "
                "done there"
            )
        return min(estimate * 5 // 4, cap)

    async def _estimate(self, what: str, *, to: str, data: bytes, value_wei: int) -> int:
        for look in range(1, _SIMULATIONS + 1):
            try:
                return await self._view.estimate(to=to, data=data, value_wei=value_wei)
            except RevertError as error:
                if look == _SIMULATIONS:
                    raise VenueRejected(f"{what}: {error.reason} (simulated, nothing was sent)") from None
            except RpcError as error:
                if _NO_ROOM not in error.message.lower():
                    raise
                raise ConfigError(
                    f"{what} needs more gas than a transaction on this chain may have: {error.message}"
                ) from None
            await self._sleep(self._pace.poll_s)
        raise InvariantError("a loop that returns or raises ended")

    async def _afford(self, what: str, needed_wei: int) -> None:
        held = await self._view.balance_wei()
        if held < needed_wei:
            raise VenueRejected(
                f"{what} may cost {needed_wei / 1e18:.6f} of the chain's coin, {self._key.address} holds "
                f"{held / 1e18:.6f}: send it {(needed_wei - held) / 1e18:.6f} more and run the same command "
                "again (nothing was signed)"
            )

    # broadcast and replacement

    async def _broadcast_from(self, nonce: int) -> str:
        """Send the newest bytes of every nonce from ``nonce`` on; return what the node said against it.

        After a reorganisation that is more than one: one that fell out of the chain blocks all later ones.
        """
        newest = {item.nonce: item for item in self._log.signed()}
        words = [await self._broadcast(newest[number]) for number in sorted(newest) if number >= nonce]
        return next((item for item in words if item), "")

    async def _broadcast(self, attempt: Signed) -> str:
        """No answer of the node closes a step; only a receipt does."""
        try:
            await self._node.request("eth_sendRawTransaction", [attempt.raw], send=True)
        except RpcError as error:
            return "" if classify_send_error(error.message) is SendResult.TAKEN else error.message
        except TransientError as error:
            return str(error)
        return ""

    async def _raise_fee(self, attempt: Signed) -> bool:
        """Sign the same again with higher fees at the same nonce; False when the cap forbids it."""
        old = decode_raw(attempt.raw)
        fees = bumped(old.fees, await self._view.market(), self._fees)
        if fees is None:
            return False
        signed = self._key.sign(
            chain_id=self._chain_id,
            nonce=old.nonce,
            to=old.to,
            data=old.data,
            value_wei=old.value_wei,
            gas=old.gas,
            fees=fees,
        )
        self._log.append(
            Signed(
                step=attempt.step,
                what=attempt.what,
                nonce=attempt.nonce,
                raw=signed.raw,
                tx_hash=signed.tx_hash,
            )
        )
        return True
