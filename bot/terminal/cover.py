"""Covers of protocols (R20) in a terminal of 80 columns."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bot.model.cover import ClaimDraft, ClaimState, CoverOrder, CoverOutcome, CoverQuote, HeldCover
from bot.model.hedge import LegStatus
from bot.model.units import DAY_S
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import percent, usd, when

_CLAIMS = {
    ClaimState.NONE: "",
    ClaimState.OPEN: "claimed",
    ClaimState.PAYABLE: "to be taken",
    ClaimState.PAID: "paid",
}
_NOT_COVERED = "A fall of the price is not covered, nor a loss that assessors do not see in the wording."


def cover_quote_view(quote: CoverQuote) -> RenderableType:
    """Return what a cover costs, what it pays for and what not."""
    days = quote.period_s / DAY_S
    head = f"{quote.product.name} ({quote.product.protocol}) at {quote.product.venue}"
    pays = (
        f"up to {usd(quote.amount_usd)} in {quote.settlement} when the protocol fails in a way that the "
        f"product's wording names and a claim is accepted; a loss from before the end can be claimed for "
        f"{quote.grace_s / DAY_S:g} days after it. {_NOT_COVERED}"
    )
    return Group(
        Text(f"{head}, {days:g} days", style="bold"),
        hanging(
            "premium:  ",
            Text(f"{usd(quote.premium_usd)} in {quote.settlement}, {percent(quote.rate)} a year"),
        ),
        hanging("gas:      ", Text(f"about {usd(quote.gas_usd)}")),
        hanging("capacity: ", Text(f"{usd(quote.capacity_usd)} free for that long; {quote.because}")),
        hanging("pays:     ", Text(pays)),
        hanging("worth:    ", Text("nothing until it pays: it cannot be sold, and counts as $0")),
    )


def cover_order_view(order: CoverOrder, *, renewal: bool) -> RenderableType:
    """Return what is asked for, before a person confirms it."""
    what = "; it renews a cover that ends soon" if renewal else ""
    words = f"{cover_words(order)} for at most {usd(order.limit_usd)}{what}"
    return hanging("order: ", Text(f"{words}; valid until {when(order.valid_until_s)} UTC"))


def cover_words(order: CoverOrder) -> str:
    """Return what is ordered: "cover of uniswap-v3, $50,000 for 90 days"."""
    return f"cover of {order.group}, {usd(order.amount_usd)} for {order.period_s / DAY_S:g} days"


def cover_line(outcome: CoverOutcome) -> RenderableType:
    """Return what became of a purchase of cover; a refused one says why."""
    done = outcome.status is LegStatus.FILLED
    said = f"cover {outcome.cover_id} for {usd(outcome.premium_usd)}" if done else outcome.because
    gas = f", gas {usd(outcome.gas_usd)}" if outcome.gas_usd else ""
    words = f"{cover_words(outcome.order)}: {outcome.status}: {said}{gas}"
    return hanging(f"{when(outcome.at_s)}  ", Text(words, style="bold" if done else "yellow"))


def covers_view(covers: Sequence[HeldCover], *, now_s: float, renew_before_s: float) -> RenderableType:
    """Return what the account holds, the next to end first, and what is to be done about it."""
    head = Text(f"covers at {when(now_s)} UTC", style="bold")
    if not covers:
        return Group(head, Text("none: the account holds no cover that pays or can be claimed on"))
    notes = (hanging("", note) for item in covers for note in _notes(item, now_s, renew_before_s))
    return Group(head, covers_table(covers, now_s=now_s), *notes)


def covers_table(covers: Sequence[HeldCover], *, now_s: float) -> RenderableType:
    rows = [
        (
            item.id,
            item.product.protocol,
            usd(item.amount_usd),
            when(item.expires_s)[:10],
            f"{max(0.0, (item.expires_s - now_s) / DAY_S):.1f}",
            _CLAIMS[item.claim] or ("" if item.is_alive(now_s) else "ended"),
        )
        for item in covers
    ]
    return Rows(head=("cover", "of", "pays up to", "ends", "days", "state"), rows=rows, left=(0, 1, 5))


def _notes(item: HeldCover, now_s: float, renew_before_s: float) -> Iterator[Text]:
    left_s = item.expires_s - now_s
    if item.claim is ClaimState.PAYABLE:
        words = "the claim was accepted: alvh cover claim makes its payout ready"
        yield Text(f"cover {item.id}: {words}", style="bold yellow")
    elif left_s <= 0.0:
        yield Text(
            f"cover {item.id} has ended; a loss from before can be claimed until {when(item.claim_until_s)}",
            style="yellow",
        )
    elif left_s <= renew_before_s:
        asked = f"alvh cover buy {item.product.protocol} --usd {_asked_usd(item)}"
        yield Text(
            f"cover {item.id} ends in {left_s / DAY_S:.1f} days: renew it with {asked}", style="yellow"
        )


def _asked_usd(item: HeldCover) -> str:
    return f"{item.amount_usd:.0f}" if math.isfinite(item.amount_usd) else "AMOUNT"


def claim_view(draft: ClaimDraft) -> RenderableType:
    """Return what a person sends, and what they must have before. The program never sends it."""
    what = "claim on" if draft.purpose == "submit" else "payout of"
    return Group(
        Text(f"{what} cover {draft.cover_id}, {usd(draft.amount_usd)}", style="bold"),
        hanging("because:  ", Text(draft.because)),
        *(hanging("needs:    ", Text(item)) for item in draft.needs),
        hanging("until:    ", Text(f"{when(draft.until_s)} UTC")),
        hanging("to:       ", Text(draft.to)),
        hanging("value:    ", Text(f"{draft.value_wei / 1e18:g} ETH")),
        hanging("calldata: ", Text(draft.data)),
        Text("Nothing is sent: a claim is a person's word, from the account itself.", style="dim"),
    )
