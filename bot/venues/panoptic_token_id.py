"""Panoptic's tokenId: which pool, and up to four legs, in one number of 256 bits; and the ticks it speaks of.

Layout of v2 (types/TokenId.sol of panoptic-v2-core): bits 0-63 the poolId (40 bits of the Uniswap pool's
address, 8 bits vegoid, 16 bits tick spacing; v1 has 48 bits of the address and no vegoid), then 48 bits a
leg: asset 1, optionRatio 7, isLong 1, tokenType 1, riskPartner 2, strike 24 (signed), width 12.

Ticks are Uniswap's: 1.0001^tick raw units of token1 for one of token0.
"""

import math
from dataclasses import dataclass

from bot.errors import InvariantError
from bot.quant.ticks import MAX_TICK as MAX_TICK
from bot.quant.ticks import MIN_TICK as MIN_TICK
from bot.quant.ticks import X96, amounts_in
from bot.quant.ticks import sqrt_ratio_x96 as sqrt_ratio_x96

MAX_RATIO = 127
MAX_WIDTH = 4095
_MAX_LEGS = 4
_POOL_BITS, _LEG_BITS = 64, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One leg: a chunk of ``width`` tick spacings around ``strike``, bought or sold."""

    strike: int  # tick
    width: int  # tick spacings; 0 is a loan or a credit
    is_long: bool
    token_type: int  # 0: token0 is what is moved (a call on token0), 1: token1 (a put on token0)
    asset: int = 0  # token in which the position's size is counted
    ratio: int = 1  # contracts of this leg per contract of the position
    risk_partner: int = 0  # index of the leg it is margined with; its own index: none

    def __post_init__(self) -> None:
        for name, value, most in (
            ("token_type", self.token_type, 1),
            ("asset", self.asset, 1),
            ("risk_partner", self.risk_partner, _MAX_LEGS - 1),
            ("width", self.width, MAX_WIDTH),
        ):
            _check(name, value, 0, most)
        _check("ratio", self.ratio, 1, MAX_RATIO)
        _check("strike", self.strike, MIN_TICK + 1, MAX_TICK - 1)

    @property
    def word(self) -> int:
        """The leg's 48 bits."""
        return (
            self.asset
            | self.ratio << 1
            | int(self.is_long) << 8
            | self.token_type << 9
            | self.risk_partner << 10
            | (self.strike & 0xFFFFFF) << 12
            | self.width << 36
        )

    @classmethod
    def of(cls, word: int) -> "Leg":
        """Return the leg of 48 bits. Raises InvariantError for one that Panoptic refuses."""
        strike = word >> 12 & 0xFFFFFF
        return cls(
            asset=word & 1,
            ratio=word >> 1 & 0x7F,
            is_long=bool(word >> 8 & 1),
            token_type=word >> 9 & 1,
            risk_partner=word >> 10 & 3,
            strike=strike - (1 << 24) if strike >= 1 << 23 else strike,
            width=word >> 36 & 0xFFF,
        )

    def ticks(self, tick_spacing: int) -> tuple[int, int]:
        """Return lower and upper tick of the chunk: half the width on each side, the odd tick above."""
        span = self.width * tick_spacing
        return self.strike - span // 2, self.strike + span - span // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenId:
    """A position of one pool. ``value`` is the number that Panoptic knows it by."""

    pool_id: int
    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        _check("poolId", self.pool_id, 0, 2**_POOL_BITS - 1)
        _check("number of legs", len(self.legs), 1, _MAX_LEGS)

    @property
    def value(self) -> int:
        words = (leg.word << (_POOL_BITS + _LEG_BITS * i) for i, leg in enumerate(self.legs))
        return self.pool_id + sum(words)

    @property
    def tick_spacing(self) -> int:
        return self.pool_id >> 48

    @classmethod
    def of(cls, value: int) -> "TokenId":
        """Return what a number stands for. Raises InvariantError where legs have gaps or there are none."""
        _check("tokenId", value, 0, 2**256 - 1)
        words = [value >> (_POOL_BITS + _LEG_BITS * i) & (2**_LEG_BITS - 1) for i in range(_MAX_LEGS)]
        while words and not words[-1]:
            words.pop()
        return cls(pool_id=value & (2**_POOL_BITS - 1), legs=tuple(Leg.of(word) for word in words))


def pool_id_v2(pool: str, *, vegoid: int, tick_spacing: int) -> int:
    """Return the poolId that a v2 pool on this Uniswap v3 pool has."""
    _check("vegoid", vegoid, 0, 255)
    _check("tick spacing", tick_spacing, 1, 32_767)
    return int(pool, 16) >> 120 | vegoid << 40 | tick_spacing << 48


def pool_id_v1(pool: str, *, tick_spacing: int) -> int:
    """Return the poolId of v1 and v1.1, which we only recognise: they are never traded with."""
    return int(pool, 16) >> 112 | tick_spacing << 48


def tick_of_price(price: float, *, decimals0: int, decimals1: int) -> float:
    """Return the tick of a price in whole token1 for one whole token0; a fraction, not yet on any grid."""
    if not 0.0 < price < math.inf:
        raise InvariantError(f"tick of a price: it must be finite and > 0, was {price}")
    return math.log(price * 10.0 ** (decimals1 - decimals0)) / math.log(1.0001)


def price_of_tick(tick: float, *, decimals0: int, decimals1: int) -> float:
    """Return whole token1 for one whole token0."""
    return math.exp(tick * math.log(1.0001)) * 10.0 ** (decimals0 - decimals1)


def strike_on_grid(tick: float, *, width: int, tick_spacing: int) -> int:
    """Return the nearest strike whose chunk of this width begins and ends on multiples of the spacing."""
    below = width * tick_spacing // 2
    return round((tick - below) / tick_spacing) * tick_spacing + below


def liquidity_of(size_raw: int, *, asset: int, lower: int, upper: int) -> int:
    """Return the liquidity that is ``size_raw`` of the asset when it is wholly that token, rounded down."""
    low, high = sqrt_ratio_x96(lower), sqrt_ratio_x96(upper)
    if asset == 0:
        return size_raw * low * high // (X96 * (high - low))
    return size_raw * X96 // (high - low)


def amounts_of(liquidity: int, *, sqrt_price_x96: int, lower: int, upper: int) -> tuple[int, int]:
    """Return raw token0 and token1 that liquidity in a chunk is at a price, rounded down."""
    low, high = sqrt_ratio_x96(lower), sqrt_ratio_x96(upper)
    return amounts_in(liquidity, at_x96=sqrt_price_x96, low_x96=low, high_x96=high)


def notional_of(liquidity: int, *, token_type: int, lower: int, upper: int) -> int:
    """Return the raw amount of the leg's token that the chunk moves when it is wholly in it."""
    low, high = sqrt_ratio_x96(lower), sqrt_ratio_x96(upper)
    at = low if token_type == 0 else high
    return amounts_of(liquidity, sqrt_price_x96=at, lower=lower, upper=upper)[token_type]


def split(word: int) -> tuple[int, int]:
    """Return (token0, token1) of Panoptic's LeftRightUnsigned."""
    return word & (2**128 - 1), word >> 128


def split_signed(word: int) -> tuple[int, int]:
    """Return (token0, token1) of Panoptic's LeftRightSigned."""
    low = word & (2**128 - 1)
    return low - 2**128 if low >= 2**127 else low, word >> 128


def _check(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvariantError(f"tokenId: {what} must lie in [{least}, {most}], was {value}")
