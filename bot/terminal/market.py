"""What a plan says of its market: smiles and vols, and what replicating the whole loss would cost."""

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from bot.engine.market_view import ExpiryView, MarketView
from bot.engine.replicate import ExpiryReplication, GroupReplication
from bot.quant.smile import SmileModel
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import UNKNOWN, percent, usd

_FITS = {
    SmileModel.SVI: "SVI",
    SmileModel.SVI_HELD: "SVI, held",
    SmileModel.SSVI: "SSVI",
    SmileModel.FLAT: "flat",
    SmileModel.UNKNOWN: UNKNOWN,
}
_SMILE_NOTES = (
    "Vols are a year. put-ATM, put-call: vol of the 25-delta put less that at the forward, less that of the "
    "25-delta call, in points; - where no strike is quoted. error: the fit against the quoted vols."
)


def market_lines(view: MarketView) -> Iterator[RenderableType]:
    """Yield a table of the smiles, then term structure, realised vols and what is wrong with the quotes."""
    yield Text(f"Options on {view.underlying}, what the quotes say", style="bold")
    if view.expiries:
        head = ("days", "forward", "ATM vol", "put-ATM", "put-call", "strikes", "error", "fit")
        yield Rows(head=head, rows=[_smile_row(item) for item in view.expiries], left=(7,))
        yield hanging("  ", Text(_term_words(view)))
        yield from (hanging("  ", Text(words)) for words in _forward_words(view.expiries))
    else:
        yield hanging("  ", Text(f"no option on {view.underlying} is quoted"))
    yield hanging("  ", Text(f"Realised vol: {_realised_words(view)}."))
    yield from _told((item.dte, line) for item in view.expiries for line in _troubles(item))
    if view.expiries:
        yield hanging("  ", Text(_SMILE_NOTES, style="dim"))
    yield Text("")


def replication_lines(found: GroupReplication) -> Iterator[RenderableType]:
    """Yield what the options of each expiry would replicate of a group's whole loss, and at what cost."""
    kinds = "puts" if found.measure == "usd" else "puts and calls"
    yield Text(f"Replicating the whole loss of {found.group} by listed {kinds}", style="bold")
    if found.because:
        yield hanging("  ", Text(f"Not told: {found.because}."))
        yield Text("")
        return
    head = ("days", "prices", "cost", "of value", "mean error", "worst error", "at most", "legs")
    yield Rows(head=head, rows=[_replication_row(item) for item in found.expiries])
    shown = [item for item in found.expiries if item.legs]
    if shown:
        yield hanging("  ", Text(_leg_words(min(shown, key=lambda item: item.mean_error))))
    yield from _told((item.dte, line) for item in found.expiries for line in _limits(item))
    yield hanging("  ", Text(_replication_notes(found), style="dim"))
    yield Text("")


def _smile_row(item: ExpiryView) -> tuple[str, ...]:
    known = item.model is not SmileModel.UNKNOWN
    return (
        f"{item.dte:.1f}",
        usd(item.forward_usd) if known else "-",
        percent(item.atm_iv) if math.isfinite(item.atm_iv) else "-",
        _points(item.put_over_atm),
        _points(item.skew_25),
        str(item.used),
        f"{100.0 * item.rms_error_iv:.1f} pt" if known else "-",
        _FITS[item.model],
    )


def _told(lines: Iterable[tuple[float, str]]) -> Iterator[RenderableType]:
    """Yield each line once, with the days of all expiries that it is about."""
    days: dict[str, list[str]] = {}
    for dte, line in lines:
        days.setdefault(line, []).append(f"{dte:.1f}")
    for line, of in days.items():
        yield hanging("  ", Text(f"{', '.join(of)} d: {line}", style="yellow"))


def _points(difference: float) -> str:
    return f"{round(100.0 * difference, 1) + 0.0:+.1f} pt" if math.isfinite(difference) else "-"


def _term_words(view: MarketView) -> str:
    known = [f"{item.days:g} d {percent(item.iv)}" for item in view.term if math.isfinite(item.iv)]
    if not known:
        return "Term structure: unknown, no expiry is quoted on both sides of its forward."
    words, first, last = f"Term structure at the money: {', '.join(known)}", view.term[0], view.term[-1]
    if not math.isfinite(view.term_slope):
        return f"{words}."
    slope = round(100.0 * view.term_slope, 1)
    shape = "backwardation" if slope > 0.0 else "contango" if slope < 0.0 else "flat"
    return f"{words}; {first.days:g} d over {last.days:g} d {slope + 0.0:+.1f} % ({shape})."


def _forward_words(expiries: Sequence[ExpiryView]) -> Iterator[str]:
    """Yield where the forwards come from, expiries of the same source together."""
    for source in dict.fromkeys(item.forward_from for item in expiries if item.forward_from):
        days = [f"{item.dte:.1f}" for item in expiries if item.forward_from == source]
        which = "" if len(days) == len(expiries) else f" of {', '.join(days)} d"
        yield f"Forward{which}: {source}."


def _realised_words(view: MarketView) -> str:
    known = [f"{item.name} {percent(item.vol)}" for item in view.realised if math.isfinite(item.vol)]
    unknown = [f"{item.name} ({item.because})" for item in view.realised if not math.isfinite(item.vol)]
    if not known:
        return f"unknown ({view.realised[0].because}); a plan looks back on prices that `alvh monitor` keeps"
    return "; ".join([", ".join(known)] * bool(known) + [f"unknown: {', '.join(unknown)}"] * bool(unknown))


def _troubles(item: ExpiryView) -> Iterator[str]:
    if item.left_out:
        yield f"{item.left_out} left out; first {item.left_out_because}."
    yield from (f"{words}." for words in item.arbitrages)


def _replication_row(item: ExpiryReplication) -> tuple[str, ...]:
    start = (f"{item.dte:.1f}", f"{item.low_usd:,.0f}-{item.high_usd:,.0f}")
    if not item.legs:
        return (*start, "-", "-", "-", "-", "-", "0")
    errors = (item.mean_error, item.worst_error, item.worst_bound)
    return (
        *start,
        usd(item.cost_usd, about=item.indicative),
        percent(item.cost_share),
        *(f"{100.0 * error:.2f} %" for error in errors),
        str(len(item.legs)),
    )


def _leg_words(item: ExpiryReplication) -> str:
    legs = ", ".join(
        f"{leg.contracts:,.2f} {leg.instrument.underlying} {leg.instrument.strike_usd:,.0f} "
        f"{leg.instrument.option_type.value}"
        for leg in item.legs
    )
    return (
        f"Closest, {item.dte:.1f} days: {legs}. It misses most at {item.worst_usd:,.0f}. "
        f"Without it the mean loss is {100.0 * item.mean_loss:.2f} % of the value."
    )


def _limits(item: ExpiryReplication) -> Iterator[str]:
    full = [f"{leg.instrument.strike_usd:,.0f}" for leg in item.legs if leg.at_liquidity]
    if item.because:
        yield f"{item.because}."
    if full:
        yield f"more would be bought at {', '.join(full)} if more were for sale."
    if item.unusable and not item.because:
        yield f"{item.unusable} left out, mostly: {item.unusable_because}."
    if not item.optimal:
        yield "the search over lots ended at its limit, a closer hedge may exist."


def _replication_notes(found: GroupReplication) -> str:
    beyond = f"{100.0 * (1.0 - found.confidence):g} %"
    return (
        "Errors: loss less payoff at expiry, of the position's value, at the prices that R8's paths reach "
        f'({beyond} of them end lower, {beyond} higher); "at most" holds between the prices looked at too. '
        "No tier buys this much: R8 takes a share of VaR, R9 caps what it costs."
    )
