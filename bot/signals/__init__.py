"""The signals of method.md. Adding one is one file and one line here."""

from bot.model.market import Columns, Metric
from bot.model.tier import Family, Reading
from bot.signals.admin_events import ADMIN_EVENTS
from bot.signals.beta import Beta
from bot.signals.breadth import BREADTH
from bot.signals.bridge_coverage import BridgeCoverage
from bot.signals.carry import Carry
from bot.signals.depth import Depth
from bot.signals.drawdown_speed import DrawdownSpeed
from bot.signals.funding import Funding
from bot.signals.iv_percentile import IvPercentile
from bot.signals.macd import MACD
from bot.signals.macro import MACRO
from bot.signals.mev_flow import MevFlow
from bot.signals.parity_gap import ParityGap
from bot.signals.peg import PEG
from bot.signals.policy import SignalsPolicy
from bot.signals.price_to_cash_flow import PriceToCashFlow
from bot.signals.quick_ratio import QuickRatio
from bot.signals.rate_differential import RateDifferential
from bot.signals.reading import Signal
from bot.signals.realised_vol import RealisedVol
from bot.signals.reer import Reer
from bot.signals.reserve_imbalance import ReserveImbalance
from bot.signals.risk_flow import RiskFlow
from bot.signals.rsi import RSI
from bot.signals.semivariance import Semivariance
from bot.signals.term_structure import TermStructure
from bot.signals.tvl_drawdown import TvlDrawdown
from bot.signals.vol_jump import VolJump

SIGNALS: dict[str, Signal] = {
    "S1": TvlDrawdown(),
    "S2": QuickRatio(),
    "S3": ReserveImbalance(),
    "S4": Depth(),
    "S5": PEG,
    "S6": Reer(),
    "S7": BridgeCoverage(),
    "S8": MevFlow(),
    "S9": ADMIN_EVENTS,
    "S10": Funding(),
    "S11": RealisedVol(),
    "S12": IvPercentile(),
    "S13": TermStructure(),
    "S14": RSI,
    "S15": MACD,
    "S16": BREADTH,
    "S17": RateDifferential(),
    "S18": PriceToCashFlow(),
    "S19": MACRO,
    "S20": Beta(),
    "S21": Carry(),
    "S22": ParityGap(),
    "S23": RiskFlow(),
    "S24": DrawdownSpeed(),
    "S25": VolJump(),
    "S26": Semivariance(),
}


def read_signals(columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
    """Return the readings of every signal, in the order of SIGNALS; at least one each (ABSENT)."""
    return tuple(
        reading for signal in SIGNALS.values() for reading in signal.read(columns, now_s=now_s, policy=policy)
    )


def lookback_s(policy: SignalsPolicy) -> float:
    """Return how much history all signals together look at: what a start has to fill."""
    return max(signal.lookback_s(policy) for signal in SIGNALS.values())


def metric_lookbacks_s(policy: SignalsPolicy, *families: Family) -> dict[Metric, float]:
    """Return how much history each metric needs: that of the signal which looks back the longest on it.

    A year of quarterly prints is a handful of rows, a year of every pool's blocks is not: fill by metric.
    ``families`` are those whose signals count, all when none is named.
    """
    longest: dict[Metric, float] = {}
    for signal in SIGNALS.values():
        for metric in signal.metrics if not families or signal.family in families else ():
            longest[metric] = max(longest.get(metric, 0.0), signal.lookback_s(policy))
    return longest
