"""Pairs of R27 on paper: the parts are filled by the paper venues of each, both or none."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bot.model.hedge import HedgeLeg, LegOutcome, LegStatus, Side
from bot.model.perpetual import PerpetualAction, PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.ports import MarketView, PerpetualVenue, Venue
from bot.venues.booked import rejected
from bot.venues.pair_listing import NO_PARTS, ListsNothing, pair_name

_DONE = (LegStatus.FILLED, LegStatus.PARTIAL)
_ANY_USD = 1e12  # a limit that binds nothing: what a pair may cost is the leg's own limit


class PaperPairVenue(ListsNothing):
    """Venue over two paper venues. What it filled is rebuilt by ``parts_of`` into both."""

    def __init__(self, option: Venue, perpetual: PerpetualVenue) -> None:
        self._option, self._perpetual = option, perpetual

    @property
    def name(self) -> str:
        return pair_name(self._option, self._perpetual)

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """Fill the perpetual, then the option; give the perpetual back where the option is refused."""
        if leg.conversion is None:
            return rejected(leg, at_s=view.now_s, because=f"{self.name}: {NO_PARTS}")
        is_buy = leg.side is Side.BUY
        units = leg.size * leg.conversion.perpetual_size
        first = await self._trade(leg, units if is_buy else -units, view, opens=is_buy)
        if first.status not in _DONE:
            return rejected(leg, at_s=view.now_s, because=first.because)
        worth_usd = _worth(leg, first)
        limit_usd = leg.limit_usd + worth_usd if is_buy else max(leg.limit_usd - worth_usd, 0.0)
        option = await self._option.execute(_option_leg(leg, max(limit_usd, 0.0)), view=view)
        if option.status in _DONE:
            return _joined(leg, option, first, worth_usd)
        back = await self._trade(leg, -first.filled_size, view, opens=not is_buy)
        lost_usd = -worth_usd - _worth(leg, back)
        return replace(
            rejected(leg, at_s=view.now_s, because=f"{option.because}; the perpetual was given back"),
            premium_usd=lost_usd if is_buy else -lost_usd,
            fee_usd=first.fee_usd + back.fee_usd,
            gas_usd=first.gas_usd + back.gas_usd,
        )

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        """A paper fill exists only once it is journalled, so a leg that was left open was not filled."""
        return rejected(leg, at_s=view.now_s, because="paper: abandoned at restart, nothing was filled")

    async def _trade(self, leg: HedgeLeg, size: float, view: MarketView, *, opens: bool) -> PerpetualOutcome:
        return await self._perpetual.execute(_perpetual_order(leg, size, opens=opens), view=view)


def parts_of(outcomes: Iterable[LegOutcome]) -> tuple[list[LegOutcome], list[PerpetualOutcome]]:
    """Return pairs' closed legs as what each part's own venue would have booked; other legs unchanged."""
    legs: list[LegOutcome] = []
    perpetuals: list[PerpetualOutcome] = []
    for item in outcomes:
        parts = item.leg.conversion
        if parts is None or item.status not in _DONE:
            legs.append(item)
            continue
        legs.append(replace(item, leg=_option_leg(item.leg, item.leg.limit_usd)))
        is_buy = item.leg.side is Side.BUY
        size = item.filled_size * parts.perpetual_size * (1.0 if is_buy else -1.0)
        order = _perpetual_order(item.leg, size, opens=is_buy)
        margin_usd = item.filled_size * parts.margin_usd
        perpetuals.append(
            PerpetualOutcome(
                order=order,
                status=LegStatus.FILLED,
                at_s=item.at_s,
                filled_size=size,
                price_usd=item.perpetual_usd,
                margin_usd=margin_usd if is_buy else -margin_usd,
            )
        )
    return legs, perpetuals


def paper_pairs(options: Sequence[Venue], perpetuals: Sequence[PerpetualVenue]) -> dict[str, Venue]:
    """Return a venue of pairs over each option venue and each of perpetuals, by name."""
    found = [PaperPairVenue(option, perpetual) for option in options for perpetual in perpetuals]
    return {item.name: item for item in found}


def _joined(leg: HedgeLeg, option: LegOutcome, first: PerpetualOutcome, worth_usd: float) -> LegOutcome:
    """Return the pair's outcome; its premium is reckoned from the strike, as a real pair's."""
    is_buy = leg.side is Side.BUY
    return replace(
        option,
        leg=leg,
        premium_usd=option.premium_usd - worth_usd if is_buy else option.premium_usd + worth_usd,
        fee_usd=option.fee_usd + first.fee_usd,
        gas_usd=option.gas_usd + first.gas_usd,
        perpetual_usd=first.price_usd,
        indicative=option.indicative or first.indicative,
    )


def _worth(leg: HedgeLeg, fill: PerpetualOutcome) -> float:
    """Return what a trade of the perpetual adds to the pair, reckoned from the strike; costs taken off."""
    strike_usd = leg.conversion.option.strike_usd if leg.conversion else math.nan
    return -fill.filled_size * (fill.price_usd - strike_usd) - fill.fee_usd + fill.funding_usd


def _option_leg(leg: HedgeLeg, limit_usd: float) -> HedgeLeg:
    instrument = leg.conversion.option if leg.conversion else leg.instrument
    return replace(leg, instrument=instrument, limit_usd=limit_usd, reserve_usd=0.0, conversion=None)


def _perpetual_order(leg: HedgeLeg, size: float, *, opens: bool) -> PerpetualOrder:
    margin_usd = leg.size * leg.conversion.margin_usd if leg.conversion else 0.0
    perpetual = leg.conversion.perpetual if leg.conversion else None
    assert perpetual is not None  # noqa: S101 - asked by the callers
    return PerpetualOrder(
        key=leg.key,
        group=leg.group,
        action=PerpetualAction.OPEN if opens else PerpetualAction.REDUCE,
        perpetual=perpetual,
        size=size,
        margin_usd=margin_usd if opens else 0.0,
        limit_usd=_ANY_USD if size > 0.0 else 1.0 / _ANY_USD,
        expected_usd=0.0,
        valid_until_s=leg.valid_until_s,
        release_usd=0.0 if opens else margin_usd,
    )
