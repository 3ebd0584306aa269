"""What `alvh plan` prints of its market: two short tables in 80 columns, every number with its unit."""

import io
import re
from dataclasses import replace

import pytest
from engine.factory import board
from presented import plan
from rich.console import Console

from bot.simulation.wording import usd
from bot.terminal import plan_view


def text_of(view, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None, highlight=False)
    console.print(view)
    return console.file.getvalue()


def words_of(view):
    """Return the text as one line, so that a phrase is found where it was wrapped."""
    return " ".join(text_of(view, 200).split())


def test_a_plan_shows_what_replicating_the_whole_loss_would_cost_and_miss():
    made = plan()
    (found,) = made.replications
    text, words = text_of(plan_view(made)), words_of(plan_view(made))
    assert "Replicating the whole loss of ETH/USDC by listed puts" in words
    for item in found.expiries:
        (line,) = [each for each in text.splitlines() if f"{item.low_usd:,.0f}-{item.high_usd:,.0f}" in each]
        assert usd(item.cost_usd) in line
        assert f"{100.0 * item.mean_error:.2f} %" in line
        assert f"{100.0 * item.worst_bound:.2f} %" in line
    best = min(found.expiries, key=lambda item: item.mean_error)
    for leg in best.legs:
        assert f"{leg.contracts:,.2f} ETH {leg.instrument.strike_usd:,.0f} put" in words
    assert "(1 % of them end lower, 1 % higher)" in words


def test_a_plan_shows_smiles_term_structure_and_realised_vols():
    words = words_of(plan_view(plan()))
    assert "30.0 $2,010 80.0 % +0.0 pt +0.0 pt 18 0.0 pt SVI" in words
    assert "Term structure at the money: 7 d 80.0 %, 30 d 80.0 %, 90 d 80.0 %" in words
    assert "Forward: spot: no strike has a bid and an ask" in words
    assert re.search(
        r"Realised vol: EWMA 24 h [\d.]+ %, 30 d [\d.]+ %; unknown: Parkinson 30 d \(0 days", words
    )
    assert "GARCH(1,1) next 10 d (39 returns are known, GARCH needs 250)" in words


def test_a_plan_says_what_is_wrong_with_quotes_once_for_all_expiries():
    bad = tuple(replace(item, liquidity=0.0) for item in board())
    words = words_of(plan_view(plan(quotes=bad)))
    assert words.count("no usable quote: size, premium, iv, model value and liquidity") == 1
    assert "5.0, 30.0, 75.0 d: no usable quote" in words
    assert "Term structure: unknown" in words
    none = words_of(plan_view(plan(quotes=())))
    assert "no option on ETH is quoted" in none
    assert "Not told: no put on ETH is quoted." in none


def test_a_plan_names_scarce_legs_and_arbitrage():
    scarce = tuple(replace(item, liquidity=1.0) for item in board(days=[30.0]))
    words = words_of(plan_view(plan(quotes=scarce)))
    assert re.search(r"30\.0 d: more would be bought at [\d, ]+ if more were for sale\.", words)
    crossing = (*board(days=[7.0], iv=1.2), *board(days=[14.0], iv=0.6))
    assert "7.0 d: calendar at strike" in words_of(plan_view(plan(quotes=crossing)))


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("quotes", [board(), board(liquidity=1.0), ()], ids=["all", "scarce", "none"])
def test_it_keeps_to_its_width_without_a_number_that_is_none(width, quotes):
    text = text_of(plan_view(plan(quotes=quotes)), width)
    assert max(map(len, text.splitlines())) <= width
    assert not re.search(r"\bnan\b|\binf\b|-0\.0 ", text)


def test_indicative_replication_carries_a_tilde_and_names_the_venue():
    shown = plan(quotes=board(indicative=True))
    bare = replace(shown, protections=())
    for item in shown.replications[0].expiries:
        assert f"~{usd(item.cost_usd)}" in text_of(plan_view(shown))
    assert "they rest on quotes of paper" in words_of(plan_view(bare))
