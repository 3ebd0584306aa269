"""R27 for NEAR: a short perpetual on a share of the delta, where the policy says so or no option serves.

It stands beside the options: R8's share is theirs, the perpetual takes NEAR's part of it, has R9's own limits
of notional and margin, and counts in R10. What it can lose until it is liquidated counts in defined-risk
capital. Margin is what bears a rise to the stress price: a quantile of the highest price on R8's paths within
a few days. Reducing, and margin for what is held, are never blocked by a cap or a hold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.choose import Choice, Slot
from bot.engine.group import Group
from bot.engine.policy import Policy
from bot.model.hedge import Conversion, Layer
from bot.model.market import FloatArray, Frame
from bot.model.perpetual import HeldPerpetual, Perpetual, PerpetualAction, PerpetualQuote
from bot.model.units import YEAR_DAYS

_MARK_WITHIN = 2.0  # times the spot, either way; no perpetual has stood that far off its index
_LEAST_MARGIN = 0.001  # of notional; nobody lends a thousand times and more


@dataclass(frozen=True, slots=True, kw_only=True)
class NearHedge:
    """Whether a short perpetual serves NEAR now, at which quote, and why."""

    serves: bool = False
    quote: PerpetualQuote | None = None  # to open or enlarge at; None: nothing may be opened
    because: str = "NEAR is closed"

    def serves_layer(self, layer: Layer) -> bool:
        return self.serves and layer is Layer.NEAR


@dataclass(slots=True, kw_only=True)
class PerpetualRoom:
    """What all perpetuals together may still take, USD; each order uses it up."""

    notional_usd: float  # R9
    margin_usd: float  # R9
    capital_usd: float  # of R9's defined-risk capital, for the loss until liquidation


def near_hedge(
    policy: Policy,
    frame: Frame,
    group: Group,
    choices: Mapping[Slot, Choice],
    *,
    is_open: bool,
    allow_indicative: bool = False,
) -> NearHedge:
    """Return what serves NEAR: options where they are wanted and listed, else a perpetual that may be opened.

    Listed means in NEAR's own band: R17's fallback on another expiry comes after the perpetual. One that is
    held goes on serving where the policy wants perpetuals and nobody quotes one in this frame.
    """
    if not is_open:
        return NearHedge()
    near = [item.quote for slot, item in choices.items() if slot.layer is Layer.NEAR]
    low_s, high_s = policy.layers.NEAR.entry_s
    lives = [item.instrument.expiry_s - group.now_s for item in near if item is not None]
    listed = any(low_s <= life <= high_s for life in lives)
    wanted = policy.near.instrument == "perpetual"
    if listed and not wanted:
        return NearHedge(because="a listed option serves NEAR")
    quote, why = best_perpetual(policy, frame, group, allow_indicative=allow_indicative)
    reason = "the policy hedges NEAR by a perpetual" if wanted else "no option of NEAR's band is listed"
    if quote is not None:
        return NearHedge(serves=True, quote=quote, because=reason)
    if shorts_of(group) and (wanted or not listed):
        return NearHedge(serves=True, because=f"{reason}; nothing is added: {why}")
    return NearHedge(because=f"{why}; {'a listed option stands in' if lives else 'nor is any option listed'}")


def best_perpetual(
    policy: Policy, frame: Frame, group: Group, *, allow_indicative: bool = False
) -> tuple[PerpetualQuote | None, str]:
    """Return the quote to short at: where it is held, else the cheapest over the horizon; or why none."""
    mine = [item for item in frame.perpetual_quotes if item.perpetual.underlying == group.hedged_by]
    if not mine:
        return None, f"no venue quotes a perpetual on {group.hedged_by}"
    refused = [refuse_perpetual(policy, group, item, allow_indicative=allow_indicative) for item in mine]
    usable = [item for item, why in zip(mine, refused, strict=True) if not why]
    if not usable:
        name, why = min((item.perpetual, why) for item, why in zip(mine, refused, strict=True))
        return None, f"{name.venue} {name.id}: {why}"
    held = {item.perpetual for item in shorts_of(group)}
    years = group.horizon_days / YEAR_DAYS

    def cost(item: PerpetualQuote) -> tuple[bool, float]:
        return item.perpetual not in held, round(2.0 * item.cost - item.funding_apr * years, 12)

    return min(usable, key=lambda item: (*cost(item), item.perpetual)), ""


def terms_of(frame: Frame) -> Mapping[Perpetual, PerpetualQuote]:
    """Return a sound quote of each perpetual: good to reduce at, even where none may be opened."""
    sound = sorted(
        (item for item in frame.perpetual_quotes if not _unsound(item)), key=lambda item: item.cost
    )
    return {item.perpetual: item for item in reversed(sound)}


def _unsound(quote: PerpetualQuote) -> str:
    positive = (quote.size, quote.mark_usd, quote.initial_margin, quote.liquidity)
    costs = (quote.cost, quote.maintenance_margin, quote.gas_usd, quote.min_size, quote.lot)
    if not all(0.0 < value < math.inf for value in positive):
        return "size, mark, initial margin and liquidity must be finite and > 0"
    if not all(0.0 <= value < math.inf for value in costs) or quote.cost >= 1.0:
        return "cost, maintenance margin, gas, minimum and lot must be finite and >= 0, cost under 100 %"
    return ""


def refuse_perpetual(
    policy: Policy, group: Group, quote: PerpetualQuote, *, allow_indicative: bool = False
) -> str:
    """Return why no short may be opened at a quote; empty when one may."""
    if unsound := _unsound(quote):
        return unsound
    if not max(quote.maintenance_margin, _LEAST_MARGIN) <= quote.initial_margin <= 1.0:
        return f"margins must be maintenance <= initial, and initial {_LEAST_MARGIN:.1%} to 100 %"
    if not abs(quote.mark_usd / group.spot_usd - 1.0) <= policy.holds.price_disagreement:  # NaN too
        allowed = f"{policy.holds.price_disagreement:.0%}"
        return f"mark {quote.mark_usd:,.2f} USD is more than {allowed} off the spot {group.spot_usd:,.2f}"
    if not quote.funding_apr >= policy.perpetual.min_funding:  # NaN too
        least = f"{policy.perpetual.min_funding:.0%}"
        return f"funding is {quote.funding_apr:+.1%} a year, no short is opened under {least}"
    if quote.valid_until_s < group.now_s:
        return f"expired {group.now_s - quote.valid_until_s:.0f} s ago"
    if quote.indicative and not (allow_indicative or quote.on_paper):
        return "indicative only"
    if math.isnan(group.stable_usd.get(quote.perpetual.settlement, 1.0)):
        return f"price of {quote.perpetual.settlement} is unknown (R10)"
    return ""


def unreadable(group: Group, item: HeldPerpetual) -> bool:
    """Return whether what is held cannot be told: then nothing is done about it.

    A mark of less than half the spot, or more than twice, is an error of reading.
    """
    off = item.mark_usd / group.spot_usd if math.isfinite(group.spot_usd) else 1.0
    return not (
        math.isfinite(item.size)
        and 0.0 < item.mark_usd < math.inf
        and 1.0 / _MARK_WITHIN <= off <= _MARK_WITHIN
    )


def shorts_of(group: Group) -> tuple[HeldPerpetual, ...]:
    """Return the shorts on what the group is hedged by, in order, of those that can be told."""
    mine = [
        item
        for item in group.perpetuals
        if item.perpetual.underlying == group.hedged_by and not unreadable(group, item) and item.size < 0.0
    ]
    return tuple(sorted(mine, key=lambda item: (item.perpetual, item.id)))


def short_units(group: Group) -> float:
    """Return the units that are held short, >= 0."""
    return math.fsum(-item.size for item in shorts_of(group))


def perpetual_gains(group: Group, spots: FloatArray, *, short: float) -> FloatArray:
    """Return what ``short`` units gain from now if the spot goes to ``spots``, USD; the basis stays (R10)."""
    return np.asarray(short * (group.spot_usd - np.asarray(spots)))


def stress_price(policy: Policy, group: Group, mark_usd: float, *, is_long: bool = False) -> float:
    """Return the mark that margin has to bear: a quantile of the highest price within ``margin_days`` (R27).

    For a long the fall counts, mirrored: as far over the mark as the stressed fall is under it.
    """
    days, quantile = policy.perpetual.margin_days, policy.perpetual.stress_quantile
    moves = group.paths[:, : days + 1] / group.spot_usd - 1.0
    worst = (-moves if is_long else moves).max(axis=1)
    return mark_usd * (1.0 + max(float(np.quantile(worst, quantile)), 0.0))


def margin_per_unit(quote: PerpetualQuote, stress_usd: float) -> float:
    """Return the margin of one unit, USD, with which it is liquidated at ``stress_usd`` and not before."""
    bears = stress_usd * (1.0 + quote.maintenance_margin) - quote.mark_usd
    return max(bears, quote.initial_margin * quote.mark_usd)


def perpetual_room(
    policy: Policy,
    frame: Frame,
    bought: Sequence[tuple[Conversion, float]] = (),
    *,
    exposure_usd: float,
    capital_usd: float,
) -> PerpetualRoom:
    """Return what is left for new perpetuals. What an unknown mark or margin takes is all there is.

    ``bought`` are conversions that are about to be bought, each with its contracts; held ones count too, and
    orders that may still be filled.
    """
    pairs = [(item.conversion, item.size) for item in frame.held if item.conversion is not None]
    pairs += bought
    notional = [abs(item.size) * item.mark_usd for item in frame.perpetuals]
    margin = [item.margin_usd for item in frame.perpetuals]
    marks = {item.perpetual: item.mark_usd for item in frame.perpetual_quotes}
    notional += [
        size * abs(pair.perpetual_size) * marks.get(pair.perpetual, math.inf) for pair, size in pairs
    ]
    margin += [size * pair.margin_usd for pair, size in pairs]
    for item in frame.perpetual_orders:
        opens = item.action is PerpetualAction.OPEN
        notional += [abs(item.size) * marks.get(item.perpetual, math.inf)] if opens else []
        margin.append(item.margin_usd)

    def left(limit_usd: float, used: Sequence[float]) -> float:
        return max(0.0, limit_usd - sum(used)) if np.isfinite(used).all() else 0.0

    return PerpetualRoom(
        notional_usd=left(policy.perpetual.max_notional * exposure_usd, notional),
        margin_usd=left(policy.perpetual.max_margin * exposure_usd, margin),
        capital_usd=max(0.0, capital_usd),
    )


def perpetual_at_risk(frame: Frame) -> float:
    """Return what shorts take of R9's defined-risk capital: their losses until they are liquidated, USD.

    Of an order that may still be filled it is all the margin that it would bring.
    """
    held = math.fsum(item.loss_to_liquidation_usd for item in frame.perpetuals)
    return held + math.fsum(item.margin_usd for item in frame.perpetual_orders)
