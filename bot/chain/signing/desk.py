"""Where a request becomes a signature, or a refusal: rules, memory and key in one place.

The order is fixed: check, keep on disk, sign. What was kept and then not signed only costs a nonce.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite

from eth_utils.crypto import keccak

from bot.chain.safe import SAFE, Operation, SafeTx, is_rejection
from bot.chain.safe_batch import InnerCall, calls_of
from bot.chain.signer import Unsigned
from bot.chain.signing.calls import Approval, Bounds, CallBook
from bot.chain.signing.keys import Key
from bot.chain.signing.memory import Entry, Payload, SignerMemory, Uptime, uptime
from bot.chain.signing.rules import COIN, ChainRules, SigningRules
from bot.chain.signing.safe import safe_preimage
from bot.chain.transaction_bytes import preimage
from bot.errors import InvariantError, VenueRejected
from bot.model.units import iso_utc

_CANCEL_GAS_MAX = 1_000_000  # a transfer is 21,000; Arbitrum counts its L1 share as gas too
# The bot has one transaction open at a time, so that the nonce it may have to use up is the next one. The
# others are for a row of crashes in none of which anything was signed.
_CANCELS_AHEAD = 16
# One part in so many of the coin's cap is for cancels and revocations alone: of a cap that holds one
# order that is enough to take it back.
_BACK_SHARE = 10
_NOTHING: Payload = ("", "", 0)
_EXECUTE = SAFE.function("execTransaction").selector


@dataclass(frozen=True, slots=True)
class _Chain:
    rules: ChainRules
    book: CallBook


@dataclass(frozen=True, slots=True, kw_only=True)
class _Total:
    """What all calls of one request do together."""

    approvals: tuple[Approval, ...] = ()
    spends: tuple[tuple[str, int], ...] = ()
    bought: tuple[str, ...] = ()  # tokens that only the calls name


class SigningDesk:
    """Signs for one key within SigningRules. ``paused`` says why nothing that opens may be signed, or ""."""

    def __init__(
        self,
        key: Key,
        rules: SigningRules,
        memory: SignerMemory,
        *,
        paused: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
        up: Callable[[], Uptime] = uptime,
    ) -> None:
        self.address = key.address
        self._account = key.address.lower()
        self._key = key
        self._rules = rules
        self._memory = memory
        self._paused = paused
        self._clock, self._up = clock, up
        self._chains = {
            chain.chain_id: _Chain(chain, CallBook(chain.permissions, own=self._own(chain)))
            for chain in rules.chains
        }

    def __repr__(self) -> str:
        return f"SigningDesk({self.address})"

    def sign(self, unsigned: Unsigned, *, now_s: float) -> bytes:
        """Return 65 bytes over the transaction, or refuse. Raises as ``Signer.sign``."""
        chain = self._chain(unsigned.chain_id)
        unsigned = replace(unsigned, to=unsigned.to.lower())
        self._check_clock(chain.rules, now_s)
        _check_fees(unsigned, chain.rules)
        if unsigned.is_cancel(self._account):
            entry = self._cancel(unsigned, chain.rules, now_s)
        else:
            entry = self._transaction(unsigned, chain, now_s)
        entry = _with_gas(entry, unsigned, chain.rules)
        self._memory.append(self._counted(chain.rules, entry))
        return self._key.signature(preimage(unsigned))

    def sign_safe(self, tx: SafeTx, *, chain_id: int, safe: str, valid_until_s: float, now_s: float) -> bytes:
        """Return an owner's 65 bytes over a Safe's transaction, or refuse. Raises as ``Signer.sign_safe``."""
        chain = self._chain(chain_id)
        rules = chain.rules
        self._check_clock(rules, now_s)
        if not rules.safe or safe.lower() != rules.safe:
            raise InvariantError(
                f"Safe {safe} is not the one that this account signs for, {rules.safe or 'none'}"
            )
        total = self._safe_total(tx, chain, valid_until_s=valid_until_s, now_s=now_s)
        if tx.nonce < (highest := self._memory.highest(chain_id, rules.safe)):
            raise InvariantError(f"Safe nonce {tx.nonce} is below {highest}, which was signed for")
        entry = Entry(
            chain_id=chain_id,
            space=rules.safe,
            nonce=tx.nonce,
            payload=(tx.to.lower(), keccak(tx.data).hex(), tx.value_wei),
            is_cancel=is_rejection(tx, safe),
            at_s=now_s,
            approvals=total.approvals,
            spends=total.spends,
            bought=total.bought,
        )
        self._memory.append(self._counted(rules, entry))
        return self._key.signature(safe_preimage(tx, chain_id=chain_id, safe=safe))

    def has_signed(self, chain_id: int, nonce: int) -> bool:
        """Say whether a signature for a nonce of the account may exist."""
        return self._memory.has_signed(chain_id, self._account, nonce)

    def closing_only(self, now_s: float) -> str:
        """Return why nothing that opens is signed now, "" when it is."""
        if found := self._paused():
            return found
        if not now_s <= self._rules.expires_s:
            return f"the owners' grant of the policy expired at {iso_utc(int(self._rules.expires_s))}"
        return ""

    # transactions of the account

    def _transaction(self, unsigned: Unsigned, chain: _Chain, now_s: float) -> Entry:
        rules = chain.rules
        payload = (unsigned.to, keccak(unsigned.data).hex(), unsigned.value_wei)
        self._check_nonce(unsigned, payload)
        if unsigned.gas > rules.gas_ceiling:
            raise VenueRejected(f"{unsigned.gas} gas is over the signer's ceiling {rules.gas_ceiling}")
        _check_time(rules, unsigned.valid_until_s, now_s)
        if rules.safe and unsigned.to == rules.safe:
            total = self._execution(unsigned, chain, now_s)
        else:
            call = InnerCall(to=unsigned.to, data=unsigned.data, value_wei=unsigned.value_wei)
            total = self._total(
                (call,), chain, holder=self._account, until_s=unsigned.valid_until_s, now_s=now_s
            )
        return Entry(
            chain_id=unsigned.chain_id,
            space=self._account,
            nonce=unsigned.nonce,
            payload=payload,
            is_cancel=False,
            at_s=now_s,
            approvals=total.approvals,
            spends=total.spends,
            bought=total.bought,
        )

    def _cancel(self, unsigned: Unsigned, rules: ChainRules, now_s: float) -> Entry:
        """A cancel needs no rule and no time. What its nonce was to allow counts as not allowed any more."""
        self._check_cancelled(unsigned, rules)
        if unsigned.gas > _CANCEL_GAS_MAX:
            raise VenueRejected(f"a cancel asks for {unsigned.gas} gas, at most {_CANCEL_GAS_MAX} is allowed")
        voided = self._memory.approvals(unsigned.chain_id, self._account, unsigned.nonce)
        return Entry(
            chain_id=unsigned.chain_id,
            space=self._account,
            nonce=unsigned.nonce,
            payload=_NOTHING,
            is_cancel=True,
            at_s=now_s,
            approvals=tuple(replace(item, amount_raw=0) for item in voided),
        )

    def _check_nonce(self, unsigned: Unsigned, payload: Payload) -> None:
        memory, chain_id, nonce = self._memory, unsigned.chain_id, unsigned.nonce
        if memory.payload(chain_id, self._account, nonce) == payload:
            return
        if memory.has_signed(chain_id, self._account, nonce):
            raise InvariantError(
                f"nonce {nonce} on chain {chain_id} was signed for another payload; "
                "only a fee replacement or a cancel may follow"
            )
        if nonce < (highest := memory.highest(chain_id, self._account)):
            raise InvariantError(
                f"nonce {nonce} on chain {chain_id} is below {highest}, which was signed for; "
                "only a cancel may use it"
            )

    def _check_cancelled(self, unsigned: Unsigned, rules: ChainRules) -> None:
        """Refuse a cancel far ahead: it would lie in wait for a nonce that something else is to have."""
        highest = self._memory.highest(unsigned.chain_id, self._account)
        known = max(highest, rules.accept_nonce - 1)
        if highest >= 0 and unsigned.nonce > known + _CANCELS_AHEAD:
            raise InvariantError(
                f"a cancel of nonce {unsigned.nonce} is more than {_CANCELS_AHEAD} above {known}, the last "
                "one known; where those between were used by hand, execution.accept_nonce says so"
            )

    def _execution(self, unsigned: Unsigned, chain: _Chain, now_s: float) -> _Total:
        """Check what the Safe would do. Its spend was counted when its owners signed."""
        if unsigned.data[:4] != _EXECUTE or unsigned.value_wei:
            raise InvariantError(f"a call of Safe {unsigned.to} must be execTransaction without value")
        _, given = SAFE.decode_input(unsigned.data)
        values = tuple(given.values())
        if SAFE.encode("execTransaction", *values) != unsigned.data:
            raise InvariantError("calldata is not the canonical encoding of execTransaction")
        if values[3] not in (Operation.CALL, Operation.DELEGATE_CALL):
            raise InvariantError(f"operation {values[3]} of a Safe is unknown")
        tx = SafeTx(
            to=values[0],
            value_wei=values[1],
            data=bytes(values[2]),
            operation=Operation(values[3]),
            safe_tx_gas=values[4],
            base_gas=values[5],
            gas_price=values[6],
            gas_token=values[7],
            refund_receiver=values[8],
            nonce=0,
        )
        total = self._safe_total(tx, chain, valid_until_s=unsigned.valid_until_s, now_s=now_s)
        return replace(total, approvals=(), spends=(), bought=())

    # what a request would do

    def _safe_total(self, tx: SafeTx, chain: _Chain, *, valid_until_s: float, now_s: float) -> _Total:
        rules = chain.rules
        if not tx.reverts_whole:
            raise InvariantError(
                "a Safe transaction must refund nobody and revert whole: gas fields must be 0"
            )
        if tx.nonce < 0:
            raise InvariantError(f"Safe nonce {tx.nonce} is out of range")
        if tx.to.lower() == rules.safe:
            if tx.data or tx.value_wei or tx.operation is not Operation.CALL:
                raise InvariantError(f"Safe {rules.safe} is never asked to change itself")
            return _Total()  # a rejection
        _check_time(rules, valid_until_s, now_s)
        calls = calls_of(tx, multi_send=rules.multi_send)
        return self._total(calls, chain, holder=rules.safe, until_s=valid_until_s, now_s=now_s)

    def _total(
        self, calls: tuple[InnerCall, ...], chain: _Chain, *, holder: str, until_s: float, now_s: float
    ) -> _Total:
        given: dict[str, int] = {}  # allowances of this very batch, before what was signed earlier
        allowed = chain.rules.chain_id, holder
        bounds = Bounds(
            recipients=frozenset({holder, *filter(None, (chain.rules.safe,))}),
            now_s=now_s,
            valid_until_s=until_s,
            allowance=lambda spender: given.get(spender, self._memory.allowance(*allowed, spender)),
            bought=lambda token: self._memory.has_bought(*allowed, token),
        )
        spends: dict[str, int] = {}
        approvals: list[Approval] = []
        bought: list[str] = []
        opens = False
        for call in calls:
            effect = chain.book.check(call.to.lower(), call.data, bounds)
            opens |= effect.opens
            bought += filter(None, [effect.buys])
            if (found := effect.approval) is not None:
                approvals.append(found)
                given[found.spender] = found.amount_raw
                spends[found.token] = spends.get(found.token, 0) + effect.spends_raw
            spends[COIN] = spends.get(COIN, 0) + call.value_wei
        _check_value(chain.rules, spends[COIN])
        if opens and (why := self.closing_only(now_s)):
            raise VenueRejected(f"nothing that opens is signed: {why}")
        return _Total(
            approvals=tuple(approvals),
            spends=tuple((token, raw) for token, raw in spends.items() if raw),
            bought=tuple(bought),
        )

    # bounds

    def _counted(self, rules: ChainRules, entry: Entry) -> Entry:
        """Return the entry at the time that caps are counted by, within the caps.

        Where the chain's clock is free to run ahead of ours (a devnet), it is that clock alone.
        """
        slack_s = rules.most_skew_s if isfinite(rules.most_skew_s) else 0.0
        if slack_s:
            up, earlier_s = self._up(), min(entry.at_s, self._clock())
            entry = replace(entry, at_s=self._memory.counted_s(earlier_s, up), uptime=up)
        self._check_caps(rules, entry, slack_s)
        return entry

    def _check_caps(self, rules: ChainRules, entry: Entry, slack_s: float) -> None:
        for token, raw in entry.spends if rules.caps else ():
            cap = rules.caps.get(token)
            if cap is None:
                raise InvariantError(
                    f"token {token} has no cap, and where caps are stated only those are spent"
                )
            if raw > cap.transaction_raw and not entry.is_cancel:
                raise VenueRejected(
                    f"{raw} of token {token} is over the signer's cap per transaction, {cap.transaction_raw}"
                )
            counted = self._memory.spent_at(entry.chain_id, entry.space, entry.nonce, token)
            spent = self._memory.spent(entry.chain_id, token, now_s=entry.at_s, slack_s=slack_s)
            more = max(0, raw - counted)
            most = cap.day_raw
            if token == COIN and not entry.takes_back:
                most -= most // _BACK_SHARE
            if more and spent + more > most:
                raise VenueRejected(
                    f"{spent + more} of token {token} in 24 hours would be over the signer's cap of {most}"
                    + (f" ({cap.day_raw}, less the share kept for cancels)" if most < cap.day_raw else "")
                    + ", in its smallest units; wait until earlier spending is a day old, or raise the cap"
                )

    def _check_clock(self, rules: ChainRules, now_s: float) -> None:
        if not isfinite(now_s):
            raise InvariantError(f"chain time must be a number, was {now_s}")
        off_s = abs(now_s - self._clock())
        if off_s > rules.most_skew_s:
            raise VenueRejected(
                f"chain time is {off_s:,.0f} s from the signer's clock, "
                f"at most {rules.most_skew_s:,.0f} is allowed"
            )

    def _chain(self, chain_id: int) -> _Chain:
        found = self._chains.get(chain_id)
        if found is None:
            raise InvariantError(
                f"chain {chain_id} is not allowed for signing; allowed: {sorted(self._chains)}"
            )
        return found

    def _own(self, rules: ChainRules) -> frozenset[str]:
        return frozenset(filter(None, (self._account, rules.safe)))


def _check_fees(unsigned: Unsigned, rules: ChainRules) -> None:
    if not 0 <= unsigned.nonce < 2**64 or unsigned.gas <= 0:
        raise InvariantError(f"nonce {unsigned.nonce} or gas {unsigned.gas} is out of range")
    if unsigned.fees.max_fee_wei > rules.max_fee_wei:
        raise VenueRejected(
            f"fee of {unsigned.fees.max_fee_wei} wei per gas is "
            f"over the signer's limit of {rules.max_fee_wei}"
        )


def _with_gas(entry: Entry, unsigned: Unsigned, rules: ChainRules) -> Entry:
    """Count the most that the gas of a transaction may cost as spent, where the coin has a cap."""
    if COIN not in rules.caps:
        return entry
    spends = dict(entry.spends)
    spends[COIN] = spends.get(COIN, 0) + unsigned.gas * unsigned.fees.max_fee_wei
    return replace(entry, spends=tuple(spends.items()))


def _check_time(rules: ChainRules, valid_until_s: float, now_s: float) -> None:
    if not valid_until_s > now_s:  # also refuses NaN
        raise VenueRejected(
            f"valid until {valid_until_s:.0f}, but the chain is at {now_s:.0f}: ask for a new quote"
        )
    if valid_until_s - now_s > rules.most_ahead_s:
        raise InvariantError(
            f"valid for {valid_until_s - now_s:,.0f} s, the signer allows {rules.most_ahead_s:,.0f} s"
        )


def _check_value(rules: ChainRules, value_wei: int) -> None:
    if not 0 <= value_wei <= rules.max_value_wei:
        raise InvariantError(
            f"value of {value_wei} wei is outside the signer's limit 0..{rules.max_value_wei}"
        )
