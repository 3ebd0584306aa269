"""What the quotes and prices of one underlying say: smiles, forwards, term structure, realised vols.

For people only, in `alvh plan`: no rule reads it, and a decision never imports it (a GARCH fit loads
``arch``, which takes about a second). Vols are fractions a year, skews differences; NaN is unknown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from bot.engine.choose import refuse_quote
from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.engine.realised_vols import VolFigure, realised_vols
from bot.model.hedge import OptionType, Quote
from bot.model.market import Frame
from bot.model.units import DAY_S, YEAR_DAYS
from bot.quant import options
from bot.quant.forwards import AtmTermStructure, ImpliedForward, ParityQuotes, implied_forward
from bot.quant.smile import (
    Arbitrage,
    Smile,
    SmileModel,
    Violation,
    build_surface,
    fit_smile,
    merged,
    unknown_smile,
)
from bot.quant.surface import HIGHEST_IV, LOWEST_IV, forward_vol, nearest_expiry

SKEW_DELTA = 0.25  # of the skew, the market's own convention
TENORS_DAYS = (7.0, 30.0, 90.0)  # of the term structure: those of S12 and S13
_QUARTILE = 0.6744897501960817  # d1 at a call delta of 0.75 or a put delta of -0.25: N(d1) = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryView:
    """One listed expiry. A vol beyond the quoted strikes is NaN: a fit's wing is no quote."""

    expiry_s: int
    dte: float
    forward_usd: float
    forward_from: str  # what it rests on
    atm_iv: float  # at the forward
    put_25_iv: float
    call_25_iv: float
    forward_iv: float  # between the known expiry before and this one
    model: SmileModel
    rms_error_iv: float
    max_error_iv: float
    used: int  # strikes
    left_out: int  # quotes
    left_out_because: str  # of the first of them
    arbitrages: tuple[str, ...]
    why_unknown: str

    @property
    def skew_25(self) -> float:
        """Return the vol of the 25-delta put less that of the 25-delta call."""
        return self.put_25_iv - self.call_25_iv

    @property
    def put_over_atm(self) -> float:
        """Return the vol of the 25-delta put less that at the money."""
        return self.put_25_iv - self.atm_iv


@dataclass(frozen=True, slots=True, kw_only=True)
class TermPoint:
    """The at-the-money vol at a constant maturity; NaN where no expiry is near enough."""

    days: float
    iv: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """All that is known of one underlying's options and of its own moves."""

    underlying: str
    spot_usd: float
    expiries: tuple[ExpiryView, ...]
    term: tuple[TermPoint, ...]
    realised: tuple[VolFigure, ...]

    @property
    def term_slope(self) -> float:
        """Return the first tenor's vol over the last one's, less 1 (S13); positive is backwardation."""
        return self.term[0].iv / self.term[-1].iv - 1.0


def market_view(policy: Policy, frame: Frame, group: Group) -> MarketView:
    """Return what the frame says of what the group's options are on; indicative quotes count."""
    mine = [item for item in frame.quotes if item.instrument.underlying == group.hedged_by]
    mine.sort(key=lambda item: (item.instrument, item.size))
    expiries = sorted({item.instrument.expiry_s for item in mine})
    boards = [_board(policy, group, expiry, mine) for expiry in expiries]
    smiles = [board.smile for board in boards]
    calendars = build_surface(smiles, spot=group.spot_usd).violations
    known = [(board.smile.years, board.smile.atm_iv) for board in boards if _reaches_forward(board.smile)]
    return MarketView(
        underlying=group.hedged_by,
        spot_usd=group.spot_usd,
        expiries=tuple(_expiry(board, boards, calendars) for board in boards),
        term=_term(known),
        realised=realised_vols(policy, frame, group.hedged_by),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Board:
    """The quotes of one expiry and what was made of them."""

    expiry_s: int
    dte: float
    smile: Smile
    forward_from: str
    parity: str  # arbitrage against put-call parity in words, "" for none
    left_out: tuple[str, ...]


def _board(policy: Policy, group: Group, expiry_s: int, quotes: Sequence[Quote]) -> _Board:
    listed = [item for item in quotes if item.instrument.expiry_s == expiry_s]
    whys = [refuse_quote(policy, group, item, allow_indicative=True) for item in listed]
    usable = [item for item, why in zip(listed, whys, strict=True) if not why]
    refused = [f"{item.instrument.id}: {why}" for item, why in zip(listed, whys, strict=True) if why]
    dte = (expiry_s - group.now_s) / DAY_S
    years = dte / YEAR_DAYS
    if not usable:
        smile = unknown_smile(years, math.nan, f"no usable quote: {refused[0]}")
        return _Board(
            expiry_s=expiry_s, dte=dte, smile=smile, forward_from="", parity="", left_out=tuple(refused)
        )
    implied = _parity(usable, years)
    forward_usd, source = _forward(group, usable, implied)
    smile = _smile(usable, years, forward_usd, group.spot_usd)
    refused += [f"strike {item.strike:,.0f}: {item.why}" for item in smile.left_out]
    return _Board(
        expiry_s=expiry_s, dte=dte, smile=smile, forward_from=source, parity=_parity_words(implied),
        left_out=tuple(refused),
    )  # fmt: skip


def _forward(group: Group, usable: Sequence[Quote], implied: ImpliedForward) -> tuple[float, str]:
    if math.isfinite(implied.forward):
        count = implied.strikes_used
        return implied.forward, f"put-call parity at {count} strike{'s' if count > 1 else ''}"
    stated = [item.parity.forward_usd for item in usable if item.parity is not None]
    stated = [usd for usd in stated if 0.0 < usd < math.inf]
    if stated:
        return float(np.median(stated)), "the venue's own forward"
    return group.spot_usd, "spot: no strike has a bid and an ask of both a put and a call"


def _parity(usable: Sequence[Quote], years: float) -> ImpliedForward:
    """Return what put-call parity says of an expiry, with the middle and the spread of each quote."""
    sides: dict[tuple[float, OptionType], tuple[float, float]] = {}
    discounts = []
    for item in usable:
        if item.parity is None:
            continue
        half_usd = _half_spread_usd(item)
        place = (item.instrument.strike_usd, item.instrument.option_type)
        if place not in sides or half_usd < sides[place][1]:
            sides[place] = (item.parity.mid_usd, half_usd)
        discounts.append(item.parity.discount)
    strikes = sorted({strike for strike, _ in sides})
    none = (math.nan, math.nan)
    rows = {kind: np.array([sides.get((at, kind), none) for at in strikes]) for kind in OptionType}
    calls, puts = (rows[kind].reshape(-1, 2) for kind in (OptionType.CALL, OptionType.PUT))
    sound = [each for each in discounts if 0.0 < each < math.inf]
    quotes = ParityQuotes(
        years=years,
        strikes=np.array(strikes),
        call_bids=np.maximum(calls[:, 0] - calls[:, 1], 0.0),
        call_asks=calls.sum(axis=1),
        put_bids=np.maximum(puts[:, 0] - puts[:, 1], 0.0),
        put_asks=puts.sum(axis=1),
    )
    return implied_forward(quotes, discount=float(np.median(sound)) if sound else None)


def _parity_words(implied: ImpliedForward) -> str:
    if not implied.gap_beyond_spread > 0.0 or implied.consistent:
        return ""
    return f"put-call parity is off by {implied.gap_beyond_spread:,.2f} USD beyond the spreads"


def _half_spread_usd(item: Quote) -> float:
    """Return what is asked for one unit over its middle, fees left out; >= 0.

    The middle is that of bid and ask where the venue shows both, else its own model value.
    """
    units = item.size * item.instrument.multiplier
    middle_usd = item.model_usd / units if item.parity is None else item.parity.mid_usd
    return max((item.premium_usd - item.fee_usd) / units - middle_usd, 0.0)


def _smile(usable: Sequence[Quote], years: float, forward_usd: float, spot_usd: float) -> Smile:
    """Return the fit to the vols that the venues mark, each trusted to its spread."""
    strikes = np.array([item.instrument.strike_usd for item in usable])
    ivs = np.array([item.iv for item in usable])
    vega = options.vega(spot_usd, strikes, years, ivs)
    half_usd = np.array([_half_spread_usd(item) for item in usable])
    # The vol stays the middle of its spread, also where a far strike's spread is wider than the vol.
    most = np.maximum(np.minimum(ivs - LOWEST_IV, HIGHEST_IV - ivs), 0.0)
    half = np.minimum(half_usd / np.maximum(vega, np.finfo(np.float64).tiny), most)
    quotes = merged(
        years=years, forward=forward_usd, strikes=strikes, bid_ivs=ivs - half, ask_ivs=ivs + half,
        liquidity=np.array([item.liquidity * item.instrument.multiplier for item in usable]),
    )  # fmt: skip
    return fit_smile(quotes)


def _expiry(board: _Board, boards: Sequence[_Board], found: Sequence[Violation]) -> ExpiryView:
    smile = board.smile
    mine = [item for item in found if item.years == smile.years]
    words = [_violation_words(item, smile, boards) for item in mine]
    if smile.model is SmileModel.SVI_HELD:
        words.append("butterfly in the best fit: this one is held free of it")
    return ExpiryView(
        expiry_s=board.expiry_s,
        dte=board.dte,
        forward_usd=smile.forward,
        forward_from=board.forward_from,
        atm_iv=smile.atm_iv if _reaches_forward(smile) else math.nan,
        put_25_iv=_iv_at_d1(smile, _QUARTILE),
        call_25_iv=_iv_at_d1(smile, -_QUARTILE),
        forward_iv=_forward_iv(board, boards),
        model=smile.model,
        rms_error_iv=smile.rms_error_iv,
        max_error_iv=smile.max_error_iv,
        used=smile.used,
        left_out=len(board.left_out),
        left_out_because=board.left_out[0] if board.left_out else "",
        arbitrages=(*words, *([board.parity] if board.parity else [])),
        why_unknown=smile.why_unknown,
    )


def _reaches_forward(smile: Smile) -> bool:
    return bool(smile.is_quoted(smile.forward))


def _iv_at_d1(smile: Smile, d1: float) -> float:
    """Return the vol at the strike whose d1 this is; NaN where that strike lies beyond the quotes."""
    if smile.svi is None:
        return math.nan

    def beyond(k: float) -> float:
        w = float(smile.total_variance(k))
        return (0.5 * w - k) / math.sqrt(w) - d1

    low, high = (math.log(at / smile.forward) for at in (smile.lowest_strike, smile.highest_strike))
    if not (low < high and beyond(low) >= 0.0 >= beyond(high)):
        return math.nan
    return float(smile.iv(smile.forward * math.exp(brentq(beyond, low, high))))


def _forward_iv(board: _Board, boards: Sequence[_Board]) -> float:
    earlier = [each for each in boards if each.dte < board.dte and _reaches_forward(each.smile)]
    if not earlier or not _reaches_forward(board.smile):
        return math.nan
    near, far = earlier[-1].smile, board.smile
    return float(forward_vol(near.years, near.atm_iv, far.years, far.atm_iv))


def _violation_words(item: Violation, smile: Smile, boards: Sequence[_Board]) -> str:
    if item.kind is Arbitrage.WING:
        side = "low" if item.log_moneyness < 0.0 else "high"
        return f"wing: variance rises by {item.amount:.2f} per log strike at {side} strikes, at most 2 may be"
    strike = f"{smile.forward * math.exp(item.log_moneyness):,.0f}"
    if item.kind is Arbitrage.BUTTERFLY:
        return f"butterfly at strike {strike}: the density of the price is below 0 (g {item.amount:.3f})"
    later = next(each for each in boards if each.smile.svi is not None and each.smile.years > item.years)
    vol_points = 100.0 * math.sqrt(-item.amount / item.years)
    return (
        f"calendar at strike {strike}: variance falls to the expiry of {later.dte:.1f} days, by "
        f"{vol_points:.1f} vol points squared"
    )


def _term(known: Sequence[tuple[float, float]]) -> tuple[TermPoint, ...]:
    if not known:
        return tuple(TermPoint(days=days, iv=math.nan) for days in TENORS_DAYS)
    years, ivs = (np.array(row) for row in zip(*known, strict=True))
    curve = AtmTermStructure(years=years, ivs=ivs)
    points = []
    for days in TENORS_DAYS:
        near = nearest_expiry(years.tolist(), days / YEAR_DAYS)[1]
        points.append(TermPoint(days=days, iv=float(curve.iv(days / YEAR_DAYS)) if near else math.nan))
    return tuple(points)
