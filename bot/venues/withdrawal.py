"""What every withdrawal of liquidity has in common (R29): never for less than a fair price gives.

A pool's own price can be moved within a block, and with it what a withdrawal pays. So the least amounts come
from a price that cannot. Where the pool stands too far from that, nothing is withdrawn: it would be at
somebody else's price.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bot.errors import VenueRejected
from bot.model.account_order import AccountOrder, Moved
from bot.model.execution import ExecutionPlan, OnchainTx, Payment
from bot.ports import MarketView
from bot.quant.ticks import amounts_in, sqrt_price_x96
from bot.venues.priced_token import PricedToken

EXIT_GAS_CEILING = 800_000
WITHDRAW = "withdraw"  # purpose of the step that takes the liquidity out
_BPS = 10_000
_NARROWER = 12  # times the allowed deviation is halved for a range that is narrower than it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitLimits:
    """How far the pool may stand from the fair price, and what else may be lost."""

    max_deviation_bps: int = 200  # of the pool's price from the fair one
    slippage_bps: int = 50  # of each amount, on top


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPair:
    """Both tokens of a pool, in its own order, and within which limits they may be taken out."""

    token0: PricedToken
    token1: PricedToken
    base_is_token0: bool
    underlying: str  # the base token, as the view's prices name it
    limits: ExitLimits = ExitLimits()

    @property
    def tokens(self) -> tuple[PricedToken, PricedToken]:
        return self.token0, self.token1

    def price_of_feeds_x96(self, view: MarketView, *, name: str) -> int:
        """Return the square root of price that the view's feeds give. Raises VenueRejected without one.

        A stable without a feed counts 1 USD: where it is off par the pool looks off, and nothing leaves.
        """
        base, quote = self.tokens if self.base_is_token0 else self.tokens[::-1]
        price = view.spot_usd.get(self.underlying, math.nan) / quote.price_usd(view)
        if not 0.0 < price < math.inf:
            raise VenueRejected(
                f"{name}: no fair price of {base.symbol} in {quote.symbol} is known; nothing was sent"
            )
        raw = price * 10.0 ** (quote.decimals - base.decimals)
        return sqrt_price_x96(raw if self.base_is_token0 else 1.0 / raw)

    def floors(
        self, liquidity: int, *, at_x96: int, fair_x96: int, range_x96: tuple[int, int], name: str
    ) -> tuple[int, int]:
        """Return the least raw amounts that liquidity in a range must bring, one of them over 0.

        Raises VenueRejected where the pool stands too far from the fair price, or nothing is left to ask for.
        """
        check_price(at_x96, fair_x96, self.limits, name)
        found = least_amounts(liquidity, fair_x96=fair_x96, range_x96=range_x96, limits=self.limits)
        if not any(found):
            raise VenueRejected(
                f"position {name} is too small for a least amount to be asked; nothing was sent"
            )
        return found

    def plan(
        self,
        order: AccountOrder,
        steps: Sequence[OnchainTx],
        floors: tuple[int, int],
        view: MarketView,
        pays: tuple[Payment, ...] = (),
    ) -> ExecutionPlan:
        """Return the plan with what it asks for at least, in words and USD; no price counts nothing."""
        asked = self.moved(floors)
        worth = (item.units * token.price_usd(view) for item, token in zip(asked, self.tokens, strict=True))
        return ExecutionPlan(
            steps=tuple(steps),
            trade=WITHDRAW,
            valid_until_s=order.valid_until_s,
            pays=pays,
            least_usd=sum(usd for usd in worth if math.isfinite(usd)),
            because=" and ".join(f"{item.units:,.6g} {item.asset}" for item in asked),
        )

    def moved(self, raw: tuple[int, int]) -> tuple[Moved, ...]:
        return tuple(
            Moved(asset=token.symbol, units=token.units(amount))
            for token, amount in zip(self.tokens, raw, strict=True)
        )


def part_of(order: AccountOrder, held_raw: int, *, nothing: str) -> int:
    """Return how much leaves, rounded down. Raises VenueRejected, with ``nothing`` as its words, for 0."""
    part_raw = held_raw if order.part >= 1.0 else int(held_raw * Fraction(order.part))
    if not part_raw:
        raise VenueRejected(f"{nothing}; nothing was sent")
    return part_raw


def check_owner(owner: tuple[Any, ...] | None, account: str, name: str) -> None:
    """Raise VenueRejected where a position's token is not the account's; ``owner`` is what ownerOf says."""
    if owner is None or str(owner[0]).lower() != account.lower():
        whose = owner[0] if owner is not None else "nobody"
        raise VenueRejected(
            f"position {name} belongs to {whose}, this bot signs for {account}; nothing was sent"
        )


def exit_step(purpose: str, *, to: str, data: bytes, cleanup: bool = False) -> OnchainTx:
    return OnchainTx(purpose=purpose, to=to, data=data, gas_ceiling=EXIT_GAS_CEILING, cleanup=cleanup)


def check_price(at_x96: int, fair_x96: int, limits: ExitLimits, name: str) -> None:
    """Raise VenueRejected where a pool's price is further from the fair one than allowed (REL-R13)."""
    gap = abs((at_x96 / fair_x96) ** 2 - 1.0)
    if not gap * _BPS <= limits.max_deviation_bps:
        raise VenueRejected(
            f"{name}: the pool stands {gap:.2%} from its fair price, allowed are "
            f"{limits.max_deviation_bps / _BPS:.2%}; nothing was sent: wait, or withdraw by hand"
        )


def least_amounts(
    liquidity: int, *, fair_x96: int, range_x96: tuple[int, int], limits: ExitLimits
) -> tuple[int, int]:
    """Return the least raw amounts of a withdrawal while the price stays within the allowed deviation.

    The one token shrinks as the price rises, the other as it falls, so each floor is that of its own end. In
    a range narrower than the deviation both are nothing: then a smaller one is asked for.
    """
    low_x96, high_x96 = range_x96
    share = limits.max_deviation_bps / _BPS
    for _ in range(_NARROWER):
        root = math.sqrt(1.0 + share)
        above, below = int(fair_x96 * root), int(fair_x96 / root)
        amount0, _unused = amounts_in(liquidity, at_x96=above, low_x96=low_x96, high_x96=high_x96)
        _unused, amount1 = amounts_in(liquidity, at_x96=below, low_x96=low_x96, high_x96=high_x96)
        if amount0 or amount1:
            kept = _BPS - limits.slippage_bps
            return amount0 * kept // _BPS, amount1 * kept // _BPS
        share /= 2.0
    return 0, 0
