"""An option market made of a model: for backtests and stress tests, where no venue's history exists.

It knows only what its view holds: the newest price and the constant-maturity vols (IV_7D, IV_30D, IV_90D)
observed by then. Between those tenors total variance is interpolated, beyond them the vol is flat; strikes
get a skew; premiums a spread. Listed expiries and strikes follow from the time and the price alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from bot.errors import ConfigError
from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, LegStatus, OptionType, Quote, Side
from bot.model.market import Columns, FloatArray, Metric
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.ports import MarketView, VenuePosition
from bot.quant import options
from bot.quant.surface import iv_at_tenor
from bot.venues.booked import (
    BookedPosition,
    BookedPositions,
    Fill,
    SaleTerms,
    marked,
    model_usd,
    rejected,
    sale_fill,
    settlement_fill,
    settlement_spot,
)

_TENORS = ((Metric.IV_7D, 7.0), (Metric.IV_30D, 30.0), (Metric.IV_90D, 90.0))
_TENOR_YEARS = np.array([days * DAY_S / YEAR_S for _, days in _TENORS])
_EXPIRY_HOUR_S = 8 * HOUR_S  # 08:00 UTC, as Deribit's options
_FIRST_FRIDAY_S = DAY_S  # 1970-01-02 was a Friday
_NICE_STEPS = np.array([1.0, 2.0, 2.5, 5.0, 10.0])
_BLOCK_S = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionMarket:
    """What the venue assumes. Vols are fractions a year, money is USD, shares are fractions."""

    spread_share: float  # of model value, added to a purchase and taken off a sale
    gas_usd: float  # per order
    cutoff_s: float  # no trade this near to expiry
    max_contracts: float  # most it sells in one order
    lot: float
    vol_max_age_s: float  # older vols are unknown, and nothing is quoted
    skew_calm: float  # slope of vol over normalised log-moneyness, fraction per standard deviation
    skew_stress: float
    skew_curvature: float
    stress_from_vol: float  # 30-day vol at which the slope starts to steepen
    stress_to_vol: float
    weeklies: int
    month_ends_dte: float
    min_abs_delta: float  # strikes outside are not listed
    max_abs_delta: float
    strike_step_short: float  # share of spot between strikes, rounded to a plain number
    strike_step_long: float
    short_dte: float
    list_calls: bool

    def __post_init__(self) -> None:
        checks = {
            "spread_share": 0.0 <= self.spread_share < 1.0,
            "gas_usd": 0.0 <= self.gas_usd < math.inf,
            "max_contracts": 0.0 < self.max_contracts < math.inf,
            "lot": 0.0 < self.lot <= self.max_contracts,
            "vol_max_age_s": 0.0 < self.vol_max_age_s < math.inf,
            "stress_to_vol": 0.0 <= self.stress_from_vol < self.stress_to_vol,
            "weeklies": 1 <= self.weeklies <= 52,
            "max_abs_delta": 0.0 < self.min_abs_delta < self.max_abs_delta < 1.0,
            "strike_step_short": 0.001 <= self.strike_step_short <= 0.5,
            "strike_step_long": 0.001 <= self.strike_step_long <= 0.5,
        }
        wrong = [name for name, is_right in checks.items() if not is_right]
        if wrong:
            raise ConfigError(f"market {wrong[0]}: {getattr(self, wrong[0])} is outside what is allowed")

    @property
    def sale_terms(self) -> SaleTerms:
        return SaleTerms(
            haircut=self.spread_share,
            gas_usd=self.gas_usd,
            cutoff_s=self.cutoff_s,
            source="the simulated market's spread",
        )


class SimulatedVenue:
    """Implements ports.Venue. Every answer is a function of the view and of its own past fills."""

    def __init__(self, market: OptionMarket, *, name: str = "simulated") -> None:
        self._market = market
        self._terms = market.sale_terms
        self._name = name
        self._book = BookedPositions(prefix=name)

    @property
    def name(self) -> str:
        return self._name

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        """Return buy quotes for every listed option; none while price or vol is unknown."""
        curve = atm_curve(view.columns, underlying, now_s=view.now_s, max_age_s=self._market.vol_max_age_s)
        spot_usd = view.spot_usd.get(underlying, math.nan)
        if curve is None or not spot_usd > 0.0:
            return ()
        market = self._market
        size = min(max(round(size / market.lot), 1) * market.lot, market.max_contracts)
        listed = _listed(self._name, underlying, view.now_s, spot_usd, market)
        strikes, years = listed.strikes_usd, (listed.expiries_s - view.now_s) / YEAR_S
        ivs = strike_ivs(curve, spot_usd, strikes, years, market)
        deltas = options.delta(spot_usd, strikes, years, ivs, is_put=listed.is_put)
        values = size * options.price(spot_usd, strikes, years, ivs, is_put=listed.is_put)
        inside = (np.abs(deltas) >= market.min_abs_delta) & (np.abs(deltas) <= market.max_abs_delta)
        block_number = view.block.number if view.block else int(view.now_s // _BLOCK_S)
        return tuple(
            Quote(
                instrument=listed.instruments[i],
                size=size,
                premium_usd=value * (1.0 + market.spread_share),
                fee_usd=value * market.spread_share,
                gas_usd=market.gas_usd,
                swap_usd=0.0,
                iv=iv,
                delta=delta,
                model_usd=value,
                min_size=market.lot,
                lot=market.lot,
                liquidity=market.max_contracts,
                valid_until_s=view.now_s + HOUR_S,
                block_number=block_number,
            )
            for i, value, iv, delta in zip(
                np.flatnonzero(inside).tolist(),
                values[inside].tolist(),
                ivs[inside].tolist(),
                deltas[inside].tolist(),
                strict=True,
            )
        )

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return every open position; its values are NaN while price or vol is unknown."""
        return self._marks(self._book.positions(), view)

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Fill a leg at the model's price, or say why not."""
        if view.now_s > leg.valid_until_s:
            return rejected(leg, at_s=view.now_s, because="the order is no longer valid")
        if leg.side is Side.BUY:
            return self._buy(leg, view)
        position = self._book.get(leg.position_id)
        if leg.side is Side.SETTLE:
            return self._settle(leg, view)
        if position is None:
            return rejected(leg, at_s=view.now_s, because=f"position {leg.position_id!r} is not held")
        (mark,) = self._marks((position,), view)
        return self._book.sell(leg, sale_fill(mark, leg, now_s=view.now_s, terms=self._terms))

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Say that an open leg did not happen: a fill here is booked in the same breath as it is decided."""
        return LegOutcome(
            leg=leg, status=LegStatus.REJECTED, at_s=view.now_s, because="never reached the simulated venue"
        )

    def replay(self, outcomes: Iterable[LegOutcome]) -> None:
        """Rebuild the positions from a journal."""
        self._book.replay(outcomes)

    def _buy(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        market, instrument = self._market, leg.instrument
        if instrument.expiry_s - view.now_s <= market.cutoff_s:
            return rejected(leg, at_s=view.now_s, because=f"{instrument.id} is inside the trading cutoff")
        if leg.size > market.max_contracts:
            return rejected(
                leg,
                at_s=view.now_s,
                because=f"{leg.size:g} contracts asked, the venue sells {market.max_contracts:g}",
            )
        (iv,) = self._ivs((instrument,), view)
        spot_usd = view.spot_usd.get(instrument.underlying, math.nan)
        model = model_usd(instrument, size=leg.size, spot_usd=spot_usd, iv=iv, now_s=view.now_s)
        if math.isnan(model):
            return rejected(leg, at_s=view.now_s, because="price or implied volatility is unknown")
        fill = Fill(
            at_s=view.now_s,
            premium_usd=model * (1.0 + market.spread_share),
            fee_usd=model * market.spread_share,
            gas_usd=market.gas_usd,
            block_number=view.block.number if view.block else 0,
        )
        return self._book.buy(leg, fill)

    def _settle(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        spot_usd = settlement_price(view.columns, leg.instrument, now_s=view.now_s)
        return self._book.settle(
            leg, settlement_fill(leg, spot_usd=spot_usd, now_s=view.now_s, terms=self._terms)
        )

    def _marks(self, positions: Sequence[BookedPosition], view: MarketView) -> tuple[VenuePosition, ...]:
        ivs = self._ivs([item.instrument for item in positions], view)
        return tuple(
            marked(
                position,
                spot_usd=view.spot_usd.get(position.instrument.underlying, math.nan),
                iv=iv,
                now_s=view.now_s,
                terms=self._terms,
                settlement_usd=settlement_price(view.columns, position.instrument, now_s=view.now_s),
            )
            for position, iv in zip(positions, ivs, strict=True)
        )

    def _ivs(self, instruments: Sequence[Instrument], view: MarketView) -> list[float]:
        """Return the vol of each instrument, NaN where it has expired or price or vol is unknown."""
        ivs = np.full(len(instruments), np.nan)
        names = np.array([item.underlying for item in instruments])
        strikes = np.array([item.strike_usd for item in instruments])
        years = (np.array([float(item.expiry_s) for item in instruments]) - view.now_s) / YEAR_S
        for name in {item.underlying for item in instruments}:
            spot_usd = view.spot_usd.get(name, math.nan)
            curve = atm_curve(view.columns, name, now_s=view.now_s, max_age_s=self._market.vol_max_age_s)
            if curve is not None and spot_usd > 0.0:
                here = (names == name) & (years > 0.0)
                ivs[here] = strike_ivs(curve, spot_usd, strikes[here], years[here], self._market)
        return [float(iv) for iv in ivs]


def atm_curve(columns: Columns, underlying: str, *, now_s: float, max_age_s: float) -> FloatArray | None:
    """Return the newest at-the-money vols at 7, 30 and 90 days; None when one is unknown or too old."""
    vols = []
    for metric, _ in _TENORS:
        value, at_s = columns.latest(metric, underlying)
        if not (value > 0.0 and now_s - max_age_s <= at_s <= now_s):
            return None
        vols.append(value)
    return np.array(vols)


def strike_ivs(
    curve: FloatArray, spot_usd: float, strikes_usd: FloatArray, years: FloatArray, market: OptionMarket
) -> FloatArray:
    """Return the vol of each strike: at-the-money vol x (1 - slope x + curvature x^2).

    ``x`` is log(strike / spot) in standard deviations to expiry, held inside +-3; the slope steepens
    with the 30-day vol.
    """
    atm = iv_at_tenor(_TENOR_YEARS, curve, years)
    x = np.clip(np.log(strikes_usd / spot_usd) / (atm * np.sqrt(years)), -3.0, 3.0)
    stress = (curve[1] - market.stress_from_vol) / (market.stress_to_vol - market.stress_from_vol)
    slope = market.skew_calm + (market.skew_stress - market.skew_calm) * min(max(stress, 0.0), 1.0)
    return np.asarray(atm * (1.0 - slope * x + market.skew_curvature * x * x))


def settlement_price(columns: Columns, instrument: Instrument, *, now_s: float) -> float:
    """Return the last price before expiry; where that hour is a hole in the history, the first one after it.

    NaN before expiry.
    """
    price = settlement_spot(columns, instrument, now_s=now_s)
    if math.isfinite(price) or now_s < instrument.expiry_s:
        return price
    for key in columns.find(Metric.PRICE_USD, instrument.underlying):
        after = columns[key].until(now_s).since(instrument.expiry_s)
        known = after.values[np.isfinite(after.values)]
        if known.size:
            return float(known[0])
    return math.nan


def listed_expiries(now_s: float, market: OptionMarket) -> tuple[int, ...]:
    """Return the expiries that trade: the next Fridays at 08:00 UTC, and the last Friday of each month."""
    first = _FIRST_FRIDAY_S + _EXPIRY_HOUR_S
    week_s = 7 * DAY_S
    next_s = first + math.floor((now_s + market.cutoff_s - first) / week_s + 1) * week_s
    last_s = max(next_s + (market.weeklies - 1) * week_s, now_s + market.month_ends_dte * DAY_S)
    fridays = range(next_s, int(last_s) + 1, week_s)
    return tuple(
        friday for i, friday in enumerate(fridays) if i < market.weeklies or _is_last_of_month(friday)
    )


def _is_last_of_month(friday_s: int) -> bool:
    this, following = (datetime.fromtimestamp(at_s, tz=UTC) for at_s in (friday_s, friday_s + 7 * DAY_S))
    return this.month != following.month


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Listing:
    instruments: tuple[Instrument, ...]
    strikes_usd: FloatArray
    expiries_s: FloatArray
    is_put: "np.ndarray[tuple[int], np.dtype[np.bool_]]"


def _listed(venue: str, underlying: str, now_s: float, spot_usd: float, market: OptionMarket) -> _Listing:
    """Return what is listed. The grid moves in steps of 10 % of spot, so that it can be kept."""
    anchor = math.exp(round(math.log(spot_usd) * 10.0) / 10.0)
    short_until = now_s + market.short_dte * DAY_S
    expiries = tuple((expiry, expiry <= short_until) for expiry in listed_expiries(now_s, market))
    return _listing(venue, underlying, expiries, anchor, market)


@lru_cache(maxsize=256)
def _listing(
    venue: str,
    underlying: str,
    expiries: tuple[tuple[int, bool], ...],
    anchor_usd: float,
    market: OptionMarket,
) -> _Listing:
    instruments = []
    kinds = (OptionType.PUT, OptionType.CALL) if market.list_calls else (OptionType.PUT,)
    for expiry_s, is_short in expiries:
        share = market.strike_step_short if is_short else market.strike_step_long
        width = 0.5 if is_short else 1.0  # in log-moneyness; the delta band narrows it
        for strike in _strikes(anchor_usd, share, width):
            instruments += [_instrument(venue, underlying, kind, strike, expiry_s) for kind in kinds]
    return _Listing(
        instruments=tuple(instruments),
        strikes_usd=np.array([item.strike_usd for item in instruments]),
        expiries_s=np.array([float(item.expiry_s) for item in instruments]),
        is_put=np.array([item.option_type is OptionType.PUT for item in instruments]),
    )


def _strikes(anchor_usd: float, step_share: float, width: float) -> list[float]:
    """Return strikes around a price, one plain step apart."""
    wanted = anchor_usd * step_share
    decade = 10.0 ** math.floor(math.log10(wanted))
    step = float(_NICE_STEPS[np.argmin(np.abs(_NICE_STEPS - wanted / decade))]) * decade
    low = max(math.ceil(anchor_usd * math.exp(-width) / step), 1)
    high = math.floor(anchor_usd * math.exp(width) / step)
    return [round(i * step, 8) for i in range(low, high + 1)]


def _instrument(venue: str, underlying: str, kind: OptionType, strike: float, expiry_s: int) -> Instrument:
    day = datetime.fromtimestamp(expiry_s, tz=UTC).strftime("%Y-%m-%d")
    return Instrument(
        venue=venue,
        id=f"{underlying}-{day}-{strike:g}-{kind.value}",
        underlying=underlying,
        option_type=kind,
        strike_usd=strike,
        expiry_s=expiry_s,
        settlement="USDC",
    )
