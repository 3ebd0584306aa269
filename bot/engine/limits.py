"""R9 premium caps and R10 over-hedge guard: what a plan may never exceed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.condors import capital_at_risk, losses_over
from bot.engine.group import Group, group_contracts
from bot.engine.perpetual import perpetual_at_risk, perpetual_gains, short_units
from bot.engine.policy import Policy
from bot.engine.policy_sizing import SizingPolicy
from bot.model.hedge import HeldHedge, Quote, Spend, SpendKind
from bot.model.market import FloatArray, Frame
from bot.model.quotes import instruments_of
from bot.model.tier import RuleFinding
from bot.model.units import DAY_S

SESSION_CAP = "session cap (R9)"
DEFINED_RISK_CAP = "defined-risk capital (R9)"
BUDGET_30D_CAP = "30-day budget (R9)"
BUDGET_365D_CAP = "365-day budget (R9)"
RESERVED_CAPS = frozenset({SESSION_CAP, BUDGET_30D_CAP})  # of which lower tiers leave a part
VENUE_CAP = "share of a session"
OVER_HEDGE_CAP = "over-hedge guard (R10)"
_CAME_BACK = (SpendKind.PROCEEDS, SpendKind.SET_ASIDE)  # less than nothing, and what of it is set aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """One cap of R9, in USD."""

    name: str
    limit_usd: float
    used_usd: float
    frees_at_s: float  # when the next part of what is used frees; NaN when nothing is known to
    venue: str = ""  # only purchases there count

    @property
    def room_usd(self) -> float:
        return max(0.0, self.limit_usd - self.used_usd)


def premium_caps(policy: Policy, frame: Frame, *, exposure_usd: float) -> tuple[Cap, ...]:
    """Return all caps on new premium, over all groups together (R9).

    A session counts gross, proceeds of a sale do not refill it, but a roll at its net debit, never less than
    0. The longer budgets are net of proceeds. Reserved open intents count in every window. Caps are asked
    when something is bought: where proceeds leave a window before the premium that was bought after them
    does, what is left may stand over a budget, and nothing is bought then.
    """
    budget, now_s = policy.budget, frame.now_s
    capital_usd = budget.defined_risk_capital * exposure_usd
    session_s = policy.tiers.session
    reserved_usd = sum((item.usd for item in frame.spends if item.kind is SpendKind.RESERVED), 0.0)
    open_usd = sum((hedge.cost_usd for hedge in frame.held), 0.0) + reserved_usd
    open_usd += capital_at_risk(frame.condors) + perpetual_at_risk(frame)
    next_expiry_s = min((float(hedge.instrument.expiry_s) for hedge in frame.held), default=math.nan)
    return (
        Cap(
            name=SESSION_CAP,
            limit_usd=budget.session_share * capital_usd,
            used_usd=_spent(frame, since_s=now_s - session_s, net=False)
            - _rolled(frame, since_s=now_s - session_s),
            frees_at_s=_frees(frame, window_s=session_s),
        ),
        Cap(name=DEFINED_RISK_CAP, limit_usd=capital_usd, used_usd=open_usd, frees_at_s=next_expiry_s),
        *(
            Cap(
                name=name,
                limit_usd=share * exposure_usd,
                used_usd=_spent(frame, since_s=now_s - days * DAY_S, net=True),
                frees_at_s=_frees(frame, window_s=days * DAY_S),
            )
            for name, share, days in (
                (BUDGET_30D_CAP, budget.budget_30d, 30),
                (BUDGET_365D_CAP, budget.budget_365d, 365),
            )
        ),
        *_venue_caps(
            policy, frame, session_usd=budget.session_share * capital_usd, reserved_usd=reserved_usd
        ),
    )


def _venue_caps(policy: Policy, frame: Frame, *, session_usd: float, reserved_usd: float) -> tuple[Cap, ...]:
    """Return what each venue may still take of a session's new premium; none where all may go to one.

    What was bought there in the session is what is held of it, at cost. The ledger does not say where an open
    intent would be filled, so it counts at every venue.
    """
    share, since_s = policy.budget.venue_share, frame.now_s - policy.tiers.session
    if share >= 1.0:
        return ()
    recent = [hedge for hedge in frame.held if hedge.opened_at_s > since_s]
    caps = []
    for venue in sorted({item.venue for item in instruments_of(frame.quotes)}):
        there = [hedge for hedge in recent if hedge.instrument.venue == venue]
        oldest_s = min((hedge.opened_at_s for hedge in there), default=math.nan)
        caps.append(
            Cap(
                name=f"{VENUE_CAP} at {venue}",
                limit_usd=share * session_usd,
                used_usd=math.fsum(hedge.cost_usd for hedge in there) + reserved_usd,
                frees_at_s=oldest_s + policy.tiers.session,
                venue=venue,
            )
        )
    return tuple(caps)


def tightest(caps: Sequence[Cap], *, spent_usd: float = 0.0) -> tuple[float, Cap]:
    """Return the room in USD that is left after ``spent_usd`` more, and the cap that sets it.

    Caps of one venue are left out.
    """
    cap = min((item for item in caps if not item.venue), key=lambda item: (item.room_usd, item.name))
    return max(0.0, cap.room_usd - spent_usd), cap


def cap_figures(caps: Sequence[Cap], *, planned_usd: float) -> Mapping[str, float]:
    """Return R9's figures in USD by name, as a decision reports them."""
    keys = {
        SESSION_CAP: "session",
        DEFINED_RISK_CAP: "defined_risk",
        BUDGET_30D_CAP: "budget_30d",
        BUDGET_365D_CAP: "budget_365d",
    }
    figures = {"planned_usd": planned_usd}
    for cap in (item for item in caps if not item.venue):
        figures[f"{keys[cap.name]}_cap_usd"] = cap.limit_usd
        figures[f"{keys[cap.name]}_used_usd"] = cap.used_usd
    return figures


def caps_finding(caps: Sequence[Cap], *, planned_usd: float, bound: bool) -> RuleFinding:
    """Return what R9 says of all groups' plan; ``bound``: a cap cut this group's."""
    room_usd, cap = tightest(caps)
    text = ", ".join(f"{item.name} {item.used_usd:,.0f} of {item.limit_usd:,.0f}" for item in caps)
    because = f"planned {planned_usd:,.0f} USD in a room of {room_usd:,.0f} ({cap.name}); used: {text}"
    return RuleFinding(rule="R9", fired=bound, because=because)


def spot_grid(sizing: SizingPolicy, spot_usd: float) -> FloatArray:
    """Return spots from ``grid_from`` to ``grid_to`` around today's, both ends and today's included."""
    down = np.arange(sizing.grid_from, 0.0, sizing.grid_step)
    up = np.arange(0.0, sizing.grid_to, sizing.grid_step)
    return np.asarray(spot_usd * (1.0 + np.concatenate((down, up, [sizing.grid_to]))))


def over_hedge_factor(
    policy: Policy,
    group: Group,
    *,
    kept: Sequence[HeldHedge],
    leaving: frozenset[str],
    new: Sequence[tuple[Quote, float]],
) -> float:
    """Return the largest factor in [0, 1] on the new legs' sizes that keeps R10 at every grid point.

    ``new`` are (quote, contracts). At each point, with implied vol unchanged, the gain of everything must
    stay within max(0, loss) x (1 + tolerance) plus one lot of each new leg that is bought; one cut to less
    than a lot is not, and gives its lot to no other. A new leg's own losses are not counted in its favour,
    nor those of a held leg that is to be sold or exercised (``leaving``), so that any part of the plan keeps
    the rule: legs fill apart, and a sale or an exercise may fail. Where held legs gain too much already
    nothing that gains there is bought. Unknown gains give 0.
    """
    if not new:
        return 1.0
    gains, room = stress_grid(policy, group, kept=kept, leaving=leaving, quotes=[quote for quote, _ in new])
    sizes, lots = np.array([size for _, size in new]), np.array([quote.lot for quote, _ in new])
    if not (np.isfinite(sizes @ gains).all() and np.isfinite(room).all()):
        return 0.0
    return _factor_within(np.maximum(room, 0.0), sizes, np.where(room < 0.0, 0.0, lots[:, np.newaxis]), gains)


def _factor_within(room: FloatArray, sizes: FloatArray, lots: FloatArray, gains: FloatArray) -> float:
    """Return the largest factor f <= 1 with sum(max(0, f x size - lot) x gain) <= room at every point.

    The sum is convex and piecewise linear in f, so that Newton's steps from 1 go down to the root and reach
    it in at most one for each leg. ``lots`` and ``gains`` are [leg, point], ``sizes`` [leg].
    """
    factor, wanted = np.ones(room.shape), sizes[:, np.newaxis]
    for _ in range(sizes.size):
        more = np.maximum(factor * wanted - lots, 0.0)
        over = (more * gains).sum(axis=0) - room
        slope = np.where(more > 0.0, wanted * gains, 0.0).sum(axis=0)
        tight = over > 0.0
        factor[tight] -= over[tight] / slope[tight]
    return float(np.min(np.maximum(factor, 0.0), initial=1.0))


def stress_grid(
    policy: Policy,
    group: Group,
    *,
    kept: Sequence[HeldHedge],
    leaving: frozenset[str],
    quotes: Sequence[Quote],
) -> tuple[FloatArray, FloatArray]:
    """Return R10's grid flattened: gain of one contract [quote, point], never under 0, and room [point], USD.

    Points are spots x (now, horizon, each expiry). The room is what held legs leave of the loss with its
    tolerance, without the lot that each new leg has on top; under 0 where they gain more already.
    """
    spots = spot_grid(policy.sizing, group.spot_usd)
    everything = group_contracts(
        group, [(item.instrument, item.iv) for item in quotes] + [(item.instrument, item.iv) for item in kept]
    )
    days = np.array(sorted({0.0, float(group.horizon_days), *everything.dte.tolist()}))
    gained = everything.gains_over(spots, days)
    limit = np.maximum(group.loss_at(spots), 0.0) * (1.0 + policy.sizing.over_hedge_tolerance)
    room = limit[np.newaxis] + losses_over(group, spots, days)  # what R16's condors lose there, too
    room = room - np.maximum(perpetual_gains(group, spots, short=short_units(group)), 0.0)
    if kept:
        goes = np.array([hedge.id in leaving for hedge in kept], dtype=np.bool_)
        held = np.array([hedge.size for hedge in kept])[:, np.newaxis] * gained[:, len(quotes) :]
        room = room - np.where(goes[:, np.newaxis], np.maximum(held, 0.0), held).sum(axis=1)
    gains = np.maximum(gained[:, : len(quotes)], 0.0)
    return gains.swapaxes(0, 1).reshape(len(quotes), room.size), room.ravel()


def _spent(frame: Frame, *, since_s: float, net: bool) -> float:
    counted = (
        (SpendKind.PREMIUM, SpendKind.RESERVED, SpendKind.PROCEEDS, SpendKind.SET_ASIDE)
        if net
        else (
            SpendKind.PREMIUM,
            SpendKind.RESERVED,
        )
    )
    return sum(
        (
            item.usd
            for item in frame.spends
            if item.kind in counted and (item.kind is SpendKind.RESERVED or item.at_s > since_s)
        ),
        0.0,
    )


def _rolled(frame: Frame, *, since_s: float) -> float:
    """Return what rolls got back inside a window: what is sold after a purchase of its own plan and layer.

    A plan sells and settles everything else before it buys (``legs.legs_of``), so this is a roll's sale. What
    of its profit goes to RESERVE (R28) did not come back.
    """
    recent = [
        (*roll, item) for item in frame.spends if item.at_s > since_s and (roll := _place(item)) is not None
    ]
    bought: dict[str, tuple[int, float]] = {}  # plan and layer -> (position, USD)
    for plan, place, item in recent:
        if item.kind is SpendKind.PREMIUM:
            bought[plan] = (place, bought.get(plan, (place, 0.0))[1] + item.usd)
    back: dict[str, float] = {}
    for plan, place, item in recent:
        if item.kind in _CAME_BACK and plan in bought and place > bought[plan][0]:
            back[plan] = back.get(plan, 0.0) - item.usd
    return sum((min(max(usd, 0.0), bought[plan][1]) for plan, usd in back.items()), 0.0)


def _place(spend: Spend) -> tuple[str, int] | None:
    """Return the plan, group and layer of a leg's key as one text, and the leg's position in its plan."""
    rest, _, place = spend.leg_key.rpartition("-")
    return (rest, int(place)) if rest and place.isdecimal() else None


def _frees(frame: Frame, *, window_s: float) -> float:
    """Return when the oldest purchase inside the window leaves it, or one made now, if there is none."""
    starts = [
        item.at_s
        for item in frame.spends
        if item.kind is SpendKind.PREMIUM and item.at_s > frame.now_s - window_s
    ]
    return min(starts, default=frame.now_s) + window_s
