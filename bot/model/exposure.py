"""What is protected."""

import math
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import InvariantError


class ExposureKind(StrEnum):
    UNISWAP_V2 = "uniswap_v2"
    UNISWAP_V3 = "uniswap_v3"
    UNISWAP_V4 = "uniswap_v4"


@dataclass(frozen=True, slots=True, kw_only=True)
class LpShape:
    """The value curve of an LP position of Uniswap v2, v3 or v4, in whole units.

    ``liquidity`` is in sqrt(USD x underlying), so that a full-range position is worth
    ``2 x liquidity x sqrt(S)`` USD. The range is in USD per unit of the underlying;
    0 and infinity stand for a v2 position.
    """

    liquidity: float
    lower_usd: float = 0.0
    upper_usd: float = math.inf

    def __post_init__(self) -> None:
        if not 0.0 <= self.liquidity < math.inf:
            raise InvariantError(f"liquidity must be finite and >= 0, was {self.liquidity}")
        if not 0.0 <= self.lower_usd < self.upper_usd:
            raise InvariantError(
                f"range must satisfy 0 <= lower < upper, was {self.lower_usd}..{self.upper_usd}"
            )

    def contains(self, spot_usd: float) -> bool:
        """Return whether the position earns fees at this price; False for NaN."""
        return self.lower_usd <= spot_usd < self.upper_usd

    def distance_lower(self, spot_usd: float) -> float:
        """Return the fall of the price, as a fraction of it, that reaches the lower end.

        1 for a position without lower end; negative when the price is below the range by that much.
        """
        return 1.0 - self.lower_usd / spot_usd if spot_usd > 0.0 else math.nan

    def distance_upper(self, spot_usd: float) -> float:
        """Return the rise of the price, as a fraction of it, that reaches the upper end.

        Infinite for a position without upper end; negative when the price is above the range by that much.
        """
        return self.upper_usd / spot_usd - 1.0 if spot_usd > 0.0 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One position to protect, with the things it depends on."""

    id: str  # stable name, e.g. "v3:1" or "v2:ETH/USDC"
    kind: ExposureKind
    protocol: str  # "uniswap-v3"
    chain_id: int
    pool: str  # subject of the pool's observations
    underlying: str  # hedge underlying, "ETH"
    stable: str  # quote stable it depends on, "USDC"
    shape: LpShape
    spot_usd: float  # price the value was taken at
    value_usd: float
    fees_uncollected_usd: float = 0.0
    fee_income_30d_usd: float = math.nan  # NaN: unknown
    held_units: float = math.nan  # deposited underlying, for the hold comparison; NaN: unknown
    held_stable: float = math.nan

    @property
    def group(self) -> str:
        """Exposures that share a hedge underlying and a stable are sized together."""
        return f"{self.underlying}/{self.stable}"

    @property
    def in_range(self) -> bool:
        return self.shape.contains(self.spot_usd)

    @property
    def distance_lower(self) -> float:
        """As ``LpShape.distance_lower``, from the price the value was taken at."""
        return self.shape.distance_lower(self.spot_usd)

    @property
    def distance_upper(self) -> float:
        """As ``LpShape.distance_upper``, from the price the value was taken at."""
        return self.shape.distance_upper(self.spot_usd)
