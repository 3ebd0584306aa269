"""The LP monitor in a terminal: the state in a sentence, one line per position, then each in detail."""

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from bot.app.lp import LpRow, LpView
from bot.model.exposure import ExposureKind
from bot.model.lp_position import LpPosition, LpToken
from bot.simulation.report.terminal import Rows, hanging
from bot.simulation.wording import UNKNOWN, percent, usd, when
from bot.watchers.positions.tokens import short_address

_DETAIL_LINES = 8  # of one position at 80 columns, about
_OTHER_LINES = 10
_LABEL = 11
_SYMBOL, _ID = 8, 9  # characters that are shown: 80 columns hold two symbols and an id beside the numbers
_TABLE_NAME, _TABLE_SYMBOL = 21, 4
_DUST = 1e-9  # of a position's value: rounding, not money


def lp_view(view: LpView, *, height: int | None = None) -> RenderableType:
    """Return everything about the positions; details only where all of them fit into ``height`` lines."""
    parts: list[RenderableType] = [_sentence(view), Text("")]
    rows = view.rows
    if rows:
        parts += [_table(view), Text("")]
        if height is None or len(rows) * (_DETAIL_LINES + 1) + _OTHER_LINES <= height:
            for row in rows:
                parts += [*_details(row, view), Text("")]
        else:
            parts += [Text("Each in detail: --once, or a higher window.", style="dim"), Text("")]
    parts += [hanging("unknown: ", Text(line, style="yellow")) for line in view.unknown]
    for chain in view.chains:
        parts += [hanging("left out: ", Text(line, style="yellow")) for line in chain.left_out]
    parts.append(_trust(view))
    return Group(*parts)


def _sentence(view: LpView) -> Text:
    rows = view.rows
    if not rows:
        return Text("No LP position is there to show.", style="bold")
    whose = f" of {short_address(view.wallet)}" if view.wallet else ""
    many = f"{len(rows)} LP positions" if len(rows) > 1 else "1 LP position"
    verb = "are" if len(rows) > 1 else "is"
    line = Text(f"{many}{whose} {verb} {_total(view)}", style="bold")
    outside = [row.position.id for row in rows if not row.position.in_range]
    state = f"out of range, earning nothing: {', '.join(outside)}" if outside else "all in range"
    if len(rows) == 1:
        state = "out of range, earning nothing" if outside else "in range"
    line.append("; ", style="not bold")
    line.append(f"{state}.", style="bold yellow" if outside else "not bold")
    parts = [f"Uncollected fees {usd(view.fees_usd)}"] if math.isfinite(view.fees_usd) else []
    if math.isfinite(view.loss_hold_usd):
        parts.append(f"impermanent loss against hold {usd(view.loss_hold_usd)}")
    return line.append(f" {'; '.join(parts)}." if parts else "", style="not bold")


def _total(view: LpView) -> str:
    missing = sum(math.isnan(row.position.value_usd) for row in view.rows)
    if missing == len(view.rows):
        return "there, with no USD price known"
    if not missing:
        return f"worth {usd(view.value_usd)}"
    have = "has" if missing == 1 else "have"
    return f"worth {usd(view.value_usd)} without {missing} that {have} no USD price"


def _table(view: LpView) -> RenderableType:
    many = len(view.chains) > 1
    rows = []
    for chain in view.chains:
        rows += [_line(row, f"{chain.chain_id}/" if many else "") for row in chain.rows]
        if many and chain.rows:
            total = f"{chain.name}: {len(chain.rows)}"
            rows.append((total, usd(chain.value_usd), "", "", "", "", ""))
    head = ("position", "value", "range", "to low", "to high", "fees", "vs hold")
    return Rows(head=head, rows=rows, left=(0,))


def _line(row: LpRow, prefix: str) -> tuple[str, ...]:
    item, figures = row.position, row.figures
    return (
        _cut(f"{prefix}{_name(item)}", _TABLE_NAME),
        _money(item, item.value, brief=True),
        "in" if item.in_range else "OUT",
        _distance(-item.distance_lower),
        _distance(item.distance_upper),
        "in value" if item.kind is ExposureKind.UNISWAP_V2 else _money(item, item.fees, brief=True),
        _share(figures.loss_hold_share),
    )


def _name(item: LpPosition) -> str:
    """Return id and pool, without saying the version twice: "v3:1 ETH/USDC"."""
    version, _, digits = item.id.partition(":")
    pair = f"{_symbol(item.base)}/{_symbol(item.quote)}"
    if item.kind is ExposureKind.UNISWAP_V2:
        return f"v2 {pair}"
    return f"{version}:{_cut(digits, _ID)} {pair}"


def _symbol(token: LpToken) -> str:
    return _cut(token.symbol, _SYMBOL)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _details(row: LpRow, view: LpView) -> Iterator[RenderableType]:
    item = row.position
    chain = next((part.name for part in view.chains if part.chain_id == item.chain_id), str(item.chain_id))
    fee = f", fee {100 * item.fee:g} %" if math.isfinite(item.fee) else ""
    held = f", staked with {short_address(item.staker)}" if item.staker else ""
    owner = f", of {short_address(item.owner)}" if item.owner != view.wallet else ""
    yield Text(f"{_name(item)}{fee}, {item.protocol} on {chain}{owner}{held}", style="bold")
    for label, words in (
        ("holds", _holds(item)),
        ("range", _range(item)),
        ("moves", _moves(row)),
        ("fees", _fees(row)),
        ("vs hold", _against_hold(row)),
        ("vs entry", _against_entry(row)),
    ):
        if words:
            yield hanging(f"  {label:<{_LABEL - 2}}", Text(words))


def _holds(item: LpPosition) -> str:
    price = f"1 {_symbol(item.base)} = {number(item.spot)} {_symbol(item.quote)}"
    amounts = _amounts(item, item.units, item.quote_units)
    return f"{amounts}; {price}" + (f"; {item.usd_source}" if item.usd_source else "")


def _range(item: LpPosition) -> str:
    ticks = item.ticks
    if ticks is None:
        return "every price"
    if ticks.is_full:
        return "every price (full range)"
    ends = f"{number(item.shape.lower_usd)} to {number(item.shape.upper_usd)} {_symbol(item.quote)}"
    if item.in_range:
        return (
            f"{ends}; a fall of {percent(item.distance_lower)} ({ticks.tick - ticks.lower:,} ticks) or a "
            f"rise of {percent(item.distance_upper)} ({ticks.upper - ticks.tick:,} ticks) ends it"
        )
    if ticks.tick < ticks.lower:
        rise = percent(-item.distance_lower)
        return f"{ends}; BELOW it, by {rise} of the price ({ticks.lower - ticks.tick:,} ticks)"
    fall = percent(-item.distance_upper)
    return f"{ends}; ABOVE it, by {fall} of the price ({ticks.tick - ticks.upper:,} ticks)"


def _moves(row: LpRow) -> str:
    item, figures = row.position, row.figures
    symbol = _symbol(item.base)
    delta = f"delta {number(figures.delta_units)} {symbol}"
    if math.isfinite(item.value_usd):
        delta += f" ({_money(item, figures.delta_units * item.spot)})"
    return f"{delta}; a rise of 1 % changes it by {number(figures.gamma_1pct)} {symbol} (gamma)"


def _fees(row: LpRow) -> str:
    item, figures = row.position, row.figures
    parts = []
    if item.kind is ExposureKind.UNISWAP_V2:
        parts.append("paid into the pair, part of the value")
    elif math.isnan(item.fees):
        parts.append(f"uncollected unknown: {item.why_no_fees}")
    else:
        parts.append(f"uncollected {_amounts(item, item.fees_units, item.fees_quote)}")
    for words, value in (
        ("earned since the deposit", figures.fees_earned),
        ("in the last 30 days", figures.fee_income_30d),
    ):
        if math.isfinite(value):
            parts.append(f"{words} {_money(item, value)}")
    return "; ".join(parts)


def _against_hold(row: LpRow) -> str:
    item, figures = row.position, row.figures
    deposits = item.deposits
    if math.isnan(figures.loss_hold):
        return f"impermanent loss unknown: {deposits.why_unknown}"
    since = f" since {when(deposits.since_s)}" if math.isfinite(deposits.since_s) else ""
    words = (
        f"{_money(item, figures.loss_hold)} ({_share(figures.loss_hold_share)}) against holding "
        f"{_amounts(item, deposits.units, deposits.quote)}{since}"
    )
    if math.isfinite(figures.net_hold):
        words += f"; with fees {_money(item, figures.net_hold, signed=True)}"
    return words if deposits.source == "logs" else f"{words} ({deposits.source})"


def _against_entry(row: LpRow) -> str:
    item, figures = row.position, row.figures
    if math.isnan(figures.loss_entry):
        return ""
    change = f"{_money(item, figures.loss_entry, signed=True)}"
    return (
        f"{change} ({_share(figures.loss_entry_share, signed=True)}) since it "
        f"was worth {_money(item, item.deposits.entry_value)} at the deposit, fees left out"
    )


def _trust(view: LpView) -> RenderableType:
    parts = [
        f"{chain.name} block {chain.block.number}, {when(chain.block.timestamp_s)} UTC"
        for chain in view.chains
        if chain.block is not None
    ]
    return hanging("", Text("MONITOR · " + (" · ".join(parts) or "no block was read"), style="dim"))


def _money(item: LpPosition, amount: float, *, signed: bool = False, brief: bool = False) -> str:
    """Return an amount of quote tokens in USD, in quote tokens where no price is known."""
    if not math.isfinite(amount):
        return UNKNOWN
    if abs(amount) < _DUST * item.value:
        amount = 0.0
    if math.isfinite(item.quote_usd):
        return usd(amount * item.quote_usd, signed=signed)
    sign = "+" if signed and amount > 0 else ""
    if not brief:
        return f"{sign}{number(amount)} {_symbol(item.quote)}"
    shown = f"{amount:,.0f}" if abs(amount) >= 1_000 else f"{amount:.4g}"
    return f"{shown} {_cut(item.quote.symbol, _TABLE_SYMBOL)}"


def _amounts(item: LpPosition, units: float, quote: float) -> str:
    return f"{number(units)} {_symbol(item.base)} and {number(quote)} {_symbol(item.quote)}"


def _distance(share: float) -> str:
    """Return a signed distance to an end of the range in percent; none where there is no such end."""
    if math.isinf(share) or share <= -1.0:
        return "-"
    return f"{100 * share:+.1f} %" if math.isfinite(share) else UNKNOWN


def _share(share: float, *, signed: bool = False) -> str:
    """Return a fraction in percent; what rounds to nothing has no sign."""
    if not math.isfinite(share):
        return UNKNOWN
    rounded = round(100 * share, 1) + 0.0
    return f"{rounded:+.1f} %" if signed and rounded else f"{rounded:.1f} %"


def number(value: float) -> str:
    """Return a number of tokens or a price: two decimals from 1,000 on, six significant digits below."""
    if not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-6:
        return f"{value:.3e}"
    if size >= 1_000:
        return f"{value:,.2f}"
    if size == 0:
        return "0"
    places = max(0, 5 - math.floor(math.log10(size)))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
