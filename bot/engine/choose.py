"""Which listed options may serve each layer: DTE band, delta band, most R8 gain per all-in cost first.

The first is what a layer is sized on; the planner may take others beside it or in its place.

Where no expiry is listed in a layer's entry band (R17), the nearest listed expiry serves, in days from the
band, as long as the option would keep its layer (beyond ``roll_at``) and lies within or before the next
farther layer's band; else the layer has a shortfall.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bot.engine.group import Group, group_contracts
from bot.engine.layers import NEXT_FARTHER, option_types
from bot.engine.policy import Policy
from bot.engine.quote_table import LEAST, MOST, QuoteTable, plainly_sound, table_of
from bot.model.hedge import HeldHedge, Layer, OptionType, Quote
from bot.model.market import FloatArray
from bot.model.units import DAY_S
from bot.quant.var import value_at_risk

_DIGITS = 9


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
    if group.unhedged:
        return {slot: _none(slot, f"{slot.layer}: {group.unhedged}") for slot in slots_of(policy, layers)}
    table = table_of(group, quotes)
    usable, refused = _usable(policy, group, table, allow_indicative=allow_indicative)
    return {
        slot: _choose_slot(policy, group, slot, table, usable, refused) for slot in slots_of(policy, layers)
    }


def _usable(
    policy: Policy, group: Group, table: QuoteTable, *, allow_indicative: bool
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return which quotes may be traded on, and of each other one why it may not."""
    usable, refused = plainly_sound(policy, group, table), []
    for row in np.flatnonzero(~usable).tolist():
        quote = table.quote(row)
        why = refuse_quote(policy, group, quote, allow_indicative=allow_indicative)
        usable[row] = not why
        if why:
            refused.append(f"{quote.instrument.id}: {why}")
    return usable, tuple(refused)


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
    if not all(LEAST < value < MOST for value in (instrument.strike_usd, instrument.multiplier)):
        return f"strike and multiplier must be > 0 and under {MOST:g}"
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
    policy: Policy,
    group: Group,
    slot: Slot,
    table: QuoteTable,
    usable: NDArray[np.bool_],
    refused: tuple[str, ...],
) -> Choice:
    fitting = np.flatnonzero(usable & _in_delta_band(policy, slot, table))
    rows, note = _in_expiry_band(policy, slot.layer, table.expiries_s, fitting, now_s=group.now_s)
    if not rows.size:
        count = int(np.count_nonzero(usable))
        return _none(slot, _why_none(policy, slot, count, refused), dropped=refused)
    inside = [table.quote(row) for row in rows.tolist()]
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


def _in_delta_band(policy: Policy, slot: Slot, table: QuoteTable) -> NDArray[np.bool_]:
    low, high = policy.layers.of(slot.layer).delta
    size = np.abs(table.unit_deltas)
    return np.asarray(table.of_type(slot.option_type) & (low <= size) & (size <= high))


def _in_expiry_band(
    policy: Policy, layer: Layer, expiries_s: FloatArray, rows: NDArray[np.intp], *, now_s: float
) -> tuple[NDArray[np.intp], str]:
    """Return the rows in the entry band, else those of the nearest expiry that the fallback allows."""
    low_s, high_s = policy.layers.of(layer).entry_s
    expiries_s = expiries_s[rows]
    life_s = expiries_s - now_s
    # A leg at roll_at exactly is rolled already, so entry needs more than that.
    shortest_s = max(policy.layers.of(layer).roll_at, policy.roll.venue_cutoff)
    inside = rows[(low_s <= life_s) & (life_s <= high_s) & (life_s > shortest_s)]
    if inside.size:
        return inside, ""
    farther = NEXT_FARTHER.get(layer)
    longest_s = policy.layers.of(farther).dte[1] if farther else math.inf
    distance = {
        expiry: max(low_s - life, life - high_s, 0.0)
        for expiry in set(expiries_s.tolist())
        if shortest_s < (life := expiry - now_s) <= longest_s
    }
    if not distance:
        return rows[:0], ""
    nearest = min(distance, key=lambda expiry: (distance[expiry], expiry))
    note = f"; no expiry in {_band(low_s, high_s)}, nearest is {(nearest - now_s) / DAY_S:.1f} d"
    return rows[expiries_s == nearest], note


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


def _why_none(policy: Policy, slot: Slot, usable: int, refused: Sequence[str]) -> str:
    band = policy.layers.of(slot.layer)
    low, high = band.delta
    wanted = f"{_band(*band.entry_s)} and |delta| {low:g}-{high:g}"
    text = f"{slot.layer}: no listed {slot.option_type} fits {wanted} ({usable} usable quotes)"
    return f"{text}; refused: {'; '.join(refused[:3])}" if refused else text


def _band(low_s: float, high_s: float) -> str:
    return f"{low_s / DAY_S:g}+ d" if math.isinf(high_s) else f"{low_s / DAY_S:g}-{high_s / DAY_S:g} d"


def _none(slot: Slot, because: str, *, dropped: tuple[str, ...] = ()) -> Choice:
    return Choice(slot=slot, quote=None, gain_usd=0.0, because=because, dropped=dropped)
