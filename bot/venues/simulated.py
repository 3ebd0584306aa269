"""An option market made of a model: for backtests and stress tests, where no venue's history exists.

It knows only what its view holds: the newest price and the constant-maturity vols (IV_7D, IV_30D, IV_90D)
observed by then. Between those tenors total variance is interpolated, beyond them the vol is flat; strikes
get a skew; premiums a spread. Listed expiries and strikes follow from the time and the price alone.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bot.model.hedge import HedgeLeg, Instrument, LegOutcome, LegStatus, OptionType, Quote, Side
from bot.model.market import Columns, FloatArray, Metric
from bot.model.quotes import Listing, QuoteBoard, listing_of
from bot.model.units import DAY_S, HOUR_S, YEAR_S
from bot.ports import MarketView, VenuePosition
from bot.quant import options
from bot.quant.surface import iv_at_tenor
from bot.venues.booked import (
    BookedPosition,
    BookedPositions,
    Fill,
    SaleTerms,
    marked_at,
    models_usd,
    rejected,
    sale_fill,
    settlement_fill,
    settlement_spot,
)
from bot.venues.option_market import Conditions as Conditions
from bot.venues.option_market import OptionMarket as OptionMarket
from bot.venues.option_market import conditions_at, half_spread_usd, sale_terms

_TENORS = ((Metric.IV_7D, 7.0), (Metric.IV_30D, 30.0), (Metric.IV_90D, 90.0))
_TENOR_YEARS = np.array([days * DAY_S / YEAR_S for _, days in _TENORS])
_EXPIRY_HOUR_S = 8 * HOUR_S  # 08:00 UTC, as Deribit's options
_FIRST_FRIDAY_S = DAY_S  # 1970-01-02 was a Friday
_NICE_STEPS = np.array([1.0, 2.0, 2.5, 5.0, 10.0])
_BLOCK_S = 12


class _Marked(NamedTuple):
    """What was held, and its marks, at one time: a step may ask again."""

    view: MarketView
    positions: tuple[BookedPosition, ...]
    marks: tuple[VenuePosition, ...]

    def stands(self, view: MarketView, positions: tuple[BookedPosition, ...]) -> bool:
        """Say whether it is what the venue would answer now."""
        same = view.columns is self.view.columns and view.now_s == self.view.now_s
        return same and view.spot_usd == self.view.spot_usd and positions == self.positions


class SimulatedVenue:
    """Implements ports.Venue. Every answer is a function of the view and of its own past fills."""

    def __init__(self, market: OptionMarket, *, name: str = "simulated") -> None:
        self._market = market
        self._name = name
        self._book = BookedPositions(prefix=name)
        self._marked: _Marked | None = None  # at the newest look

    @property
    def name(self) -> str:
        return self._name

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> Sequence[Quote]:
        """Return buy quotes for every listed option; none while price or vol is unknown."""
        curve = atm_curve(view.columns, underlying, now_s=view.now_s, max_age_s=self._market.vol_max_age_s)
        spot_usd = view.spot_usd.get(underlying, math.nan)
        if curve is None or not spot_usd > 0.0:
            return ()
        market = self._market
        size = min(max(round(size / market.lot), 1) * market.lot, market.max_contracts)
        listed = _listed(self._name, underlying, view.now_s, spot_usd, market)
        strikes, years = listed.strikes_usd, (listed.expiries_s - view.now_s) / YEAR_S
        now = conditions_at(view.columns, underlying, curve, market)
        ivs = strike_ivs(curve, spot_usd, strikes, years, market, curvature=now.curvature)
        prices, deltas, vegas = options.price_delta_vega(spot_usd, strikes, years, ivs, is_put=listed.is_put)
        values = size * prices
        halves = half_spread_usd(
            market, values, vega_usd=size * vegas, notional_usd=size * spot_usd, size=size, stress=now.stress
        )
        inside = (np.abs(deltas) >= market.min_abs_delta) & (np.abs(deltas) <= market.max_abs_delta)
        block_number = view.block.number if view.block else int(view.now_s // _BLOCK_S)
        columns: dict[str, FloatArray | float] = {
            "size": size,
            "premium_usd": values[inside] + halves[inside],
            "fee_usd": halves[inside],
            "gas_usd": now.gas_usd,
            "swap_usd": 0.0,
            "iv": ivs[inside],
            "delta": deltas[inside],
            "model_usd": values[inside],
            "min_size": market.lot,
            "lot": market.lot,
            "liquidity": market.max_contracts,
            "valid_until_s": view.now_s + HOUR_S,
        }
        return QuoteBoard(listed, np.flatnonzero(inside), columns, block_number=block_number)

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        """Return every open position; its values are NaN while price or vol is unknown."""
        positions, seen = self._book.positions(), self._marked
        if seen is None or not seen.stands(view, positions):
            seen = self._marked = _Marked(view, positions, self._marks(positions, view))
        return seen.marks

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
        at = self._seen_for((leg.instrument,), view)
        (terms,) = self._terms(at, [leg.size], at.models_usd([leg.size]))
        return self._book.sell(leg, sale_fill(mark, leg, now_s=view.now_s, terms=terms))

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
        at = self._seen_for((instrument,), view)
        (model,) = at.models_usd([leg.size])
        if math.isnan(model):
            return rejected(leg, at_s=view.now_s, because="price or implied volatility is unknown")
        (half,) = self._half_spreads_usd(at, [leg.size], [model])
        fill = Fill(
            at_s=view.now_s,
            premium_usd=model + half,
            fee_usd=half,
            gas_usd=at.conditions[0].gas_usd,
            block_number=view.block.number if view.block else 0,
        )
        return self._book.buy(leg, fill)

    def _settle(self, leg: HedgeLeg, view: MarketView) -> LegOutcome:
        spot_usd = settlement_price(view.columns, leg.instrument, now_s=view.now_s)
        now = self._conditions(view, leg.instrument.underlying)
        terms = sale_terms(self._market, model_usd=0.0, half_usd=0.0, conditions=now)
        return self._book.settle(leg, settlement_fill(leg, spot_usd=spot_usd, now_s=view.now_s, terms=terms))

    def _marks(self, positions: Sequence[BookedPosition], view: MarketView) -> tuple[VenuePosition, ...]:
        if not positions:
            return ()
        at = self._seen_for([item.instrument for item in positions], view)
        models = at.models_usd([item.size for item in positions])
        terms = self._terms(at, [item.size for item in positions], models)
        return tuple(
            marked_at(
                position,
                model_usd=model,
                iv=iv,
                now_s=view.now_s,
                terms=each,
                settlement_usd=settlement_price(view.columns, position.instrument, now_s=view.now_s),
            )
            for position, model, iv, each in zip(positions, models, at.ivs.tolist(), terms, strict=True)
        )

    def _terms(self, at: "_Seen", sizes: Sequence[float], models_usd: Sequence[float]) -> list[SaleTerms]:
        """Return what selling so much of each option costs; ``models_usd`` are of those sizes."""
        halves = self._half_spreads_usd(at, sizes, models_usd)
        return [
            sale_terms(self._market, model_usd=model, half_usd=half, conditions=now)
            for model, half, now in zip(models_usd, halves, at.conditions, strict=True)
        ]

    def _half_spreads_usd(
        self, at: "_Seen", sizes: Sequence[float], models_usd: Sequence[float]
    ) -> list[float]:
        market, many = self._market, np.array(sizes)
        vegas: FloatArray | float = 0.0
        if market.needs_vega:
            found = many * options.vega(at.spots_usd, at.strikes_usd, at.years, at.ivs)
            vegas = np.where(at.years > 0.0, found, 0.0)
        halves: list[float] = half_spread_usd(
            market,
            np.array(models_usd),
            vega_usd=vegas,
            notional_usd=many * at.spots_usd,
            size=many,
            stress=np.array([now.stress for now in at.conditions]),
        ).tolist()
        return halves

    def _conditions(self, view: MarketView, underlying: str) -> Conditions:
        curve = atm_curve(view.columns, underlying, now_s=view.now_s, max_age_s=self._market.vol_max_age_s)
        return conditions_at(view.columns, underlying, curve, self._market)

    def _seen_for(self, instruments: Sequence[Instrument], view: MarketView) -> "_Seen":
        """Return what the view says of options; vols are NaN where one has expired or price or vol is
        unknown."""
        strikes = np.array([item.strike_usd for item in instruments])
        years = (np.array([float(item.expiry_s) for item in instruments]) - view.now_s) / YEAR_S
        names = [item.underlying for item in instruments]
        spots, ivs = np.full(len(names), math.nan), np.full(len(names), math.nan)
        conditions: dict[str, Conditions] = {}
        for name in dict.fromkeys(names):
            spot_usd = view.spot_usd.get(name, math.nan)
            curve = atm_curve(view.columns, name, now_s=view.now_s, max_age_s=self._market.vol_max_age_s)
            now = conditions[name] = conditions_at(view.columns, name, curve, self._market)
            mine = np.array([each == name for each in names])
            spots[mine] = spot_usd
            here = mine & (years > 0.0)
            if curve is not None and spot_usd > 0.0 and here.any():
                ivs[here] = strike_ivs(
                    curve, spot_usd, strikes[here], years[here], self._market, curvature=now.curvature
                )
        return _Seen(
            instruments=instruments,
            now_s=view.now_s,
            spots_usd=spots,
            strikes_usd=strikes,
            years=years,
            ivs=ivs,
            conditions=[conditions[name] for name in names],
        )


class _Seen(NamedTuple):
    """What a view says of some options, row by row."""

    instruments: Sequence[Instrument]
    now_s: float
    spots_usd: FloatArray
    strikes_usd: FloatArray
    years: FloatArray  # of life left, negative after expiry
    ivs: FloatArray
    conditions: Sequence[Conditions]  # of the market of each

    def models_usd(self, sizes: Sequence[float]) -> list[float]:
        return models_usd(
            self.instruments, sizes=sizes, spots_usd=self.spots_usd, ivs=self.ivs, now_s=self.now_s
        )


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
    curve: FloatArray,
    spot_usd: float,
    strikes_usd: FloatArray,
    years: FloatArray,
    market: OptionMarket,
    *,
    curvature: float | None = None,
) -> FloatArray:
    """Return the vol of each strike: at-the-money vol x (1 - slope x + curvature x^2).

    ``x`` is log(strike / spot) in standard deviations to expiry, held inside +-3; the slope steepens
    with the 30-day vol. ``curvature``: the market's where not said.
    """
    atm = iv_at_tenor(_TENOR_YEARS, curve, years)
    x = np.log(strikes_usd / spot_usd) / (atm * np.sqrt(years))
    x = np.minimum(np.maximum(x, -3.0), 3.0)
    slope = market.skew_calm + (market.skew_stress - market.skew_calm) * market.stress(float(curve[1]))
    bend = market.skew_curvature if curvature is None else curvature
    return np.asarray(atm * (1.0 - slope * x + bend * x * x))


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


def _listed(venue: str, underlying: str, now_s: float, spot_usd: float, market: OptionMarket) -> Listing:
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
) -> Listing:
    instruments = []
    kinds = (OptionType.PUT, OptionType.CALL) if market.list_calls else (OptionType.PUT,)
    for expiry_s, is_short in expiries:
        share = market.strike_step_short if is_short else market.strike_step_long
        width = 0.5 if is_short else 1.0  # in log-moneyness; the delta band narrows it
        for strike in _strikes(anchor_usd, share, width):
            instruments += [_instrument(venue, underlying, kind, strike, expiry_s) for kind in kinds]
    return listing_of(instruments)


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
