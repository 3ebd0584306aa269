"""What to pay for gas under EIP-1559. Pure: integers of wei in, integers of wei out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from bot.errors import InvariantError, TransientError, VenueRejected

GWEI = 10**9
BLOCKS = 10  # how many blocks of eth_feeHistory the tip is taken from
PERCENTILE = 50
# Nodes take a replacement that pays 10 % more on both fields; 12.5 % leaves room for their rounding.
BUMP_NUMERATOR, BUMP_DENOMINATOR = 9, 8
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """Both EIP-1559 fields of one transaction, in wei per unit of gas."""

    max_fee_wei: int
    tip_wei: int

    def __post_init__(self) -> None:
        if not 0 <= self.tip_wei <= self.max_fee_wei:
            raise InvariantError(
                f"fees must satisfy 0 <= tip <= max fee, were {self.tip_wei} and {self.max_fee_wei} wei"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePolicy:
    """Bounds on what is paid. A cancel may pay up to ``cancel_factor`` times the cap: it must always
    fit over a transaction that already pays the cap, and it burns only a plain transfer's gas."""

    tip_min_wei: int = GWEI // 100
    tip_max_wei: int = 3 * GWEI
    max_fee_cap_wei: int = 300 * GWEI
    cancel_factor: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.tip_min_wei <= self.tip_max_wei <= self.max_fee_cap_wei:
            raise InvariantError(
                "fee policy must satisfy 0 <= tip_min <= tip_max <= max_fee_cap, was "
                f"{self.tip_min_wei}, {self.tip_max_wei}, {self.max_fee_cap_wei} wei"
            )
        if self.cancel_factor < 2:
            raise InvariantError(f"cancel_factor must be at least 2, was {self.cancel_factor}")

    @property
    def cancel_cap_wei(self) -> int:
        return self.cancel_factor * self.max_fee_cap_wei


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeMarket:
    """The base fee of the next block and the median tip that recent blocks took."""

    next_base_wei: int
    median_tip_wei: int


def parse_fee_history(reply: Mapping[str, Any]) -> FeeMarket:
    """Read a reply of ``eth_feeHistory``. Empty blocks report a tip of 0 and are left out.

    Raises TransientError when the reply is not usable.
    """
    bases = reply.get("baseFeePerGas")
    if not isinstance(bases, list) or not bases:
        raise TransientError("eth_feeHistory came without base fees")
    tips = [
        tip
        for row in reply.get("reward") or ()
        if isinstance(row, list) and row
        for tip in (_quantity(row[0]),)
        if tip > 0
    ]
    return FeeMarket(next_base_wei=_quantity(bases[-1]), median_tip_wei=median_low(tips) if tips else 0)


def _quantity(value: Any) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise TransientError(f"eth_feeHistory holds {value!r:.40} where a hex quantity belongs")
    return int(value, 16)


def fee_cap_wei(policy: FeePolicy, *, max_gas_cost_wei: int, gas: int) -> int:
    """Return the most to pay per unit of gas: the policy's cap, and what a bound on the whole leaves."""
    return (
        min(policy.max_fee_cap_wei, max_gas_cost_wei // gas) if max_gas_cost_wei else policy.max_fee_cap_wei
    )


def first_fees(market: FeeMarket, policy: FeePolicy, *, cap_wei: int | None = None) -> Fees:
    """Return the fees of a first attempt: twice the next base fee and a tip, within the cap.

    ``cap_wei`` is a tighter cap than the policy's. The base fee has to be paid, the tip is a wish: it shrinks
    to what the cap leaves. Raises VenueRejected when the next block with the least tip is over the cap.
    """
    cap = policy.max_fee_cap_wei if cap_wei is None else cap_wei
    if market.next_base_wei + policy.tip_min_wei > cap:
        raise VenueRejected(
            f"gas is too dear: the next block asks {market.next_base_wei / GWEI:.3g} gwei and a tip of "
            f"{policy.tip_min_wei / GWEI:.3g} or more, the cap is {cap / GWEI:.3g} gwei"
        )
    wished = min(max(market.median_tip_wei, policy.tip_min_wei), policy.tip_max_wei)
    tip = min(wished, cap - market.next_base_wei)
    return Fees(max_fee_wei=min(2 * market.next_base_wei + tip, cap), tip_wei=tip)


def bumped(
    old: Fees, market: FeeMarket, policy: FeePolicy, *, cancel: bool = False, cap_wei: int | None = None
) -> Fees | None:
    """Return fees that replace ``old`` under the rule of the nodes, or None when a cap forbids it.

    Both fields rise by at least 12.5 %, rounded up, by 1 wei at least, and to the market if that asks more.
    ``cap_wei`` is a tighter cap than the policy's; a cancel is exempt from it.
    """
    cap = policy.max_fee_cap_wei if cap_wei is None else cap_wei
    if cancel:
        cap = policy.cancel_cap_wei
    tip = _raised(old.tip_wei)
    max_fee = max(_raised(old.max_fee_wei), tip)
    if max_fee > cap:
        return None
    wanted_tip = min(max(market.median_tip_wei, policy.tip_min_wei), policy.tip_max_wei)
    wanted_max = min(2 * market.next_base_wei + max(tip, wanted_tip), cap)
    max_fee = max(max_fee, wanted_max)
    return Fees(max_fee_wei=max_fee, tip_wei=min(max(tip, wanted_tip), max_fee))


def _raised(wei: int) -> int:
    return max(-(-wei * BUMP_NUMERATOR // BUMP_DENOMINATOR), wei + 1)
