"""Which listed options may serve each layer: DTE band, delta band, most R8 gain per all-in cost first.

The first is what a layer is sized on; the planner may take others beside it or in its place.

Where no expiry is listed in a layer's entry band (R17), the nearest listed expiry serves, in days from the
band, as long as the option would keep its layer (beyond ``roll_at``) and lies within or before the next
farther layer's band; else the layer has a shortfall.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from bot.engine.group import Group, group_contracts
from bot.engine.layers import NEXT_FARTHER, option_types
from bot.engine.policy import Policy
from bot.model.hedge import HeldHedge, Instrument, Layer, OptionType, Quote
from bot.model.market import FloatArray
from bot.model.units import DAY_S
from bot.quant.var import value_at_risk

_DIGITS = 9
# As instruments compare, in one tuple that is made once and not in every comparison.
_fields_of = attrgetter(*(field.name for field in fields(Instrument)))
_BEYOND = 1e12  # no strike in USD, nor a contract's units, is as large, or as small as its inverse


class Slot(NamedTuple):
    """One kind of option of one layer; under ``loss_measure = usd`` a layer has one slot, its put (R15)."""

    layer: Layer
    option_type: OptionType


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A quote in a slot's bands that gains where the group loses most."""

    quote: Quote
    gain_usd: float  # mean gain of one contract on the paths at or beyond the value at risk; > 0

    @property
    def gain_per_cost(self) -> float:
        return self.gain_usd / self.quote.unit_cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The option that a slot would buy now, or why there is none."""

    slot: Slot
    quote: Quote | None
    gain_usd: float  # of the quote, as a candidate's
    because: str
    candidates: tuple[Candidate, ...] = ()  # the quote first, then by falling gain per cost
    dropped: tuple[str, ...] = ()  # quotes of any slot that may not be traded on, each with its reason

    @property
    def gain_per_cost(self) -> float:
        return self.gain_usd / self.quote.unit_cost_usd if self.quote else 0.0


def slots_of(policy: Policy, layers: Sequence[Layer]) -> tuple[Slot, ...]:
    return tuple(Slot(layer, kind) for layer in layers for kind in option_types(policy))


def choose(
    policy: Policy,
    group: Group,
    layers: Sequence[Layer],
    quotes: Sequence[Quote],
    *,
    allow_indicative: bool = False,
) -> Mapping[Slot, Choice]:
    """Return the best usable quote of every slot; ties go to the smaller instrument, whatever the order."""
    mine = sorted(
        (item for item in quotes if item.instrument.underlying == group.hedged_by),
        key=lambda item: (_fields_of(item.instrument), item.size),
    )
    refusals = [refuse_quote(policy, group, item, allow_indicative=allow_indicative) for item in mine]
    usable = [item for item, refusal in zip(mine, refusals, strict=True) if not refusal]
    refused = tuple(f"{item.instrument.id}: {why}" for item, why in zip(mine, refusals, strict=True) if why)
    if group.unhedged:
        return {slot: _none(slot, f"{slot.layer}: {group.unhedged}") for slot in slots_of(policy, layers)}
    return {slot: _choose_slot(policy, group, slot, usable, refused) for slot in slots_of(policy, layers)}


def refuse_quote(policy: Policy, group: Group, quote: Quote, *, allow_indicative: bool = False) -> str:
    """Return why a quote may not be traded on; empty when it may."""
    numbers = (quote.size, quote.premium_usd, quote.iv, quote.model_usd, quote.liquidity)
    costs = (quote.fee_usd, quote.gas_usd, quote.gas_most_usd, quote.swap_usd, quote.min_size, quote.lot)
    if not all(0.0 < value < math.inf for value in numbers):
        return "size, premium, iv, model value and liquidity must be finite and > 0"
    if not all(0.0 <= value < math.inf for value in costs) or not math.isfinite(quote.delta):
        return "fee, gas, swap cost, minimum and lot must be finite and >= 0, delta finite"
    terms = _refuse_terms(policy, group, quote)
    if terms:
        return terms
    if not quote.valid_until_s >= group.now_s:  # NaN too
        return f"expired {group.now_s - quote.valid_until_s:.0f} s ago"
    if quote.indicative and not (allow_indicative or quote.on_paper):
        return "indicative only"
    if math.isnan(group.stable_usd.get(quote.instrument.settlement, 1.0)):
        return f"price of {quote.instrument.settlement} is unknown (R10)"
    return _refuse_price(policy, group, quote)


def unit_delta(quote: Quote) -> float:
    """Return the delta of one unit of the underlying, which R12-R14 mean; a quote's is per contract."""
    return quote.delta / quote.instrument.multiplier


def _refuse_terms(policy: Policy, group: Group, quote: Quote) -> str:
    """Return what no listed option can be: dead, without strike or size, over the vol that is believed."""
    instrument = quote.instrument
    if not instrument.expiry_s > group.now_s:
        return f"expired {group.now_s - instrument.expiry_s:.0f} s ago: time to expiry must be > 0"
    if not all(1.0 / _BEYOND < value < _BEYOND for value in (instrument.strike_usd, instrument.multiplier)):
        return f"strike and multiplier must be > 0 and under {_BEYOND:g}"
    if not 0.0 < quote.unit_cost_usd / instrument.multiplier < math.inf:
        return "the cost of one unit is not finite"
    if quote.iv > policy.orders.max_iv:
        return f"implied vol is {quote.iv:.0%}, allowed up to {policy.orders.max_iv:.0%}"
    sign = -1.0 if instrument.option_type is OptionType.PUT else 1.0
    if not 0.0 <= sign * unit_delta(quote) <= 1.0:
        return f"delta of a {instrument.option_type} is {unit_delta(quote):+.2f}, must be 0 to {sign:+.0f}"
    return ""


def _refuse_price(policy: Policy, group: Group, quote: Quote) -> str:
    ratio, limit = quote.premium_usd / quote.model_usd, policy.orders.max_price_ratio
    if not 1.0 / limit <= ratio <= limit:
        return f"premium is {ratio:.3g} x its model value, allowed 1/{limit:g} to {limit:g}"
    if quote.bid_usd > quote.premium_usd:
        return "crossed: the venue buys it for more than it asks"
    for hedge in group.held:
        bid_usd = hedge.liquidation_usd / hedge.size if hedge.size > 0.0 else math.nan
        if bid_usd > quote.premium_usd / quote.size and hedge.instrument == quote.instrument:
            return "crossed: a held one sells above it"
    return ""


def _choose_slot(
    policy: Policy, group: Group, slot: Slot, usable: Sequence[Quote], refused: tuple[str, ...]
) -> Choice:
    fitting = [item for item in usable if _fits_delta(policy, slot, item)]
    inside, note = _in_expiry_band(policy, slot.layer, fitting, now_s=group.now_s)
    if not inside:
        return _none(slot, _why_none(policy, slot, usable, refused), dropped=refused)
    gains = worst_gains(group, slot, inside).tolist()
    ranked = sorted(
        range(len(inside)),
        key=lambda i: (-round(gains[i] / inside[i].unit_cost_usd, _DIGITS), inside[i].instrument),
    )
    best, gain_usd = inside[ranked[0]], gains[ranked[0]]
    if not gain_usd > 0.0:
        because = f"{slot.layer}: no listed {slot.option_type} gains where the group loses most"
        return _none(slot, because, dropped=refused)
    because = (
        f"{slot.layer} {best.instrument.strike_usd:,.0f} {slot.option_type}, "
        f"{best.instrument.dte(group.now_s):.1f} d, delta {unit_delta(best):+.2f}: most gain per cost "
        f"({gain_usd / best.unit_cost_usd:.2f}) of {len(inside)} in band{note}"
    )
    gaining = tuple(Candidate(quote=inside[i], gain_usd=gains[i]) for i in ranked if gains[i] > 0.0)
    return Choice(
        slot=slot, quote=best, gain_usd=gain_usd, because=because, candidates=gaining, dropped=refused
    )


def _fits_delta(policy: Policy, slot: Slot, quote: Quote) -> bool:
    low, high = policy.layers.of(slot.layer).delta
    return quote.instrument.option_type is slot.option_type and low <= abs(unit_delta(quote)) <= high


def _in_expiry_band(
    policy: Policy, layer: Layer, quotes: Sequence[Quote], *, now_s: float
) -> tuple[list[Quote], str]:
    """Return the quotes in the entry band, else those of the nearest expiry that the fallback allows."""
    low_s, high_s = policy.layers.of(layer).entry_s
    lives = {item.instrument.expiry_s: item.instrument.expiry_s - now_s for item in quotes}
    inside = [item for item in quotes if low_s <= lives[item.instrument.expiry_s] <= high_s]
    # A leg at roll_at exactly is rolled already, so entry needs more than that.
    shortest_s = max(policy.layers.of(layer).roll_at, policy.roll.venue_cutoff)
    inside = [item for item in inside if lives[item.instrument.expiry_s] > shortest_s]
    if inside:
        return inside, ""
    farther = NEXT_FARTHER.get(layer)
    longest_s = policy.layers.of(farther).dte[1] if farther else math.inf
    distance = {
        expiry: max(low_s - life, life - high_s, 0.0)
        for expiry, life in lives.items()
        if shortest_s < life <= longest_s
    }
    if not distance:
        return [], ""
    nearest = min(distance, key=lambda expiry: (distance[expiry], expiry))
    note = f"; no expiry in {_band(low_s, high_s)}, nearest is {lives[nearest] / DAY_S:.1f} d"
    return [item for item in quotes if item.instrument.expiry_s == nearest], note


def worst_gains(group: Group, slot: Slot, quotes: Sequence[Quote | HeldHedge]) -> FloatArray:
    """Return the mean gain per contract over the worst paths on the option's own side of the spot.

    Worst is a loss of at least the value at risk, or of that side's own where it is less: under ``hold`` one
    side loses more than the other and both wings are wanted.
    """
    ends = group.paths[:, -1]
    side = ends < group.spot_usd if slot.option_type is OptionType.PUT else ends > group.spot_usd
    if not side.any():
        return np.full(len(quotes), math.nan)
    edge_usd = min(group.var_usd, value_at_risk(group.losses_usd[side], confidence=group.confidence))
    worst = np.flatnonzero(side & (group.losses_usd >= edge_usd))
    contracts = group_contracts(group, [(item.instrument, item.iv) for item in quotes])
    return np.asarray(contracts.path_gains(group.paths[worst]).mean(axis=1))


def _why_none(policy: Policy, slot: Slot, usable: Sequence[Quote], refused: Sequence[str]) -> str:
    band = policy.layers.of(slot.layer)
    low, high = band.delta
    wanted = f"{_band(*band.entry_s)} and |delta| {low:g}-{high:g}"
    text = f"{slot.layer}: no listed {slot.option_type} fits {wanted} ({len(usable)} usable quotes)"
    return f"{text}; refused: {'; '.join(refused[:3])}" if refused else text


def _band(low_s: float, high_s: float) -> str:
    return f"{low_s / DAY_S:g}+ d" if math.isinf(high_s) else f"{low_s / DAY_S:g}-{high_s / DAY_S:g} d"


def _none(slot: Slot, because: str, *, dropped: tuple[str, ...] = ()) -> Choice:
    return Choice(slot=slot, quote=None, gain_usd=0.0, because=because, dropped=dropped)
