"""R27: an option in two parts. A put is a call and a short perpetual, a call is a put and a long one.

Put-call parity: a call struck at K with a short of one unit at S pays max(K - s, 0) + (S - K) at expiry, so
the pair is a put that costs the call plus K - S, and fees, funding and the margin's capital on top. It is
offered beside the listed options only where it is cheaper than every listed one of the same strike and
expiry, and its two legs are bought together or not at all. Most of its loss is its price, since the option
gains what the perpetual's margin loses.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from bot.engine.choose import refuse_quote, unit_delta
from bot.engine.group import Group
from bot.engine.layers import option_types
from bot.engine.perpetual import best_perpetual, margin_per_unit, perpetual_room, stress_price
from bot.engine.policy import Policy
from bot.engine.rules.context import TierContext
from bot.model.hedge import Conversion, Instrument, Layer, OptionType, Quote
from bot.model.market import Frame
from bot.model.perpetual import PerpetualQuote
from bot.model.units import YEAR_DAYS
from bot.quant.options import price

_OTHER = {OptionType.PUT: OptionType.CALL, OptionType.CALL: OptionType.PUT}


def conversions(
    policy: Policy,
    frame: Frame,
    group: Group,
    layers: Sequence[Layer],
    *,
    allow_indicative: bool = False,
) -> tuple[Quote, ...]:
    """Return the pairs in the bands of ``layers`` that are cheaper than what is listed, as quotes of options.

    Their liquidity shares what R9's limits leave perpetuals of this group in equal parts, so that all of them
    together stay within it.
    """
    if not policy.perpetual.conversions or not frame.perpetual_quotes or frame.pair_venues == ():
        return ()  # of a pair that no venue fills nothing could be bought
    perpetual, _ = best_perpetual(policy, frame, group, allow_indicative=allow_indicative)
    if perpetual is None:
        return ()
    bought = {_OTHER[kind] for kind in option_types(policy)}
    usable = [
        item
        for item in frame.quotes
        if item.instrument.underlying == group.hedged_by
        and item.instrument.is_fixed  # of another, parity has no strike or date to hold at
        and item.instrument.option_type in bought
        and not refuse_quote(policy, group, item, allow_indicative=allow_indicative)
    ]
    pairs = [_pair(policy, group, item, perpetual) for item in usable]
    traded = [item for item in pairs if _is_traded(frame, item)]
    fitting = [item for item in traded if item.premium_usd > 0.0 and _fits(policy, group, layers, item)]
    cheaper = [item for item in fitting if _cheapest(frame, item)]
    room = perpetual_room(policy, frame, exposure_usd=group.value_usd, capital_usd=0.0)
    return tuple(
        _within(item, room.notional_usd, room.margin_usd, perpetual, len(cheaper)) for item in cheaper
    )


def _is_traded(frame: Frame, pair: Quote) -> bool:
    """Return whether a venue fills both parts of a pair, or none (adr 0008)."""
    return frame.pair_venues is None or pair.instrument.venue in frame.pair_venues


def _pair(policy: Policy, group: Group, quote: Quote, perpetual: PerpetualQuote) -> Quote:
    """Return the option that a quote makes with a perpetual, all-in for the quote's size."""
    listed, mark_usd = quote.instrument, perpetual.mark_usd
    kind = _OTHER[listed.option_type]
    sign = -1.0 if kind is OptionType.PUT else 1.0  # of the perpetual
    years = max(listed.dte(group.now_s), 0.0) / YEAR_DAYS
    units = quote.size * listed.multiplier
    margin_usd = margin_per_unit(perpetual, stress_price(policy, group, mark_usd, is_long=sign > 0.0))
    paid_apr = max(0.0, sign * perpetual.funding_apr)  # received funding is not counted on
    trade_usd = 2.0 * perpetual.cost * mark_usd
    hold_usd = years * (paid_apr * mark_usd + policy.signals.fundamental.carry_wacc * margin_usd)
    return replace(
        quote,
        instrument=_made(listed, kind, perpetual),
        premium_usd=quote.premium_usd
        + units * (sign * (mark_usd - listed.strike_usd) + trade_usd + hold_usd),
        fee_usd=quote.fee_usd + units * trade_usd,
        gas_usd=quote.gas_usd + 2.0 * perpetual.gas_usd,
        gas_most_usd=quote.gas_reserve_usd + 2.0 * perpetual.gas_usd,
        delta=quote.delta + sign * listed.multiplier,
        model_usd=units * _model(group, listed, kind, years, quote.iv),
        min_size=max(quote.min_size, perpetual.min_size / listed.multiplier),
        lot=max(quote.lot, perpetual.lot / listed.multiplier),
        valid_until_s=min(quote.valid_until_s, perpetual.valid_until_s),
        indicative=quote.indicative or perpetual.indicative,
        on_paper=quote.on_paper and perpetual.on_paper,
        bid_usd=math.nan,
        because=f"{listed.option_type} and perpetual (R27)",
        conversion=Conversion(
            option=listed,
            perpetual=perpetual.perpetual,
            perpetual_size=sign * listed.multiplier,
            margin_usd=listed.multiplier * margin_usd,
        ),
    )


def _made(listed: Instrument, kind: OptionType, perpetual: PerpetualQuote) -> Instrument:
    venue, name = perpetual.perpetual.venue, perpetual.perpetual.id
    return replace(listed, venue=f"{listed.venue}+{venue}", id=f"{listed.id}+{name}", option_type=kind)


def _model(group: Group, listed: Instrument, kind: OptionType, years: float, iv: float) -> float:
    is_put = kind is OptionType.PUT
    return float(price(group.spot_usd, listed.strike_usd, years, iv, is_put=is_put))


def _fits(policy: Policy, group: Group, layers: Sequence[Layer], pair: Quote) -> bool:
    life_s, size = pair.instrument.expiry_s - group.now_s, abs(unit_delta(pair))
    bands = [policy.layers.of(layer) for layer in layers]
    return any(
        band.delta[0] <= size <= band.delta[1] and band.entry_s[0] <= life_s <= band.entry_s[1]
        for band in bands
    )


def _cheapest(frame: Frame, pair: Quote) -> bool:
    """Return whether no listed option of the same terms costs as little for the same units."""
    made = pair.instrument
    unit_usd = (pair.unit_cost_usd + pair.gas_usd / pair.size) / made.multiplier
    return not any(
        (item.unit_cost_usd + item.gas_usd / item.size) / item.instrument.multiplier <= unit_usd
        for item in frame.quotes
        if (item.instrument.underlying, item.instrument.option_type) == (made.underlying, made.option_type)
        and (item.instrument.strike_usd, item.instrument.expiry_s) == (made.strike_usd, made.expiry_s)
        and item.size * item.instrument.multiplier > 0.0
    )


def _within(
    pair: Quote, notional_usd: float, margin_usd: float, perpetual: PerpetualQuote, count: int
) -> Quote:
    """Return a pair of which no more is liquid than its part of the perpetual's limits."""
    part = 1.0 / (pair.instrument.multiplier * count)  # contracts for a unit, of this pair's share
    assert pair.conversion is not None  # noqa: S101 - made by _pair
    margins = margin_usd / pair.conversion.margin_usd * pair.instrument.multiplier
    units = min(perpetual.liquidity, notional_usd / perpetual.mark_usd, margins)
    return replace(pair, liquidity=min(pair.liquidity, part * units))


def parity_said(context: TierContext, pairs: Sequence[Quote]) -> str:
    """Return what S22 and the conversions on offer say (R27)."""
    gap = context.reading("S22")
    said = f"S22 parity gap {gap.value:+.2f} times its cost" if gap else "S22 parity gap not known"
    if not pairs:
        return f"{said}; no option is cheaper in two parts"
    best = min(pairs, key=lambda item: (item.unit_cost_usd / item.instrument.multiplier, item.instrument))
    made = best.instrument
    return f"{said}; {len(pairs)} cheaper in two parts, the least {made.label} at {made.venue}"
