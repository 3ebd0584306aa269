"""How an order is to be carried out: the steps of a plan, what it may cost at worst, what is due when.

A venue's adapter makes the plan; one executor carries it out, step by step from an account of its own or as
one batch of a Safe. A plan never approves: what it pays from is named, and the executor gives exactly that
allowance before the steps and takes back what is left of it after them.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from bot.model.intent import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainTx:
    """One transaction of the account."""

    purpose: str  # unique in the life of the order: "open", "close", "settle"
    to: str
    data: bytes
    gas_ceiling: int
    value_wei: int = 0
    cleanup: bool = False  # it must go through when the order's own time is over, at any price of gas


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage:
    """One message that is signed and given to a service off the chain (Derive, an RFQ)."""

    purpose: str
    endpoint: str
    payload: str  # canonical JSON; goes to the journal before it goes out


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The plan goes on later: a keeper, a dispute period or a delay of the protocol is awaited."""

    because: str
    until_s: float = math.inf  # chain time from which a further look is worth it; inf: at every block


Step = OnchainTx | SignedMessage | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What a plan pays from: exactly this much of ``token`` may be taken by ``spender``."""

    token: str
    symbol: str
    decimals: int
    spender: str
    amount_raw: int  # most that the trade can take; the account must hold it
    arrives: bool = False  # an earlier step of the plan brings it: the account need not hold it yet

    @property
    def amount(self) -> float:
        return float(self.amount_raw / 10**self.decimals)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPlan:
    """Steps in their order. The one named ``trade`` is the one whose event is the fill."""

    steps: tuple[Step, ...]
    trade: str  # purpose of the trade
    valid_until_s: float  # chain time; nothing but clean-up is sent after it
    pays: tuple[Payment, ...] = ()
    most_usd: float = 0.0  # that can leave the account by it, gas left out; >= 0
    least_usd: float = 0.0  # that comes back if it succeeds; >= 0
    because: str = ""  # what is worth saying of it once it is done


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFact:
    """What the events of an executed trade say. Money is USD at the prices of the view it is booked at."""

    position_id: str
    size: float  # contracts
    premium_usd: float  # paid for a purchase, received for a sale or settlement; fee included; >= 0
    fee_usd: float
    receipt: Receipt


class DueAction(StrEnum):
    """What a position needs, by the rules of its venue."""

    NOTHING = "nothing"
    EXERCISE = "exercise"  # before it expires: the venue does not do it by itself
    SETTLE = "settle"  # after expiry, by us or by anyone
    CLAIM = "claim"  # what is ours lies ready
    WAIT = "wait"  # for a price, a dispute period, a keeper
    WORTHLESS = "worthless"  # it ended out of the money: to be booked, nothing to be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The next thing in the life of a position."""

    action: DueAction = DueAction.NOTHING
    from_s: float = -math.inf  # chain time from which it can be done
    until_s: float = math.inf  # it must be mined strictly before this
    because: str = ""

    @property
    def is_for_us(self) -> bool:
        """Say whether an order of ours would do, or book, it now."""
        return self.action not in (DueAction.NOTHING, DueAction.WAIT)


NOTHING_DUE = Due()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An end of a position that no transaction of the order made: others settled it, or a person moved it."""

    size: float  # contracts that ended
    payoff_usd: float  # that came to the account by it, >= 0
    block_number: int
    because: str
    by_hand: bool = False  # closed or moved by a person: its proceeds are not ours to sweep
    tx_hash: str = ""
