"""The LP monitor as people and programs read it: 80 columns, no colour, nothing unknown shown as a number."""

import io
import json
import math
import re
from dataclasses import replace

import pytest
from rich.console import Console

from bot.app.lp import ChainLp, LpRow, LpView
from bot.lp_document import lp_document
from bot.model.exposure import ExposureKind, LpShape
from bot.model.lp_position import Deposits, LpPosition, LpToken, TickRange
from bot.model.market import Block
from bot.quant.lp_figures import figures_of
from bot.terminal import lp_view
from bot.terminal.lp import number

USER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
ETH = LpToken(symbol="ETH", address="0x" + "00" * 20, decimals=18)
USDC = LpToken(symbol="USDC", address="0x" + "11" * 20, decimals=6)
LONG = LpToken(symbol="W" * 32, address="0x" + "22" * 20, decimals=18)
BLOCK = Block(chain_id=8453, number=123, hash="0x1", parent_hash="0x0", timestamp_s=1_700_000_000)
DEPOSITS = Deposits(
    units=2.0, quote=4_000.0, entry_value=8_000.0, liquidity=900.0, fees_units=0.01, fees_quote=20.0,
    month_units=0.0, month_quote=5.0, since_s=1.69e9, source="logs",
)  # fmt: skip
POSITION = LpPosition(
    id="v3:7", kind=ExposureKind.UNISWAP_V3, protocol="uniswap-v3", chain_id=8453, pool="v3:ETH/USDC",
    pool_address="0x" + "33" * 20, fee=0.0005, owner=USER, base=ETH, quote=USDC,
    shape=LpShape(liquidity=900.0, lower_usd=1_600.0, upper_usd=2_500.0), liquidity_raw=9,
    ticks=TickRange(tick=100, lower=-900, upper=1_200), spot=2_025.0, units=2.0, quote_units=4_500.0,
    value=8_550.0, fees_units=0.1, fees_quote=200.0, deposits=DEPOSITS, quote_usd=1.0,
    usd_source="USDC counts as 1 USD",
)  # fmt: skip
BARE = replace(POSITION, quote_usd=math.nan, usd_source="no price is known for USDC 0x11",
               deposits=Deposits(why_unknown="no logs"), fees_units=math.nan, fees_quote=math.nan,
               why_no_fees="reverted")  # fmt: skip
BELOW = replace(POSITION, id="v3:8", ticks=TickRange(tick=-1_500, lower=-900, upper=1_200), spot=1_500.0)
ABOVE = replace(POSITION, id="v3:9", ticks=TickRange(tick=2_000, lower=-900, upper=1_200), spot=3_000.0)
FULL = replace(POSITION, id="v4:1", kind=ExposureKind.UNISWAP_V4,
               ticks=TickRange(tick=0, lower=-887_270, upper=887_270))  # fmt: skip
PAIR = replace(POSITION, id="v2:0x", kind=ExposureKind.UNISWAP_V2, pool="v2:ETH/USDC", ticks=None,
               shape=LpShape(liquidity=95.0), fees_units=0.0, fees_quote=0.0)  # fmt: skip
NAMED = replace(POSITION, id="v3:" + "9" * 20, base=LONG, quote=LONG, pool=f"v3:{'W' * 32}/{'W' * 32}",
                quote_usd=math.nan, staker="0x" + "44" * 20, owner="0x" + "55" * 20)  # fmt: skip


def view_of(*positions: LpPosition, trouble: str = "", left_out: tuple[str, ...] = ()) -> LpView:
    rows = tuple(LpRow(position=item, figures=figures_of(item)) for item in positions)
    chain = ChainLp(chain_id=8453, name="Base", block=BLOCK, rows=rows, left_out=left_out, trouble=trouble)
    return LpView(wallet=USER, chains=(chain,))


VIEWS = {
    "one": view_of(POSITION),
    "unknown": view_of(BARE),
    "many": view_of(POSITION, BELOW, ABOVE, FULL, PAIR, BARE),
    "long": view_of(NAMED),
    "none": view_of(left_out=("v3:1 holds no liquidity",)),
    "broken": view_of(POSITION, trouble="the node does not answer"),
}


def text_of(view: LpView, width: int = 80, height: int | None = None) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None, highlight=False)
    console.print(lp_view(view, height=height))
    return console.file.getvalue()


def words_of(view: LpView) -> str:
    return " ".join(text_of(view, 400).split())


@pytest.mark.parametrize("width", [80, 60, 45])
@pytest.mark.parametrize("name", VIEWS)
def test_every_view_keeps_to_its_width_and_needs_no_colour(name: str, width: int) -> None:
    text = text_of(VIEWS[name], width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_the_first_sentence_says_worth_and_range() -> None:
    words = words_of(VIEWS["one"])
    assert words.startswith(
        "1 LP position of 0x7099…79C8 is worth $8,550; in range. Uncollected fees $402; "
        "impermanent loss against hold $0."
    ), words[:200]
    assert "out of range, earning nothing: v3:8, v3:9." in words_of(VIEWS["many"])


def test_both_losses_fees_and_sensitivities_are_there() -> None:
    words = words_of(view_of(replace(POSITION, units=1.9, quote_units=4_000.0, value=7_847.5)))
    assert "-$202 (-2.5 %) against holding 2 ETH and 4,000.00 USDC since 2023-07-22" in words
    assert "-$152 (-1.9 %) since it was worth $8,000 at the deposit" in words
    assert (
        "uncollected 0.1 ETH and 200 USDC; earned since the deposit $443; in the last 30 days $408" in words
    )
    assert re.search(
        r"delta [\d.]+ ETH \(\$[\d,]+\); a rise of 1 % changes it by -[\d.]+ ETH \(gamma\)", words
    )
    assert "a fall of 21.0 % (1,000 ticks) or a rise of 23.5 % (1,100 ticks) ends it" in words


def test_out_of_range_says_which_side_and_how_far() -> None:
    words = words_of(VIEWS["many"])
    assert "BELOW it, by 6.7 % of the price (600 ticks)" in words
    assert "ABOVE it, by 16.7 % of the price (800 ticks)" in words
    assert "every price (full range)" in words


def test_what_is_unknown_is_named_with_its_reason() -> None:
    words = words_of(VIEWS["unknown"])
    assert "with no USD price known" in words
    assert "impermanent loss unknown: no logs" in words
    assert "uncollected unknown: reverted" in words
    assert "unknown: v3:7 has no USD value: no price is known for USDC 0x11" in words
    assert "$0" not in words
    assert "unknown: Base: the node does not answer" in words_of(VIEWS["broken"])
    assert "left out: v3:1 holds no liquidity" in words_of(VIEWS["none"])


def test_a_sum_says_what_it_lacks() -> None:
    words = words_of(view_of(POSITION, BARE))
    assert "2 LP positions of 0x7099…79C8 are worth $8,550 without 1 that has no USD price" in words


def test_several_chains_have_their_own_sums_and_one_that_fails_is_named() -> None:
    base = view_of(POSITION, PAIR).chains[0]
    optimism = replace(base, chain_id=10, name="OP Mainnet", rows=base.rows[:1])
    down = ChainLp(chain_id=1, name="Ethereum", trouble="no answer within 10 s")
    view = LpView(wallet=USER, chains=(base, optimism, down))
    assert view.value_usd == pytest.approx(3 * 8_550)
    words = words_of(view)
    assert "Base: 2 $17,100" in words
    assert "OP Mainnet: 1 $8,550" in words
    assert "10/v3:7 ETH/USDC" in words
    assert "unknown: Ethereum: no answer within 10 s" in words
    assert [chain["value_usd"] for chain in lp_document(view)["chains"]] == [17_100, 8_550, None]


def test_a_low_window_shows_the_table_alone() -> None:
    assert "in detail: --once" in text_of(VIEWS["many"], height=24)
    assert "in detail" not in text_of(VIEWS["one"], height=24)


def test_the_document_is_strict_json_with_null_for_unknown() -> None:
    for view in VIEWS.values():
        json.loads(json.dumps(lp_document(view), allow_nan=False))
    (chain,) = lp_document(VIEWS["unknown"])["chains"]
    (item,) = chain["positions"]
    assert item["value_usd"] is None
    assert item["value"] == 8_550.0
    assert item["fees"] == {
        "uncollected_base": None, "uncollected_quote": None, "uncollected_usd": None, "earned": None,
        "income_30d": None, "why_unknown": "reverted",
    }  # fmt: skip
    assert item["hold"]["why_unknown"] == "no logs"
    (known,) = lp_document(VIEWS["one"])["chains"][0]["positions"]
    assert (known["ticks_to_lower"], known["ticks_to_upper"]) == (1_000, 1_100)
    assert known["distance_lower"] == pytest.approx(1 - 1_600 / 2_025)
    assert known["in_range"] is True
    pair = lp_document(view_of(PAIR))["chains"][0]["positions"][0]
    assert (pair["upper"], pair["distance_upper"], pair["ticks_to_lower"]) == (None, None, None)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (1.0, "1"), (2_940.0, "2,940.00"), (0.000123456789, "0.000123457"),
        (-5.5, "-5.5"), (1e-12, "1.000e-12"), (3e50, "3.000e+50"), (999.9999, "1000"),
        (102.0010240, "102.001"), (math.nan, "unknown"),
    ],
)  # fmt: skip
def test_numbers_keep_six_digits(value: float, shown: str) -> None:
    assert number(value) == shown
