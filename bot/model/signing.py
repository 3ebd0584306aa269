"""What a venue's transactions look like to the signer, so that it can refuse any other (REL-I10, REL-Y1).

A venue states one rule per call that its plans may hold. The signer decodes the calldata by the rule's own
signature and checks every argument named here; a call that no rule describes is never signed.
"""

from dataclasses import dataclass
from enum import StrEnum

Path = tuple[int, ...]  # of an argument: (0, 3) is the fourth member of the first argument, a tuple
# In an ApprovalRule that closes: tokens that only the chain names (oTokens), once a signed call bought them.
BOUGHT_TOKEN = "bought"  # noqa: S105


class Guard(StrEnum):
    """What keeps a call from costing more than was decided."""

    BOUND = "bound"  # an argument: ``most`` or ``least``
    ALLOWANCE = "allowance"  # the exact allowance that its target was given before, where no argument exists
    NO_MONEY = "no money"  # it can only bring something in: settle, claim, repay what is owed, revoke


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRule:
    """One of the actions that a call carries packed in its bytes (Uniswap v4's PositionManager)."""

    code: int  # 0..255
    arguments: tuple[str, ...]  # ABI types of its parameters
    recipients: tuple[Path, ...] = ()  # as in CallRule
    least: Path | None = None
    zeros: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRule:
    """One function of one contract that may be called, and the bounds that its arguments must hold."""

    target: str  # lower-case address
    function: str  # canonical signature, "exactInputSingle((address,address,uint24,...))"
    guard: Guard
    opens: bool  # it takes on risk or pays out; refused while paused. False: it closes, claims or reduces
    recipients: tuple[Path, ...] = ()  # arguments that must be the account itself (or its Safe)
    most: Path | None = None  # bound on what is paid: must be > 0 and under 2**127
    least: Path | None = None  # bound on what comes back: must be > 0
    zeros: tuple[Path, ...] = ()  # arguments, or arrays, that must be 0: what tells a close from an opening
    # arguments that must be exactly this: which action of many; which token, a lower-case address
    equals: tuple[tuple[Path, int | str], ...] = ()
    single: tuple[Path, ...] = ()  # arrays that must hold one item: the one that the other paths look at
    deadline: Path | None = None  # Unix seconds; must lie after now and not after the valid-until time
    buys: Path | None = None  # the token that comes in: BOUGHT_TOKEN stands for it from then on
    packed: Path | None = None  # bytes that hold (bytes codes, bytes[] parameters): exactly ``actions``
    actions: tuple[ActionRule, ...] = ()

    @property
    def name(self) -> str:
        return self.function.partition("(")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """One ERC-20 allowance that may be given, exactly, for one plan. 0, a revocation, is always allowed."""

    token: str  # lower-case address
    spender: str  # lower-case address
    opens: bool  # it is what a purchase pays from. False: what a sale or a repayment needs


Permission = CallRule | ApprovalRule
