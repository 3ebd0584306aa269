"""Carries out one order's plan, from the first allowance to the last one revoked.

What the plan pays from is funded (the settlement token swapped in where the account lacks it), given to the
spender exactly, and taken back afterwards whatever happened. The venue's adapter knows the trade; this file
knows the money around it. Nothing here decides: a refusal, and an end that cannot be seen, are raised.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bot.errors import InvariantError, TransientError, VenueRejected
from bot.model.execution import ExecutionPlan, OnchainTx, Payment, SignedMessage, Wait
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule, Permission
from bot.ports import Call, ChainReader, Messenger, Proposer, Transactor
from bot.venues.settlement import SettlementSwap
from bot.venues.steps import ERC20, OrderSteps, approval

CLEANUP_S = 3_600.0  # a revocation must still be valid when its order no longer is
Grant = tuple[str, str]  # (token, spender), lower case
_APPROVE = "approve-"  # how the purpose of each allowance begins that is given


class OrderRun:
    """One order of one account, on its way.

    ``again`` says that an earlier run of it may have left something behind.
    """

    def __init__(
        self,
        *,
        reader: ChainReader,
        custody: Transactor | Proposer,
        key: str,
        valid_until_s: float,
        permissions: Sequence[Permission],
        swap: SettlementSwap | None = None,
        messenger: Messenger | None = None,
        again: bool = False,
    ) -> None:
        self._reader = reader
        self._steps = OrderSteps(custody, key, again=again)
        self._valid_until_s = valid_until_s
        self._grants = frozenset(
            (rule.token, rule.spender) for rule in permissions if isinstance(rule, ApprovalRule)
        )
        self._swap = swap
        self._messenger = messenger
        self._again = again

    @property
    def receipts(self) -> dict[str, Receipt]:
        """Receipts of all that was mined so far, by purpose."""
        return self._steps.receipts

    @property
    def has_sent(self) -> bool:
        return self._steps.sent > 0

    @property
    def is_batch(self) -> bool:
        return self._steps.is_batch

    def bound_gas(self, left_wei: Callable[[], int]) -> None:
        """Let no further step cost more gas than ``left_wei`` says when it is sent; clean-up is exempt."""
        self._steps.gas_left_wei = left_wei

    async def carry_out(self, plan: ExecutionPlan, *, head: Block, label: str = "trade") -> Wait | None:
        """Do the steps of a plan up to a Wait, which is returned. Raises as the custody does.

        ``label`` names its allowances: a second plan of the same order needs one of its own.
        """
        until_s = min(plan.valid_until_s, self._valid_until_s)
        pending = [
            *await self._funding(plan.pays, head, until_s),
            *await self._allowances(plan.pays, head, label),
        ]
        for step in plan.steps:
            if isinstance(step, OnchainTx):
                pending.append(step)
                continue
            await self._send(pending, plan.pays, until_s, head)
            if isinstance(step, Wait):
                return step
            pending = []
            await self._tell(step, until_s)
        await self._send(pending, plan.pays, until_s, head)
        return None

    async def finish(self) -> None:
        """Leave no allowance behind and take in every receipt. Raises when either cannot be done now."""
        # What is in flight comes to its end first: it may still give an allowance.
        await self._steps.refresh()
        await self._revoke()
        await self._steps.refresh()
        if self._messenger is not None:
            self.receipts.update(await self._messenger.resume(self._steps.key))

    async def sweep(self) -> str:
        """Change all loose settlement tokens back; where the pool is off, keep them and say so."""
        swap = self._swap
        if swap is None or self.is_batch:  # what a batch brings is not known when it is made
            return ""
        head = await self._reader.head()
        (loose_raw,) = await self._ints([self._balance(swap.pair.settlement_token)], head)
        if loose_raw < swap.limits.min_sweep_raw:
            return ""
        until_s = self._cleanup_until_s(head)
        try:
            steps = await swap.swap_out(
                settlement_raw=loose_raw, block=head, account=self._account, valid_until_s=until_s
            )
            await self._steps.send(steps, valid_until_s=until_s)
        except VenueRejected as refusal:
            return f"{swap.settlement_amount(loose_raw):.2f} {swap.pair.settlement} kept: {refusal}"
        return ""

    @property
    def _account(self) -> str:
        return self._steps.custody.address

    async def _funding(
        self, pays: Sequence[Payment], head: Block, valid_until_s: float
    ) -> tuple[OnchainTx, ...]:
        """Return the swap that gets what the account lacks; tokens that lie loose are used first."""
        due = [item for item in pays if not item.arrives]
        held = await self._ints([self._balance(item.token) for item in due], head)
        left_raw = {item.token.lower(): raw for item, raw in zip(due, held, strict=True)}
        steps: tuple[OnchainTx, ...] = ()
        for item in due:
            short_raw = item.amount_raw - left_raw[item.token.lower()]
            left_raw[item.token.lower()] = max(-short_raw, 0)  # two payments in one token share what is held
            if short_raw > 0:
                steps += await self._swapped_in(item, short_raw, head, valid_until_s)
        return steps

    async def _swapped_in(
        self, item: Payment, short_raw: int, head: Block, valid_until_s: float
    ) -> tuple[OnchainTx, ...]:
        swap = self._swap
        if swap is None or item.token.lower() != swap.pair.settlement_token.lower():
            raise VenueRejected(
                f"the order needs {item.amount:.2f} {item.symbol}, the account lacks "
                f"{short_raw / 10**item.decimals:.2f} of it; nothing was sent"
            )
        pair = swap.pair
        needed_raw = await swap.bound_in_raw(short_raw, block=head)
        stable_raw, standing_raw = await self._ints(
            [self._balance(pair.stable_token), self._allowance(pair.stable_token, pair.router)], head
        )
        self._refuse_standing(pair.router, standing_raw, pair.stable, pair.stable_decimals)
        if needed_raw > stable_raw:
            raise VenueRejected(
                f"the purchase needs {swap.stable_amount(needed_raw):.2f} {pair.stable}, "
                f"the account holds {swap.stable_amount(stable_raw):.2f}; nothing was sent"
            )
        return swap.swap_in(
            stable_raw=needed_raw,
            min_settlement_raw=short_raw,
            account=self._account,
            valid_until_s=valid_until_s,
        )

    async def _allowances(self, pays: Sequence[Payment], head: Block, label: str) -> list[OnchainTx]:
        """Return the exact approvals of a plan. Refuses where somebody left an allowance (REL-T10)."""
        grants = [(item.token, item.spender) for item in pays]
        if unknown := {grant for grant in map(_lower, grants) if not self._is_named(grant)}:
            raise InvariantError(
                f"order {self._steps.key} pays by an allowance no rule names: {sorted(unknown)}"
            )
        standing = await self._ints([self._allowance(*grant) for grant in grants], head)
        for item, raw in zip(pays, standing, strict=True):
            self._refuse_standing(item.spender, raw, item.symbol, item.decimals)
        return [
            approval(
                f"{_APPROVE}{_label(label, index)}",
                token=item.token,
                spender=item.spender,
                amount_raw=item.amount_raw,
            )
            for index, item in enumerate(pays)
        ]

    def _refuse_standing(self, spender: str, raw: int, symbol: str, decimals: int) -> None:
        if raw:
            raise VenueRejected(
                f"{spender} may already take {raw / 10**decimals:g} {symbol} of {self._account}, by an "
                "allowance that no order of ours left: revoke it; nothing was sent"
            )

    async def _send(
        self, steps: Sequence[OnchainTx], pays: Sequence[Payment], until_s: float, head: Block
    ) -> None:
        """Send what is due; a batch takes its allowances back itself."""
        taken_back = [
            approval(f"revoke-{_label('trade', index)}", token=item.token, spender=item.spender, amount_raw=0)
            for index, item in enumerate(pays)
            if self.is_batch and steps
        ]
        await self._steps.send(
            [*steps, *taken_back], valid_until_s=until_s, cleanup_until_s=self._cleanup_until_s(head)
        )

    async def _tell(self, message: SignedMessage, valid_until_s: float) -> None:
        if self._messenger is None:
            raise InvariantError(f"order {self._steps.key} holds a message, and nobody here can send one")
        self._steps.sent += 1
        self.receipts[message.purpose] = await self._messenger.send(
            message, leg_key=self._steps.key, valid_until_s=valid_until_s
        )

    async def _revoke(self) -> None:
        """Set to zero whatever allowance of ours is left. Raises VenueRejected when one cannot be."""
        if self.is_batch:
            return
        head = await self._reader.head()
        named = sorted(grant for grant in self._grants if grant[0] != BOUGHT_TOKEN)
        bought = sorted(self._granted() - set(named))
        left = await self._ints([self._allowance(*grant) for grant in named], head)
        # A bought token that no longer says what may be taken of it must not keep its order open for ever.
        rows = await self._rows([self._allowance(*grant) for grant in bought], head)
        left += [int(row[0]) if row else 0 for row in rows]
        open_grants = [grant for grant, raw in zip([*named, *bought], left, strict=True) if raw]
        suffix = f"@{head.number}" if self._again else ""
        steps = [
            approval(
                f"revoke-{token[2:8]}-{spender[2:8]}{suffix}", token=token, spender=spender, amount_raw=0
            )
            for token, spender in open_grants
        ]
        await self._steps.send(steps, valid_until_s=self._cleanup_until_s(head))

    def _granted(self) -> frozenset[Grant]:
        """Return the allowances of bought tokens that the order's own approvals gave, by their events.

        Only those: any contract that a trade calls can tell of an allowance, in any words.
        """
        own = _topic(self._account)
        sellers = {_topic(spender): spender for token, spender in self._grants if token == BOUGHT_TOKEN}
        logs = [
            log
            for purpose, receipt in self.receipts.items()
            if purpose.startswith(_APPROVE)
            for log in receipt.logs
            # An ERC-721 token's event of that name has its third field indexed.
            if ERC20.is_event("Approval", log) and len(log.topics) == 3 and log.topics[1].lower() == own
        ]
        return frozenset(
            (log.address.lower(), spender)
            for log in logs
            if (spender := sellers.get(log.topics[2].lower())) is not None
        )

    def _is_named(self, grant: Grant) -> bool:
        return grant in self._grants or (BOUGHT_TOKEN, grant[1]) in self._grants

    def _balance(self, token: str) -> Call:
        return ERC20.call("balanceOf", token, self._account)

    def _allowance(self, token: str, spender: str) -> Call:
        return ERC20.call("allowance", token, self._account, spender)

    async def _ints(self, calls: Sequence[Call], head: Block) -> list[int]:
        rows = await self._rows(calls, head)
        if any(row is None for row in rows):
            raise TransientError(f"a token of {self._account} could not be read at block {head.number}")
        return [int(row[0]) for row in rows if row is not None]

    async def _rows(self, calls: Sequence[Call], head: Block) -> Sequence[tuple[Any, ...] | None]:
        """Read all at once; a venue without a chain of its own is asked for nothing."""
        return await self._reader.read(calls, block=head) if calls else ()

    def _cleanup_until_s(self, head: Block) -> float:
        return max(self._valid_until_s, head.timestamp_s + CLEANUP_S)


def _lower(grant: Grant) -> Grant:
    return grant[0].lower(), grant[1].lower()


def _topic(address: str) -> str:
    return f"0x{address[2:].lower():0>64}"


def _label(label: str, index: int) -> str:
    return f"{label}-{index}" if index else label
