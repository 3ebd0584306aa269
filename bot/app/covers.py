"""Cover of protocols by hand (R20): quoted, bought, listed; claims are made ready and never sent.

A purchase goes the way of every order: by the bot that runs or, where none does, at once. It opens: it is
refused while paused, and beyond the room that R9 leaves unless it renews what ends soon.
"""

import getpass
import math
import re
import time

from bot.app.by_hand import have_done
from bot.app.look import Look
from bot.chain.pause import read_pause
from bot.engine.limits import premium_caps, tightest
from bot.errors import ConfigError, NotFoundError
from bot.model.cover import ClaimDraft, ClaimState, CoverOrder, CoverOutcome, CoverQuote, HeldCover, order_of
from bot.model.units import DAY_S
from bot.pipeline.desk import Request
from bot.pipeline.moments import view_of
from bot.ports import MarketView
from bot.venues.planned_cover import PlannedCoverVenue


async def quoting(look: Look, protocol: str, *, usd: float, days: float) -> CoverQuote:
    """Return what covering a protocol costs now. Raises VenueRejected where it cannot be covered so."""
    if not 0.0 < usd < math.inf:
        raise ConfigError(f"--usd {usd:g}: name the most that the cover pays, over 0")
    if not 0.0 < days < math.inf:
        raise ConfigError(f"--days {days:g}: name how long the cover runs, over 0")
    return await _mutual(look).quote(
        _view(look), protocol=protocol, amount_usd=usd, period_s=round(days * DAY_S)
    )


def buying(look: Look, quote: CoverQuote, *, most_usd: float | None) -> CoverOrder:
    """Return the order that buys what was quoted, for ``most_usd`` at most.

    Without it: the premium and the policy's slippage. Raises ConfigError while paused, for a bound under the
    premium, and where R9 leaves no room for it.
    """
    if (pause := read_pause(look.settings.state_dir)) is not None:
        raise ConfigError(f"{pause}; a cover opens something new: alvh resume ends it")
    limit_usd = quote.premium_usd * (1.0 + look.policy.orders.max_slippage) if most_usd is None else most_usd
    if not quote.premium_usd <= limit_usd < math.inf:
        raise ConfigError(
            f"--most {limit_usd:g} is under the premium, {quote.premium_usd:,.2f} USD; name that or more"
        )
    if not renews(look, quote):
        _check_budget(look, limit_usd + quote.gas_usd)
    name = re.sub(r"[^A-Za-z0-9._-]+", ".", quote.product.protocol)
    return order_of(
        quote,
        key=f"manual.{time.time_ns()}-{name}-COVER",
        limit_usd=limit_usd,
        valid_until_s=look.moment.now_s + look.policy.orders.valid_for,
        because="asked for by hand",
    )


def renews(look: Look, quote: CoverQuote) -> bool:
    """Say whether a cover of the same protocol ends so soon that this one renews it: R9 lets it pass."""
    until_s = look.moment.now_s + look.policy.insurance.renew_before
    return any(
        item.product == quote.product and item.is_alive(look.moment.now_s) and item.expires_s <= until_s
        for item in look.covers
    )


async def carry_out(look: Look, order: CoverOrder) -> CoverOutcome:
    """Have a purchase done and return what became of it. Raises DeadlineError; see ``have_done``."""
    return await have_done(
        look,
        Request(legs=(), by=getpass.getuser(), covers=(order,)),
        ended=lambda journal: journal.cover_outcomes(),
        news=lambda pipeline: pipeline.covers.news(),
        key_of=lambda outcome: outcome.order.key,
    )


def held(look: Look) -> tuple[HeldCover, ...]:
    """Return the account's covers, the next to end first. Raises ConfigError without a mutual or account."""
    _mutual(look)
    return tuple(sorted(look.covers, key=lambda item: (item.expires_s, item.id)))


async def claiming(look: Look, cover_id: str, *, usd: float | None) -> ClaimDraft:
    """Return what a person sends to claim, or to take the payout of a claim that was accepted.

    ``usd`` is the loss; without it, all that the cover pays. Raises VenueRejected where it would be refused.
    """
    cover = next((item for item in held(look) if item.id == cover_id), None)
    if cover is None:
        names = ", ".join(item.id for item in held(look)) or "none"
        raise NotFoundError(f"cover {cover_id!r} is none of the account's; held are: {names}")
    if cover.claim is ClaimState.PAYABLE:
        return await _mutual(look).draft_payout(cover, view=_view(look))
    amount_usd = cover.amount_usd if usd is None else usd
    return await _mutual(look).draft_claim(cover, view=_view(look), amount_usd=amount_usd)


def _mutual(look: Look) -> PlannedCoverVenue:
    if look.mutual is None:
        raise ConfigError("no mutual is configured; add the section [nexus], see docs/configuration.md")
    return look.mutual


def _view(look: Look) -> MarketView:
    return view_of(look.moment, max_age_s=look.policy.holds.price_max_age)


def _check_budget(look: Look, cost_usd: float) -> None:
    """Refuse a purchase beyond the room that R9 leaves for new premium, hedges and covers together."""
    exposure_usd = sum(item.value_usd + item.fees_uncollected_usd for item in look.frame.exposures)
    room_usd, cap = tightest(premium_caps(look.policy, look.frame, exposure_usd=exposure_usd))
    if not cost_usd <= room_usd:
        raise ConfigError(
            f"the cover may cost {cost_usd:,.2f} USD, {cap.name} leaves {room_usd:,.2f} of "
            f"{cap.limit_usd:,.2f}; take less of it, a shorter one, or wait"
        )
