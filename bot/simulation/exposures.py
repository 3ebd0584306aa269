"""Reads an exposure as a person writes it, and turns it into a position at its entry price."""

import math
from dataclasses import dataclass, replace

from bot.errors import ConfigError
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.quant import lp

UNDERLYINGS = ("BTC", "ETH")
_STABLES = ("DAI", "DOLA", "FRAX", "GHO", "MIM", "UST")  # of one dollar, with no USD in the name
_FORM = "v2:ETH/USDC:1000000, v3:ETH/USDC:0.2:1000000 (half-width, value) or v3:ETH/USDC:1000000:-20%:+20%"
_KINDS = {
    "v2": (ExposureKind.UNISWAP_V2, "uniswap-v2"),
    "v3": (ExposureKind.UNISWAP_V3, "uniswap-v3"),
}
_LENGTHS = {"v2": (3,), "v3": (4, 5)}
_MAINNET = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureSpec:
    """An LP position to open at the first price of a backtest. Bounds are fractions of that price."""

    kind: ExposureKind
    protocol: str
    pool: str  # "v2:ETH/USDC"
    underlying: str
    stable: str
    value_usd: float
    below: float = -1.0  # lower bound of the range, relative to entry; -1 is a price of 0
    above: float = math.inf

    def open_at(self, spot_usd: float) -> Exposure:
        """Return the position bought at this price. Its liquidity never changes after that."""
        lower_usd, upper_usd = spot_usd * (1.0 + self.below), spot_usd * (1.0 + self.above)
        liquidity = lp.liquidity_for_value(self.value_usd, spot_usd, lower_usd, upper_usd)
        shape = LpShape(liquidity=liquidity, lower_usd=lower_usd, upper_usd=upper_usd)
        units, stable = lp.amounts(shape, spot_usd)
        return Exposure(
            id=self.pool,
            kind=self.kind,
            protocol=self.protocol,
            chain_id=_MAINNET,
            pool=self.pool,
            underlying=self.underlying,
            stable=self.stable,
            shape=shape,
            spot_usd=spot_usd,
            value_usd=self.value_usd,
            held_units=float(units),
            held_stable=float(stable),
        )


def parse_exposure(text: str) -> ExposureSpec:
    """Return the exposure that ``text`` names, such as ``v2:ETH/USDC:1000000``.

    A v3 exposure carries its range relative to the entry price, as half its width before the value,
    ``v3:ETH/USDC:0.2:1000000``, or as both bounds after it, ``v3:ETH/USDC:1000000:-20%:+20%``.
    Raises ConfigError naming the part that is wrong.
    """
    parts = text.split(":")
    if len(parts) < 3 or parts[0] not in _KINDS or len(parts) not in _LENGTHS[parts[0]]:
        raise ConfigError(f"--exposure must look like {_FORM}, was {text!r}")
    half_width: str | None = None
    if len(parts) == 4:
        half_width = parts.pop(2)
    kind, protocol = _KINDS[parts[0]]
    underlying, stable = _pair(parts[1])
    spec = ExposureSpec(
        kind=kind,
        protocol=protocol,
        pool=f"{parts[0]}:{parts[1]}",
        underlying=underlying,
        stable=stable,
        value_usd=_number(parts[2], what="the value in USD", low=0.0, high=1e12),
    )
    if kind is ExposureKind.UNISWAP_V2:
        return spec
    if half_width is not None:
        half = _number(half_width, what="half the width of the range", low=0.0, high=1.0)
        return replace(spec, below=-half, above=half)
    return replace(
        spec,
        below=_percent(parts[3], what="the lower bound", low=-1.0, high=0.0),
        above=_percent(parts[4], what="the upper bound", low=0.0, high=100.0),
    )


@dataclass(slots=True, kw_only=True)
class PositionPath:
    """The position of a spec from one price to the next; ask in time order.

    One without a range is opened once. One with a range is opened anew around the price, with what it is
    worth then, every ``recentre_s``: otherwise the price leaves it for good and there is nothing to hedge.
    """

    spec: ExposureSpec
    recentre_s: float = math.inf
    recentre_cost: float = 0.0  # of what is swapped for it
    _entry: Exposure | None = None
    _opened_s: float = -math.inf

    def at(self, now_s: float, spot_usd: float) -> Exposure:
        """Return the position at a price."""
        if self._entry is None:
            self._entry, self._opened_s = self.spec.open_at(spot_usd), now_s
        elif math.isfinite(self.spec.above) and now_s - self._opened_s >= self.recentre_s:
            self._entry, self._opened_s = self._recentred(self._entry, spot_usd), now_s
        return at_price(self._entry, spot_usd)

    def _recentred(self, entry: Exposure, spot_usd: float) -> Exposure:
        held = at_price(entry, spot_usd)
        units, _ = lp.amounts(held.shape, spot_usd)
        anew = replace(self.spec, value_usd=held.value_usd).open_at(spot_usd)
        swapped_usd = abs(anew.held_units - float(units)) * spot_usd
        left_usd = held.value_usd - self.recentre_cost * swapped_usd
        return replace(self.spec, value_usd=left_usd).open_at(spot_usd)


def at_price(exposure: Exposure, spot_usd: float) -> Exposure:
    """Return the same position valued at another price."""
    return replace(exposure, spot_usd=spot_usd, value_usd=float(lp.value(exposure.shape, spot_usd)))


def _pair(text: str) -> tuple[str, str]:
    underlying, _, stable = text.partition("/")
    # Any other token would count as one dollar, and every figure would be wrong.
    is_stable = stable.isalnum() and ("USD" in stable.upper() or stable in _STABLES)
    if underlying not in UNDERLYINGS or not is_stable:
        raise ConfigError(
            f"--exposure: the pair must be {' or '.join(UNDERLYINGS)} over a dollar stable, "
            f"such as ETH/USDC, was {text!r}"
        )
    return underlying, stable


def _percent(text: str, *, what: str, low: float, high: float) -> float:
    if not text.endswith("%"):
        raise ConfigError(f"--exposure: {what} must be a percentage such as -20% or +20%, was {text!r}")
    return _number(text[:-1], what=what, low=100.0 * low, high=100.0 * high) / 100.0


def _number(text: str, *, what: str, low: float, high: float) -> float:
    """Return a number strictly between two bounds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low < value < high:
        raise ConfigError(f"--exposure: {what} must be a number between {low:g} and {high:g}, was {text!r}")
    return value
