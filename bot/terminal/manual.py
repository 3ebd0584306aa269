"""What is held, what could be bought and what was ordered, in a terminal of 80 columns."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bot.app.look import Look
from bot.app.manual import Held, Offer, Outcome, held, offers
from bot.app.manual_perpetual import named_perpetuals
from bot.app.orders import History
from bot.model.execution import DueAction
from bot.model.hedge import LegOutcome, LegStatus, Quote, Side
from bot.pipeline.desk import Request
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import usd, when
from bot.terminal.account import account_line, order_words
from bot.terminal.cover import cover_line, cover_words, covers_table
from bot.terminal.perpetual import closing_words, perpetuals_table
from bot.terminal.status import order_line, perpetual_line, perpetual_words

_SHOWN = 4  # quotes of one slot


def positions_view(look: Look) -> RenderableType:
    """Return every position with what it cost, what it would bring, and what is due of it."""
    found, perpetuals = held(look), named_perpetuals(look)
    head = Text(f"positions at block {_block(look)}, {when(look.moment.now_s)} UTC", style="bold")
    if not (found or perpetuals or look.covers):
        return Group(head, Text(f"none: the {look.mode} book is empty and no venue lists any"))
    covers = [covers_table(look.covers, now_s=look.moment.now_s)] if look.covers else []
    return Group(head, *_options(look, found), *perpetuals_table(perpetuals), *covers)


def _options(look: Look, found: Sequence[Held]) -> Iterator[RenderableType]:
    if not found:
        return
    rows = [
        (
            item.name,
            item.hedge.layer.value,
            f"{item.hedge.size:,.2f}",
            usd(item.hedge.cost_usd),
            usd(item.hedge.liquidation_usd),
            usd(item.mark.intrinsic_usd) if item.mark else usd(math.nan),
        )
        for item in found
    ]
    head_row = ("position", "layer", "contracts", "cost", "sale now", "intrinsic")
    yield Rows(head=head_row, rows=rows, left=(0, 1))
    yield from _details(look, found)


def _details(look: Look, found: Sequence[Held]) -> Iterator[RenderableType]:
    for item in found:
        hedge, mark = item.hedge, item.mark
        days = hedge.instrument.dte(look.moment.now_s)
        life = f"{days:.1f} days left" if days > 0.0 else "expired"
        marked = f"; sale by {mark.marked_by}" if mark is not None and mark.marked_by else ""
        iv = f", vol {hedge.iv:.0%}" if math.isfinite(hedge.iv) else ""
        yield hanging(f"{item.name}  ", Text(f"{hedge.instrument.label}, {life}{iv}{marked}"))
        if mark is None:
            yield hanging("    due: ", Text("its venue lists it no more; its end is still to be booked"))
        elif mark.due.action is not DueAction.NOTHING:
            until = f", before {when(mark.due.until_s)} UTC" if math.isfinite(mark.due.until_s) else ""
            words = f"{mark.due.action}{until}: {mark.due.because}"
            yield hanging("    due: ", Text(words, style="bold yellow"))


def offers_view(look: Look) -> RenderableType:
    """Return what each layer could buy now, over all venues, the best first, and what was refused and why."""
    parts: list[RenderableType] = [
        Text(f"quotes at block {_block(look)}, {when(look.moment.now_s)} UTC", style="bold")
    ]
    for offer in offers(look):
        parts += _offer(look, offer)
    if len(parts) == 1:
        parts.append(Text("nothing is protected: configure [[positions]]"))
    parts.append(
        Text(
            "net: all-in cost of one contract at this size: premium, spread, fees, swap, gas, and the gas of "
            "collecting its payoff by its chance. gain: what it gains in the worst paths per USD of cost.",
            style="dim",
        )
    )
    return Group(*parts)


def _offer(look: Look, offer: Offer) -> Iterator[RenderableType]:
    choice = offer.choice
    yield Text(f"{offer.group} {offer.slot.layer} {offer.slot.option_type}s", style="bold")
    rows = [
        (
            f"{each.quote.instrument.venue}:{each.quote.instrument.id}",
            f"{each.quote.instrument.strike_usd:,.0f}",
            f"{each.quote.instrument.dte(look.moment.now_s):.0f} d",
            f"{each.quote.delta:+.2f}",
            usd(each.quote.net_unit_usd),
            f"{each.quote.liquidity:,.1f}",
            f"{each.gain_per_cost:.2f}",
        )
        for each in choice.candidates[:_SHOWN]
    ]
    if rows:
        head = ("option", "strike", "life", "delta", "net", "liquid", "gain")
        yield Rows(head=head, rows=rows, left=(0,))
        best = choice.candidates[0].quote
        yield hanging("  best: ", Text(_cost_words(best)))
    yield hanging("  ", Text(choice.because, style="" if rows else "yellow"))


def _cost_words(quote: Quote) -> str:
    """Return what the cost of one quote is made of."""
    fair = f"{quote.premium_usd / quote.model_usd - 1.0:+.0%} over its model value"
    shown = ", shown only" if quote.indicative else ""
    return (
        f"{quote.size:,.2f} contracts at {quote.instrument.venue}: premium {usd(quote.premium_usd)} ({fair}, "
        f"fees {usd(quote.fee_usd)} of it), swap {usd(quote.swap_usd)}, gas {usd(quote.gas_usd)}, "
        f"to collect {usd(quote.exit_gas_usd)}{shown}"
    )


def request_view(request: Request) -> RenderableType:
    """Return what an order would do, before a person confirms it."""
    parts: list[RenderableType] = []
    for leg in request.legs:
        bound = {
            Side.BUY: f"for at most {usd(leg.limit_usd)} (now {usd(leg.expected_usd)})",
            Side.SELL: f"for at least {usd(leg.limit_usd)} (now {usd(leg.expected_usd)})",
            Side.SETTLE: "for what it pays",
        }[leg.side]
        after = ", only once the purchase is filled" if leg.only_after else ""
        what = f"{leg.side} {leg.size:,.2f} {leg.instrument.label} at {leg.instrument.venue} {bound}{after}"
        parts.append(hanging("order: ", Text(what)))
    parts += [hanging("order: ", Text(closing_words(order))) for order in request.perpetuals]
    return Group(*parts)


def outcome_line(outcome: Outcome) -> RenderableType:
    """Return what became of an order, whatever it was for."""
    return order_line(outcome) if isinstance(outcome, LegOutcome) else perpetual_line(outcome)


def history_view(found: History) -> RenderableType:
    """Return closed orders, oldest first, and those whose end is open."""
    parts: list[RenderableType] = []
    for item in found.outcomes:
        parts.append(order_line(item))
        if item.tx_hash:
            parts.append(Text(f"    {item.tx_hash} in block {item.block_number:,}", style="dim"))
    parts += [perpetual_line(item) for item in found.perpetual_outcomes]
    parts += [account_line(item) for item in found.account_outcomes]
    parts += [cover_line(item) for item in found.cover_outcomes]
    parts += [hanging("open: ", Text(text, style="bold yellow")) for text in _open(found)]
    if not parts:
        parts.append(Text("no order was made yet"))
    return Group(*parts, Text(_totals(found), style="bold"))


def _open(found: History) -> Iterator[str]:
    yield from (f"{leg.side} {leg.size:,.2f} {leg.instrument.label}" for leg in found.open_legs)
    yield from map(perpetual_words, found.open_perpetuals)
    yield from map(order_words, found.open_account_orders)
    yield from map(cover_words, found.open_covers)
    yield from found.waiting


def _totals(found: History) -> str:
    done = [item for item in found.outcomes if item.status in (LegStatus.FILLED, LegStatus.PARTIAL)]
    paid = sum(item.premium_usd for item in done if item.leg.side is Side.BUY)
    paid += sum(item.premium_usd for item in found.cover_outcomes)
    back = sum(item.premium_usd for item in done if item.leg.side is not Side.BUY)
    costs = sum(item.gas_usd + item.swap_usd for item in found.outcomes)
    costs += sum(item.gas_usd for item in found.account_outcomes)
    costs += sum(item.gas_usd for item in found.cover_outcomes)
    costs += sum(item.gas_usd + item.fee_usd for item in found.perpetual_outcomes)
    return f"premium paid {usd(paid)}, received {usd(back)}, gas, swaps and fees {usd(costs)}"


def _block(look: Look) -> str:
    return f"{max((block.number for block in look.moment.blocks.values()), default=0):,}"
