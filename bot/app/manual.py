"""A person's own orders: close, roll or exercise a hedge, by the bot that runs or, where none does, at once.

An order has the bounds of one the bot makes itself and goes the same way: journal, simulation, signer,
allowances that end at zero. A running bot does it at its next step; its own plan waits for the one after.
"""

import asyncio
import getpass
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.app.live import open_bot
from bot.app.look import Look
from bot.app.manual_perpetual import closing_perpetual, named_perpetuals, perpetual_named
from bot.app.stores import open_journal
from bot.engine.choose import Choice, Slot, choose
from bot.engine.group import read_group
from bot.engine.plan import most_unit_usd, round_down
from bot.errors import ConfigError, DeadlineError, NotFoundError
from bot.model.execution import DueAction
from bot.model.hedge import HedgeLeg, HeldHedge, Layer, LegOutcome, Quote, Side
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.pipeline.desk import Desk, Request
from bot.ports import VenuePosition

_LOOK_EVERY_S = 0.5
_GRACE_S = 60.0  # after its valid-until time an order that was begun still comes to its end
Outcome = LegOutcome | PerpetualOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One position: as the book has it, and as its venue marks it; None where the venue lists it no more."""

    hedge: HeldHedge
    mark: VenuePosition | None

    @property
    def name(self) -> str:
        """What names it on the command line: "lyra:7"."""
        return f"{self.hedge.instrument.venue}:{self.hedge.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one slot of a hedge group could be filled with, by the engine's own choice."""

    group: str
    slot: Slot
    choice: Choice


def held(look: Look) -> tuple[Held, ...]:
    """Return every position, those that were settled elsewhere and are still to be booked included."""
    marks = {(item.instrument.venue, item.id): item for item in look.positions}
    return tuple(
        Held(hedge=item, mark=marks.get((item.instrument.venue, item.id))) for item in look.frame.held
    )


def offers(look: Look) -> tuple[Offer, ...]:
    """Return what each slot of each hedge group could be filled with now, over all venues."""
    return tuple(
        Offer(group=name, slot=slot, choice=choice)
        for name in sorted({item.group for item in look.frame.exposures})
        for slot, choice in _choices(look, name).items()
    )


def find(look: Look, name: str) -> Held:
    """Return the option that a person names, "lyra:7" or "7". Raises NotFoundError."""
    found = [item for item in held(look) if name in (item.name, item.hedge.id)]
    if len(found) == 1:
        return found[0]
    if not found and perpetual_named(look, name) is not None:
        raise ConfigError(f"{name} is a perpetual: it can only be closed; alvh close does")
    names = ", ".join((*(item.name for item in held(look)), *named_perpetuals(look))) or "none"
    problem = f"{len(found)} positions are called that" if found else "no position is called that"
    raise NotFoundError(f"position {name!r}: {problem}; held are: {names}")


def closing(
    look: Look,
    name: str,
    *,
    size: float | None,
    least_usd: float | None = None,
    price_usd: float | None = None,
) -> Request:
    """Return the order that sells an option or closes a perpetual, all of it or ``size`` contracts or units.

    ``least_usd`` is the least to take for an option; without it, what a sale brings now less the policy's
    slippage. ``price_usd`` is the worst price of a perpetual's unit.
    """
    found = perpetual_named(look, name)
    if found is not None:
        if least_usd is not None:
            raise ConfigError(f"--least {least_usd:g}: {name} is a perpetual; bound it by --price")
        return closing_perpetual(look, *found, size=size, price_usd=price_usd)
    item = find(look, name)
    if price_usd is not None:
        raise ConfigError(f"--price {price_usd:g}: {item.name} is an option; bound it by --least")
    return _request([_sale(look, item, _closed_size(item, size), least_usd=least_usd)])


def _closed_size(item: Held, size: float | None) -> float:
    """Return how many contracts are closed, all by default. Raises ConfigError where its venue could not."""
    whole, venue = item.hedge.size, item.hedge.instrument.venue
    wanted = whole if size is None or math.isclose(size, whole, rel_tol=1e-9) else size
    if not 0.0 < wanted <= whole:
        raise ConfigError(f"--size {wanted:g}: {item.name} has {whole:g} contracts; name more than 0")
    if wanted < whole and item.hedge.instrument.closes_whole:
        raise ConfigError(
            f"--size {wanted:g}: {venue} closes a position whole or not at all, {item.name} has {whole:g} "
            "contracts; leave --size out"
        )
    return wanted


def rolling(look: Look, name: str, *, to: str | None) -> Request:
    """Return the orders that buy the same layer's replacement and only then sell the position.

    ``to`` names the instrument; without it the engine's own choice for the layer, with a later expiry.
    """
    item = find(look, name)
    quote = _replacement(look, item, to)
    hedge = item.hedge
    units = hedge.size * hedge.instrument.multiplier / quote.instrument.multiplier
    size = round_down(units, quote.lot)
    if not quote.min_size <= size <= quote.liquidity:
        raise ConfigError(
            f"{item.name} cannot be rolled into {quote.instrument.id}: {size:g} contracts are asked, "
            f"{quote.min_size:g} to {quote.liquidity:g} can be had"
        )
    premium_usd = quote.premium_usd * size / quote.size
    buy = replace(
        _leg(look, item, Side.BUY, size),
        instrument=quote.instrument,
        position_id="",
        limit_usd=premium_usd * (1.0 + look.policy.orders.max_slippage),
        expected_usd=premium_usd,
        reserve_usd=size * most_unit_usd(look.policy, quote) + quote.gas_reserve_usd,
        because=f"rolls {item.name}, asked for by hand",
    )
    sell = replace(_sale(look, item, hedge.size, least_usd=None, number=1), only_after=buy.key)
    return _request([buy, sell])


def exercising(look: Look, name: str) -> Request:
    """Return the order that collects what is due of a position. Raises ConfigError where nothing is."""
    item = find(look, name)
    due = item.mark.due if item.mark is not None else None
    if not item.hedge.settleable and (due is None or due.action is not DueAction.EXERCISE):
        said = f": {due.because}" if due is not None and due.because else ""
        raise ConfigError(f"{item.name} has nothing to collect now{said}; alvh close sells it")
    leg = _leg(look, item, Side.SETTLE, item.hedge.size)
    return _request([replace(leg, because="asked for by hand")])


async def carry_out(look: Look, request: Request) -> tuple[Outcome, ...]:
    """Have an order done and return what became of its parts.

    Raises DeadlineError where the running bot has not ended it in time: it is in its journal then, or waits.
    """
    if look.running:
        Desk(look.settings.state_dir, mode=look.mode).leave(request)
        return await _outcomes_of(look, request)
    async with open_bot(look.settings, mode=look.mode, policy=look.policy) as bot:
        block = await bot.reader.head()
        moment = await bot.source.cut(block, now_s=bot.source.clock(block))
        legs = await bot.pipeline.order(request, moment)
        done = {item.leg.key: item for item in legs}
        traded = {item.order.key: item for item in bot.pipeline.perpetuals.news()}
    return _of(request, {**done, **traded})


async def _outcomes_of(look: Look, request: Request) -> tuple[Outcome, ...]:
    """Follow the journal of the running bot until the request has come to its end."""
    wait_s = look.policy.orders.valid_for + _GRACE_S
    for _ in range(math.ceil(wait_s / _LOOK_EVERY_S)):
        with open_journal(look.settings, mode=look.mode, read_only=True) as journal:
            done = {item.leg.key: item for item in journal.outcomes()}
            traded = {item.order.key: item for item in journal.perpetual_outcomes()}
        ended = all(
            leg.key in done
            or (leg.only_after and leg.only_after in done and not is_filled(done[leg.only_after]))
            for leg in request.legs
        )
        if ended and all(order.key in traded for order in request.perpetuals):
            return _of(request, {**done, **traded})
        await asyncio.sleep(_LOOK_EVERY_S)
    raise DeadlineError(
        f"the {look.mode} bot has not ended order {request.key} within {wait_s:.0f} s; "
        "see alvh status and alvh history"
    )


def _of(request: Request, done: Mapping[str, Outcome]) -> tuple[Outcome, ...]:
    """Return what became of the orders of a request, in their order."""
    keys = [*(leg.key for leg in request.legs), *(order.key for order in request.perpetuals)]
    return tuple(done[key] for key in keys if key in done)


def is_filled(outcome: Outcome) -> bool:
    """Say whether anything of an order was done; a perpetual's size has a sign."""
    return outcome.filled_size != 0.0


def _request(legs: Sequence[HedgeLeg]) -> Request:
    return Request(legs=tuple(legs), by=getpass.getuser())


def _sale(look: Look, item: Held, size: float, *, least_usd: float | None, number: int = 0) -> HedgeLeg:
    hedge = item.hedge
    value_usd = hedge.liquidation_usd * size / hedge.size
    if not value_usd > 0.0:
        due = item.mark.due.because if item.mark is not None else "its venue lists it no more"
        raise ConfigError(f"{item.name} cannot be sold now ({due or 'its venue quotes no sale'})")
    limit_usd = value_usd * (1.0 - look.policy.orders.max_slippage) if least_usd is None else least_usd
    return replace(
        _leg(look, item, Side.SELL, size, number=number),
        limit_usd=limit_usd,
        expected_usd=value_usd,
        because="asked for by hand",
    )


def _leg(look: Look, item: Held, side: Side, size: float, *, number: int = 0) -> HedgeLeg:
    """Return an order of a position's group and layer, under a key that names them like the engine's.

    Each asking is an order of its own, also two of them in one block: the key has the time of asking in it.
    """
    hedge, now_s = item.hedge, look.moment.now_s
    group = hedge.group or f"{hedge.instrument.underlying}/"
    return HedgeLeg(
        key=f"manual.{time.time_ns()}-{group.replace('/', '.')}-{hedge.layer}-{number}",
        group=group,
        layer=hedge.layer,
        side=side,
        instrument=hedge.instrument,
        size=size,
        limit_usd=0.0,
        expected_usd=0.0,
        valid_until_s=now_s + look.policy.orders.valid_for,
        position_id=hedge.id,
    )


def _replacement(look: Look, item: Held, to: str | None) -> Quote:
    """Return the quote to roll into: the named one, else the best of the layer that expires later."""
    hedge = item.hedge
    later = [
        quote
        for quote in look.frame.quotes
        if quote.instrument.underlying == hedge.instrument.underlying
        and quote.instrument.option_type is hedge.instrument.option_type
        and (not quote.indicative or quote.on_paper)
        and quote.conversion is None
    ]
    if to is not None:
        named = [
            quote
            for quote in later
            if to in (quote.instrument.id, f"{quote.instrument.venue}:{quote.instrument.id}")
        ]
        if len(named) != 1:
            raise NotFoundError(f"--to {to!r}: {len(named)} quoted options are called that; see alvh quote")
        return named[0]
    slot = Slot(hedge.layer, hedge.instrument.option_type)
    choice = _choices(look, hedge.group).get(slot) if hedge.group else None
    fitting = [each.quote for each in choice.candidates] if choice else []
    found = [quote for quote in fitting if quote.instrument.expiry_s > hedge.instrument.expiry_s]
    if not found:
        why = choice.because if choice else "it belongs to no hedge group: name one with --to"
        raise NotFoundError(f"nothing to roll {item.name} into: {why}")
    return found[0]


def _choices(look: Look, group: str) -> dict[Slot, Choice]:
    read = read_group(look.policy, look.frame, group)
    return dict(choose(look.policy, read, tuple(Layer), look.frame.quotes, allow_indicative=True))
