"""The numbers of perpetual hedges, R9, R12 and R27: a section of ``Policy``, each key with its bounds."""

from dataclasses import dataclass
from typing import Annotated

from bot.engine.policy_fields import flag, number, percent, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpetualPolicy:
    """R27."""

    min_funding: Annotated[float, percent(-1_000, 0)]  # a year; under it no short is opened
    reset_band: Annotated[float, percent(1, 100)]  # of the target (R12)
    stress_quantile: Annotated[float, number(0.5, 0.9999)]  # of the highest price within margin_days
    margin_days: Annotated[int, whole(1, 60)]
    max_notional: Annotated[float, percent(0, 1_000)]  # of exposure, all perpetuals together (R9)
    max_margin: Annotated[float, percent(0, 100)]  # of exposure (R9)
    max_slippage: Annotated[float, percent(0, 10)]  # of the price, beyond the quoted cost
    conversions: Annotated[bool, flag()]
