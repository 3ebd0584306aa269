"""The page and the terminal say the facts, load nothing, and escape everything."""

import asyncio
import html
import io
import re
import tomllib
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from history_builders import START_S, DataFolder
from rich.console import Console

from bot.engine.policy import parse_policy
from bot.errors import ConfigError, NotFoundError
from bot.model.cover import CoverOrder, CoverOutcome, CoverProduct
from bot.model.hedge import Instrument, LegStatus, OptionType, Shortfall
from bot.model.tier import Tier
from bot.pipeline.recorded_orders import JournalOrders
from bot.ports import VenuePosition
from bot.simulation.attribution import Attribution, HedgeParts, PositionParts
from bot.simulation.backtest import run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.tables import load_history
from bot.simulation.market.model import load_market
from bot.simulation.report import chart_timeline, charts
from bot.simulation.report.data import from_backtest
from bot.simulation.report.decided import ENOUGH, layers_of
from bot.simulation.report.files import write_report
from bot.simulation.report.journal import from_steps
from bot.simulation.report.money import Money
from bot.simulation.report.payoff_view import payoff_of
from bot.simulation.report.run_page import render
from bot.simulation.report.terminal import print_report
from bot.simulation.wording import percent, usd

DAY_S = 86_400
SPEC = parse_exposure("v2:ETH/USDC:1000000")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = DataFolder(path=tmp_path_factory.mktemp("history"))
    folder.dropped = {"btc_dvol_1h_deribit": set(range(39 * 24, 39 * 24 + 3))}
    folder.write_all()
    history = load_history(folder.path, SPEC, from_s=START_S + 38 * DAY_S, to_s=START_S + 44 * DAY_S)
    policy = parse_policy(
        tomllib.loads(resources.files("bot.policies").joinpath("classic.toml").read_text(encoding="utf-8"))
    )
    return asyncio.run(run_backtest(history, SPEC, policy, load_market()))


@pytest.fixture(scope="module")
def data(result):
    return from_backtest(result)


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def text_of(data, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_report(data, console)
    return console.file.getvalue()


def test_the_headline_says_what_happened_in_words_and_numbers(data):
    before, after = percent(data.unhedged_drawdown), percent(data.hedged_drawdown)
    assert data.headline == f"Hedge cut the fall from {before} to {after}"


@pytest.mark.parametrize(
    ("alone", "hedged", "headline"),
    [
        ([100, 99.5, 100], [100, 99, 99.5], "No fall to speak of: 0.5 % at worst"),
        ([100, 60, 70], [100, 69, 70], "Hedge cut the fall from 40.0 % to 31.0 %"),
        ([100, 80, 90], [100, 79, 90], "Hedge deepened the fall from 20.0 % to 21.0 %"),
        ([100, 80, 90], [100, 80, 90], "Hedge left the fall at 20.0 %"),
    ],
)
def test_headlines(data, alone, hedged, headline):
    times_s = np.arange(3) * 3_600.0
    changed = replace(
        data, times_s=times_s, unhedged_usd=np.array(alone, float), hedged_usd=np.array(hedged, float)
    )
    assert changed.headline == headline


def test_a_fall_without_any_order_says_so(data):
    changed = replace(data, decided=replace(data.decided, orders=()))
    assert changed.headline == f"No hedge was placed; the fall was {percent(data.unhedged_drawdown)}"


def test_the_page_holds_the_facts(data, result):
    page = without_scripts(render(data))
    for fact in (
        data.headline,
        "Protection held against wanted",
        "Implied volatility of ETH is BTC DVOL",
        "3 rows missing between",
        "eth_usdt_spot_1h_binance.csv.gz",
        result.policy_hash,
        "Static 4/4/2",
        usd(result.strategies["alvh"].final_value_usd),
        percent(result.strategies["pput"].max_drawdown),
    ):
        assert fact in page, fact
    for layer in ("NEAR", "MID", "TAIL"):
        assert f"<b>{layer}</b>" in page
    assert all(item.tier.name in page for item in data.tiers)
    assert all(html.escape(vote) in page for item in data.tiers for vote in item.votes)
    assert any(item.votes for item in data.tiers)


def test_the_page_loads_nothing(data):
    page = render(data)
    assert "http" not in without_scripts(page)
    assert not re.search(r"<(link|iframe|img|object)\b", without_scripts(page))
    assert not re.search(r"<script[^>]*\bsrc", page)
    assert page.count("plotly.js v") == 1


def test_the_page_is_whole_html_that_fits_a_phone(data):
    page = render(data)
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_every_text_is_escaped(data):
    evil = "<script>alert(1)</script>\"'&"
    layer = replace(data.decided.layers[0], because=evil, shortfall=evil)
    decided = replace(
        data.decided,
        state=evil,
        layers=(layer,),
        absent=(evil,),
        policy_hash=evil,
        limits={evil: 1.0},
        orders=tuple(replace(item, because=evil, tx_hash=evil) for item in data.decided.orders),
    )
    changed = replace(
        data,
        title=evil,
        mode=evil,
        decided=decided,
        assumptions=(evil,),
        gaps=(evil,),
        missing=(evil,),
        sources=(evil,),
        tiers=tuple(replace(item, because=evil, group=evil, votes=(evil,)) for item in data.tiers),
    )
    assert "<script>alert" not in render(changed)
    assert "&lt;script&gt;alert" in render(changed)


def test_a_report_is_written_whole_or_not_at_all(data, tmp_path):
    path = tmp_path / "report.html"
    write_report(data, path)
    assert path.read_text(encoding="utf-8") == render(data)
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(data, tmp_path / "nowhere" / "report.html")


COVER = CoverOrder(
    key="manual.3-uniswap-v3-COVER",
    product=CoverProduct(venue="nexus", id="1", name="Uniswap v3", protocol="uniswap-v3"),
    amount_usd=1_000.0,
    period_s=90 * 86_400,
    limit_usd=10.0,
    expected_usd=9.0,
    valid_until_s=4e9,
)


def test_from_steps_agrees_with_the_backtest(data, result):
    live = from_steps(
        result.records,
        title="run",
        positions=result.final_positions,
        shapes=[SPEC.open_at(float(result.spot_usd[0])).shape],
    )
    assert live.tiers == data.tiers
    assert live.decided.orders == data.decided.orders
    assert live.money == data.money
    np.testing.assert_array_equal(live.unhedged_usd, data.unhedged_usd)
    assert live.hedged_usd[-1] == pytest.approx(data.hedged_usd[-1])
    assert live.payoff is not None
    assert data.headline in render(data)
    render(live)


def first_purchase(result):
    return next(i for i, item in enumerate(result.records) if item.outcomes)


def test_a_purchase_alone_does_not_look_like_a_fall(result):
    live = from_steps(result.records, title="run")
    bought = first_purchase(result)
    spent = -result.records[bought + 1].cash_flow_usd
    lost = live.unhedged_usd - live.hedged_usd
    assert spent > 0.0
    assert lost[bought] == 0.0  # marks and cash are both of before the step's own orders
    assert 0.0 < lost[bought + 1] < 0.35 * spent  # the spread there and back, not the premium


def test_nor_does_it_in_a_backtest(result):
    """A backtest's path is of after the hour's trades: cash and mark move together."""
    bought = first_purchase(result)
    own = result.strategies["alvh"]
    spent = -float(own.cash_usd[bought])
    lost = float(result.position_usd[bought] - own.value_usd[bought])
    assert spent > 0.0
    assert 0.0 < lost < 0.35 * spent
    assert bought == 0 or float(own.value_usd[bought - 1]) == float(result.position_usd[bought - 1])


def test_every_step_of_a_journal_is_positions_and_marks_and_cash_of_the_same_record(result):
    live = from_steps(result.records, title="run")
    for shown, record in zip(live.hedged_usd, result.records, strict=True):
        worth = sum(record.exposure_value_usd.values())
        assert shown == pytest.approx(worth + record.hedge_value_usd + record.cash_flow_usd, nan_ok=True)


@pytest.mark.parametrize("end", ["before its orders", "after its orders"])
def test_a_report_that_ends_on_a_purchase_still_adds_up(result, end):
    bought = first_purchase(result)
    records = result.records[: bought + 1]
    outcome = records[-1].outcomes[0]
    held = position(outcome.leg.instrument.strike_usd, 60)
    held = replace(held, size=outcome.filled_size, liquidation_usd=0.7 * outcome.premium_usd)
    live = from_steps(records, title="run", positions=[held] if end == "after its orders" else None)
    gained = float(live.hedged_usd[-1] - live.unhedged_usd[-1])
    assert live.money.net_usd == pytest.approx(gained)
    spread = 0.3 * outcome.premium_usd + outcome.swap_usd + outcome.gas_usd
    assert gained == pytest.approx(-spread if end == "after its orders" else 0.0)
    assert len(live.decided.orders) == len(records[-1].outcomes)


def test_layers_are_hatched_only_where_protection_is_missing(result, data):
    group = result.records[-1].decision.groups[0]
    target = replace(group.targets[0], open=True, wanted_contracts=10.0, held_contracts=4.0)
    short = Shortfall(layer=target.layer, missing=0.6, missing_contracts=6.0, reason="30-day budget")
    covered = replace(group, targets=(target,), shortfalls=(), covered_share=0.3, wanted_share=0.25)
    (enough,) = layers_of([covered])
    (missing,) = layers_of([replace(covered, covered_share=0.1, shortfalls=(short,))])
    assert (enough.shortfall, enough.because) == ("", ENOUGH)
    assert missing.shortfall == "60 % missing: 30-day budget"

    def hatched(layer):
        page = without_scripts(render(replace(data, decided=replace(data.decided, layers=(layer,)))))
        return re.search(r'<u style="width:([\d.]+)%">', page)[1]

    assert hatched(enough) == "0.0"
    assert hatched(missing) == "60.0"


def test_a_report_without_steps_is_refused():
    with pytest.raises(NotFoundError, match="no step"):
        from_steps((), title="run")


def test_attribution_sums_to_the_difference(data):
    known = (data.hedged_usd - data.unhedged_usd)[np.isfinite(data.hedged_usd)]
    assert data.money.net_usd == pytest.approx(known[-1])


def test_net_by_hand():
    money = Money(
        premium_usd=100, fee_usd=12, swap_usd=1, gas_usd=5, sold_usd=40, settled_usd=60, mark_usd=30
    )
    assert money.net_usd == pytest.approx(12.0)


def position(strike, days, *, iv=0.8):
    instrument = Instrument(
        venue="simulated",
        id=f"put-{strike}-{days}",
        underlying="ETH",
        option_type=OptionType.PUT,
        strike_usd=strike,
        expiry_s=int(days * DAY_S),
        settlement="USDC",
    )
    return VenuePosition(id="1", instrument=instrument, size=100.0, iv=iv, model_usd=1.0, liquidation_usd=1.0)


def test_payoff_at_expiry_is_the_intrinsic_gain_less_todays_mark():
    shape = SPEC.open_at(2_000.0).shape
    view = payoff_of([shape], 2_000.0, [position(1_800.0, 30)], now_s=0.0)
    now, expiry = view.hedges
    deep = int(np.argmin(np.abs(view.spots_usd - 1_000.0)))
    far = int(np.argmin(np.abs(view.spots_usd - 3_000.0)))
    mark = -expiry.change_usd[far]  # worthless above the strike: all of the mark is lost
    assert mark > 0.0
    assert expiry.change_usd[deep] == pytest.approx(100.0 * (1_800.0 - view.spots_usd[deep]) - mark)
    assert now.change_usd[int(np.argmin(np.abs(view.spots_usd - 2_000.0)))] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(view.both[1].change_usd, view.alone + expiry.change_usd)
    (level,) = expiry.break_evens_usd
    assert level == pytest.approx(1_800.0 - mark / 100.0, rel=1e-3)
    assert (level, "hedge in 30 d") in charts.labelled_break_evens(view)


def test_payoff_is_left_out_where_it_cannot_be_known():
    shape = SPEC.open_at(2_000.0).shape
    assert payoff_of([shape], 2_000.0, [], now_s=0.0) is None
    assert payoff_of([shape], 2_000.0, [position(1_800.0, 30, iv=float("nan"))], now_s=0.0) is None
    assert payoff_of([], 2_000.0, [position(1_800.0, 30)], now_s=0.0) is None


def test_the_payoff_of_several_positions_is_the_sum_of_theirs():
    full = SPEC.open_at(2_000.0).shape
    ranged = parse_exposure("v3:ETH/USDC:500000:-20%:+20%").open_at(2_000.0).shape
    hedges = [position(1_800.0, 30)]
    both = payoff_of([full, ranged], 2_000.0, hedges, now_s=0.0)
    one, other = (payoff_of([shape], 2_000.0, hedges, now_s=0.0) for shape in (full, ranged))
    np.testing.assert_allclose(both.alone, one.alone + other.alone)
    np.testing.assert_array_equal(both.hedges[0].change_usd, one.hedges[0].change_usd)
    assert both.ranges_usd == (*one.ranges_usd, *other.ranges_usd)
    texts = [item.text for item in charts.payoff(both, "ETH").layout.annotations]
    assert {"range 1,600", "range 2,400", "spot 2,000"} <= set(texts)


def test_tier_runs_end_at_holes_and_changes():
    times_s = np.array([0.0, 1.0, 2.0, 10.0, 11.0]) * 3_600.0
    tiers = (Tier.CALM, Tier.CALM, Tier.GUARDED, Tier.GUARDED, Tier.GUARDED)
    runs = [(a / 3_600.0, b / 3_600.0, tier) for a, b, tier in chart_timeline.tier_runs(times_s, tiers)]
    assert runs == [(0.0, 2.0, Tier.CALM), (2.0, 3.0, Tier.GUARDED), (10.0, 12.0, Tier.GUARDED)]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_the_terminal_keeps_to_its_width_and_needs_no_colour(data, width):
    text = text_of(data, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.splitlines()[0].startswith("Hedge cut the fall")
    assert "\x1b" not in text
    for layer in ("NEAR", "MID", "TAIL"):
        assert layer in text


def test_a_narrow_terminal_gets_key_value_lines(data):
    assert "deepest fall: " in text_of(data, 40)
    assert "deepest fall: " not in text_of(data, 80)


def test_break_evens_that_stand_close_have_labels_at_their_own_heights():
    view = payoff_of(
        [SPEC.open_at(2_000.0).shape],
        2_000.0,
        [position(1_900.0, days) for days in (5, 10, 20)],
        now_s=0.0,
    )
    notes = [item for item in charts.payoff(view, "ETH").layout.annotations if "<br>hedge" in item.text]
    assert len(notes) == 3
    assert len({item.ay for item in notes}) == 3


def test_the_page_names_orders_as_people_do(data):
    page = without_scripts(render(data))
    first = data.decided.orders[0]
    assert f"Bought {first.filled_size:,.2f} ETH {first.leg.instrument.strike_usd:,.0f} put" in page
    assert first.leg.instrument.id not in page


def test_the_waterfall_leaves_out_nothing_but_what_is_nothing():
    hedge = HedgeParts(premium_usd=-100.0, option_payoff_usd=70.0, gas_usd=-0.2)
    found = Attribution(total_usd=-528.0, position=PositionParts(price_usd=-500.0), hedge=hedge)
    (bars,) = charts.attribution(found, of_hedge=True).data
    assert list(bars.y) == ["premium", "option payoff", "residual", "hedging"]
    assert list(bars.x[:-1]) == pytest.approx([-100.0, 70.0, 2.2])
    assert bars.text[-1] == "-28"
    (alone,) = charts.attribution(found, of_hedge=False).data
    assert (list(alone.y), alone.text[-1]) == (["price", "position alone"], "-500")


def test_orders_by_hand_while_no_bot_ran_are_told_and_paid_for(result):
    """A journal has closed orders that no step tells: what a person had done between two runs."""
    told = [item for record in result.records for item in record.outcomes]
    first, bought = result.records[0], told[0]
    between_s = first.decision.now_s + 1.0
    by_hand = replace(bought, leg=replace(bought.leg, key="manual.1-x-0"), at_s=between_s)
    late = replace(
        by_hand, leg=replace(bought.leg, key="manual.2-x-0"), at_s=result.records[-1].decision.now_s
    )
    cover = CoverOutcome(order=COVER, status=LegStatus.FILLED, at_s=between_s, premium_usd=9.0, gas_usd=2.0)
    orders = JournalOrders(outcomes=(*told, by_hand, late), cover_outcomes=(cover,))
    alone, live = (
        from_steps(result.records, title="run"),
        from_steps(result.records, title="run", orders=orders),
    )
    assert len(live.decided.orders) == len(alone.decided.orders) + 2
    assert [item.at_s for item in live.decided.orders] == sorted(item.at_s for item in live.decided.orders)
    # What is later than the last marks is told and not yet in the sums beside them.
    paid = bought.premium_usd - bought.fee_usd
    assert live.money.premium_usd == pytest.approx(alone.money.premium_usd + paid)
    assert live.money.cover_usd == 9.0
    assert live.money.gas_usd == pytest.approx(alone.money.gas_usd + bought.gas_usd + 2.0)
    assert live.money.net_usd < alone.money.net_usd - 9.0
    page = render(live)
    assert "Cover of uniswap-v3" in page
    assert "Premium of covers" in page
