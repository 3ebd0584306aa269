"""Swaps by Uniswap v3's SwapRouter: their calldata, and the rule that the signer reads them by."""

from dataclasses import dataclass
from enum import StrEnum

from bot.chain.abi import Abi
from bot.model.signing import CallRule, Guard

ROUTER = Abi.load("SwapRouter")


class Exact(StrEnum):
    """Which side of a swap is fixed, named as the router's function; the bound is on the other."""

    IN = "exactInputSingle"
    OUT = "exactOutputSingle"


@dataclass(frozen=True, slots=True, kw_only=True)
class V3Swap:
    """One swap in one pool."""

    exact: Exact
    token_in: str
    token_out: str
    pool_fee: int  # millionths: which pool
    recipient: str
    valid_until_s: float
    amount_raw: int  # of the fixed side
    bound_raw: int  # IN: the least that comes out; OUT: the most that goes in

    @property
    def data(self) -> bytes:
        order = (
            self.token_in,
            self.token_out,
            self.pool_fee,
            self.recipient,
            int(self.valid_until_s),
            self.amount_raw,
            self.bound_raw,
            0,  # no limit on the price itself
        )
        return ROUTER.encode(self.exact.value, order)


def swap_rule(router: str, exact: Exact, *, opens: bool, token_in: str = "", token_out: str = "") -> CallRule:
    """Return the rule of such swaps: to the account, bounded, in time; "" leaves a token to the chain."""
    tokens = (((0, 0), token_in.lower()), ((0, 1), token_out.lower()))
    return CallRule(
        target=router.lower(),
        function=ROUTER.function(exact.value).signature,
        guard=Guard.BOUND,
        opens=opens,
        recipients=((0, 3),),
        most=(0, 6) if exact is Exact.OUT else None,
        least=(0, 6) if exact is Exact.IN else None,
        equals=tuple((path, token) for path, token in tokens if token),
        buys=None if token_out else (0, 1),
        deadline=(0, 4),
    )
