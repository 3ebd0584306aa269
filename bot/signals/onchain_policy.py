"""The numbers of the ONCHAIN signals S1-S9. Table ``[signals.onchain]`` of a policy file."""

import math
from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, MINUTE_S
from bot.signals.anchors import Anchors, within

_MOST_USD = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainPolicy:
    """Anchors (in the signal's own unit, mostly fractions), windows, and lists of ``name=value``."""

    tvl_drawdown: Anchors = Anchors(calm=-0.03, stress=-0.12)  # S1
    share_value: Anchors = Anchors(calm=-0.001, stress=-0.01)  # S1, virtual price or vault share
    quick_ratio: Anchors = Anchors(calm=2.0, stress=1.0)  # S2
    full_range_quick_ratio: Anchors = Anchors(calm=2.0, stress=1.0)  # S2, pools with liquidity at all prices
    pool_imbalance: Anchors = Anchors(calm=0.005, stress=0.03)  # S3, constant-product and concentrated pools
    share_imbalance: Anchors = Anchors(calm=0.05, stress=0.35)  # S3, stable and weighted pools
    depth: Anchors = Anchors(calm=0.7, stress=0.15)  # S4
    peg: Anchors = Anchors(calm=0.0015, stress=0.006)  # S5
    reer: Anchors = Anchors(calm=1.0, stress=4.0)  # S6
    bridge_coverage: Anchors = Anchors(calm=1.0, stress=0.98)  # S7
    mev_flow: Anchors = Anchors(calm=1.5, stress=4.0)  # S8

    tvl_window_s: float = 48 * HOUR_S
    outflow_span_s: float = 24 * HOUR_S
    outflow_window_s: float = 30 * DAY_S
    outflow_quantile: float = 0.95
    outflow_floor: float = 0.001  # of reserves: the least claim that S2 divides by
    depth_window_s: float = 7 * DAY_S
    depth_best_s: float = 3 * HOUR_S
    peg_median_s: float = 3 * HOUR_S
    peg_sample_s: float = 5 * MINUTE_S  # the median is over samples so far apart, not over rows
    reer_span_s: float = 24 * HOUR_S
    reer_window_s: float = 30 * DAY_S
    reer_min_vol: float = 0.0005  # log return over the span: the least norm that S6 divides by
    mev_window_s: float = 7 * DAY_S
    mev_recent_s: float = 1 * HOUR_S
    priority_fee_floor_gwei: float = 0.01  # the least norms that S8 divides by
    sandwich_floor: float = 0.01

    # Lists: which sources, what tokens are worth, and what only the user can know
    aggregators: tuple[str, ...] = ("defillama",)  # S1: sources that confirm and never score
    vault_rate_sources: tuple[str, ...] = ("erc4626",)  # S1: EXCHANGE_RATE by the issuer, not a market's
    priced_as: tuple[str, ...] = ("WBTC=BTC", "WETH=ETH")  # tokens that have another's price
    native_tokens: tuple[str, ...] = ("ETH",)  # S2: a treasury is liquid in these and in stables
    treasury_obligations: tuple[str, ...] = ()  # S2: "<holder>=<USD due in 30 days>"
    share_targets: tuple[str, ...] = ()  # S3: "<pool>/<token>=<share>"; else equal shares
    reer_weights: tuple[str, ...] = ("DAI=0.14", "USDC=0.45", "USDT=0.40", "sUSD=0.01")  # S6

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        within("onchain.outflow_quantile", self.outflow_quantile, 0.5, 1.0)
        within("onchain.outflow_floor", self.outflow_floor, 1e-6, 1.0)
        within("onchain.depth_best_s", self.depth_best_s, 1.0, self.depth_window_s)
        within("onchain.peg_median_s", self.peg_median_s, 60.0, 7 * DAY_S)
        within("onchain.peg_sample_s", self.peg_sample_s, 1.0, self.peg_median_s)
        within("onchain.reer_min_vol", self.reer_min_vol, 1e-6, 1.0)
        within("onchain.reer_span_s", self.reer_span_s, 1.0, self.reer_window_s)
        within("onchain.mev_recent_s", self.mev_recent_s, 1.0, self.mev_window_s)
        within("onchain.priority_fee_floor_gwei", self.priority_fee_floor_gwei, 1e-9, 1e4)
        within("onchain.sandwich_floor", self.sandwich_floor, 1e-6, 1.0)
        self._check_lists()

    def _check_lists(self) -> None:
        """Raise ConfigError for an entry that is no ``name=value``, is named twice or is out of bounds."""
        priced_as(self)
        numbers_of("treasury_obligations", self.treasury_obligations, low=1.0, high=_MOST_USD)
        numbers_of("reer_weights", self.reer_weights, low=0.0, high=1e6)
        sums: dict[str, float] = {}
        for subject, share in numbers_of("share_targets", self.share_targets, low=0.0, high=1.0).items():
            pool, slash, token = subject.rpartition("/")
            if not (pool and slash and token):
                raise ConfigError(
                    f"signals.onchain.share_targets: an entry must be <pool>/<token>=<share>, was {subject!r}"
                )
            sums[pool] = sums.get(pool, 0.0) + share
        for pool, total in sums.items():
            if abs(total - 1.0) > 1e-6:
                raise ConfigError(
                    f"signals.onchain.share_targets of {pool} must add up to 1, were {total:g}; "
                    f"name every token of the pool"
                )


_LISTS = (
    "aggregators",
    "vault_rate_sources",
    "priced_as",
    "native_tokens",
    "treasury_obligations",
    "share_targets",
    "reer_weights",
)


def numbers_of(key: str, entries: tuple[str, ...], *, low: float, high: float) -> dict[str, float]:
    """Return ``name=number`` entries. Raises ConfigError for what is none, named twice or out of bounds."""
    found: dict[str, float] = {}
    for name, text in _pairs(key, entries):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        within(f"onchain.{key} of {name}", value, low, high)
        found[name] = value
    return found


def priced_as(policy: OnchainPolicy) -> dict[str, str]:
    """Return the tokens that have another's price: wrapped coins."""
    return dict(_pairs("priced_as", policy.priced_as))


def _pairs(key: str, entries: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for entry in entries:
        name, equals, text = (part.strip() for part in entry.rpartition("="))
        if not (name and equals and text) or name in dict(pairs):
            raise ConfigError(
                f"signals.onchain.{key}: each entry must be name=value, each name once, was {entry!r}"
            )
        pairs.append((name, text))
    return pairs
