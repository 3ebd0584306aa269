"""The numbers of the FUNDAMENTAL signals. Table ``[signals.fundamental]`` of a policy file."""

import math
from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.market import Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S
from bot.quant.cash_flows import capm_rate
from bot.signals.anchors import Anchors, within

_GDP = "GDP"  # printed once a quarter, all else once a month
_BOUNDS: dict[str, tuple[float, float]] = {
    "max_hole_s": (DAY_S, 400 * DAY_S),
    "rate_min_median": (1e-5, 1.0),
    "macro_min_rise": (1e-6, 0.1),
    "macro_rising_score": (0.0, 1.0),
    "macro_within_s": (0.0, 30 * DAY_S),
    "macro_near_s": (0.0, 30 * DAY_S),
    "beta_max_gap_s": (DAY_S, 30 * DAY_S),
    "beta_price_age_s": (HOUR_S, 3 * DAY_S),
    "carry_wacc": (0.0, 10.0),
    "flow_min_sigma": (1e-6, 10.0),
    "flow_min_sigma_usd": (1.0, 1e12),
}


def _pairs(key: str, words: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        left, colon, right = (part.strip() for part in word.partition(":"))
        if not (left and colon and right):
            raise ConfigError(f"signals.fundamental.{key} must be words like 'TOKEN:value', was {word!r}")
        pairs.append((left, right))
    return pairs


def _share(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan  # refused by the bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalsPolicy:
    """How far apart the rows of a slow source usually are: it is late after ``late_intervals`` of them."""

    daily_s: float = 1 * DAY_S  # fees and revenue; the most for market values and lending rates
    trading_s: float = 3 * DAY_S  # index closes and flows: a weekend and its Monday
    monthly_s: float = 31 * DAY_S  # CPI and PPI prints
    quarterly_s: float = 92 * DAY_S  # GDP prints
    calendar_s: float = 49 * DAY_S  # releases: FOMC meetings are up to seven weeks apart

    def __post_init__(self) -> None:
        for name in ("daily_s", "trading_s", "monthly_s", "quarterly_s", "calendar_s"):
            within(f"fundamental.intervals.{name}", getattr(self, name), HOUR_S, 130 * DAY_S)

    def of(self, key: SeriesKey) -> tuple[float, float] | None:
        """Return the least and the most that an interval is taken as; None where the rows alone say."""
        if key.metric in (Metric.MACRO_PRINT, Metric.MACRO_CONSENSUS):
            apart_s = self.quarterly_s if key.subject == _GDP else self.monthly_s
            return apart_s, apart_s
        if key.metric in (Metric.MARKET_CAP_USD, Metric.BORROW_APR, Metric.SUPPLY_APR):
            return 0.0, self.daily_s
        if key.metric in (Metric.FEES_USD_1D, Metric.REVENUE_USD_1D):
            return self.daily_s, self.daily_s
        if key.metric in (Metric.INDEX_CLOSE, Metric.FLOW_USD_1D):
            return self.trading_s, self.trading_s
        if key.metric is Metric.MACRO_RELEASE_S:
            return self.calendar_s, self.calendar_s
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DividendPolicy:
    """Inputs of the dividend-discount value of tokens that pay out; rates are fractions a year."""

    payouts: tuple[str, ...] = ()  # "TOKEN:share" of revenue that reaches holders, "GMX:0.3"
    growth: float = 0.0  # of what is paid out, for ever
    risk_free: float = 0.04
    beta: float = 1.5  # to the market of ``risk_premium``
    risk_premium: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "payouts", tuple(self.payouts))
        for name, low, high in (
            ("growth", -0.9, 1.0),
            ("risk_free", 0.0, 1.0),
            ("beta", 0.0, 10.0),
            ("risk_premium", 0.0, 1.0),
        ):
            within(f"fundamental.dividends.{name}", getattr(self, name), low, high)
        if not self.growth < self.rate:
            raise ConfigError(
                f"signals.fundamental.dividends.growth must be under the CAPM rate {self.rate:g} "
                f"(risk_free + beta x risk_premium), was {self.growth:g}"
            )
        for name, share in self.shares.items():
            within(f"fundamental.dividends.payouts of {name}", share, 1e-6, 1.0)

    @property
    def rate(self) -> float:
        """Return the rate that holders ask for, a fraction a year."""
        return capm_rate(risk_free=self.risk_free, beta=self.beta, risk_premium=self.risk_premium)

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of revenue paid out, by token."""
        return {token: _share(word) for token, word in _pairs("dividends.payouts", self.payouts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FundamentalPolicy:
    """Anchors (in the signal's own unit, mostly fractions) and windows."""

    rate_differential: Anchors = Anchors(calm=1.2, stress=2.5)  # S17, against its 30-day median
    price_to_cash_flow: Anchors = Anchors(calm=1.0, stress=0.6)  # S18, against its 180-day median
    beta: Anchors = Anchors(calm=2.5, stress=4.0)  # S20, alert only
    carry: Anchors = Anchors(calm=0.02, stress=-0.02)  # S21, a year; 0.5 where the carry turns
    risk_flow: Anchors = Anchors(calm=0.0, stress=-3.0)  # S23, sigmas
    intervals: IntervalsPolicy = IntervalsPolicy()
    dividends: DividendPolicy = DividendPolicy()  # S18

    max_hole_s: float = (
        10 * DAY_S
    )  # S18, S20, S23: the history of a slow source starts anew behind a longer one
    rate_window_s: float = 30 * DAY_S
    rate_min_median: float = 0.002  # APR; a smaller median counts as this much
    value_window_s: float = 180 * DAY_S  # S18, of the median
    fees_span_s: float = 7 * DAY_S  # S18: a day's fees are the mean of so long; a week has every weekday
    cap_shift_window_s: float = 30 * DAY_S  # S18
    protocols: tuple[str, ...] = (  # S18, "TOKEN:protocol" whose fees stand behind the token
        "AAVE:aave",
        "AAVE:aave-v3",
        "COMP:compound-finance",
        "COMP:compound-v3",
        "CRV:curve-dex",
        "GMX:gmx",
        "LDO:lido",
        "UNI:uniswap",
        "UNI:uniswap-v2",
        "UNI:uniswap-v3",
        "UNI:uniswap-v4",
    )
    macro_events: tuple[str, ...] = ("FOMC", "CPI", "PPI")  # S19, the releases that count
    macro_min_rise: float = 0.0005  # year on year; half of the 0.1 % that prints are rounded to
    macro_rising_score: float = 0.5  # rising, and no release near
    macro_within_s: float = 48 * HOUR_S  # rising and the next release so near is full stress
    macro_near_s: float = 24 * HOUR_S  # R3: ``confirm`` is 1 so long before and after a release
    macro_apart_span_s: float = 25 * DAY_S  # two prints are at least so far apart
    beta_assets: tuple[str, ...] = ("ETH", "BTC")  # S20
    beta_index: str = "SPX"
    beta_short_window_s: float = 30 * DAY_S
    beta_long_window_s: float = 90 * DAY_S
    beta_max_gap_s: float = 5 * DAY_S  # between closes; longer is a hole
    beta_price_age_s: float = 6 * HOUR_S  # of the asset's price at a close
    carry_wacc: float = 0.05  # a year, S21: what the capital of a position costs
    flow_span_s: float = 7 * DAY_S  # S23, of the sum
    flow_window_s: float = 90 * DAY_S  # S23, of its norm
    flow_min_sigma: float = 0.1  # of the mean absolute sum; a flatter history counts as this much
    flow_min_sigma_usd: float = 1e6  # and never as less than this

    def __post_init__(self) -> None:
        for name in ("protocols", "macro_events", "beta_assets"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, (low, high) in _BOUNDS.items():
            within(f"fundamental.{name}", getattr(self, name), low, high)
        within("fundamental.fees_span_s", self.fees_span_s, DAY_S, self.value_window_s)
        within("fundamental.value_window_s", self.value_window_s, 2 * DAY_S, 400 * DAY_S)
        within("fundamental.cap_shift_window_s", self.cap_shift_window_s, DAY_S, self.value_window_s)
        within("fundamental.macro_apart_span_s", self.macro_apart_span_s, DAY_S, self.intervals.monthly_s)
        within("fundamental.beta_short_window_s", self.beta_short_window_s, 7 * DAY_S, 400 * DAY_S)
        within(
            "fundamental.beta_long_window_s", self.beta_long_window_s, self.beta_short_window_s, 400 * DAY_S
        )
        within("fundamental.flow_span_s", self.flow_span_s, DAY_S, self.flow_window_s)
        if not self.beta_index:
            raise ConfigError("signals.fundamental.beta_index must name an index such as 'SPX', was empty")
        _pairs("protocols", self.protocols)

    def protocols_of(self, token: str) -> tuple[str, ...]:
        """Return the protocols whose fees may stand behind a token, the preferred first; never empty."""
        named = [protocol for each, protocol in _pairs("protocols", self.protocols) if each == token]
        return (*named, token)
