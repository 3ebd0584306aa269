"""R16: the condor overlay. In calm markets with rich premium a defined-risk iron condor may be sold on top.

Off by default. A condor is one order: all four legs or none, so it never stands naked. One is open a group.
"Weekly" is the listed expiry nearest to seven days in the policy's band; shortly before expiry it is closed,
and the next decision sells anew. The 10 % of exposure is taken for its notional (units x spot), which bounds
its worst loss too. That loss counts in R9's defined-risk capital, its loss on every path
in R8's value at risk, and where it loses on R10's grid the hedge may make good for it (condors.py).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bot.engine.choose import refuse_quote
from bot.engine.group import Group
from bot.engine.plan import OVERLAY, plan_key, round_down
from bot.engine.policy import Policy
from bot.model.hedge import (
    CondorAction,
    CondorLeg,
    CondorOrder,
    HeldCondor,
    OptionType,
    Quote,
    worst_loss_usd,
)
from bot.model.market import Frame, Metric, SeriesKey
from bot.model.tier import Quality, RuleFinding, Tier
from bot.model.units import DAY_S
from bot.quant.bars import closed_bars
from bot.quant.condor import IronCondor, OptionRow, choose_condor
from bot.quant.volatility import close_to_close_vol, periods_per_year
from bot.signals.moves import moves
from bot.signals.reading import freshness, quiet_bars

_WEEK_S = 7 * DAY_S
Ruling = tuple[tuple[CondorOrder, ...], RuleFinding]


class Expiry(NamedTuple):
    """What the legs of one condor share."""

    expiry_s: int
    venue: str
    settlement: str
    multiplier: float


class _Board(NamedTuple):
    """Listed quotes of one expiry by strike, USD and delta per unit of the underlying."""

    puts: dict[float, Quote]
    calls: dict[float, Quote]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Legs:
    """A condor in the quotes that it trades at."""

    condor: IronCondor
    bought: tuple[Quote, Quote]  # put, call
    sold: tuple[Quote, Quote]

    @property
    def all(self) -> tuple[Quote, ...]:
        return (*self.bought, *self.sold)

    @property
    def gas_usd(self) -> float:
        return sum(item.gas_reserve_usd for item in self.all)


def overlay(policy: Policy, frame: Frame, group: Group, tier: Tier, *, doubt: str, room_usd: float) -> Ruling:
    """Return what R16 does for a group: at most one order, and the finding.

    ``doubt`` is why the calm is not certain (a hold, a degraded family, a higher tier that waits for
    confirmation), empty when it is; it stops a sale and never a close. ``room_usd`` is what R9's defined-risk
    capital has left after this decision's purchases.
    """
    mine = [item for item in frame.condors if item.group == group.name and item.expiry_s > group.now_s]
    if mine:
        return _held(policy, group, tier, mine)
    refusal = _unready(policy, frame, group, tier, doubt=doubt)
    if refusal:
        return _nothing(refusal)
    legs, why = _best(policy, frame, group)
    if legs is None:
        return _nothing(why)
    return _open(policy, group, legs, room_usd=room_usd)


def _held(policy: Policy, group: Group, tier: Tier, condors: Sequence[HeldCondor]) -> Ruling:
    """Close what may not stay, else say what stands."""
    orders, words = list[CondorOrder](), list[str]()
    for condor in sorted(condors, key=lambda item: (item.expiry_s, item.id)):
        why = _to_close(policy, group, tier, condor)
        loss = f"{condor.id}, worst loss {condor.worst_loss_usd:,.0f} USD"
        if not why:
            words.append(f"condor {loss}, {(condor.expiry_s - group.now_s) / DAY_S:.1f} d left, stays")
        elif 0.0 <= condor.close_usd < math.inf:
            words.append(f"condor {loss}, is closed for {condor.close_usd:,.0f} USD: {why}")
            orders.append(_close(policy, group, condor, why, place=len(orders)))
        else:
            words.append(f"ALARM: condor {loss}, cannot be closed, nobody quotes it: {why}")
    return tuple(orders), RuleFinding(rule="R16", fired=True, because="; ".join(words))


def _to_close(policy: Policy, group: Group, tier: Tier, condor: HeldCondor) -> str:
    life_s = condor.expiry_s - group.now_s
    if not policy.overlay.enabled:
        return "off by policy (overlay.enabled)"
    if tier > Tier.GUARDED:
        return f"the market tier is {tier.name}"
    if not group.exposures and not group.unseen:
        return "nothing is protected any more"
    if life_s <= max(policy.overlay.roll_at, policy.roll.venue_cutoff):
        return f"{life_s / DAY_S:.1f} d before expiry, to be sold anew"
    return ""


def _unready(policy: Policy, frame: Frame, group: Group, tier: Tier, *, doubt: str) -> str:
    """Return why no condor is looked for, empty when one is."""
    if not policy.overlay.enabled:
        return "off by policy (overlay.enabled)"
    if tier is not Tier.CALM:
        return f"nothing is sold at {tier.name}"
    if doubt or group.unseen:
        return f"the calm is not certain: {doubt or f'{group.unseen[0]} was not read yet'}"
    if any(f"-{group.name.replace('/', '.')}-{OVERLAY}-" in key for key in frame.open_legs):
        return "an order of the overlay has no final outcome yet"
    if group.hedged_by != group.underlying:
        return f"no options on {group.underlying} itself are listed"
    if not (0.0 < group.value_usd < math.inf and 0.0 < group.spot_usd < math.inf):
        return "the exposure's value is not known"
    return _vol_refusal(policy, frame, group.underlying)


def _vol_refusal(policy: Policy, frame: Frame, underlying: str) -> str:
    """Return why implied over realised vol allows no sale: not over its least, or not known."""
    implied, realised = _implied(policy, frame, underlying), _realised(policy, frame, underlying)
    if not (implied > 0.0 and realised > 0.0):
        return f"30-day vols must be live and > 0: implied {implied:.0%}, realised {realised:.0%}"
    if not implied > policy.overlay.vol_ratio * realised:
        least = policy.overlay.vol_ratio
        return f"implied vol {implied:.0%} is not over {least:g} x realised {realised:.0%}"
    return ""


def _implied(policy: Policy, frame: Frame, underlying: str) -> float:
    """Return the 30-day at-the-money vol of the first live source, NaN when none is."""
    for key in frame.columns.find(Metric.IV_30D, underlying):
        if _is_live(policy, frame, key):
            return float(frame.columns[key].until(frame.now_s).values[-1])
    return math.nan


def _realised(policy: Policy, frame: Frame, underlying: str) -> float:
    """Return S11's 30-day vol of the primary price, NaN when it is not live or too short."""
    signals = policy.signals
    for key in frame.columns.find(Metric.PRICE_USD, underlying)[:1]:
        if not _is_live(policy, frame, key):
            return math.nan
        count = signals.bars(signals.technical.vol_window_s)
        column = frame.columns[key].until(frame.now_s)
        close = closed_bars(column, bar_s=signals.bar_s, now_s=frame.now_s, count=count + 1).close
        returns = moves(close, quiet_bars=quiet_bars(key, signals))[1:]
        yearly = periods_per_year(signals.bar_s)
        return close_to_close_vol(returns, periods_per_year=yearly, coverage=signals.coverage)
    return math.nan


def _is_live(policy: Policy, frame: Frame, key: SeriesKey) -> bool:
    column = frame.columns[key].until(frame.now_s)
    found = freshness(key, column, now_s=frame.now_s, policy=policy.signals)
    return found.quality is Quality.LIVE


def _best(policy: Policy, frame: Frame, group: Group) -> tuple[_Legs | None, str]:
    """Return the condor of the expiry nearest to a week that has one, or why there is none."""
    mine = [item for item in frame.quotes if item.instrument.underlying == group.hedged_by]
    if not any(item.bid_usd > 0.0 for item in mine):
        return None, f"no venue buys options from us ({len(mine)} quotes, none with a bid): nothing is sold"
    boards = _boards(policy, group, mine)
    for place, board in sorted(
        boards.items(), key=lambda pair: (abs(pair[0].expiry_s - group.now_s - _WEEK_S), pair[0])
    ):
        if found := _legs(policy, place, board):
            return found, ""
    low, high = policy.overlay.credit
    wanted = f"|delta| {policy.overlay.delta[0]:g}-{policy.overlay.delta[1]:g}, credit {low:.0%}-{high:.0%}"
    days = "-".join(f"{item / DAY_S:g}" for item in policy.overlay.dte)
    return None, f"no listed condor of {days} d has {wanted} of width ({len(boards)} expiries)"


def _boards(policy: Policy, group: Group, quotes: Sequence[Quote]) -> Mapping[Expiry, _Board]:
    """Return the usable quotes of the band by expiry; of one option the smaller quote counts."""
    found: dict[Expiry, _Board] = {}
    shortest_s = max(policy.overlay.roll_at, policy.roll.venue_cutoff)
    for item in sorted(quotes, key=lambda each: (each.instrument, each.size)):
        name = item.instrument
        life_s = name.expiry_s - group.now_s
        inside = policy.overlay.dte[0] <= life_s <= policy.overlay.dte[1] and life_s > shortest_s
        if not inside or refuse_quote(policy, group, item) or item.bid_usd > item.premium_usd:
            continue
        place = Expiry(name.expiry_s, name.venue, name.settlement, name.multiplier)
        board = found.setdefault(place, _Board({}, {}))
        side = board.puts if name.option_type is OptionType.PUT else board.calls
        side.setdefault(name.strike_usd, item)
    return found


def _legs(policy: Policy, place: Expiry, board: _Board) -> _Legs | None:
    if min(len(board.puts), len(board.calls)) < 2:
        return None
    puts, calls = (_row(side, place.multiplier) for side in board)
    condor = choose_condor(puts, calls, delta_band=policy.overlay.delta, credit_band=policy.overlay.credit)
    if condor is None:
        return None
    return _Legs(
        condor=condor,
        bought=(board.puts[condor.long_put], board.calls[condor.long_call]),
        sold=(board.puts[condor.short_put], board.calls[condor.short_call]),
    )


def _row(side: Mapping[float, Quote], multiplier: float) -> OptionRow:
    quotes = [side[strike] for strike in sorted(side)]
    bids = [item.bid_usd / item.size / multiplier for item in quotes]
    return OptionRow(
        strikes=np.array([item.instrument.strike_usd for item in quotes]),
        bids_usd=np.array(bids),
        asks_usd=np.array([item.unit_cost_usd / multiplier for item in quotes]),
        deltas=np.array([abs(item.delta) / multiplier for item in quotes]),
    )


def _open(policy: Policy, group: Group, legs: _Legs, *, room_usd: float) -> Ruling:
    """Return the order for as many contracts as every limit allows."""
    contracts, bound = _contracts(policy, group, legs, room_usd=room_usd)
    least = max(item.min_size for item in legs.all)
    condor, units = legs.condor, contracts * legs.sold[0].instrument.multiplier
    if not contracts >= least or contracts <= 0.0:
        return _nothing(f"{contracts:g} contracts are under the venue's least of {least:g} ({bound})")
    slip = policy.orders.max_slippage
    sold, bought = (_sides(legs, contracts, side) for side in ("sold", "bought"))
    worst_usd = sold * (1.0 - slip) - bought * (1.0 + slip) - legs.gas_usd
    credit_usd = sold - bought - legs.gas_usd
    ratio = credit_usd / (condor.width_usd * units)
    if not ratio >= policy.overlay.credit[0] or not worst_usd > 0.0:
        return _nothing(f"credit after gas is {ratio:.1%} of width, under {policy.overlay.credit[0]:.0%}")
    because = (
        f"condor {condor.long_put:,.0f}/{condor.short_put:,.0f}/{condor.short_call:,.0f}/"
        f"{condor.long_call:,.0f} x {contracts:g} to be sold for {credit_usd:,.0f} USD, {ratio:.0%} of width "
        f"({bound})"
    )
    held = tuple(_condor_legs(legs, contracts))
    order = CondorOrder(
        key=_key(policy, group, CondorAction.OPEN, 0),
        group=group.name,
        action=CondorAction.OPEN,
        legs=held,
        limit_usd=worst_usd,
        expected_usd=credit_usd,
        worst_loss_usd=worst_loss_usd(held, credit_usd=worst_usd),
        valid_until_s=min(group.now_s + policy.orders.valid_for, *(item.valid_until_s for item in legs.all)),
        because=because,
    )
    return (order,), RuleFinding(rule="R16", fired=True, because=because)


def _contracts(policy: Policy, group: Group, legs: _Legs, *, room_usd: float) -> tuple[float, str]:
    """Return the most contracts, in whole lots, and what bounds them.

    R9's room bounds the worst loss at the least credit that the order takes.
    """
    multiplier = legs.sold[0].instrument.multiplier
    slip = policy.orders.max_slippage
    least_credit = sum(item.bid_usd / item.size for item in legs.sold) * (1.0 - slip)
    least_credit -= sum(item.unit_cost_usd for item in legs.bought) * (1.0 + slip)
    loss_usd = legs.condor.width_usd * multiplier - least_credit
    share_usd = policy.overlay.max_share * group.value_usd
    limits = {
        f"{policy.overlay.max_share:.0%} of exposure": share_usd / (group.spot_usd * multiplier),
        f"{policy.overlay.max_share:.0%} of exposure at risk": (share_usd - legs.gas_usd) / loss_usd,
        "defined-risk capital (R9)": (room_usd - legs.gas_usd) / loss_usd,
        "liquidity of the bought legs": min(item.liquidity for item in legs.bought),
        "size of the bids": min(item.size for item in legs.sold),
    }
    bound = min(limits, key=lambda name: (limits[name], name))
    lot = max(item.lot for item in legs.all)
    return round_down(max(0.0, limits[bound]), lot), f"bound by {bound}"


def _sides(legs: _Legs, contracts: float, side: str) -> float:
    """Return what the sold legs bring, or the bought ones cost, gas left out."""
    if side == "sold":
        return sum(contracts * item.bid_usd / item.size for item in legs.sold)
    return sum(contracts * item.unit_cost_usd for item in legs.bought)


def _condor_legs(legs: _Legs, contracts: float) -> Iterator[CondorLeg]:
    for sign, quotes in ((1.0, legs.bought), (-1.0, legs.sold)):
        for item in quotes:
            yield CondorLeg(instrument=item.instrument, size=sign * contracts, iv=item.iv)


def _close(policy: Policy, group: Group, condor: HeldCondor, why: str, *, place: int) -> CondorOrder:
    return CondorOrder(
        key=_key(policy, group, CondorAction.CLOSE, place),
        group=group.name,
        action=CondorAction.CLOSE,
        legs=condor.legs,
        limit_usd=condor.close_usd * (1.0 + policy.orders.max_slippage),
        expected_usd=condor.close_usd,
        worst_loss_usd=condor.worst_loss_usd,
        valid_until_s=group.now_s + policy.orders.valid_for,
        position_id=condor.id,
        because=why,
    )


def _key(policy: Policy, group: Group, action: CondorAction, place: int) -> str:
    name = group.name.replace("/", ".")
    return f"{plan_key(policy, group.now_s)}-{name}-{OVERLAY}-{action}{place}"


def _nothing(because: str) -> Ruling:
    return (), RuleFinding(rule="R16", fired=False, because=because)
