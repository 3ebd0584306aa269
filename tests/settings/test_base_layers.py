"""[[reserves]], [[covers]] and [[loans]]: what can be stated, and what is refused by name."""

import math

import pytest
from settings_texts import GOOD, write

from bot.errors import ConfigError
from bot.model.base_layers import BaseHoldings, Cover, Loan, ReserveHolding
from bot.settings import load_settings

STATED = """
[[reserves]]
asset = "USDC"
units = 25000

[[reserves]]
asset = "DAI"
watched = "safe/DAI"

[[reserves]]
asset = "USTB"
units = 10.5
real_asset = true
price_usd = 10.7

[[covers]]
id = "nexus-17"
protocol = "aave-v3"
amount_usd = 20000
starts = 2026-01-01
expires = 2027-01-01T12:00:00
venue = "nexus"

[[loans]]
position = "loan"
debt_asset = "USDC"
debt_units = 8000
top_up_asset = "USDC"
top_up_threshold = 0.78
"""


def stated(tmp_path, text=STATED):
    return load_settings(write(tmp_path, GOOD + text)).base


def test_nothing_is_stated_by_default(tmp_path):
    assert stated(tmp_path, "") == BaseHoldings()


def test_all_of_it_is_read(tmp_path):
    found = stated(tmp_path)
    assert [item.asset for item in found.reserves] == ["USDC", "DAI", "USTB"]
    assert found.reserves[0].units == 25_000.0
    assert (found.reserves[1].watched, math.isnan(found.reserves[1].units)) == ("safe/DAI", True)
    assert found.reserves[2] == ReserveHolding(asset="USTB", units=10.5, is_real_asset=True, price_usd=10.7)
    assert found.covers == (
        Cover(
            id="nexus-17",
            protocol="aave-v3",
            amount_usd=20_000.0,
            starts_s=1_767_225_600.0,
            expires_s=1_798_804_800.0,
            venue="nexus",
        ),
    )
    (watched,) = stated(tmp_path, STATED.replace("debt_units = 8000", 'watched = "user/vUSDC"')).loans
    assert (watched.watched, math.isnan(watched.debt_units)) == ("user/vUSDC", True)
    assert found.loans == (
        Loan(
            position="loan",
            debt_asset="USDC",
            debt_units=8_000.0,
            top_up_asset="USDC",
            top_up_threshold=0.78,
        ),
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("units = 25000", "", r"reserves\.0: USDC needs units or watched, one of the two"),
        ("units = 25000", 'units = 1\nwatched = "a/USDC"', r"reserves\.0: USDC needs units or watched"),
        ("units = 25000", "units = -1", r"reserves\.0\.units: .*greater than or equal to 0, was -1"),
        ("units = 25000", "units = nan", r"reserves\.0\.units: .*finite"),
        ("price_usd = 10.7", "price_usd = 0", r"reserves\.2\.price_usd: .*greater than 0, was 0"),
        ("real_asset = true", "reel = true", r"unknown key reserves\.2\.reel"),
        ("amount_usd = 20000", "amount_usd = inf", r"covers\.0\.amount_usd: .*finite"),
        ("amount_usd = 20000", "", r"covers\.0\.amount_usd is missing"),
        ("2027-01-01T12:00:00", '"soon"', r"covers\.0: expires must be an ISO 8601 date.*'soon'"),
        (
            "2027-01-01T12:00:00",
            "2026-01-01",
            r"covers\.0: cover nexus-17 expires 2026-01-01, before it starts",
        ),
        ("2027-01-01T12:00:00", "17", r"covers\.0\.expires: "),
        ("debt_units = 8000", "debt_units = 0", r"loans\.0\.debt_units: .*greater than 0, was 0"),
        ("debt_units = 8000", "", r"loans\.0: loan loan needs debt_units or watched, one of the two"),
        ("debt_units = 8000", 'debt_units = 1\nwatched = "a/b"', r"loans\.0: loan loan needs debt_units or"),
        ("0.78", "78", r"loans\.0\.top_up_threshold: .*less than or equal to 1, was 78"),
    ],
)
def test_each_bad_value_is_named(tmp_path, old, new, words):
    with pytest.raises(ConfigError, match=words) as caught:
        stated(tmp_path, STATED.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", ["covers", "loans"])
def test_what_stands_there_twice_is_refused(tmp_path, section):
    table = STATED[STATED.index(f"[[{section}]]") :].split("\n\n")[0]
    with pytest.raises(ConfigError, match=f"{section}: .* stands there twice; keep one of them"):
        stated(tmp_path, f"{STATED}\n{table}\n")
