"""The numbers of the ONCHAIN signals S1-S9. Table ``[signals.onchain]`` of a policy file."""

from dataclasses import dataclass

from bot.model.units import DAY_S, HOUR_S
from bot.signals.anchors import Anchors, within


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainPolicy:
    """Anchors (in the signal's own unit, mostly fractions) and windows."""

    tvl_drawdown: Anchors = Anchors(calm=-0.03, stress=-0.12)  # S1
    quick_ratio: Anchors = Anchors(calm=2.0, stress=1.0)  # S2
    pool_imbalance: Anchors = Anchors(calm=0.005, stress=0.03)  # S3, constant-product and concentrated pools
    depth: Anchors = Anchors(calm=0.7, stress=0.15)  # S4

    tvl_window_s: float = 48 * HOUR_S
    outflow_span_s: float = 24 * HOUR_S
    outflow_window_s: float = 30 * DAY_S
    outflow_quantile: float = 0.95
    outflow_floor: float = 0.001  # of quote reserves: the least claim that S2 divides by
    depth_window_s: float = 7 * DAY_S
    depth_best_s: float = 3 * HOUR_S

    def __post_init__(self) -> None:
        within("onchain.outflow_quantile", self.outflow_quantile, 0.5, 1.0)
        within("onchain.outflow_floor", self.outflow_floor, 1e-6, 1.0)
        within("onchain.depth_best_s", self.depth_best_s, 1.0, self.depth_window_s)
