"""The signals of method.md. Adding one is one file and one line here."""

from bot.model.market import Columns
from bot.model.tier import Reading
from bot.signals.depth import Depth
from bot.signals.funding import Funding
from bot.signals.macd import MACD
from bot.signals.policy import SignalsPolicy
from bot.signals.quick_ratio import QuickRatio
from bot.signals.reading import Signal
from bot.signals.realised_vol import RealisedVol
from bot.signals.reserve_imbalance import ReserveImbalance
from bot.signals.term_structure import TermStructure
from bot.signals.tvl_drawdown import TvlDrawdown

SIGNALS: dict[str, Signal] = {
    "S1": TvlDrawdown(),
    "S2": QuickRatio(),
    "S3": ReserveImbalance(),
    "S4": Depth(),
    "S10": Funding(),
    "S11": RealisedVol(),
    "S13": TermStructure(),
    "S15": MACD,
}


def read_signals(columns: Columns, *, now_s: float, policy: SignalsPolicy) -> tuple[Reading, ...]:
    """Return the readings of every signal, in the order of SIGNALS; at least one each (ABSENT)."""
    return tuple(
        reading for signal in SIGNALS.values() for reading in signal.read(columns, now_s=now_s, policy=policy)
    )


def lookback_s(policy: SignalsPolicy) -> float:
    """Return how much history all signals together look at: what a start has to fill."""
    return max(signal.lookback_s(policy) for signal in SIGNALS.values())
