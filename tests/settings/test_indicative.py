"""[indicative]: what can be written there, and what is refused by name."""

import pytest
from settings_texts import GOOD, write

from bot.app.parts import web_client
from bot.errors import ConfigError
from bot.model.hedge import OptionType
from bot.settings import IndicativeSettings, load_settings
from bot.venues.indicative import IndicativeTerms
from bot.venues.indicative_books import DeribitBook, DeriveBook


def shown(tmp_path, text):
    return load_settings(write(tmp_path, f"{GOOD}\n[indicative]\n{text}\n")).indicative


def test_without_the_section_there_is_no_book(tmp_path):
    assert load_settings(write(tmp_path, GOOD)).indicative is None


def test_the_defaults_are_those_of_the_venue(tmp_path):
    assert shown(tmp_path, 'venue = "deribit"').terms == IndicativeTerms()
    assert set(IndicativeSettings.model_fields) == {
        "venue",
        "base_url",
        *IndicativeTerms.__dataclass_fields__,
    }


def test_every_term_can_be_set(tmp_path):
    terms = shown(
        tmp_path,
        'venue = "derive"\nunderlyings = ["ETH", "BTC"]\noption_types = ["put"]\nmin_abs_delta = 0.05\n'
        "max_dte = 90.0\nmost_books = 10",
    ).terms
    assert terms.underlyings == ("ETH", "BTC")
    assert terms.option_types == (OptionType.PUT,)
    assert (terms.min_abs_delta, terms.max_dte, terms.most_books) == (0.05, 90.0, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"indicative\.venue is missing"),
        ('venue = "binance"', r"indicative\.venue: .*'deribit' or 'derive', was 'binance'"),
        ('venue = "derive"\nspeed = 1', r"unknown key indicative\.speed"),
        ('venue = "derive"\nbase_url = "http://example.com"', "base_url .*must be https"),
        ('venue = "derive"\nbase_url = "ftp://example.com"', "base_url must be https"),
        ('venue = "derive"\nunderlyings = []', "underlyings must be named"),
        ('venue = "derive"\nmin_abs_delta = 0.7', "min_abs_delta < max_abs_delta"),
        ('venue = "derive"\nmax_basis = nan', r"indicative\.max_basis: .*was nan"),
        ('venue = "derive"\nmax_dte = inf', r"indicative\.max_dte: .*was inf"),
        ('venue = "derive"\noption_types = ["straddle"]', r"indicative\.option_types\.0: "),
        ('venue = "derive"\nparallel = 0', r"indicative\.parallel: .*was 0"),
    ],
    ids=str,
)
def test_a_bad_value_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        shown(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("venue", "book"), [("deribit", DeribitBook), ("derive", DeriveBook)])
def test_the_client_keeps_to_the_rate_of_the_book(tmp_path, venue, book):
    settings = load_settings(write(tmp_path, f'{GOOD}\n[indicative]\nvenue = "{venue}"\n'))
    assert list(web_client(settings).rates.values()) == [book.requests_per_s]
