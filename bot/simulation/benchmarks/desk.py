"""Trades a benchmark over the moments of a backtest: settle what expired, trade what it asks, mark."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bot.model.hedge import HedgeLeg, Layer, LegOutcome, LegStatus, Side
from bot.model.market import FloatArray
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.pipeline.memory_journal import MemoryJournal
from bot.pipeline.moments import Moment, view_of
from bot.pipeline.perpetuals import Perpetuals
from bot.ports import MarketView, VenuePosition
from bot.simulation.benchmarks.strategies import Buy, PerpetualStrategy, Sell, Situation, Strategy
from bot.simulation.market.model import Market
from bot.simulation.results import cash_usd
from bot.venues.simulated import SimulatedVenue
from bot.venues.simulated_perpetual import SimulatedPerpetualVenue

_DUST = 1e-9
_PAUSE_S = (3_600.0, 3_600.0)  # after refused orders; a benchmark asks again in the next hour


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """What hedging did to the account, hour by hour, after the hour's trades."""

    hedge_usd: FloatArray
    perpetual_usd: FloatArray  # part of it
    cash_usd: FloatArray
    outcomes: tuple[LegOutcome, ...] = ()
    perpetuals: tuple[PerpetualOutcome, ...] = ()


async def run_strategy(
    strategy: Strategy | PerpetualStrategy,
    moments: Sequence[Moment],
    market: Market,
    *,
    on_hour: Callable[[], None] | None = None,
) -> Path:
    """Step a benchmark over the moments. One of perpetuals does nothing in a market that quotes none."""
    desk = OptionDesk(strategy, market) if isinstance(strategy, Strategy) else PerpetualDesk(strategy, market)
    hedge_usd, perpetual_usd, cash = [], [], []
    for moment in moments:
        view = view_of(moment)
        await desk.step(moment, view)
        option, perpetual = await desk.marks_usd(view)
        hedge_usd.append(option + perpetual)
        perpetual_usd.append(perpetual)
        cash.append(desk.cash_usd)
        if on_hour:
            on_hour()
    return Path(
        hedge_usd=np.array(hedge_usd),
        perpetual_usd=np.array(perpetual_usd),
        cash_usd=np.array(cash),
        outcomes=desk.outcomes,
        perpetuals=desk.perpetuals,
    )


def marks_usd(positions: Sequence[VenuePosition]) -> float:
    """Return what hedges are worth: a sale where one is possible, else the model's value."""
    return sum(
        item.liquidation_usd if math.isfinite(item.liquidation_usd) else item.model_usd for item in positions
    )


class OptionDesk:
    """Trades options for one benchmark, and keeps its cash and the layer of each position."""

    def __init__(self, strategy: Strategy, market: Market) -> None:
        self.cash_usd = 0.0
        self._venue = SimulatedVenue(market.options, name=strategy.name)
        self._outcomes: list[LegOutcome] = []
        self._strategy = strategy
        self._layers: dict[str, Layer] = {}

    @property
    def outcomes(self) -> tuple[LegOutcome, ...]:
        return tuple(self._outcomes)

    @property
    def perpetuals(self) -> tuple[PerpetualOutcome, ...]:
        return ()

    async def marks_usd(self, view: MarketView) -> tuple[float, float]:
        return marks_usd(await self._venue.held(view)), 0.0

    async def step(self, moment: Moment, view: MarketView) -> None:
        for position in await self._venue.held(view):
            if position.settleable:
                await self._trade(view, Side.SETTLE, self._layers[position.id], position)
        situation = await self._situation(moment, view)
        if not self._strategy.is_due(situation):
            return
        exposure = moment.exposures[0]
        size = max(exposure.value_usd / exposure.spot_usd, 1.0)
        quotes = await self._venue.quotes(view, underlying=exposure.underlying, size=size)
        for order in self._strategy.orders(situation, quotes):
            if isinstance(order, Sell):
                await self._trade(view, Side.SELL, order.layer, order.position)
            else:
                await self._buy(view, order)

    async def _situation(self, moment: Moment, view: MarketView) -> Situation:
        held = tuple((self._layers[item.id], item) for item in await self._venue.held(view))
        return Situation(now_s=moment.now_s, exposure=moment.exposures[0], columns=moment.columns, held=held)

    async def _buy(self, view: MarketView, order: Buy) -> None:
        unit_usd = order.quote.premium_usd / order.quote.size
        leg = HedgeLeg(
            key=f"{self._venue.name}:{len(self._outcomes)}",
            group="",
            layer=order.layer,
            side=Side.BUY,
            instrument=order.quote.instrument,
            size=order.contracts,
            limit_usd=2.0 * unit_usd * order.contracts,  # impact moves the price of a larger order
            expected_usd=unit_usd * order.contracts,
            valid_until_s=view.now_s,
        )
        await self._execute(leg, view)

    async def _trade(self, view: MarketView, side: Side, layer: Layer, position: VenuePosition) -> None:
        leg = HedgeLeg(
            key=f"{self._venue.name}:{len(self._outcomes)}",
            group="",
            layer=layer,
            side=side,
            instrument=position.instrument,
            size=position.size,
            limit_usd=0.0,
            expected_usd=position.liquidation_usd,
            valid_until_s=view.now_s,
            position_id=position.id,
        )
        await self._execute(leg, view)

    async def _execute(self, leg: HedgeLeg, view: MarketView) -> None:
        outcome = await self._venue.execute(leg, view=view)
        self._outcomes.append(outcome)
        if outcome.status is not LegStatus.FILLED:
            return
        self._layers[outcome.position_id] = leg.layer
        self.cash_usd += cash_usd(outcome)


class PerpetualDesk:
    """Trades a perpetual for one benchmark; the book and liquidations are those of the program's own loop."""

    def __init__(self, strategy: PerpetualStrategy, market: Market) -> None:
        self._strategy = strategy
        venues = {}
        if market.perpetual is not None:
            venue = SimulatedPerpetualVenue(market.perpetual, name=strategy.name)
            venues[venue.name] = venue
        self._journal = MemoryJournal()
        self._part = Perpetuals(venues=venues, journal=self._journal, pause_s=_PAUSE_S)
        self._venues = tuple(venues.values())

    @property
    def cash_usd(self) -> float:
        return self._part.cash_flow_usd

    @property
    def outcomes(self) -> tuple[LegOutcome, ...]:
        return ()

    @property
    def perpetuals(self) -> tuple[PerpetualOutcome, ...]:
        return self._journal.perpetual_outcomes()

    async def marks_usd(self, view: MarketView) -> tuple[float, float]:
        book = self._part.book
        positions = [item for venue in self._venues for item in await venue.held_perpetuals(view)]
        return 0.0, book.open_value_usd(book.held(positions))

    async def step(self, moment: Moment, view: MarketView) -> None:
        exposure = moment.exposures[0]
        size = max(exposure.value_usd / exposure.spot_usd, 1.0)
        seen = await self._part.look(view, {exposure.underlying: size}, paired={})
        held, quote = next(iter(seen.held), None), next(iter(seen.quotes), None)
        situation = Situation(
            now_s=moment.now_s, exposure=exposure, columns=moment.columns, held=(), perpetual=held
        )
        if quote is not None:
            await self._part.execute(self._strategy.perpetual_orders(situation, quote), view)
