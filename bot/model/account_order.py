"""Orders on what is protected, and no hedges: withdraw a position (R29), top up or repay a loan (R21)."""

from dataclasses import dataclass

from bot.model.base_layers import Action
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOrder:
    """One order that a person confirmed, or that the policy lets the executor do by itself."""

    key: str
    group: str  # hedge group of the position, or the loan's own name
    action: Action  # WITHDRAW, TOP_UP or REPAY
    subject: str  # exposure or loan: "v3:1"
    part: float = 1.0  # WITHDRAW: of the position, (0, 1]
    amount_usd: float = 0.0  # TOP_UP, REPAY: what to pay
    valid_until_s: float
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One token that came to the account, or left it where negative, in whole units."""

    asset: str
    units: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFact:
    """What the events of an executed order say."""

    moved: tuple[Moved, ...]
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOutcome:
    """What became of one order."""

    order: AccountOrder
    status: LegStatus
    at_s: float
    moved: tuple[Moved, ...] = ()
    gas_usd: float = 0.0
    tx_hash: str = ""
    block_number: int = 0
    because: str = ""
    reconciled: bool = False  # found out after the fact

    @property
    def cost_usd(self) -> float:
        """What hedging paid for it: gas alone, since what moved stays the account's own. NaN: unknown."""
        return self.gas_usd
