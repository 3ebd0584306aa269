"""What ALVH is compared with (R26): plain option programmes on the same market, hours and costs.

A strategy only says what it wants; the harness in ``backtest`` trades it on the simulated venue.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from bot.model.exposure import Exposure
from bot.model.hedge import Layer, OptionType, Quote
from bot.model.market import Columns, Metric
from bot.model.perpetual import HeldPerpetual, PerpetualAction, PerpetualOrder, PerpetualQuote
from bot.model.units import DAY_S
from bot.ports import VenuePosition
from bot.quant import lp, payoff
from bot.quant.bars import closed_bars
from bot.quant.var import hedge_scale, spot_paths
from bot.simulation.history.files import spot_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a strategy may look at."""

    now_s: float
    exposure: Exposure
    columns: Columns
    held: tuple[tuple[Layer, VenuePosition], ...]
    perpetual: HeldPerpetual | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Buy:
    layer: Layer
    quote: Quote
    contracts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sell:
    layer: Layer
    position: VenuePosition


@runtime_checkable
class Strategy(Protocol):
    """A hedging programme of options that sees one situation an hour."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str:
        """What it does, in one line for the report."""
        ...

    def is_due(self, now: Situation) -> bool:
        """Say whether it wants to trade now; quotes are asked for only then."""
        ...

    def orders(self, now: Situation, quotes: Sequence[Quote]) -> tuple[Buy | Sell, ...]:
        """Return what to do, sales first. Nothing where no quote fits: it asks again next hour."""
        ...


@runtime_checkable
class PerpetualStrategy(Protocol):
    """A hedging programme of one perpetual that sees one situation an hour."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...

    def perpetual_orders(self, now: Situation, quote: PerpetualQuote) -> tuple[PerpetualOrder, ...]:
        """Return what to trade; asked only in hours with a quote."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PutProgramme:
    """PPUT-like (Cboe): a put on the LP's whole delta, held to expiry, then the next one."""

    name: str = "pput"
    about: str = "Each month a 5 % out-of-the-money put on the LP's delta, held to expiry."
    moneyness: float = 0.95  # strike / spot
    dte: float = 30.0

    def is_due(self, now: Situation) -> bool:
        return not now.held

    def orders(self, now: Situation, quotes: Sequence[Quote]) -> tuple[Buy | Sell, ...]:
        listed = nearest_expiry(puts(quotes), self.dte, now_s=now.now_s)
        wanted = self.moneyness * now.exposure.spot_usd
        if not listed:
            return ()
        quote = min(listed, key=lambda item: (abs(item.instrument.strike_usd - wanted), item.instrument))
        contracts = float(lp.delta(now.exposure.shape, now.exposure.spot_usd))
        return _buys(((Layer.MID, quote, contracts),))


@dataclass(slots=True, kw_only=True)
class TailProgramme:
    """VXTH-like (Cboe): monthly 10-delta puts for a share of value that depends on the vol index.

    Levels are of BTC DVOL: the quantiles at which VIX stands at 15, 30 and 50. Bought or not, it looks again
    when the month's option expires.
    """

    name: str = "vxth"
    about: str = (
        "Each month 30-day 10-delta puts for 1 % of value while DVOL is 55-91, 0.5 % in 91-107, else none."
    )
    delta: float = -0.10
    dte: float = 30.0
    low: float = 0.55
    high: float = 0.91
    top: float = 1.07
    full_share: float = 0.01
    half_share: float = 0.005
    _next_look_s: float = field(default=-math.inf, init=False)

    def budget_share(self, dvol: float) -> float:
        """Return the share of value to spend at a level of BTC DVOL (fraction a year)."""
        if self.low <= dvol < self.high:
            return self.full_share
        return self.half_share if self.high <= dvol < self.top else 0.0

    def is_due(self, now: Situation) -> bool:
        return not now.held and now.now_s >= self._next_look_s

    def orders(self, now: Situation, quotes: Sequence[Quote]) -> tuple[Buy | Sell, ...]:
        quote = nearest_delta(nearest_expiry(puts(quotes), self.dte, now_s=now.now_s), self.delta)
        if quote is None:
            return ()
        self._next_look_s = quote.instrument.expiry_s
        index, _ = now.columns.latest(Metric.VOL_INDEX, now.exposure.underlying)
        budget_usd = self.budget_share(index) * now.exposure.value_usd
        return _buys(((Layer.TAIL, quote, budget_usd / quote.unit_cost_usd),))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """One layer of the static programme."""

    layer: Layer
    weight: float  # share of contracts, and so of notional
    dte: float
    delta: float
    roll_at_dte: float  # 0: held to expiry


STATIC_LAYERS = (
    LayerPlan(layer=Layer.NEAR, weight=0.4, dte=7.0, delta=-0.42, roll_at_dte=0.0),
    LayerPlan(layer=Layer.MID, weight=0.4, dte=35.0, delta=-0.28, roll_at_dte=15.0),
    LayerPlan(layer=Layer.TAIL, weight=0.2, dte=90.0, delta=-0.10, roll_at_dte=60.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticLayers:
    """Static 4/4/2: three layers that always cover one share of value at risk, whatever happens.

    A layer is sized when it is bought or rolled: all three together, bought anew in notional 40/40/20,
    would remove ``var_share`` of the LP's value at risk, as the engine counts it (R8): losses and gains on
    the same paths, implied vol unchanged.
    """

    name: str = "static_442"
    about: str = (
        "NEAR, MID and TAIL always held at 20 % of value at risk in 40/40/20, sized on the engine's paths, "
        "rolled at 0/15/60 days."
    )
    var_share: float = 0.20
    history_days: int = 1461  # daily closes that the paths are drawn from
    horizon_days: int = 10
    confidence: float = 0.99
    layers: tuple[LayerPlan, ...] = STATIC_LAYERS

    def is_due(self, now: Situation) -> bool:
        return any(self._wants(plan, now) for plan in self.layers)

    def orders(self, now: Situation, quotes: Sequence[Quote]) -> tuple[Buy | Sell, ...]:
        picks = []
        for plan in self.layers:
            listed = nearest_expiry(puts(quotes), plan.dte, now_s=now.now_s)
            pick = nearest_delta(listed, plan.delta)
            if pick is None:
                return ()
            picks.append(pick)
        scale = self._scale(now, picks)
        due = [(plan, pick) for plan, pick in zip(self.layers, picks, strict=True) if self._wants(plan, now)]
        layers = {plan.layer for plan, _ in due}
        sales = tuple(
            Sell(layer=layer, position=position)
            for layer, position in now.held
            if layer in layers and math.isfinite(position.liquidation_usd)
        )
        return (*sales, *_buys((plan.layer, pick, scale * plan.weight) for plan, pick in due))

    def _wants(self, plan: LayerPlan, now: Situation) -> bool:
        held = [position for layer, position in now.held if layer is plan.layer]
        return not held or min(item.instrument.dte(now.now_s) for item in held) <= plan.roll_at_dte

    def _scale(self, now: Situation, picks: Sequence[Quote]) -> float:
        """Return how many contracts at full weight remove ``var_share`` of value at risk; 0 when unknown."""
        shape, spot_usd = now.exposure.shape, now.exposure.spot_usd
        price = now.columns[spot_key(now.exposure.underlying)]
        closes = closed_bars(price, bar_s=DAY_S, now_s=now.now_s, count=self.history_days)
        paths = spot_paths(closes.close, spot=spot_usd, horizon_days=self.horizon_days).spots
        losses_usd = lp.value(shape, spot_usd) - lp.value(shape, paths[:, -1])
        values_usd = payoff.horizon_values(
            paths,
            strikes=[pick.instrument.strike_usd for pick in picks],
            is_puts=[True] * len(picks),
            dte=[pick.instrument.dte(now.now_s) for pick in picks],
            ivs=[pick.iv for pick in picks],
            sizes=[plan.weight for plan in self.layers],
        )
        cost_usd = sum(
            plan.weight * pick.model_usd / pick.size for plan, pick in zip(self.layers, picks, strict=True)
        )
        gains_usd = values_usd.sum(axis=0) - cost_usd
        scale = hedge_scale(losses_usd, gains_usd, share=self.var_share, confidence=self.confidence).scale
        return scale if math.isfinite(scale) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaHedge:
    """Delta hedge by perpetual (R26): a short of the LP's whole delta, whatever happens.

    It is set anew when it is off by more than ``band`` of the position's value. Its margin is its whole
    notional, filled up when gains of the price have taken half of it, so that it is not liquidated.
    """

    name: str = "perp_delta"
    about: str = "Always short the LP's delta by perpetual, set anew when 5 % of its value off."
    band: float = 0.05
    margin: float = 1.0  # of notional
    least_margin: float = 0.5

    def perpetual_orders(self, now: Situation, quote: PerpetualQuote) -> tuple[PerpetualOrder, ...]:
        held = now.perpetual.size if now.perpetual else 0.0
        delta = float(lp.delta(now.exposure.shape, now.exposure.spot_usd))
        wanted = -math.floor(min(delta, quote.liquidity) / quote.lot + 1e-9) * quote.lot
        change = wanted - held
        if abs(change) * quote.mark_usd > self.band * now.exposure.value_usd:
            action = PerpetualAction.OPEN if change < 0.0 else PerpetualAction.REDUCE
            return (self._order(now, quote, action, change),)
        if now.perpetual is None or now.perpetual.size == 0.0:
            return ()
        notional_usd = abs(held) * quote.mark_usd
        value_usd = now.perpetual.margin_usd + now.perpetual.unrealised_usd
        if value_usd >= self.least_margin * notional_usd:
            return ()
        return (
            self._order(
                now,
                quote,
                PerpetualAction.ADD_MARGIN,
                0.0,
                margin_usd=self.margin * notional_usd - value_usd,
            ),
        )

    def _order(
        self,
        now: Situation,
        quote: PerpetualQuote,
        action: PerpetualAction,
        size: float,
        *,
        margin_usd: float = 0.0,
    ) -> PerpetualOrder:
        notional_usd = abs(size) * quote.mark_usd
        is_open, is_cut = action is PerpetualAction.OPEN, action is PerpetualAction.REDUCE
        return PerpetualOrder(
            key=f"{self.name}.{round(now.now_s)}",
            group=now.exposure.group,
            action=action,
            perpetual=quote.perpetual,
            size=size,
            margin_usd=self.margin * notional_usd if is_open else margin_usd,
            limit_usd=math.inf if size > 0.0 else 0.0,
            expected_usd=notional_usd * quote.cost + quote.gas_usd,
            valid_until_s=now.now_s,
            position_id=now.perpetual.id if now.perpetual else "",
            release_usd=self.margin * notional_usd if is_cut else 0.0,
        )


def puts(quotes: Sequence[Quote]) -> tuple[Quote, ...]:
    return tuple(item for item in quotes if item.instrument.option_type is OptionType.PUT)


def nearest_expiry(quotes: Sequence[Quote], dte: float, *, now_s: float) -> tuple[Quote, ...]:
    """Return the quotes of the one expiry nearest to ``dte`` days; the earlier one of a tie."""
    if not quotes:
        return ()
    expiries = sorted({item.instrument.expiry_s for item in quotes})
    best = min(expiries, key=lambda expiry: abs(expiry - now_s - dte * DAY_S))
    return tuple(item for item in quotes if item.instrument.expiry_s == best)


def nearest_delta(quotes: Sequence[Quote], delta: float) -> Quote | None:
    """Return the quote nearest to a delta, None when there is none."""
    return min(quotes, key=lambda item: (abs(item.delta - delta), item.instrument), default=None)


def _buys(wanted: Iterable[tuple[Layer, Quote, float]]) -> tuple[Buy, ...]:
    """Return purchases, rounded down to whole lots; what is under one order's least is left out."""
    buys = []
    for layer, quote, contracts in wanted:
        size = min(contracts, quote.liquidity)
        size = math.floor(size / quote.lot + 1e-9) * quote.lot if size > 0.0 else 0.0
        if size >= quote.min_size:
            buys.append(Buy(layer=layer, quote=quote, contracts=size))
    return tuple(buys)
